/**
 * Legal holds, prunings and their archives; and the job that keeps them up: it finishes erasures and prunings whose process died
 * after the entry, and prunes by schedule where the configuration says so.
 */
import { existsSync } from "node:fs";
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import {
  type ArchiveView,
  configurationEnvironment,
  configurationPrefix,
  configurationType,
  isRefusal,
  type LegalHoldView,
  type PruningPreview,
  refused,
  type Refusal,
  RefusalError,
  type TenantId,
} from "@countersign/contract";
import { loadConfiguration } from "../governance/index.js";
import { firstSeqAt, type Ledger, type Outcome, type Snapshot } from "../ledger/index.js";
import type { Job, Log } from "../platform/index.js";
import type { Verification } from "../verification/index.js";
import { type Caller, principalNames, systemCaller } from "../tenancy/index.js";
import { archivePath, writeArchive } from "./archives.js";
import { type ErasureDesk, finishAll, resolveSubject } from "./erase.js";
import { finishPruning } from "./finishing.js";
import { type HoldResult, type LegalHold, listHolds, loadHold, loadHolds, placeHold, releaseHold } from "./holds.js";
import {
  type ArchiveFacts,
  decidePruning,
  listPrunings,
  planPruning,
  type Pruning,
  type PruningPlan,
} from "./pruning.js";
import type { Storage } from "../storage/index.js";

export interface RetentionDesk extends ErasureDesk {
  readonly ledger: Pick<Ledger, "snapshot" | "transact">;
  readonly verification: Pick<Verification, "exportBundle">;
  readonly unfinished: (snapshot: Snapshot) => Promise<string[]>;
  readonly archiveFolder: string;
  /** Name under which this deployment exports. */
  readonly deployment: () => Promise<string>;
  /** Size of the newest signed checkpoint, undefined when there is none yet; left out where nothing is published. */
  readonly checkpointSize?: (tenant: TenantId) => Promise<number | undefined>;
}

type Committed<R> = Exclude<Outcome<R>, Refusal>;

// ── Legal holds ──────────────────────────────────────────────────────────────────────────────────────────────────────

export async function holds(desk: RetentionDesk, caller: Caller, released: boolean): Promise<LegalHoldView[]> {
  return desk.ledger.snapshot(caller.tenant, async (snapshot) =>
    holdViews(desk, snapshot, await listHolds(snapshot, released)),
  );
}

export async function hold(
  desk: RetentionDesk,
  caller: Caller,
  asked: { readonly subject: string | null; readonly reason: string },
  transact: Ledger["transact"],
): Promise<Committed<LegalHoldView> | Refusal> {
  const outcome = await transact(
    caller.tenant,
    async (snapshot) => {
      const named = asked.subject === null ? null : await resolveSubject(desk, snapshot, asked.subject);
      if (isRefusal(named)) throw new RefusalError(named);
      return { holds: await loadHolds(snapshot), subject: named?.subject ?? null };
    },
    (loaded, context) =>
      placeHold(
        loaded.holds,
        { actor: caller.actor, guards: caller.guards, subject: loaded.subject, reason: asked.reason },
        context,
      ),
  );
  return shownHold(desk, caller, outcome);
}

export async function release(
  desk: RetentionDesk,
  caller: Caller,
  asked: { readonly id: string; readonly reason: string },
  transact: Ledger["transact"],
): Promise<Committed<LegalHoldView> | Refusal> {
  const outcome = await transact(
    caller.tenant,
    (snapshot) => loadHold(snapshot, asked.id),
    (loaded, context) => releaseHold(loaded, { ...asked, actor: caller.actor, guards: caller.guards }, context),
  );
  return shownHold(desk, caller, outcome);
}

async function shownHold(
  desk: RetentionDesk,
  caller: Caller,
  outcome: Outcome<HoldResult>,
): Promise<Committed<LegalHoldView> | Refusal> {
  if (isRefusal(outcome)) return outcome;
  const [view] = await desk.ledger.snapshot(caller.tenant, (snapshot) =>
    holdViews(desk, snapshot, [outcome.result.hold]),
  );
  return { ...outcome, result: view as LegalHoldView };
}

