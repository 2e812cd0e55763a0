/**
 * Parts of the ledger as bundles: files that verify without server and database. A range, which can be shown to be complete, or
 * a selection, whose entries can be shown to be in the ledger. And receipts: one entry as a file.
 *
 * Promises: one snapshot, constant memory · a ledger that is not published is exported all the same, and the bundle
 * says so.
 */
import { type Action, isUuid, refused, RefusalError, type TenantId } from "@countersign/contract";
import {
  type BundleHeader,
  type BundleProofs,
  linkText,
  type ReceiptGiven,
  type StoredEntry,
  writeBundle,
} from "@countersign/proof";
import type pg from "pg";
import { connectionLost, unavailable } from "../storage/index.js";
import { cosignatures, Evidence, type Confirmed } from "./evidence.js";
import { chosenSeqs, entriesAt, headOf, placeOf, type Chosen, type EntryRow } from "./exportQueries.js";
import { type Ask, firstSeqAt, type OpenBody, openReading, type Query, readEntries } from "../ledger/index.js";

export interface ExportOptions {
  /** First and last sequence number. Default: everything. */
  readonly from?: number;
  readonly to?: number;
  /** The same by time: entries not before, and before. */
  readonly sinceMs?: number;
  readonly untilMs?: number;
  /** Texts that people read travel along. Default false. */
  readonly bodies?: boolean;
  /** Name of the deployment that exports. */
  readonly deployment: string;
  /** Entries of these alone, each with a proof; else the whole range. */
  readonly selection?: Selection;
  /**
   * Signed notes; they make the checkpoints of other keys believable. As a function: called after the snapshot is
   * taken, so no statement of a key in the snapshot is missing.
   */
  readonly keyStatements?: readonly string[] | (() => Promise<readonly string[]>);
  /** Why there are no proofs, for the header: a code. */
  readonly unproven?: string;
}

export interface Selection {
  readonly actorId?: string;
  readonly subjectId?: string;
  /** The request, for the header. */
  readonly about: Readonly<Record<string, string>>;
}

export interface ExportParts {
  readonly login: pg.ClientConfig;
  readonly nowMs: number;
  readonly openBody: OpenBody;
}

/** The bundle in pieces. Throws RefusalError `database_unavailable`, `not_found` for a range that does not exist. */
export async function* exportBundle(
  given: ExportParts,
  tenant: TenantId,
  options: ExportOptions,
): AsyncGenerator<string, void, undefined> {
  const reading = await openReading(given.login, tenant);
  try {
    const ask = asking(reading.client);
    const header = await headerOf(reading.client, tenant, given.nowMs, options);
    const evidence = new Evidence(tenant, ask);
    const openBody = options.bodies === true ? given.openBody : undefined;
    const { keyStatements: keys = [], selection } = options;
    const keyStatements = typeof keys === "function" ? await keys() : keys;
    if (selection === undefined) {
      const proofs = await evidence.ofRange(header);
      const entries = flatten(readEntries(reading.client, tenant, header, openBody));
      yield* writeBundle(header, entries, withKeys(proofs, keyStatements));
      return;
    }
    const covering = await evidence.covering(1, keyStatements);
    // Entries that no checkpoint covers cannot be shown to be in the ledger: they are in the next export.
    const to = covering === undefined ? header.to : Math.min(header.to, covering.checkpoint.size - 1);
    const proofs = covering === undefined ? {} : { checkpoints: [{ note: covering.checkpoint.text }] };
    const entries = selected(ask, tenant, { selection, from: header.from, to }, { evidence, covering, openBody });
    yield* writeBundle({ ...header, to }, entries, withKeys(proofs, keyStatements));
  } catch (error) {
    throw connectionLost(error) ? unavailable(error) : error;
  } finally {
    await reading.close();
  }
}

/** One after the other: a connection takes one question at a time. */
function asking(client: pg.Client): Ask {
  let before: Promise<unknown> = Promise.resolve();
  return <R extends object>({ name, text, values }: Query): Promise<R[]> => {
    const rows = before.then(async () => (await client.query<R>({ name, text, values: [...values] })).rows);
    before = rows.catch(() => undefined); // whoever asked hears of it
    return rows;
  };
}

