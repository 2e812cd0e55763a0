/**
 * Connections to the one database: the application's pool, the owner's, and snapshots of one tenant.
 *
 * Promises: a snapshot is one repeatable-read, read-only transaction in which row-level security shows one tenant ·
 * a database that is away is `database_unavailable` (503, Retry-After), and pools recover by themselves · a connection
 * goes back to its pool without a transaction, or is destroyed.
 */
import { RefusalError } from "@countersign/contract";
import pg from "pg";
import { failure } from "./failure.js";

export interface PoolLimits {
  /** Most connections at once. */
  readonly connectionsMax: number;
  /** How long a caller waits for a connection. */
  readonly waitMs: number;
}

export const applicationPoolLimits: PoolLimits = { connectionsMax: 16, waitMs: 10_000 };
/** For `inTenant`: its work is short and never waits for another connection. */
export const asidePoolLimits: PoolLimits = { connectionsMax: 6, waitMs: 10_000 };
/** For the job queue: one listens all the time, two ask and answer. A job's own work uses the other pools. */
export const jobPoolLimits: PoolLimits = { connectionsMax: 3, waitMs: 10_000 };
export const ownerPoolLimits: PoolLimits = { connectionsMax: 2, waitMs: 10_000 };

/** A snapshot's interface: questions to the database. */
export interface SnapshotClient {
  query<R extends pg.QueryResultRow>(
    statement: string | pg.QueryConfig,
    values?: unknown[],
  ): Promise<pg.QueryResult<R>>;
}

const TENANT = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const RETRY_AFTER_SECONDS = 2;

export function openPool(login: pg.ClientConfig, name: string, limits: PoolLimits): pg.Pool {
  const pool = new pg.Pool({
    ...login,
    max: limits.connectionsMax,
    connectionTimeoutMillis: limits.waitMs,
    idleTimeoutMillis: 60_000,
    application_name: name,
    keepAlive: true,
    // Statements of one transaction are sent without waiting for each other's answers: begin, setting and first query are one round trip.
    pipeline: true,
  });
  // An idle connection that breaks is dropped from the pool; the next caller opens another and meets the error if it persists.
  pool.on("error", () => undefined);
  // A connection that breaks while somebody holds it says so twice: to the statement that waits, which reports it, and here; unheard, it would end the process.
  pool.on("connect", (client) => client.on("error", () => undefined));
  return pool;
}

/** Runs `read` in a snapshot of `tenant`. Two round trips around its own queries, the first shared with the first of them. */
export async function withSnapshot<T>(
  pool: pg.Pool,
  tenant: string,
  read: (client: SnapshotClient) => Promise<T>,
): Promise<T> {
  const begin = `begin isolation level repeatable read read only; ${settingTenants([tenant])}`;
  const client = await connect(pool);
  const together = oneWrite(client);
  let broken: Error | undefined;
  // The asker gets the error at once, because `read` may hand its questions on to others and itself end well.
  const told = (error: unknown): unknown => {
    if (!connectionLost(error)) return error;
    broken ??= error as Error;
    return unavailable(error);
  };
  together();
  const opening = client.query(begin);
  // Awaited below; a query sent behind it fails as well, and its error must not reach the process as unhandled.
  opening.catch(() => undefined);
  try {
    const answer = await read({
      query: async (statement, values) => {
        together();
        try {
          return await client.query(statement as string, values);
        } catch (error) {
          throw told(error);
        }
      },
    });
    await opening;
    return answer;
  } catch (error) {
    throw told(error);
  } finally {
    // Nothing was written: there is nothing to wait for. The next user's statements queue behind it on the same connection.
    if (broken === undefined) {
      together();
      client.query("commit").catch(() => undefined);
    }
    client.release(broken);
  }
}

/**
 * Called before a statement is sent. All statements sent on the connection, until every task that can run now has run,
 * leave in one write. One by one, a create made eleven writes for four round trips, a seventh of the process's time;
 * the server was woken for each, too.
 */
