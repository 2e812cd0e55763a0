/**
 * Published checkpoints and keys, for callers who may read the ledger; and the tree of hashes, for anybody if the
 * tenant's configuration says so.
 */
import {
  asTenantId,
  isRefusal,
  isUuid,
  type OperationOutput,
  refused,
  type Refusal,
  RefusalError,
  type TenantId,
} from "@countersign/contract";
import { parseTilePath } from "@countersign/proof";
import { loadConfiguration } from "../governance/index.js";
import {
  keyRows,
  readStanding,
  type AnchorReach,
  type AnchorSpec,
  type Ledger,
  type Publishing,
} from "../ledger/index.js";
import { type Caller, checkPermission, type Tenancy } from "../tenancy/index.js";
import { problemOf } from "./problems.js";

export interface PublishingDesk {
  readonly ledger: Ledger;
  readonly publishing: Publishing;
}

const iso = (ms: number): string => new Date(ms).toISOString();
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

/**
 * Read from stored rows, so every process gives the same answer. Only the process that signs knows why nothing is
 * signed.
 */
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

// ── The tree ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface LogRequest {
  readonly requestId: string;
  /** The API key's text, without the scheme. */
  readonly credential: string | undefined;
  readonly tenant: string;
  /** Behind `/ledger/<tenant>/`. */
  readonly path: string;
}

export interface LogAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

export type ServeLog = (request: LogRequest) => Promise<LogAnswer>;

/** Changes every second at most; a client that asks again shall not get an old one. */
const checkpointAge = "no-cache";
/**
 * A tile of a given width never changes. But a restore begins another origin at the same address, so it is not cached
 * for ever.
 */
const tileAge = "max-age=3600";

export function openTree(
  desk: PublishingDesk & {
    readonly tenancy: Pick<Tenancy, "authenticate">;
    readonly log: { warn(fields: object, message: string): void; error(fields: object, message: string): void };
  },
): ServeLog {
  return async (request) => {
    try {
      return await serve(desk, request);
    } catch (error) {
      if (!(error instanceof RefusalError)) {
        desk.log.error({ err: error, requestId: request.requestId }, "a request failed inside");
        return problem(refused("internal", "something went wrong in the server; its log has the cause"), request);
      }
      return problem(error.refusal, request);
    }
  };
}

async function serve(
  desk: PublishingDesk & { readonly tenancy: Pick<Tenancy, "authenticate"> },
  request: LogRequest,
): Promise<LogAnswer> {
  const tenant = isUuid(request.tenant) ? asTenantId(request.tenant) : undefined;
  const open = tenant !== undefined && (await isPublic(desk.ledger, tenant));
  const allowed = open ? tenant : await allowedTenant(desk, request);
  if (typeof allowed !== "string") return problem(allowed, request);
  const shared = open ? "public" : "private";
  if (request.path === "checkpoint") {
    const published = await desk.publishing.latest(allowed);
    if (published === undefined) return problem(nothingThere(request), request);
    const headers = { "content-type": "text/plain; charset=utf-8", "cache-control": `${shared}, ${checkpointAge}` };
    return { status: 200, headers, body: Buffer.from(published.checkpoint.text, "utf8") };
  }
  const tile = parseTilePath(request.path);
  const bytes = tile === undefined ? undefined : await desk.publishing.tile(allowed, tile);
  if (bytes === undefined) return problem(nothingThere(request), request);
  const headers = { "content-type": "application/octet-stream", "cache-control": `${shared}, ${tileAge}` };
  return { status: 200, headers, body: bytes };
}

/** A foreign tenant and a missing tenant give the same answer. */
async function allowedTenant(
  { tenancy }: { readonly tenancy: Pick<Tenancy, "authenticate"> },
  request: LogRequest,
): Promise<TenantId | Refusal> {
  const caller = await tenancy.authenticate(request.credential);
  if (isRefusal(caller)) return caller;
  if (caller.tenant !== request.tenant) return nothingThere(request);
  return checkPermission(caller, "audit.read") ?? caller.tenant;
}

async function isPublic(ledger: Ledger, tenant: TenantId): Promise<boolean> {
  return ledger.snapshot(tenant, async (snapshot) => {
    const { ledger: shown, problems } = await loadConfiguration(snapshot);
    // Configuration that cannot be read permits nothing.
    return problems.length === 0 && shown.public;
  });
}

function nothingThere({ tenant, path }: LogRequest): Refusal {
  return refused("not_found", `there is nothing at \`/ledger/${tenant.slice(0, 40)}/${path.slice(0, 100)}\``);
}

function problem(refusal: Refusal, { requestId }: LogRequest): LogAnswer {
  const { status, headers, body } = problemOf(refusal, requestId);
  return {
    status,
    headers: { ...headers, "content-type": "application/problem+json" },
    body: Buffer.from(JSON.stringify(body), "utf8"),
  };
}
