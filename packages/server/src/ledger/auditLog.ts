/**
 * Searches the ledger for people: by actor, action, subject, change-set, time; newest or oldest first; page by page.
 */
import type { TenantId } from "@countersign/contract";
import { parseEntryContent, type EntryContent, type JsonObject } from "@countersign/proof";
import { auditEntries, seqNotBefore, type AuditRow } from "./queries.js";
import type { Ask, OpenBody } from "./reading.js";
import type { Actor, Reference, Snapshot } from "./types.js";

export interface AuditQuery {
  readonly actorId?: string;
  /** One or several actions. */
  readonly actions?: readonly string[];
  /** Entries about this subject; for a change-set everything that happened to it, its votes and applications included. */
  readonly subjectId?: string;
  /** Inclusive, by the entry's place in the ledger. */
  readonly fromMs?: number;
  /** Exclusive. */
  readonly toMs?: number;
  readonly order?: "newest" | "oldest";
  /** From the page before. */
  readonly cursor?: string;
  /** Entries of the page. */
  readonly limit: number;
}

export interface AuditEntry {
  readonly seq: number;
  readonly timeMs: number;
  readonly entryId: string;
  readonly hash: string;
  readonly atMs: number;
  readonly actor: Actor;
  readonly action: string;
  readonly subject: Reference;
  readonly refs: readonly Reference[];
  readonly data: JsonObject;
  /** Null: there is none, or `bodyState` says why. */
  readonly body: JsonObject | null;
  readonly bodyState: BodyState;
  /** The content is missing, or not in the format: only the entry's existence is known. */
  readonly contentMissing?: true;
}

/** `erased`: the entry committed to a body that is not there any more. `unreadable`: the sealing key is not here. */
export type BodyState = "none" | "present" | "erased" | "unreadable";

export interface AuditPage {
  readonly entries: readonly AuditEntry[];
  /** Present when there is more. */
  readonly next?: string;
}

export async function readAuditLog(snapshot: Snapshot, query: AuditQuery, openBody: OpenBody): Promise<AuditPage> {
  const newest = query.order !== "oldest";
  const cursor = query.cursor === undefined ? undefined : parseCursor(query.cursor);
  // Time never decreases along the ledger, so a span of time is a span of sequence numbers: found by bisection, without an index.
  const seqAt = (timeMs: number | undefined) => (timeMs === undefined ? undefined : firstSeqAt(snapshot, timeMs));
  const [from, to] = await Promise.all([seqAt(query.fromMs), seqAt(query.toMs)]);
  const rows = await snapshot.query<AuditRow>(
    auditEntries(snapshot.tenant, {
      actorId: query.actorId,
      actions: query.actions,
      subjectId: query.subjectId,
      from: highest(from, newest ? undefined : plus(cursor, 1)),
      before: lowest(to, newest ? cursor : undefined),
      newest,
      limit: query.limit + 1,
    }),
  );
  const shown = rows.slice(0, query.limit).map((row) => auditEntry(snapshot.tenant, row, openBody));
  const last = shown.at(-1);
  return rows.length > query.limit && last !== undefined
    ? { entries: shown, next: String(last.seq) }
    : { entries: shown };
}

/** Sequence number of the first entry not before a time; one more than the last when there is none. */
export async function firstSeqAt(
  { tenant, query }: { readonly tenant: TenantId; readonly query: Ask },
  timeMs: number,
): Promise<number> {
  const rows = await query<{ seq: string }>(seqNotBefore(tenant, timeMs));
  return Number(rows[0]?.seq ?? 0);
}

function parseCursor(cursor: string): number {
  const seq = Number(cursor);
  // A cursor that is none shows the first page's neighbours rather than an error page: it carries no authority.
  return /^\d{1,16}$/.test(cursor) && Number.isSafeInteger(seq) ? seq : 0;
}

const plus = (value: number | undefined, more: number): number | undefined =>
  value === undefined ? undefined : value + more;
const highest = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.max(a, b);
const lowest = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b);

/** An entry in the form that is shown. If its content was erased or is not in the format, the columns are shown. */
function auditEntry(tenant: TenantId, row: AuditRow, openBody: OpenBody): AuditEntry {
  const parsed = row.content === null ? undefined : parseEntryContent(row.content);
  const content: Pick<EntryContent, "actor" | "action" | "subject" | "refs" | "data" | "at"> =
    parsed?.ok === true
      ? parsed.content
      : {
          actor: { type: "system", id: "unknown", humans: [] },
          action: "entry.unreadable",
          subject: { type: "entry", id: row.entry_id },
          refs: [],
          data: {},
          at: Number(row.time_ms),
        };
  const { actor, action, subject, refs, data, at } = content;
  const committed = parsed?.ok === true ? parsed.content.body !== undefined : row.sealed !== null;
  return {
    seq: Number(row.seq),
    timeMs: Number(row.time_ms),
    entryId: row.entry_id,
    hash: row.hash,
    atMs: at,
    actor,
    action,
    subject,
    refs,
    data,
    ...(parsed?.ok === true ? {} : { contentMissing: true }),
    ...openedBody(tenant, row, committed, openBody),
  };
}

function openedBody(
  tenant: TenantId,
  { entry_id, sealed, key }: AuditRow,
  committed: boolean,
  openBody: OpenBody,
): Pick<AuditEntry, "body" | "bodyState"> {
  if (sealed === null) return { body: null, bodyState: committed ? "erased" : "none" };
  try {
    const opened = openBody(tenant, entry_id, { sealed, key });
    if (opened === undefined) return { body: null, bodyState: "erased" };
    const text = Buffer.from(opened).toString("utf8");
    return { body: JSON.parse(text) as JsonObject, bodyState: "present" };
  } catch {
    // The sealing key is missing, or the bytes were altered. The rest of the entry is still shown, with a note.
    return { body: null, bodyState: "unreadable" };
  }
}
