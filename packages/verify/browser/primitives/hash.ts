/**
 * `packages/proof/src/hash.ts` for browsers, which have SHA-256 only as a promise: the same functions over `@noble/hashes`.
 * Held to the same tests (vitest.config.ts, project `browser`).
 */
import { sha256 } from "@noble/hashes/sha2.js";
import { Buffer, toHex, utf8 } from "./buffer.js";

type Hasher = ReturnType<typeof sha256.create>;

function bytesOf(data: Uint8Array | string): Uint8Array {
  return typeof data === "string" ? utf8(data) : data;
}

export function sha256Hex(data: Uint8Array | string): string {
  return toHex(sha256(bytesOf(data)));
}

export function sha256Latin1(data: Uint8Array): string {
  return String.fromCharCode(...sha256(data));
}

export function sha256Bytes(data: Uint8Array | string): Buffer {
  return Buffer.from(sha256(bytesOf(data)));
}

export function sha256PartsHex(...parts: readonly (Uint8Array | string)[]): string {
  const hasher = sha256.create();
  for (const part of parts) hasher.update(bytesOf(part));
  return toHex(hasher.digest());
}

export class Sha256Stream {
  readonly #hash: Hasher = sha256.create();
  #bytes = 0;

  update(piece: Uint8Array): this {
    this.#hash.update(piece);
    this.#bytes += piece.byteLength;
    return this;
  }
  get bytes(): number {
    return this.#bytes;
  }
  hex(): string {
    return toHex(this.#hash.digest());
  }
}

export function leafHashHex(leaf: string): string {
  return toHex(sha256(utf8(`\u0000${leaf}`)));
}

const nodePrefix = Uint8Array.of(1);

export function nodeHash(left: Uint8Array, right: Uint8Array): Buffer {
  return Buffer.from(sha256.create().update(nodePrefix).update(left).update(right).digest());
}

export function nodeHashInto(preimage: Uint8Array, into: Uint8Array, at: number): void {
  into.set(sha256(preimage), at);
}

export function timingSafeEqual(a: Uint8Array | string, b: Uint8Array | string): boolean {
  const [left, right] = [sha256(bytesOf(a)), sha256(bytesOf(b))];
  let difference = 0;
  for (let i = 0; i < left.length; i++) difference |= (left[i] as number) ^ (right[i] as number);
  return difference === 0;
}
