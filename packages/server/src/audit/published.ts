/** What is published of a ledger, for those who may read it. */
import { type OperationOutput, refused, type Refusal, type TenantId } from "@countersign/contract";
import { iso } from "../platform/index.js";
import type { Ledger } from "../ledger/index.js";
import { keyRows, readStanding, type AnchorReach, type AnchorSpec, type Publishing } from "../publishing/index.js";
import type { Caller } from "../tenancy/index.js";

export interface PublishingDesk {
  readonly ledger: Ledger;
  readonly publishing: Publishing;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

export async function checkpoint(
  { publishing }: PublishingDesk,
  { tenant }: Caller,
): Promise<OperationOutput<"getCheckpoint"> | Refusal> {
  const published = await publishing.latest(tenant);
  if (published === undefined) return notPublished();
  const { checkpoint: signed, incarnation, signedMs } = published;
  const standing = publishing.status().tenants.find((one) => one.tenant === tenant);
  return {
    note: signed.text,
    origin: signed.origin,
    size: signed.size,
    root: hex(signed.root),
    incarnation,
    signedAt: iso(signedMs),
    state: standing?.state ?? "elsewhere",
    reason: standing?.reason ?? null,
  };
}

function notPublished(): Refusal {
  return refused("not_published", "no checkpoint was signed yet; a running server signs one within seconds");
}

/** From what is stored, so that it is the same from every process; why nothing is signed only the one knows that signs. */
export async function standing(
  { ledger, publishing, anchors, now }: PublishingDesk & StandingDesk,
  { tenant }: Caller,
): Promise<OperationOutput<"getPublishing">> {
  const names = anchors.map(({ name }) => name);
  const stored = await ledger.snapshot(tenant, (snapshot) => readStanding(snapshot, names, now()));
  const { checkpoint: newest, entries } = stored;
  return {
    ...stateOf(publishing, tenant),
    entries,
    checkpoint:
      newest === null ? null : { size: newest.size, signedAt: iso(newest.signedMs), incarnation: newest.incarnation },
    anchorsDegraded: publishing.status().anchorsDegraded,
    anchors: stored.anchors.flatMap((one) => {
      const spec = anchors.find(({ name }) => name === one.anchor);
      return spec === undefined ? [] : [anchorView(spec, one)];
    }),
  };
}

export interface StandingDesk {
  readonly anchors: readonly AnchorSpec[];
  readonly now: () => number;
}

function stateOf(publishing: Publishing, tenant: TenantId): Pick<OperationOutput<"getPublishing">, "state" | "reason"> {
  const { state, reason, tenants } = publishing.status();
  if (state === "stopped") return { state, reason: reason ?? null };
  if (state === "following") return { state: "elsewhere", reason: null };
  const known = tenants.find((one) => one.tenant === tenant);
  return { state: known?.state ?? "starting", reason: known?.reason ?? null };
}

function anchorView(
  { name, kind }: AnchorSpec,
  { standing: stands, confirmed, behind, lastError, ...times }: AnchorReach,
): OperationOutput<"getPublishing">["anchors"][number] {
  const at = (ms: number | null): string | null => (ms === null ? null : iso(ms));
  return {
    ...{ name, kind, standing: stands, confirmed, behind, lastError },
    checkpointAt: at(times.checkpointMs),
    nextAttemptAt: at(times.dueMs),
    since: at(times.sinceMs),
  };
}

export async function logKeys({ publishing }: PublishingDesk): Promise<OperationOutput<"listLogKeys">> {
  const [deployment, statements] = await Promise.all([publishing.deployment(), publishing.keyStatements()]);
  return {
    deployment,
    rows: keyRows(statements, deployment).map(({ sinceMs, revokedAtMs, ...key }) => ({
      ...key,
      since: iso(sinceMs),
      revokedSince: revokedAtMs === null ? null : iso(revokedAtMs),
    })),
    statements: [...statements],
  };
}
