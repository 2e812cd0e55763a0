/**
 * Group commit: while one group is in flight the next collects, without an artificial wait.
 *
 * Promises:
 * - A change that is told "committed" is in the database for ever. A change that is told "moved", or gets an error,
 *   leaves nothing behind.
 * - A lost reply to a commit is resolved by looking for the entries' ids, after the old connection is known to be dead,
 *   before anybody is answered. The same entry ids cannot be committed twice (entries_entry_id_key).
 * - One failing change does not take its group down; a tenant whose lock is stuck does not hold up the others for long.
 * - The hashes of receipts are computed here and compared with the database's: a function that lies there is noticed at once.
 *
 * The door is always in one of four modes:
 * - *Idle*: it has no group in flight. A submitted change is sent at the end of the event loop's turn.
 * - *Sending*: it has up to `groupsInFlight` groups in flight. New changes wait in the queue and become the next group.
 * - *Recovering* (`#recovering`): the connection is gone. The door waits until every group of the old connection has ended,
 *   connects again, ends the old connection in the database, and looks up the ids of the changes in `#lost`. Committed ones
 *   get their receipts; the others go back into the queue. Between two attempts it pauses; a new change ends the pause
 *   (`#hurry`). After `awayMsMax` waiting changes are refused; after `uncertainMsMax` those in `#lost` are, as unknown.
 * - *Closing* (`#closing`): it refuses new changes, and ends once all that it has are answered.
 *
 * A change waits in the queue, travels in a group, and is answered. Three things can happen in between:
 * - Its group fails: all changes of the group return to the queue as `alone`, so that the bad one fails by itself.
 * - A tenant's lock is held by another writer: the tenant's changes go in groups of their own that wait only
 *   `lockMsImpatient` for the lock (`impatient`), and are refused after `stuckMsMax`.
 * - The reply is lost: the change is `uncertain` from then on. It is refused only after its ids were looked up once more.
 */
import { randomUUID } from "node:crypto";
import { limits, refused, RefusalError, type Refusal, type TenantId } from "@countersign/contract";
import { contentHashHex, entryHashHex } from "@countersign/proof";
import pg from "pg";
import { byteaArray, intArray, jsonbArray, textArray, uuidArray } from "./binaryArray.js";
import { counterOrder, guardOrder, type PreparedChange } from "./prepare.js";
import { Queue, type Job } from "./queue.js";
import { commitGroup, doorSettings, endConnection, entriesById, lockTenants, setTenants } from "./queries.js";
import type { Receipt } from "./types.js";

export interface MovedGuard {
  readonly kind: string;
  readonly table: string;
  readonly key: string;
}

export type CommitResult =
  | { readonly kind: "committed"; readonly receipts: readonly Receipt[] }
  | { readonly kind: "moved"; readonly guards: readonly MovedGuard[] };

export interface DoorOptions {
  readonly login: pg.ClientConfig;
  /** Milliseconds since the epoch, for the entries' times. */
  nowMs(): number;
  /** Groups on their way at once. Two pay when one process has the database for itself, one when several share it. */
  readonly groupsInFlight?: number;
  /** Called with every event that an operator should know. */
  report?(event: string, details: Readonly<Record<string, unknown>>): void;
  /** Called once for each group, with the tenants whose ledgers may have new entries. Must not throw. */
  committed?(tenants: readonly TenantId[]): void;
}

export interface DoorStats {
  readonly waiting: number;
  readonly groups: number;
  readonly changes: number;
  readonly largestGroup: number;
  readonly moved: number;
  readonly isolated: number;
  readonly lockTimeouts: number;
  readonly deadlocks: number;
  readonly connectionsLost: number;
  readonly uncertainCommitted: number;
  readonly uncertainRepeated: number;
  /** Constraint → times a change got as far as violating it: each is a bug of ours. */
  readonly violations: Readonly<Record<string, number>>;
}

/** Wait for the lock of a tenant that was stuck; otherwise the connection's lock_timeout holds. */
const lockMsImpatient = 15;
/** Changes of a tenant whose lock is stuck this long are refused. */
const stuckMsMax = 5_000;
/** The database may be away this long before waiting changes are answered 503. */
const awayMsMax = 2_000;
/** A change that may have been committed waits this long for the database to say so. */
const uncertainMsMax = 60_000;
/** Groups until plans are made again: then at 4, 16, … times as many. */
const planAgainFirst = 16;
/** A reply later than this means that the connection is dead: above the door's statement_timeout. */
const replyMsMax = 40_000;
const returnsMax = 10;
const reconnectMsMin = 20;
const reconnectMsMax = 500;

