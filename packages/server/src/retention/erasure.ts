/**
 * Erasing the texts of one subject. Every module that holds such texts hands in its part, and all parts become one
 * change.
 *
 * Steps. (1) One commit: entries `subject.erased` with the sequence numbers whose bodies go, new versions of governed rows
 * without their texts, and the deletion of the subject's keys. From here on the sealed texts cannot be read. (2)
 * `finish_erasures` deletes the bodies that committed entries name; modules delete their own copies. Step 2 reads from
 * the ledger which bodies remain, so anybody may repeat it, and every start does: if we die between the steps, the next
 * start finishes.
 *
 * INVARIANT: between the two steps, no text is lost that no entry names: the commit holds only if no entry about the
 * subject came after those it names (guard `subject`), and the database refuses to delete a key whose bodies are not
 * all named.
 */
import { refused, type Refusal } from "@countersign/contract";
import type { Actor, Decided, EntryDraft, ErasureSubject, Guard, ModuleErasure, Snapshot } from "../ledger/index.js";
import { checkHolds, holdsGuard, loadHolds, type Holds } from "./holds.js";
import { bodiesOfSubject, entriesReferringTo } from "./queries.js";

/** Sequence numbers one entry names at most. */
const seqsPerEntry = 1000;
/** Entries about one subject that are erased in one commit. */
const seqsMax = 100_000;

export interface LedgerErasure {
  readonly subject: ErasureSubject;
  /** Entries whose bodies go. */
  readonly seqs: readonly number[];
  /** The last entry about the subject. */
  readonly last: number;
  readonly keys: number;
  /** The entry that erased it before. */
  readonly erasedBy: number | null;
  /** Entries about others that name it. */
  readonly referring: number;
  readonly holds: Holds;
}

/** The ledger's own texts of a subject. Refuses with `legal_hold`, `not_found`. */
export async function loadErasure(snapshot: Snapshot, subject: ErasureSubject): Promise<LedgerErasure | Refusal> {
  const [[found], [referring], holds] = await Promise.all([
    snapshot.query<{ last: string | null; erased_by: string | null; keys: string; seqs: readonly string[] }>(
      bodiesOfSubject(snapshot.tenant, subject.id),
    ),
    snapshot.query<{ count: string }>(entriesReferringTo(snapshot.tenant, subject.id)),
    loadHolds(snapshot),
  ]);
  const held = checkHolds(holds, subject);
  if (held !== undefined) return held;
  if (found === undefined || found.last === null)
    return refused("not_found", `the ledger has no entry about ${subject.type} \`${subject.id}\``);
  if (found.seqs.length > seqsMax)
    return refused(
      "limit_exceeded",
      `\`${found.seqs.length}\` entries are about the subject; at most \`${seqsMax}\` can be erased at once`,
    );
  return {
    subject,
    seqs: found.seqs.map(Number),
    last: Number(found.last),
    keys: Number(found.keys),
    erasedBy: found.erased_by === null ? null : Number(found.erased_by),
    referring: Number(referring?.count ?? 0),
    holds,
  };
}

/** The change of step 1. Nothing, when nothing is left to take away. */
export function decideErasure<R>(
  loaded: LedgerErasure,
  modules: readonly ModuleErasure[],
  given: {
    readonly actor: Actor;
    readonly guards: readonly Guard[];
    readonly policy: string;
    readonly reason: string;
    readonly result: R;
  },
): Decided<R> {
  const writes = modules.flatMap((module) => [...module.writes]);
  const others = modules.flatMap((module) => [...(module.entries ?? [])]);
  if (loaded.seqs.length === 0 && loaded.keys === 0 && writes.length === 0 && others.length === 0)
    return { kind: "nothing", result: given.result };
  const { actor, policy } = given;
  const { subject, seqs } = loaded;
  const entry = (of: readonly number[]): EntryDraft => ({
    actor,
    action: "subject.erased",
    subject,
    data: { subjectType: subject.type, subject: subject.id, policy, seqs: [...of] },
  });
  const first: EntryDraft = {
    ...entry(seqs.slice(0, seqsPerEntry)),
    body: { reason: given.reason },
    writes,
    erasesKeys: true,
  };
  const more: EntryDraft[] = [];
  for (let at = seqsPerEntry; at < seqs.length; at += seqsPerEntry) more.push(entry(seqs.slice(at, at + seqsPerEntry)));
  return {
    kind: "change",
    change: {
      guards: [
        ...given.guards,
        holdsGuard(loaded.holds),
        { kind: "subject", subjectId: subject.id, seq: loaded.last },
        ...modules.flatMap((module) => [...(module.guards ?? [])]),
      ],
      entries: [first, ...more, ...others],
    },
    result: given.result,
  };
}
