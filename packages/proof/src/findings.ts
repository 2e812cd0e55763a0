/**
 * The findings and verdicts of a verifier. The names are part of the format: they are added, never renamed or reused.
 */

/** Closed list; `docs/ledger-format.md` says what each means. Every one but MALFORMED means: tampered. */
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
  "PRUNED_WITHOUT_ENTRY",
  "VOTE_FORGED",
  "TRUNCATED",
  "ROLLED_BACK",
  "HISTORY_REWRITTEN",
  "ANCHOR_MISMATCH",
  "EQUIVOCATION",
  "LEDGER_MISSING",
  "KEY_UNTRUSTED",
  "KEY_REVOKED",
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
  /** The row it is about: STATE_*, ENTRY_WITHOUT_STATE, DEFINITION_MISMATCH. The tenant: LEDGER_MISSING. */
  readonly table?: string;
  readonly id?: string;
  /** TRUNCATED, ROLLED_BACK: entries there are, and entries somebody outside knows of. */
  readonly have?: number;
  readonly anchored?: number;
  /** EQUIVOCATION: the size of both trees. */
  readonly size?: number;
  /** HISTORY_REWRITTEN, ANCHOR_MISMATCH: the last size that agrees and the first that does not, where the entry is not known. */
  readonly between?: readonly [agrees: number, differs: number];
  /** The signed notes that prove it to others. */
  readonly evidence?: readonly string[];
  /** The detail, in a few words. */
  readonly detail?: string;
}

/** Closed list of notes beside findings. A note can be true of a ledger that nobody tampered with. */
export const noteClasses = [
  "ERASED",
  "PRUNED",
  "RESTORED",
  "KEY_ROTATED",
  "KEY_REVOKED",
  "KEY_UNKNOWN",
  "UNANCHORED",
  "ANCHOR_SOURCE_UNTRUSTED",
  "ANCHOR_UNREADABLE",
  "ANCHOR_AHEAD",
  "SELECTION",
] as const;
export type NoteClass = (typeof noteClasses)[number];

export interface VerifyNote {
  readonly class: NoteClass;
  /** The entry it is about; null where it is about none or many. */
  readonly seq: number | null;
  /** The entry that says so. */
  readonly by?: number;
  /** RESTORED: the incarnation that began. */
  readonly incarnation?: number;
  /** PRUNED: SHA-256 of the archive, and the first entry that was kept whole. */
  readonly archive?: string;
  readonly upTo?: number;
  readonly detail: string;
}

/** ok · tampered · undecided: something could not be read, or is malformed. */
export type Integrity = "ok" | "tampered" | "undecided";

/** The statement of a place outside the ledger about it. */
export interface CompletenessSource {
  readonly name: string;
  /** `file`, `git`, `witness`, or `own`: the ledger's (or the bundle's) own checkpoints, which prove nothing by themselves. */
  readonly kind: string;
  readonly location: string;
  /** Entries that its newest checkpoint covers; null if it has none of this ledger. */
  readonly size: number | null;
  /** When that place took it, as the place itself says. */
  readonly atMs: number | null;
  readonly state: "agrees" | "contradicts" | "unreadable" | "untrusted" | "nothing";
  readonly detail?: string;
}

/** Whether the ledger was shown to be whole, as far as the policy demands. */
export interface Completeness {
  /** not_demanded: no policy asks for it. */
  readonly status: "not_demanded" | "shown" | "not_shown";
  /** Entries that the policy's quorum confirmed (without a quorum: any anchor or witness); null: none. */
  readonly anchored: number | null;
  /** Entries read beyond those. */
  readonly unanchored: number;
  readonly statement: string;
  readonly sources: readonly CompletenessSource[];
}

/** The ledger's own checkpoints: those of its database, or of the bundle. */
export interface CheckpointSummary {
  /** How many were compared with the entries and agree. */
  readonly agreeing: number;
  /** Entries that the largest of them covers; null: none. */
  readonly size: number | null;
  readonly signedBy: readonly {
    /** base64url. */
    readonly publicKey: string;
    /**
     * pinned: by the verifier's policy, or descending from one pinned there. own: only by the word of the ledger under
     * verification.
     */
    readonly trust: "pinned" | "own";
    readonly revokedAtMs?: number;
  }[];
}