interface Waiting extends Job {
  resolve(result: CommitResult): void;
  reject(error: Error): void;
}

interface Reply {
  readonly failed: readonly (readonly [change: number, kind: string, table: string, key: string])[];
  readonly heads: readonly (readonly [
    tenant: TenantId,
    firstSeq: number,
    firstPrev: string,
    timeMs: number,
    lastHash: string,
  ])[];
}

/** A constraint was violated by a change that passed its guards: our bug, counted and named. */
export class DoorViolation extends Error {
  override readonly name = "DoorViolation";
  readonly constraint: string;
  constructor(constraint: string, cause: unknown) {
    super(`a change violates \`${constraint}\``, { cause });
    this.constraint = constraint;
  }
}

export class Door {
  readonly #options: DoorOptions;
  readonly #queue = new Queue<Waiting>();
  readonly #inFlight = new Set<readonly Waiting[]>();
  /** Changes whose reply was lost, until the database says whether they were committed. */
  readonly #lost: Waiting[] = [];
  /** Connections given up that may still commit: name → process id. */
  readonly #deadConnections = new Map<string, number>();
  readonly #groupsInFlight: number;
  #client: pg.Client | undefined;
  #name = "";
  #processId = 0;
  #recovering: Promise<void> | undefined;
  #awaySinceMs: number | undefined;
  #closing = false;
  #idle: (() => void)[] = [];
  /** Groups sent on this connection, and at how many plans are made again. */
  #sent = 0;
  #planAt = planAgainFirst;
  #pumpDue = false;
  /** Ends the pause before the next attempt to connect; set only during the pause. */
  #hurry: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stats = {
    groups: 0,
    changes: 0,
    largestGroup: 0,
    moved: 0,
    isolated: 0,
    lockTimeouts: 0,
    deadlocks: 0,
    connectionsLost: 0,
    uncertainCommitted: 0,
    uncertainRepeated: 0,
  };
  readonly #violations: Record<string, number> = {};

  constructor(options: DoorOptions) {
    this.#options = options;
    this.#groupsInFlight = options.groupsInFlight ?? 2;
  }

  /** Commits a change, in whatever group it fits. Throws RefusalError (overloaded, database_unavailable, clock_behind, shutting_down) or DoorViolation. */
  submit(change: PreparedChange): Promise<CommitResult> {
    if (this.#closing)
      return Promise.reject(
        new RefusalError(
          refused("shutting_down", "the server is stopping; try again in a moment", { retryAfterSeconds: 5 }),
        ),
      );
    if (this.#queue.length >= limits.queueChangesMax) {
      return Promise.reject(
        new RefusalError(
          refused("overloaded", `\`${this.#queue.length}\` changes wait already; try again in a moment`, {
            retryAfterSeconds: 1,
          }),
        ),
      );
    }
    return new Promise((resolve, reject) => {
      this.#queue.add({ change, alone: false, returns: 0, uncertain: false, resolve, reject });
      this.#hurry?.();
      this.#pumpSoon();
    });
  }

  stats(): DoorStats {
    return { waiting: this.#queue.length, ...this.#stats, violations: { ...this.#violations } };
  }

  /** Takes no more changes, answers all it has, ends the connection. */
  async close(): Promise<void> {
    this.#closing = true;
    if (this.#queue.length > 0 || this.#inFlight.size > 0 || this.#recovering !== undefined) {
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
    clearTimeout(this.#timer);
    const client = this.#client;
    this.#client = undefined;
    await client?.end();
  }

  /** Once a turn of the event loop: everything that arrived in it travels together. */
  #pumpSoon(): void {
    if (this.#pumpDue) return;
    this.#pumpDue = true;
    setImmediate(() => {
      this.#pumpDue = false;
      this.#pump();
    });
  }

  #pump(): void {
    if (this.#client === undefined) {
      if (this.#queue.length > 0) this.#recover([]);
      return this.#tellIdle();
    }
    while (this.#inFlight.size < this.#groupsInFlight && this.#queue.length > 0) {
      const group = this.#queue.take(this.#share(), performance.now());
      if (group === undefined) break;
      this.#send(this.#client, group.jobs, group.impatient ? lockMsImpatient : 0);
    }
    this.#pumpWhenDue();
    this.#tellIdle();
  }

  /**
   * With two groups in flight a group takes at most half of the outstanding changes, or the second would always be
   * small.
   */
  #share(): number {
    if (this.#groupsInFlight === 1) return limits.groupChangesMax;
    let outstanding = this.#queue.length;
    for (const group of this.#inFlight) outstanding += group.length;
    return Math.min(limits.groupChangesMax, Math.ceil(outstanding / this.#groupsInFlight));
  }

  #pumpWhenDue(): void {
    if (this.#inFlight.size > 0 || this.#queue.length === 0) return;
    const waitMs = this.#queue.nextTryMs(performance.now());
    if (waitMs === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#pump(), waitMs);
  }

  #tellIdle(): void {
    if (this.#queue.length > 0 || this.#inFlight.size > 0 || this.#recovering !== undefined) return;
    const idle = this.#idle;
    this.#idle = [];
    for (const tell of idle) tell();
  }

  /**
   * Plans are made once a connection, those of foreign keys too. Made while tables were empty, all indexes looked alike to
   * the planner, and it chose indexes that read the whole tenant. Without this, proposals slowed down from 440/s to
   * 130/s over the first 4,000, until autovacuum had looked at the tables. Plans made when they have grown are right,
   * and stay so.
   */
  #planAgain(client: pg.Client): void {
    this.#sent += 1;
    if (this.#sent < this.#planAt) return;
    this.#planAt *= 4;
    // A broken connection shows at the group that is sent behind it.
    client.query("discard plans").catch(() => undefined);
  }

  #send(client: pg.Client, group: readonly Waiting[], waitMs: number): void {
    this.#planAgain(client);
    this.#inFlight.add(group);
    const tenants = [...new Set(group.map((job) => job.change.tenant))].sort();
    const watchdog = setTimeout(
      () => client.connection.stream.destroy(new Error("no reply from the database")),
      replyMsMax,
    );
    client
      .query<{ result: Reply }>({
        ...commitGroup,
        values: parametersOf(group, { tenants, nowMs: this.#options.nowMs(), lockMs: waitMs }),
      })
      .then(
        (found) => this.#settle(group, tenants, found.rows[0]?.result),
        (error: unknown) => this.#fail(client, group, tenants, error),
      )
      .finally(() => {
        clearTimeout(watchdog);
        this.#inFlight.delete(group);
        this.#pump();
      });
  }

  #settle(group: readonly Waiting[], tenants: readonly TenantId[], reply: Reply | undefined): void {
    if (reply === undefined) throw new Error("commit_group returned no row");
    for (const tenant of tenants) this.#queue.release(tenant);
    this.#stats.groups += 1;
    this.#stats.largestGroup = Math.max(this.#stats.largestGroup, group.length);
    const moved = new Map<number, MovedGuard[]>();
    for (const [change, kind, table, key] of reply.failed)
      moved.set(change, [...(moved.get(change) ?? []), { kind, table, key }]);
    const { receipts, lies } = receiptsOf(group, moved, reply.heads);
    if (lies !== undefined) this.#report("ledger.hash_differs", { tenant: lies });
    if (reply.heads.length > 0) this.#options.committed?.(tenants);
    group.forEach((job, index) => {
      const guards = moved.get(index + 1);
      if (guards === undefined) {
        this.#stats.changes += 1;
        if (lies === undefined) job.resolve({ kind: "committed", receipts: receipts[index] ?? [] });
        else
          job.reject(
            new Error(`the database chained the entries of tenant ${lies} with another hash; verify its ledger`),
          );
      } else if (job.uncertain) void this.#confirm([job], { kind: "moved", guards });
      else this.#answerMoved(job, guards);
    });
  }

  #answerMoved(job: Waiting, guards: readonly MovedGuard[]): void {
    this.#stats.moved += 1;
    job.resolve({ kind: "moved", guards });
  }

  #fail(client: pg.Client, group: readonly Waiting[], tenants: readonly TenantId[], error: unknown): void {
    const state = error instanceof pg.DatabaseError ? error.code : undefined;
    // No SQLSTATE: the connection broke. 57P..: the server ended it, and may have committed before it did.
    if (state === undefined || /^(08|57P)/.test(state)) return this.#lose(client, group, error);
    if (state === "55P03") return this.#goApart(group, tenants);
    if (state === "40P01" || state === "40001") {
      this.#stats.deadlocks += 1;
      return this.#again(group);
    }
    if (group.length > 1) {
      this.#stats.isolated += group.length;
      for (const job of group) job.alone = true;
      return this.#queue.putBack(group);
    }
    for (const job of group) {
      if (job.uncertain) void this.#confirm([job], this.#verdict(error));
      else job.reject(this.#verdict(error));
    }
  }

  /** The error for a change that failed alone. */
  #verdict(error: unknown): Error {
    const { code = "", constraint, message } = error as pg.DatabaseError;
    if (code === "CS001")
      return new RefusalError(refused("clock_behind", `${message}; set the clock right`, { retryAfterSeconds: 5 }), {
        cause: error,
      });
    if (/^(53|58)/.test(code) || code === "57014") return new RefusalError(away(message), { cause: error });
    const name = constraint ?? code;
    this.#violations[name] = (this.#violations[name] ?? 0) + 1;
    this.#report("door.violation", { constraint: name, message });
    return new DoorViolation(name, error);
  }

  #again(group: readonly Waiting[]): void {
    const [some, tired] = [
      group.filter((job) => ++job.returns < returnsMax),
      group.filter((job) => job.returns >= returnsMax),
    ];
    for (const job of tired)
      job.reject(
        new RefusalError(
          refused("overloaded", "the database could not order this change among concurrent changes; try again", {
            retryAfterSeconds: 1,
          }),
        ),
      );
    this.#queue.putBack(some);
  }

  /** Somebody holds a lock of one of these tenants. Each goes alone from now on, and does not wait for its lock. */
  #goApart(group: readonly Waiting[], tenants: readonly TenantId[]): void {
    this.#stats.lockTimeouts += 1;
    this.#queue.putBack(group);
    const nowMs = performance.now();
    for (const tenant of tenants) {
      if (this.#queue.delay(tenant, nowMs) < stuckMsMax) continue;
      const stuck = this.#queue
        .removeTenant(tenant)
        .concat(this.#queue.drain((job) => !(job.alone && job.change.tenant === tenant)));
      this.#queue.release(tenant);
      this.#report("door.tenant_stuck", { tenant, changes: stuck.length });
      for (const job of stuck)
        job.reject(
          new RefusalError(
            refused("overloaded", `tenant \`${tenant}\` is being held by another writer; try again`, {
              retryAfterSeconds: 2,
            }),
          ),
        );
    }
  }

  /** The connection is gone with a group on it: nobody knows yet whether the group was committed. */
  #lose(client: pg.Client, group: readonly Waiting[], error: unknown): void {
    for (const job of group) job.uncertain = true;
    if (this.#client === client) {
      this.#stats.connectionsLost += 1;
      this.#client = undefined;
      this.#deadConnections.set(this.#name, this.#processId);
      this.#report("door.connection_lost", { message: error instanceof Error ? error.message : String(error) });
      client.end().catch(() => undefined); // It is broken already; there is nobody to tell.
    }
    this.#recover(group);
  }

  #recover(uncertain: readonly Waiting[]): void {
    this.#lost.push(...uncertain);
    this.#recovering ??= this.#reconnect().finally(() => {
      this.#recovering = undefined;
      this.#pump();
    });
  }

  /** Ends when it is connected, or when no change waits any more. The next change begins again. */
  async #reconnect(): Promise<void> {
    let delayMs = reconnectMsMin;
    const sinceMs = performance.now();
    while (this.#client === undefined) {
      // All groups of the lost connection must be known before any is judged.
      while (this.#inFlight.size > 0) await new Promise((resolve) => setImmediate(resolve));
      try {
        await this.#connect();
      } catch (error) {
        this.#awaySinceMs ??= sinceMs;
        this.#answerThoseWhoWaitedTooLong(performance.now() - this.#awaySinceMs, error);
        if (this.#queue.length === 0 && this.#lost.length === 0) return;
        await this.#pause(delayMs);
        delayMs = Math.min(delayMs * 2, reconnectMsMax);
      }
    }
  }

  /**
   * The pause between two attempts to connect. A new change cuts it short, so no change is refused because of an old
   * failure.
   */
  async #pause(ms: number): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, reconnectMsMin));
    if (ms <= reconnectMsMin) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms - reconnectMsMin);
      this.#hurry = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.#hurry = undefined;
  }

  async #connect(): Promise<void> {
    const name = `countersign door ${randomUUID().slice(0, 8)}`;
    const client = new pg.Client({
      ...this.#options.login,
      application_name: name,
      pipeline: true,
      keepAlive: true,
      connectionTimeoutMillis: 5_000,
    });
    client.on("error", () => {
      // Between two groups: the next one finds no connection and makes a new one.
      if (this.#client === client && this.#inFlight.size === 0) this.#client = undefined;
    });
    let processId = 0;
    try {
      await client.connect();
      await client.query(doorSettings);
      processId = (await client.query<{ id: number }>("select pg_backend_pid() as id")).rows[0]?.id ?? 0;
      await this.#endDeadConnections(client);
      const lost = this.#lost.splice(0);
      await this.#judge(client, lost).catch((error: unknown) => {
        this.#lost.push(...lost);
        throw error;
      });
    } catch (error) {
      client.end().catch(() => undefined); // Not connected, or broken: the error that says so is thrown below.
      throw error;
    }
    this.#client = client;
    this.#sent = 0;
    this.#planAt = planAgainFirst;
    this.#name = name;
    this.#processId = processId;
    this.#awaySinceMs = undefined;
  }

  /** The login user ends it: if the connection switched to the application's role, that role may not end it. */
  async #endDeadConnections(client: pg.Client): Promise<void> {
    if (this.#deadConnections.size === 0) return;
    await client.query("set role none");
    for (const [old, processId] of this.#deadConnections) await client.query(endConnection, [processId, old]);
    await client.query("reset role"); // to what the connection was opened with
    this.#deadConnections.clear();
  }

  /** Committed changes get their receipts; the others go back into the queue. */
  async #judge(client: pg.Client, jobs: readonly Waiting[]): Promise<void> {
    if (jobs.length === 0) return;
    const found = await findReceipts(client, jobs);
    const missing = jobs.filter((job) => !this.#answerIfFound(job, found));
    this.#stats.uncertainRepeated += missing.length;
    this.#queue.putBack(missing);
  }

  #answerIfFound(job: Waiting, found: ReadonlyMap<string, Receipt>): boolean {
    const receipts = job.change.entries.map((entry) => found.get(entry.id));
    if (!receipts.every((receipt) => receipt !== undefined)) return false;
    this.#stats.uncertainCommitted += 1;
    this.#options.committed?.([job.change.tenant]);
    job.resolve({ kind: "committed", receipts });
    return true;
  }

  /** A change that may have been committed before is refused now, perhaps because its entries are already there. */
  async #confirm(jobs: readonly Waiting[], otherwise: Error | (CommitResult & { kind: "moved" })): Promise<void> {
    const client = new pg.Client({ ...this.#options.login, connectionTimeoutMillis: 5_000 });
    client.on("error", () => undefined); // The query in flight reports it.
    try {
      await client.connect();
      const found = await findReceipts(client, jobs);
      for (const job of jobs) {
        if (this.#answerIfFound(job, found)) continue;
        if (otherwise instanceof Error) job.reject(otherwise);
        else this.#answerMoved(job, otherwise.guards);
      }
    } catch (error) {
      // Still unknown: through the whole recovery once more.
      this.#report("door.confirm_failed", { message: error instanceof Error ? error.message : String(error) });
      this.#queue.putBack(jobs);
      this.#pumpSoon();
    } finally {
      await client.end().catch(() => undefined); // Nothing depends on a polite end.
    }
  }

  #answerThoseWhoWaitedTooLong(awayMs: number, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (awayMs > awayMsMax) for (const job of this.#queue.drain()) job.reject(new RefusalError(away(message)));
    if (awayMs > uncertainMsMax) {
      for (const job of this.#lost.splice(0))
        job.reject(new RefusalError({ ...away(message), details: { outcome: "unknown" } }));
    }
  }

  #report(event: string, details: Readonly<Record<string, unknown>>): void {
    this.#options.report?.(event, details);
  }
}

