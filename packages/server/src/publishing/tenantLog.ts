/**
 * Signs one tenant's log: from the last checkpoint to the next.
 *
 * The order, which no crash may change: consistent with memory and with the last stored checkpoint → remembered, on the disk
 * → signed → stored under the lease → served and anchored. A checkpoint is signed only after it is remembered, and
 * shown only after it is stored.
 *
 * If we die after remembering: memory is ahead of the table; the entries are there (they were committed before), the next
 * step finds the same root and goes on from it. After storing: the next checkpoint is the next.
 */
import type { TenantId } from "@countersign/contract";
import {
  checkpointBody,
  entryHasher,
  isSignedBy,
  originOf,
  parseCheckpoint,
  RightEdge,
  signCheckpoint,
  tileWidth,
  type Checkpoint,
} from "@countersign/proof";
import type { Clock } from "../platform/index.js";
import type { Ask } from "../ledger/index.js";
import type { Storage } from "../storage/index.js";
import type { OpenKeys } from "./keyHistory.js";
import type { Remembered, Signed } from "./memory.js";
import {
  latestCheckpoint,
  links,
  setTenants,
  statement,
  storeCheckpoint,
  storeTiles,
  type CheckpointRow,
  type Fenced,
  type LinkRow,
} from "./queries.js";
import { withTree, type TileRoots, type Tree } from "./tree.js";

/** Rows read by one statement: sixteen tiles. */
const pageEntries = 16 * tileWidth;
/** Entries one checkpoint adds at most: a backlog is published in steps, and other tenants get their turn. */
const stepEntries = 64 * pageEntries;
/** Tiles stored by one statement: half a mebibyte. */
const tilesAtOnce = 64;

/** For tests that kill the process between two steps. superseded: an entry makes way for a checkpoint that counts. */
export type Step = "remembered" | "stored" | "superseded";

export interface TenantLogParts {
  readonly storage: Pick<Storage, "withSnapshot" | "inTenant">;
  readonly roots: TileRoots;
  readonly clock: Clock;
  readonly atStep?: ((step: Step, tenant: TenantId) => void) | undefined;
}

/** The reason why a tenant's log is not signed: the database contradicts earlier checkpoints. */
export class Stopped extends Error {
  override readonly name = "Stopped";
  readonly kind: StopKind;
  constructor(kind: StopKind, message: string) {
    super(message);
    this.kind = kind;
  }
}
/** rolled_back, rewritten: a restore is due, or somebody's hand. memory_*, checkpoint_*: the key directory or the table. */
export type StopKind =
  "rolled_back" | "rewritten" | "memory_lost" | "memory_behind" | "checkpoint_forged" | "chain_broken";

/** Not now: the clock is behind, another process moved the memory. Tried again. */
export class NotNow extends Error {
  override readonly name = "NotNow";
}

/** Somebody else holds the lease. */
export class FencedOut extends Error {
  override readonly name = "FencedOut";
}

export interface StoredCheckpoint {
  readonly incarnation: number;
  readonly checkpoint: Checkpoint;
  readonly signedMs: number;
}

interface Position {
  readonly memory: Remembered | undefined;
  readonly incarnation: number;
  readonly origin: string;
  /** The right edge at the stored checkpoint. */
  readonly edge: RightEdge;
  /** Hash of the last entry, hex; zeros before the first. */
  readonly lastHash: string;
  /** The checkpoint in the table; undefined: there is none of this incarnation. */
  readonly stored: StoredCheckpoint | undefined;
  readonly notBeforeMs: number;
}

const zeroHash = "0".repeat(64);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

export class TenantLog {
  readonly tenant: TenantId;
  readonly #parts: TenantLogParts;
  #position: Position | undefined;

  constructor(tenant: TenantId, parts: TenantLogParts) {
    this.tenant = tenant;
    this.#parts = parts;
  }

  /** The stored checkpoint, as far as it is known here. */
  get stored(): StoredCheckpoint | undefined {
    return this.#position?.stored;
  }

  get incarnation(): number | undefined {
    return this.#position?.incarnation;
  }

