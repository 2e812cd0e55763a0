/**
 * The Merkle tree of RFC 6962 §2.1 over a ledger's entries: roots, inclusion and consistency proofs, and the right
 * edge. The right edge is enough to continue from a size. The leaf hash of an entry is its `hash`; published roots
 * depend on these rules for ever.
 *
 * Functions that verify take input that an attacker may have chosen. They answer false, never throw, and do no more
 * work than the number of bits of a size.
 */
import { nodeHash, nodeHashInto, sha256Bytes } from "./hash.js";

/** A complete subtree: the leaves from index · 2^level up to, not including, (index + 1) · 2^level. */
export interface TreeNode {
  readonly level: number;
  readonly index: number;
}

/** Gives the hashes of complete subtrees, in the order asked. Throws if it cannot. */
export type ReadNodes = (nodes: readonly TreeNode[]) => Promise<readonly Uint8Array[]> | readonly Uint8Array[];

const hashBytes = 32;

/**
 * The right edge of a tree of `size` leaves: the hashes of its complete subtrees from left, the largest, to right; one for every
 * bit set in `size`. From it the root follows, and the edge of every larger tree once its further leaves are known.
 */
export class RightEdge {
  #size: number;
  /** By level, from the leaves: 0x01, then room for two siblings. The left one is there where `size` has the level's bit set. */
  readonly #pairs: Buffer[] = [];

  /** Throws RangeError if the hashes are not as many as `size` has bits set, or not of 32 bytes. */
  constructor(size = 0, hashes: readonly Uint8Array[] = []) {
    if (!isSize(size)) throw new RangeError(`not the size of a tree: ${size}`);
    if (hashes.length !== subtreesOf(size).length)
      throw new RangeError(
        `the right edge of ${size} leaves has ${subtreesOf(size).length} hashes, not ${hashes.length}`,
      );
    if (hashes.some((hash) => hash.length !== hashBytes)) throw new RangeError("a hash that is not 32 bytes");
    this.#size = size;
    let next = hashes.length;
    for (let [left, level] = [size, 0]; left > 0; left = Math.floor(left / 2), level++)
      if (left % 2 === 1) this.#pair(level).set(hashes[--next] as Uint8Array, leftAt);
  }

  get size(): number {
    return this.#size;
  }

  /** The hash is copied. */
  append(leafHash: Uint8Array): void {
    let left = this.#size++;
    this.#pair(0).set(leafHash, placeOf(left));
    // As many subtrees are completed as the old size ends with bits that are set: one in two leaves completes none.
    for (let level = 0; left % 2 === 1; level++) {
      left = (left - 1) / 2;
      nodeHashInto(this.#pair(level), this.#pair(level + 1), placeOf(left));
    }
  }

  #pair(level: number): Buffer {
    let pair = this.#pairs[level];
    if (pair === undefined) {
      pair = this.#pairs[level] = Buffer.alloc(1 + 2 * hashBytes);
      pair[0] = 1;
    }
    return pair;
  }

  /** Of no leaves: SHA-256 of nothing. */
  root(): Uint8Array {
    return rootOfSubtrees(this.hashes());
  }

