/** A range of the ledger as a bundle: a file that verifies without server and database. */
import { refused, RefusalError, type TenantId } from "@countersign/contract";
import { writeBundle, type BundleHeader } from "@countersign/proof";
import type pg from "pg";
import { connectionLost, unavailable } from "../storage/index.js";
import { headOf } from "./queries.js";
import { readEntries, openReading, type OpenBody } from "./reading.js";

export interface ExportOptions {
  /** First and last sequence number. Default: everything. */
  readonly from?: number;
  readonly to?: number;
  /** Texts that people read travel along. Default false. */
  readonly bodies?: boolean;
  /** Id of the deployment that exports. */
  readonly deployment: string;
}

/** The bundle in pieces. Throws RefusalError `database_unavailable`, `not_found` for a range that does not exist. */
export async function* exportRange(
  given: { readonly login: pg.ClientConfig; readonly nowMs: number; readonly openBody: OpenBody },
  tenant: TenantId,
  options: ExportOptions,
): AsyncGenerator<string, void, undefined> {
  const reading = await openReading(given.login, tenant);
  try {
    const header = await headerOf(reading.client, tenant, given.nowMs, options);
    yield* writeBundle(
      header,
      flatten(readEntries(reading.client, tenant, header, options.bodies === true ? given.openBody : undefined)),
    );
  } catch (error) {
    throw connectionLost(error) ? unavailable(error) : error;
  } finally {
    await reading.close();
  }
}

async function headerOf(
  client: pg.Client,
  tenant: TenantId,
  nowMs: number,
  options: ExportOptions,
): Promise<BundleHeader> {
  const last = await readHead(client, tenant);
  const from = options.from ?? 0;
  const to = options.to ?? last?.seq ?? -1;
  if (to > (last?.seq ?? -1) || from > to + 1) {
    throw new RefusalError(
      refused("not_found", `the ledger has no entries \`${from}\` to \`${to}\`; it ends with \`${last?.seq ?? -1}\``),
    );
  }
  return {
    deployment: options.deployment,
    tenant,
    selection: "range",
    from,
    to,
    head: last ?? null,
    bodies: options.bodies === true ? "included" : "withheld",
    exportedAtMs: nowMs,
  };
}

export interface Head {
  readonly seq: number;
  readonly hash: string;
  readonly timeMs: number;
}

/** The last entry, or the last not after `seq`. */
export async function readHead(
  client: pg.Client,
  tenant: TenantId,
  seq = Number.MAX_SAFE_INTEGER,
): Promise<Head | undefined> {
  const found = await client.query<{ seq: string; hash: string; time_ms: string }>(headOf, [tenant, seq]);
  const [row] = found.rows;
  return row === undefined ? undefined : { seq: Number(row.seq), hash: row.hash, timeMs: Number(row.time_ms) };
}

async function* flatten<T>(batches: AsyncIterable<readonly T[]>): AsyncGenerator<T, void, undefined> {
  for await (const batch of batches) yield* batch;
}
