/**
 * What a verifier can find, and how it ends. The names are part of the format: they are added, never renamed or reused.
 */

/** Closed list; `docs/ledger-format.md` says what each means. */
export const findingClasses = [
  "MALFORMED",
  "CONTENT_MISMATCH",
  "LINK_BROKEN",
  "GAP",
  "DUPLICATE_SEQ",
  "ORDER_BROKEN",
  "TIME_REGRESSION",
  "DEFINITION_MISMATCH",
  "COLUMN_MISMATCH",
  "REFERENCE_MISMATCH",
  "STATE_MISMATCH",
  "STATE_WITHOUT_ENTRY",
  "ENTRY_WITHOUT_STATE",
  "FOREIGN_ENTRY",
  "ERASED_WITHOUT_ENTRY",
  "VOTE_FORGED",
] as const;
export type FindingClass = (typeof findingClasses)[number];

/** One thing that is not as it must be. */
export interface Finding {
  readonly class: FindingClass;
  /** The entry where it shows; null where it is not about one entry. */
  readonly seq: number | null;
  readonly expected: string;
  readonly actual: string;
  /** The entry that was probably altered, where that is another than the one where it shows. */
  readonly suspect?: number;
  /** The row it is about: STATE_*, ENTRY_WITHOUT_STATE, DEFINITION_MISMATCH. */
  readonly table?: string;
  readonly id?: string;
  /** What exactly, in a few words. */
  readonly detail?: string;
}

/** ok · tampered · undecided: could not read, or what was read is malformed. */
export type Integrity = "ok" | "tampered" | "undecided";

/** Whether the ledger was shown to be whole. Until anchors exist nothing is demanded, and nothing is shown. */
export interface Completeness {
  readonly status: "not_demanded";
  /** Entries that no anchor outside the database's reach covers. */
  readonly unanchored: number;
  readonly statement: string;
}

export interface VerifyResult {
  readonly integrity: Integrity;
  readonly completeness: Completeness;
  readonly tenant: string;
  /** Entries read, whatever their state. */
  readonly entries: number;
  /** First sequence number demanded. */
  readonly from: number;
  /** The last entry in order, with the hash computed here. */
  readonly head?: { readonly seq: number; readonly hash: string; readonly timeMs: number };
  readonly first?: Finding;
  /** By sequence number; at most `findingsMax` of them. */
  readonly findings: readonly Finding[];
  /** How many there are in all. */
  readonly findingsTotal: number;
  readonly votes: {
    readonly checked: number;
    /** Votes whose key was enrolled before the range that was read: neither good nor bad. */
    readonly unchecked: number;
  };
  readonly bodies: { readonly checked: number; readonly absent: number };
  /** Bytes of content hashed. */
  readonly bytes: number;
  readonly durationMs: number;
  /** Why it could not be decided. */
  readonly undecided?: string;
}

export const exitCodes = {
  ok: 0,
  tampered: 1,
  /** Integrity holds, completeness was demanded and not shown. */
  incomplete: 2,
  /** Could not decide: nothing or not everything could be read. */
  undecided: 3,
  malformed: 4,
  usage: 64,
} as const;

/** Tampering outweighs everything: whoever looks at the exit code alone must not miss it. */
export function exitCodeOf(result: Pick<VerifyResult, "integrity" | "findings">): number {
  if (result.integrity === "tampered") return exitCodes.tampered;
  if (result.findings.some((finding) => finding.class === "MALFORMED")) return exitCodes.malformed;
  return result.integrity === "ok" ? exitCodes.ok : exitCodes.undecided;
}

/** Collects findings in bounded memory. */
export class Findings {
  readonly #list: Finding[] = [];
  readonly #max: number;
  #total = 0;
  #tampered = false;

  constructor(max: number) {
    this.#max = max;
  }

  add(finding: Finding): void {
    this.#total++;
    this.#tampered ||= finding.class !== "MALFORMED";
    if (this.#list.length < this.#max) this.#list.push(finding);
  }

  /** Puts one finding in the place of those it explains. */
  explain(finding: Finding, isExplained: (other: Finding) => boolean): void {
    for (let i = this.#list.length - 1; i >= 0; i--) {
      if (!isExplained(this.#list[i] as Finding)) continue;
      this.#list.splice(i, 1);
      this.#total--;
    }
    this.add(finding);
  }

  get total(): number {
    return this.#total;
  }
  get tampered(): boolean {
    return this.#tampered;
  }
  get sorted(): Finding[] {
    return [...this.#list].sort((a, b) => (a.seq ?? -1) - (b.seq ?? -1));
  }
}
