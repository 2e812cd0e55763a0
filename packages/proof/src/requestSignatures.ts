/**
 * The bytes that people sign besides votes. A key proof shows that their key is unlocked for one request; an enrolment
 * shows that the enrolled key is theirs. The signatures are checked when the request comes in.
 */
import { canonicalize } from "./canonicalJson.js";
import { sha256Hex } from "./hash.js";
import type { JsonObject } from "./json.js";

export interface KeyProofFields {
  readonly tenant: string;
  /** Id of the operation, e.g. `createAgent`. */
  readonly operation: string;
  /** The request's whole input, path parameters included; its member `proof` is left out here. */
  readonly input: JsonObject;
  /** Id of the person. */
  readonly principal: string;
  readonly atMs: number;
}

/** `countersign.proof.v1`, tenant, operation, hex SHA-256 of the JCS of the input without `proof`, principal, atMs; a line feed after each. */
export function keyProofBytes(fields: KeyProofFields): Buffer {
  const input = Object.fromEntries(Object.entries(fields.input).filter(([name]) => name !== "proof"));
  const lines = [
    "countersign.proof.v1",
    fields.tenant,
    fields.operation,
    sha256Hex(canonicalize(input)),
    fields.principal,
    String(fields.atMs),
  ];
  return Buffer.from(lines.map((line) => `${line}\n`).join(""), "utf8");
}

/** `countersign.enrol.v1`, the one-time code, the public key; a line feed after each. */
export function enrolmentBytes(fields: { readonly code: string; readonly publicKey: string }): Buffer {
  return Buffer.from(`countersign.enrol.v1\n${fields.code}\n${fields.publicKey}\n`, "utf8");
}
