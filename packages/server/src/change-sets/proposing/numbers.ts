/**
 * Human-readable numbers, in blocks of a process: gaps are allowed, collisions are not (the `absent` guard of the change-set
 * holds them off should the series ever be lost).
 */
import type { Ledger, Snapshot } from "../../ledger/index.js";
import { changeSetNumber } from "./plan.rules.js";
import { highestNumber, numberTaken } from "../queries.js";

const blockSize = 16;

interface Block {
  next: number;
  last: number;
}

export class NumberBlocks {
  readonly #ledger: Ledger;
  readonly #blocks = new Map<string, Promise<Block>>();

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** The next number of the day in this tenant. Never given twice by this process. */
  async next(snapshot: Snapshot, day: string): Promise<number> {
    const key = `${snapshot.tenant} ${day}`;
    for (;;) {
      const waiting = this.#blocks.get(key) ?? this.#reserve(snapshot, key, day);
      const block = await waiting;
      if (block.next <= block.last) return block.next++;
      if (this.#blocks.get(key) === waiting) this.#blocks.delete(key);
    }
  }

  #reserve(snapshot: Snapshot, key: string, day: string): Promise<Block> {
    for (const old of this.#blocks.keys()) {
      // Yesterday's blocks are of no use to anybody.
      if (old.startsWith(`${snapshot.tenant} `) && old !== key) this.#blocks.delete(old);
    }
    const reserved = this.#fresh(snapshot, day).then(({ first, last }): Block => ({ next: first, last }));
    this.#blocks.set(key, reserved);
    reserved.catch(() => this.#blocks.delete(key));
    return reserved;
  }

  /** A block of the series; when the series was lost and starts again below what was given, one above all that were given. */
  async #fresh(snapshot: Snapshot, day: string): Promise<{ first: number; last: number }> {
    const block = await this.#ledger.reserveNumbers(snapshot.tenant, { series: day, count: blockSize, atLeast: 1 });
    if (!(await numberTaken(snapshot, changeSetNumber(day, block.first)))) return block;
    const atLeast = (await highestNumber(snapshot, day)) + 1;
    return this.#ledger.reserveNumbers(snapshot.tenant, { series: day, count: blockSize, atLeast });
  }
}
