/**
 * Connections and streams for reading much: verification, export. One repeatable-read snapshot of one tenant, shared by as
 * many connections as there are streams at once, in constant memory.
 */
import type { TenantId } from "@countersign/contract";
import type { EntryBytes, EntryRows, StoredEntry } from "@countersign/proof";
import pg from "pg";
import { connectionLost, unavailable } from "../storage/index.js";
import { copyOut, type RowBatch } from "./copyOut.js";
import { setTenants, streamEntries } from "./queries.js";
import type { Query } from "./types.js";

export interface Reading {
  readonly client: pg.Client;
  /** Another connection in the same snapshot. */
  another(): Promise<pg.Client>;
  /** Ends all of them. */
  close(): Promise<void>;
}

/** Opens the first connection. Throws `database_unavailable` where the database is away. */
export async function openReading(login: pg.ClientConfig, tenant: TenantId): Promise<Reading> {
  const open: { readonly client: pg.Client; readonly connecting: Promise<unknown> }[] = [];
  let closed = false;
  const connect = async (snapshot?: string): Promise<pg.Client> => {
    if (closed) throw new Error("the reading was given up");
    const client = new pg.Client({
      ...login,
      application_name: "countersign reading",
      connectionTimeoutMillis: 10_000,
      keepAlive: true,
    });
    client.on("error", () => undefined); // Whoever is reading meets it.
    const connecting = client.connect();
    open.push({ client, connecting });
    await connecting;
    await client.query("begin isolation level repeatable read read only");
    if (snapshot !== undefined) await client.query(`set transaction snapshot '${snapshot}'`);
    await client.query(setTenants, [`{${tenant}}`]);
    // Reading everything takes as long as it takes, and sorts much.
    await client.query("set local statement_timeout = 0; set local work_mem = '64MB'; set local jit = off");
    // By keys, in their order: nothing is collected before the first row, and tables that have just grown are not compared
    // row with row for want of statistics.
    await client.query(
      "set local enable_seqscan = off; set local enable_hashjoin = off; set local enable_mergejoin = off; set local enable_material = off",
    );
    return client;
  };
  const close = async (): Promise<void> => {
    closed = true;
    const ended = open.map(async ({ client, connecting }) => {
      // INVARIANT: never before the connection is made or has failed. A client of pg that is ended sooner never answers
      // `connect`, and a caller that awaits it waits for ever: a server could not be stopped while it verified.
      await connecting.catch(() => undefined); // whoever asked for it hears of it
      await client.end().catch(() => undefined); // Nothing was written.
    });
    await Promise.all(ended);
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

/** Asks one question of a database; whose rows are seen was settled before. */
export type Ask = <R extends object>(query: Query) => Promise<R[]>;

export interface EntryRange {
  readonly from: number;
  readonly to?: number | undefined;
}

/** A stored body, and the stored key of its subject; null when there is no such row. */
export interface SealedBody {
  readonly sealed: Uint8Array;
  readonly key: Uint8Array | null;
}

/** Undefined: the subject's key was erased, and with it the body. Throws `sealed_unreadable`. */
export type OpenBody = (tenant: TenantId, entryId: string, body: SealedBody) => Uint8Array | undefined;

/**
 * The entries of a range in storage order, in batches, each good until the next one is asked for. With `openBody` their
 * bodies too; a body that cannot be opened throws.
 */
export async function* readEntries(
  client: pg.Client,
  tenant: TenantId,
  range: EntryRange,
  openBody?: OpenBody,
): AsyncGenerator<StoredEntry[], void, undefined> {
  for await (const rows of copyOut(client, streamEntries(tenant, range, openBody !== undefined))) {
    const entries: StoredEntry[] = [];
    while (rows.next()) entries.push(storedEntry(tenant, rows, openBody));
    yield entries;
  }
}

/** `readEntries` without bodies, in the memory they arrived in: for the verifier, which needs hardly any of it as text. */
export async function* readEntryBytes(
  client: pg.Client,
  tenant: TenantId,
  range: EntryRange,
): AsyncGenerator<EntryRows, void, undefined> {
  for await (const rows of copyOut(client, streamEntries(tenant, range, false))) yield new RowsInPlace(tenant, rows);
}

/** Fields in the order of `streamEntries`: seq, time_ms, entry_id, prev, content, content_hash, hash. */
class RowsInPlace implements EntryRows, EntryBytes {
  readonly bytes: Buffer;
  readonly words: DataView;
  readonly #tenant: TenantId;
  readonly #rows: RowBatch;
  isPlain = false;
  seq = 0;
  timeMs = 0;
  entryIdAt = 0;
  prevAt = 0;
  contentAt = 0;
  contentEnd = 0;
  contentHashAt = 0;
  hashAt = 0;

  constructor(tenant: TenantId, rows: RowBatch) {
    this.#tenant = tenant;
    this.#rows = rows;
    this.bytes = rows.buffer;
    this.words = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength);
  }

  next(): EntryBytes | undefined {
    if (!this.#rows.next()) return undefined;
    const { words } = this;
    const start = this.#rows.at;
    this.entryIdAt = start + 28;
    this.prevAt = start + 48;
    this.contentAt = start + 84;
    this.isPlain = isLong(words, start, 8) && isLong(words, start + 12, 8) && isLong(words, start + 24, 16);
    this.isPlain &&= isLong(words, start + 44, 32) && words.getInt32(start + 80) >= 0;
    if (!this.isPlain) return this;
    this.seq = readInt8(words, start + 4);
    this.timeMs = readInt8(words, start + 16);
    const end = this.contentAt + words.getInt32(start + 80);
    this.contentEnd = end;
    this.contentHashAt = end + 4;
    this.hashAt = end + 40;
    this.isPlain = isLong(words, end, 32) && isLong(words, end + 36, 32);
    return this;
  }

  entry(): StoredEntry {
    return storedEntry(this.#tenant, this.#rows, undefined);
  }
}

/**
 * Whether the field at this place has this length. Bytes behind the row belong to the next row and are only compared.
 */
function isLong(words: DataView, at: number, length: number): boolean {
  return at + 4 + length <= words.byteLength && words.getInt32(at) === length;
}

/** Eight bytes; beyond 2^53 not exact. */
function readInt8(words: DataView, at: number): number {
  return words.getInt32(at) * 2 ** 32 + words.getUint32(at + 4);
}

/** The statement asks for one tenant's rows, so the tenant is not among the columns; fields in the order of `streamEntries`. */
function storedEntry(tenant: TenantId, row: RowBatch, openBody: OpenBody | undefined): StoredEntry {
  const seq = row.integer();
  const timeMs = row.integer();
  const entryId = uuidOf(row.hex());
  const prev = row.hex();
  const content = row.bytes();
  const contentHash = row.hex();
  const hash = row.hex();
  if (openBody === undefined) return { tenantId: tenant, seq, timeMs, entryId, prev, content, contentHash, hash };
  const salt = row.hex();
  const [sealed, key] = [row.bytes(), row.bytes()];
  const opened = sealed === null ? undefined : openBody(tenant, entryId, { sealed, key });
  const body = opened === undefined ? undefined : { salt, text: Buffer.from(opened).toString("utf8") };
  return { tenantId: tenant, seq, timeMs, entryId, prev, content, contentHash, hash, body };
}

function uuidOf(hex: string): string {
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
