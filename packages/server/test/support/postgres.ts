/**
 * A throw-away PostgreSQL for tests: the embedded one, one cluster a test file, one database a `createDatabase()`.
 *
 * The cluster is copied from a template directory that is made once per version of the binaries and of initdb's
 * arguments; the migrations run once a cluster, into a template database.
 *
 * With COUNTERSIGN_TEST_DATABASE_URL (a user who may create roles and databases) that PostgreSQL is used instead.
 */
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { sha256Hex } from "@countersign/proof";
import pg from "pg";
import { afterAll } from "vitest";
import { installedBinaries } from "../../src/storage/binaries.js";
import { startEmbedded, type Embedded } from "../../src/storage/embedded.js";
import { openExternal, switchingUrl } from "../../src/storage/external.js";
import { migrateUp, storageOver, type Storage } from "../../src/storage/index.js";
import { isAlive } from "../../src/storage/processes.js";
import { OWNER_ROLE, quoteIdentifier } from "../../src/storage/roles.js";
import { problemsWithEvents } from "./eventCatalogue.js";
import { testSettings } from "./testSettings.js";

export interface TestDatabase {
  readonly name: string;
  /** Connection strings, for processes of their own. */
  readonly ownerUrl: string;
  readonly appUrl: string;
  readonly owner: pg.ClientConfig;
  readonly app: pg.ClientConfig;
  /** Bypasses row-level security and grants: for tests that tamper. */
  readonly superuser: pg.ClientConfig;
  readonly storage: Storage;
  /** Ends its connections and drops it. */
  close(): Promise<void>;
}

export interface DatabaseOptions {
  readonly migrated?: boolean;
  /** A copy of that one as it is now: an older backup, when it goes on. Its connections are ended. */
  readonly copyOf?: TestDatabase;
}

export interface TestPostgres {
  readonly kind: "embedded" | "external";
  /** The embedded cluster, for tests that stop or kill it. */
  readonly embedded?: Embedded;
  /** Where it lies; `startEmbedded(dataDirectory)` starts it again after it was killed. */
  readonly dataDirectory?: string;
  createDatabase(options?: DatabaseOptions): Promise<TestDatabase>;
  close(): Promise<void>;
}

export { testSettings };

const directories = new Set<string>();
let shared: Promise<TestPostgres> | undefined;
/** Told at the end of the file: a database goes in the middle of a test, whose own failure comes first. */
const uncatalogued = new Set<string>();
afterAll(async () => {
  await (await shared)?.close();
  removeDirectories();
  if (uncatalogued.size > 0)
    throw new Error(`entries that are not as the catalogue of events says:\n${[...uncatalogued].join("\n")}`);
});
process.once("exit", removeDirectories);

/** The PostgreSQL of this test file; made at the first call, ended after its last test. */
export function testPostgres(): Promise<TestPostgres> {
  return (shared ??= startTestPostgres());
}

/** A database of one's own in it, migrated unless told otherwise. */
export async function createDatabase(options?: DatabaseOptions): Promise<TestDatabase> {
  return (await testPostgres()).createDatabase(options);
}

/** A PostgreSQL of one's own, for tests that kill it. The caller closes it. */
export async function startTestPostgres(): Promise<TestPostgres> {
  const url = process.env["COUNTERSIGN_TEST_DATABASE_URL"];
  return url === undefined || url === "" ? embeddedPostgres() : externalPostgres(url);
}

const PREFIX = "cs-test-";

/** A fresh directory that goes with the test file; others may pass through it, as PostgreSQL's own user must when the tests run as root. */
export function temporaryDirectory(): string {
  const directory = join(tmpdir(), `${PREFIX}${process.pid}-${randomUUID().slice(0, 8)}`);
  mkdirSync(directory, { mode: 0o711 });
  chmodSync(directory, 0o711);
  directories.add(directory);
  return directory;
}

