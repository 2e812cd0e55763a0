/**
 * The checks that are left when everything is read. Do entries account for all missing contents and bodies? Do the
 * entries agree with sources elsewhere (`completeness.ts`)? Runs once, at the end.
 *
 * INVARIANT: a missing content without an excusing entry is a finding only if the reading reaches the end of the
 * ledger; otherwise the entry may come later. Only a whole reading can be shown complete.
 */
import { judge, type Evidence, type Judgement } from "./completeness.js";
import type { Findings, Notes } from "./findings.js";
import type { LedgerRecords } from "./records.js";
import type { TreeFollower } from "./tree.js";
import { noTrust } from "./trust.js";
import type { VerifyOptions } from "./verifyOptions.js";

/** A finished reading. New findings are added to its findings and notes. */
export interface Reading {
  readonly options: VerifyOptions;
  /** Of the entry behind the last. */
  readonly next: number;
  readonly records: LedgerRecords;
  readonly tree: TreeFollower | undefined;
  readonly findings: Findings;
  readonly notes: Notes;
  /** Nothing kept it from being read to its end. */
  readonly toTheEnd: boolean;
}

/** `unreadable`: why reading ended early. */
export function conclude(
  reading: Reading,
  unreadable: string | undefined,
): Pick<Judgement, "completeness" | "checkpoints" | "undecided"> {
  const unsettled = settle(reading) ?? unreadable;
  reading.tree?.finish();
  const judgement = judge(evidenceOf(reading, reading.toTheEnd && unsettled === undefined));
  for (const finding of judgement.findings) reading.findings.add(finding);
  for (const note of judgement.notes) reading.notes.add(note);
  const { completeness, checkpoints, undecided = unsettled } = judgement;
  return { completeness, checkpoints, ...(undecided === undefined ? {} : { undecided }) };
}

/** Contents and bodies that are gone: does an entry say so? Only the end of the ledger tells. */
function settle({ options, records, findings: found, notes: noted, toTheEnd }: Reading): string | undefined {
  const { findings, notes, undecided } = records.excuses.settle();
  for (const note of notes) noted.add(note);
  if (findings.length === 0) return undecided;
  if (reachesEnd(options) && toTheEnd) {
    for (const finding of findings) found.add(finding);
    return undecided;
  }
  const detail = `contents or bodies are gone in ${findings.length} places; the entry that says so, if there is one, is not among those read`;
  noted.add({ class: "ERASED", seq: findings[0]?.seq ?? null, detail });
  return undefined;
}

function reachesEnd({ selection, reachesEnd: isClaimed, to }: VerifyOptions): boolean {
  return selection === undefined && (isClaimed ?? to === undefined);
}

function evidenceOf({ options, next, records, tree, findings }: Reading, isWhole: boolean): Evidence {
  const { tenant, trust = noTrust, deployment, readFrom = "database", readAtMs, selection, recordedHead } = options;
  const { from = 0, ownCheckpoints, ownKeyStatements = [], consistency = new Map() } = options;
  return {
    ...{ tenant, deployment, trust, readFrom, readAtMs, selection, recordedHead, from, consistency },
    size: selection?.size ?? next,
    reachesEnd: reachesEnd(options) && isWhole,
    complete: isWhole,
    rootAt: (size) => tree?.rootAt(size) ?? (tree?.size === size ? tree.root() : undefined),
    firstDifferent: (i) => tree?.firstDifferent(i),
    damagedFrom: findings.damagedFrom,
    own: ownCheckpoints,
    ownStatements: ownKeyStatements,
    restores: records.restores,
    holds: isWhole && findings.total === 0,
  };
}