export interface VerifyResult {
  readonly integrity: Integrity;
  readonly completeness: Completeness;
  readonly tenant: string;
  /** Entries read, whatever their state. */
  readonly entries: number;
  /** First sequence number demanded. */
  readonly from: number;
  /** The last entry in order, with the hash computed here; `root`: of the tree up to it, where it was followed. */
  readonly head?: { readonly seq: number; readonly hash: string; readonly timeMs: number; readonly root?: string };
  readonly first?: Finding;
  /** By sequence number; at most `findingsMax` of them. */
  readonly findings: readonly Finding[];
  /** How many there are in all. */
  readonly findingsTotal: number;
  /** At most 200. */
  readonly notes: readonly VerifyNote[];
  readonly notesTotal: number;
  readonly checkpoints: CheckpointSummary;
  readonly votes: {
    readonly checked: number;
    /** Votes whose key was enrolled before the range that was read: neither good nor bad. */
    readonly unchecked: number;
  };
  readonly bodies: { readonly checked: number; readonly absent: number };
  /** Hashes computed at the places asked for. */
  readonly hashes?: readonly { readonly seq: number; readonly hash: string }[];
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

/** Tampering outweighs everything: a reader of the exit code alone must not miss it. */
export function exitCodeOf(result: {
  readonly integrity: Integrity;
  readonly findings: readonly Pick<Finding, "class">[];
  readonly completeness?: { readonly status: string };
}): number {
  if (result.integrity === "tampered") return exitCodes.tampered;
  if (result.findings.some((finding) => finding.class === "MALFORMED")) return exitCodes.malformed;
  if (result.integrity !== "ok") return exitCodes.undecided;
  return result.completeness?.status === "not_shown" ? exitCodes.incomplete : exitCodes.ok;
}

/** After these the leaves computed here are not those that were published, and no checkpoint can agree. */
const damaging: ReadonlySet<FindingClass> = new Set<FindingClass>([
  ...(["MALFORMED", "LINK_BROKEN", "GAP", "PRUNED_WITHOUT_ENTRY", "DUPLICATE_SEQ"] as const),
  ...(["ORDER_BROKEN", "FOREIGN_ENTRY"] as const),
]);

/** Foreign text in a finding is kept to this many characters. */
const foreignTextMax = 200;

/** Collects findings in bounded memory. */
export class Findings {
  readonly #list: Finding[] = [];
  readonly #max: number;
  #total = 0;
  #tampered = false;
  #damagedFrom = Infinity;

  constructor(max: number) {
    this.#max = max;
  }

  /** Adds a finding made of these values. Values that were read may be of any length. */
  find(name: FindingClass, seq: number | null, expected: string, actual: string, more: Partial<Finding> = {}): void {
    this.add({ class: name, seq, expected: clip(expected), actual: clip(actual), ...more });
  }

  add(finding: Finding): void {
    this.#total++;
    this.#tampered ||= finding.class !== "MALFORMED";
    if (this.#list.length < this.#max) this.#list.push(finding);
    if (finding.seq === null || !damaging.has(finding.class)) return;
    this.#damagedFrom = Math.min(this.#damagedFrom, finding.seq, finding.suspect ?? Infinity);
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
  /** From this entry on computed hashes are known to be others than those that were chained; Infinity if none are. */
  get damagedFrom(): number {
    return this.#damagedFrom;
  }
  get sorted(): Finding[] {
    return [...this.#list].sort((a, b) => (a.seq ?? -1) - (b.seq ?? -1));
  }
}

function clip(text: string): string {
  return text.length > foreignTextMax ? `${text.slice(0, foreignTextMax)}…` : text;
}

/** Collects notes in bounded memory. */
export class Notes {
  readonly #list: VerifyNote[] = [];
  #total = 0;

  add(note: VerifyNote): void {
    this.#total++;
    if (this.#list.length < notesMax) this.#list.push(note);
  }
  get total(): number {
    return this.#total;
  }
  get list(): readonly VerifyNote[] {
    return this.#list;
  }
}

const notesMax = 200;
