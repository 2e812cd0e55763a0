/** A log in memory, signed as the publisher signs, for tests of those who keep its checkpoints. */
import {
  consistencyProof,
  generateSigningKeyPair,
  leafHashHex,
  nodeHash,
  parseCheckpoint,
  RightEdge,
  sha256Bytes,
  signCheckpoint,
  signerOf,
  type Checkpoint,
  type NoteSigner,
  type TreeNode,
} from "@countersign/proof";
import type { LeafTile, Submission } from "../../src/publishing/anchors/index.js";

export const width = 256;
export const tenantA = "0198c0de-0000-7000-8000-00000000000a";
export const tenantB = "0198c0de-0000-7000-8000-00000000000b";

export function logKey(seed = 1): NoteSigner {
  return signerOf(generateSigningKeyPair(sha256Bytes(`log key ${seed}`)));
}

export interface LogOptions {
  readonly origin?: string;
  readonly signer?: NoteSigner;
  /** Leaves from this index on differ from those of a log with another story. */
  readonly story?: string;
  readonly divergesAt?: number;
}

/** A log whose leaves are determined by its options: two with one story are the same log. */
export class MemoryLog {
  readonly origin: string;
  readonly signer: NoteSigner;
  readonly leaves: Uint8Array[] = [];
  readonly #options: LogOptions;
  /** Counts what was asked for. */
  readonly asked = { consistency: [] as number[], tiles: [] as [number, number][] };

  constructor(options: LogOptions = {}) {
    this.origin = options.origin ?? `acme/${tenantA}`;
    this.signer = options.signer ?? logKey();
    this.#options = options;
  }

  grow(size: number): this {
    const { story = "", divergesAt = 0 } = this.#options;
    for (let index = this.leaves.length; index < size; index += 1)
      this.leaves.push(Buffer.from(leafHashHex(`${index >= divergesAt ? story : ""} leaf ${index}`), "hex"));
    return this;
  }

  root(size: number): Uint8Array {
    const edge = new RightEdge();
    for (const leaf of this.leaves.slice(0, size)) edge.append(leaf);
    return edge.root();
  }

  async checkpoint(size: number): Promise<Checkpoint> {
    this.grow(size);
    return checkpointOf({ origin: this.origin, size, root: this.root(size) }, this.signer);
  }

  consistency(from: number, to: number): Promise<Uint8Array[]> {
    this.asked.consistency.push(from);
    return consistencyProof(from, to, (nodes) => nodes.map((node) => this.#node(node)));
  }

  #node({ level, index }: TreeNode): Uint8Array {
    if (level === 0) return this.leaves[index] ?? new Uint8Array(32);
    return nodeHash(
      this.#node({ level: level - 1, index: index * 2 }),
      this.#node({ level: level - 1, index: index * 2 + 1 }),
    );
  }

  async *leafTiles(fromSize: number, toSize: number): AsyncIterable<LeafTile> {
    this.asked.tiles.push([fromSize, toSize]);
    for (let index = Math.floor(fromSize / width); index * width < toSize; index += 1) {
      const leaves = this.leaves.slice(index * width, Math.min(toSize, (index + 1) * width));
      yield await Promise.resolve({
        tile: { level: 0, index, width: leaves.length },
        bytes: Buffer.concat(leaves),
      });
    }
  }

  async submission(size: number, anchored = 0): Promise<Submission> {
    const checkpoint = await this.checkpoint(size);
    return {
      origin: this.origin,
      checkpoint,
      anchored,
      consistency: (from) => this.consistency(from, size),
      leafTiles: (fromSize, toSize) => this.leafTiles(fromSize, toSize),
    };
  }
}

export async function checkpointOf(
  head: { readonly origin: string; readonly size: number; readonly root: Uint8Array },
  signer: NoteSigner,
): Promise<Checkpoint> {
  const parsed = parseCheckpoint(await signCheckpoint(head, signer));
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.checkpoint;
}

export function sizeOfNote(text: string): number {
  const parsed = parseCheckpoint(text);
  if (!parsed.ok) throw new Error(parsed.problem);
  return parsed.checkpoint.size;
}
