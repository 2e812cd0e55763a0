/**
 * The only place where this project hashes. SHA-256 everywhere; hex is lower-case. The callers (`entry.ts`,
 * `digests.ts`) decide which bytes are hashed. They always put a tag first, so bytes of one kind can never be taken for
 * another.
 */
import { createHash, hash, timingSafeEqual as nodeTimingSafeEqual, type Hash } from "node:crypto";

/** SHA-256 of bytes, or of a text's UTF-8, as 64 hex digits. */
export function sha256Hex(data: Uint8Array | string): string {
  return hash("sha256", data, "hex"); // one call, a string out: twice the speed of createHash on 700 bytes
}

/** The same as 32 characters, each the value of a byte: read without making bytes of it. */
export function sha256Latin1(data: Uint8Array): string {
  return hash("sha256", data, "latin1" as "hex");
}

/** SHA-256 of bytes, or of a text's UTF-8, as 32 bytes. */
export function sha256Bytes(data: Uint8Array | string): Buffer {
  return createHash("sha256").update(data).digest();
}

/** SHA-256 of the concatenation of the parts, as 64 hex digits. */
export function sha256PartsHex(...parts: readonly (Uint8Array | string)[]): string {
  const hasher = createHash("sha256");
  for (const part of parts) hasher.update(part);
  return hasher.digest("hex");
}

/** Hashes a stream piece by piece, e.g. a file that should not be in memory at once. */
export class Sha256Stream {
  readonly #hash: Hash = createHash("sha256");
  #bytes = 0;

  update(piece: Uint8Array): this {
    this.#hash.update(piece);
    this.#bytes += piece.byteLength;
    return this;
  }
  /** Bytes hashed so far. */
  get bytes(): number {
    return this.#bytes;
  }
  /** 64 hex digits; the stream cannot be used afterwards. */
  hex(): string {
    return this.#hash.digest("hex");
  }
}

/** RFC 6962 §2.1: SHA-256(0x00 || leaf). `leaf` is text; its UTF-8 is hashed. */
export function leafHashHex(leaf: string): string {
  return hash("sha256", `\u0000${leaf}`, "hex");
}

const nodePreimage = Buffer.alloc(65);
nodePreimage[0] = 1;

/** RFC 6962 §2.1: SHA-256(0x01 || left || right), both of 32 bytes. */
export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  nodePreimage.set(left, 1);
  nodePreimage.set(right, 33);
  // One call, a string out: 0.55 µs, where three updates and a digest take 1.4 and a Buffer out 0.8 (Node 20.20).
  return Buffer.from(hash("sha256", nodePreimage, "latin1" as "hex"), "latin1");
}

/** The same of bytes that are 0x01 || left || right, written into `into` at `at`: 0.3 µs against 0.5, nothing made. */
export function nodeHashInto(preimage: Uint8Array, into: Buffer, at: number): void {
  into.write(hash("sha256", preimage, "latin1" as "hex"), at, "latin1");
}

/** Compares secrets in a time that does not depend on where they differ. Texts are compared as their UTF-8. */
export function timingSafeEqual(a: Uint8Array | string, b: Uint8Array | string): boolean {
  // Digests have one length, so unequal lengths leak nothing and cannot throw.
  return nodeTimingSafeEqual(sha256Bytes(a), sha256Bytes(b));
}
