/**
 * Entries whose stored hash differs from the computed one, and a likely cause: chained for another tenant, or exchanged
 * with another entry. One finding with the cause then replaces all findings that follow from it.
 *
 * Promises: an entry is called foreign or exchanged only if its stored hashes come true that way. Memory and time are
 * bounded, however many entries a hostile file spoils: beyond the bounds a wrong hash is only called wrong.
 */
import { entryHashHex, type Link } from "./entry.js";
import type { Finding, FindingClass, Findings } from "./findings.js";

/** An entry that was read, as its successor and later suspects need it. */
export interface Candidate {
  readonly link: Link;
  readonly stored: string;
  computed: string;
  /** A finding already names the cause, so its consequences need no findings. */
  explained: boolean;
  /** Its link was found broken. */
  linkBroken: boolean;
}

/** How many entries with a wrong hash are kept to recognise exchanged ones, and tried against other tenants. */
const suspectsMax = 64;
/** Entries with a wrong hash that are tried against those: 1,000 hashes each, so a hostile file must not choose how many. */
const exchangesTriedMax = 1000;
const otherTenantsMax = 10_000;

/** The other findings that appear where two entries were exchanged. */
const consequences: ReadonlySet<FindingClass> = new Set<FindingClass>([
  "LINK_BROKEN",
  "TIME_REGRESSION",
  "COLUMN_MISMATCH",
]);

export class Suspects {
  readonly #findings: Findings;
  readonly #otherTenants: readonly string[];
  #kept: Candidate[] = [];
  #exchangesTried = 0;

  constructor(findings: Findings, otherTenants: readonly string[]) {
    this.#findings = findings;
    this.#otherTenants = otherTenants.slice(0, otherTenantsMax);
  }

  /** The hash does not fit this tenant: does it fit another? */
  recogniseForeign(candidate: Candidate): void {
    if (this.#kept.length >= suspectsMax) return;
    const { link, stored } = candidate;
    const tenant = this.#otherTenants.find((other) => entryHashHex({ ...link, tenant: other }) === stored);
    if (tenant === undefined) return;
    this.#findings.find("FOREIGN_ENTRY", link.seq, link.tenant, tenant, {
      detail: "the entry was chained for another tenant",
    });
    candidate.explained = true;
  }

  /** Two entries whose stored hashes come true when fields of theirs are exchanged were exchanged. */
  recogniseExchanged(candidate: Candidate): void {
    if (candidate.explained || this.#exchangesTried++ >= exchangesTriedMax) return;
    const other = this.#kept.find((suspect) => wereExchanged(suspect, candidate));
    if (other === undefined) {
      if (this.#kept.length < suspectsMax) this.#kept.push(candidate);
      return;
    }
    this.#reportExchanged(other.link.seq, candidate.link.seq);
    candidate.explained = true;
    other.explained = true;
    this.#kept = this.#kept.filter((suspect) => suspect !== other);
  }

  #reportExchanged(i: number, j: number): void {
    const places = new Set([i, i + 1, j, j + 1]);
    const finding: Finding = {
      class: "ORDER_BROKEN",
      seq: i,
      expected: `entry ${i}`,
      actual: `entry ${j}`,
      suspect: j,
      detail: "exchanged",
    };
    this.#findings.explain(
      finding,
      (found) => found.seq !== null && places.has(found.seq) && consequences.has(found.class),
    );
  }
}

/** Each field belongs to one of the two entries: 8 ways to deal four fields, the rest are the same with the entries swapped. */
function wereExchanged(a: Candidate, b: Candidate): boolean {
  for (let mask = 0; mask < 8; mask++) {
    const pick = (mine: Link, other: Link): string =>
      entryHashHex({
        tenant: mine.tenant,
        seq: mine.seq,
        timeMs: (mask & 1) === 0 ? mine.timeMs : other.timeMs,
        prev: (mask & 2) === 0 ? mine.prev : other.prev,
        contentHash: (mask & 4) === 0 ? mine.contentHash : other.contentHash,
      });
    const one = pick(a.link, b.link);
    if (one !== a.stored && one !== b.stored) continue;
    if (pick(b.link, a.link) === (one === a.stored ? b.stored : a.stored)) return true;
  }
  return false;
}
