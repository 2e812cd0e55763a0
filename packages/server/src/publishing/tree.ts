/**
 * The hash tree over a tenant's entries, read in tiles: full tiles are read as the publisher stored them; tiles at the
 * right edge are made from the entries.
 *
 * Promises: a tile that lies outside of the tree of the size asked for does not exist · stored tiles only save work:
 * with `fromEntries` every value is computed from the entries again, and `differences` names stored tiles that
 * disagree.
 */
import type { TenantId } from "@countersign/contract";
import {
  consistencyProof,
  edgeOf,
  encodeEntries,
  inclusionProof,
  linkText,
  nodesFromTiles,
  RightEdge,
  tileWidth,
  type ReadNodes,
  type Tile,
} from "@countersign/proof";
import type { Storage } from "../storage/index.js";
import type { Ask, Query } from "../ledger/index.js";
import { leafHashes, ledgerSize, links, statement, tilesOf, type LinkRow, type TileRow } from "./queries.js";

const hashBytes = 32;
/** Roots of full tiles kept in memory: 32 bytes for 256 entries each, so some 16 million entries. */
const rootsMax = 65_536;
/** Full tiles read by one statement: half a mebibyte. */
const tilesAtOnce = 64;

/** Roots of full tiles never change: they are remembered for the process. */
export class TileRoots {
  readonly #roots = new Map<string, Uint8Array>();

  get(tenant: TenantId, level: number, index: number): Uint8Array | undefined {
    return this.#roots.get(`${tenant}/${level}/${index}`);
  }

  set(tenant: TenantId, level: number, index: number, root: Uint8Array): void {
    const oldest = this.#roots.size >= rootsMax ? this.#roots.keys().next().value : undefined;
    if (oldest !== undefined) this.#roots.delete(oldest);
    this.#roots.set(`${tenant}/${level}/${index}`, root);
  }

  forget(tenant: TenantId): void {
    for (const key of this.#roots.keys()) if (key.startsWith(`${tenant}/`)) this.#roots.delete(key);
  }
}

export interface TreeOptions {
  /** Ignores stored and remembered tiles: slower, and right whatever they hold. */
  readonly fromEntries?: boolean;
}

/** One tenant's tree, in one snapshot. */
export class Tree {
  readonly tenant: TenantId;
  readonly #ask: Ask;
  readonly #roots: TileRoots;
  readonly #fromEntries: boolean;

  constructor(tenant: TenantId, ask: Ask, roots: TileRoots, options: TreeOptions = {}) {
    this.tenant = tenant;
    this.#ask = ask;
    this.#roots = options.fromEntries === true ? new TileRoots() : roots;
    this.#fromEntries = options.fromEntries === true;
  }

  /** The bytes of a tile in the tree of `size`; undefined: there is no such tile, or it is not that wide. */
  async tile(tile: Tile, size: number): Promise<Uint8Array | undefined> {
    const level = tile.level === "entries" ? 0 : tile.level;
    const first = tile.index * tileWidth;
    const there = Math.floor(size / tileWidth ** level);
    if (!Number.isSafeInteger(first) || tile.width < 1 || tile.width > tileWidth) return undefined;
    // A full tile is served as one; a partial one only as wide as somebody may have seen it.
    if (first + tile.width > there) return undefined;
    if (tile.level === "entries") return this.#entries(first, tile.width);
    return this.#hashes(level, tile.index, tile.width);
  }

  /** For proofs in the tree of `size`. */
  nodes(size: number): ReadNodes {
    const read = new Map<string, Promise<Uint8Array>>();
    return nodesFromTiles(size, (tile) => {
      const key = `${tile.level}/${tile.index}/${tile.width}`;
      const known = read.get(key);
      if (known !== undefined) return known;
      const bytes = this.tile(tile, size).then((found) => {
        if (found === undefined) throw new Error(`tile ${key} of ${this.tenant} at size ${size} is not there`);
        return found;
      });
      read.set(key, bytes);
      return bytes;
    });
  }

  /** Number of entries. */
  async size(): Promise<number> {
    const [head] = await this.#ask<{ size: string }>(ledgerSize(this.tenant));
    return Number(head?.size ?? 0);
  }

  edge(size: number): Promise<RightEdge> {
    return size === 0 ? Promise.resolve(new RightEdge()) : edgeOf(size, this.nodes(size));
  }

  inclusion(index: number, size: number): Promise<Uint8Array[]> {
    return inclusionProof(index, size, this.nodes(size));
  }

  consistency(from: number, to: number): Promise<Uint8Array[]> {
    return consistencyProof(from, to, this.nodes(to));
  }

