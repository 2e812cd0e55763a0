/**
 * The places that are asked about a ledger: its own checkpoints, anchors, witnesses. Collects each place's statement,
 * the size that the policy's quorum confirmed, and whether the place could be asked at all. INVARIANT: a place inside
 * the data under verification, or one that the policy does not trust, confirms nothing.
 */
import { cosignedAtMs, type Claim, type Claims } from "./claims.js";
import type { Evidence } from "./evidence.js";
import type { CompletenessSource, VerifyNote } from "./findings.js";
import { quorumSize, type Policy } from "./policy.js";
import type { AnchorView } from "./trust.js";

export class Sources {
  readonly #evidence: Evidence;
  readonly #claims: Claims;

  constructor(evidence: Evidence, claims: Claims) {
    this.#evidence = evidence;
    this.#claims = claims;
  }

  /** Entries that the quorum confirmed; without a quorum, any anchor or witness of the policy. */
  anchored(): number | null {
    const confirmed = this.#confirmed();
    const { policy } = this.#evidence.trust;
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
    for (const { name, key } of this.#evidence.trust.policy?.witnesses ?? []) {
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
        for (let i = this.#claims.all.length - 1; i >= 0; i--) {
          const claim = this.#claims.all[i] as Claim;
          if (claim.comparison === "agrees" && wanted(claim) && this.#claims.trustOf(claim) === "trusted") return claim;
        }
        return undefined;
      },
    };
  }

  /** The statement of each place: the ledger itself first, then anchors and witnesses in the order of the policy. */
  list(): CompletenessSource[] {
    const { trust, own } = this.#evidence;
    const anchors = trust.anchors.map((view, place) => this.#sourceOf(view, place));
    const named = new Set(trust.anchors.map(({ name }) => name));
    const witnesses = (trust.policy?.witnesses ?? []).filter(({ name }) => !named.has(name));
    const ownClaim = [...this.#claims.all].reverse().find((claim) => claim.ownNotes.length > 0);
    const inside: CompletenessSource[] = own === undefined || own.length === 0 ? [] : [this.#ownSource(ownClaim)];
    return [...inside, ...anchors, ...witnesses.map(({ name, key, url }) => this.#witnessSource(name, key, url))];
  }

  #ownSource(claim: Claim | undefined): CompletenessSource {
    const where = { name: "own", kind: "own", location: this.#evidence.readFrom };
    if (claim === undefined)
      return { ...where, size: null, atMs: null, state: "nothing", detail: "its checkpoints are of another origin" };
    const trusted = this.#claims.trustOf(claim) === "trusted" && this.#claims.keys.pinned;
    const state = claim.comparison === "contradicts" ? "contradicts" : trusted ? "agrees" : "untrusted";
    return { ...where, size: claim.size, atMs: null, state };
  }

  #sourceOf(view: AnchorView, place: number): CompletenessSource {
    const { name, kind, location, unreadable, sameSource } = view;
    const where = { name, kind, location };
    if (unreadable !== undefined) return { ...where, size: null, atMs: null, state: "unreadable", detail: unreadable };
    const all = this.#claims.all.filter(({ anchors }) => anchors.some((anchor) => anchor.place === place));
    const newest = all.at(-1);
    if (newest === undefined) return { ...where, size: null, atMs: null, state: "nothing" };
    const atMs = newest.anchors.find((anchor) => anchor.place === place)?.atMs ?? null;
    const found = { ...where, size: newest.size, atMs };
    if (sameSource === true) return { ...found, state: "untrusted", detail: "it lies inside what is verified" };
    const differs = all.some(
      (claim) => claim.comparison === "contradicts" && this.#claims.trustOf(claim) === "trusted",
    );
    if (differs) return { ...found, state: "contradicts" };
    if (this.#largestAgreeing(place) !== undefined) return { ...found, state: "agrees" };
    if (this.#claims.trustOf(newest) !== "trusted")
      return { ...found, state: "untrusted", detail: "no signature on it counts" };
    return { ...found, state: "nothing", detail: "nothing of it could be compared" };
  }

  #witnessSource(name: string, key: Policy["witnesses"][number]["key"], url: string | undefined): CompletenessSource {
    const where = { name, kind: "witness", location: url ?? "" };
    const claim = [...this.#claims.all].reverse().find((one) => cosignedAtMs(one, key) !== undefined);
    if (claim === undefined) return { ...where, size: null, atMs: null, state: "nothing" };
    const found = { ...where, size: claim.size, atMs: cosignedAtMs(claim, key) ?? null };
    if (this.#claims.trustOf(claim) !== "trusted") return { ...found, state: "untrusted" };
    const { comparison } = claim;
    return { ...found, state: comparison === "agrees" || comparison === "contradicts" ? comparison : "nothing" };
  }

  /** Noted if a place of the policy lies inside the data under verification. */
  noteUntrusted(): VerifyNote | undefined {
    const { trust } = this.#evidence;
    const inside: string[] = trust.anchors.flatMap(({ sameSource, name, location }) =>
      sameSource === true ? [`anchor ${name} (${location})`] : [],
    );
    if (trust.policySameSource === true) inside.unshift(`the policy (${trust.policySource})`);
    const own = trust.requireAnchored === true && trust.policy === undefined;
    if (own) inside.unshift("the log's keys");
    if (inside.length === 0) return undefined;
    const why = own ? "no policy was given, so they come from what is verified" : "inside what is verified";
    return {
      class: "ANCHOR_SOURCE_UNTRUSTED",
      seq: null,
      detail: `${inside.join(", ")}: ${why}; whoever changed the one could change the other`,
    };
  }

  /**
   * Said if an anchor of the policy holds later checkpoints of another or a longer ledger, signed by unknown keys.
   * Somebody may hold statements back so that those checkpoints do not count. INVARIANT: never a finding, since anybody
   * who writes to the anchor could put them there.
   */
  noteUnknownKeys(): VerifyNote | undefined {
    const { anchors, policy } = this.#evidence.trust;
    if (policy === undefined || !this.#claims.keysMatter) return undefined;
    const hidden = anchors.flatMap(({ name, sameSource }, place) => {
      if (sameSource === true) return [];
      const held = this.#claims.all.filter((claim) => claim.anchors.some((anchor) => anchor.place === place));
      const known = held.findLastIndex((claim) => this.#claims.trustOf(claim) !== "untrusted");
      const disagrees = ({ comparison }: Claim): boolean => comparison === "ahead" || comparison === "contradicts";
      const later = held
        .slice(known + 1)
        .filter((claim) => disagrees(claim) && this.#claims.isCovered(claim) && this.#claims.isHeldAgainst(claim));
      return later.length === 0 ? [] : [`${name} (up to ${(later.at(-1) as Claim).size} entries)`];
    });
    if (hidden.length === 0) return undefined;
    const detail = `${hidden.slice(0, 5).join(", ")}: later checkpoints of this ledger, signed by a key that no statement given here brings; statements about keys may have been held back`;
    return { class: "KEY_UNKNOWN", seq: null, detail };
  }
}
