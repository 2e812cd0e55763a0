/** The server's verdict on its own ledger: the last self-check and the entries since, or everything as a job. */
import {
  type CheckedInput,
  type OperationOutput,
  refused,
  type Refusal,
  type Verification,
} from "@countersign/contract";
import type { Ledger } from "../ledger/index.js";
import { type SelfChecks, verifyView } from "../ops/index.js";
import type { Caller } from "../tenancy/index.js";

export interface VerificationDesk {
  readonly ledger: Pick<Ledger, "verifyTenant">;
  readonly selfChecks: SelfChecks;
}

export async function verifyChain(
  { ledger, selfChecks }: VerificationDesk,
  { tenant }: Caller,
  { from, full }: CheckedInput<"verifyChain">,
): Promise<OperationOutput<"verifyChain"> | Refusal> {
  if (full) return { kind: "job", verification: await selfChecks.request(tenant) };
  if (from !== undefined && from > 0) {
    const report = await ledger.verifyTenant(tenant, { from });
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
