/**
 * Locks that the database holds for one session: a connection of its own, for as long as something runs that must not run twice. Every
 * lock that outlasts a statement is one of these; only the migrations' lies on the connection that migrates.
 *
 * Promises: nobody else has the lock while that session lives, whatever clocks and lease rows say · it is free again when `use` has ended,
 * when the process that held it has, and when storage is closed · a holder that loses its session is told by a signal; one whose connection
 * says nothing any more is told before the database gives the lock to somebody else · nothing here waits for a database that does not answer.
 */
import { sha256Hex } from "@countersign/proof";
import pg from "pg";
import { realTimers, type Timers } from "../platform/index.js";
import { connectionLost, unavailable } from "./connections.js";

/** A database that does not answer is away, not slow. */
const connectMsMax = 10_000;
/** The holder asks whether its session is there, so often; and how long it waits for an answer. */
const beatMs = 5_000;
const answerMsMax = 5_000;
/** How long the database may take to say goodbye: a connection that is half open never does. */
const endMsMax = 5_000;
/**
 * When the database ends a session whose other end says nothing: left to itself, it would hold the lock for more than two hours.
 * INVARIANT: longer than `beatMs` and `answerMsMax` together, so that the holder has been told.
 */
const deadMs = { idle: 10_000, between: 5_000, probes: 2 };

export type Locked<T> = { readonly kind: "held"; readonly result: T } | { readonly kind: "taken" };

export interface LockOptions {
  /** Holders of a shared lock do not exclude each other. */
  readonly shared?: boolean;
}

export interface Locks {
  /** Runs `use` while the lock of this name is held. `taken`: somebody else holds it, and `use` was not called. `lost` is aborted when the session ends underway. */
  whileLocked<T>(name: string, use: (lost: AbortSignal) => Promise<T>, options?: LockOptions): Promise<Locked<T>>;
  /** Ends the sessions of all locks held: their holders are told. */
  close(): Promise<void>;
}

export function openLocks(login: pg.ClientConfig, timers: Timers = realTimers): Locks {
  const held = new Set<Session>();
  let closed = false;
  return {
    whileLocked: async (name, use, { shared = false } = {}) => {
      if (closed) throw unavailable(new Error("the connection to it was closed"));
      const session = new Session(login, timers);
      held.add(session);
      try {
        if (!(await session.take(name, shared))) return { kind: "taken" };
        return { kind: "held", result: await use(session.lost) };
      } finally {
        held.delete(session);
        await session.end();
      }
    },
    close: async () => {
      closed = true;
      await Promise.all([...held].map((session) => session.end()));
    },
  };
}

/** A connection that holds one lock. */
class Session {
  readonly #client: pg.Client;
  readonly #timers: Timers;
  readonly #lost = new AbortController();
  #endBeats: () => void = () => undefined;

  constructor(login: pg.ClientConfig, timers: Timers) {
    this.#timers = timers;
    this.#client = new pg.Client({
      ...login,
      application_name: "countersign lock",
      connectionTimeoutMillis: connectMsMax,
    });
    this.#client.on("error", () => undefined); // its end follows
    this.#client.on("end", () => this.#lost.abort());
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  async take(name: string, shared: boolean): Promise<boolean> {
    try {
      await this.#client.connect();
      const { rows } = await this.#within(answerMsMax, () =>
        this.#client.query<{ taken: boolean }>(takeLock(shared), [lockKey(name)]),
      );
      if (rows[0]?.taken !== true) return false;
      this.#endBeats = this.#timers.every(beatMs, () => this.#beat());
      return true;
    } catch (error) {
      throw connectionLost(error) ? unavailable(error) : error;
    }
  }

  /** The lock goes with the session. */
  async end(): Promise<void> {
    this.#endBeats();
    this.#lost.abort();
    // It may have ended already.
    await this.#within(endMsMax, () => this.#client.end()).catch(() => undefined);
  }

  async #beat(): Promise<void> {
    // An answer that does not come ends the connection, and that is told.
    await this.#within(answerMsMax, () => this.#client.query("select 1")).catch(() => undefined);
  }

  /** The connection is ended when the answer does not come in time. */
  async #within<T>(ms: number, ask: () => Promise<T>): Promise<T> {
    const endLimit = this.#timers.after(ms, () => {
      this.#lost.abort();
      this.#client.connection.stream.destroy();
    });
    try {
      return await ask();
    } finally {
      endLimit();
    }
  }
}

/** One round trip: the session learns when to give up on us, and takes the lock or not. The settings say nothing over a socket of this machine, where the system tells. */
function takeLock(shared: boolean): string {
  const { idle, between, probes } = deadMs;
  return `select pg_try_advisory_lock${shared ? "_shared" : ""}($1) as taken,
       set_config('tcp_keepalives_idle', '${idle / 1000}', false), set_config('tcp_keepalives_interval', '${between / 1000}', false),
       set_config('tcp_keepalives_count', '${probes}', false), set_config('tcp_user_timeout', '${idle + between * probes}', false)`;
}

/** What PostgreSQL calls a lock: a number. */
function lockKey(name: string): string {
  return `${BigInt.asIntN(64, BigInt(`0x${sha256Hex(`countersign lock ${name}`).slice(0, 16)}`))}`;
}

/** SQL: whether anybody in this database holds the lock whose name the expression gives. */
export function isHeld(name: string): string {
  return `exists (
  select from pg_locks as l
   where l.locktype = 'advisory' and l.granted and l.objsubid = 1 and l.database = (select oid from pg_database where datname = current_database())
     and (l.classid::bigint << 32) | l.objid::bigint
       = ('x' || encode(substr(sha256(convert_to('countersign lock ' || ${name}, 'UTF8')), 1, 8), 'hex'))::bit(64)::bigint)`;
}
