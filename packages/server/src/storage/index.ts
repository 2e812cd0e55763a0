/**
 * Storage: the program's one PostgreSQL, embedded or by URL.
 *
 * Promises: after `openStorage` the database answers and its roles exist (the schema is brought up by `migrate`) · `close` ends every
 * connection, also those that hold locks; and if this process started or adopted the embedded server, the server too.
 */
import pg from "pg";
import type { Log } from "../platform/index.js";
import {
  applicationPoolLimits,
  asidePoolLimits,
  inTenant,
  inTenants,
  jobPoolLimits,
  openPool,
  ownerPoolLimits,
  withSnapshot,
  type PoolLimits,
  type SnapshotClient,
} from "./connections.js";
import { attachEmbedded, startEmbedded, type EmbeddedOptions } from "./embedded.js";
import { openExternal } from "./external.js";
import { type Locks, openLocks } from "./lock.js";
import { readServerFacts, type ServerFacts } from "./queries.js";
import { supervise } from "./supervisor.js";
import { acquireServerLock, currentHolder, inUse } from "./serverLock.js";

export {
  ask,
  connect,
  connectionLost,
  unavailable,
  withSnapshot,
  writeOperational,
  type SnapshotClient,
} from "./connections.js";
export {
  assertSchemaCurrent,
  createMigration,
  migrateDown,
  migrateUp,
  migrationStatus,
  readMigrations,
  type MigrationStatus,
} from "./migrations.js";
export { isHeld } from "./lock.js";
export { hasEmbeddedCluster } from "./embedded.js";
export { dumpSchema } from "./schemaDump.js";
export { tables, tableClasses, type GovernedTable, type TableClass, type TableName } from "./tables.js";

export interface StorageConfig {
  /** From `openDataDirectory`. */
  readonly dataDirectory: string;
  /** DATABASE_URL; without it the embedded PostgreSQL is used. */
  readonly databaseUrl?: string | undefined;
  /** A login of its own for the application's role on that server. */
  readonly applicationDatabaseUrl?: string | undefined;
  /**
   * This process's purpose, shown to another process that is refused because of us: `server at http://…`, `countersign
   * migrate`.
   */
  readonly doing: string;
  /** A command joins the embedded server of a running process instead of being refused, and leaves it running. */
  readonly mayJoin?: boolean;
  /** Where a PostgreSQL that had to be started again is reported. */
  readonly log?: Log;
  readonly embedded?: EmbeddedOptions;
  readonly poolLimits?: PoolLimits;
}

export interface StorageDescription extends ServerFacts {
  readonly kind: "embedded" | "external";
  /** Socket directory or host. Never a password. */
  readonly at: string;
  /** Embedded: whether this process started the server, found it running, or joined another's. */
  readonly how: "started" | "adopted" | "joined" | "connected";
}

export interface Storage {
  readonly kind: "embedded" | "external";
  /** Login of the application's role; for connections of one's own (the door, LISTEN). */
  readonly applicationLogin: pg.ClientConfig;
  readonly ownerLogin: pg.ClientConfig;
  /** The application's role; in pipeline mode. */
  readonly app: pg.Pool;
  /** The owner's pool; for migrations and questions about the whole database. */
  readonly owner: pg.Pool;
  describe(): Promise<StorageDescription>;
  /** One repeatable-read, read-only transaction that sees `tenant` alone. */
  withSnapshot<T>(tenant: string, read: (client: SnapshotClient) => Promise<T>): Promise<T>;
  /**
   * A short transaction of its own on `tenant`, for rows that are not governed: content, operational rows. It may be
   * used while a snapshot is held: its connections are a pool apart, so that holders of snapshots cannot wait for each
   * other for ever.
   */
  inTenant<T>(tenant: string, work: (client: SnapshotClient) => Promise<T>): Promise<T>;
  /** Runs `use` while a lock of the database is held by a connection of its own; not at all while somebody else holds it. */
  readonly whileLocked: Locks["whileLocked"];
  /** The same over several tenants, for one question to all of them. */
  inTenants<T>(tenants: readonly string[], work: (client: SnapshotClient) => Promise<T>): Promise<T>;
  /** The application's role, for the job queue alone: one of its connections listens all the time. */
  readonly jobs: pg.Pool;
  /** Embedded: what a refused second process is told from now on. */
  nameYourself(doing: string): void;
  close(): Promise<void>;
}

