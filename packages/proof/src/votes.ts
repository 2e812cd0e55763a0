/**
 * Votes are signatures by keys that the ledger itself enrolled. This keeps the keys seen so far and checks each vote against
 * them: the key must be enrolled, belong to the voter, not be revoked before, and have signed exactly the vote in the
 * entry. Memory is bounded by the number of keys, and that by `keysMax`.
 */
import { voteActions } from "./actions.js";
import { voteSigningBytes } from "./digests.js";
import { hashPattern, parseEntryContent, uuidPattern, type EntryContent } from "./entry.js";
import type { JsonObject, JsonValue } from "./json.js";
import { importPublicKey, verifySignature, type VerificationKey } from "./signature.js";

/** More keys than this in one tenant are not kept: their votes cannot be decided. */
const keysMax = 1_000_000;

interface KnownKey {
  readonly principal: string;
  readonly key: VerificationKey;
  revokedAtSeq: number | undefined;
}

export type VoteVerdict =
  { readonly kind: "good" } | { readonly kind: "unknown_key" } | { readonly kind: "forged"; readonly why: string };

/** An entry's meaning for votes: nothing, a key, or a verdict. */
export type VoteOutcome =
  VoteVerdict | { readonly kind: "none" } | { readonly kind: "malformed"; readonly why: string };

export class VoteChecker {
  readonly #tenant: string;
  readonly #keys = new Map<string, KnownKey>();

  constructor(tenant: string) {
    this.#tenant = tenant;
  }

  /** Takes every entry in order; the content's hash has been checked. */
  take(seq: number, content: string | Uint8Array): VoteOutcome {
    if (!mayBeAboutVotes(content)) return { kind: "none" };
    const text = typeof content === "string" ? content : Buffer.from(content).toString("utf8");
    if (!text.startsWith(voteStart) && !text.startsWith(keyStart)) return { kind: "none" };
    const parsed = parseEntryContent(text);
    return parsed.ok ? this.takeContent(seq, parsed.content) : { kind: "malformed", why: parsed.problem };
  }

  takeContent(seq: number, content: EntryContent): VoteOutcome {
    switch (content.action) {
      case voteActions.cast:
        return this.#checkVote(seq, content);
      case voteActions.keyEnrolled:
        return this.#enrol(content);
      case voteActions.keyRevoked:
        return this.#revoke(seq, content);
      default:
        return { kind: "none" };
    }
  }

  #enrol({ subject, data }: EntryContent): VoteOutcome {
    const { key: id, algorithm, publicKey } = data;
    if (subject.type !== "principal") return forged("the enrolment is not about a principal");
    if (typeof id !== "string" || algorithm !== "Ed25519" || typeof publicKey !== "string")
      return forged("the enrolment names no Ed25519 key");
    const key = importPublicKey(publicKey);
    if (key === undefined) return forged("the enrolled key is not an Ed25519 public key");
    if (this.#keys.has(id)) return forged(`key ${id} is enrolled a second time`);
    if (this.#keys.size < keysMax) this.#keys.set(id, { principal: subject.id, key, revokedAtSeq: undefined });
    return { kind: "none" };
  }

  #revoke(seq: number, { subject, data }: EntryContent): VoteOutcome {
    const known = typeof data["key"] === "string" ? this.#keys.get(data["key"]) : undefined;
    if (known === undefined) return { kind: "none" }; // enrolled before the range that is read
    if (subject.type !== "principal" || known.principal !== subject.id)
      return forged("the revoked key belongs to another principal");
    known.revokedAtSeq ??= seq;
    return { kind: "none" };
  }

  #checkVote(seq: number, content: EntryContent): VoteVerdict {
    const { subject, actor } = content;
    const vote = readVote(content.data);
    const isOfChangeSet = subject.type === "change_set" && uuidPattern.test(subject.id);
    if (vote === undefined || !isOfChangeSet || !uuidPattern.test(this.#tenant))
      return forged("the entry does not hold a whole vote");
    if (actor.type !== "human" || actor.id !== vote.voter) return forged("the voter is not the human who acted");
    const known = this.#keys.get(vote.key);
    if (known === undefined) return { kind: "unknown_key" };
    if (known.principal !== vote.voter) return forged("the key belongs to another principal");
    if (known.revokedAtSeq !== undefined)
      return forged(`the key was revoked by entry ${known.revokedAtSeq}, before entry ${seq}`);
    const signed = voteSigningBytes({
      tenant: this.#tenant,
      changeSetId: subject.id,
      approvalDigest: vote.digest,
      decision: vote.decision,
      voterId: vote.voter,
      atMs: vote.atMs,
    });
    return verifySignature(known.key, signed, vote.signature)
      ? { kind: "good" }
      : forged("the signature does not verify");
  }
}

const decisions: readonly JsonValue[] = ["APPROVED", "REJECTED", "ABSTAINED"];

function readVote(data: JsonObject) {
  const { digest, decision, voter, key, atMs, signature } = data;
  if (typeof digest !== "string" || !hashPattern.test(digest)) return undefined;
  if (typeof decision !== "string" || !decisions.includes(decision)) return undefined;
  if (typeof voter !== "string" || !uuidPattern.test(voter)) return undefined;
  if (typeof key !== "string" || typeof signature !== "string") return undefined;
  if (typeof atMs !== "number" || !Number.isSafeInteger(atMs) || atMs < 0) return undefined;
  return { digest, decision, voter, key, atMs, signature };
}

function forged(why: string): VoteVerdict {
  return { kind: "forged", why };
}

const voteStart = `{"action":"${voteActions.cast}"`;
const keyStart = '{"action":"principal.key_';
// In canonical JSON `action` is the first member of a content, so one character after each common start rules out nearly all.
const castAt = '{"action":"change_set.'.length;
const keyAt = '{"action":"principal.'.length;

function mayBeAboutVotes(content: string | Uint8Array): boolean {
  if (typeof content === "string") return content.charCodeAt(castAt) === 0x76 || content.charCodeAt(keyAt) === 0x6b;
  return content[castAt] === 0x76 || content[keyAt] === 0x6b;
}
