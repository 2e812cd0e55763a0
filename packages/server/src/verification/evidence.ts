/**
 * Collects the proofs that tie entries to signed checkpoints: the checkpoints to show, with the signatures of
 * witnesses, and the hashes between. It reads in the exporter's snapshot, so all proofs are about one state of the
 * ledger.
 *
 * Promises: every proof that is handed out was checked · a wrong stored tile is skipped: then the proof is made from
 * the entries · of several suitable checkpoints, the one that most anchors confirmed is taken, but none by a revoked
 * key if there is another.
 */
import type { TenantId } from "@countersign/contract";
import {
  type BundleCheckpoint,
  type BundleProofs,
  type Checkpoint,
  inclusionProof,
  isSignedBy,
  leafHashHex,
  parseCheckpoint,
  parseOrigin,
  type ReadNodes,
  readKeyHistory,
  type TreeNode,
  verifyConsistency,
  verifyInclusion,
} from "@countersign/proof";
import {
  anchoredSizes,
  checkpointFrom,
  checkpointsUpTo,
  receiptsAt,
  type AnchoredRow,
  type ReceiptRow,
} from "./exportQueries.js";
import type { Ask } from "../ledger/index.js";
import { type CheckpointRow, cosigned, latestCheckpoint, parseRow, TileRoots, Tree } from "../publishing/index.js";

/** A checkpoint, and its confirmations outside of the database. */
export interface Confirmed {
  readonly checkpoint: Checkpoint;
  readonly incarnation: number;
  /** Names of anchors and witnesses, as this deployment configured them. */
  readonly anchors: readonly string[];
  /** The first of them, by this deployment's clock; Infinity: nobody yet. */
  readonly heldAtMs: number;
}

/** Checkpoints within a range that a bundle carries, beside those behind it: they narrow down where a rewrite began. */
const interiorMax = 32;
/** Proofs that share the tiles read for one of them. */
const proofsAtOnce = 1_024;

/** Of one tenant, in one snapshot. */
export class Evidence {
  readonly #tenant: TenantId;
  readonly #ask: Ask;
  #tree: Tree;
  #nodes: { readonly size: number; readonly read: ReadNodes; left: number } | undefined;

  constructor(tenant: TenantId, ask: Ask) {
    this.#tenant = tenant;
    this.#ask = ask;
    this.#tree = new Tree(tenant, ask, new TileRoots());
  }

