/**
 * The ledger: the one door through which governed state changes, and the ways to read and verify the ledger.
 *
 * Promises: no governed row changes without an entry in the same commit; an entry, once receipted, is never changed or
 * lost; a refused change leaves nothing behind.
 */
import { isRefusal, type Refusal, type TenantId } from "@countersign/contract";
import {
  newId as processIds,
  systemRandom,
  type Clock,
  type NewId,
  type RandomBytes,
  type Sealing,
} from "../platform/index.js";
import type { Storage } from "../storage/index.js";
import { attest, type Attestation, type AttestationQuestion } from "./attest.js";
import { readAuditLog, seqAt, type AuditPage, type AuditQuery } from "./auditLog.js";
import { makeCatalogue, type TableRecord } from "./catalogue.js";
import { entryReceipt, exportBundle, findEntry, type EntryReceipt, type ExportOptions, type Place } from "./export.js";
import { Door, type DoorStats } from "./groups.js";
import type { Preparation } from "./prepare.js";
import { readCatalogue, reserveNumbers } from "./queries.js";
import { bodyOpener, SubjectKeys } from "./retention/subjectKeys.js";
import { readReceipts } from "./receipts.js";
import { RefusalLog, type GovernedRefusal } from "./refusals.js";
import { type HeldSnapshot, holdSnapshot, readInSnapshot } from "./snapshot.js";
import { activeSubjects, readStory, type ActiveQuestion, type Story } from "./story.js";
import { transact, type TransactOptions } from "./transact.js";
import { verifyTenant, type TenantReport, type VerifyParts, type VerifyTenantOptions } from "./verifyTenant.js";
import type { ReferenceCheck } from "./verifyState.js";
import type { Decided, DecideContext, EntryDraft, Outcome, Receipt, Snapshot } from "./types.js";

export * from "./types.js";
export type { Attestation, AttestationQuestion, AttestedEntry, AttestedRow, RowReference } from "./attest.js";
export {
  type AnchorKind,
  type Anchors,
  anchorsFrom,
  type AnchorSpec,
  anchorSpecs,
  type AnchorStatus,
  openAnchors,
} from "./anchors/index.js";
export type { AuditEntry, AuditPage, AuditQuery, BodyState } from "./auditLog.js";
export type { ActiveQuestion, Story } from "./story.js";
export type { DoorStats } from "./groups.js";
export type { EntryReceipt, ExportOptions, Place, Selection } from "./export.js";
export { DoorViolation } from "./groups.js";
export * from "./publishing/index.js";
export { isRecorded, type GovernedRefusal } from "./refusals.js";
export {
  ledgerSize,
  verifyTenant,
  type TenantReport,
  type VerifyProgress,
  type VerifyTenantOptions,
} from "./verifyTenant.js";
export { readDeploymentRecord, type DeploymentRecord, type KnownTree } from "./verifyLog.js";
export type { ReferenceCheck } from "./verifyState.js";
export type { HeldSnapshot } from "./snapshot.js";
export type { TransactOptions } from "./transact.js";
export { archivePath, checkArchive, writeArchive, type ArchiveCheck, type ArchiveRange } from "./retention/archives.js";
export {
  decideErasure,
  loadErasure,
  type ErasureBy,
  type ErasureSubject,
  type EraseSubject,
  type FinishErasures,
  type LedgerErasure,
  type ModuleErasure,
} from "./retention/erasure.js";
export {
  checkHolds,
  listHolds,
  loadHold,
  loadHolds,
  placeHold,
  releaseHold,
  type HoldResult,
  type Holds,
  type LegalHold,
} from "./retention/holds.js";
export {
  decidePruning,
  listPrunings,
  planPruning,
  type ArchiveFacts,
  type Pruning,
  type PruningPlan,
} from "./retention/pruning.js";
export { finishErasures, finishPruning } from "./retention/finishing.js";

export interface LedgerOptions {
  readonly storage: Pick<Storage, "app" | "applicationLogin" | "withSnapshot" | "inTenant">;
  /** Encrypts bodies at rest, bound to their place. */
  readonly sealing: Pick<Sealing, "seal" | "open">;
  readonly clock: Clock;
  readonly newId?: NewId;
  readonly random?: RandomBytes;
  /** Its ledger records the keys of the log and the heads of all others: verification asks it. */
  readonly deploymentTenant?: TenantId;
  /** Finds values cited by rows that are different now: for verification. */
  readonly references?: ReferenceCheck;
  /** 2 when this process has the database for itself, 1 when several share it. */
  readonly groupsInFlight?: number;
  /** Called with events for the operator: lost connections, violations, tenants whose lock is stuck. */
  readonly report?: (event: string, details: Readonly<Record<string, unknown>>) => void;
}

