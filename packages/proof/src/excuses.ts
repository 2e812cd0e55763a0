/**
 * Contents and bodies that are missing although their hash is there. The entry that says they were erased or pruned
 * comes later, so missing ones are kept as ranges and settled at the end. Bounded memory: ranges, not entries.
 */
import { excuseActions } from "./actions.js";
import type { EntryContent } from "./entry.js";
import type { Finding, VerifyNote } from "./findings.js";

/** Ranges kept of each kind; beyond them nothing can be decided. 16 MB. */
const rangesMax = 1_000_000;
/** Findings for missing contents and bodies that no entry excuses; the last one counts the rest. */
const findingsMax = 1000;

export type Missing = "content" | "body";

interface Pruned {
  readonly by: number;
  readonly upTo: number;
  readonly archive: string;
  /** Contents and bodies that are gone and that it excuses. */
  excused: number;
}

export class Excuses {
  readonly #missing = { content: new Ranges(), body: new Ranges() };
  readonly #pruned: Pruned[] = [];
  readonly #notes: VerifyNote[] = [];

  /** Called in the order of the entries. */
  gone(seq: number, what: Missing): void {
    this.#missing[what].add(seq);
  }

  /** Takes an entry whose action is one of `excuseActions`. Returns its error, if any. */
  take(seq: number, content: EntryContent): string | undefined {
    return content.action === excuseActions.erased ? this.#takeErased(seq, content) : this.#takePruned(seq, content);
  }

  #takeErased(by: number, { data }: EntryContent): string | undefined {
    const { seqs, subject } = data;
    if (!Array.isArray(seqs) || !seqs.every((seq) => isCount(seq) && seq < by))
      return "an erasure names no earlier entries";
    const gone = seqs.filter((seq) => this.#missing.body.remove(seq as number)).length;
    if (gone > 0) {
      const whose = typeof subject === "string" ? ` of ${subject.slice(0, 100)}` : "";
      this.#notes.push({ class: "ERASED", seq: null, by, detail: `${counted(gone, "body", "bodies")}${whose} erased` });
    }
    return undefined;
  }

  #takePruned(by: number, { data }: EntryContent): string | undefined {
    const { upTo, archive } = data;
    if (!isCount(upTo) || upTo > by || typeof archive !== "string") return "a pruning names no end and no archive";
    const excused = this.#missing.content.removeBelow(upTo) + this.#missing.body.removeBelow(upTo);
    this.#pruned.push({ by, upTo, archive: archive.slice(0, 64), excused });
    return undefined;
  }

  /** Findings for missing contents that no entry excuses, and notes on those that one does. */
  settle(): {
    readonly findings: readonly Finding[];
    readonly notes: readonly VerifyNote[];
    readonly undecided?: string;
  } {
    const findings = (["content", "body"] as const).flatMap((what) => findingsOf(this.#missing[what], what));
    const notes = [...this.#notes, ...this.#pruned.filter(({ excused }) => excused > 0).map(noteOfPruned)];
    return this.#missing.content.isFull || this.#missing.body.isFull
      ? { findings, notes, undecided: "too many contents are missing to tell which of them were pruned" }
      : { findings, notes };
  }

  /** For verifiers with archives: the archives that prunings named, the newest last. */
  get archives(): readonly { readonly by: number; readonly upTo: number; readonly archive: string }[] {
    return this.#pruned;
  }
}

function noteOfPruned({ by, upTo, archive, excused }: Pruned): VerifyNote {
  return {
    class: "PRUNED",
    seq: 0,
    by,
    archive,
    upTo,
    detail: `contents before entry ${upTo} were pruned (${excused} gone); the archive's SHA-256 is ${archive}`,
  };
}

function findingsOf(ranges: Ranges, what: Missing): Finding[] {
  const all = ranges.list();
  return all.slice(0, findingsMax).map(([first, last], i) => {
    const rest =
      i === findingsMax - 1 && all.length > findingsMax ? `, and ${all.length - findingsMax} more ranges` : "";
    const many = first === last ? "" : `, up to entry ${last}`;
    const detail = `the ${what} is gone and no entry says so${many}${rest}`;
    return { class: "ERASED_WITHOUT_ENTRY", seq: first, expected: what, actual: "none", detail };
  });
}

/** Ascending, disjoint ranges of sequence numbers. A range whose last is before its first is empty: taking it out would cost more. */
class Ranges {
  #firsts: number[] = [];
  #lasts: number[] = [];
  /** The last range that found no room; all such ranges are above the kept ones. */
  #lostUpTo = -1;

  get isFull(): boolean {
    return this.#lostUpTo >= 0;
  }

  /** `seq` is above all that are there. */
  add(seq: number): void {
    const last = this.#lasts.length - 1;
    if (last >= 0 && seq <= (this.#lasts[last] as number)) return;
    if (this.#lasts[last] === seq - 1) {
      this.#lasts[last] = seq;
    } else if (this.#firsts.length >= rangesMax) {
      this.#lostUpTo = seq;
    } else {
      this.#firsts.push(seq);
      this.#lasts.push(seq);
    }
  }

  /** True if it was there. */
  remove(seq: number): boolean {
    const i = this.#find(seq);
    const [first, last] = [this.#firsts[i], this.#lasts[i]];
    if (first === undefined || last === undefined || first > seq) return false;
    if (seq === last) this.#lasts[i] = seq - 1;
    else if (seq === first) this.#firsts[i] = seq + 1;
    else {
      this.#lasts.splice(i, 0, seq - 1);
      this.#firsts.splice(i + 1, 0, seq + 1);
    }
    return true;
  }

  /** Returns how many there were. */
  removeBelow(end: number): number {
    let [removed, i] = [0, 0];
    while (i < this.#lasts.length && (this.#lasts[i] as number) < end) removed += this.#count(i++, end);
    if (i < this.#firsts.length && (this.#firsts[i] as number) < end) {
      removed += this.#count(i, end);
      this.#firsts[i] = end;
    }
    this.#firsts = this.#firsts.slice(i);
    this.#lasts = this.#lasts.slice(i);
    if (this.#lostUpTo < end) this.#lostUpTo = -1;
    return removed;
  }

  list(): (readonly [number, number])[] {
    return this.#firsts
      .map((first, i) => [first, this.#lasts[i] as number] as const)
      .filter(([first, last]) => first <= last);
  }

  #count(i: number, end: number): number {
    return Math.min(end - 1, this.#lasts[i] as number) - (this.#firsts[i] as number) + 1;
  }

  /** The first range that ends at `seq` or later. */
  #find(seq: number): number {
    let [low, high] = [0, this.#lasts.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.#lasts[middle] as number) < seq) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function counted(count: number, one: string, many: string): string {
  return `${count} ${count === 1 ? one : many}`;
}
