/**
 * Digests of a change-set, and the bytes a vote signs. Approvals are signatures over these for ever: a change needs a new
 * version tag.
 */
import { canonicalize } from "./canonicalJson.js";
import { tag } from "./formatVersion.js";
import { sha256Hex } from "./hash.js";
import type { JsonObject, JsonValue } from "./json.js";

/**
 * The content of a revision that its digest covers: everything that decides the effect of applying it. Values are
 * canonicalised without changes.
 */
export interface RevisionParts {
  /** 32 random bytes as hex: two equal revisions have different digests, and a digest gives nothing away. */
  readonly nonce: string;
  readonly items: JsonValue;
  readonly bases: JsonValue;
  readonly effects: JsonValue;
  readonly reversibility: JsonValue;
}

/** The parts of a planned item that a revision's digest covers. Hashes are hex; null: the target does not exist. */
export interface PlannedItemParts {
  /** As the proposer numbered it, and its place in the order of execution; both from 1. */
  readonly sequence: number;
  readonly position: number;
  /** The item, exactly as its author wrote it. */
  readonly input: JsonValue;
  readonly effects: readonly {
    readonly target: { readonly key: string };
    readonly before: { readonly hash: string | null };
    readonly after: { readonly hash: string | null };
  }[];
  readonly reversibility: string;
}

/**
 * The facts that an approval covers besides the revision: the people who had to agree, the risk level shown, the
 * outcome of policy.
 */
export interface ApprovalParts {
  /** `revisionDigest`, hex. */
  readonly revision: string;
  readonly route: JsonValue;
  readonly riskLevel: string;
  readonly policy: JsonValue;
}

export interface VoteParts {
  readonly tenant: string;
  readonly changeSetId: string;
  readonly approvalDigest: string;
  readonly decision: string;
  readonly voterId: string;
  readonly atMs: number;
}

/** SHA-256("countersign.revision.v…" 0x00 JCS({nonce, items, bases, effects, reversibility})), hex. */
export function revisionDigest(parts: RevisionParts): string {
  const { nonce, items, bases, effects, reversibility } = parts;
  return taggedDigest("revision", { nonce, items, bases, effects, reversibility });
}

/**
 * The revision's digest from its items, in any order: `items`, `effects` and `reversibility` by sequence; `bases` has for
 * every target, sorted by key, [key, hash of the state in which the first item that touches it found it].
 */
export function revisionDigestOfItems(nonce: string, planned: readonly PlannedItemParts[]): string {
  const bases = new Map<string, string | null>();
  for (const { effects } of [...planned].sort((a, b) => a.position - b.position))
    for (const { target, before } of effects) if (!bases.has(target.key)) bases.set(target.key, before.hash);
  const bySequence = [...planned].sort((a, b) => a.sequence - b.sequence);
  return revisionDigest({
    nonce,
    items: bySequence.map((item) => item.input),
    bases: [...bases].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)),
    effects: bySequence.map((item) =>
      item.effects.map(({ target, before, after }) => [target.key, before.hash, after.hash]),
    ),
    reversibility: bySequence.map((item) => item.reversibility),
  });
}

/** SHA-256("countersign.approval.v…" 0x00 JCS({revision, route, riskLevel, policy})), hex. */
export function approvalDigest(parts: ApprovalParts): string {
  const { revision, route, riskLevel, policy } = parts;
  return taggedDigest("approval", { revision, route, riskLevel, policy });
}

/** The bytes a person signs to vote. Throws if a field could be read as two. */
export function voteSigningBytes(vote: VoteParts): Buffer {
  return Buffer.from(voteSigningText(vote), "utf8");
}

/** The same as text, to show it to the person who signs. */
export function voteSigningText(vote: VoteParts): string {
  const { tenant, changeSetId, approvalDigest: digest, decision, voterId, atMs } = vote;
  // INVARIANT: no field holds a line feed, so lines and fields are the same thing.
  for (const field of [tenant, changeSetId, digest, decision, voterId]) {
    if (!/^[\x21-\x7e]+$/.test(field))
      throw new Error(`a vote's field is not printable ASCII: ${JSON.stringify(field)}`);
  }
  if (!Number.isSafeInteger(atMs) || atMs < 0)
    throw new Error(`a vote's time is not an integer of milliseconds: ${atMs}`);
  return `${tag("vote")}\n${tenant}\n${changeSetId}\n${digest}\n${decision}\n${voterId}\n${atMs}\n`;
}

function taggedDigest(name: "revision" | "approval", value: JsonObject): string {
  return sha256Hex(`${tag(name)}\u0000${canonicalize(value)}`);
}
