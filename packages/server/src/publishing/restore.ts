/**
 * Records, signed, that a database was restored from an older backup, so that publishing can go on. A new incarnation
 * of each affected ledger begins, under a new origin; earlier checkpoints stay true for the old origin.
 *
 * Promises: refuses when database and key directory agree: it cannot be used to get rid of history · the old key signs
 * the record, so somebody who has only the database cannot make it · repeated after a crash it finishes, and records
 * nothing twice.
 */
import { readdir, mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { type EventData, isRefusal, RefusalError, type TenantId } from "@countersign/contract";
import {
  originOf,
  parseEntryContent,
  parseRestoreStatement,
  RightEdge,
  signRestoreStatement,
  toBase64Url,
} from "@countersign/proof";
import type { Storage } from "../storage/index.js";
import type { Change, EntryDraft } from "../ledger/index.js";
import { failure, keyFailure, quoted } from "./failure.js";
import {
  finishPending,
  newDeploymentName,
  prepareRoot,
  record,
  recordedStatements,
  statementOf,
  type Recorded,
} from "./keyChanges.js";
import { readDeployment, readPending } from "./keyFolder.js";
import type { KeyParts, OpenKeys } from "./keyHistory.js";
import { compareStatements, readKeys } from "./keys.js";
import { SignerMemory, type Remembered } from "./memory.js";
import { checkpointSeries, newestByAction, statement, type CheckpointRow } from "./queries.js";
import { parseRow, Stopped, TenantLog, type StoredCheckpoint } from "./tenantLog.js";
import { TileRoots, withTree } from "./tree.js";

export interface RestoreParts extends KeyParts {
  readonly storage: Pick<Storage, "withSnapshot" | "inTenant">;
  /** Of the deployment, its own among them. */
  readonly tenants: () => Promise<readonly TenantId[]>;
}

export interface RestoredLedger {
  readonly tenant: TenantId;
  /** From now on. */
  readonly incarnation: number;
  /** The published size and root that the database still has. */
  readonly keptSize: number;
  /** The size and root that had been signed; null: the signer's memory is lost too. */
  readonly lostSize: number | null;
}

export interface Restored {
  readonly deployment: string;
  /** With `--as-clone`. */
  readonly previousDeployment: string | null;
  readonly ledgers: readonly RestoredLedger[];
  /** Ledgers that were signed and of which the database knows nothing. */
  readonly missing: readonly TenantId[];
}

interface Affected {
  readonly tenant: TenantId;
  readonly memory: Remembered | undefined;
  readonly incarnation: number;
  readonly kept: { readonly size: number; readonly root: string };
  readonly lost: { readonly origin: string; readonly size: number; readonly root: string };
}

/** Stored checkpoints that are searched for the newest one that agrees. */
const seriesMax = 10_000;
const emptyRoot = new RightEdge().root();
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

export async function restore(parts: RestoreParts, { reason }: { readonly reason: string }): Promise<Restored> {
  const keys = await readKeys(parts);
  const recorded = await recordedStatements(parts);
  const how = compareStatements(keys, recorded);
  if (how === "other" || how === "folder_behind")
    throw keyFailure(
      `${quoted(parts.folder)} does not hold the current keys of this database (\`${recorded.deployment ?? "?"}\`); a restore is signed with them`,
    );
  const tenants = await parts.tenants();
  const affected: Affected[] = [];
  for (const tenant of tenants) {
    const found = await examine(parts, keys, tenant);
    if (found !== undefined) affected.push(found);
  }
  if (affected.length === 0 && how === "same") throw nothingToRestore(parts.folder);
  await recordAgain(parts, keys, recorded);
  await finishPending(parts);
  for (const one of affected) await begin(parts, keys, one, reason);
  const missing = (await keys.memory.tenants()).filter((tenant) => !tenants.includes(tenant));
  await noteInDeployment(parts, { affected, missing, reason });
  return {
    deployment: keys.deployment,
    previousDeployment: null,
    ledgers: affected.map(({ tenant, incarnation, kept, memory, lost }) => ({
      tenant,
      incarnation,
      keptSize: kept.size,
      lostSize: memory === undefined ? null : lost.size,
    })),
    missing,
  };
}

function nothingToRestore(folder: string): RefusalError {
  return failure(
    "nothing_to_restore",
    `database and key directory ${quoted(folder)} agree; nothing was restored, and nothing is recorded. To make a copy a deployment of its own, name an empty directory in COUNTERSIGN_LOG_KEYS and use \`--as-clone\``,
  );
}

// ── What happened ────────────────────────────────────────────────────────────────────────────────────────────────────

/** Undefined: the ledger continues its last signed checkpoint. */
async function examine(parts: RestoreParts, keys: OpenKeys, tenant: TenantId): Promise<Affected | undefined> {
  const log = new TenantLog(tenant, { storage: parts.storage, roots: new TileRoots(), clock: parts.clock });
  const stopped = await log.check(keys).then(
    () => undefined,
    (error: unknown) => {
      const unreadable = error instanceof RefusalError && error.refusal.code === "log_key_unusable";
      if (unreadable || (error instanceof Stopped && error.kind !== "chain_broken")) return error;
      throw error;
    },
  );
  if (stopped === undefined) return undefined;
  const memory = stopped instanceof Stopped ? await keys.memory.read(tenant) : undefined;
  const rows = await withTree({ storage: parts.storage, roots: new TileRoots() }, tenant, (_tree, ask) =>
    ask<CheckpointRow>(checkpointSeries(tenant, seriesMax)),
  );
  const signed = rows.flatMap((row) => parseRow(row) ?? []);
  const newest = signed.at(-1);
  const current = Math.max(memory?.incarnation ?? 0, newest?.incarnation ?? 0);
  const kept = await largestAgreeing(parts, tenant, ofIncarnation(signed, memory?.incarnation ?? current));
  const lost =
    memory === undefined
      ? { origin: newest?.checkpoint.origin ?? "", size: newest?.checkpoint.size ?? 0, root: rootOf(newest) }
      : { origin: memory.origin, size: memory.size, root: memory.root };
  return { tenant, memory, incarnation: current + 1, kept, lost };
}

function ofIncarnation(signed: readonly StoredCheckpoint[], incarnation: number): StoredCheckpoint[] {
  return signed.filter((stored) => stored.incarnation === incarnation);
}

function rootOf(stored: StoredCheckpoint | undefined): string {
  return stored === undefined ? hex(emptyRoot) : hex(stored.checkpoint.root);
}

/** By bisection: a log that agrees at a size agrees at every smaller one. */
async function largestAgreeing(
  parts: RestoreParts,
  tenant: TenantId,
  signed: readonly StoredCheckpoint[],
): Promise<Affected["kept"]> {
  return withTree({ storage: parts.storage, roots: new TileRoots() }, tenant, async (tree) => {
    const entries = await tree.size();
    const agrees = async ({ checkpoint }: StoredCheckpoint): Promise<boolean> =>
      checkpoint.size <= entries && hex((await tree.edge(checkpoint.size)).root()) === hex(checkpoint.root);
    let [low, high] = [0, signed.length];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      const one = signed[middle];
      if (one !== undefined && (await agrees(one))) low = middle + 1;
      else high = middle;
    }
    const kept = signed[low - 1];
    return kept === undefined
      ? { size: 0, root: hex(emptyRoot) }
      : { size: kept.checkpoint.size, root: hex(kept.checkpoint.root) };
  });
}