function away(message?: string): Refusal {
  const why = message === undefined ? "" : ` (${message})`;
  return refused(
    "database_unavailable",
    `the database does not answer${why}; try again with the same idempotency key`,
    { retryAfterSeconds: 2 },
  );
}

/** The parameters of `commit_group`. Changes are numbered from 1; rows of one kind travel in one document. */
function parametersOf(
  group: readonly Waiting[],
  given: { tenants: readonly TenantId[]; nowMs: number; lockMs: number },
): unknown[] {
  const { tenants, nowMs, lockMs } = given;
  const documents = new Map<string, { order: number; json: string }>();
  const [entryChange, entryTenant, entryIds, contents]: [number[], number[], string[], string[]] = [[], [], [], []];
  const [actions, actors, subjects]: [string[], string[], string[]] = [[], [], []];
  const [bodyEntries, bodySalts, bodies]: [number[], Uint8Array[], Uint8Array[]] = [[], [], []];
  group.forEach(({ change }, index) => {
    for (const part of change.parts) {
      const json = `{"_c":${index + 1},${part.json}`;
      const document = documents.get(part.kind);
      if (document === undefined) documents.set(part.kind, { order: part.order, json: `[${json}` });
      else document.json += `,${json}`;
    }
    for (const body of change.bodies) {
      bodyEntries.push(entryIds.length + body.entry + 1);
      bodySalts.push(body.salt);
      bodies.push(body.sealed);
    }
    const tenant = tenants.indexOf(change.tenant) + 1;
    for (const entry of change.entries) {
      entryChange.push(index + 1);
      entryTenant.push(tenant);
      entryIds.push(entry.id);
      contents.push(entry.content);
      actions.push(entry.action);
      actors.push(entry.actorId);
      subjects.push(entry.subjectId);
    }
  });
  // Guards have order 0, counters 1, writes come behind them, referenced tables first.
  const ordered = [...documents].sort(([, a], [, b]) => a.order - b.order);
  const guards = ordered.filter(([, { order }]) => order === guardOrder).length;
  const counts = ordered.filter(([, { order }]) => order === counterOrder).length;
  return [
    uuidArray(tenants),
    nowMs,
    lockMs,
    guards,
    counts,
    textArray(ordered.map(([kind]) => kind)),
    jsonbArray(ordered.map(([, { json }]) => `${json}]`)),
    intArray(entryChange),
    intArray(entryTenant),
    uuidArray(entryIds),
    textArray(contents),
    textArray(actions),
    textArray(actors),
    textArray(subjects),
    intArray(bodyEntries),
    byteaArray(bodySalts),
    byteaArray(bodies),
  ];
}