function withKeys(proofs: BundleProofs, keyStatements: readonly string[]): BundleProofs {
  return (proofs.checkpoints?.length ?? 0) === 0 ? {} : { ...proofs, keyStatements };
}

async function headerOf(
  client: pg.Client,
  tenant: TenantId,
  nowMs: number,
  options: ExportOptions,
): Promise<BundleHeader> {
  const last = await readHead(client, tenant);
  const seqAt = (timeMs: number): Promise<number> => firstSeqAt({ tenant, query: asking(client) }, timeMs);
  const from = options.from ?? (options.sinceMs === undefined ? 0 : await seqAt(options.sinceMs));
  const to = options.to ?? (options.untilMs === undefined ? (last?.seq ?? -1) : (await seqAt(options.untilMs)) - 1);
  if (to > (last?.seq ?? -1) || from > to + 1) {
    throw new RefusalError(
      refused("not_found", `the ledger has no entries \`${from}\` to \`${to}\`; it ends with \`${last?.seq ?? -1}\``),
    );
  }
  const about = {
    ...options.selection?.about,
    ...(options.sinceMs === undefined ? {} : { since: new Date(options.sinceMs).toISOString() }),
    ...(options.untilMs === undefined ? {} : { until: new Date(options.untilMs).toISOString() }),
    ...(options.unproven === undefined ? {} : { unproven: options.unproven }),
  };
  return {
    deployment: options.deployment,
    tenant,
    selection: options.selection === undefined ? "range" : "entries",
    from,
    to,
    head: last ?? null,
    bodies: options.bodies === true ? "included" : "withheld",
    exportedAtMs: nowMs,
    ...(Object.keys(about).length === 0 ? {} : { about }),
  };
}

// ── Selections ───────────────────────────────────────────────────────────────────────────────────────────────────────

interface SelectedWith {
  readonly evidence: Evidence;
  readonly covering: Confirmed | undefined;
  readonly openBody: OpenBody | undefined;
}

/** Entries read at once; their bodies are in memory together. */
const entriesAtOnce = 100;
const keyActions: readonly Action[] = ["principal.key_enrolled", "principal.key_revoked"];

async function* selected(
  ask: Ask,
  tenant: TenantId,
  range: { readonly selection: Selection; readonly from: number; readonly to: number },
  how: SelectedWith,
): AsyncGenerator<StoredEntry, void, undefined> {
  for await (const seqs of numbersOf(ask, tenant, range)) {
    for (const row of await ask<EntryRow>(entriesAt(tenant, seqs))) {
      const entry = storedEntry(tenant, row, how.openBody);
      if (how.covering === undefined) yield entry;
      else {
        const leaf = linkText({ ...entry, tenant });
        yield { ...entry, proof: await how.evidence.inclusion(entry.seq, leaf, how.covering.checkpoint) };
      }
    }
  }
}

/** Ascending. A change-set's votes come with the entries that enrolled their keys: without them nobody could check a signature. */
async function* numbersOf(
  ask: Ask,
  tenant: TenantId,
  { selection, from, to }: { readonly selection: Selection; readonly from: number; readonly to: number },
): AsyncGenerator<number[], void, undefined> {
  const { actorId, subjectId } = selection;
  let keys = await keysOf(ask, tenant, { selection, to });
  for (let at = from; ;) {
    const rows = await ask<{ seq: string }>(chosenSeqs(tenant, { actorId, subjectId, from: at, to }, entriesAtOnce));
    const seqs = rows.map(({ seq }) => Number(seq));
    const last = seqs.length < entriesAtOnce ? Infinity : (seqs.at(-1) as number);
    const due = keys.filter((seq) => seq <= last);
    keys = keys.filter((seq) => seq > last);
    yield [...new Set([...seqs, ...due])].sort((a, b) => a - b);
    if (last === Infinity) return;
    at = last + 1;
  }
}

