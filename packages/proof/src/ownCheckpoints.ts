/**
 * The ledger's own checkpoints: whether they are signed by keys that count, and whether those keys were revoked. Own
 * checkpoints show that a ledger agrees with itself. Only others can show that it is whole (`sources.ts`).
 */
import { timeText, type Claim, type Claims, type Found } from "./claims.js";
import type { Evidence } from "./evidence.js";
import type { CheckpointSummary, Finding, VerifyNote } from "./findings.js";

/** The ledger's own checkpoints must be signed by keys that count. */
export function checkOwnKeys(claims: Claims): Found {
  const findings: Finding[] = [];
  const notes: VerifyNote[] = [];
  // A policy for other logs says nothing about this one's keys.
  if (claims.keys.keys.length === 0) return { findings, notes };
  let trustedUpTo = 0;
  let undecided = 0;
  let covered = 0;
  let told = false;
  for (const claim of claims.all.filter(({ ownNotes }) => ownNotes.length > 0)) {
    const trust = claims.ownTrustOf(claim);
    if (trust === "trusted") trustedUpTo = claim.size;
    if (trust === "undecided") undecided++;
    // A revocation from a moment in the past also hits honestly signed checkpoints. A later checkpoint that counts
    // covers their tree.
    if (trust === "revoked" && claim.comparison === "agrees" && claims.isVouchedFor(claim.size - 1)) {
      covered++;
      continue;
    }
    if (told || (trust !== "untrusted" && trust !== "revoked")) continue;
    told = true;
    findings.push(trust === "untrusted" ? untrusted(claim, trustedUpTo) : revoked(claims, claim));
  }
  if (undecided > 0)
    notes.push({
      class: "KEY_REVOKED",
      seq: null,
      detail: `${undecided} of the ledger's own checkpoints are signed by a revoked key and cosigned by no witness: nobody can tell whether before the revocation, so they do not count`,
    });
  if (covered > 0)
    notes.push({
      class: "KEY_REVOKED",
      seq: null,
      detail: `${covered} of the ledger's own checkpoints were signed when their key was already revoked; they do not count, and a later one that does covers what they say`,
    });
  return { findings, notes };
}

function revoked(claims: Claims, claim: Claim): Finding {
  const signer = claim.notes.map((note) => claims.keys.signerOf(note)).find((key) => key?.revokedAtMs !== undefined);
  const { cosignedAtMs: atMs } = claims.timesOf(claim);
  return {
    class: "KEY_REVOKED",
    seq: claim.size,
    expected: `no signature after ${timeText(signer?.revokedAtMs)}, when the key was revoked`,
    actual: `a checkpoint of ${claim.size} entries, first cosigned at ${timeText(atMs)}`,
    evidence: claim.notes.map(({ text }) => text).slice(0, 1),
    detail: `key ${signer?.publicKey ?? "?"}`,
  };
}

/** A selection stands on its checkpoint alone, whatever the policy demands. */
export function isSelectionUndecided({ selection }: Evidence, claims: Claims): boolean {
  const of = claims.all.filter(({ size, ownNotes }) => size === selection?.size && ownNotes.length > 0);
  return of.some((claim) => claim.comparison === "agrees" && claims.trustOf(claim) === "undecided");
}

/** Keys that were changed or revoked. */
export function noteKeys({ keys }: Claims): VerifyNote[] {
  const notes: VerifyNote[] = [];
  for (const { publicKey, from, fromMs, revokedAtMs } of keys.keys) {
    const since =
      from > 0 ? `statement ${from} made ${publicKey} the log's key, from ${timeText(fromMs)} on` : undefined;
    const until = revokedAtMs === undefined ? undefined : `${publicKey} was revoked from ${timeText(revokedAtMs)} on`;
    if (since !== undefined) notes.push({ class: "KEY_ROTATED", seq: null, detail: since });
    if (until !== undefined) notes.push({ class: "KEY_REVOKED", seq: null, detail: until });
  }
  return notes;
}

/** The largest size up to which they agree, and the signers. */
export function summarizeOwn({ all, keys }: Claims): CheckpointSummary {
  const own = all.filter((claim) => claim.ownNotes.length > 0 && claim.comparison === "agrees");
  const signers = new Set(own.flatMap(({ notes }) => notes.map((note) => keys.signerOf(note))));
  return {
    agreeing: own.length,
    size: own.at(-1)?.size ?? null,
    signedBy: [...signers].flatMap((key) =>
      key === undefined
        ? []
        : [
            {
              publicKey: key.publicKey,
              trust: keys.pinned ? "pinned" : "own",
              ...(key.revokedAtMs === undefined ? {} : { revokedAtMs: key.revokedAtMs }),
            } as const,
          ],
    ),
  };
}

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
