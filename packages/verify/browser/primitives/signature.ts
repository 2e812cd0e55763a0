/**
 * `packages/proof/src/signature.ts` for browsers, over `@noble/curves`. Exactly as strict: what one of them accepts, the other
 * accepts, for every key, message and signature, or a verdict would depend on where it was made.
 *
 * noble's own `verify` multiplies by the cofactor (RFC 8032 allows both), OpenSSL does not. So the equation is written here:
 * R, as it stands in the signature, must be the encoding of [S]B − [k]A. Held to the tests of the other one and to random keys
 * and signatures moved by points of small order (test/primitives.test.ts).
 */
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha512 } from "@noble/hashes/sha2.js";
import { Buffer } from "./buffer.js";

const { Point } = ed25519;
type EdwardsPoint = InstanceType<typeof Point>;

const groupOrder = 2n ** 252n + 27742317777372353535851937790883648493n;
const fieldPrime = 2n ** 255n - 19n;
const orderEightY = 2707385501144840649318225287225658788936804267575313519463743609750303402022n;
const smallOrderY = new Set<bigint>([0n, 1n, fieldPrime - 1n, orderEightY, fieldPrime - orderEightY]);

export interface SigningKeyPair {
  readonly publicKey: string;
  readonly privateKey: string;
}

export interface VerificationKey {
  readonly raw: Uint8Array;
  /** The key's point, negated. Undefined where the 32 bytes are no point: nothing verifies under such a key. */
  readonly point: EdwardsPoint | undefined;
  uses: number;
}

/** From so many signatures on, multiples of a key are kept: 15 ms and 0.4 MB once, then 1.2 ms a signature instead of 4.1. */
const usesBeforeTable = 8;
/** Keys that get such a table: what is read chooses how many keys there are. */
const tablesMax = 64;
let tables = 0;

export function generateSigningKeyPair(seed?: Uint8Array): SigningKeyPair {
  const privateKey = toBase64Url(seed ?? crypto.getRandomValues(new Uint8Array(32)));
  return { publicKey: publicKeyOf(privateKey), privateKey };
}

export function publicKeyOf(privateKey: string): string {
  return toBase64Url(ed25519.getPublicKey(seedOf(privateKey)));
}

export function signMessage(privateKey: string, message: Uint8Array): string {
  return toBase64Url(ed25519.sign(Uint8Array.from(message), seedOf(privateKey)));
}

export function importPublicKey(publicKey: string): VerificationKey | undefined {
  const raw = fromBase64Url(publicKey, 32);
  if (raw === undefined) return undefined;
  const y = littleEndian(raw) & ((1n << 255n) - 1n);
  if (y >= fieldPrime || smallOrderY.has(y)) return undefined;
  return { raw, point: decodePoint(raw)?.negate(), uses: 0 };
}

export function verifySignature(publicKey: string | VerificationKey, message: Uint8Array, signature: string): boolean {
  const key = typeof publicKey === "string" ? importPublicKey(publicKey) : publicKey;
  const raw = fromBase64Url(signature, 64);
  if (key === undefined || raw === undefined || key.point === undefined) return false;
  const encodedR = raw.subarray(0, 32);
  const s = littleEndian(raw.subarray(32));
  if (s >= groupOrder) return false; // RFC 8032 §5.1.7: otherwise malleable
  const digest = sha512.create().update(encodedR).update(key.raw).update(message).digest();
  const k = littleEndian(digest) % groupOrder;
  if (++key.uses === usesBeforeTable && tables++ < tablesMax) key.point.precompute(5, false);
  const expected = Point.BASE.multiplyUnsafe(s).add(key.point.multiplyUnsafe(k));
  return Buffer.from(expected.toBytes()).equals(encodedR);
}

export function toBase64Url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("base64url");
}

export function fromBase64Url(text: string, length: number): Buffer | undefined {
  if (text.length !== Math.ceil((length * 4) / 3)) return undefined;
  const bytes = Buffer.from(text, "base64url");
  return bytes.length === length && bytes.toString("base64url") === text ? bytes : undefined;
}

function decodePoint(raw: Uint8Array): EdwardsPoint | undefined {
  try {
    return Point.fromBytes(Uint8Array.from(raw));
  } catch {
    // Not on the curve. OpenSSL takes such a key and then refuses every signature.
    return undefined;
  }
}

function seedOf(privateKey: string): Uint8Array {
  const seed = fromBase64Url(privateKey, 32);
  if (seed === undefined) throw new Error("not an Ed25519 private key: expected base64url of 32 bytes");
  return Uint8Array.from(seed);
}

function littleEndian(bytes: Uint8Array): bigint {
  return BigInt(`0x${Buffer.from(bytes).reverse().toString("hex")}`);
}
