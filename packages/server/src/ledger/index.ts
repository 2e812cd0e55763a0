/**
 * The ledger: the one door through which governed state changes, and the ways to read and verify what went through it.
 *
 * Promises: nothing governed changes without an entry in the same commit; an entry, once receipted, is never changed or
 * lost; whoever is refused left nothing behind.
 */
import { randomBytes } from "node:crypto";
import { isRefusal, type Refusal, type TenantId } from "@countersign/contract";
import type { Storage } from "../storage/index.js";
import { connect } from "../storage/index.js";
import { makeCatalogue, type TableRecord } from "./catalogue.js";
import { Door, type DoorStats } from "./groups.js";
import type { Preparation } from "./prepare.js";
import { readCatalogue, reserveNumbers, setTenants } from "./queries.js";
import { RefusalLog, type GovernedRefusal } from "./refusals.js";
import { snapshotOver } from "./snapshot.js";
import { transact, type TransactOptions } from "./transact.js";
import type { Decided, DecideContext, EntryDraft, Outcome, Snapshot } from "./types.js";

export * from "./types.js";
export type { DoorStats } from "./groups.js";
export { DoorViolation } from "./groups.js";
export type { GovernedRefusal } from "./refusals.js";
export type { TransactOptions } from "./transact.js";

/** Encrypts bodies at rest. `context` binds a sealed text to its place. */
export interface BodySealing {
  seal(plain: Uint8Array, context: string): Uint8Array;
  open(sealed: Uint8Array, context: string): Uint8Array;
}

export interface LedgerOptions {
  readonly storage: Storage;
  readonly sealing: BodySealing;
  nowMs(): number;
  /** UUIDv7. */
  uuid(): string;
  readonly randomBytes?: (count: number) => Uint8Array;
  /** 2 when this process has the database for itself, 1 when several share it. */
  readonly groupsInFlight?: number;
  readonly report?: (event: string, details: Readonly<Record<string, unknown>>) => void;
}

export interface Ledger {
  /**
   * The one way to change governed state. `load` reads in one snapshot; `decide` is pure and returns a refusal, a change or
   * nothing to do. If what the change depended on has moved, both run again, at most 5 times, then `conflict`.
   * Refusals: what `decide` returns, and `conflict`, `overloaded`, `database_unavailable`, `clock_behind`, `shutting_down`.
   */
  transact<L, R>(
    tenant: TenantId,
    load: (snapshot: Snapshot) => Promise<L>,
    decide: (loaded: L, context: DecideContext) => Refusal | Decided<R>,
    options?: TransactOptions,
  ): Promise<Outcome<R>>;
  /** Reads in one snapshot. Throws RefusalError `database_unavailable`. */
  snapshot<T>(tenant: TenantId, read: (snapshot: Snapshot) => Promise<T>): Promise<T>;
  /** A refusal outside of `transact`: the first of its kind is an entry at once, repeats together once a minute. */
  recordRefusal(tenant: TenantId, refusal: GovernedRefusal): void;
  /** `count` fresh numbers of a series, none below `atLeast`. Gaps are allowed; the rows that carry a number keep it unique. */
  reserveNumbers(tenant: TenantId, wanted: { series: string; count: number; atLeast: number }): Promise<{ first: number; last: number }>;
  stats(): DoorStats;
  /** Writes counted refusals, commits what waits, ends the door's connection. */
  close(): Promise<void>;
}

export async function openLedger(options: LedgerOptions): Promise<Ledger> {
  const { storage, sealing } = options;
  const random = options.randomBytes ?? randomBytes;
  const found = await storage.app.query<TableRecord>(readCatalogue);
  const catalogue = makeCatalogue(found.rows);
  const door = new Door({
    login: storage.applicationLogin,
    nowMs: options.nowMs,
    ...(options.groupsInFlight === undefined ? {} : { groupsInFlight: options.groupsInFlight }),
    ...(options.report === undefined ? {} : { report: options.report }),
  });
  const preparation = (): Preparation => ({
    catalogue,
    nowMs: options.nowMs(),
    uuid: options.uuid,
    randomBytes: random,
    seal: (tenant, entryId, plain) => sealing.seal(plain, `${tenant}/${entryId}`),
  });
  const snapshot = <T>(tenant: TenantId, read: (snapshot: Snapshot) => Promise<T>): Promise<T> =>
    storage.withSnapshot(tenant, (client) => read(snapshotOver(tenant, client)));
  const refusals: RefusalLog = new RefusalLog({ nowMs: options.nowMs, append: (tenant, entry) => appendRefusal(tenant, entry) });
  const parts = { door, refusals, snapshot, preparation };

  async function appendRefusal(tenant: TenantId, entry: EntryDraft): Promise<void> {
    const nothing = (): Promise<undefined> => Promise.resolve(undefined);
    try {
      const outcome = await transact(parts, tenant, nothing, () => ({ kind: "change", change: { guards: [], entries: [entry] }, result: undefined }));
      if (isRefusal(outcome)) options.report?.("refusal.not_recorded", { tenant, message: outcome.message });
    } catch (error) {
      // The refusal stands whether or not it could be recorded; the operator is told.
      options.report?.("refusal.not_recorded", { tenant, message: error instanceof Error ? error.message : String(error) });
    }
  }

  return {
    transact: (tenant, load, decide, given) => transact(parts, tenant, load, decide, given),
    snapshot,
    recordRefusal: (tenant, refusal) => refusals.record(tenant, refusal),
    reserveNumbers: (tenant, wanted) => reserve(storage, tenant, wanted),
    stats: () => door.stats(),
    close: async () => {
      await refusals.close();
      await door.close();
    },
  };
}

async function reserve(storage: Storage, tenant: TenantId, wanted: { series: string; count: number; atLeast: number }): Promise<{ first: number; last: number }> {
  const client = await connect(storage.app);
  try {
    await client.query("begin");
    await client.query(setTenants, [`{${tenant}}`]);
    const { rows } = await client.query<{ first: string }>({ ...reserveNumbers, values: [tenant, wanted.series, wanted.count, wanted.atLeast] });
    await client.query("commit");
    const first = Number(rows[0]?.first);
    client.release();
    return { first, last: first + wanted.count - 1 };
  } catch (error) {
    client.release(true);
    throw error;
  }
}
