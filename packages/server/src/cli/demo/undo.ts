/** Rolls back the latest share of every third chain, newest first, and compares each target with its earlier state. */
import type { Replayed } from "./replay.js";
import type { Stage } from "./stage.js";

/** How much of a chain is taken back. */
const share = 1 / 3;

export interface Undo {
  readonly stage: Stage;
  readonly replayed: readonly Replayed[];
  readonly onSet: () => void;
}

/** The change-sets that will be rolled back, chain by chain, newest first. */
export function chosen(replayed: readonly Replayed[]): (readonly string[])[] {
  return replayed
    .filter((_, index) => index % 3 !== 1)
    .map(({ sets }) => sets.slice(-Math.ceil(sets.length * share)).reverse());
}

export async function rollBackChain({ stage, onSet }: Undo, sets: readonly string[]): Promise<void> {
  for (const id of sets) {
    const after = await stage.rollBack(stage.cast.owner, id);
    if (after.status !== "ROLLED_BACK") throw new Error(`${after.number} is ${after.status} after roll back`);
    stage.tally.rolledBack.add(id);
    await stage.compare(stage.recorded.get(id) ?? [], after.number);
    onSet();
  }
}
