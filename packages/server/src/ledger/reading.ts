/**
 * Connections and streams for reading much: verification, export. One repeatable-read snapshot of one tenant, shared by as
 * many connections as there are streams at once, in constant memory.
 */
import type { TenantId } from "@countersign/contract";
import type { StoredEntry } from "@countersign/proof";
import pg from "pg";
import { connectionLost, unavailable } from "../storage/index.js";
import { copyOut, type RawRow } from "./copyOut.js";
import { setTenants, streamEntries } from "./queries.js";

export interface Reading {
  readonly client: pg.Client;
  /** Another connection in the same snapshot. */
  another(): Promise<pg.Client>;
  /** Ends all of them. */
  close(): Promise<void>;
}

/** Opens the first connection. Throws `database_unavailable` where the database is away. */
export async function openReading(login: pg.ClientConfig, tenant: TenantId): Promise<Reading> {
  const open: pg.Client[] = [];
  const connect = async (snapshot?: string): Promise<pg.Client> => {
    const client = new pg.Client({ ...login, application_name: "countersign reading", connectionTimeoutMillis: 10_000, keepAlive: true });
    client.on("error", () => undefined); // Whoever is reading meets it.
    open.push(client);
    await client.connect();
    await client.query("begin isolation level repeatable read read only");
    if (snapshot !== undefined) await client.query(`set transaction snapshot '${snapshot}'`);
    await client.query(setTenants, [`{${tenant}}`]);
    // Reading everything takes as long as it takes, and sorts much.
    await client.query("set local statement_timeout = 0; set local work_mem = '64MB'; set local jit = off");
    return client;
  };
  const close = async (): Promise<void> => {
    await Promise.all(open.map((client) => client.end().catch(() => undefined))); // Nothing was written.
  };
  try {
    const client = await connect();
    const another = async (): Promise<pg.Client> => {
      const exported = await client.query<{ snapshot: string }>("select pg_export_snapshot() as snapshot");
      return connect(exported.rows[0]?.snapshot);
    };
    return { client, another, close };
  } catch (error) {
    await close();
    throw connectionLost(error) ? unavailable(error) : error;
  }
}

export interface EntryRange {
  readonly from: number;
  readonly to?: number | undefined;
}

export type OpenBody = (tenant: TenantId, entryId: string, sealed: Uint8Array) => Uint8Array;

/** The entries of a range in storage order, in batches. With `openBody` their bodies too; one that cannot be opened throws. */
export async function* readEntries(
  client: pg.Client,
  tenant: TenantId,
  range: EntryRange,
  openBody?: OpenBody,
): AsyncGenerator<StoredEntry[], void, undefined> {
  for await (const rows of copyOut(client, streamEntries(tenant, range, openBody !== undefined))) {
    yield rows.map((row) => storedEntry(tenant, row, openBody));
  }
}

function storedEntry(tenant: TenantId, row: RawRow, openBody: OpenBody | undefined): StoredEntry {
  const [tenantId, seq, timeMs, id, prev, content, contentHash, hash, salt, sealed] = row;
  const entryId = uuidOf(id);
  const body = openBody !== undefined && salt && sealed ? { salt: salt.toString("hex"), text: Buffer.from(openBody(tenant, entryId, sealed)).toString("utf8") } : undefined;
  return {
    tenantId: tenantId ? uuidOf(tenantId) : tenant,
    seq: integerOf(seq),
    timeMs: integerOf(timeMs),
    entryId,
    prev: hexOf(prev),
    content: content ?? null,
    contentHash: hexOf(contentHash),
    hash: hexOf(hash),
    ...(body === undefined ? {} : { body }),
  };
}

export function textOf(field: Buffer | null | undefined): string {
  return field?.toString("utf8") ?? "";
}

function hexOf(field: Buffer | null | undefined): string {
  return field?.toString("hex") ?? "";
}

/** int8: beyond 2^53 it is not exact, and the verifier says so. */
export function integerOf(field: Buffer | null | undefined): number {
  return field ? field.readInt32BE(0) * 2 ** 32 + field.readUInt32BE(4) : NaN;
}

function uuidOf(field: Buffer | null | undefined): string {
  const hex = hexOf(field);
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
