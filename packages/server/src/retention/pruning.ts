/**
 * Pruning: the ledger's beginning goes to an archive, then its old entries lose content and bodies. Their rows stay with
 * their hashes, so chain and tree verify as before, and the archive can be compared with them.
 *
 * Steps. (1) The caller writes the archive, reads it back and verifies it. (2) One commit: `ledger.pruned`, which names
 * the archive's digest, the kept entries, and the sums of counters in the removed contents. (3) `prune_entries` empties
 * the entries that this entry names. If we die before (2), a file is there that nothing refers to; if we die before
 * (3), the next start does it.
 *
 * INVARIANT: step (2) decides which contents go, from the entry alone and the entries before its `head`; the same
 * question at any later time has the same answer. So a pruning that was stopped removes exactly the contents that were
 * archived and summed.
 */
import { refused, type Refusal } from "@countersign/contract";
import type { Actor, Decided, EntryDraft, Guard, Snapshot } from "../ledger/index.js";
import { checkHolds, holdsGuard, loadHolds, type Holds } from "./holds.js";
import { lastSeq, prunings, pruningSums, type PrunedRow, type PruningScope, type PruningSums } from "./queries.js";

export interface Pruning {
  /** The entry that says so. */
  readonly seq: number;
  readonly entryId: string;
  readonly atMs: number;
  /** Range of the archive: from here up to, not including, `upTo`. */
  readonly from: number;
  readonly upTo: number;
  /** SHA-256 of the archive's file. */
  readonly archive: string;
  readonly archiveEntries: number;
  readonly archiveBytes: number;
  readonly emptied: number;
  readonly kept: number;
  readonly done: boolean;
}

/** Those of a tenant, oldest first. */
export async function listPrunings(snapshot: Snapshot): Promise<Pruning[]> {
  const rows = await snapshot.query<PrunedRow>(prunings(snapshot.tenant));
  return rows
    .filter(({ said }) => said.part === 0)
    .map((row) => ({
      seq: Number(row.seq),
      entryId: row.entry_id,
      atMs: Number(row.time_ms),
      from: row.said.from,
      upTo: row.said.upTo,
      archive: row.said.archive,
      archiveEntries: row.said.archiveEntries,
      archiveBytes: row.said.archiveBytes,
      emptied: row.said.emptied,
      kept: row.said.kept,
      done: Number(row.there) <= row.said.kept,
    }));
}

export interface PruningPlan {
  readonly from: number;
  readonly upTo: number;
  readonly head: number;
  readonly keptSubjects: readonly string[];
  readonly emptied: number;
  readonly kept: number;
  readonly bodies: number;
  readonly counts: readonly (readonly [string, number])[];
  readonly holds: Holds;
}

/** Ids of subjects that a pruning may keep: more do not fit into the entry that says so. */
const keptSubjectsMax = 20_000;
/** Sums of counters that one entry names. */
const countsPerEntry = 5_000;

/**
 * The contents that a pruning before `upTo` would remove. `unfinished`: unfinished change-sets. Refuses with
 * `legal_hold` when the whole tenant is held, `invalid_request` when there is nothing to prune, `limit_exceeded`,
 * `conflict` while an earlier one is not done.
 */
export async function planPruning(
  snapshot: Snapshot,
  asked: { readonly upTo: number; readonly unfinished: readonly string[] },
): Promise<PruningPlan | Refusal> {
  const [holds, earlier, [last]] = await Promise.all([
    loadHolds(snapshot),
    listPrunings(snapshot),
    snapshot.query<{ seq: string }>(lastSeq(snapshot.tenant)),
  ]);
  const held = checkHolds(holds, null);
  if (held !== undefined) return held;
  const head = Number(last?.seq ?? -1);
  const from = Math.max(0, ...earlier.map(({ upTo }) => upTo));
  if (asked.upTo <= from || asked.upTo > head)
    return refused(
      "invalid_request",
      asked.upTo > head
        ? `the ledger ends with entry \`${head}\`; prune up to \`${head}\` or less`
        : from === 0
          ? "there is no entry before that time"
          : `nothing is left to prune before entry \`${asked.upTo}\`: it was pruned up to \`${from}\``,
    );
  if (earlier.some(({ done }) => !done))
    return refused(
      "conflict",
      "an earlier pruning is not done yet; the server finishes it within minutes, or at its next start",
      {
        retryAfterSeconds: 60,
      },
    );
  const keptSubjects = [
    ...new Set([
      ...asked.unfinished,
      ...holds.inForce.flatMap(({ subjectId }) => (subjectId === null ? [] : [subjectId])),
    ]),
  ].sort();
  if (keptSubjects.length > keptSubjectsMax)
    return refused(
      "limit_exceeded",
      `\`${keptSubjects.length}\` change-sets are unfinished or held, and at most \`${keptSubjectsMax}\` can be kept; finish or cancel some`,
    );
  const scope: PruningScope = { upTo: asked.upTo, head, kept: keptSubjects };
  const [sums] = await snapshot.query<PruningSums>(pruningSums(snapshot.tenant, scope));
  const emptied = Number(sums?.emptied ?? 0);
  return {
    from,
    upTo: asked.upTo,
    head,
    keptSubjects,
    emptied,
    kept: Number(sums?.there ?? 0) - emptied,
    bodies: Number(sums?.bodies ?? 0),
    counts: (sums?.counts ?? []).map(([key, sum]) => [key, Number(sum)] as const),
    holds,
  };
}

export interface ArchiveFacts {
  readonly sha256: string;
  readonly entries: number;
  readonly bytes: number;
}

/** The change of step 2. */
export function decidePruning<R>(
  plan: PruningPlan,
  archive: ArchiveFacts,
  given: {
    readonly actor: Actor;
    readonly guards: readonly Guard[];
    readonly tenant: string;
    readonly id: string;
    readonly result: R;
  },
): Decided<R> {
  const entry = (part: number, counts: PruningPlan["counts"]): EntryDraft => ({
    actor: given.actor,
    action: "ledger.pruned",
    subject: { type: "ledger", id: given.tenant },
    data: {
      upTo: plan.upTo,
      from: plan.from,
      head: plan.head,
      archive: archive.sha256,
      archiveEntries: archive.entries,
      archiveBytes: archive.bytes,
      emptied: plan.emptied,
      kept: plan.kept,
      counts: counts.map(([key, sum]) => [key, sum] as const),
      keptSubjects: part === 0 ? [...plan.keptSubjects] : [],
      part,
    },
  });
  const entries: EntryDraft[] = [{ ...entry(0, plan.counts.slice(0, countsPerEntry)), id: given.id }];
  for (let at = countsPerEntry; at < plan.counts.length; at += countsPerEntry)
    entries.push(entry(entries.length, plan.counts.slice(at, at + countsPerEntry)));
  return {
    kind: "change",
    change: {
      // One pruning after the other: the second finds the first one's end.
      guards: [...given.guards, holdsGuard(plan.holds), { kind: "subject", subjectId: given.tenant, seq: plan.head }],
      entries,
    },
    result: given.result,
  };
}