async function holdViews(
  desk: RetentionDesk,
  snapshot: Snapshot,
  rows: readonly LegalHold[],
): Promise<LegalHoldView[]> {
  const subjects = (type: string): string[] =>
    rows.flatMap(({ subjectType, subjectId }) => (subjectType === type && subjectId !== null ? [subjectId] : []));
  const people = [
    ...rows.flatMap(({ placedBy, releasedBy }) => [placedBy, ...(releasedBy === null ? [] : [releasedBy])]),
    ...subjects("principal"),
  ];
  const [names, numbers] = await Promise.all([
    principalNames(snapshot, [...new Set(people)]),
    desk.changeSetNumbers(snapshot, subjects("change_set")),
  ]);
  const summary = (id: string): LegalHoldView["placedBy"] => {
    const known = names.get(id);
    return { id, kind: known?.kind ?? "system", name: known?.name ?? "Countersign" };
  };
  const iso = (ms: number): string => new Date(ms).toISOString();
  return rows.map((row) => ({
    id: row.id,
    subject:
      row.subjectType === null || row.subjectId === null
        ? null
        : {
            type: row.subjectType,
            id: row.subjectId,
            label:
              (row.subjectType === "principal" ? names.get(row.subjectId)?.name : numbers.get(row.subjectId)) ?? null,
          },
    reason: row.reason,
    status: row.status,
    placedBy: summary(row.placedBy),
    placedAt: iso(row.placedAtMs),
    releasedBy: row.releasedBy === null ? null : summary(row.releasedBy),
    releasedAt: row.releasedAtMs === null ? null : iso(row.releasedAtMs),
    releaseReason: row.releaseReason,
  }));
}

// ── Pruning ──────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface PruningRange {
  readonly upTo?: number | undefined;
  readonly before?: string | undefined;
}

export async function previewPruning(
  desk: RetentionDesk,
  caller: Caller,
  range: PruningRange,
): Promise<PruningPreview | Refusal> {
  const plan = await desk.ledger.snapshot(caller.tenant, (snapshot) => planned(desk, snapshot, range));
  if (isRefusal(plan)) return plan;
  const checkpoint = await covered(desk, caller.tenant, plan.upTo);
  if (isRefusal(checkpoint)) return checkpoint;
  const { from, upTo, emptied, kept, bodies, keptSubjects } = plan;
  return { from, upTo, emptied, kept, bodies, keptSubjects: keptSubjects.length, checkpoint };
}

async function planned(desk: RetentionDesk, snapshot: Snapshot, range: PruningRange): Promise<PruningPlan | Refusal> {
  if ((range.upTo === undefined) === (range.before === undefined))
    return refused("invalid_request", "say either `upTo`, a sequence number, or `before`, a time");
  const upTo = range.upTo ?? (await firstSince(snapshot, Date.parse(range.before ?? "")));
  return planPruning(snapshot, { upTo, unfinished: await desk.unfinished(snapshot) });
}

/** The first entry that is not older; of a ledger that rests since then the newest, which is never pruned. */
async function firstSince(snapshot: Snapshot, atMs: number): Promise<number> {
  const size = await firstSeqAt(snapshot, Number.MAX_SAFE_INTEGER);
  return Math.max(0, Math.min(await firstSeqAt(snapshot, atMs), size - 1));
}

/**
 * The size of the newest signed checkpoint; null where nothing is published. Refuses while the entries to be pruned are
 * not under a checkpoint.
 */
async function covered(desk: RetentionDesk, tenant: TenantId, upTo: number): Promise<number | null | Refusal> {
  if (desk.checkpointSize === undefined) return null;
  const size = await desk.checkpointSize(tenant);
  if (size !== undefined && size >= upTo) return size;
  return refused(
    "checkpoint_missing",
    `the newest signed checkpoint covers \`${size ?? 0}\` entries, not the \`${upTo}\` that are to be pruned; wait a moment, and look at \`countersign keys list\` if this lasts`,
    { retryAfterSeconds: 5 },
  );
}