  /** Another process may have gone on: memory and table are read again before the next step. */
  forget(): void {
    this.#position = undefined;
    this.#parts.roots.forget(this.tenant);
  }

  /**
   * Throws Stopped, or RefusalError where the memory cannot be read, unless the ledger continues the last signed
   * checkpoint. Signs nothing.
   */
  async check(keys: OpenKeys): Promise<void> {
    await this.#open(keys);
  }

  /**
   * Signs and stores a checkpoint of new entries; undefined: there are none. Throws Stopped, NotNow, FencedOut,
   * RefusalError.
   */
  async step(keys: OpenKeys, by: Fenced): Promise<StoredCheckpoint | undefined> {
    try {
      const position = (this.#position ??= await this.#open(keys));
      return await this.#advance(position, keys, by);
    } catch (error) {
      this.forget();
      throw error;
    }
  }

  async #advance(position: Position, keys: OpenKeys, by: Fenced): Promise<StoredCheckpoint | undefined> {
    const { edge, lastHash, tiles } = await this.#follow(position);
    if (edge.size === 0 || edge.size === position.stored?.checkpoint.size) return undefined;
    const atMs = this.#parts.clock.nowMs();
    if (atMs < position.notBeforeMs)
      throw new NotNow(`the clock is ${position.notBeforeMs - atMs} ms behind the last checkpoint`);
    const root = edge.root();
    const { origin, incarnation } = position;
    const signed: Signed = { origin, incarnation, size: edge.size, root: hex(root), atMs };
    if (!(await keys.memory.advance(this.tenant, position.memory, signed)))
      throw new NotNow("another process remembered something meanwhile");
    this.#parts.atStep?.("remembered", this.tenant);
    const checkpoint = await sign({ origin, size: edge.size, root }, keys);
    await this.#store({ incarnation, checkpoint, signedMs: atMs }, tiles, by);
    this.#parts.atStep?.("stored", this.tenant);
    const stored = { incarnation, checkpoint, signedMs: atMs };
    const memory: Remembered = { ...signed, n: (position.memory?.n ?? 0) + 1 };
    this.#position = { ...position, memory, edge, lastHash, stored, notBeforeMs: atMs };
    return stored;
  }

  // ── Where we are ───────────────────────────────────────────────────────────────────────────────────────────────────