/** Receipts of every change by walking the chain from where the database began; `lies` names a tenant whose chain ends otherwise. */
function receiptsOf(
  group: readonly Waiting[],
  moved: ReadonlyMap<number, unknown>,
  heads: Reply["heads"],
): { receipts: Receipt[][]; lies: TenantId | undefined } {
  const chains = new Map(heads.map(([tenant, seq, prev, timeMs, last]) => [tenant, { seq, prev, timeMs, last }]));
  const receipts = group.map(({ change }, index) => {
    const chain = chains.get(change.tenant);
    if (moved.has(index + 1) || chain === undefined) return [];
    return change.entries.map((entry) => {
      const { seq, prev, timeMs } = chain;
      const hash = entryHashHex({
        tenant: change.tenant,
        seq,
        timeMs,
        prev,
        contentHash: contentHashHex(entry.content),
      });
      chain.seq += 1;
      chain.prev = hash;
      return { tenant: change.tenant, seq, entryId: entry.id, hash, timeMs };
    });
  });
  const lies = [...chains].find(([, chain]) => chain.prev !== chain.last)?.[0];
  return { receipts, lies };
}

/** Entries of these jobs that are in the ledger, by id. Waits for commits in progress for their tenants. */
async function findReceipts(client: pg.Client, jobs: readonly Job[]): Promise<Map<string, Receipt>> {
  const tenants = [...new Set(jobs.map((job) => job.change.tenant))].sort();
  const ids = jobs.flatMap((job) => job.change.entries.map((entry) => entry.id));
  await client.query("begin");
  await client.query(setTenants, [`{${tenants.join(",")}}`]);
  await client.query(lockTenants, [tenants]);
  const found = await client.query<{
    tenant_id: TenantId;
    seq: string;
    time_ms: string;
    entry_id: string;
    hash: string;
  }>(entriesById, [tenants, ids]);
  await client.query("commit");
  return new Map(
    found.rows.map((row) => [
      row.entry_id,
      {
        tenant: row.tenant_id,
        seq: Number(row.seq),
        entryId: row.entry_id,
        hash: row.hash,
        timeMs: Number(row.time_ms),
      },
    ]),
  );
}