/**
 * Archives, records, empties. Refusals: `invalid_request`, `legal_hold`, `checkpoint_missing`, `archive_unusable`,
 * `limit_exceeded`, and the door's.
 */
export async function prune(
  desk: RetentionDesk,
  caller: Caller,
  asked: PruningRange & { readonly archive: string },
  transact: Ledger["transact"],
): Promise<Committed<ArchiveView> | Refusal> {
  const path = await archivePath(desk.archiveFolder, asked.archive);
  if (isRefusal(path)) return path;
  const first = await desk.ledger.snapshot(caller.tenant, (snapshot) => planned(desk, snapshot, asked));
  if (isRefusal(first)) return first;
  const checkpoint = await covered(desk, caller.tenant, first.upTo);
  if (isRefusal(checkpoint)) return checkpoint;
  const range = { tenant: caller.tenant, from: first.from, to: first.upTo - 1 };
  const deployment = await desk.deployment();
  const archive = await writeArchive(path, range, () =>
    desk.verification.exportBundle(caller.tenant, { from: range.from, to: range.to, bodies: true, deployment }),
  );
  if (isRefusal(archive)) return archive;
  // If we die here: a file is there that nothing refers to; the next pruning of that range takes it.
  const outcome = await record(desk, caller, { upTo: first.upTo, from: first.from }, archive, transact);
  if (isRefusal(outcome)) return outcome;
  // If we die here: the job `retention` does it, in any process.
  await finishPruning(desk.storage, caller.tenant, outcome.result.entryId);
  const rows = await archives(desk, caller);
  const view = rows.find(({ upTo }) => upTo === first.upTo);
  if (view === undefined) throw new Error("the pruning that was just recorded is missing");
  return { ...outcome, result: view };
}

function record(
  desk: RetentionDesk,
  caller: Caller,
  range: { readonly from: number; readonly upTo: number },
  archive: ArchiveFacts,
  transact: Ledger["transact"],
): Promise<Outcome<{ entryId: string }>> {
  return transact(
    caller.tenant,
    async (snapshot) => {
      const plan = await planned(desk, snapshot, { upTo: range.upTo });
      if (isRefusal(plan)) throw new RefusalError(plan);
      if (plan.from !== range.from)
        throw new RefusalError(
          refused("conflict", "somebody else pruned meanwhile; look at `countersign audit archives`"),
        );
      return plan;
    },
    (plan, context) => {
      const id = context.uuid();
      const { tenant } = caller;
      return decidePruning(plan, archive, {
        actor: caller.actor,
        guards: caller.guards,
        tenant,
        id,
        result: { entryId: id },
      });
    },
  );
}

export async function archives(desk: RetentionDesk, caller: Pick<Caller, "tenant">): Promise<ArchiveView[]> {
  const rows = await desk.ledger.snapshot(caller.tenant, listPrunings);
  const files = await filesBySize(desk.archiveFolder);
  return rows.map((row) => archiveView(row, files.get(row.archiveBytes) ?? []));
}

function archiveView(row: Pruning, sameSize: readonly string[]): ArchiveView {
  return {
    seq: row.seq,
    at: new Date(row.atMs).toISOString(),
    from: row.from,
    upTo: row.upTo,
    entries: row.archiveEntries,
    sha256: row.archive,
    bytes: row.archiveBytes,
    emptied: row.emptied,
    kept: row.kept,
    done: row.done,
    // By its size alone: whether it is the one, `audit verify --archive` says.
    file: sameSize[0] ?? null,
  };
}

const filesLookedAt = 10_000;

async function filesBySize(folder: string): Promise<ReadonlyMap<number, string[]>> {
  const bySize = new Map<number, string[]>();
  if (!existsSync(folder)) return bySize;
  for (const name of (await readdir(folder)).sort().slice(0, filesLookedAt)) {
    const path = join(folder, name);
    const { size } = await stat(path).catch(() => ({ size: -1 })); // gone meanwhile, or a link to nowhere
    bySize.set(size, [...(bySize.get(size) ?? []), path]);
  }
  return bySize;
}