function oneWrite({ connection: { stream } }: pg.PoolClient): () => void {
  let waiting = false;
  const send = (): void => {
    waiting = false;
    stream.uncork();
  };
  return () => {
    if (waiting) return;
    waiting = true;
    stream.cork();
    // After the microtasks, because the answers that have just come start those.
    queueMicrotask(() => process.nextTick(send));
  };
}

/** Runs `work` in a transaction that may write what is not governed of `tenant`: content, operational rows. */
export function inTenant<T>(pool: pg.Pool, tenant: string, work: (client: SnapshotClient) => Promise<T>): Promise<T> {
  return inTenants(pool, [tenant], work);
}

/** The same over several tenants: a question to all of them at once. */
export async function inTenants<T>(
  pool: pg.Pool,
  tenants: readonly string[],
  work: (client: SnapshotClient) => Promise<T>,
): Promise<T> {
  const begin = `begin; ${settingTenants(tenants)}`;
  const client = await connect(pool);
  let broken = true;
  try {
    await client.query(begin);
    const answer = await work({ query: (statement, values) => client.query(statement as string, values) });
    await client.query("commit");
    broken = false;
    return answer;
  } catch (error) {
    throw connectionLost(error) ? unavailable(error) : error;
  } finally {
    // After an error the connection may be inside a broken transaction: it is not given back.
    client.release(broken);
  }
}

/** Row-level security shows `tenants` until the transaction ends. Part of the statement that begins it: one round trip for both. */
function settingTenants(tenants: readonly string[]): string {
  // INVARIANT: what goes into the statement is lower-case UUIDs and nothing else.
  for (const tenant of tenants) if (!TENANT.test(tenant)) throw new Error(`\`${tenant}\` is not a tenant id`);
  return `select set_config('app.tenants', '{${tenants.join(",")}}', true)`;
}

/** A connection of the pool, or `database_unavailable`. */
export async function connect(pool: pg.Pool): Promise<pg.PoolClient> {
  try {
    return await pool.connect();
  } catch (error) {
    throw connectionLost(error) ? unavailable(error) : error;
  }
}

/** One statement that writes operational or attached rows of a tenant, past the door: nothing a decision is made from. */
export async function writeOperational(
  pool: pg.Pool,
  tenant: string,
  statement: { readonly name: string; readonly text: string; readonly values: readonly unknown[] },
): Promise<number> {
  const { rowCount } = await inTenant(pool, tenant, (client) =>
    client.query({ ...statement, values: [...statement.values] }),
  );
  return rowCount ?? 0;
}

/** Runs one statement on the pool; for readiness and other questions that belong to no tenant. */
export async function ask<R extends pg.QueryResultRow>(
  pool: pg.Pool,
  statement: string,
  values?: unknown[],
): Promise<pg.QueryResult<R>> {
  try {
    return await pool.query<R>(statement, values);
  } catch (error) {
    throw connectionLost(error) ? unavailable(error) : error;
  }
}

/** SQLSTATE class 08 connection, 53 resources, 57P01..57P05 shutdown and recovery: the statement may succeed elsewhere or later. */
const AWAY_STATES = /^(08...|53300|57P0[1-5])$/;
const AWAY_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ENOENT",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
]);
const AWAY_MESSAGES =
  /connection terminated|timeout expired|timeout exceeded when trying to connect|client has encountered a connection error|connection ended|not queryable|client was closed|connection error/i;

/** Whether an error of the driver says that the database is away (rather than that a statement was wrong). */
export function connectionLost(error: unknown): boolean {
  // A refusal quotes the driver: it was told from its error already.
  if (!(error instanceof Error) || error instanceof RefusalError) return false;
  const { code } = error as NodeJS.ErrnoException;
  if (code !== undefined && (AWAY_STATES.test(code) || AWAY_CODES.has(code))) return true;
  return !(error instanceof pg.DatabaseError) && AWAY_MESSAGES.test(error.message);
}

/** The typed refusal for a database that is away. */
export function unavailable(cause: unknown): Error {
  const why = cause instanceof Error ? cause.message : String(cause);
  return failure(
    "database_unavailable",
    `the database does not answer (${why}); it is tried again with every request`,
    {
      cause,
      retryAfterSeconds: RETRY_AFTER_SECONDS,
    },
  );
}
