/**
 * The embedded PostgreSQL of one data directory: where its cluster lies, who runs it, its passwords, its roles.
 *
 * Promises: works as root and as an ordinary user, also below a 0700 home; nobody but the user who runs PostgreSQL and
 * this user reaches the socket, and nobody without the stored password (0600) gets in.
 *
 * Where the cluster lies. As an ordinary user: `<data>/postgres`. As root PostgreSQL runs as another user, who must be
 * able to reach it: `<data>/postgres` if every directory above the data directory lets others pass (the data directory
 * itself then gets mode 0711: pass, not look), else `/var/lib/countersign/<id>`. The choice is written down once, in
 * `<data>/postgres.json`, and kept for ever.
 */
import { randomBytes, randomUUID } from "node:crypto";
import { chmodSync, existsSync, linkSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import pg from "pg";
import { binariesFor, installedBinaries } from "./binaries.js";
import {
  clusterExists,
  createCluster,
  dataDirectoryOf,
  findRunningCluster,
  resetSuperuserPassword,
  startCluster,
  SUPERUSER,
  type ClusterPlan,
  type RunningCluster,
} from "./cluster.js";
import { failure } from "./failure.js";
import { canTraverse, runAsUser, type RunAs } from "./osUser.js";
import { APPLICATION_ROLE, createDatabaseIfAbsent, createEmbeddedRoles, OWNER_ROLE } from "./roles.js";

/** The database in the embedded cluster. */
export const DATABASE = "countersign";
const PORT = 5432;
/** Where clusters lie whose data directory PostgreSQL's user cannot reach. */
const SHARED_STATE = "/var/lib/countersign";

export interface EmbeddedOptions {
  /** Further PostgreSQL settings, `name=value`; for tests. */
  readonly settings?: readonly string[];
  readonly startDeadlineMs?: number;
}

export interface Embedded {
  /** The server that runs now. */
  readonly cluster: RunningCluster;
  /** Logs in as superuser; for making databases. */
  readonly superuser: pg.ClientConfig;
  readonly owner: pg.ClientConfig;
  readonly application: pg.ClientConfig;
  /** True when this start made the cluster. */
  readonly created: boolean;
  /** Starts the server again if it has ended under us (killed, out of memory): same place, same logins. */
  revive(): Promise<"alive" | "revived">;
  stop(): Promise<void>;
}

interface Credentials {
  readonly superuser: string;
  readonly owner: string;
  readonly application: string;
}

/** Creates (first time), starts or adopts the PostgreSQL of `dataDirectory`, which the caller has locked. */
export async function startEmbedded(dataDirectory: string, options: EmbeddedOptions = {}): Promise<Embedded> {
  const place = choosePlace(dataDirectory);
  const passwordsLost = clusterExists(place.home) && !existsSync(credentialsFile(dataDirectory));
  const credentials = readOrMakeCredentials(dataDirectory);
  const plan: ClusterPlan = {
    home: place.home,
    runAs: place.runAs,
    binaries: binariesFor(installedBinaries(), place.runAs, place.home),
    superuserPassword: credentials.superuser,
    ...options,
  };
  const created = createCluster(plan) === "created";
  if (passwordsLost) resetOrForget(plan, dataDirectory);
  let cluster = await startCluster(plan);
  let stopping = false;
  const logins = loginsAt(cluster.socketDirectory, credentials);
  try {
    await prepareDatabase(logins, credentials);
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  return {
    get cluster() {
      return cluster;
    },
    ...logins,
    created,
    revive: async () => {
      if (stopping || cluster.alive()) return "alive";
      cluster = await startCluster(plan);
      return "revived";
    },
    stop: () => {
      stopping = true;
      return cluster.stop();
    },
  };
}

/** New credentials count only once the cluster knows them. */
function resetOrForget(plan: ClusterPlan, dataDirectory: string): void {
  try {
    resetSuperuserPassword(plan);
  } catch (error) {
    rmSync(credentialsFile(dataDirectory), { force: true });
    throw error;
  }
}

/** The logins of a cluster that another process runs; undefined when none answers. */
export async function attachEmbedded(
  dataDirectory: string,
): Promise<Pick<Embedded, "owner" | "application"> | undefined> {
  if (!existsSync(placeFile(dataDirectory)) || !existsSync(credentialsFile(dataDirectory))) return undefined;
  const credentials = readOrMakeCredentials(dataDirectory);
  const found = await findRunningCluster(choosePlace(dataDirectory).home, credentials.superuser);
  return found && loginsAt(found.socketDirectory, credentials);
}

interface Logins {
  readonly superuser: pg.ClientConfig;
  readonly owner: pg.ClientConfig;
  readonly application: pg.ClientConfig;
}

function loginsAt(socketDirectory: string, credentials: Credentials): Logins {
  const at = { host: socketDirectory, port: PORT };
  return {
    superuser: { ...at, user: SUPERUSER, password: credentials.superuser, database: "postgres" },
    owner: { ...at, user: OWNER_ROLE, password: credentials.owner, database: DATABASE },
    application: { ...at, user: APPLICATION_ROLE, password: credentials.application, database: DATABASE },
  };
}

async function prepareDatabase(logins: Logins, credentials: Credentials): Promise<void> {
  const client = new pg.Client({ ...logins.superuser, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    await createEmbeddedRoles(client, credentials);
    await createDatabaseIfAbsent(client, DATABASE);
  } finally {
    await client.end();
  }
}

interface Place {
  readonly home: string;
  readonly runAs: RunAs | undefined;
}

const placeFile = (dataDirectory: string): string => join(dataDirectory, "postgres.json");
const credentialsFile = (dataDirectory: string): string => join(dataDirectory, "postgres-credentials.json");

/** Whether a server of ours was ever started on the data directory. Makes nothing. */
export function hasEmbeddedCluster(dataDirectory: string): boolean {
  const file = placeFile(dataDirectory);
  return existsSync(file) && clusterExists(readJson<{ home: string }>(file).home);
}

function choosePlace(dataDirectory: string): Place {
  const file = placeFile(dataDirectory);
  if (!existsSync(file)) writeOnce(file, { home: freshHome(dataDirectory) });
  const { home } = readJson<{ home: string }>(file);
  checkOwnership(home, dataDirectory);
  const data = dataDirectoryOf(home);
  const runAs = runAsUser(existsSync(data) ? statSync(data).uid : undefined);
  if (runAs !== undefined && dirname(home) === dataDirectory) openForPassing(dataDirectory, runAs);
  return { home, runAs };
}

function freshHome(dataDirectory: string): string {
  const runAs = runAsUser();
  if (runAs === undefined || canTraverse(dirname(dataDirectory), runAs)) return join(dataDirectory, "postgres");
  return join(SHARED_STATE, randomUUID());
}

/** A cluster outside its data directory says whose it is: a copied data directory must not open the original's database. */
function checkOwnership(home: string, dataDirectory: string): void {
  if (dirname(home) === dataDirectory) return;
  const claim = `${home}.of`;
  mkdirSync(dirname(home), { recursive: true, mode: 0o711 });
  if (!existsSync(claim)) writeFileSync(claim, `${dataDirectory}\n`, { mode: 0o600, flag: "wx" });
  const owner = readFileSync(claim, "utf8").trim();
  if (owner === dataDirectory) return;
  throw failure(
    "data_directory_unusable",
    `the database \`${home}\` belongs to the data directory \`${owner}\`, not to \`${dataDirectory}\`; if you moved it, write the new path into \`${claim}\`; if you copied it, restore a backup instead`,
  );
}

/** Lets PostgreSQL's user pass through (not list, not read) the data directory. */
function openForPassing(dataDirectory: string, runAs: RunAs): void {
  const { mode, uid } = statSync(dataDirectory);
  if (uid !== runAs.uid) chmodSync(dataDirectory, (mode & 0o777) | 0o011);
}

function readOrMakeCredentials(dataDirectory: string): Credentials {
  const file = credentialsFile(dataDirectory);
  const secret = (): string => randomBytes(24).toString("base64url");
  if (!existsSync(file)) writeOnce(file, { superuser: secret(), owner: secret(), application: secret() });
  return readJson<Credentials>(file);
}

/** The file is complete or absent, and never replaces an existing one: two processes that start at once agree. */
function writeOnce(file: string, value: unknown): void {
  const partial = `${file}.${process.pid}.partial`;
  writeFileSync(partial, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600, flush: true });
  try {
    linkSync(partial, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(partial, { force: true });
  }
}

function readJson<T>(file: string): T {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as T;
  } catch (cause) {
    throw failure(
      "data_directory_unusable",
      `\`${file}\` cannot be read; restore it from a backup of the data directory`,
      { cause },
    );
  }
}
