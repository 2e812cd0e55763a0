/**
 * The queue between what is due and the hands that do it: graphile-worker, run so that it fits a server that must outlive its database.
 *
 * Promises: what is in the queue is run by one process of all · a process that was killed holds nothing that others wait for, longer than
 * PostgreSQL takes to notice · a database that is away is waited for · a stop waits for the hands that work, and gives up on a database
 * that does not answer.
 *
 * What has to be known of the library (0.17), each seen in its source and in jobs/jobs.test.ts:
 * - it ends jobs without waiting for the answer, and a failure of that would end our process as an unhandled rejection: so it
 *   ends them in batches, which it does wait for, and tries again;
 * - a pool that could not end a job in twenty tries stops: so it is opened again, in rounds;
 * - the jobs of a killed process stay locked for four hours: so each pool of hands holds a lock for as long as it may have any, and who
 *   sees a pool without one takes its jobs back. The lock has a session of its own: the library gives the connection on which it listens
 *   back before its hands have ended, to our pool of connections, which keeps it, and all its locks, long after the hands are gone;
 * - it handles SIGTERM by itself unless it is told not to.
 */
import { EventEmitter } from "node:events";
import type { Runner, TaskList, WorkerEvents, WorkerPool } from "graphile-worker";
import { type Log, type Rounds, startRounds } from "../platform/index.js";
import { connectionLost, type Storage } from "../storage/index.js";
import { lifeOf, queueSchema, releaseTheDead } from "./queries.js";

/** Jobs that one process runs at once. */
export const hands = 8;
/** Of these for one kind of work: others are never kept waiting by all tenants of one kind that hang. */
const handsOfOneKind = 4;
/** Levels of the library that are told. */
const loud: ReadonlySet<string> = new Set(["error", "warning"]);
/** How the library begins to warn, at each start, of hands that share connections: ours do, on purpose (docs/storage.md). */
const sharedConnections = "WARNING: having maxPoolSize";
/** A notice that was lost is made up for after this. */
const pollMs = 10_000;
const againMs = 1_000;
const deadLookMs = 5_000;
/** The database does not answer: what was done is done again by whoever comes next. */
const stopMsMax = 10_000;

export interface QueueOptions {
  readonly storage: Pick<Storage, "jobs" | "whileLocked">;
  readonly log: Pick<Log, "warn">;
  readonly tasks: TaskList;
}

export interface Queue {
  /** Whether it takes jobs out; undefined before it has tried. */
  readonly works: boolean | undefined;
  stop(): Promise<void>;
}

export function openQueue(options: QueueOptions): Queue {
  const { storage, log } = options;
  /** Undefined: not yet. */
  const state = { works: undefined as boolean | undefined };
  const dead = startRounds({
    pauseMs: deadLookMs,
    round: async () => void (await storage.jobs.query(releaseTheDead)),
    failed: (error) => {
      // That the database is away, the round below says.
      if (!connectionLost(error)) log.warn({ err: error }, "the jobs of a killed process cannot be taken back");
    },
  });
  const rounds: Rounds = startRounds({
    pauseMs: againMs,
    round: (signal) => work(options, signal, (works) => (state.works = works)),
    failed: (error) => {
      if (state.works !== false) log.warn({ err: error }, "the job queue is opened again");
      state.works = false;
    },
  });
  return {
    get works() {
      return state.works;
    },
    stop: async () => {
      await dead.stop();
      await rounds.stop();
    },
  };
}

/** Runs what is in the queue until the signal. */
async function work(options: QueueOptions, signal: AbortSignal, told: (works: boolean) => void): Promise<void> {
  const { storage, log, tasks } = options;
  // Loaded when first needed: a start does not wait for it.
  const { Logger, run } = await import("graphile-worker");
  if (signal.aborted) return;
  const events: WorkerEvents = new EventEmitter();
  const reach = new Reach(events);
  const life = new Life(options, { events, reach, told });
  try {
    const runner = await run({
      pgPool: storage.jobs,
      schema: queueSchema,
      taskList: tasks,
      concurrency: hands,
      pollInterval: pollMs,
      noHandleSignals: true,
      parsedCronItems: [],
      forbiddenFlags: () => reach.forbidden(Object.keys(tasks)),
      logger: new Logger(() => (level, message) => {
        if (loud.has(level) && !message.startsWith(sharedConnections)) log.warn({ message }, "the job queue");
      }),
      events,
      preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
    });
    const stopped = onAbort(signal, () => {
      reach.end();
      return stop(runner);
    });
    try {
      await Promise.race([runner.promise, stopped.done]);
    } finally {
      stopped.forget();
    }
  } finally {
    // Only now: whoever sees no life in a pool takes its jobs, and its hands have ended.
    await life.end();
    told(false);
  }
}