/** A data directory holding a finished cluster that is not started. */
export async function clusterCopy(): Promise<string> {
  sweepAfterTheKilled();
  await makeClusterTemplate();
  const template = clusterTemplate();
  const dataDirectory = join(temporaryDirectory(), "data");
  execFileSync("cp", ["-Rp", template, dataDirectory]); // keeps the owners, which Node's cp does not
  return dataDirectory;
}

async function embeddedPostgres(): Promise<TestPostgres> {
  const dataDirectory = await clusterCopy();
  const embedded = await startEmbedded(dataDirectory, { settings: testSettings });
  const { superuser } = embedded;
  const logins = (database: string): Logins => ({
    superuser: { ...superuser, database },
    owner: { ...embedded.owner, database },
    app: { ...embedded.application, database },
  });
  const databases = databasesIn({ kind: "embedded", admin: superuser, ownedBy: OWNER_ROLE, logins });
  const close = async (): Promise<void> => {
    await databases.close();
    await embedded.stop();
    removeWithPostgres(dirname(dataDirectory));
  };
  return { kind: "embedded", embedded, dataDirectory, createDatabase: databases.create, close };
}

async function externalPostgres(url: string): Promise<TestPostgres> {
  const { owner, facts } = await openExternal(url);
  const logins = (database: string): Logins => {
    const there = new URL(url.replace("@/", "@localhost/"));
    there.pathname = `/${database}`;
    const login = { connectionString: there.href };
    return { superuser: login, owner: login, app: { connectionString: switchingUrl(there.href) } };
  };
  const databases = databasesIn({ kind: "external", admin: owner, ownedBy: facts.user, logins });
  return { kind: "external", createDatabase: databases.create, close: databases.close };
}

interface Logins {
  readonly superuser: pg.ClientConfig;
  readonly owner: pg.ClientConfig;
  readonly app: pg.ClientConfig;
}

interface Server {
  readonly kind: "embedded" | "external";
  readonly admin: pg.ClientConfig;
  readonly ownedBy: string;
  readonly logins: (database: string) => Logins;
}

function databasesIn(server: Server): {
  create(options?: DatabaseOptions): Promise<TestDatabase>;
  close(): Promise<void>;
} {
  const template = `cs_template_${randomUUID().replaceAll("-", "")}`;
  const open = new Set<TestDatabase>();
  let migrated: Promise<void> | undefined;

  const makeTemplate = async (): Promise<void> => {
    await admin(
      server,
      `create database ${template} owner ${quoteIdentifier(server.ownedBy)} encoding 'UTF8' template template0`,
    );
    await withClient(server.logins(template).owner, (client) =>
      migrateUp(client, { appVersion: "test", nowMs: Date.now }),
    );
  };
  const create = async (options: DatabaseOptions = {}): Promise<TestDatabase> => {
    if (options.migrated !== false) await (migrated ??= makeTemplate());
    const from = options.copyOf?.name ?? (options.migrated === false ? "template0" : template);
    // PostgreSQL copies no database that somebody is connected to.
    if (options.copyOf !== undefined)
      await admin(server, `select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = '${from}'`);
    const name = `cs_${randomUUID().replaceAll("-", "")}`;
    await admin(
      server,
      `create database ${name} owner ${quoteIdentifier(server.ownedBy)} encoding 'UTF8' template ${from}`,
    );
    const logins = server.logins(name);
    const storage = storageOver({
      kind: server.kind,
      how: "connected",
      at: "test",
      owner: logins.owner,
      application: logins.app,
    });
    const database: TestDatabase = {
      name,
      ...logins,
      ownerUrl: urlOf(logins.owner),
      appUrl: urlOf(logins.app),
      storage,
      close: async () => {
        if (!open.delete(database)) return;
        await holdAgainstCatalogue(database);
        await storage.close();
        await admin(server, `drop database if exists ${name} with (force)`);
      },
    };
    open.add(database);
    return database;
  };
  const close = async (): Promise<void> => {
    for (const database of open) await holdAgainstCatalogue(database);
    // The embedded cluster goes as a whole, and may have been killed; a server of somebody's own is left as it was found.
    if (server.kind === "embedded") await Promise.all([...open].map((database) => database.storage.close()));
    else {
      for (const database of open) await database.close();
      await admin(server, `drop database if exists ${template} with (force)`);
    }
  };
  return { create, close };
}