// ── What recurs ───────────────────────────────────────────────────────────────────────────────────────────────────────

const lookMs = 60_000;
const dayMs = 86_400_000;
/** A pruning by schedule that was refused is not tried again sooner; and what is finished is not looked at again at once. */
const retryMs = 3_600_000;
const pauseMs = 60_000;

/** Finishes what is not finished. Once a day: prunes what is older than `retainDays`. */
export function retentionJob(
  desk: RetentionDesk & { readonly storage: Pick<Storage, "inTenants"> },
  log: Pick<Log, "info" | "warn">,
): Job {
  const tried = new Map<TenantId, number>();
  return {
    name: "retention",
    purpose: "erasures and prunings are finished, and what is older than `retainDays` is pruned",
    lookMs,
    pauseMs,
    due: (tenants) => tenantsWithRetention(desk.storage, tenants),
    run: async (tenant) => {
      await finishTenant(desk, tenant);
      await pruneBySchedule(desk, tenant, { tried, log });
    },
  };
}

/** Those in which something was erased or pruned, or that say how long they retain. By entries_by_action and resources_by_name: 200 tenants with 20,000 entries, 1 ms. */
async function tenantsWithRetention(
  storage: Pick<Storage, "inTenants">,
  tenants: readonly TenantId[],
): Promise<TenantId[]> {
  const { rows } = await storage.inTenants(tenants, (client) =>
    client.query<{ id: TenantId }>({
      name: "countersign_tenants_with_retention",
      text: `select t.id from unnest($1::uuid[]) as t (id)
 where exists (select from countersign.entries as e where e.tenant_id = t.id and e.action = 'subject.erased')
    or exists (select from countersign.entries as e where e.tenant_id = t.id and e.action = 'ledger.pruned')
    or exists (select from countersign.resources as r
                where r.tenant_id = t.id and r.environment = $2 and r.type = $3 and r.resource_id = $4 and not r.deleted)`,
      values: [tenants, configurationEnvironment, configurationType, `${configurationPrefix}ledger`],
    }),
  );
  return rows.map((row) => row.id);
}

/** Finishes erasures and prunings whose process died after the entry. */
export async function finishTenant(desk: RetentionDesk, tenant: TenantId): Promise<void> {
  await finishAll(desk, tenant);
  const rows = await desk.ledger.snapshot(tenant, listPrunings);
  for (const { done, entryId } of rows) if (!done) await finishPruning(desk.storage, tenant, entryId);
}

async function pruneBySchedule(
  desk: RetentionDesk,
  tenant: TenantId,
  { tried, log }: { readonly tried: Map<TenantId, number>; readonly log: Pick<Log, "info" | "warn"> },
): Promise<void> {
  const nowMs = desk.now();
  if (nowMs - (tried.get(tenant) ?? -Infinity) < retryMs) return;
  const due = await desk.ledger.snapshot(tenant, async (snapshot) => {
    const { retainDays } = (await loadConfiguration(snapshot)).ledger;
    if (retainDays === undefined) return undefined;
    const earlier = await listPrunings(snapshot);
    if (nowMs - (earlier.at(-1)?.atMs ?? -Infinity) < dayMs) return undefined;
    const upTo = await firstSince(snapshot, nowMs - retainDays * dayMs);
    return upTo > Math.max(0, ...earlier.map((one) => one.upTo)) ? upTo : undefined;
  });
  if (due === undefined) return;
  tried.set(tenant, nowMs);
  const archive = `${tenant}-${due}.bundle`;
  const done = await prune(desk, systemCaller(tenant), { upTo: due, archive }, desk.ledger.transact);
  if (isRefusal(done))
    log.warn({ tenant, code: done.code, message: done.message }, "the ledger was not pruned by schedule");
  else log.info({ tenant, upTo: due, archive }, "the ledger was pruned by schedule");
}
