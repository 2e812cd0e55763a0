/**
 * Key proofs: a person shows that they unlocked their own signing key for exactly this request. Operations that a
 * stored command-line login must not do alone require one.
 *
 * INVARIANT: a proof is good once: its digest is written in the commit it is for, under a guard that it was not there.
 */
import { type KeyProof, type OperationId, refused, type Refusal } from "@countersign/contract";
import { canonicalize, type JsonObject, keyProofBytes, sha256Hex, verifySignature } from "@countersign/proof";
import { minuteMs } from "../platform/index.js";
import type { Guard, Snapshot } from "../ledger/index.js";
import { type Caller, loadPeople } from "../tenancy/index.js";

export const proofMinutes = 10;
/** Clocks of people's machines run ahead too. */
const aheadMinutes = 2;

export interface CheckedProof {
  /** SHA-256 of the signed bytes, which may not come twice. */
  readonly digest: string;
  readonly expiresMs: number;
  /** The key was enrolled and not revoked. */
  readonly guard: Guard;
  /** For the entry: enough to verify the signature again. */
  readonly evidence: JsonObject;
}

export interface ProofQuestion {
  readonly operation: OperationId;
  /** As it was sent, without `proof`. */
  readonly input: JsonObject;
  readonly proof: KeyProof | undefined;
  readonly caller: Caller;
  readonly nowMs: number;
}

export async function checkProof(
  question: ProofQuestion,
  snapshot: (read: (snapshot: Snapshot) => ReturnType<typeof loadPeople>) => ReturnType<typeof loadPeople>,
): Promise<CheckedProof | Refusal> {
  const { operation, input, proof, caller, nowMs } = question;
  if (caller.principal.kind !== "human") {
    return refused(
      "forbidden",
      `\`${operation}\` needs a person with their signing key; \`${caller.principal.name}\` is no human`,
    );
  }
  if (proof === undefined) {
    return refused(
      "precondition_required",
      `\`${operation}\` needs \`proof\`: the request signed with your own key, unlocked now (docs/authentication.md); the command line asks for the passphrase`,
      {
        details: { operation, tenant: caller.tenant, principal: caller.principal.id },
      },
    );
  }
  const people = await snapshot(loadPeople);
  const key = people.signingKeys.get(proof.keyId);
  if (key === undefined || key.principalId !== caller.principal.id) {
    return refused(
      "signing_key_unknown",
      `\`${proof.keyId}\` is no signing key of \`${caller.principal.name}\`; enrol one: \`countersign enrol\``,
    );
  }
  if (key.status !== "ACTIVE")
    return refused(
      "signing_key_revoked",
      `the signing key \`${key.id}\` was revoked; enrol another: \`countersign enrol\``,
    );
  const bytes = keyProofBytes({
    tenant: caller.tenant,
    operation,
    input,
    principal: caller.principal.id,
    atMs: proof.atMs,
  });
  if (!verifySignature(key.publicKey, bytes, proof.signature)) {
    return refused(
      "signature_invalid",
      "the proof's signature does not verify over this request; sign exactly the request that is sent (docs/authentication.md)",
    );
  }
  if (nowMs - proof.atMs > proofMinutes * minuteMs || proof.atMs - nowMs > aheadMinutes * minuteMs) {
    return refused(
      "signature_invalid",
      `the proof was made at ${new Date(proof.atMs).toISOString()} and is good for ${proofMinutes} minutes; look at the clock of this machine, and sign again`,
    );
  }
  return {
    digest: sha256Hex(bytes),
    expiresMs: proof.atMs + (proofMinutes + 1) * minuteMs,
    guard: { kind: "row", table: "signing_keys", id: key.id, version: key.version },
    evidence: {
      operation,
      input: sha256Hex(canonicalize(input)),
      key: key.id,
      atMs: proof.atMs,
      signature: proof.signature,
    },
  };
}

export function proofUsed(): Refusal {
  return refused("signature_invalid", "this proof was used already: it is good once; sign again");
}