/** Nothing to look at when the cluster was killed, or has no ledger. */
async function holdAgainstCatalogue({ superuser }: TestDatabase): Promise<void> {
  await withClient(superuser, async (client) => {
    for (const problem of await problemsWithEvents(client)) uncatalogued.add(problem);
  }).catch((error: unknown) => {
    const code = (error as { code?: string }).code ?? "";
    if (!["ECONNREFUSED", "ENOENT", "ECONNRESET", "42P01", "3F000", "57P01", "57P03", "3D000"].includes(code))
      throw error;
  });
}

async function admin(server: Server, statement: string): Promise<void> {
  await withClient(server.admin, (client) => client.query(statement));
}

/** A connection for the time of `work`. */
export async function withClient<T>(login: pg.ClientConfig, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(login);
  client.on("error", () => undefined); // the server may be killed under it; its queries report that
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined); // the server may be gone
  }
}

function urlOf(login: pg.ClientConfig): string {
  if (login.connectionString !== undefined) return login.connectionString;
  const { user, password, host, port, database } = login;
  return `postgres://${user}:${encodeURIComponent(String(password))}@localhost:${port}/${database}?host=${encodeURIComponent(String(host))}`;
}

/** The version of the binaries and the code that makes a cluster: anything else needs another template. */
function clusterTemplate(): string {
  const source = ["cluster", "embedded", "roles"].map((name) =>
    readFileSync(fileURLToPath(new URL(`../../src/storage/${name}.ts`, import.meta.url)), "utf8"),
  );
  const key = sha256Hex([installedBinaries().version, ...source].join("\0")).slice(0, 12);
  return join(tmpdir(), `cs-template-${process.getuid?.() ?? 0}-${key}`);
}

async function makeClusterTemplate(): Promise<void> {
  const template = clusterTemplate();
  if (existsSync(template)) return;
  const made = join(temporaryDirectory(), "data");
  mkdirSync(made, { mode: 0o700 });
  const embedded = await startEmbedded(made, { settings: testSettings });
  await embedded.stop();
  rmSync(join(made, "postgres.json")); // names the place: each copy chooses its own
  try {
    renameSync(made, template);
  } catch (error) {
    if (!existsSync(template)) throw error; // else another worker was first: its template is as good
  }
}

const DAY_MS = 24 * 60 * 60 * 1000;

/** A test run that was killed leaves its PostgreSQL and its directory; the next run ends them. Templates of old code go after a day. */
function sweepAfterTheKilled(): void {
  for (const name of readdirSync(tmpdir())) {
    const path = join(tmpdir(), name);
    const pid = new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) removeWithPostgres(path);
    if (name.startsWith(`cs-template-${process.getuid?.() ?? 0}-`) && path !== clusterTemplate() && isOld(path)) {
      rmSync(path, { recursive: true, force: true });
    }
  }
}

function isOld(path: string): boolean {
  return Date.now() - (statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0) > DAY_MS;
}

function removeDirectories(): void {
  for (const directory of directories) removeWithPostgres(directory);
  directories.clear();
}

/** Removes a directory that a PostgreSQL may still use: its server is killed first, wherever below it lies. */
export function removeWithPostgres(directory: string): void {
  const files = existsSync(directory) ? readdirSync(directory, { recursive: true, encoding: "utf8" }) : [];
  for (const file of files.filter((name) => name.endsWith("postmaster.pid"))) {
    try {
      process.kill(Number(readFileSync(join(directory, file), "utf8").split("\n")[0]), "SIGQUIT");
    } catch {
      // not running, or its number belongs to somebody else by now: only the files are left
    }
  }
  rmSync(directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });
}
