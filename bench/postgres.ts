/** One embedded PostgreSQL with the settings a server runs with: fsync and synchronous_commit on. */
import { randomUUID } from "node:crypto";
import { chmodSync, mkdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { startEmbedded } from "../packages/server/src/storage/embedded.js";
import { migrateUp, storageOver } from "../packages/server/src/storage/index.js";
import { OWNER_ROLE } from "../packages/server/src/storage/roles.js";
import type { BenchDatabase } from "./row.js";

export interface BenchPostgres {
  readonly version: string;
  database(options?: { empty?: boolean }): Promise<BenchDatabase>;
  close(): Promise<void>;
}

export async function startBenchPostgres(): Promise<BenchPostgres> {
  const directory = join(tmpdir(), `countersign-bench-${process.pid}-${randomUUID().slice(0, 8)}`);
  mkdirSync(directory, { mode: 0o711 });
  chmodSync(directory, 0o711);
  const dataDirectory = join(directory, "data");
  mkdirSync(dataDirectory, { mode: 0o711 });
  const embedded = await startEmbedded(dataDirectory);
  const admin = new pg.Client(embedded.superuser);
  await admin.connect();
  const fsync = await admin.query<{ fsync: string; version: string }>(
    "select current_setting('fsync') as fsync, current_setting('server_version') as version",
  );
  if (fsync.rows[0]?.fsync !== "on") throw new Error("a benchmark without fsync says nothing");

  const database = async (options: { empty?: boolean } = {}): Promise<BenchDatabase> => {
    const name = `bench_${randomUUID().replaceAll("-", "")}`;
    await admin.query(`create database ${name} owner ${OWNER_ROLE} encoding 'UTF8' template template0`);
    const [owner, app, superuser] = [embedded.owner, embedded.application, embedded.superuser].map((login) => ({
      ...login,
      database: name,
    })) as [pg.ClientConfig, pg.ClientConfig, pg.ClientConfig];
    if (options.empty !== true)
      await withClient(owner, (client) => migrateUp(client, { appVersion: "bench", nowMs: Date.now }));
    const storage = storageOver({ kind: "embedded", how: "connected", at: "bench", owner, application: app });
    const close = async (): Promise<void> => {
      await storage.close();
      await admin.query(`drop database ${name} with (force)`);
    };
    return { owner, app, superuser, storage, close };
  };
  const close = async (): Promise<void> => {
    await admin.end();
    await embedded.stop();
    rmSync(directory, { recursive: true, force: true });
  };
  return { version: fsync.rows[0].version, database, close };
}

export async function withClient<T>(login: pg.ClientConfig, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(login);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
