/**
 * The claims that signed checkpoints make about a ledger: one claim for each origin, size and root, in however many
 * places a note of it is held. Says of each claim how it compares with the entries that were read, and whether a
 * signature on it counts. INVARIANT: a restore is believed only by the same keys, so a claim is given up by nobody but
 * the log itself.
 */
import { equalBytes, hexOf } from "./bytes.js";
import { cosignatureOf, parseOrigin, type Checkpoint } from "./checkpoint.js";
import type { Evidence, Restore } from "./evidence.js";
import type { Finding, VerifyNote } from "./findings.js";
import { LogKeys, type SignatureTimes, type SignatureTrust } from "./logKeys.js";
import { verifyConsistency } from "./merkle.js";
import { coversOrigin, type Policy } from "./policy.js";

/** agrees · contradicts · ahead: of entries that are not there · lost: given up by a signed restore · unknown: nothing to compare with. */
export type Comparison = "agrees" | "contradicts" | "ahead" | "lost" | "unknown";

/** One origin, size and root, and the places that hold a note of it. */
export interface Claim {
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

/** The findings about the claims. */
export interface Found {
  readonly findings: readonly Finding[];
  readonly notes: readonly VerifyNote[];
}

export class Claims {
  /** The smallest tree first. */
  readonly all: readonly Claim[];
  readonly keys: LogKeys;
  /** Those that are signed and true of this ledger. */
  readonly restores: readonly Restore[];
  readonly #evidence: Evidence;
  readonly #policy: Policy | undefined;
  readonly #incarnation: number;
  readonly #trusts = new Map<Claim, SignatureTrust>();

  constructor(evidence: Evidence) {
    this.#evidence = evidence;
    const { trust, deployment, tenant, ownStatements } = evidence;
    this.#policy = trust.policy;
    const [kept, statements] = [trust.keyStatements, ownStatements];
    this.keys = new LogKeys({ deployment, tenant, policy: trust.policy, kept, statements });
    this.all = this.#collect();
    this.restores = evidence.restores.filter((restore) => this.#restoreHolds(restore));
    this.#incarnation = this.#incarnationNow();
    for (const claim of this.all) claim.comparison = this.#compare(claim);
  }

  // ---- who claims it --------------------------------------------------------------------------------------------------

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

  // ---- how it compares -------------------------------------------------------------------------------------------------

  /** Decided by the entries of restores; where not all of those are at hand, by the ledger's own checkpoints. */
  #incarnationNow(): number {
    const restored = Math.max(0, ...this.restores.map(({ incarnation }) => incarnation));
    if (this.#seesAllRestores) return restored;
    const own = this.all.filter((claim) => claim.ownNotes.length > 0 && this.trustOf(claim) === "trusted");
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
    const key = this.keys.keys.find(({ publicKey }) => publicKey === restore.key);
    if (key === undefined || !restore.isSigned()) return false;
    return key.revokedAtMs === undefined || this.isVouchedFor(restore.by);
  }

  /** An entry has no time but its own word: that it was there before its key was revoked, a checkpoint that counts and covers it shows. */
  isVouchedFor(seq: number): boolean {
    return this.all.some(
      (claim) => claim.size > seq && this.#compareRoots(claim) === "agrees" && this.trustOf(claim) === "trusted",
    );
  }

  #compare(claim: Claim): Comparison {
    const plainly = this.#compareRoots(claim);
    if (claim.incarnation >= this.#incarnation || plainly === "agrees" || plainly === "unknown") return plainly;
    // A claim of an older incarnation: a signed restore may have given up the entries beyond those kept.
    if (!this.#seesAllRestores) return "unknown";
    const later = this.restores.filter(({ incarnation }) => incarnation > claim.incarnation);
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

  // ---- whether it counts -----------------------------------------------------------------------------------------------

  /** The best of all notes of it that anybody holds. */
  trustOf(claim: Claim): SignatureTrust {
    let trust = this.#trusts.get(claim);
    if (trust === undefined) {
      trust = this.#askTrust(claim, claim.notes);
      this.#trusts.set(claim, trust);
    }
    return trust;
  }

  /** By the ledger's own notes: that an anchor holds a good one of the same tree says nothing about the key used here. */
  ownTrustOf(claim: Claim): SignatureTrust {
    return this.#askTrust(claim, claim.ownNotes);
  }

  #askTrust(claim: Claim, notes: readonly Checkpoint[]): SignatureTrust {
    if (!this.isCovered(claim)) return "untrusted";
    // No key is known at all: the ledger's own checkpoints can still contradict each other.
    if (this.#policy === undefined && this.keys.keys.length === 0) return "trusted";
    const order: readonly SignatureTrust[] = ["trusted", "undecided", "revoked", "untrusted"];
    const all = notes.map((note) => this.keys.trustOf(note, () => this.timesOf(claim)));
    return order.find((trust) => all.includes(trust)) ?? "untrusted";
  }

  /** When a note of it was first seen by others than the ledger. */
  timesOf(claim: Claim): SignatureTimes {
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

  /** The policy is about its origin. */
  isCovered({ origin }: Claim): boolean {
    return this.#policy?.logs.some((log) => coversOrigin(log, origin)) !== false;
  }

  /** False: the policy is for other logs. */
  get keysMatter(): boolean {
    return this.#policy === undefined || this.keys.keys.length > 0;
  }

  /** Not against a bundle that was exported before, as far as clocks tell. */
  isHeldAgainst(claim: Claim): boolean {
    const { readAtMs } = this.#evidence;
    if (readAtMs === undefined) return true;
    const held = claim.anchors.some(({ atMs }) => atMs !== null && atMs + clockToleranceMs.anchor < readAtMs);
    if (held) return true;
    const { cosignedAtMs: atMs } = this.timesOf(claim);
    return atMs !== undefined && atMs + clockToleranceMs.witness < readAtMs;
  }
}

/** The first time that this witness cosigned it. */
export function cosignedAtMs(claim: Claim, key: Policy["witnesses"][number]["key"]): number | undefined {
  // A claim may stand in several notes, cosigned at different times: it existed from the first of them on.
  const times = claim.notes.flatMap((note) => cosignatureOf(note, key)?.atSeconds ?? []);
  return times.length === 0 ? undefined : Math.min(...times) * 1000;
}

/** As findings and notes print it. */
export function timeText(atMs: number | undefined): string {
  if (atMs === undefined || !(Math.abs(atMs) < 8.64e15)) return "an unknown time";
  return new Date(atMs).toISOString();
}
