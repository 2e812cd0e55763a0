/** The published tree of hashes by its addresses: for those who may read the ledger, and for anybody where the tenant says so. */
import {
  asTenantId,
  isRefusal,
  isUuid,
  refused,
  type Refusal,
  RefusalError,
  type TenantId,
} from "@countersign/contract";
import { parseTilePath } from "@countersign/proof";
import { loadConfiguration } from "../governance/index.js";
import type { Ledger } from "../ledger/index.js";
import type { Publishing } from "../publishing/index.js";
import { checkPermission, type Tenancy } from "../tenancy/index.js";
import { problemOf } from "./problems.js";

interface TreeDesk {
  readonly ledger: Ledger;
  readonly publishing: Pick<Publishing, "latest" | "tile">;
  readonly tenancy: Pick<Tenancy, "authenticate">;
}

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
/** What a tile of some width holds never changes; a restore begins under another origin, but here, so not for ever. */
const tileAge = "max-age=3600";

export function openTree(
  desk: TreeDesk & {
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

async function serve(desk: TreeDesk, request: LogRequest): Promise<LogAnswer> {
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

/** A tenant one does not belong to is not told apart from one that does not exist. */
async function allowedTenant({ tenancy }: Pick<TreeDesk, "tenancy">, request: LogRequest): Promise<TenantId | Refusal> {
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
