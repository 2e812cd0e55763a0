/**
 * Reads published data: checkpoints with their cosignatures, tiles, proofs. From the database alone: with keys or
 * without, beside a running publisher or in its absence.
 *
 * Promises: a proof that is given verifies against the checkpoint given with it: it was checked · if a stored tile is wrong,
 * the proof is made from the entries, and `report` hears of it.
 */
import type { TenantId } from "@countersign/contract";
import {
  appendSignature,
  parseCheckpoint,
  sha256Bytes,
  verifyConsistency,
  verifyInclusion,
  type Checkpoint,
  type RightEdge,
  type Tile,
} from "@countersign/proof";
import type { Ask } from "../ledger/index.js";
import type { Storage } from "../storage/index.js";
import type { AnchorSource, LeafTile } from "./anchors/index.js";
import { failure } from "./failure.js";
import { checkpointSeries, latestCheckpoint, receiptsOf, type CheckpointRow } from "./queries.js";
import { parseRow } from "./tenantLog.js";
import { withTree, type TileRoots, type Tree, type TreeOptions } from "./tree.js";
import { tileWidth } from "@countersign/proof";

export interface ReadParts {
  readonly storage: Pick<Storage, "withSnapshot">;
  readonly roots: TileRoots;
  readonly report: (event: string, details: Readonly<Record<string, unknown>>) => void;
}

export interface InclusionProof {
  /** Number of the entry. */
  readonly index: number;
  /** Of the checkpoint's tree. */
  readonly size: number;
  readonly proof: readonly Uint8Array[];
  /** Leaf data, `linkText`: the text that is hashed into the tree. */
  readonly leaf: string;
}

export interface ProofsAt {
  /** With the cosignatures that are there. */
  readonly checkpoint: Checkpoint;
  readonly incarnation: number;
  readonly proofs: readonly InclusionProof[];
}

export interface Published {
  readonly incarnation: number;
  readonly checkpoint: Checkpoint;
  readonly signedMs: number;
}

/** Entries one question may ask proofs for. */
export const provenMax = 1_000;
/** A note with its cosignatures; tlog clients read no more. */
const cosignaturesMax = 64;

export class Reader {
  readonly #parts: ReadParts;

  constructor(parts: ReadParts) {
    this.#parts = parts;
  }

  /** The newest stored checkpoint, with the cosignatures that are there; undefined: none yet. */
  latest(tenant: TenantId): Promise<Published | undefined> {
    return this.#with(tenant, (_tree, ask) => newest(tenant, ask));
  }