/** Shows others that a pool of hands lives: for as long as it does, a lock is held; its hands take nothing while it is not. */
class Life {
  readonly #options: QueueOptions;
  readonly #reach: Reach;
  readonly #told: (works: boolean) => void;
  #rounds: Rounds | undefined;

  constructor(options: QueueOptions, of: { events: WorkerEvents; reach: Reach; told: (works: boolean) => void }) {
    this.#options = options;
    this.#reach = of.reach;
    this.#told = of.told;
    of.events.on("pool:create", ({ workerPool }) => this.#begin(workerPool));
    of.events.on("pool:listen:success", ({ client, workerPool }) => {
      // What was put there before the library listened had no notice. Behind this answer it does: its next statement listens.
      client.query("select 1").then(() => nudge(workerPool), nothing);
    });
  }

  /** After the pool's hands have ended. */
  async end(): Promise<void> {
    await this.#rounds?.stop();
  }

  /** A lock whose session is lost is taken anew. It is shared, so that this need not wait until PostgreSQL has noticed the loss. */
  #begin(pool: WorkerPool): void {
    this.#rounds ??= startRounds({
      pauseMs: againMs,
      round: async (ending) => {
        const live = (lost: AbortSignal): Promise<void> => this.#live(AbortSignal.any([lost, ending]));
        await this.#options.storage.whileLocked(lifeOf(pool.id), live, { shared: true });
      },
      failed: (error) => {
        this.#told(false);
        this.#options.log.warn({ err: error }, "the job queue cannot be worked on");
      },
    });
  }

  async #live(end: AbortSignal): Promise<void> {
    this.#reach.open(true);
    this.#told(true);
    await aborted(end);
    this.#reach.open(false);
    this.#told(false);
  }
}

/** Hands that rest look into the queue. */
function nudge(pool: WorkerPool): void {
  try {
    pool.nudge(hands);
  } catch {
    // They have ended meanwhile.
  }
}

/**
 * What a hand may take out of the queue: of one kind so many, and nothing before others can see that we live. Hands reach out one
 * after the other, so that together they do not get more of a kind than each may.
 */
class Reach {
  readonly #taken = new Map<string, number>();
  readonly #waiting: (() => void)[] = [];
  #open = false;
  #ended = false;
  #reaching = false;

  constructor(events: WorkerEvents) {
    events.on("worker:getJob:empty", () => this.#reached());
    events.on("worker:getJob:error", () => this.#reached());
    events.on("job:start", ({ job }) => {
      this.#count(job.task_identifier, 1);
      this.#reached();
    });
    events.on("job:complete", ({ job }) => this.#count(job.task_identifier, -1));
  }

  open(open: boolean): void {
    this.#open = open;
    this.#next();
  }

  /** A stop waits for hands that reach out: they get nothing any more, so none of them is kept back. */
  end(): void {
    this.#ended = true;
    this.#next();
  }

  /** Resolves when it is this hand's turn, with the kinds it may not take. */
  async forbidden(kinds: readonly string[]): Promise<string[]> {
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
      this.#next();
    });
    return kinds.filter((kind) => (this.#taken.get(kind) ?? 0) >= handsOfOneKind);
  }

  #next(): void {
    if (!(this.#open || this.#ended) || this.#reaching) return;
    const next = this.#waiting.shift();
    this.#reaching = next !== undefined;
    next?.();
  }

  #reached(): void {
    this.#reaching = false;
    this.#next();
  }

  #count(kind: string, by: number): void {
    this.#taken.set(kind, (this.#taken.get(kind) ?? 0) + by);
  }
}

async function stop(runner: Runner): Promise<void> {
  runner.promise.catch(() => undefined); // whoever stops does not wait for what failed
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, stopMsMax)));
  await Promise.race([runner.stop().catch(() => undefined), late]); // it has ended already
  clearTimeout(timer);
}

function nothing(): void {
  // Whoever listens meets the same error.
}

async function aborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted)
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}

/** Begins `then` when the signal comes, now if it has come; `done` resolves at its end. */
function onAbort(signal: AbortSignal, then: () => Promise<void>): { readonly done: Promise<void>; forget(): void } {
  let begin = (): void => undefined;
  const done = new Promise<void>((resolve, reject) => {
    begin = () => void then().then(resolve, reject);
  });
  if (signal.aborted) begin();
  else signal.addEventListener("abort", begin, { once: true });
  return { done, forget: () => signal.removeEventListener("abort", begin) };
}
