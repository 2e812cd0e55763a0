/**
 * What recurs: each process looks from time to time at what is due, puts it into the queue, and takes out of it what it has hands for.
 *
 * Promises: each tenant and job by itself: one that fails is tried again later and later and delays nobody · what is due twice, or seen
 * by two processes, is in the queue once · what is due follows from what is recorded: a lost row of the queue is put there again,
 * a forged one runs a job that finds nothing to do · after a start everything that is due is tried at once.
 */
import type { TenantId } from "@countersign/contract";
import type { JobHelpers } from "graphile-worker";
import { type Clock, type Job, type Log, maskText, type Rounds, startRounds } from "../platform/index.js";
import type { Storage } from "../storage/index.js";
import type { Query } from "../ledger/index.js";
import type { Failing, Ran } from "./job.js";
import { longestPause, pauseAfter } from "./pause.rules.js";
import {
  failingStates,
  forgetState,
  type HandedRow,
  handOver,
  holdBack,
  readState,
  type StateRow,
  waitingJobs,
} from "./queries.js";
import { openQueue, type Queue } from "./queue.js";

export interface SchedulerOptions {
  readonly storage: Pick<Storage, "inTenant" | "inTenants" | "jobs" | "whileLocked">;
  readonly jobs: readonly Job[];
  readonly tenants: () => Promise<readonly TenantId[]>;
  readonly clock: Clock;
  readonly log: Pick<Log, "info" | "warn">;
  /** Told of every run of this process, for metrics and tests. */
  readonly onRan?: (ran: Ran) => void;
}

export interface Jobs {
  start(): void;
  /** Resolves when no run is under way in this process. */
  stop(): Promise<void>;
  /** Something may be due: looked at now, for one tenant if it is known which. */
  wake(job: string, tenant?: TenantId): void;
  /** One look at everything by the clock as it stands; resolves when what was put into the queue has run here. For tests. */
  runDue(): Promise<void>;
  /** Jobs that did not end well the last time, in any process; the longest first. */
  failing(): Promise<Failing[]>;
  /** How many wait or run, by job. */
  waiting(): Promise<ReadonlyMap<string, number>>;
  /** False: this process tried to take jobs out of the queue and cannot. */
  readonly works: boolean;
}

const errorLengthMax = 500;
/** The queue is told of an end a moment after it. */
const againMs = 100;
const wakesMax = 5;

export function openJobs(options: SchedulerOptions): Jobs {
  return new Scheduler(options);
}

class Scheduler implements Jobs {
  readonly #options: SchedulerOptions;
  readonly #looks = new Map<string, Rounds>();
  /** Jobs at which this process has looked. */
  readonly #seen = new Set<string>();
  /** Runs of this process, by key. */
  readonly #running = new Set<string>();
  readonly #performing = new Set<Promise<void>>();
  /** The newest look at what is due, by job. */
  readonly #looking = new Map<string, Promise<void>>();
  /** Due again while it runs: what it looked at may have been older. */
  readonly #again = new Set<string>();
  readonly #ends = new Ends();
  readonly #stopping = new AbortController();
  #queue: Queue | undefined;

  constructor(options: SchedulerOptions) {
    const names = options.jobs.map(({ name }) => name);
    if (new Set(names).size < names.length) throw new Error(`two jobs have one name: ${names.sort().join(", ")}`);
    this.#options = options;
  }

  get works(): boolean {
    return this.#queue?.works !== false;
  }