  /** INVARIANT: behind this point the ledger continues both the remembered and the last stored checkpoint. */
  #open(keys: OpenKeys): Promise<Position> {
    return withTree(this.#parts, this.tenant, async (tree, ask) => {
      const memory = await keys.memory.read(this.tenant);
      const [row] = await ask<CheckpointRow>(latestCheckpoint(this.tenant));
      const size = await tree.size();
      const incarnation = agreedIncarnation(memory, row, keys.folder);
      const origin = originOf({ deployment: keys.deployment, tenant: this.tenant, incarnation });
      if (memory !== undefined) await this.#agreesWithMemory(tree, memory, { origin, size });
      const newest = row?.incarnation === incarnation ? row : undefined;
      const stored =
        newest === undefined ? undefined : await this.#agreesWithTable(tree, newest, { origin, size, keys });
      // Begins at the stored checkpoint, not at the remembered one: tiles between them may be missing.
      const base = stored?.checkpoint.size ?? 0;
      return {
        memory,
        incarnation,
        origin,
        edge: await tree.edge(base),
        lastHash: await lastHashBefore(ask, this.tenant, base),
        stored,
        notBeforeMs: Math.max(memory?.atMs ?? 0, stored?.signedMs ?? 0),
      };
    });
  }

  async #agreesWithMemory(
    tree: Tree,
    memory: Remembered,
    { origin, size }: { origin: string; size: number },
  ): Promise<void> {
    if (memory.origin !== origin)
      throw new Stopped(
        "rewritten",
        `the signer remembers origin \`${memory.origin}\`, and this ledger is \`${origin}\``,
      );
    if (size < memory.size)
      throw new Stopped(
        "rolled_back",
        `the database has ${size} entries of this ledger, and ${memory.size} were signed; if an older backup was restored, declare it: \`countersign restore --reason …\``,
      );
    const found = memory.size === 0 ? undefined : hex((await tree.edge(memory.size)).root());
    if (found !== undefined && found !== memory.root)
      throw new Stopped(
        "rewritten",
        `the first ${memory.size} entries of this ledger are not those that were signed (root ${found.slice(0, 16)}… instead of ${memory.root.slice(0, 16)}…); if an older backup was restored and used, declare it: \`countersign restore --reason …\`; else \`countersign audit verify\` names the altered entry`,
      );
  }

  async #agreesWithTable(
    tree: Tree,
    row: CheckpointRow,
    { origin, size, keys }: { origin: string; size: number; keys: OpenKeys },
  ): Promise<StoredCheckpoint> {
    const stored = parseRow(row);
    const signed =
      stored?.checkpoint.origin === origin && keys.publicKeys.some((key) => isSignedBy(stored.checkpoint, key));
    if (stored === undefined || !signed)
      throw new Stopped(
        "checkpoint_forged",
        `the checkpoint of size ${row.size} in the database was not signed with this deployment's key; \`countersign audit verify\` names the altered entry`,
      );
    const claimed = stored.checkpoint.size;
    const agrees = claimed <= size && hex((await tree.edge(claimed)).root()) === hex(stored.checkpoint.root);
    if (!agrees)
      throw new Stopped(
        "rewritten",
        `the ledger of ${size} entries is not the ledger of which checkpoint ${claimed} was signed; \`countersign audit verify\` names the altered entry`,
      );
    return stored;
  }

  // ── What is new ────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Reads on from the last checkpoint, checks the chain, extends the edge, collects tiles that became full. */
  async #follow(position: Position): Promise<{ edge: RightEdge; lastHash: string; tiles: FullTile[] }> {
    const edge = position.edge.clone();
    // A checkpoint is never smaller than the remembered one, however many entries lie between.
    const enough = Math.max(edge.size + stepEntries, position.memory?.size ?? 0);
    const chain = new Chain(this.tenant, position.lastHash);
    const tiles: FullTile[] = [];
    await withTree(this.#parts, this.tenant, async (_tree, ask) => {
      while (edge.size < enough) {
        // From the beginning of the tile: its older leaves are needed when it becomes full.
        const start = edge.size - (edge.size % tileWidth);
        const rows = await ask<LinkRow>(links(this.tenant, start, start + pageEntries));
        for (const row of rows.slice(edge.size - start)) {
          chain.take(row, edge.size);
          edge.append(row.hash);
        }
        tiles.push(...fullTilesOf(rows, start));
        if (rows.length < pageEntries) return;
      }
    });
    return { edge, lastHash: chain.last, tiles };
  }

  async #store(made: StoredCheckpoint, leafTiles: readonly FullTile[], by: Fenced): Promise<void> {
    const { tenant } = this;
    const { size, root, text } = made.checkpoint;
    for (let at = 0; at < leafTiles.length; at += tilesAtOnce)
      await this.#storeTiles(leafTiles.slice(at, at + tilesAtOnce));
    await this.#storeHigherTiles(size, leafTiles);
    const row = { incarnation: made.incarnation, size, root, note: text, signedMs: made.signedMs };
    const stored = await this.#parts.storage.inTenant(tenant, async (client) => {
      await client.query(statement(setTenants([tenant, by.deployment])));
      return (await client.query(statement(storeCheckpoint(tenant, row, by)))).rows.length > 0;
    });
    if (!stored) throw new FencedOut("another process publishes");
  }

  async #storeTiles(tiles: readonly FullTile[]): Promise<void> {
    if (tiles.length === 0) return;
    await this.#parts.storage.inTenant(this.tenant, (client) =>
      client.query(statement(storeTiles(this.tenant, tiles))),
    );
  }

  /** Tiles of higher levels that became full with these. */
  async #storeHigherTiles(size: number, leafTiles: readonly FullTile[]): Promise<void> {
    const [first, last] = [leafTiles[0], leafTiles.at(-1)];
    if (first === undefined || last === undefined) return;
    const made = await withTree(this.#parts, this.tenant, async (tree) => {
      const tiles: FullTile[] = [];
      let [from, to] = [first.index, last.index + 1];
      for (let level = 1; ; level++) {
        [from, to] = [Math.floor(from / tileWidth), Math.floor(to / tileWidth)];
        if (to <= from) return tiles;
        for (let index = from; index < to; index++) {
          const hashes = await tree.tile({ level, index, width: tileWidth }, size);
          if (hashes !== undefined) tiles.push({ level, index, hashes });
        }
      }
    });
    for (let at = 0; at < made.length; at += tilesAtOnce) await this.#storeTiles(made.slice(at, at + tilesAtOnce));
  }
}