// ── Saying so ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Keys made after the backup: the statements are valid, only their entries are gone. */
async function recordAgain(parts: RestoreParts, keys: OpenKeys, recorded: Recorded): Promise<void> {
  for (const note of keys.statements.slice(recorded.statements.length)) {
    const again = await record(parts, { statement: note, reason: null, cloneOf: null }, statementOf(note));
    if (!again) throw failure("conflict", "another process changed the keys meanwhile; try again");
  }
}

/**
 * The entry first, then the memory: if we die between them the next `restore` finds the ledger affected as before, and its
 * entry there.
 */
async function begin(parts: RestoreParts, keys: OpenKeys, one: Affected, reason: string): Promise<void> {
  const { tenant, incarnation, kept, lost, memory } = one;
  const origin = originOf({ deployment: keys.deployment, tenant, incarnation });
  if (!(await isRecorded(parts, one))) {
    const atMs = parts.clock.nowMs();
    const data: EventData<"ledger.restored"> = {
      ...{ incarnation, size: kept.size, root: kept.root, lostSize: lost.size, lostRoot: lost.root },
      ...{ previousOrigin: lost.origin, atMs, key: keys.signer.publicKey, signature: await signed(one, keys, atMs) },
    };
    await append(parts, tenant, [
      {
        actor: parts.actor,
        action: "ledger.restored",
        subject: { type: "tenant", id: tenant },
        data,
        body: { reason },
      },
    ]);
  }
  const atMs = Math.max(parts.clock.nowMs(), memory?.atMs ?? 0);
  await keys.memory.supersede(tenant, { origin, incarnation, size: kept.size, root: kept.root, atMs });
}