  /**
   * The checkpoint to prove entries below `size` with; undefined when none covers them. `keyStatements`: the statements
   * that may revoke keys.
   */
  async covering(size: number, keyStatements: readonly string[]): Promise<Confirmed | undefined> {
    const newest = await this.#newest();
    if (newest === undefined || newest.checkpoint.size < size) return undefined;
    const { incarnation } = newest;
    const anchored = await this.#ask<AnchoredRow>(anchoredSizes(this.#tenant, incarnation, size));
    const sizes = anchored
      .flatMap((row) => [row.newest, row.first])
      .flatMap((one) => (one === null ? [] : [Number(one)]));
    const [confirmed, first] = [
      await this.#confirmed(
        incarnation,
        [...sizes, newest.checkpoint.size].filter((one) => one >= size),
        anchored,
      ),
      newest.checkpoint.size,
    ];
    const counts = countedBy(keyStatements, newest.checkpoint.origin);
    // Whose signature counts, then most anchors, then the newest: it covers most.
    const best = confirmed.sort(
      (a, b) =>
        Number(counts(b)) - Number(counts(a)) ||
        b.anchors.length - a.anchors.length ||
        b.checkpoint.size - a.checkpoint.size,
    );
    return best[0] ?? (first >= size ? newest : undefined);
  }

  /** Edge and checkpoints of the range from…to; nothing when nothing is published. */
  async ofRange({ from, to }: { readonly from: number; readonly to: number }): Promise<BundleProofs> {
    const newest = await this.#newest();
    const end = to + 1;
    if (newest === undefined || end === 0) return {};
    const { incarnation } = newest;
    const anchored = await this.#ask<AnchoredRow>(anchoredSizes(this.#tenant, incarnation, end));
    const behind = await this.#ask<CheckpointRow>(checkpointFrom(this.#tenant, incarnation, end));
    const sizes = [
      ...evenly(from, Math.min(end, newest.checkpoint.size), interiorMax),
      ...anchored.flatMap((row) => [row.newest, row.first]).flatMap((one) => (one === null ? [] : [Number(one)])),
      ...behind.map((row) => Number(row.size)),
      newest.checkpoint.size,
    ].filter((size) => size > from);
    const confirmed = await this.#confirmed(incarnation, sizes, anchored);
    const ascending = confirmed.map(({ checkpoint }) => checkpoint).sort((a, b) => a.size - b.size);
    const last = ascending.at(-1);
    const edge = from === 0 || last === undefined ? {} : { edge: await this.#edge(from, last) };
    const checkpoints: BundleCheckpoint[] = [];
    for (const checkpoint of ascending) checkpoints.push(await this.#tied(checkpoint, end));
    return { ...edge, checkpoints };
  }

  /** Checked by the checkpoint behind it, to which it must lead. */
  async #edge(from: number, { size, root }: Checkpoint): Promise<Uint8Array[]> {
    if (!(await this.#consistency(from, size, root)).good) this.#distrust();
    return (await this.#tree.edge(from)).hashes();
  }

  async #tied(checkpoint: Checkpoint, end: number): Promise<BundleCheckpoint> {
    const { text: note, size, root } = checkpoint;
    if (size <= end) return { note };
    const made = await this.#consistency(end, size, root);
    if (made.good) return { note, consistency: made.proof };
    this.#distrust();
    // The hashes that the entries themselves give, right or wrong: the verifier sees which.
    return { note, consistency: (await this.#consistency(end, size, root)).proof };
  }

  async #consistency(from: number, to: number, toRoot: Uint8Array) {
    const proof = await this.#tree.consistency(from, to);
    const fromRoot = (await this.#tree.edge(from)).root();
    return { proof, good: verifyConsistency({ from, fromRoot, to, toRoot, proof }) };
  }

  /** The path of an entry to the root of a checkpoint. `leaf`: its `linkText`. */
  async inclusion(index: number, leaf: string, { size, root }: Checkpoint): Promise<Uint8Array[]> {
    const leafHash = Buffer.from(leafHashHex(leaf), "hex");
    const proof = await inclusionProof(index, size, this.#nodesOf(size));
    if (verifyInclusion({ index, size, leafHash, proof, root })) return proof;
    this.#distrust();
    return inclusionProof(index, size, this.#nodesOf(size));
  }

  /** Tiles are kept for some proofs, which share most of them, and then dropped. */
  #nodesOf(size: number): ReadNodes {
    if (this.#nodes === undefined || this.#nodes.size !== size || this.#nodes.left-- <= 0)
      this.#nodes = { size, read: remembering(this.#tree.nodes(size)), left: proofsAtOnce };
    return this.#nodes.read;
  }

  leaves(from: number, to: number): Promise<string[]> {
    return this.#tree.leaves(from, to);
  }

  #distrust(): void {
    this.#tree = new Tree(this.#tenant, this.#ask, new TileRoots(), { fromEntries: true });
    this.#nodes = undefined;
  }

  async #newest(): Promise<Confirmed | undefined> {
    const [row] = await this.#ask<CheckpointRow>(latestCheckpoint(this.#tenant));
    const stored = row === undefined ? undefined : parseRow(row);
    return stored === undefined ? undefined : { ...stored, anchors: [], heldAtMs: Infinity };
  }

  /** The stored checkpoints nearest below some sizes, with everybody's confirmation; in no order. */
  async #confirmed(
    incarnation: number,
    sizes: readonly number[],
    anchored: readonly AnchoredRow[],
  ): Promise<Confirmed[]> {
    const rows = await this.#ask<CheckpointRow>(
      checkpointsUpTo(
        this.#tenant,
        incarnation,
        [...new Set(sizes)].sort((a, b) => a - b),
      ),
    );
    const stored = rows.flatMap((row) => parseRow(row) ?? []);
    const receipts = await this.#ask<ReceiptRow>(
      receiptsAt(
        this.#tenant,
        incarnation,
        anchored.map(({ anchor }) => anchor),
        stored.map(({ checkpoint }) => checkpoint.size),
      ),
    );
    return stored.map(({ checkpoint }) => {
      const own = receipts.filter(({ size }) => Number(size) === checkpoint.size);
      return {
        ...{ incarnation, checkpoint: cosigned(checkpoint, own), anchors: own.map(({ anchor }) => anchor) },
        heldAtMs: own.reduce((least, { at_ms: atMs }) => Math.min(least, Number(atMs)), Infinity),
      };
    });
  }
}

/**
 * Whether the log's signature on a checkpoint counts, by the revocations of its key and the time when somebody outside
 * held it.
 */
function countedBy(keyStatements: readonly string[], origin: string): (confirmed: Confirmed) => boolean {
  const deployment = parseOrigin(origin)?.deployment ?? "";
  // Following statements verifies a signature or two for each: hardly any deployment ever revokes a key.
  const mayRevoke = keyStatements.some((statement) => statement.includes("\nrevoke\n"));
  const { keys } = mayRevoke ? readKeyHistory(keyStatements, { deployment, pinned: [] }) : { keys: [] };
  const revoked = keys.flatMap(({ publicKey, revokedAtMs: atMs }) => (atMs === undefined ? [] : [{ publicKey, atMs }]));
  return ({ checkpoint, heldAtMs }) =>
    revoked.every(({ publicKey, atMs }) => heldAtMs < atMs || !isSignedBy(checkpoint, publicKey));
}

/** A node is a hash over up to hundreds of others; neighbouring entries have nearly all of theirs in common. */
function remembering(read: ReadNodes): ReadNodes {
  const known = new Map<string, Uint8Array>();
  const place = ({ level, index }: TreeNode): string => `${level}/${index}`;
  return async (nodes) => {
    const missing = nodes.filter((node) => !known.has(place(node)));
    const hashes = missing.length === 0 ? [] : await read(missing);
    missing.forEach((node, at) => known.set(place(node), hashes[at] as Uint8Array));
    return nodes.map((node) => known.get(place(node)) as Uint8Array);
  };
}

/** Sizes evenly from after `from` to `to`. */
function evenly(from: number, to: number, count: number): number[] {
  const step = Math.max(1, Math.ceil((to - from) / count));
  const sizes: number[] = [];
  for (let size = to; size > from; size -= step) sizes.push(size);
  return sizes;
}

/** Signatures beside the log's own. */
export function cosignatures({ text }: Pick<Checkpoint, "text">): number {
  const parsed = parseCheckpoint(text);
  return parsed.ok ? Math.max(0, parsed.checkpoint.note.signatures.length - 1) : 0;
}