/** Numbers of the entries about signing keys of the subject's voters, or of the actor. */
async function keysOf(
  ask: Ask,
  tenant: TenantId,
  { selection, to }: { readonly selection: Selection; readonly to: number },
): Promise<number[]> {
  const { actorId, subjectId } = selection;
  const about = async (chosen: Omit<Chosen, "from" | "to">, limit = 1_000): Promise<number[]> =>
    (await ask<{ seq: string }>(chosenSeqs(tenant, { ...chosen, from: 0, to }, limit))).map(({ seq }) => Number(seq));
  const voters = new Set(actorId === undefined ? [] : [actorId]);
  if (subjectId !== undefined) {
    const votes = await about({ subjectId, actions: ["change_set.vote_cast"] });
    for (const row of await ask<EntryRow>(entriesAt(tenant, votes))) {
      const voter = /"voter":"([0-9a-f-]{36})"/.exec(row.content ?? "")?.[1];
      if (voter !== undefined) voters.add(voter);
    }
  }
  const found: number[] = [];
  for (const voter of voters) found.push(...(await about({ subjectId: voter, actions: keyActions })));
  return found;
}

function storedEntry(tenant: TenantId, row: EntryRow, openBody: OpenBody | undefined): StoredEntry {
  const { salt, sealed, key } = row;
  const opened =
    openBody === undefined || sealed === null || salt === null
      ? undefined
      : openBody(tenant, row.entry_id, { sealed, key });
  return {
    tenantId: tenant,
    seq: Number(row.seq),
    timeMs: Number(row.time_ms),
    entryId: row.entry_id,
    prev: row.prev,
    content: row.content,
    contentHash: row.content_hash,
    hash: row.hash,
    ...(opened === undefined ? {} : { body: { salt: salt as string, text: Buffer.from(opened).toString("utf8") } }),
  };
}

// ── Receipts ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface EntryReceipt {
  readonly seq: number;
  readonly entryId: string;
  readonly timeMs: number;
  readonly hash: string;
  readonly link: string;
  readonly content: string | null;
  readonly origin: string;
  readonly size: number;
  readonly cosignatures: number;
  readonly anchors: readonly string[];
  /** The parts that `formatReceipt` makes into a file, with `link`. */
  readonly path: Pick<ReceiptGiven, "index" | "proof" | "checkpoint">;
}

export interface Place {
  readonly seq: number;
  readonly entryId: string;
  readonly timeMs: number;
  readonly hash: string;
  readonly content: string | null;
}

/** Where an entry is, by its number or its id; undefined when there is none. */
export async function findEntry(ask: Ask, tenant: TenantId, name: string): Promise<Place | undefined> {
  const seq = /^\d{1,15}$/.test(name) ? { seq: Number(name) } : isUuid(name) ? { entryId: name } : undefined;
  if (seq === undefined) return undefined;
  const [row] = await ask<Pick<EntryRow, "seq" | "time_ms" | "entry_id" | "content" | "hash">>(placeOf(tenant, seq));
  if (row === undefined) return undefined;
  const { entry_id: entryId, content, hash } = row;
  return { seq: Number(row.seq), entryId, timeMs: Number(row.time_ms), hash, content };
}

/** The receipt of an entry; undefined when no checkpoint covers it yet. `keyStatements`: whose checkpoints not to take. */
export async function entryReceipt(
  ask: Ask,
  tenant: TenantId,
  { seq, entryId, timeMs, hash, content }: Place,
  keyStatements: readonly string[],
): Promise<EntryReceipt | undefined> {
  const evidence = new Evidence(tenant, ask);
  const covering = await evidence.covering(seq + 1, keyStatements);
  if (covering === undefined) return undefined;
  const { checkpoint, anchors } = covering;
  const [link = ""] = await evidence.leaves(seq, seq + 1);
  const proof = await evidence.inclusion(seq, link, checkpoint);
  return {
    ...{ seq, entryId, timeMs, hash, link, content, anchors },
    origin: checkpoint.origin,
    size: checkpoint.size,
    cosignatures: cosignatures(checkpoint),
    path: { index: seq, proof, checkpoint: checkpoint.text },
  };
}

// ── The end of the ledger ────────────────────────────────────────────────────────────────────────────────────────────

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
