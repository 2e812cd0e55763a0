/**
 * Tiles (C2SP tlog-tiles): the tree in pieces of up to 256 hashes that never change once they are full, and the leaves' data in bundles
 * of as many. Level L, index N holds the hashes of complete subtrees of 256^L leaves.
 */
import { concatBytes } from "./bytes.js";
import { RightEdge, type ReadNodes, type TreeNode } from "./merkle.js";

/** Hashes of a full tile. */
export const tileWidth = 256;
const tileHeight = 8;
const hashBytes = 32;
/** 256^6 is the last power of 256 below 2^53. */
const levelMax = 6;

export interface Tile {
  /** 0 to 6; `entries`: the leaves' data instead of hashes. */
  readonly level: number | "entries";
  readonly index: number;
  /** How many there are: 1 to 256. */
  readonly width: number;
}

/** `tile/0/x001/234.p/17`. */
export function tilePath({ level, index, width }: Tile): string {
  const groups = [String(index % 1000).padStart(3, "0")];
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000))
    groups.unshift(`x${String(rest % 1000).padStart(3, "0")}`);
  return `tile/${level}/${groups.join("/")}${width === tileWidth ? "" : `.p/${width}`}`;
}

/** Undefined for anything but the one path of a tile. */
export function parseTilePath(path: string): Tile | undefined {
  const parts = /^tile\/([0-6]|entries)\/((?:x\d{3}\/){0,4}\d{3})(?:\.p\/([1-9]\d{0,2}))?$/.exec(path);
  if (parts === null) return undefined;
  const [, level = "", groups = "", width] = parts;
  const tile: Tile = {
    level: level === "entries" ? level : Number(level),
    index: Number(groups.replaceAll(/[x/]/g, "")),
    width: width === undefined ? tileWidth : Number(width),
  };
  return tilePath(tile) === path ? tile : undefined;
}

/**
 * Hash tiles of a tree of `toSize` that one of `fromSize` did not have so, the growing last ones among them. `width`: of full tiles, 256 in
 * tlog-tiles; the reference's numbers are for others.
 */
export function tilesBetween(fromSize: number, toSize: number, width = tileWidth): Tile[] {
  const tiles: Tile[] = [];
  for (let [level, span] = [0, 1]; span <= toSize; level++, span *= width) {
    const [had, has] = [Math.floor(fromSize / span), Math.floor(toSize / span)];
    for (let index = Math.floor(had / width); index * width < has; index++) {
      const wide = Math.min(width, has - index * width);
      if (index * width + wide > had) tiles.push({ level, index, width: wide });
    }
  }
  return tiles;
}

/** Those of them that are full, and so for ever. */
export function fullTiles(fromSize: number, toSize: number): Tile[] {
  return tilesBetween(fromSize, toSize).filter(({ width }) => width === tileWidth);
}

/** Complete subtrees of 256^level leaves in a tree of `size`. */
function hashesAt(level: number, size: number): number {
  return Math.floor(size / tileWidth ** level);
}

/** How wide the tile is in a tree of `size`; 0 if it is not there at all. */
export function widthAt(size: number, { level, index }: Pick<Tile, "level" | "index">): number {
  const has = hashesAt(level === "entries" ? 0 : level, size);
  return Math.max(0, Math.min(tileWidth, has - index * tileWidth));
}

/** Reads hashes of subtrees of a tree of `size` out of its tiles. Throws RangeError where a tile is not as wide as it must be. */
export function nodesFromTiles(size: number, readTile: (tile: Tile) => Uint8Array | Promise<Uint8Array>): ReadNodes {
  return async (nodes) => {
    const tiles = new Map<string, Promise<Uint8Array>>();
    const read = (tile: Tile): Promise<Uint8Array> => {
      const path = tilePath(tile);
      const reading = tiles.get(path) ?? Promise.resolve(readTile(tile));
      tiles.set(path, reading);
      return reading;
    };
    return Promise.all(nodes.map((node) => readNode(size, node, read)));
  };
}

async function readNode(size: number, node: TreeNode, read: (tile: Tile) => Promise<Uint8Array>): Promise<Uint8Array> {
  const level = Math.min(levelMax, Math.floor(node.level / tileHeight));
  const below = 2 ** (node.level - level * tileHeight);
  const first = node.index * below;
  const edge = new RightEdge();
  // A subtree above the highest level spans more than one tile.
  for (let at = first; at < first + below;) {
    const index = Math.floor(at / tileWidth);
    const tile = { level, index, width: widthAt(size, { level, index }) };
    const bytes = await read(tile);
    if (bytes.length !== tile.width * hashBytes) throw new RangeError(`${tilePath(tile)} has not ${tile.width} hashes`);
    const end = Math.min(first + below, (index + 1) * tileWidth);
    for (; at < end; at++) {
      const start = (at - index * tileWidth) * hashBytes;
      if (start + hashBytes > bytes.length) throw new RangeError(`${tilePath(tile)} does not reach so far`);
      edge.append(bytes.subarray(start, start + hashBytes));
    }
  }
  return edge.root();
}

const entryBytesMax = 0xffff;

/** An entry bundle: each leaf's data behind its length in two bytes, big-endian. Throws RangeError for data above 65,535 bytes. */
export function encodeEntries(entries: readonly Uint8Array[]): Uint8Array {
  return concatBytes(
    entries.flatMap((entry) => {
      if (entry.length > entryBytesMax) throw new RangeError("an entry of more than 65,535 bytes");
      return [Uint8Array.of(entry.length >> 8, entry.length & 0xff), entry];
    }),
  );
}

/** Undefined unless the bytes are exactly `width` entries. */
export function decodeEntries(bytes: Uint8Array, width: number): Uint8Array[] | undefined {
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at + 2 <= bytes.length && entries.length < width) {
    const length = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    entries.push(bytes.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
  return at === bytes.length && entries.length === width ? entries : undefined;
}
