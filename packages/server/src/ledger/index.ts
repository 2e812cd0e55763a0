/**
 * The ledger: the one door through which governed state changes, and the ways to read what went through it.
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
import { readAuditLog, type AuditPage, type AuditQuery } from "./auditLog.js";
import { makeCatalogue, type TableRecord } from "./catalogue.js";
import { Door, type DoorStats } from "./groups.js";
import type { Preparation } from "./prepare.js";
import { readCatalogue, reserveNumbers } from "./queries.js";
import type { OpenBody } from "./reading.js";
import { bodyOpener, SubjectKeys } from "./subjectKeys.js";
import { RefusalLog, type GovernedRefusal } from "./refusals.js";
import { type HeldSnapshot, holdSnapshot, readInSnapshot } from "./snapshot.js";
import { readStory, type Story } from "./story.js";
import { transact, type TransactOptions } from "./transact.js";
import type { Decided, DecideContext, DraftShape, EntryDraft, Outcome, Snapshot } from "./types.js";

export * from "./types.js";
export { withoutNulls } from "./attest.js";
export type { Attestation, AttestationQuestion, AttestedEntry, AttestedRow, RowReference } from "./attest.js";
export { firstSeqAt, type AuditEntry, type AuditPage, type AuditQuery, type BodyState } from "./auditLog.js";
export { activeSubjects, type ActiveQuestion, type Story } from "./story.js";
export type { DoorStats } from "./groups.js";
export { DoorViolation } from "./groups.js";
export { isRecorded, type GovernedRefusal } from "./refusals.js";
export { openReading, readEntries, readEntryBytes, type Ask, type OpenBody, type Reading } from "./reading.js";
export { copyOut } from "./copyOut.js";
export { identifier, quotedUuid } from "./queries.js";
export { readReceipts, receiptsOf, receiptViews, type ReceiptView } from "./receipts.js";
export type { HeldSnapshot } from "./snapshot.js";
export type { TransactOptions } from "./transact.js";

export interface LedgerOptions {
  readonly storage: Pick<Storage, "app" | "applicationLogin" | "withSnapshot" | "inTenant">;
  /** Encrypts bodies at rest, bound to their place. */
  readonly sealing: Pick<Sealing, "seal" | "open">;
  readonly clock: Clock;
  readonly newId?: NewId;
  readonly random?: RandomBytes;
  /** 2 when this process has the database for itself, 1 when several share it. */
  readonly groupsInFlight?: number;
  /** Called with events for the operator: lost connections, violations, tenants whose lock is stuck. */
  readonly report?: (event: string, details: Readonly<Record<string, unknown>>) => void;
}

/** `D`: what may be written through it; in the product, the actions of the catalogue. */
export interface Ledger<D extends DraftShape = EntryDraft> {
  /**
   * The one way to change governed state. `load` reads in one snapshot; `decide` is pure and returns a refusal, a
   * change or nothing to do. If a guard of the change has moved, both run again, at most 5 times, then `conflict`.
   * Refusals: those of `decide`, and `conflict`, `overloaded`, `database_unavailable`, `clock_behind`, `shutting_down`.
   */
  transact<L, R>(
    tenant: TenantId,
    load: (snapshot: Snapshot) => Promise<L>,
    decide: (loaded: L, context: DecideContext) => Refusal | Decided<R, D>,
    options?: TransactOptions,
  ): Promise<Outcome<R>>;
  /** Reads in one snapshot. Throws RefusalError `database_unavailable`. */
  snapshot<T>(tenant: TenantId, read: (snapshot: Snapshot) => Promise<T>): Promise<T>;
  /**
   * A snapshot in which several functions read, for `TransactOptions.within`; its holder ends it.
   * INVARIANT: nobody who holds one asks for another before its end: holders would wait for each other's connections.
   */
  holdSnapshot(tenant: TenantId): HeldSnapshot;
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
  /** Opens a sealed body, for those who read many: export, verification. */
  readonly openBody: OpenBody;
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

export async function openLedger<D extends DraftShape = EntryDraft>(options: LedgerOptions): Promise<Ledger<D>> {
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

  return {
    transact: (tenant, load, decide, given) => transact(parts, tenant, load, decide, given),
    snapshot,
    holdSnapshot: (tenant) => holdSnapshot(storage, tenant),
    recordRefusal: (tenant, refusal) => refusals.record(tenant, refusal),
    reserveNumbers: (tenant, wanted) => reserve(storage, tenant, wanted),
    auditLog: (tenant, query) => snapshot(tenant, (read) => readAuditLog(read, query, openBody)),
    attest: (read, asked) => attest(catalogue, read, asked),
    story: (read, asked) => readStory({ catalogue, openBody }, read, asked),
    openBody,
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