export interface Ledger {
  /**
   * The one way to change governed state. `load` reads in one snapshot; `decide` is pure and returns a refusal, a
   * change or nothing to do. If a guard of the change has moved, both run again, at most 5 times, then `conflict`.
   * Refusals: those of `decide`, and `conflict`, `overloaded`, `database_unavailable`, `clock_behind`, `shutting_down`.
   */
  transact<L, R>(
    tenant: TenantId,
    load: (snapshot: Snapshot) => Promise<L>,
    decide: (loaded: L, context: DecideContext) => Refusal | Decided<R>,
    options?: TransactOptions,
  ): Promise<Outcome<R>>;
  /** Reads in one snapshot. Throws RefusalError `database_unavailable`. */
  snapshot<T>(tenant: TenantId, read: (snapshot: Snapshot) => Promise<T>): Promise<T>;
  /**
   * A snapshot in which several functions read, for `TransactOptions.within`; its holder ends it.
   * INVARIANT: nobody who holds one asks for another before its end: holders would wait for each other's connections.
   */
  holdSnapshot(tenant: TenantId): HeldSnapshot;
  /** Receipts of entries of a tenant, in their order; for a response that is given again. */
  receipts(tenant: TenantId, entryIds: readonly string[]): Promise<Receipt[]>;
  /** A refusal outside of `transact`: the first of its kind is an entry at once, repeats together once a minute. */
  recordRefusal(tenant: TenantId, refusal: GovernedRefusal): void;
  /** `count` fresh numbers of a series, none below `atLeast`. Gaps are allowed; the rows that carry a number keep it unique. */
  reserveNumbers(
    tenant: TenantId,
    wanted: { series: string; count: number; atLeast: number },
  ): Promise<{ first: number; last: number }>;
  /** Entries by actor, action, subject, change-set and time, page by page, bodies opened. */
  auditLog(tenant: TenantId, query: AuditQuery): Promise<AuditPage>;
  /**
   * Holds rows against the ledger, in the snapshot a decision is loaded in. Empty `mismatches`: they agree. The subject's
   * entries come back parsed, for the check of votes.
   */
  attest(snapshot: Snapshot, asked: AttestationQuestion): Promise<Attestation>;
  /** Everything about one subject up to an entry: attested, and with the texts people read. */
  story(snapshot: Snapshot, asked: { readonly subjectId: string; readonly to: number }): Promise<Story>;
  /** Ids of subjects with an entry in a range: of those given, or all change-sets. */
  activeSubjects(snapshot: Snapshot, asked: ActiveQuestion): Promise<string[]>;
  /** Sequence numbers of the first entry not before a time; one more than the last when there is none. */
  firstSeqAt(snapshot: Snapshot, timeMs: number): Promise<number>;
  /** A range or a selection as a bundle, in pieces. Throws RefusalError `not_found`, `database_unavailable`. */
  exportBundle(tenant: TenantId, options: ExportOptions): AsyncIterable<string>;
  /** Where an entry is, by its number or id; undefined when there is none. */
  findEntry(snapshot: Snapshot, name: string): Promise<Place | undefined>;
  /** The proof that an entry is in the ledger; undefined while no checkpoint covers the entry. */
  receiptOf(snapshot: Snapshot, place: Place, keyStatements: readonly string[]): Promise<EntryReceipt | undefined>;
  /**
   * Verifies a tenant's chain and, from 0 on, definitions, columns, counters and state. Never throws: if something
   * cannot be read, the verdict is `undecided`.
   */
  verifyTenant(tenant: TenantId, options?: VerifyTenantOptions): Promise<TenantReport>;
  /** `verifyTenant` with everything, bodies and format included. For tests: `findings` is empty. */
  checkTenant(tenant: TenantId): Promise<TenantReport>;
  stats(): DoorStats;
  /**
   * Calls back soon after this process committed for a tenant. It is a hint for followers of the ledger; they must
   * still read from time to time, because other processes commit too. Gives the function that ends it.
   */
  onCommitted(listener: (tenant: TenantId) => void): () => void;
  /** Writes counted refusals, commits waiting changes, ends the door's connection. */
  close(): Promise<void>;
}

const drawBytes = 4_096;

/** Randomness in large draws: a call to the system costs more than the bytes. No byte is handed out twice. */
function inLargeDraws(random: RandomBytes): RandomBytes {
  let drawn = random(drawBytes);
  let used = 0;
  return (count) => {
    if (count > drawBytes) return random(count);
    if (used + count > drawBytes) {
      drawn = random(drawBytes);
      used = 0;
    }
    used += count;
    return drawn.slice(used - count, used);
  };
}

