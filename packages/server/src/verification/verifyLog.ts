/**
 * Reads the deployment's own publications for verification: its signed checkpoints and stored tiles, its key
 * statements, the heads it recorded of every tenant; and the place where verification of a tail begins.
 *
 * Nothing here is trusted. Checkpoints go to the verifier, which compares them with the entries. A verification begins
 * late only if the tree up to there has the root that somebody outside, or an earlier verification, knows.
 */
import type { TenantId } from "@countersign/contract";
import {
  parseCheckpoint,
  parseEntryContent,
  tileWidth,
  verifyInclusion,
  type Checkpoint,
  type Finding,
} from "@countersign/proof";
import type pg from "pg";
import { type Ask, copyOut, openReading } from "../ledger/index.js";
import {
  type CheckpointRow,
  checkpointSeries,
  cosigned,
  receiptsOfMany,
  recordedStatements,
  rootOfTile,
  statement,
  TileRoots,
  Tree,
} from "../publishing/index.js";
import { checkpointRows, contentsOfAction, storedLeafTiles, tilesOfEntries, upperTiles } from "./verifyQueries.js";

/** The statements of the deployment's ledger about all other ledgers. */
export interface DeploymentRecord {
  /** Name of the deployment; undefined while it has no log key. */
  readonly name: string | undefined;
  /** Signed notes, oldest first. */
  readonly keyStatements: readonly string[];
  /** The newest head of each tenant, and the entry that recorded it. */
  readonly heads: ReadonlyMap<string, RecordedHead>;
}
export interface RecordedHead {
  readonly size: number;
  readonly root: Uint8Array;
  readonly seq: number;
}

/** Read this before the tenants' ledgers: heads recorded later may be ahead of the entries that were read. */
export async function readDeploymentRecord(
  login: pg.ClientConfig,
  deploymentTenant: TenantId,
): Promise<DeploymentRecord> {
  const reading = await openReading(login, deploymentTenant);
  try {
    const { client } = reading;
    return { ...(await keysIn(client, deploymentTenant)), heads: await readHeads(client, deploymentTenant) };
  } finally {
    await reading.close();
  }
}

/** The log's keys alone, as of now. */
export async function readKeyRecord(
  login: pg.ClientConfig,
  deploymentTenant: TenantId,
): Promise<Omit<DeploymentRecord, "heads">> {
  const reading = await openReading(login, deploymentTenant);
  try {
    return await keysIn(reading.client, deploymentTenant);
  } finally {
    await reading.close();
  }
}

async function keysIn(client: pg.Client, deploymentTenant: TenantId): Promise<Omit<DeploymentRecord, "heads">> {
  const withSnapshot = <T>(_: TenantId, work: (of: pg.Client) => Promise<T>): Promise<T> => work(client);
  const storage = { withSnapshot } as unknown as Parameters<typeof recordedStatements>[0]["storage"];
  const recorded = await recordedStatements({ storage, deploymentTenant });
  return { name: recorded.deployment, keyStatements: recorded.statements };
}

async function readHeads(client: pg.Client, tenant: TenantId): Promise<Map<string, RecordedHead>> {
  const heads = new Map<string, RecordedHead>();
  for await (const rows of copyOut(client, contentsOfAction(tenant, "ledger.heads_recorded"))) {
    while (rows.next()) {
      const [seq, content] = [rows.integer(), rows.text()];
      const parsed = parseEntryContent(content);
      const list = parsed.ok ? parsed.content.data["heads"] : undefined;
      for (const head of Array.isArray(list) ? list : []) {
        const [of, size, root] = Array.isArray(head) ? (head as unknown[]) : [];
        if (typeof of !== "string" || typeof size !== "number" || typeof root !== "string") continue;
        const bytes = Buffer.from(root, "hex");
        // The newest head counts, even if it is smaller, as it is after a restore.
        if (bytes.length === 32) heads.set(of, { size, root: bytes, seq });
      }
    }
  }
  return heads;
}

// ── The tenant's own log ─────────────────────────────────────────────────────────────────────────────────────────────

/** Own checkpoints the verifier is given; thinned evenly, the first and the last among them. */
const checkpointsMax = 2_000;

export function askOf(client: pg.Client): Ask {
  return async <R extends object>(query: Parameters<Ask>[0]) => (await client.query<R>(statement(query))).rows;
}

/**
 * The readable checkpoints, with the witnesses' cosignatures. Cosignatures verify by themselves, so it does not matter
 * that the database kept them. `checkOwnLog` finds unreadable checkpoints.
 */
export async function readOwnCheckpoints(client: pg.Client, tenant: TenantId): Promise<Checkpoint[]> {
  const ask = askOf(client);
  const rows = await ask<CheckpointRow>(checkpointSeries(tenant, checkpointsMax));
  const [incarnations, sizes] = [rows.map((row) => row.incarnation), rows.map((row) => Number(row.size))];
  const receipts = await ask<ReceiptRow>(receiptsOfMany(tenant, { incarnations, sizes }));
  const place = ({ incarnation, size }: Pick<ReceiptRow, "incarnation" | "size">): string => `${incarnation}/${size}`;
  const receiptsAt = new Map<string, ReceiptRow[]>();
  for (const receipt of receipts) receiptsAt.set(place(receipt), [...(receiptsAt.get(place(receipt)) ?? []), receipt]);
  return rows.flatMap((row) => {
    const parsed = parseCheckpoint(row.note);
    return parsed.ok ? [cosigned(parsed.checkpoint, receiptsAt.get(place(row)) ?? [])] : [];
  });
}