  /** Of every incarnation, ascending, thinned evenly to `limit`; without cosignatures. */
  series(tenant: TenantId, limit: number): Promise<readonly Published[]> {
    return this.#with(tenant, async (_tree, ask) => {
      const rows = await ask<CheckpointRow>(checkpointSeries(tenant, limit));
      return rows.flatMap((row) => parseRow(row) ?? []);
    });
  }

  /** As tlog-tiles has it; undefined: outside of the newest checkpoint's tree. */
  tile(tenant: TenantId, tile: Tile): Promise<Uint8Array | undefined> {
    return this.#with(tenant, async (tree, ask) => {
      const published = await newest(tenant, ask, "bare");
      return published === undefined ? undefined : tree.tile(tile, published.checkpoint.size);
    });
  }

  /** Inclusion of entries in the newest checkpoint. Undefined: it does not cover all of them yet. */
  async proveMany(tenant: TenantId, seqs: readonly number[]): Promise<ProofsAt | undefined> {
    if (seqs.length > provenMax)
      throw failure("limit_exceeded", `proofs of ${seqs.length} entries at once are too many; ask for ${provenMax}`);
    const made = await this.#with(tenant, (tree, ask) => provenBy(tree, ask, seqs));
    if (made === undefined || made.proofs.every((proof) => verifies(made.checkpoint, proof))) return made;
    // The proof itself is right; the data it was made from is wrong.
    this.#distrust(tenant);
    const again = await this.#with(tenant, (tree, ask) => provenBy(tree, ask, seqs), { fromEntries: true });
    if (again === undefined || again.proofs.every((proof) => verifies(again.checkpoint, proof))) return again;
    throw failure(
      "publishing_stopped",
      `the ledger's entries are not the entries of which checkpoint ${again.checkpoint.size} was signed; \`countersign audit verify\` names the altered entry`,
    );
  }

  async consistency(tenant: TenantId, from: number, to: number): Promise<readonly Uint8Array[]> {
    const make = async (options?: TreeOptions) =>
      this.#with(
        tenant,
        async (tree) => {
          const proof = await tree.consistency(from, to);
          const [fromRoot, toRoot] = [(await tree.edge(from)).root(), (await tree.edge(to)).root()];
          return { proof, good: verifyConsistency({ from, fromRoot, to, toRoot, proof }) };
        },
        options,
      );
    const made = await make();
    if (made.good) return made.proof;
    this.#distrust(tenant);
    return (await make({ fromEntries: true })).proof;
  }

  edge(tenant: TenantId, size: number): Promise<RightEdge> {
    return this.#with(tenant, (tree) => tree.edge(size));
  }

  /** Number of entries. */
  size(tenant: TenantId): Promise<number> {
    return this.#with(tenant, (tree) => tree.size());
  }

  /** Stored tiles that differ from the entries; for the verification of the database. */
  async *tileDifferences(tenant: TenantId, size: number): AsyncGenerator<{ level: number; index: number }> {
    const found = await this.#with(tenant, async (tree) => {
      const differences: { level: number; index: number }[] = [];
      for await (const difference of tree.differences(size)) {
        differences.push(difference);
        if (differences.length >= provenMax) break;
      }
      return differences;
    });
    yield* found;
  }

  /** What anchors take away. */
  source(): AnchorSource {
    return {
      latest: (tenant) => this.latest(tenant),
      consistency: (tenant, from, to) => this.consistency(tenant, from, to),
      leafTiles: (tenant, fromSize, toSize) => this.#leafTiles(tenant, fromSize, toSize),
    };
  }

  async *#leafTiles(tenant: TenantId, fromSize: number, toSize: number): AsyncGenerator<LeafTile> {
    for (let index = Math.floor(fromSize / tileWidth); index * tileWidth < toSize; index++) {
      const tile = { level: 0, index, width: Math.min(tileWidth, toSize - index * tileWidth) };
      // A snapshot each: an anchor may be slow, and a snapshot held for long keeps the database from cleaning up.
      const bytes = await this.#with(tenant, (tree) => tree.tile(tile, toSize));
      if (bytes === undefined) throw new Error(`leaf tile ${index} of ${tenant} at size ${toSize} is not there`);
      yield { tile, bytes };
    }
  }

  #distrust(tenant: TenantId): void {
    this.#parts.roots.forget(tenant);
    this.#parts.report("publishing.tile_differs", { tenant });
  }

  #with<T>(tenant: TenantId, work: (tree: Tree, ask: Ask) => Promise<T>, options?: TreeOptions): Promise<T> {
    return withTree(this.#parts, tenant, work, options);
  }
}

async function newest(tenant: TenantId, ask: Ask, how?: "bare"): Promise<Published | undefined> {
  const [row] = await ask<CheckpointRow>(latestCheckpoint(tenant));
  const stored = row === undefined ? undefined : parseRow(row);
  if (stored === undefined || how === "bare") return stored;
  const receipts = await ask<{ receipt: string }>(receiptsOf(tenant, stored.incarnation, stored.checkpoint.size));
  return { ...stored, checkpoint: cosigned(stored.checkpoint, receipts) };
}

/**
 * Lines of witnesses are put under the note. A text that is no such line, or would make the note unreadable, is left
 * out.
 */
export function cosigned(checkpoint: Checkpoint, receipts: readonly { readonly receipt: string }[]): Checkpoint {
  const lines = receipts
    .flatMap(({ receipt }) => receipt.split("\n"))
    .filter((line) => line.startsWith("— "))
    .slice(0, cosignaturesMax);
  let whole = checkpoint;
  for (const line of lines) {
    const parsed = parseCheckpoint(appendSignature(whole.text, line));
    if (parsed.ok) whole = parsed.checkpoint;
  }
  return whole;
}

async function provenBy(tree: Tree, ask: Ask, seqs: readonly number[]): Promise<ProofsAt | undefined> {
  const published = await newest(tree.tenant, ask);
  if (published === undefined || seqs.some((seq) => seq >= published.checkpoint.size)) return undefined;
  const { size } = published.checkpoint;
  const proofs: InclusionProof[] = [];
  for (const index of seqs) {
    const [leaf] = await tree.leaves(index, index + 1);
    if (leaf === undefined) throw new Error(`entry ${index} of ${tree.tenant} is not there`);
    proofs.push({ index, size, proof: await tree.inclusion(index, size), leaf });
  }
  return { checkpoint: published.checkpoint, incarnation: published.incarnation, proofs };
}

function verifies(checkpoint: Checkpoint, { index, size, proof, leaf }: InclusionProof): boolean {
  const leafHash = sha256Bytes(Buffer.concat([Buffer.of(0), Buffer.from(leaf, "utf8")]));
  return verifyInclusion({ index, size, leafHash, proof, root: checkpoint.root });
}
