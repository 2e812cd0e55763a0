/**
 * A lock that the database holds for one session: a connection of its own, for as long as something runs that must not run twice.
 *
 * Promises: nobody else has the lock while that session lives, whatever clocks and lease rows say · it is free again when the session has
 * ended, also with the process that held it · who loses the session is told by a signal.
 */
import { sha256Hex } from "@countersign/proof";
import pg from "pg";
import { connectionLost, unavailable } from "./connections.js";

/** A database that does not answer is away, not slow. */
const connectMsMax = 10_000;
/** A connection that says nothing is asked whether it is there after this time. */
const keepAliveMs = 10_000;
/** How long the database may take to say goodbye: a connection that is half open never does. */
const endMsMax = 5_000;

export type Locked<T> = { readonly kind: "held"; readonly result: T } | { readonly kind: "taken" };

/** Runs `use` while the lock of this name is held. `taken`: somebody else holds it, and `use` was not called. `lost` is aborted when the session ends underway. */
export async function whileLocked<T>(
  login: pg.ClientConfig,
  name: string,
  use: (lost: AbortSignal) => Promise<T>,
): Promise<Locked<T>> {
  const lost = new AbortController();
  const client = new pg.Client({
    ...login,
    application_name: "countersign lock",
    connectionTimeoutMillis: connectMsMax,
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveMs,
  });
  client.on("error", () => lost.abort());
  client.on("end", () => lost.abort());
  try {
    if (!(await take(client, name))) return { kind: "taken" };
    return { kind: "held", result: await use(lost.signal) };
  } finally {
    await end(client);
  }
}

async function take(client: pg.Client, name: string): Promise<boolean> {
  const key = BigInt.asIntN(64, BigInt(`0x${sha256Hex(`countersign lock ${name}`).slice(0, 16)}`));
  try {
    await client.connect();
    const { rows } = await client.query<{ taken: boolean }>("select pg_try_advisory_lock($1) as taken", [`${key}`]);
    return rows[0]?.taken === true;
  } catch (error) {
    throw connectionLost(error) ? unavailable(error) : error;
  }
}

/** The lock goes with the session. */
async function end(client: pg.Client): Promise<void> {
  const late = setTimeout(() => client.connection.stream.destroy(), endMsMax);
  try {
    await client.end();
  } catch {
    // It has ended already.
  } finally {
    clearTimeout(late);
  }
}
