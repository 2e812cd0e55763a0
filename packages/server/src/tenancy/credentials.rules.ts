/**
 * The texts people and programs hold: API keys (`csk_…`) and one-time enrolment codes (`cse_…`).
 *
 *   prefix `_` base64url(tenant uuid ‖ own uuid) (43) `_` base64url(32 random bytes) (43) first 6 hex digits of SHA-256 of all before it
 *
 * Promises: the text names its tenant and row, so no search is needed; a scanner recognises it by prefix, length and
 * checksum; only the SHA-256 of the secret part is stored (256 random bits: a slow hash would add nothing). The form
 * can never change for issued keys.
 */
import { fromBase64Url, sha256Hex, timingSafeEqual, toBase64Url } from "@countersign/proof";
import { asTenantId, type TenantId } from "@countersign/contract";

export type CredentialKind = "csk" | "cse";

export interface Credential {
  readonly tenant: TenantId;
  /** Id of its row. */
  readonly id: string;
  /** Lower-case hex SHA-256 of the secret part. */
  readonly secretHash: string;
}

export interface MintedCredential extends Credential {
  /** Shown once. */
  readonly text: string;
}

const secretBytes = 32;
const encodedLength = 43;
const checksumLength = 6;
/** `csk_` + 43 + `_` + 43 + 6. */
export const credentialLength = 4 + encodedLength + 1 + encodedLength + checksumLength;

export function mintCredential(
  kind: CredentialKind,
  tenant: TenantId,
  id: string,
  random: (count: number) => Uint8Array,
): MintedCredential {
  const place = toBase64Url(Buffer.concat([uuidBytes(tenant), uuidBytes(id)]));
  const secret = toBase64Url(random(secretBytes));
  const head = `${kind}_${place}_${secret}`;
  return { tenant, id, secretHash: sha256Hex(secret), text: `${head}${checksum(head)}` };
}

/** Undefined when the text is none of ours: wrong length, prefix, alphabet or checksum. */
export function parseCredential(kind: CredentialKind, text: string): Credential | undefined {
  if (text.length !== credentialLength || !text.startsWith(`${kind}_`) || text[4 + encodedLength] !== "_")
    return undefined;
  const head = text.slice(0, -checksumLength);
  if (text.slice(-checksumLength) !== checksum(head)) return undefined;
  const place = fromBase64Url(head.slice(4, 4 + encodedLength), 32);
  const secret = head.slice(4 + encodedLength + 1);
  if (place === undefined || fromBase64Url(secret, secretBytes) === undefined) return undefined;
  return {
    tenant: asTenantId(uuidText(place.subarray(0, 16))),
    id: uuidText(place.subarray(16)),
    secretHash: sha256Hex(secret),
  };
}

export function sameSecret(given: Credential, storedHash: string): boolean {
  return timingSafeEqual(given.secretHash, storedHash);
}

function checksum(head: string): string {
  return sha256Hex(head).slice(0, checksumLength);
}

function uuidBytes(uuid: string): Buffer {
  return Buffer.from(uuid.replaceAll("-", ""), "hex");
}

function uuidText(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