export async function openLedger(options: LedgerOptions): Promise<Ledger> {
  const { storage, sealing, clock, newId = processIds } = options;
  const random = options.random ?? inLargeDraws(systemRandom);
  const nowMs = (): number => clock.nowMs();
  const found = await storage.app.query<TableRecord>(readCatalogue);
  const catalogue = makeCatalogue(found.rows);
  const listeners = new Set<(tenant: TenantId) => void>();
  const door = new Door({
    login: storage.applicationLogin,
    nowMs,
    committed: (tenants) => {
      for (const listener of listeners) tenants.forEach((tenant) => listener(tenant));
    },
    ...(options.groupsInFlight === undefined ? {} : { groupsInFlight: options.groupsInFlight }),
    ...(options.report === undefined ? {} : { report: options.report }),
  });
  const subjectKeys = new SubjectKeys(sealing, random);
  const preparation = (): Preparation => ({
    catalogue,
    nowMs: clock.nowMs(),
    uuid: newId,
    randomBytes: random,
    seal: (plain, binding) => sealing.seal(plain, binding),
    subjectKeys,
  });
  const snapshot = <T>(tenant: TenantId, read: (snapshot: Snapshot) => Promise<T>): Promise<T> =>
    readInSnapshot(storage, tenant, read);
  const openBody = bodyOpener(subjectKeys);
  const refusals: RefusalLog = new RefusalLog({ nowMs, append: (tenant, entry) => appendRefusal(tenant, entry) });
  const parts = { door, subjectKeys, refusals, snapshot, preparation };

  async function appendRefusal(tenant: TenantId, entry: EntryDraft): Promise<void> {
    const nothing = (): Promise<undefined> => Promise.resolve(undefined);
    try {
      const outcome = await transact(parts, tenant, nothing, () => ({
        kind: "change",
        change: { guards: [], entries: [entry] },
        result: undefined,
      }));
      if (isRefusal(outcome)) options.report?.("refusal.not_recorded", { tenant, message: outcome.message });
    } catch (error) {
      // The refusal stands even if it could not be recorded; the operator gets a report.
      options.report?.("refusal.not_recorded", {
        tenant,
        message: error instanceof Error ? error.message : String(error),
      });
    }
  }

  const { deploymentTenant, references } = options;
  const verifyParts: VerifyParts = { login: storage.applicationLogin, openBody, deploymentTenant, references };
  return {
    transact: (tenant, load, decide, given) => transact(parts, tenant, load, decide, given),
    snapshot,
    holdSnapshot: (tenant) => holdSnapshot(storage, tenant),
    receipts: (tenant, entryIds) => snapshot(tenant, (read) => readReceipts(read, entryIds)),
    recordRefusal: (tenant, refusal) => refusals.record(tenant, refusal),
    reserveNumbers: (tenant, wanted) => reserve(storage, tenant, wanted),
    auditLog: (tenant, query) => snapshot(tenant, (read) => readAuditLog(read, query, openBody)),
    attest: (read, asked) => attest(catalogue, read, asked),
    story: (read, asked) => readStory({ catalogue, openBody }, read, asked),
    activeSubjects,
    firstSeqAt: async (read, timeMs) => (await seqAt(read, timeMs)) ?? 0,
    exportBundle: (tenant, given) =>
      exportBundle({ login: storage.applicationLogin, nowMs: clock.nowMs(), openBody }, tenant, given),
    findEntry: (read, name) => findEntry(read.query, read.tenant, name),
    receiptOf: (read, place, keyStatements) => entryReceipt(read.query, read.tenant, place, keyStatements),
    verifyTenant: (tenant, given) => verifyTenant(verifyParts, tenant, given),
    checkTenant: (tenant) => verifyTenant(verifyParts, tenant, { bodies: true, thorough: true }),
    stats: () => door.stats(),
    onCommitted: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    close: async () => {
      await refusals.close();
      await door.close();
    },
  };
}

async function reserve(
  storage: Pick<Storage, "inTenant">,
  tenant: TenantId,
  wanted: { series: string; count: number; atLeast: number },
): Promise<{ first: number; last: number }> {
  const values = [tenant, wanted.series, wanted.count, wanted.atLeast];
  const { rows } = await storage.inTenant(tenant, (client) =>
    client.query<{ first: string }>({ ...reserveNumbers, values }),
  );
  const first = Number(rows[0]?.first);
  return { first, last: first + wanted.count - 1 };
}