/** The signature of the restore statement, base64url; the entry has all else that the note consists of. */
async function signed({ incarnation, kept, lost }: Affected, keys: OpenKeys, atMs: number): Promise<string> {
  const bytes = (text: string): Uint8Array => Buffer.from(text, "hex");
  const note = await signRestoreStatement(
    {
      ...{ origin: lost.origin, incarnation, atMs },
      ...{ size: kept.size, root: bytes(kept.root), lostSize: lost.size, lostRoot: bytes(lost.root) },
    },
    keys.signer,
  );
  const parsed = parseRestoreStatement(note);
  const signature = parsed.ok ? parsed.statement.note.signatures[0]?.signature : undefined;
  if (signature === undefined) throw new Error("a restore statement was made that cannot be read");
  return toBase64Url(signature);
}

async function isRecorded(parts: RestoreParts, { tenant, incarnation, lost }: Affected): Promise<boolean> {
  const [last] = await parts.storage.withSnapshot(tenant, async (client) => {
    const query = newestByAction(tenant, ["ledger.restored"], 1);
    return (await client.query<{ content: string }>(statement(query))).rows;
  });
  const parsed = last === undefined ? undefined : parseEntryContent(last.content);
  const data = parsed?.ok === true ? parsed.content.data : undefined;
  return data?.["incarnation"] === incarnation && data["lostSize"] === lost.size && data["lostRoot"] === lost.root;
}

async function noteInDeployment(
  parts: RestoreParts,
  given: { affected: readonly Affected[]; missing: readonly TenantId[]; reason: string },
): Promise<void> {
  const ledgers = given.affected.map(
    ({ tenant, incarnation, kept, lost }) => [tenant, incarnation, kept.size, lost.size] as const,
  );
  await append(parts, parts.deploymentTenant, [
    {
      actor: parts.actor,
      action: "deployment.restored",
      subject: { type: "deployment", id: parts.deploymentTenant },
      data: { ledgers: ledgers.slice(0, 200), total: ledgers.length, missing: given.missing.slice(0, 200) },
      body: { reason: given.reason },
    },
  ]);
}

async function append(
  parts: Pick<RestoreParts, "ledger">,
  tenant: TenantId,
  entries: readonly EntryDraft[],
): Promise<void> {
  const change: Omit<Change, "tenant"> = { guards: [], entries };
  const outcome = await parts.ledger.transact(
    tenant,
    () => Promise.resolve(undefined),
    () => ({ kind: "change", change, result: undefined }),
  );
  if (isRefusal(outcome)) throw new RefusalError(outcome);
}

