/** Inclusion and consistency proofs in a tree of a million leaves, made from its tiles and verified. */
import {
  consistencyProof,
  inclusionProof,
  nodesFromTiles,
  RightEdge,
  sha256Bytes,
  tilePath,
  tilesBetween,
  verifyConsistency,
  verifyInclusion,
} from "../../packages/proof/src/index.js";
import type { Measured, Row } from "../row.js";

const size = 1_000_000;
const asked = 200;

/** The level-0 tiles as one buffer, and those above, of leaves that are numbers. */
function growTiles(): {
  tiles: ReadonlyMap<string, Uint8Array>;
  edges: ReadonlyMap<number, Uint8Array>;
  leaves: Buffer;
} {
  const leaves = Buffer.alloc(size * 32);
  const edge = new RightEdge();
  const wanted = new Set(Array.from({ length: asked }, (_, n) => oldSize(n)));
  const edges = new Map<number, Uint8Array>();
  for (let n = 0; n < size; n++) {
    const leaf = sha256Bytes(String(n));
    leaf.copy(leaves, n * 32);
    edge.append(leaf);
    if (wanted.has(edge.size)) edges.set(edge.size, edge.root());
  }
  edges.set(size, edge.root());
  const tiles = new Map<string, Uint8Array>();
  let below = leaves;
  for (let level = 0; below.length > 0; level++) {
    for (const tile of tilesBetween(0, size).filter((one) => one.level === level))
      tiles.set(tilePath(tile), below.subarray(tile.index * 8192, tile.index * 8192 + tile.width * 32));
    const above = Buffer.alloc(Math.floor(below.length / 8192) * 32);
    for (let n = 0; n * 32 < above.length; n++) {
      const one = new RightEdge();
      for (let i = 0; i < 256; i++) one.append(below.subarray(n * 8192 + i * 32, n * 8192 + i * 32 + 32));
      above.set(one.root(), n * 32);
    }
    below = above;
  }
  return { tiles, edges, leaves };
}

const oldSize = (n: number): number => 1 + ((n * 7_919_993) % size);

async function prepare(): Promise<Measured> {
  const { tiles, edges, leaves } = growTiles();
  const nodes = nodesFromTiles(size, (tile) => tiles.get(tilePath(tile)) ?? new Uint8Array());
  const root = edges.get(size) as Uint8Array;
  return {
    ours: async () => {
      const took: number[] = [];
      let hashes = 0;
      for (let n = 0; n < asked; n++) {
        const begin = performance.now();
        const index = oldSize(n) - 1;
        const inclusion = await inclusionProof(index, size, nodes);
        const leafHash = leaves.subarray(index * 32, index * 32 + 32);
        const from = oldSize(n);
        const consistency = await consistencyProof(from, size, nodes);
        const good =
          verifyInclusion({ index, size, leafHash, proof: inclusion, root }) &&
          verifyConsistency({
            from,
            fromRoot: edges.get(from) as Uint8Array,
            to: size,
            toRoot: root,
            proof: consistency,
          });
        took.push(performance.now() - begin);
        hashes = Math.max(hashes, inclusion.length, consistency.length);
        if (!good) throw new Error(`no proof of ${index}`);
      }
      if (hashes * 32 > 2048) throw new Error(`a proof of ${hashes} hashes`);
      took.sort((a, b) => a - b);
      return { value: took[asked / 2] as number, p99Ms: took[Math.floor(asked * 0.99)] as number };
    },
    close: () => Promise.resolve(),
  };
}

export const proofRows: readonly Row[] = [
  {
    name: "proof",
    work: "one inclusion and one consistency proof made from tiles and verified",
    unit: "ms",
    goal: { valueMax: 5, text: "< 5 ms, < 2 KB" },
    referenceIs: "",
    conditions: "1 M entries, tiles in memory; median of 200; a proof has at most 21 hashes (672 bytes)",
    prepare,
  },
];
