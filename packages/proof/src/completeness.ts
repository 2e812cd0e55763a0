/**
 * Holds what was read against what is known elsewhere: the ledger's own checkpoints, anchors, witnesses, the deployment's ledger.
 * Pure. Two verdicts come of it: findings (somebody outside holds proof that the ledger was another), and completeness (somebody
 * outside confirms that it is whole). INVARIANT: what the verifier's policy does not trust can cause a finding, never
 * completeness; and no finding comes of a place being away, late, or ahead of an older export.
 */
import { equalBytes, hexOf } from "./bytes.js";
import { cosignatureOf, parseOrigin, type Checkpoint } from "./checkpoint.js";
import type {
  CheckpointSummary,
  Completeness,
  CompletenessSource,
  Finding,
  FindingClass,
  VerifyNote,
} from "./findings.js";
import { LogKeys, type SignatureTimes, type SignatureTrust } from "./logKeys.js";
import { verifyConsistency } from "./merkle.js";
import { coversOrigin, quorumSize, type Policy } from "./policy.js";
import type { AnchorView, Trust } from "./trust.js";

/** A signed `ledger.restored` entry, its signature not yet checked. */
export interface Restore {
  /** Its entry. */
  readonly by: number;
  /** The incarnation that began. */
  readonly incarnation: number;
  /** Of which ledger it was stated: a statement about another excuses nothing here. */
  readonly previousOrigin: string;
  readonly previousIncarnation: number;
  /** Entries kept, and entries the publisher remembered. */
  readonly size: number;
  readonly root: Uint8Array;
  readonly lostSize: number;
  /** False: the root it names is not that of the entries kept. */
  readonly rootHolds: boolean;
  /** The key (base64url) that is said to have signed it, and whether it did. */
  readonly key: string;
  isSigned(): boolean;
}

/** Everything that was learnt while reading. */
export interface Evidence {
  readonly tenant: string;
  /** Undefined: not known (bundles of version 1). */
  readonly deployment: string | undefined;
  readonly trust: Trust;
  readonly readFrom: "database" | "bundle";
  /** Entries `from` to `size` − 1 were read in order. */
  readonly from: number;
  readonly size: number;
  /** The reading ends where the ledger ends (or claims to): whoever knows more entries knows of lost ones. */
  readonly reachesEnd: boolean;
  /** What was to be read was read: proofs from its end mean something. */
  readonly complete: boolean;
  /** When a bundle was exported: what others learnt later is not held against it. Undefined: now. */
  readonly readAtMs: number | undefined;
  /** A selection: its entries are in this tree. */
  readonly selection: { readonly size: number; readonly root: Uint8Array } | undefined;
  rootAt(size: number): Uint8Array | undefined;
  /** First leaf that is another than in the leaf tiles of `trust.anchors[i]`. */
  firstDifferent(i: number): number | undefined;
  /** From this entry on hashes are already known to be wrong: another root says nothing new. Infinity: nowhere. */
  readonly damagedFrom: number;
  /** Undefined: there is no table of them. */
  readonly own: readonly Checkpoint[] | undefined;
  readonly ownStatements: readonly string[];
  /** By size, for own checkpoints larger than what was read: that they continue it. */
  readonly consistency: ReadonlyMap<number, readonly Uint8Array[]>;
  /** The head that the deployment's ledger recorded. */
  readonly recordedHead: { readonly size: number; readonly root: Uint8Array; readonly seq: number } | undefined;
  readonly restores: readonly Restore[];
  /** Nothing is wrong with what was read, and all of it was read. */
  readonly holds: boolean;
}

export interface Judgement {
  readonly findings: readonly Finding[];
  readonly notes: readonly VerifyNote[];
  readonly completeness: Completeness;
  readonly checkpoints: CheckpointSummary;
  /** Why nothing can be said of entries that are shown by one checkpoint alone. */
  readonly undecided?: string;
}

/** agrees · contradicts · ahead: of entries that are not there · lost: given up by a signed restore · unknown: nothing to compare with. */
type Comparison = "agrees" | "contradicts" | "ahead" | "lost" | "unknown";

/** One origin, size and root, and who holds a note of it. */
interface Claim {
  readonly incarnation: number;
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
  /** The note, and copies with other cosignatures. */
  readonly notes: Checkpoint[];
  /** Those of the ledger itself. */
  readonly ownNotes: Checkpoint[];
  /** Anchors by their place in `trust.anchors`. */
  readonly anchors: { readonly place: number; readonly atMs: number | null }[];
  comparison: Comparison;
}

