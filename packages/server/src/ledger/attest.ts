/**
 * Checks that the rows a decision depends on agree with the ledger. The entries of one subject are hashed again and
 * compared with their neighbours in the chain; the rows are compared with their newest digests. So an edit of tables
 * alone is found. The caller checks the votes' signatures: the entries come back parsed.
 */
import {
  compareStates,
  contentHashHex,
  entryHashHex,
  parseEntryContent,
  rowDigest,
  zeroHash,
  type EntryContent,
  type Finding,
  type JsonObject,
  type RowState,
} from "@countersign/proof";
import { isUuid } from "@countersign/contract";
import type { Catalogue, Table } from "./catalogue.js";
import { entriesOfSubject, rowsById, type SubjectRow } from "./queries.js";
import type { GovernedTable, Snapshot } from "./types.js";

export interface AttestedEntry {
  readonly seq: number;
  readonly timeMs: number;
  readonly hash: string;
  readonly content: EntryContent;
}

export interface Attestation {
  /** In order of the ledger. Those that could not be believed are missing here and named in `mismatches`. */
  readonly entries: readonly AttestedEntry[];
  /** Empty: database and ledger agree about this subject. */
  readonly mismatches: readonly Finding[];
  /** The present rows that were compared with the ledger. Without a mismatch they agree with it. */
  readonly rows: readonly AttestedRow[];
}

export interface AttestedRow {
  readonly table: string;
  readonly id: string;
  readonly row: JsonObject;
}

export interface RowReference {
  readonly table: GovernedTable;
  readonly id: string;
}

export interface AttestationQuestion {
  readonly subjectId: string;
  readonly rows: readonly RowReference[];
  /** Hold against the ledger only the rows that are asked for: of a resource, not each of its old revisions. */
  readonly onlyThese?: boolean;
}

/**
 * `rows` are the rows that the decision read. Every row that the subject's entries wrote is checked too, unless
 * `onlyThese`. So changed rows, rows added by hand and removed rows are all found.
 */
export async function attest(
  catalogue: Catalogue,
  snapshot: Snapshot,
  asked: AttestationQuestion,
): Promise<Attestation> {
  const stored = await snapshot.query<SubjectRow>(entriesOfSubject(snapshot.tenant, asked.subjectId));
  const mismatches: Finding[] = [];
  const entries: AttestedEntry[] = [];
  for (const row of stored) {
    const entry = believe(snapshot.tenant, row, mismatches);
    if (entry !== undefined) entries.push(entry);
  }
  const all = newestStates(entries, asked.subjectId);
  const these = new Set(asked.rows.map(({ table, id }) => `${table} ${id}`));
  const newest = asked.onlyThese === true ? new Map([...all].filter(([key]) => these.has(key))) : all;
  const wanted = new Map<string, Set<string>>();
  for (const { table, id } of [...newest.values(), ...asked.rows])
    wanted.set(table, (wanted.get(table) ?? new Set<string>()).add(id));
  const present = (
    await Promise.all([...wanted].map(([table, ids]) => readStates(snapshot, catalogue.get(table), [...ids])))
  ).flat();
  for await (const finding of compareStates([...newest.values()].sort(byTableAndId), present.sort(byTableAndId)))
    mismatches.push(finding);
  return { entries, mismatches, rows: present.map(({ table, id, row }) => ({ table, id, row })) };
}

/** The entry, if its content, link and neighbours say the same. */
function believe(tenant: string, row: SubjectRow, mismatches: Finding[]): AttestedEntry | undefined {
  const [seq, timeMs] = [Number(row.seq), Number(row.time_ms)];
  const found = (name: Finding["class"], expected: string, actual: string): undefined => {
    mismatches.push({ class: name, seq, expected, actual });
    return undefined;
  };
  if (row.content === null) return found("ERASED_WITHOUT_ENTRY", "content", "none");
  const contentHash = contentHashHex(row.content);
  if (contentHash !== row.content_hash) return found("CONTENT_MISMATCH", row.content_hash, contentHash);
  const hash = entryHashHex({ tenant, seq, timeMs, prev: row.prev, contentHash });
  if (hash !== row.hash) return found("LINK_BROKEN", hash, row.hash);
  const before = seq === 0 ? zeroHash : (row.hash_before ?? "no entry");
  if (row.prev !== before) return found("LINK_BROKEN", before, row.prev);
  if (row.prev_after !== null && row.prev_after !== hash) return found("LINK_BROKEN", hash, row.prev_after);
  const parsed = parseEntryContent(row.content);
  return parsed.ok
    ? { seq, timeMs, hash, content: parsed.content }
    : found("MALFORMED", "content in the documented form", parsed.problem);
}

/** Written in the entries of many subjects: their newest digest is not among one subject's. No authority rests on them alone. */
const sharedTables: ReadonlySet<string> = new Set<GovernedTable>(["epochs", "target_holds"]);

function newestStates(entries: readonly AttestedEntry[], subjectId: string): Map<string, RowState> {
  const newest = new Map<string, RowState>();
  for (const { content } of entries) {
    // The index is over columns that the database made from the content; only the content itself counts.
    if (content.subject.id !== subjectId) continue;
    for (const [table, id, version, digest] of content.state) {
      if (sharedTables.has(table)) continue;
      const key = `${table} ${id}`;
      if ((newest.get(key)?.version ?? 0) < version) newest.set(key, { table, id, version, digest });
    }
  }
  return newest;
}

/** A name that is no governed table, or an id that cannot be one, has no row: an entry that claims otherwise is found by that. */
async function readStates(
  snapshot: Snapshot,
  table: Table | undefined,
  asked: readonly string[],
): Promise<(RowState & AttestedRow)[]> {
  if (table?.class !== "governed") return [];
  const { name } = table;
  const idType = table.columns.get("id") === "uuid" ? "uuid" : "text";
  const ids = idType === "uuid" ? asked.filter(isUuid) : asked;
  const rows = await snapshot.query<{ id: string; version: number; row_salt: Buffer; row: JsonObject }>(
    rowsById(snapshot.tenant, { name, idType }, ids),
  );
  return rows.map(({ id, version, row_salt, row }) => ({
    table: name,
    id,
    version,
    digest: rowDigest(row_salt, withoutNulls(row)),
    row,
  }));
}

/** A row's JSON leaves NULL columns out, so that a column added later does not change old digests. */
export function withoutNulls(row: JsonObject): JsonObject {
  return Object.fromEntries(Object.entries(row).filter(([, value]) => value !== null));
}

function byTableAndId(a: RowState, b: RowState): number {
  return (
    Buffer.compare(Buffer.from(a.table), Buffer.from(b.table)) || Buffer.compare(Buffer.from(a.id), Buffer.from(b.id))
  );
}