  /** From left to right. */
  hashes(): Uint8Array[] {
    return subtreesOf(this.#size).map(({ level }) =>
      Uint8Array.from(this.#pair(level).subarray(leftAt, leftAt + hashBytes)),
    );
  }

  clone(): RightEdge {
    return new RightEdge(this.#size, this.hashes());
  }
}

/** In a pair, behind its 0x01. */
const leftAt = 1;

/** Where the subtree that begins after `before` of its size stands in its pair. */
function placeOf(before: number): number {
  return before % 2 === 0 ? leftAt : leftAt + hashBytes;
}

function rootOfSubtrees(hashes: readonly Uint8Array[]): Uint8Array {
  if (hashes.length === 0) return sha256Bytes("");
  return hashes.slice(0, -1).reduceRight((right, left) => nodeHash(left, right), hashes.at(-1) as Uint8Array);
}

/** The edge of the first `size` leaves of a tree that has at least as many. */
export async function edgeOf(size: number, read: ReadNodes): Promise<RightEdge> {
  return new RightEdge(size, await read(subtreesOf(size)));
}

/** Audit path of RFC 6962 §2.1.1, from the leaf's sibling to the child of the root. Throws RangeError unless 0 ≤ index < size. */
export async function inclusionProof(index: number, size: number, read: ReadNodes): Promise<Uint8Array[]> {
  if (!isSize(size) || !isSize(index) || index >= size) throw new RangeError(`no leaf ${index} in a tree of ${size}`);
  return proofOf(pathTo(index, size), read);
}

/** Proof of RFC 6962 §2.1.2 that the tree of `from` leaves begins the tree of `to`. Empty if they are one, or `from` is 0. */
export async function consistencyProof(from: number, to: number, read: ReadNodes): Promise<Uint8Array[]> {
  if (!isSize(from) || !isSize(to) || from > to) throw new RangeError(`a tree of ${from} cannot begin one of ${to}`);
  return from === 0 || from === to ? [] : proofOf(consistencyRanges(from, to), read);
}

/** Leaves [start, end) whose root is one hash of a proof. */
interface Range {
  readonly start: number;
  readonly end: number;
}

function pathTo(index: number, size: number): Range[] {
  const path: Range[] = [];
  for (let [start, end] = [0, size]; end - start > 1;) {
    const middle = start + split(end - start);
    if (index < middle) {
      path.push({ start: middle, end });
      end = middle;
    } else {
      path.push({ start, end: middle });
      start = middle;
    }
  }
  return path.reverse();
}

function consistencyRanges(from: number, to: number): Range[] {
  const ranges: Range[] = [];
  let [start, end] = [0, to];
  while (from !== end) {
    const middle = start + split(end - start);
    if (from <= middle) {
      ranges.push({ start: middle, end });
      end = middle;
    } else {
      ranges.push({ start, end: middle });
      start = middle;
    }
  }
  // The old tree itself needs no hash: the verifier has its root.
  if (start > 0) ranges.push({ start, end });
  return ranges.reverse();
}

/** One reading for the whole proof; a range at the right edge is put together from its complete subtrees. */
async function proofOf(ranges: readonly Range[], read: ReadNodes): Promise<Uint8Array[]> {
  const wanted = ranges.map(subtreesOfRange);
  const hashes = await read(wanted.flat());
  let taken = 0;
  return wanted.map((nodes) => {
    const part = hashes.slice(taken, (taken += nodes.length));
    if (part.length !== nodes.length) throw new RangeError("fewer hashes than were asked for");
    return rootOfSubtrees(part);
  });
}

/** Complete subtrees of a range that begins at a multiple of the largest of them. */
function subtreesOfRange({ start, end }: Range): TreeNode[] {
  return subtreesOf(end - start).map(({ level, index }) => ({ level, index: start / 2 ** level + index }));
}

/** The complete subtrees of the first `size` leaves, from left. */
function subtreesOf(size: number): TreeNode[] {
  const nodes: TreeNode[] = [];
  let start = 0;
  for (let level = 52; level >= 0; level--) {
    const width = 2 ** level;
    if (size - start < width) continue;
    nodes.push({ level, index: start / width });
    start += width;
  }
  return nodes;
}

/** The largest power of two below `size`. Not by shifts: those end at 2^31. */
function split(size: number): number {
  let width = 1;
  while (width * 2 < size) width *= 2;
  return width;
}

export interface Inclusion {
  readonly index: number;
  readonly size: number;
  readonly leafHash: Uint8Array;
  readonly proof: readonly Uint8Array[];
  readonly root: Uint8Array;
}

/** RFC 9162 §2.1.3.2. */
export function verifyInclusion({ index, size, leafHash, proof, root }: Inclusion): boolean {
  if (!isSize(index) || !isSize(size) || index >= size || ![leafHash, root, ...proof].every(isHash)) return false;
  let [fn, sn] = [index, size - 1];
  let hash = leafHash;
  for (const sibling of proof) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      hash = nodeHash(sibling, hash);
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      hash = nodeHash(hash, sibling);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && equal(hash, root);
}

export interface Consistency {
  readonly from: number;
  readonly fromRoot: Uint8Array;
  readonly to: number;
  readonly toRoot: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/** RFC 9162 §2.1.4.2. Equal sizes need equal roots and no proof; an empty tree begins every tree, if its root is that of nothing. */
export function verifyConsistency({ from, fromRoot, to, toRoot, proof }: Consistency): boolean {
  if (!isSize(from) || !isSize(to) || from > to || ![fromRoot, toRoot, ...proof].every(isHash)) return false;
  if (from === to) return proof.length === 0 && equal(fromRoot, toRoot);
  if (from === 0) return proof.length === 0 && equal(fromRoot, sha256Bytes(""));
  const path = isPowerOfTwo(from) ? [fromRoot, ...proof] : [...proof];
  const [first, ...rest] = path;
  if (first === undefined) return false;
  let [fn, sn] = [from - 1, to - 1];
  while (fn % 2 === 1) [fn, sn] = [half(fn), half(sn)];
  let [old, now] = [first, first];
  for (const hash of rest) {
    if (sn === 0) return false;
    if (fn % 2 === 1 || fn === sn) {
      [old, now] = [nodeHash(hash, old), nodeHash(hash, now)];
      while (fn % 2 === 0 && fn !== 0) [fn, sn] = [half(fn), half(sn)];
    } else {
      now = nodeHash(now, hash);
    }
    [fn, sn] = [half(fn), half(sn)];
  }
  return sn === 0 && equal(old, fromRoot) && equal(now, toRoot);
}

const half = (value: number): number => Math.floor(value / 2);
const isSize = (value: number): boolean => Number.isSafeInteger(value) && value >= 0;
const isHash = (value: Uint8Array): boolean => value.length === hashBytes;

function isPowerOfTwo(size: number): boolean {
  const log = Math.round(Math.log2(size));
  return 2 ** log === size;
}

/** Published hashes are no secret. */
function equal(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}