const copiesMax = 8;
/** Clocks of this deployment's servers and of those who keep its anchors; and of witnesses elsewhere. */
const clockToleranceMs = { anchor: 1000, witness: 10_000 };

export function judge(evidence: Evidence): Judgement {
  return new Judge(evidence).judge();
}

class Judge {
  readonly #evidence: Evidence;
  readonly #policy: Policy | undefined;
  readonly #keys: LogKeys;
  readonly #restores: readonly Restore[];
  readonly #incarnation: number;
  readonly #claims: readonly Claim[];
  readonly #findings: Finding[] = [];
  readonly #notes: VerifyNote[] = [];
  readonly #trusts = new Map<Claim, SignatureTrust>();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
    const { trust, deployment, tenant, ownStatements } = evidence;
    this.#policy = trust.policy;
    const [kept, statements] = [trust.keyStatements, ownStatements];
    this.#keys = new LogKeys({ deployment, tenant, policy: trust.policy, kept, statements });
    this.#claims = this.#collect();
    this.#restores = evidence.restores.filter((restore) => this.#restoreHolds(restore));
    this.#incarnation = this.#incarnationNow();
    for (const claim of this.#claims) claim.comparison = this.#compare(claim);
  }

  judge(): Judgement {
    this.#checkEquivocation();
    this.#checkOwnKeys();
    this.#checkHistory();
    this.#noteKeys();
    this.#noteRestores();
    const completeness = this.#complete();
    const told = { findings: this.#findings, notes: this.#notes, completeness, checkpoints: this.#summary() };
    return this.#isSelectionUndecided ? { ...told, undecided: undecidedSelection } : told;
  }

  // ---- what is claimed ----------------------------------------------------------------------------------------------

  #collect(): Claim[] {
    const claims = new Map<string, Claim>();
    const { own = [], trust } = this.#evidence;
    for (const checkpoint of own)
      this.#claimOf(
        claims,
        checkpoint,
        (claim) => claim.ownNotes.length < copiesMax && claim.ownNotes.push(checkpoint),
      );
    trust.anchors.forEach(({ checkpoints }, place) => {
      for (const { checkpoint, atMs } of checkpoints)
        this.#claimOf(claims, checkpoint, (claim) => claim.anchors.push({ place, atMs }));
    });
    return [...claims.values()].sort((a, b) => a.size - b.size);
  }

  #claimOf(claims: Map<string, Claim>, checkpoint: Checkpoint, take: (claim: Claim) => unknown): void {
    const origin = parseOrigin(checkpoint.origin);
    if (origin === undefined || origin.tenant !== this.#evidence.tenant) return;
    if (origin.deployment !== this.#evidence.deployment) return;
    const { size, root } = checkpoint;
    const name = `${checkpoint.origin}\n${size}\n${hexOf(root)}`;
    let claim = claims.get(name);
    if (claim === undefined) {
      const { incarnation } = origin;
      claim = {
        incarnation,
        origin: checkpoint.origin,
        size,
        root,
        notes: [],
        ownNotes: [],
        anchors: [],
        comparison: "unknown",
      };
      claims.set(name, claim);
    }
    if (claim.notes.length < copiesMax && claim.notes.every(({ text }) => text !== checkpoint.text))
      claim.notes.push(checkpoint);
    take(claim);
  }

  /** By entries of restores; where those are not all at hand, by what the ledger's own checkpoints say. */
  #incarnationNow(): number {
    const restored = Math.max(0, ...this.#restores.map(({ incarnation }) => incarnation));
    if (this.#seesAllRestores) return restored;
    const own = this.#claims.filter((claim) => claim.ownNotes.length > 0 && this.#trustOf(claim) === "trusted");
    return own.reduce((newest, { incarnation }) => Math.max(newest, incarnation), restored);
  }

  get #seesAllRestores(): boolean {
    return this.#evidence.from === 0 && this.#evidence.selection === undefined;
  }

  /** Stated of this ledger, true of it as far as can be seen, and signed by a key that counts. */
  #restoreHolds(restore: Restore): boolean {
    const { tenant, deployment, rootAt } = this.#evidence;
    const of = parseOrigin(restore.previousOrigin);
    if (of?.tenant !== tenant || of.deployment !== deployment || !restore.rootHolds) return false;
    const root = rootAt(restore.size);
    if (root !== undefined && !equalBytes(root, restore.root)) return false;
    const key = this.#keys.keys.find(({ publicKey }) => publicKey === restore.key);
    if (key === undefined || !restore.isSigned()) return false;
    return key.revokedAtMs === undefined || this.#isVouchedFor(restore.by);
  }

  /** An entry has no time but its own word: that it was there before its key was revoked, a checkpoint that counts and covers it shows. */
  #isVouchedFor(seq: number): boolean {
    return this.#claims.some(
      (claim) => claim.size > seq && this.#compareRoots(claim) === "agrees" && this.#trustOf(claim) === "trusted",
    );
  }

  #compare(claim: Claim): Comparison {
    const plainly = this.#compareRoots(claim);
    if (claim.incarnation >= this.#incarnation || plainly === "agrees" || plainly === "unknown") return plainly;
    // Of an older incarnation: a signed restore may have given up what it claims beyond the entries kept.
    if (!this.#seesAllRestores) return "unknown";
    const later = this.#restores.filter(({ incarnation }) => incarnation > claim.incarnation);
    const kept = Math.min(...later.map(({ size }) => size));
    if (!(claim.size > kept)) return plainly;
    const direct = later.find(({ previousIncarnation }) => previousIncarnation === claim.incarnation);
    return direct === undefined || claim.size <= direct.lostSize ? "lost" : plainly;
  }

  #compareRoots({ size, root }: Claim): Comparison {
    const evidence = this.#evidence;
    const { selection } = evidence;
    if (selection !== undefined) {
      if (selection.size !== size) return "unknown";
      return equalBytes(selection.root, root) ? "agrees" : "contradicts";
    }
    if (size > evidence.size) return this.#compareBeyond(size, root);
    const computed = evidence.rootAt(size);
    if (computed === undefined) return "unknown";
    if (equalBytes(computed, root)) return "agrees";
    return size > evidence.damagedFrom ? "unknown" : "contradicts";
  }

  #compareBeyond(size: number, root: Uint8Array): Comparison {
    const { consistency, rootAt, size: from, damagedFrom, own } = this.#evidence;
    const proof = consistency.get(size);
    const isOwn = own?.some((checkpoint) => checkpoint.size === size && equalBytes(checkpoint.root, root)) === true;
    if (proof === undefined || !isOwn) return "ahead";
    if (!this.#evidence.complete) return "unknown";
    const fromRoot = rootAt(from);
    if (fromRoot === undefined || damagedFrom < from) return "unknown";
    if (!verifyConsistency({ from, fromRoot, to: size, toRoot: root, proof })) return "contradicts";
    return this.#evidence.reachesEnd ? "ahead" : "agrees";
  }

  // ---- signatures ---------------------------------------------------------------------------------------------------

  #trustOf(claim: Claim): SignatureTrust {
    let trust = this.#trusts.get(claim);
    if (trust === undefined) {
      trust = this.#askTrust(claim);
      this.#trusts.set(claim, trust);
    }
    return trust;
  }

  #askTrust(claim: Claim, notes: readonly Checkpoint[] = claim.notes): SignatureTrust {
    if (!this.#isCovered(claim)) return "untrusted";
    // No key is known at all: what the ledger brings can still disagree with itself.
    if (this.#policy === undefined && this.#keys.keys.length === 0) return "trusted";
    const order: readonly SignatureTrust[] = ["trusted", "undecided", "revoked", "untrusted"];
    const all = notes.map((note) => this.#keys.trustOf(note, () => this.#timesOf(claim)));
    return order.find((trust) => all.includes(trust)) ?? "untrusted";
  }

  #timesOf(claim: Claim): SignatureTimes {
    const held = claim.anchors.flatMap(({ place, atMs }) => (atMs === null || this.#isSameSource(place) ? [] : [atMs]));
    const cosigned = (this.#policy?.witnesses ?? []).flatMap(({ key }) => {
      const atMs = cosignedAtMs(claim, key);
      return atMs === undefined ? [] : [atMs];
    });
    return {
      ...(held.length > 0 ? { heldAtMs: Math.min(...held) } : {}),
      ...(cosigned.length > 0 ? { cosignedAtMs: Math.min(...cosigned) } : {}),
    };
  }

  #isSameSource(place: number): boolean {
    return this.#evidence.trust.anchors[place]?.sameSource === true;
  }

  // ---- findings -----------------------------------------------------------------------------------------------------

  /** Two trees of one size, both signed: proof against the log's key itself. */
  #checkEquivocation(): void {
    const first = new Map<string, Claim>();
    const told = new Set<string>();
    for (const claim of this.#claims) {
      const place = `${claim.size} ${claim.origin}`;
      const other = first.get(place);
      if (other === undefined) first.set(place, claim);
      if (other === undefined || told.has(place)) continue;
      if (this.#trustOf(claim) !== "trusted" || this.#trustOf(other) !== "trusted") continue;
      told.add(place);
      this.#findings.push({
        class: "EQUIVOCATION",
        seq: null,
        size: claim.size,
        expected: `one root for ${claim.size} entries`,
        actual: `${hexOf(other.root)} and ${hexOf(claim.root)}`,
        evidence: [other.notes[0]?.text ?? "", claim.notes[0]?.text ?? ""],
        detail: `the log's key signed two ledgers of ${claim.size} entries; both notes are kept here`,
      });
    }
  }

  /** The ledger's own checkpoints must be signed by keys that count. */
  #checkOwnKeys(): void {
    // A policy for other logs says nothing about this one's keys.
    if (this.#keys.keys.length === 0) return;
    let trustedUpTo = 0;
    let undecided = 0;
    let covered = 0;
    let told = false;
    for (const claim of this.#claims.filter(({ ownNotes }) => ownNotes.length > 0)) {
      // Its own note: that an anchor holds a good one of the same tree says nothing about the key used here.
      const trust = this.#askTrust(claim, claim.ownNotes);
      if (trust === "trusted") trustedUpTo = claim.size;
      if (trust === "undecided") undecided++;
      // A revocation from a moment in the past reaches checkpoints that were honestly signed: a later one that counts has the same tree.
      if (trust === "revoked" && claim.comparison === "agrees" && this.#isVouchedFor(claim.size - 1)) {
        covered++;
        continue;
      }
      if (told || (trust !== "untrusted" && trust !== "revoked")) continue;
      told = true;
      this.#findings.push(trust === "untrusted" ? untrusted(claim, trustedUpTo) : this.#revoked(claim));
    }
    if (undecided > 0)
      this.#notes.push({
        class: "KEY_REVOKED",
        seq: null,
        detail: `${undecided} of the ledger's own checkpoints are signed by a revoked key and cosigned by no witness: nobody can tell whether before the revocation, so they do not count`,
      });
    if (covered > 0)
      this.#notes.push({
        class: "KEY_REVOKED",
        seq: null,
        detail: `${covered} of the ledger's own checkpoints were signed when their key was already revoked; they do not count, and a later one that does covers what they say`,
      });
  }

  /** A selection stands on its checkpoint alone, whatever the policy demands. */
  get #isSelectionUndecided(): boolean {
    const { selection } = this.#evidence;
    const of = this.#claims.filter(({ size, ownNotes }) => size === selection?.size && ownNotes.length > 0);
    return of.some((claim) => claim.comparison === "agrees" && this.#trustOf(claim) === "undecided");
  }

  #revoked(claim: Claim): Finding {
    const signer = claim.notes.map((note) => this.#keys.signerOf(note)).find((key) => key?.revokedAtMs !== undefined);
    const { cosignedAtMs: atMs } = this.#timesOf(claim);
    return {
      class: "KEY_REVOKED",
      seq: claim.size,
      expected: `no signature after ${time(signer?.revokedAtMs)}, when the key was revoked`,
      actual: `a checkpoint of ${claim.size} entries, first cosigned at ${time(atMs)}`,
      evidence: claim.notes.map(({ text }) => text).slice(0, 1),
      detail: `key ${signer?.publicKey ?? "?"}`,
    };
  }

  #checkHistory(): void {
    const outside = this.#claims.filter((claim) => claim.anchors.length > 0 && this.#trustOf(claim) === "trusted");
    const own = this.#claims.filter((claim) => claim.ownNotes.length > 0 && this.#trustOf(claim) === "trusted");
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
    this.#findings.push({
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
    this.#findings.push({
      class: "HISTORY_REWRITTEN",
      seq: this.#evidence.from,
      between: [this.#evidence.from, recordedHead.size],
      expected: `root ${hexOf(recordedHead.root)} of ${recordedHead.size} entries, as entry ${recordedHead.seq} of the deployment's ledger says`,
      actual: `root ${hexOf(computed)}`,
      detail: `somewhere before entry ${recordedHead.size}; the deployment's ledger recorded another head`,
    });
    return true;
  }

  /** A restore gave up what was there beyond a size. */
  #isLost(size: number): boolean {
    return this.#restores.some((restore) => size > restore.size && size <= restore.lostSize);
  }

  /** Everything here agrees; does somebody know of more? */
  #checkEnd(outside: readonly Claim[], own: readonly Claim[]): void {
    const { size, reachesEnd, readFrom, own: ownGiven, recordedHead } = this.#evidence;
    if (!reachesEnd) return;
    const ahead = outside.filter(({ comparison }) => comparison === "ahead");
    const held = ahead.filter((claim) => this.#isHeldAgainst(claim));
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
    this.#findings.push({
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
    this.#findings.push({
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

  /** Not against a bundle that was exported before, as far as clocks tell. */
  #isHeldAgainst(claim: Claim): boolean {
    const { readAtMs } = this.#evidence;
    if (readAtMs === undefined) return true;
    const held = claim.anchors.some(({ atMs }) => atMs !== null && atMs + clockToleranceMs.anchor < readAtMs);
    if (held) return true;
    const { cosignedAtMs: atMs } = this.#timesOf(claim);
    return atMs !== undefined && atMs + clockToleranceMs.witness < readAtMs;
  }

  #noteAhead(claim: Claim): void {
    const { size, readAtMs } = this.#evidence;
    this.#notes.push({
      class: "ANCHOR_AHEAD",
      seq: null,
      detail: `${this.#holders(claim)} there are ${claim.size} entries; this bundle of ${time(readAtMs)} ends with ${size}. It was exported before those, as far as clocks tell: export again to see them`,
    });
  }

  #holders(claim: Claim): string {
    const names = claim.anchors.map(({ place }) => this.#evidence.trust.anchors[place] as AnchorView);
    if (names.length === 0) return "as the ledger's own checkpoint says";
    const one = names.map(({ name, kind }) => `${kind} anchor ${name}`).slice(0, 5);
    return `as ${one.join(", ")} ${names.length === 1 ? "says" : "say"}`;
  }

  // ---- notes --------------------------------------------------------------------------------------------------------

  #noteKeys(): void {
    for (const { publicKey, from, fromMs, revokedAtMs } of this.#keys.keys) {
      const since = from > 0 ? `statement ${from} made ${publicKey} the log's key, from ${time(fromMs)} on` : undefined;
      const until = revokedAtMs === undefined ? undefined : `${publicKey} was revoked from ${time(revokedAtMs)} on`;
      if (since !== undefined) this.#notes.push({ class: "KEY_ROTATED", seq: null, detail: since });
      if (until !== undefined) this.#notes.push({ class: "KEY_REVOKED", seq: null, detail: until });
    }
  }

  #noteRestores(): void {
    for (const { by, incarnation, size, lostSize } of this.#restores) {
      const lost =
        lostSize > size ? `entries ${size} to ${lostSize - 1} of the one before were given up` : "nothing was lost";
      const detail = `restored from a backup: incarnation ${incarnation} began; ${lost}`;
      this.#notes.push({ class: "RESTORED", seq: by, by, incarnation, detail });
    }
  }

  // ---- completeness -------------------------------------------------------------------------------------------------

  #complete(): Completeness {
    const { trust, from, size, selection } = this.#evidence;
    const sources = this.#sources();
    const anchored = this.#anchored();
    const covered = Math.min(anchored ?? 0, size);
    const unanchored = selection !== undefined && anchored !== null ? 0 : Math.max(0, size - Math.max(covered, from));
    const untrusted = this.#noteUntrustedSources();
    const unknown = this.#noteUnknownKeys();
    const demanded = this.#isDemanded || untrusted || unknown;
    const beyond = this.#claims.some(({ comparison, anchors }) => comparison === "ahead" && anchors.length > 0);
    const whole = unanchored === 0 && !(beyond && this.#evidence.reachesEnd);
    const enough = anchored !== null && (trust.requireAnchored !== true || whole);
    const holds = this.#evidence.holds && this.#findings.length === 0;
    const shown = enough && !untrusted && !unknown && holds && this.#keysMatter;
    const status = !demanded ? "not_demanded" : shown ? "shown" : "not_shown";
    if (unanchored > 0 && (anchored !== null || trust.anchors.length > 0)) this.#noteUnanchored(unanchored);
    const statement = this.#statement({ status, anchored, unanchored, untrusted, unknown });
    return { status, anchored, unanchored, statement, sources };
  }

  get #isDemanded(): boolean {
    const { requireAnchored } = this.#evidence.trust;
    return (
      requireAnchored === true || (this.#policy !== undefined && (this.#policy.quorum !== null || !this.#keysMatter))
    );
  }

  /** False: the policy is for other logs. */
  get #keysMatter(): boolean {
    return this.#policy === undefined || this.#keys.keys.length > 0;
  }

  #noteUnanchored(unanchored: number): void {
    const { size } = this.#evidence;
    const detail = `entries ${size - unanchored} to ${size - 1} (${unanchored}) are later than what the policy's quorum confirmed`;
    this.#notes.push({ class: "UNANCHORED", seq: size - unanchored, detail });
  }

  /** True if the policy leads back to what is verified. */
  #noteUntrustedSources(): boolean {
    const { trust } = this.#evidence;
    const inside: string[] = trust.anchors.flatMap(({ sameSource, name, location }) =>
      sameSource === true ? [`anchor ${name} (${location})`] : [],
    );
    if (trust.policySameSource === true) inside.unshift(`the policy (${trust.policySource})`);
    const own = trust.requireAnchored === true && this.#policy === undefined;
    if (own) inside.unshift("the log's keys");
    if (inside.length === 0) return false;
    const why = own ? "no policy was given, so they come from what is verified" : "inside what is verified";
    this.#notes.push({
      class: "ANCHOR_SOURCE_UNTRUSTED",
      seq: null,
      detail: `${inside.join(", ")}: ${why}; whoever changed the one could change the other`,
    });
    return true;
  }

  /**
   * True if an anchor of the policy holds later checkpoints of another or a longer ledger, signed by keys nobody told us about. Statements
   * may be held back so that those do not count. INVARIANT: never a finding, since whoever writes to the anchor could put them there.
   */
  #noteUnknownKeys(): boolean {
    const { anchors } = this.#evidence.trust;
    if (this.#policy === undefined || !this.#keysMatter) return false;
    const hidden = anchors.flatMap(({ name, sameSource }, place) => {
      if (sameSource === true) return [];
      const held = this.#claims.filter((claim) => claim.anchors.some((anchor) => anchor.place === place));
      const known = held.findLastIndex((claim) => this.#trustOf(claim) !== "untrusted");
      const disagrees = ({ comparison }: Claim): boolean => comparison === "ahead" || comparison === "contradicts";
      const later = held
        .slice(known + 1)
        .filter((claim) => disagrees(claim) && this.#isCovered(claim) && this.#isHeldAgainst(claim));
      return later.length === 0 ? [] : [`${name} (up to ${(later.at(-1) as Claim).size} entries)`];
    });
    if (hidden.length === 0) return false;
    const detail = `${hidden.slice(0, 5).join(", ")}: later checkpoints of this ledger, signed by a key that no statement given here brings; statements about keys may have been held back`;
    this.#notes.push({ class: "KEY_UNKNOWN", seq: null, detail });
    return true;
  }

  /** The policy is about its origin. */
  #isCovered({ origin }: Claim): boolean {
    return this.#policy?.logs.some((log) => coversOrigin(log, origin)) !== false;
  }

  /** Entries that the quorum confirmed; without a quorum, any anchor or witness of the policy. */
  #anchored(): number | null {
    const confirmed = this.#confirmed();
    const policy = this.#policy;
    if (policy?.quorum != null) return quorumSize(policy, confirmed) ?? null;
    return confirmed.size === 0 ? null : Math.max(...confirmed.values());
  }

  /** The largest agreeing tree that each anchor and witness confirmed. */
  #confirmed(): Map<string, number> {
    const confirmed = new Map<string, number>();
    const raise = (name: string, size: number): void =>
      void confirmed.set(name, Math.max(confirmed.get(name) ?? 0, size));
    this.#evidence.trust.anchors.forEach(({ name, sameSource, kind }, place) => {
      const claim = sameSource === true || kind === "witness" ? undefined : this.#largestAgreeing(place);
      if (claim !== undefined) raise(name, claim.size);
    });
    for (const { name, key } of this.#policy?.witnesses ?? []) {
      const claim = this.#agreeing().find((one) => cosignedAtMs(one, key) !== undefined);
      if (claim !== undefined) raise(name, claim.size);
    }
    return confirmed;
  }

  #largestAgreeing(place: number): Claim | undefined {
    return this.#agreeing().find(({ anchors }) => anchors.some((anchor) => anchor.place === place));
  }

  /** Claims that agree and whose signature counts, the largest first; signatures are looked at only as far as needed. */
  #agreeing(): { find(wanted: (claim: Claim) => boolean): Claim | undefined } {
    return {
      find: (wanted) => {
        for (let i = this.#claims.length - 1; i >= 0; i--) {
          const claim = this.#claims[i] as Claim;
          if (claim.comparison === "agrees" && wanted(claim) && this.#trustOf(claim) === "trusted") return claim;
        }
        return undefined;
      },
    };
  }

  #sources(): CompletenessSource[] {
    const { trust, own } = this.#evidence;
    const anchors = trust.anchors.map((view, place) => this.#sourceOf(view, place));
    const named = new Set(trust.anchors.map(({ name }) => name));
    const witnesses = (this.#policy?.witnesses ?? []).filter(({ name }) => !named.has(name));
    const ownClaim = [...this.#claims].reverse().find((claim) => claim.ownNotes.length > 0);
    const inside: CompletenessSource[] = own === undefined || own.length === 0 ? [] : [this.#ownSource(ownClaim)];
    return [...inside, ...anchors, ...witnesses.map(({ name, key, url }) => this.#witnessSource(name, key, url))];
  }

  #ownSource(claim: Claim | undefined): CompletenessSource {
    const where = { name: "own", kind: "own", location: this.#evidence.readFrom };
    if (claim === undefined)
      return { ...where, size: null, atMs: null, state: "nothing", detail: "its checkpoints are of another origin" };
    const trusted = this.#trustOf(claim) === "trusted" && this.#keys.pinned;
    const state = claim.comparison === "contradicts" ? "contradicts" : trusted ? "agrees" : "untrusted";
    return { ...where, size: claim.size, atMs: null, state };
  }

  #sourceOf(view: AnchorView, place: number): CompletenessSource {
    const { name, kind, location, unreadable, sameSource } = view;
    const where = { name, kind, location };
    if (unreadable !== undefined) {
      this.#notes.push({ class: "ANCHOR_UNREADABLE", seq: null, detail: `anchor ${name}: ${unreadable}` });
      return { ...where, size: null, atMs: null, state: "unreadable", detail: unreadable };
    }
    const all = this.#claims.filter(({ anchors }) => anchors.some((anchor) => anchor.place === place));
    const newest = all.at(-1);
    if (newest === undefined) return { ...where, size: null, atMs: null, state: "nothing" };
    const atMs = newest.anchors.find((anchor) => anchor.place === place)?.atMs ?? null;
    const found = { ...where, size: newest.size, atMs };
    if (sameSource === true) return { ...found, state: "untrusted", detail: "it lies inside what is verified" };
    const differs = all.some((claim) => claim.comparison === "contradicts" && this.#trustOf(claim) === "trusted");
    if (differs) return { ...found, state: "contradicts" };
    if (this.#largestAgreeing(place) !== undefined) return { ...found, state: "agrees" };
    if (this.#trustOf(newest) !== "trusted")
      return { ...found, state: "untrusted", detail: "no signature on it counts" };
    return { ...found, state: "nothing", detail: "nothing of it could be compared" };
  }

  #witnessSource(name: string, key: Policy["witnesses"][number]["key"], url: string | undefined): CompletenessSource {
    const where = { name, kind: "witness", location: url ?? "" };
    const claim = [...this.#claims].reverse().find((one) => cosignedAtMs(one, key) !== undefined);
    if (claim === undefined) return { ...where, size: null, atMs: null, state: "nothing" };
    const found = { ...where, size: claim.size, atMs: cosignedAtMs(claim, key) ?? null };
    if (this.#trustOf(claim) !== "trusted") return { ...found, state: "untrusted" };
    const { comparison } = claim;
    return { ...found, state: comparison === "agrees" || comparison === "contradicts" ? comparison : "nothing" };
  }

  #summary(): CheckpointSummary {
    const own = this.#claims.filter((claim) => claim.ownNotes.length > 0 && claim.comparison === "agrees");
    const signers = new Set(own.flatMap(({ notes }) => notes.map((note) => this.#keys.signerOf(note))));
    return {
      agreeing: own.length,
      size: own.at(-1)?.size ?? null,
      signedBy: [...signers].flatMap((key) =>
        key === undefined
          ? []
          : [
              {
                publicKey: key.publicKey,
                trust: this.#keys.pinned ? "pinned" : "own",
                ...(key.revokedAtMs === undefined ? {} : { revokedAtMs: key.revokedAtMs }),
              } as const,
            ],
      ),
    };
  }

  // ---- in words -----------------------------------------------------------------------------------------------------

  #statement(
    of: Pick<Completeness, "status" | "anchored" | "unanchored"> & { untrusted: boolean; unknown: boolean },
  ): string {
    const { policySource } = this.#evidence.trust;
    if (this.#findings.length > 0) return "what is known elsewhere of this ledger disagrees with it: see the findings";
    if (of.untrusted)
      return "the keys or anchors asked lie inside what is verified; they show nothing (ANCHOR_SOURCE_UNTRUSTED)";
    if (!this.#keysMatter)
      return `the policy ${policySource} names no log key for \`${this.#evidence.deployment ?? "this ledger"}\``;
    if (of.unknown)
      return "anchors hold later checkpoints by keys that are not known; nothing is shown until statements say whose they are (KEY_UNKNOWN)";
    const covers = this.#covers(of);
    if (of.status === "shown") return covers;
    if (of.status === "not_shown") {
      if (!this.#evidence.holds) return "what was read does not hold, so nothing is shown of the rest";
      return of.anchored === null ? "no quorum of the policy's anchors and witnesses confirms this ledger" : covers;
    }
    if (of.anchored !== null) return `no quorum is demanded; ${covers}`;
    if (this.#policy === undefined && this.#keys.keys.length === 0 && this.#claims.length > 0)
      return "no policy was given and no key is known: nobody's signature on the checkpoints was checked";
    if (this.#claims.some(({ ownNotes }) => ownNotes.length > 0))
      return this.#keys.pinned
        ? "the log's own checkpoints agree; no anchor is configured: entries cut from the end after the last of them, or a ledger signed anew with the log's key, would not show"
        : "the ledger's checkpoints are signed with keys that it brings itself: they show that it agrees with itself, not that it is the one that was published; give a policy with the log's key and anchors";
    return "no anchor is configured: entries cut from the end, or a ledger rewritten as a whole, would not show";
  }

  #covers({ anchored, unanchored }: Pick<Completeness, "anchored" | "unanchored">): string {
    const { size, selection, from } = this.#evidence;
    if (selection !== undefined)
      return `the tree of ${selection.size} entries that these are part of is confirmed outside`;
    if (size === from) return "there are no entries to confirm";
    if (unanchored === 0) return `every entry read is confirmed outside (${Math.max(anchored ?? 0, size)} entries are)`;
    if ((anchored ?? 0) <= from) return `nothing of entries ${from} to ${size - 1} is confirmed outside`;
    return `entries up to ${(anchored ?? 0) - 1} are confirmed outside, the ${unanchored} after them not yet`;
  }
}

const undecidedSelection =
  "the checkpoint that vouches for it is signed by a revoked key, and nobody says whether before the revocation";

function untrusted(claim: Claim, trustedUpTo: number): Finding {
  return {
    class: "KEY_UNTRUSTED",
    seq: trustedUpTo,
    expected: "checkpoints signed by the log's key, or one that descends from it",
    actual: `a checkpoint of ${claim.size} entries signed by others: ${
      claim.notes[0]?.note.signatures
        .map(({ name, keyId }) => `${name}+${keyId}`.slice(0, 80))
        .slice(0, 3)
        .join(", ") ?? ""
    }`,
    evidence: claim.notes.map(({ text }) => text).slice(0, 1),
    detail: `from entry ${trustedUpTo} on no key that counts vouches for the ledger`,
  };
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

function cosignedAtMs(claim: Claim, key: Policy["witnesses"][number]["key"]): number | undefined {
  // A claim may stand in several notes, cosigned at different times: it existed from the first of them on.
  const times = claim.notes.flatMap((note) => cosignatureOf(note, key)?.atSeconds ?? []);
  return times.length === 0 ? undefined : Math.min(...times) * 1000;
}

function time(atMs: number | undefined): string {
  if (atMs === undefined || !(Math.abs(atMs) < 8.64e15)) return "an unknown time";
  return new Date(atMs).toISOString();
}