interface Opened {
  readonly kind: "embedded" | "external";
  readonly how: StorageDescription["how"];
  readonly at: string;
  readonly owner: pg.ClientConfig;
  readonly application: pg.ClientConfig;
  readonly poolLimits?: PoolLimits | undefined;
  readonly nameYourself?: (doing: string) => void;
  readonly close?: () => Promise<void>;
}

export async function openStorage(config: StorageConfig): Promise<Storage> {
  if (config.databaseUrl !== undefined) {
    const external = await openExternal(config.databaseUrl, config.applicationDatabaseUrl);
    const at = new pg.Client(external.owner).host;
    return storageOver({
      kind: "external",
      how: "connected",
      at,
      owner: external.owner,
      application: external.application,
      poolLimits: config.poolLimits,
    });
  }
  return storageOver({ ...(await openEmbedded(config)), poolLimits: config.poolLimits });
}

async function openEmbedded(config: StorageConfig): Promise<Opened> {
  const { dataDirectory } = config;
  const answers = async (): Promise<boolean> => (await attachEmbedded(dataDirectory)) !== undefined;
  if (config.mayJoin === true) {
    const holder = await currentHolder(dataDirectory, answers);
    const joined = holder && (await attachEmbedded(dataDirectory));
    if (joined) return { kind: "embedded", how: "joined", at: String(joined.owner.host), ...joined };
    if (holder) throw inUse(dataDirectory, holder);
  }
  const lock = await acquireServerLock(dataDirectory, config.doing, answers);
  try {
    const embedded = await startEmbedded(dataDirectory, config.embedded);
    const { cluster, owner, application } = embedded;
    const endWatch = supervise(embedded, config.log);
    const close = async (): Promise<void> => {
      try {
        await endWatch();
        await embedded.stop();
      } finally {
        lock.release();
      }
    };
    return {
      kind: "embedded",
      how: cluster.how,
      at: cluster.socketDirectory,
      owner,
      application,
      close,
      nameYourself: lock.describe,
    };
  } catch (error) {
    lock.release();
    throw error;
  }
}

/** Storage over logins that exist. Opens no connection yet. */
export function storageOver(opened: Opened): Storage {
  const app = openPool(opened.application, "countersign", opened.poolLimits ?? applicationPoolLimits);
  const aside = openPool(opened.application, "countersign aside", asidePoolLimits);
  const jobs = openPool(opened.application, "countersign jobs", jobPoolLimits);
  const owner = openPool(opened.owner, "countersign owner", ownerPoolLimits);
  const locks = openLocks(opened.application);
  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    await Promise.all([app.end(), aside.end(), jobs.end(), owner.end(), locks.close()]);
    await opened.close?.();
  };
  return {
    kind: opened.kind,
    applicationLogin: opened.application,
    ownerLogin: opened.owner,
    app,
    owner,
    jobs,
    describe: async () => ({ kind: opened.kind, how: opened.how, at: opened.at, ...(await readServerFacts(owner)) }),
    withSnapshot: (tenant, read) => withSnapshot(app, tenant, read),
    inTenant: (tenant, work) => inTenant(aside, tenant, work),
    whileLocked: locks.whileLocked,
    inTenants: (tenants, work) => inTenants(aside, tenants, work),
    nameYourself: (doing) => opened.nameYourself?.(doing),
    close: () => (closing ??= close()),
  };
}
