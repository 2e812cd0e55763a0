/**
 * Checks that the entries read are the history that signed checkpoints describe: nobody signed two histories, no
 * checkpoint is of another history, and none is of more entries than are here. INVARIANT: only a claim whose signature
 * counts causes a finding; a place that is away, late, or ahead of an older export causes none.
 */
import { equalBytes, hexOf } from "./bytes.js";
import { timeText, type Claim, type Claims, type Found } from "./claims.js";
import type { Evidence } from "./evidence.js";
import type { Finding, FindingClass, VerifyNote } from "./findings.js";
import type { AnchorView } from "./trust.js";

/** Two trees of one size, both signed: proof against the log's key itself. */
export function findEquivocation(claims: Claims): Finding[] {
  const findings: Finding[] = [];
  const first = new Map<string, Claim>();
  const told = new Set<string>();
  for (const claim of claims.all) {
    const place = `${claim.size} ${claim.origin}`;
    const other = first.get(place);
    if (other === undefined) first.set(place, claim);
    if (other === undefined || told.has(place)) continue;
    if (claims.trustOf(claim) !== "trusted" || claims.trustOf(other) !== "trusted") continue;
    told.add(place);
    findings.push({
      class: "EQUIVOCATION",
      seq: null,
      size: claim.size,
      expected: `one root for ${claim.size} entries`,
      actual: `${hexOf(other.root)} and ${hexOf(claim.root)}`,
      evidence: [other.notes[0]?.text ?? "", claim.notes[0]?.text ?? ""],
      detail: `the log's key signed two ledgers of ${claim.size} entries; both notes are kept here`,
    });
  }
  return findings;
}

/** Contradicted or cut, according to anchors, the deployment's ledger, or the ledger's own checkpoints. */
export function checkHistory(evidence: Evidence, claims: Claims): Found {
  const history = new History(evidence, claims);
  history.check();
  return history;
}

class History {
  readonly findings: Finding[] = [];
  readonly notes: VerifyNote[] = [];
  readonly #evidence: Evidence;
  readonly #claims: Claims;

  constructor(evidence: Evidence, claims: Claims) {
    this.#evidence = evidence;
    this.#claims = claims;
  }