  /** Leaf data (`linkText`) of entries from…to-1. */
  async leaves(from: number, to: number): Promise<string[]> {
    const rows = await this.#ask<LinkRow>(links(this.tenant, from, to));
    if (rows.length !== to - from) throw new Error(`entries ${from}…${to - 1} of ${this.tenant} are not all there`);
    return rows.map((row) => leafOf(this.tenant, row));
  }

  /** Stored full tiles of the tree of `size` that differ from the entries. */
  async *differences(size: number): AsyncGenerator<{ readonly level: number; readonly index: number }> {
    const truth = new Tree(this.tenant, this.#ask, this.#roots, { fromEntries: true });
    for (let level = 0; tileWidth ** (level + 1) <= size; level++) {
      const count = Math.floor(size / tileWidth ** (level + 1));
      for (let from = 0; from < count; from += tilesAtOnce) {
        const to = Math.min(from + tilesAtOnce, count);
        for (const row of await this.#ask<TileRow>(tilesOf(this.tenant, level, from, to))) {
          const due = await truth.#hashes(level, Number(row.index), tileWidth);
          if (!row.hashes.equals(due)) yield { level, index: Number(row.index) };
        }
      }
    }
  }

  async #entries(first: number, width: number): Promise<Uint8Array> {
    const leaves = await this.leaves(first, first + width);
    return encodeEntries(leaves.map((leaf) => Buffer.from(leaf, "utf8")));
  }

  async #hashes(level: number, index: number, width: number): Promise<Uint8Array> {
    if (width === tileWidth && !this.#fromEntries) {
      const [stored] = await this.#ask<TileRow>(tilesOf(this.tenant, level, index, index + 1));
      if (stored !== undefined) return stored.hashes;
    }
    const first = index * tileWidth;
    return level === 0 ? this.#leafHashes(first, first + width) : this.#rootsBelow(level - 1, first, first + width);
  }

  async #leafHashes(from: number, to: number): Promise<Uint8Array> {
    const rows = await this.#ask<{ hash: Buffer }>(leafHashes(this.tenant, from, to));
    if (rows.length !== to - from) throw new Error(`entries ${from}…${to - 1} of ${this.tenant} are not all there`);
    return Buffer.concat(rows.map((row) => row.hash));
  }

  /** The roots of the full tiles from…to-1 of a level, one after the other. */
  async #rootsBelow(level: number, from: number, to: number): Promise<Uint8Array> {
    const out = Buffer.alloc((to - from) * hashBytes);
    for (let start = from; start < to; start += tilesAtOnce) {
      const end = Math.min(start + tilesAtOnce, to);
      await this.#learnRoots(level, start, end);
      for (let index = start; index < end; index++) {
        const root = this.#roots.get(this.tenant, level, index);
        if (root === undefined) throw new Error("a root was learned and is not remembered");
        out.set(root, (index - from) * hashBytes);
      }
    }
    return out;
  }

  async #learnRoots(level: number, from: number, to: number): Promise<void> {
    const missing = [...new Array<undefined>(to - from).keys()]
      .map((n) => from + n)
      .filter((index) => this.#roots.get(this.tenant, level, index) === undefined);
    const [first, last] = [missing[0], missing.at(-1)];
    if (first === undefined || last === undefined) return;
    const stored = this.#fromEntries ? [] : await this.#ask<TileRow>(tilesOf(this.tenant, level, first, last + 1));
    const tiles = new Map(stored.map((row) => [Number(row.index), row.hashes]));
    for (const index of missing) {
      const hashes = tiles.get(index) ?? (await this.#hashes(level, index, tileWidth));
      this.#roots.set(this.tenant, level, index, rootOfTile(hashes));
    }
  }
}

/** The root over a tile's hashes: the hash of this tile one level of tiles higher. */
export function rootOfTile(hashes: Uint8Array): Uint8Array {
  const edge = new RightEdge();
  for (let at = 0; at < hashes.length; at += hashBytes) edge.append(hashes.subarray(at, at + hashBytes));
  return edge.root();
}

export function leafOf(tenant: string, row: LinkRow): string {
  return linkText({
    tenant,
    seq: Number(row.seq),
    timeMs: Number(row.time_ms),
    prev: row.prev.toString("hex"),
    contentHash: row.content_hash.toString("hex"),
  });
}

/** Runs `work` on a tenant's tree, in one snapshot. */
export function withTree<T>(
  { storage, roots }: { readonly storage: Pick<Storage, "withSnapshot">; readonly roots: TileRoots },
  tenant: TenantId,
  work: (tree: Tree, ask: Ask) => Promise<T>,
  options?: TreeOptions,
): Promise<T> {
  return storage.withSnapshot(tenant, (client) => {
    const ask: Ask = async <R extends object>(query: Query) => (await client.query<R>(statement(query))).rows;
    return work(new Tree(tenant, ask, roots, options), ask);
  });
}
