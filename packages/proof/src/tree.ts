/**
 * Follows the tree while entries are read: the root at every size that somebody claims a root for, and the first leaf that
 * differs from leaf hashes kept elsewhere. Constant memory: the right edge, one tile, and the roots asked for.
 */
import { equalBytes } from "./bytes.js";
import { RightEdge } from "./merkle.js";

const tileWidth = 256;
const hashBytes = 32;

/** Leaf hashes kept outside, 256 a tile. Gives the bytes of tile `index`, as many hashes as it has, or undefined. Must not throw. */
export type LeafTiles = (index: number) => Uint8Array | undefined;

export interface TreeOptions {
  /** Leaves before the first one taken. */
  readonly from: number;
  /** The right edge of those; without it (and `from` above 0) no root is known, only leaves are compared. */
  readonly edge?: readonly Uint8Array[] | undefined;
  /** Sizes whose roots are to be kept. */
  readonly sizes: Iterable<number>;
  readonly tiles: readonly LeafTiles[];
}

export class TreeFollower {
  readonly #edge: RightEdge | undefined;
  readonly #sizes: Float64Array;
  #nextSize = 0;
  readonly #roots = new Map<number, Uint8Array>();
  readonly #tiles: readonly LeafTiles[];
  /** First leaf that differs, by kept tiles. */
  readonly #differs: (number | undefined)[];
  readonly #tile = new Uint8Array(tileWidth * hashBytes);
  /** First leaf that is in `#tile`. */
  #tileFrom: number;
  #size: number;

  constructor({ from, edge, sizes, tiles }: TreeOptions) {
    this.#edge = from === 0 ? new RightEdge() : edge === undefined ? undefined : new RightEdge(from, edge);
    this.#sizes = Float64Array.from(new Set(sizes)).sort();
    this.#tiles = tiles;
    this.#differs = tiles.map(() => undefined);
    this.#size = from;
    this.#tileFrom = from;
    this.#note();
  }

  get size(): number {
    return this.#size;
  }

  /** The leaf hash of entry `size`. It is copied. */
  take(leafHash: Uint8Array): void {
    const place = this.#size % tileWidth;
    if (this.#tiles.length > 0) this.#tile.set(leafHash, place * hashBytes);
    this.#edge?.append(leafHash);
    this.#size++;
    if (place === tileWidth - 1) this.#compareTile();
    if (this.#size >= (this.#sizes[this.#nextSize] ?? Infinity)) this.#note();
  }

  /** Undefined where it was not asked for, not reached, or cannot be known. */
  rootAt(size: number): Uint8Array | undefined {
    return this.#roots.get(size);
  }

  /** Of everything taken; undefined if the edge before is unknown. */
  root(): Uint8Array | undefined {
    return this.#edge?.root();
  }

  /** After the last leaf. */
  finish(): void {
    this.#compareTile();
  }

  /** The first leaf that is another than in `tiles[i]`, among those both have. */
  firstDifferent(i: number): number | undefined {
    return this.#differs[i];
  }

  #note(): void {
    for (let size = this.#sizes[this.#nextSize]; size !== undefined && size <= this.#size;) {
      if (size === this.#size && this.#edge !== undefined) this.#roots.set(size, this.#edge.root());
      size = this.#sizes[++this.#nextSize];
    }
  }

  #compareTile(): void {
    const [from, to] = [this.#tileFrom, this.#size];
    this.#tileFrom = to;
    if (from === to) return;
    const index = Math.floor(from / tileWidth);
    this.#tiles.forEach((tiles, i) => {
      if (this.#differs[i] !== undefined) return;
      const kept = tiles(index);
      if (kept !== undefined) this.#differs[i] = this.#firstDifferent(kept, from, to);
    });
  }

  #firstDifferent(kept: Uint8Array, from: number, to: number): number | undefined {
    const start = from - (from % tileWidth);
    const end = Math.min(to, start + Math.floor(kept.length / hashBytes));
    for (let leaf = from; leaf < end; leaf++) {
      const at = (leaf - start) * hashBytes;
      if (!equalBytes(kept.subarray(at, at + hashBytes), this.#tile.subarray(at, at + hashBytes))) return leaf;
    }
    return undefined;
  }
}