  check(): void {
    const outside = this.#claims.all.filter(
      (claim) => claim.anchors.length > 0 && this.#claims.trustOf(claim) === "trusted",
    );
    const own = this.#claims.all.filter(
      (claim) => claim.ownNotes.length > 0 && this.#claims.trustOf(claim) === "trusted",
    );
    const contradicting = outside.filter(({ comparison }) => comparison === "contradicts");
    if (contradicting.length > 0) return this.#diverged(contradicting, outside, own);
    if (this.#recordedContradicts()) return;
    const ownContradicting = own.filter(({ comparison }) => comparison === "contradicts");
    if (ownContradicting.length > 0) return this.#diverged(ownContradicting, own, []);
    this.#checkEnd(outside, own);
  }

  /** Somebody's signed checkpoint has another root than the entries that are here. */
  #diverged(contradicting: readonly Claim[], all: readonly Claim[], own: readonly Claim[]): void {
    const { from, readFrom, own: ownGiven, size } = this.#evidence;
    const differs = contradicting[0] as Claim;
    const agrees = all
      .filter((claim) => claim.comparison === "agrees" && claim.size < differs.size)
      .reduce((largest, claim) => Math.max(largest, claim.size), from);
    const first = this.#firstDifferent(agrees, differs.size);
    const supports = own.some((claim) => claim.comparison === "agrees" && claim.size > (first ?? differs.size - 1));
    const knows = own.some((claim) => claim.comparison === "contradicts" || claim.size > size);
    const isOwn = all === own || own.length + differs.anchors.length === 0;
    const older = readFrom === "database" && ownGiven !== undefined && !knows && !isOwn && differs.anchors.length > 0;
    const name: FindingClass = supports ? "ANCHOR_MISMATCH" : older ? "ROLLED_BACK" : "HISTORY_REWRITTEN";
    const anchored = all.reduce((largest, claim) => Math.max(largest, claim.size), 0);
    this.findings.push({
      class: name,
      seq: first ?? agrees,
      ...(first === undefined ? { between: [agrees, differs.size] as const } : {}),
      ...(name === "ROLLED_BACK" ? { have: first ?? agrees, anchored } : {}),
      expected: `root ${hexOf(differs.root)} of ${differs.size} entries, ${this.#holders(differs)}`,
      actual: `root ${hexOf(this.#evidence.rootAt(differs.size) ?? new Uint8Array())}`,
      evidence: differs.notes.map(({ text }) => text).slice(0, 1),
      detail: `${first === undefined ? `somewhere from entry ${agrees} to ${differs.size - 1}` : `entry ${first} is the first that differs`}; ${whyDiverged(name)}`,
    });
  }

  /** By the leaf hashes that anchors keep, if they are of that place. */
  #firstDifferent(agrees: number, differs: number): number | undefined {
    const all = this.#evidence.trust.anchors
      .map((_, place) => this.#evidence.firstDifferent(place))
      .filter((leaf): leaf is number => leaf !== undefined && leaf >= agrees && leaf < differs);
    return all.length > 0 ? Math.min(...all) : undefined;
  }

  /** The head that the deployment's ledger recorded is another. */
  #recordedContradicts(): boolean {
    const { recordedHead, damagedFrom, rootAt } = this.#evidence;
    if (recordedHead === undefined || recordedHead.size > damagedFrom) return false;
    const computed = rootAt(recordedHead.size);
    if (computed === undefined || equalBytes(computed, recordedHead.root) || this.#isLost(recordedHead.size))
      return false;
    this.findings.push({
      class: "HISTORY_REWRITTEN",
      seq: this.#evidence.from,
      between: [this.#evidence.from, recordedHead.size],
      expected: `root ${hexOf(recordedHead.root)} of ${recordedHead.size} entries, as entry ${recordedHead.seq} of the deployment's ledger says`,
      actual: `root ${hexOf(computed)}`,
      detail: `somewhere before entry ${recordedHead.size}; the deployment's ledger recorded another head`,
    });
    return true;
  }

  /** A restore gave up the entries beyond a size. */
  #isLost(size: number): boolean {
    return this.#claims.restores.some((restore) => size > restore.size && size <= restore.lostSize);
  }

  /** Everything here agrees; does somebody know of more? */
  #checkEnd(outside: readonly Claim[], own: readonly Claim[]): void {
    const { size, reachesEnd, readFrom, own: ownGiven, recordedHead } = this.#evidence;
    if (!reachesEnd) return;
    const ahead = outside.filter(({ comparison }) => comparison === "ahead");
    const held = ahead.filter((claim) => this.#claims.isHeldAgainst(claim));
    if (ahead.length > held.length) this.#noteAhead(ahead.at(-1) as Claim);
    const ownAhead = own.filter(({ comparison }) => comparison === "ahead").at(-1);
    const recorded = recordedHead !== undefined && recordedHead.size > size && !this.#isLost(recordedHead.size);
    const known = held.at(-1) ?? ownAhead;
    if (known === undefined && !recorded) return;
    const anchored = Math.max(known?.size ?? 0, recorded ? recordedHead.size : 0);
    const older = readFrom === "database" && ownGiven !== undefined && ownAhead === undefined && held.length > 0;
    const holders =
      known === undefined ? `as entry ${recordedHead?.seq ?? 0} of the deployment's ledger says` : this.#holders(known);
    if (size === 0) return this.#missing(anchored, holders, known);
    this.findings.push({
      class: older ? "ROLLED_BACK" : "TRUNCATED",
      seq: size,
      have: size,
      anchored,
      expected: `${anchored} entries, ${holders}`,
      actual: `${size} entries`,
      evidence: known?.notes.map(({ text }) => text).slice(0, 1) ?? [],
      detail: older
        ? "the ledger is an older state of itself, and no signed restore says so"
        : `entries ${size} to ${anchored - 1} were cut from the end`,
    });
  }

  /** Nothing at all is left of a ledger that somebody knows. */
  #missing(anchored: number, holders: string, known: Claim | undefined): void {
    const { tenant } = this.#evidence;
    this.findings.push({
      class: "LEDGER_MISSING",
      seq: null,
      id: tenant,
      have: 0,
      anchored,
      expected: `${anchored} entries, ${holders}`,
      actual: "none",
      evidence: known?.notes.map(({ text }) => text).slice(0, 1) ?? [],
      detail: `the ledger of tenant ${tenant} is gone`,
    });
  }

  #noteAhead(claim: Claim): void {
    const { size, readAtMs } = this.#evidence;
    this.notes.push({
      class: "ANCHOR_AHEAD",
      seq: null,
      detail: `${this.#holders(claim)} there are ${claim.size} entries; this bundle of ${timeText(readAtMs)} ends with ${size}. It was exported before those, as far as clocks tell: export again to see them`,
    });
  }

  #holders(claim: Claim): string {
    const names = claim.anchors.map(({ place }) => this.#evidence.trust.anchors[place] as AnchorView);
    if (names.length === 0) return "as the ledger's own checkpoint says";
    const one = names.map(({ name, kind }) => `${kind} anchor ${name}`).slice(0, 5);
    return `as ${one.join(", ")} ${names.length === 1 ? "says" : "say"}`;
  }
}

function whyDiverged(name: FindingClass): string {
  switch (name) {
    case "ANCHOR_MISMATCH":
      return "the ledger's own checkpoints, signed with the log's key, support it as it is: it was rewritten and signed anew";
    case "ROLLED_BACK":
      return "the ledger's own checkpoints end before: an older state was put in its place, and no signed restore says so";
    default:
      return "it was rewritten after that checkpoint was signed";
  }
}
