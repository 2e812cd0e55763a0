/**
 * Sequence numbers that were skipped. A skipped entry was deleted, or stands elsewhere and comes later. So each gap is
 * reported at once and remembered, and its finding is changed if the entry comes later.
 *
 * Promises: `GAP` where no entry came, `ORDER_BROKEN` where one came late, and then a gap of its own for entries that
 * never came. Memory is bounded: beyond `missingMax` ranges a late entry is taken for one that is there twice.
 */
import type { Finding, Findings } from "./findings.js";

/** Ranges of missing sequence numbers kept to tell "out of order" from "deleted". */
const missingMax = 10_000;

interface Gap {
  readonly first: number;
  readonly last: number;
  readonly finding: Finding;
}

export class Gaps {
  readonly #findings: Findings;
  /** Ascending, disjoint ranges of sequence numbers that were skipped. */
  #missing: Gap[] = [];

  constructor(findings: Findings) {
    this.#findings = findings;
  }

  /** `actual` stands where `first` should; `entriesRead`: with it. */
  report({ first, last, actual, entriesRead }: Omit<Gap, "finding"> & { actual: string; entriesRead: number }): void {
    const detail = first === last ? "1 entry is missing" : `${last - first + 1} entries are missing, up to ${last}`;
    // Pruning keeps the hashes: rows that are gone from the beginning were not pruned by us.
    const name = first === 0 && entriesRead === 1 ? "PRUNED_WITHOUT_ENTRY" : "GAP";
    const finding: Finding = { class: name, seq: first, expected: `entry ${first}`, actual, detail };
    this.#findings.add(finding);
    if (this.#missing.length < missingMax) this.#missing.push({ first, last, finding });
  }

  /** An entry that is not the next one. True if it was missing: nothing was deleted, the order is broken. */
  takeLate(seq: number): boolean {
    const gap = this.#missing.find((range) => range.first <= seq && seq <= range.last);
    if (gap === undefined) return false;
    const isKnown = gap.finding.class === "ORDER_BROKEN";
    const order: Finding = isKnown
      ? gap.finding
      : { ...gap.finding, class: "ORDER_BROKEN", detail: `entry ${seq} comes later` };
    if (!isKnown) this.#findings.explain(order, (found) => found === gap.finding);
    this.#missing = this.#missing.flatMap((range) =>
      range !== gap
        ? [range]
        : [
            { first: gap.first, last: seq - 1, finding: order },
            { first: seq + 1, last: gap.last, finding: order },
          ].filter(({ first, last }) => first <= last),
    );
    return true;
  }

  /** At the end: the entries that never came, of a gap in which some came late. */
  close(entriesRead: number): void {
    for (const { first, last, finding } of this.#missing.splice(0)) {
      if (finding.class === "ORDER_BROKEN") this.report({ first, last, actual: "none", entriesRead });
    }
  }
}