interface ReceiptRow {
  readonly incarnation: number;
  readonly size: string;
  readonly receipt: string;
}

/** Rows of checkpoints and tiles that differ from their notes and the entries. `size`: the number of entries. */
export async function* checkOwnLog(
  client: pg.Client,
  tenant: TenantId,
  size: number,
): AsyncGenerator<Finding, void, undefined> {
  yield* checkCheckpointRows(client, tenant);
  yield* checkTiles(client, tenant, size);
}

async function* checkCheckpointRows(client: pg.Client, tenant: TenantId): AsyncGenerator<Finding, void, undefined> {
  for await (const rows of copyOut(client, checkpointRows(tenant))) {
    while (rows.next()) {
      const [incarnation, size, root, note] = [rows.integer(), rows.integer(), rows.hex(), rows.text()];
      const parsed = parseCheckpoint(note);
      const place = { seq: null, table: "checkpoints", id: `${incarnation}/${size}` };
      if (!parsed.ok) {
        yield { class: "MALFORMED", expected: "a signed checkpoint", actual: parsed.problem, ...place };
        continue;
      }
      const said = `${parsed.checkpoint.size} ${hexOf(parsed.checkpoint.root)}`;
      if (said === `${size} ${root}`) continue;
      const detail = "the columns are not what the note says";
      yield { class: "COLUMN_MISMATCH", expected: said, actual: `${size} ${root}`, detail, ...place };
    }
  }
}

/**
 * The database compares leaf tiles with the entries, like `meta`. The levels above are computed here and compared with
 * the stored tiles. A tile that is not stored is computed like the others.
 */
async function* checkTiles(
  client: pg.Client,
  tenant: TenantId,
  size: number,
): AsyncGenerator<Finding, void, undefined> {
  const stored = new Map<string, Buffer>();
  const upper = await client.query<{ level: number; index: string; hashes: Buffer }>(upperTiles, [tenant]);
  const leaves = await client.query<{ count: string }>(storedLeafTiles, [tenant]);
  // Reading the hashes again costs as much as following the chain: no further than there is something to compare.
  const needed = upper.rows.length > 0 ? Infinity : Number(leaves.rows[0]?.count ?? 0);
  const full = Math.min(needed, Math.floor(size / tileWidth));
  if (full === 0) return;
  for (const { level, index, hashes } of upper.rows) stored.set(`${level}/${index}`, hashes);
  const open: { index: number; hashes: Uint8Array[] }[] = [];
  const differences: Finding[] = [];
  const climb = (level: number, root: Uint8Array): void => {
    const tile = (open[level] ??= { index: 0, hashes: [] });
    tile.hashes.push(root);
    if (tile.hashes.length < tileWidth) return;
    const bytes = Buffer.concat(tile.hashes);
    const found = stored.get(`${level}/${tile.index}`);
    if (found !== undefined && !found.equals(bytes)) differences.push(wrongTile(level, tile.index));
    climb(level + 1, rootOfTile(bytes));
    open[level] = { index: tile.index + 1, hashes: [] };
  };
  for await (const rows of copyOut(client, tilesOfEntries(tenant, full))) {
    while (rows.next()) {
      const [index, hashes, agrees] = [rows.integer(), rows.bytes(), rows.integer()];
      if (agrees !== 1) differences.push(wrongTile(0, index));
      // A gap among the entries is the chain's finding; no tile above it can be judged.
      if (hashes === null || hashes.length !== tileWidth * 32) return;
      climb(1, rootOfTile(hashes));
      yield* differences.splice(0);
    }
  }
}

function wrongTile(level: number, index: number): Finding {
  return {
    ...{
      class: "COLUMN_MISMATCH",
      seq: level === 0 ? index * tileWidth : null,
      table: "tiles",
      id: `${level}/${index}`,
    },
    ...{ expected: "the hashes of the entries", actual: "others", detail: "tile" },
  };
}

// ── Where a tail begins ──────────────────────────────────────────────────────────────────────────────────────────────

/** A size with the root that somebody knows of it. */
export interface KnownTree {
  readonly size: number;
  readonly root: Uint8Array;
}

/** Everything before it needs not be read: the tree up to here has a root that is known. */
export interface Base {
  readonly size: number;
  readonly edge: readonly Uint8Array[];
  /** Hash of entry size − 1, shown to be in that tree. */
  readonly prevHash: string;
}

/** Undefined: the present tree has another root, or is smaller. Then only a full reading can show the cause. */
export async function findBase(client: pg.Client, tenant: TenantId, known: KnownTree): Promise<Base | undefined> {
  for (const fromEntries of [false, true]) {
    const tree = new Tree(tenant, askOf(client), new TileRoots(), { fromEntries });
    const base = await baseIn(tree, known).catch(() => undefined); // entries are missing: the chain's check says which
    if (base !== undefined) return base;
  }
  return undefined;
}

async function baseIn(tree: Tree, { size, root }: KnownTree): Promise<Base | undefined> {
  if (size < 1 || (await tree.size()) < size) return undefined;
  const edge = await tree.edge(size);
  if (Buffer.compare(edge.root(), root) !== 0) return undefined;
  const index = size - 1;
  const leafHash = await tree.tile(
    { level: 0, index: Math.floor(index / tileWidth), width: (index % tileWidth) + 1 },
    size,
  );
  const last = leafHash?.subarray(leafHash.length - 32);
  const proof = await tree.inclusion(index, size);
  if (last === undefined || !verifyInclusion({ index, size, leafHash: last, proof, root })) return undefined;
  return { size, edge: edge.hashes(), prevHash: hexOf(last) };
}

function hexOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}