  get #names(): string[] {
    return this.#options.jobs.map(({ name }) => name);
  }

  start(): void {
    const { jobs, storage, log } = this.#options;
    if (this.#queue !== undefined || this.#stopping.signal.aborted) return;
    this.#queue = openQueue({
      storage,
      log,
      tasks: Object.fromEntries(
        jobs.map((job) => [
          job.name,
          (payload: unknown, { job: { id } }: JobHelpers): Promise<void> =>
            this.#performed(this.#perform(job, payload).finally(() => this.#ends.ended(id))),
        ]),
      ),
    });
    for (const job of jobs) {
      const round = (): Promise<void> => {
        const look = this.#look(job);
        this.#looking.set(job.name, look);
        return look;
      };
      const failed = (error: unknown): void =>
        log.warn({ err: error, job: job.name }, "what is due is looked at again");
      this.#looks.set(job.name, startRounds({ pauseMs: job.lookMs, round, failed }));
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await Promise.all([...this.#looks.values()].map((look) => look.stop()));
    await this.#queue?.stop();
    // The queue gives up on a database that does not answer; work that is under way is waited for.
    await Promise.allSettled(this.#performing);
  }

  wake(name: string, tenant?: TenantId): void {
    const job = this.#options.jobs.find((one) => one.name === name);
    if (job === undefined || this.#stopping.signal.aborted) return;
    if (tenant === undefined) return this.#looks.get(name)?.soon();
    this.#handLater(job, tenant, wakesMax);
  }

  #handLater(job: Job, tenant: TenantId, tries: number): void {
    this.#hand(job, tenant, tries).catch((error: unknown) => this.#late(job, error));
  }

  /** What runs here runs once more behind it; what another process has, or has just ended, is tried again a moment later. */
  async #hand(job: Job, tenant: TenantId, tries: number): Promise<void> {
    const key = keyOf(job.name, tenant);
    if (this.#running.has(key)) return void this.#again.add(key);
    const [handed] = await this.#handOver(job, [tenant]);
    if (handed?.fresh === false && tries > 1 && !this.#stopping.signal.aborted)
      setTimeout(() => this.#handLater(job, tenant, tries - 1), againMs).unref();
  }

  async runDue(): Promise<void> {
    for (const job of this.#options.jobs) {
      // A look under way may hand over what is held back for others: after it, what is due is in the queue or waits its time.
      await this.#looking.get(job.name)?.catch(() => undefined); // its round reports it
      const first = this.#isFirst(job);
      let left = await this.#due(job);
      while (left.length > 0) {
        const watch = this.#ends.watch();
        const handed = await this.#handOver(job, left, first);
        for (const { id, fresh } of handed) if (fresh) await watch.ended(id);
        watch.end();
        // What was in the queue already may have seen less than is due now: once more, behind it.
        left = handed.filter(({ fresh }) => !fresh).map(({ tenant }) => tenant);
      }
    }
  }

  async failing(): Promise<Failing[]> {
    const tenants = await this.#options.tenants();
    const { rows } = await this.#options.storage.inTenants(tenants, (client) =>
      client.query<StateRow>(asked(failingStates(this.#names))),
    );
    return rows.map(({ job, tenant, failures, since_ms }) => ({ job, tenant, failures, sinceMs: Number(since_ms) }));
  }

  async waiting(): Promise<ReadonlyMap<string, number>> {
    const { rows } = await this.#options.storage.jobs.query<{ job: string; waiting: number }>(
      asked(waitingJobs(this.#names)),
    );
    return new Map(rows.map(({ job, waiting }) => [job, waiting]));
  }

  // ── Looking ────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #look(job: Job): Promise<void> {
    const first = this.#isFirst(job);
    try {
      await this.#handOver(job, await this.#due(job), first);
    } catch (error) {
      if (first) this.#seen.delete(job.name);
      throw error;
    }
  }

  /** After a start what is due is tried at once, not when the pause after a failure of before is over. */
  #isFirst({ name }: Job): boolean {
    const first = !this.#seen.has(name);
    this.#seen.add(name);
    return first;
  }

  async #due(job: Job): Promise<readonly TenantId[]> {
    const tenants = await this.#options.tenants();
    return job.due === undefined ? tenants : job.due(tenants);
  }

  /** Those that were put into the queue (`fresh`) or were in it; held back by nothing when `regardless`. */
  async #handOver(job: Job, tenants: readonly TenantId[], regardless = false): Promise<HandedRow[]> {
    if (tenants.length === 0 || this.#stopping.signal.aborted) return [];
    const nowMs = this.#options.clock.nowMs();
    const query = handOver({
      ...{ job: job.name, purpose: job.purpose, tenants, nowMs, regardless },
      latestMs: nowMs + longestPause(job),
      atOnce: job.atOnce ?? null,
    });
    const { rows } = await this.#options.storage.inTenants(tenants, (client) => client.query<HandedRow>(asked(query)));
    return rows;
  }

  #performed(run: Promise<void>): Promise<void> {
    this.#performing.add(run);
    return run.finally(() => this.#performing.delete(run));
  }

  // ── Running ────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Never throws: what went wrong is noted by us, and the queue is done with it. */
  async #perform(job: Job, payload: unknown): Promise<void> {
    const tenant = await this.#tenantOf(payload);
    const key = tenant === undefined ? undefined : keyOf(job.name, tenant);
    if (tenant === undefined || key === undefined || this.#running.has(key)) return;
    this.#running.add(key);
    let ran: Ran;
    do {
      this.#again.delete(key);
      ran = await this.#attempt(job, tenant);
    } while (this.#again.has(key) && ran.error === undefined && !this.#stopping.signal.aborted);
    await this.#note(job, ran);
    this.#running.delete(key);
    this.#options.onRan?.(ran);
    if (this.#again.delete(key)) this.wake(job.name, tenant);
    if (job.atOnce !== undefined) setTimeout(() => this.#looks.get(job.name)?.soon(), againMs).unref();
  }

  /** Undefined: whoever wrote the row named nobody we know. */
  async #tenantOf(payload: unknown): Promise<TenantId | undefined> {
    const named = (payload as { tenant?: unknown } | null)?.tenant;
    try {
      return (await this.#options.tenants()).find((tenant) => tenant === named);
    } catch (error) {
      this.#options.log.warn({ err: error }, "a job is run when its tenant can be looked up");
      return undefined;
    }
  }

  async #attempt(job: Job, tenant: TenantId): Promise<Ran> {
    try {
      await job.run(tenant, this.#stopping.signal);
      return { job: job.name, tenant };
    } catch (error) {
      return { job: job.name, tenant, error };
    }
  }

  async #note(job: Job, ran: Ran): Promise<void> {
    try {
      await this.#write(ran.tenant, await this.#stateAfter(job, ran));
    } catch (error) {
      this.#late(job, error);
    }
  }

  async #stateAfter(job: Job, { tenant, error }: Ran): Promise<Query> {
    const nowMs = this.#options.clock.nowMs();
    if (error === undefined) {
      const state = { nextMs: nowMs + (job.pauseMs ?? 0), failures: 0, sinceMs: null, error: null };
      return job.pauseMs === undefined ? forgetState(tenant, job.name) : holdBack(tenant, job.name, state);
    }
    const { rows } = await this.#options.storage.inTenant(tenant, (client) =>
      client.query<StateRow>(asked(readState(tenant, job.name))),
    );
    const before = rows[0]?.failures ?? 0;
    const failures = Math.min(before, 1_000_000) + 1;
    const pauseMs = pauseAfter(failures, job.lookMs);
    this.#options.log.warn(
      { err: error, tenant, job: job.name, failures, pauseMs },
      `a job failed and is tried again: ${job.purpose}`,
    );
    return holdBack(tenant, job.name, {
      nextMs: nowMs + pauseMs,
      failures,
      sinceMs: before === 0 ? nowMs : Number(rows[0]?.since_ms ?? nowMs),
      error: maskText(error instanceof Error ? error.message : "it threw no error").slice(0, errorLengthMax),
    });
  }

  async #write(tenant: TenantId, query: Query): Promise<void> {
    await this.#options.storage.inTenant(tenant, (client) => client.query(asked(query)));
  }

  #late(job: Job, error: unknown): void {
    this.#options.log.warn({ err: error, job: job.name }, "what is due is looked at again");
  }
}

/** Which jobs of the queue have ended here. A job may end before whoever put it there is told its id: so it is watched from before. */
class Ends {
  readonly #watches = new Set<Watch>();

  watch(): Watch {
    const watch = new Watch(() => this.#watches.delete(watch));
    this.#watches.add(watch);
    return watch;
  }

  ended(id: string): void {
    for (const watch of this.#watches) watch.note(id);
  }
}

class Watch {
  readonly end: () => void;
  readonly #seen = new Set<string>();
  readonly #waiting = new Map<string, () => void>();

  constructor(end: () => void) {
    this.end = end;
  }

  note(id: string): void {
    this.#seen.add(id);
    this.#waiting.get(id)?.();
  }

  async ended(id: string): Promise<void> {
    if (!this.#seen.has(id)) await new Promise<void>((resolve) => this.#waiting.set(id, resolve));
  }
}

function keyOf(job: string, tenant: TenantId): string {
  return `${job}:${tenant}`;
}

/** As the driver takes it. */
function asked({ name, text, values }: Query): { name: string; text: string; values: unknown[] } {
  return { name, text, values: [...values] };
}
