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
  });
  client.on("error", () => lost.abort());
  client.on("end", () => lost.abort());
  try {
    if (!(await take(client, name))) return { kind: "taken" };
    return { kind: "held", result: await use(lost.signal) };
  } finally {
    // The lock goes with the session. One that has ended says so again; nobody needs to know.
    await client.end().catch(() => undefined);
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
