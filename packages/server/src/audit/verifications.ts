/** The server's verdict on its own ledger: the last self-check and the entries since, or everything as a job. */
import {
  type CheckedInput,
  type OperationOutput,
  refused,
  type Refusal,
  type TenantId,
  type Verification,
} from "@countersign/contract";
import { type TenantReport, type Verification as LedgerVerification, verifyView } from "../verification/index.js";
import type { Caller } from "../tenancy/index.js";

/** The server's own checks of its ledgers, one after the other. */
export interface OwnChecks {
  /** The newest one whose verdict can be built on, and the newest of all; undefined: none was finished. */
  last(tenant: TenantId): Promise<Verification | undefined>;
  /** What came since the last check that found nothing; everything where there is none. */
  tail(tenant: TenantId): Promise<{ readonly report: TenantReport; readonly check: Verification | undefined }>;
  /** Everything, as soon as it is its turn. One that waits already is not asked for twice. */
  request(tenant: TenantId): Promise<Verification>;
  one(tenant: TenantId, id: string): Promise<Verification | undefined>;
  list(tenant: TenantId, limit: number): Promise<Verification[]>;
}

export interface VerificationDesk {
  readonly verification: Pick<LedgerVerification, "verifyTenant">;
  readonly selfChecks: OwnChecks;
}

export async function verifyChain(
  { verification, selfChecks }: VerificationDesk,
  { tenant }: Caller,
  { from, full }: CheckedInput<"verifyChain">,
): Promise<OperationOutput<"verifyChain"> | Refusal> {
  if (full) return { kind: "job", verification: await selfChecks.request(tenant) };
  if (from !== undefined && from > 0) {
    const report = await verification.verifyTenant(tenant, { from });
    if (report.integrity === "ok" && report.entries === 0)
      return refused(
        "invalid_request",
        `the ledger has no entry \`${from}\`: nothing would be verified; leave \`from\` out`,
      );
    return { kind: "report", ...verifyView(report), selfCheck: null };
  }
  const { report, check } = await selfChecks.tail(tenant);
  const view = verifyView(report);
  const last = check ?? (await selfChecks.last(tenant));
  // A finding of the last check stays, even if the tail is good.
  const found = last?.report?.integrity === "tampered" ? last.report : undefined;
  return {
    kind: "report",
    ...(found === undefined
      ? view
      : { ...view, integrity: found.integrity, findings: found.findings, findingsTotal: found.findingsTotal }),
    selfCheck: last === undefined ? null : withoutReport(last),
  };
}

export async function getVerification(
  { selfChecks }: VerificationDesk,
  { tenant }: Caller,
  { id }: CheckedInput<"getVerification">,
): Promise<OperationOutput<"getVerification"> | Refusal> {
  return (
    (await selfChecks.one(tenant, id)) ??
    refused("not_found", `there is no verification \`${id}\`; \`GET /api/ledger/chain/verifications\` lists them`)
  );
}

export async function listVerifications(
  { selfChecks }: VerificationDesk,
  { tenant }: Caller,
  { limit }: CheckedInput<"listVerifications">,
): Promise<OperationOutput<"listVerifications">> {
  const found = await selfChecks.list(tenant, limit);
  return {
    rows: found.map(({ report, ...check }) => ({
      ...check,
      integrity: report?.integrity ?? null,
      findings: report?.findingsTotal ?? 0,
    })),
  };
}

function withoutReport({ report: _, progress: __, ...rest }: Verification): Omit<Verification, "report" | "progress"> {
  return rest;
}