interface FullTile {
  readonly level: number;
  readonly index: number;
  readonly hashes: Uint8Array;
}

/** Every entry is compared with its own link before its hash is signed: the database could lie in either. */
class Chain {
  readonly #hashOf: ReturnType<typeof entryHasher>;
  last: string;

  constructor(tenant: string, last: string) {
    this.#hashOf = entryHasher(tenant);
    this.last = last;
  }

  take(row: LinkRow, seq: number): void {
    const prev = hex(row.prev);
    const hash = this.#hashOf(seq, Number(row.time_ms), prev, hex(row.content_hash));
    if (Number(row.seq) !== seq || prev !== this.last || hash !== hex(row.hash))
      throw new Stopped(
        "chain_broken",
        `entry ${seq} does not continue the chain; nothing after it is signed; \`countersign audit verify\` names the altered entry`,
      );
    this.last = hash;
  }
}

function fullTilesOf(rows: readonly LinkRow[], start: number): FullTile[] {
  const tiles: FullTile[] = [];
  for (let at = 0; at + tileWidth <= rows.length; at += tileWidth) {
    const hashes = Buffer.concat(rows.slice(at, at + tileWidth).map((row) => row.hash));
    tiles.push({ level: 0, index: (start + at) / tileWidth, hashes });
  }
  return tiles;
}

async function lastHashBefore(ask: Ask, tenant: TenantId, size: number): Promise<string> {
  if (size === 0) return zeroHash;
  const [row] = await ask<LinkRow>(links(tenant, size - 1, size));
  if (row === undefined) throw new Stopped("chain_broken", `entry ${size - 1} is missing`);
  return hex(row.hash);
}

function agreedIncarnation(memory: Remembered | undefined, row: CheckpointRow | undefined, folder: string): number {
  if (memory === undefined) {
    if (row === undefined) return 0;
    throw new Stopped(
      "memory_lost",
      `checkpoint ${row.size} was published, and \`${folder}\` remembers nothing of this ledger; put the folder back from a backup, or declare a restore: \`countersign restore --reason …\``,
    );
  }
  if (row !== undefined && row.incarnation > memory.incarnation)
    throw new Stopped(
      "memory_behind",
      `this ledger was restored and published since (incarnation ${row.incarnation}), and \`${folder}\` remembers incarnation ${memory.incarnation}; copy \`memory\` from the key directory that published it`,
    );
  return memory.incarnation;
}

export function parseRow(row: CheckpointRow): StoredCheckpoint | undefined {
  const parsed = parseCheckpoint(row.note);
  if (!parsed.ok) return undefined;
  const { checkpoint } = parsed;
  const same = checkpoint.size === Number(row.size) && hex(checkpoint.root) === hex(row.root);
  return same ? { incarnation: row.incarnation, checkpoint, signedMs: Number(row.signed_ms) } : undefined;
}

async function sign(body: { origin: string; size: number; root: Uint8Array }, keys: OpenKeys): Promise<Checkpoint> {
  const text = await signCheckpoint(body, keys.signer);
  const parsed = parseCheckpoint(text);
  // A custom signer may return anything: its signature is checked before it is shown.
  if (!parsed.ok || !text.startsWith(checkpointBody(body)) || !isSignedBy(parsed.checkpoint, keys.signer.publicKey))
    throw new Error(`the signer's signature of ${body.origin} at ${body.size} does not verify`);
  return parsed.checkpoint;
}
