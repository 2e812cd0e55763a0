/**
 * Ed25519 (RFC 8032) with raw keys: public keys are 32 bytes, private keys the 32-byte seed, signatures 64 bytes, all written
 * as base64url without padding. Verification is strict: exactly one text for a key and for a signature, no malleable S, no
 * small-order key. Votes stay verifiable for ever, so a signature that verifies today must verify always.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, sign, verify, type KeyObject } from "node:crypto";

// RFC 8410: the DER around a raw key. Everything but the 32 bytes is constant.
const spkiPrefix = Buffer.from("302a300506032b6570032100", "hex");
const pkcs8Prefix = Buffer.from("302e020100300506032b657004220420", "hex");
// RFC 8032 §5.1: the order of the base point, little-endian S must be below it (otherwise S + L would verify as well).
const groupOrder = 2n ** 252n + 27742317777372353535851937790883648493n;
const fieldPrime = 2n ** 255n - 19n;
// The y coordinates of the eight points of small order: under such a key, one signature fits many messages.
const orderEightY = 2707385501144840649318225287225658788936804267575313519463743609750303402022n;
const smallOrderY = new Set<bigint>([0n, 1n, fieldPrime - 1n, orderEightY, fieldPrime - orderEightY]);

export interface SigningKeyPair {
  /** base64url of 32 bytes. */
  readonly publicKey: string;
  /** base64url of the 32-byte seed: anybody who has it can sign. */
  readonly privateKey: string;
}

/** A checked public key, ready to verify many signatures. */
export type VerificationKey = KeyObject;

/** A new key pair from the system's randomness, or the pair of a given 32-byte seed. */
export function generateSigningKeyPair(seed?: Uint8Array): SigningKeyPair {
  if (seed !== undefined) return { publicKey: publicKeyOf(toBase64Url(seed)), privateKey: toBase64Url(seed) };
  const { privateKey } = generateKeyPairSync("ed25519");
  const text = toBase64Url(privateKey.export({ format: "der", type: "pkcs8" }).subarray(pkcs8Prefix.length));
  return { publicKey: publicKeyOf(text), privateKey: text };
}

/** The public key of a private key. Throws if `privateKey` is not base64url of 32 bytes. */
export function publicKeyOf(privateKey: string): string {
  const spki = createPublicKey(importPrivateKey(privateKey)).export({ format: "der", type: "spki" });
  return toBase64Url(spki.subarray(spkiPrefix.length));
}

/** Signs; the same key and message give the same signature. base64url of 64 bytes. */
export function signMessage(privateKey: string, message: Uint8Array): string {
  return toBase64Url(sign(null, message, importPrivateKey(privateKey)));
}

/** Undefined if `publicKey` is not the one text of a point of large order (RFC 8032 §5.1.3 and the checks above). */
export function importPublicKey(publicKey: string): VerificationKey | undefined {
  const raw = fromBase64Url(publicKey, 32);
  if (raw === undefined) return undefined;
  const y = littleEndian(raw) & ((1n << 255n) - 1n);
  if (y >= fieldPrime || smallOrderY.has(y)) return undefined;
  try {
    return createPublicKey({ key: Buffer.concat([spkiPrefix, raw]), format: "der", type: "spki" });
  } catch {
    // Not a key OpenSSL takes: the caller's answer is the same as for any other bad key.
    return undefined;
  }
}

/** True if `signature` (base64url) by `publicKey` (base64url, or imported before) is over exactly `message`. Never throws. */
export function verifySignature(publicKey: string | VerificationKey, message: Uint8Array, signature: string): boolean {
  const key = typeof publicKey === "string" ? importPublicKey(publicKey) : publicKey;
  const raw = fromBase64Url(signature, 64);
  if (key === undefined || raw === undefined) return false;
  if (littleEndian(raw.subarray(32)) >= groupOrder) return false; // RFC 8032 §5.1.7: otherwise malleable
  return verify(null, message, key, raw);
}

/** base64url without padding. */
export function toBase64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64url");
}

/** Undefined unless `text` is the one way to write exactly `length` bytes. */
export function fromBase64Url(text: string, length: number): Buffer | undefined {
  if (text.length !== Math.ceil((length * 4) / 3)) return undefined;
  const bytes = Buffer.from(text, "base64url");
  return bytes.length === length && bytes.toString("base64url") === text ? bytes : undefined;
}

function importPrivateKey(privateKey: string): KeyObject {
  const seed = fromBase64Url(privateKey, 32);
  if (seed === undefined) throw new Error("not an Ed25519 private key: expected base64url of 32 bytes");
  return createPrivateKey({ key: Buffer.concat([pkcs8Prefix, seed]), format: "der", type: "pkcs8" });
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
}