// ── A copy that becomes a deployment of its own ──────────────────────────────────────────────────────────────────────

/**
 * A new name and a new key for a copy of another deployment's database. Keys that lie in the directory are set aside
 * there, not removed. Repeated after a crash it begins anew: before the new root key is recorded, nothing was signed.
 */
export async function restoreAsClone(
  parts: RestoreParts,
  { reason, deployment = newDeploymentName() }: { readonly reason: string; readonly deployment?: string | undefined },
): Promise<Restored> {
  const recorded = await recordedStatements(parts);
  const tenants = await parts.tenants();
  await assertIsCopy(parts, recorded, tenants);
  await setAside(parts.folder);
  const memory = new SignerMemory(parts.folder);
  const ledgers: RestoredLedger[] = [];
  for (const tenant of tenants) ledgers.push(await beginClone(parts, memory, { tenant, deployment }));
  await prepareRoot(parts.folder, {
    ...{ deployment, signer: parts.signer, atMs: parts.clock.nowMs() },
    ...{ cloneOf: recorded.deployment ?? null, reason },
  });
  await finishPending(parts);
  return { deployment, previousDeployment: recorded.deployment ?? null, ledgers, missing: [] };
}

async function assertIsCopy(parts: RestoreParts, recorded: Recorded, tenants: readonly TenantId[]): Promise<void> {
  if (recorded.deployment === undefined)
    throw failure(
      "nothing_to_restore",
      "this database was never published; the server makes its first key when it starts",
    );
  const named = (await readDeployment(parts.folder)) ?? (await readPending(parts.folder))?.statement.split("\n")[1];
  if (named === undefined) return;
  if (named !== recorded.deployment)
    throw keyFailure(
      `${quoted(parts.folder)} has the keys of \`${named}\`, and this is a copy of \`${recorded.deployment}\`; name an empty directory in COUNTERSIGN_LOG_KEYS`,
    );
  const keys = await readKeys(parts);
  if (compareStatements(keys, recorded) !== "same") return;
  for (const tenant of tenants) if ((await examine(parts, keys, tenant)) !== undefined) return;
  throw nothingToRestore(parts.folder);
}

async function beginClone(
  parts: RestoreParts,
  memory: SignerMemory,
  { tenant, deployment }: { tenant: TenantId; deployment: string },
): Promise<RestoredLedger> {
  const [entries, newest] = await withTree(
    { storage: parts.storage, roots: new TileRoots() },
    tenant,
    async (tree, ask) => {
      const rows = await ask<CheckpointRow>(checkpointSeries(tenant, 2));
      return [await tree.size(), rows.at(-1)] as const;
    },
  );
  // The copied checkpoints stay in their table, under the other deployment's origins: the numbers go on behind them.
  const incarnation = (newest?.incarnation ?? -1) + 1;
  const origin = originOf({ deployment, tenant, incarnation });
  await memory.supersede(tenant, {
    ...{ origin, incarnation, size: 0, root: hex(emptyRoot) },
    atMs: parts.clock.nowMs(),
  });
  return { tenant, incarnation, keptSize: entries, lostSize: null };
}

/** Everything of the directory goes into a folder inside it: a private key is not destroyed by a command about copies. */
async function setAside(folder: string): Promise<void> {
  const names = await readdir(folder).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT") return [];
    throw keyFailure(`${quoted(folder)} cannot be read (${cause.code ?? "?"}); check its owner`, cause);
  });
  const old = names.filter((name) => !name.startsWith("set-aside-"));
  await mkdir(folder, { recursive: true, mode: 0o700 });
  if (old.length === 0) return;
  const aside = join(folder, `set-aside-${names.length - old.length + 1}`);
  await mkdir(aside, { mode: 0o700 });
  for (const name of old) await rename(join(folder, name), join(aside, name));
}
