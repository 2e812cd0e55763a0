/**
 * One embedded PostgreSQL cluster as a set of processes and files: made once, started or adopted, stopped.
 *
 * Promises:
 * - A cluster is complete or absent: initdb works in a directory of another name that is then renamed.
 * - It listens on a Unix socket in a 0700 directory and on nothing else, and asks for a password (SCRAM) there too.
 * - Whatever was killed before (this program, the postmaster, both, the machine), `startCluster` ends with a running
 *   server, or within its deadline with an error that says why.
 * - fsync, full_page_writes and synchronous_commit are on: acknowledged commits are on the disk.
 */
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import pg from "pg";
import type { Binaries } from "./binaries.js";
import type { RunAs } from "./osUser.js";
import { isAlive, postgresProcessesIn, processStart } from "./processes.js";
import { failure } from "./failure.js";
import { deadlineIn, poll, type Deadline } from "./waiting.js";

/** The bootstrap superuser. Only this module logs in as it: to make roles and the database. */
export const SUPERUSER = "countersign_superuser";

const PORT = 5432; // names the socket file; nothing listens on TCP
/** `sun_path` holds 104 bytes on macOS, 108 on Linux, the terminating zero included; the file in it is `/.s.PGSQL.5432`. */
const SOCKET_DIRECTORY_BYTES_MAX = 103 - "/.s.PGSQL.5432".length;
const LOG_BYTES_MAX = 10 * 1024 * 1024;
const START_DEADLINE_MS = 120_000; // recovery replays at most about max_wal_size; 3.4 GB took 18 s
const STOP_DEADLINE_MS = 30_000;

export interface ClusterPlan {
  /**
   * The folder of everything that belongs to PostgreSQL: `data`, `log`, usually the socket; owned by the user who runs
   * it, 0700.
   */
  readonly home: string;
  readonly binaries: Binaries;
  readonly runAs: RunAs | undefined;
  readonly superuserPassword: string;
  /** Further settings, `name=value`. Tests use it; the product passes none. */
  readonly settings?: readonly string[];
  readonly startDeadlineMs?: number;
}

export interface RunningCluster {
  readonly socketDirectory: string;
  readonly port: number;
  readonly dataDirectory: string;
  readonly logFile: string;
  readonly pid: number;
  /** How this process came by it. */
  readonly how: "started" | "adopted";
  /** Whether its server still runs. */
  alive(): boolean;
  /** Fast shutdown; resolves when the server is gone. Idempotent. */
  stop(): Promise<void>;
}

export const dataDirectoryOf = (home: string): string => join(home, "data");
export const logFileOf = (home: string): string => join(home, "log", "postgresql.log");

/** True when `home` holds a finished cluster. */
export function clusterExists(home: string): boolean {
  return existsSync(join(dataDirectoryOf(home), "PG_VERSION"));
}

/** Makes the cluster unless it is there. 0.6 s. */
export function createCluster(plan: ClusterPlan): "created" | "existed" {
  makeOwned(plan.home, plan.runAs);
  makeOwned(dirname(logFileOf(plan.home)), plan.runAs);
  const data = dataDirectoryOf(plan.home);
  if (clusterExists(plan.home)) {
    refuseOtherMajor(data, plan.binaries);
    return "existed";
  }
  const partial = `${data}.partial`;
  const passwordFile = join(plan.home, "initdb-password");
  // Removes only the remains of a killed initdb: the finished cluster has another name.
  rmSync(partial, { recursive: true, force: true });
  rmSync(passwordFile, { force: true });
  writeFileSync(passwordFile, `${plan.superuserPassword}\n`, { mode: 0o600, flag: "wx" });
  if (plan.runAs !== undefined) chownSync(passwordFile, plan.runAs.uid, plan.runAs.gid);
  const made = spawnSync(
    plan.binaries.initdb,
    [
      ...[
        "-D",
        partial,
        "-U",
        SUPERUSER,
        "--pwfile",
        passwordFile,
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--data-checksums",
      ],
      // Sorting and case rules by code point, shipped in PostgreSQL: the same on every machine and after every upgrade of its libc.
      ...["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"],
    ],
    { ...asUser(plan.runAs), cwd: plan.home, encoding: "utf8" },
  );
  rmSync(passwordFile, { force: true });
  if (made.status !== 0) {
    rmSync(partial, { recursive: true, force: true });
    const why = (made.error?.message ?? `${made.stderr}${made.stdout}`).trim();
    throw failure("postgres_start_failed", `initdb could not create \`${data}\`: ${lastLines(why, 5)}`, {
      cause: made.error,
    });
  }
  renameSync(partial, data);
  return "created";
}

function refuseOtherMajor(data: string, binaries: Binaries): void {
  const major = Number(readFileSync(join(data, "PG_VERSION"), "utf8").trim());
  if (major === binaries.major) return;
  throw failure(
    "postgres_start_failed",
    `\`${data}\` was made by PostgreSQL ${major}, and this Countersign ships ${binaries.major}; ` +
      "back it up with the Countersign that made it and restore the backup here",
  );
}

/**
 * Gives the superuser the plan's password, for a credentials file that was lost. Needs no password, because this user
 * may read the files; only while no server runs.
 */
export function resetSuperuserPassword(plan: ClusterPlan): void {
  const data = realpathSync(dataDirectoryOf(plan.home));
  const found = readPostmasterFile(data);
  if (found !== undefined && serverMayRun(data, found.pid)) {
    throw failure(
      "postgres_start_failed",
      `the passwords of \`${data}\` are lost and its server (process ${found.pid}) still runs; end it with \`kill -INT ${found.pid}\` and start again`,
    );
  }
  removeStaleLock(data, found);
  const done = spawnSync(plan.binaries.postgres, ["--single", "-D", data, "postgres"], {
    ...asUser(plan.runAs),
    cwd: data,
    encoding: "utf8",
    input: `alter role ${SUPERUSER} password '${plan.superuserPassword}'\n`,
  });
  if (done.status === 0 && !/ERROR|FATAL|PANIC/.test(done.stderr)) return;
  throw failure("postgres_start_failed", `\`${data}\` could not be opened: ${lastLines(done.stderr, 5)}`);
}

/** Starts the server of an existing cluster, or adopts the one that still runs. */
export async function startCluster(plan: ClusterPlan): Promise<RunningCluster> {
  const deadline = deadlineIn(plan.startDeadlineMs ?? START_DEADLINE_MS);
  // PostgreSQL stands in its real path, and that is how its processes are recognised.
  const data = realpathSync(dataDirectoryOf(plan.home));
  let refusal = "PostgreSQL did not get ready in time";
  while (!deadline.passed()) {
    const found = readPostmasterFile(data);
    if (found !== undefined && serverMayRun(data, found.pid)) {
      const ready = await waitUntilReady(plan, found.socketDirectory, found.pid, deadline);
      if (ready) return running(plan, { data, socketDirectory: found.socketDirectory, pid: found.pid, how: "adopted" });
      refusal = `process ${found.pid} holds the database and does not answer`;
      continue;
    }
    await endOrphans(data, deadline);
    removeStaleLock(data, found);
    const socketDirectory = prepareSocketDirectory(plan);
    const child = spawnPostgres(plan, data, socketDirectory);
    const pid = child.pid;
    if (
      pid !== undefined &&
      (await waitUntilReady(plan, socketDirectory, pid, deadline, () => child.exitCode !== null))
    ) {
      return running(plan, { data, socketDirectory, pid, how: "started" });
    }
    refusal = lastLines(tail(logFileOf(plan.home)), 8);
    // A postmaster that was killed leaves backends that notice within moments; until then the next one is refused.
    if (!/lock file|pre-existing shared memory|is another (postmaster|postgres)/i.test(refusal)) break;
    await poll(deadlineIn(200), () => undefined);
  }
  throw failure(
    "postgres_start_failed",
    `PostgreSQL in \`${data}\` did not start; its log \`${logFileOf(plan.home)}\` ends: ${refusal}`,
  );
}

/** A server that another process runs: its socket directory, if the server is there and answers. Starts nothing. */
export async function findRunningCluster(
  home: string,
  superuserPassword: string,
): Promise<{ socketDirectory: string } | undefined> {
  if (!clusterExists(home)) return undefined;
  const found = readPostmasterFile(realpathSync(dataDirectoryOf(home)));
  if (found === undefined) return undefined;
  const state = await probe(found.socketDirectory, superuserPassword);
  return state === "ready" ? { socketDirectory: found.socketDirectory } : undefined;
}

interface PostmasterFile {
  readonly pid: number;
  readonly socketDirectory: string;
}

/** postmaster.pid: pid, data directory, start time, port, socket directory, listen address, shared memory, status. */
function readPostmasterFile(data: string): PostmasterFile | undefined {
  let lines: string[];
  try {
    lines = readFileSync(join(data, "postmaster.pid"), "utf8").split("\n");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  const pid = Number(lines[0]);
  if (!Number.isSafeInteger(pid) || pid <= 0) return undefined;
  return { pid, socketDirectory: lines[4] ?? "" };
}

/** Whether the process of postmaster.pid can be our server. The number alone may belong to somebody else by now. */
function serverMayRun(data: string, pid: number): boolean {
  const processes = postgresProcessesIn(data);
  return processes === undefined ? isAlive(pid) : processes.includes(pid);
}

/**
 * Backends outlive a killed postmaster: idle ones by moments, one at work until its statement is done. Starting over them
 * would corrupt the cluster; PostgreSQL refuses, and so do we. SIGQUIT is what a postmaster itself sends them when one of them crashes.
 */
async function endOrphans(data: string, deadline: Deadline): Promise<void> {
  const gone = await poll(deadline, () => {
    const orphans = postgresProcessesIn(data) ?? [];
    for (const pid of orphans) signalIfThere(pid, "SIGQUIT");
    return orphans.length === 0 || undefined;
  });
  if (gone) return;
  const left = postgresProcessesIn(data) ?? [];
  throw failure(
    "postgres_start_failed",
    `processes ${left.join(", ")} of a killed PostgreSQL still work in \`${data}\`; end them`,
  );
}

/**
 * After kill -9 the number in postmaster.pid may have been given to another process of the same user, and PostgreSQL
 * then refuses to start for ever (the usual case: containers, where numbers begin at 1 each time). On Linux we have just
 * seen that no PostgreSQL process stands in the directory, and the data directory's own lock keeps other starters out.
 */
function removeStaleLock(data: string, found: PostmasterFile | undefined): void {
  if (found === undefined || postgresProcessesIn(data) === undefined) return;
  rmSync(join(data, "postmaster.pid"), { force: true });
  if (found.socketDirectory !== "") rmSync(join(found.socketDirectory, `.s.PGSQL.${PORT}.lock`), { force: true });
}

/** `home/socket`, or where that is too long for a Unix socket a directory in the runtime or temporary directory. */
function prepareSocketDirectory(plan: ClusterPlan): string {
  const beside = join(plan.home, "socket");
  if (Buffer.byteLength(beside) <= SOCKET_DIRECTORY_BYTES_MAX) {
    makeOwned(beside, plan.runAs);
    return beside;
  }
  // Device and inode name this directory among all of the machine, and stay the same from start to start.
  const { dev, ino } = statSync(plan.home);
  const name = `countersign-${dev.toString(36)}-${ino.toString(36)}`;
  const runtime = plan.runAs === undefined ? process.env["XDG_RUNTIME_DIR"] : undefined;
  const short = [runtime, tmpdir(), "/tmp"]
    .filter((parent) => parent !== undefined && parent !== "" && existsSync(parent))
    .map((parent) => join(parent as string, name))
    .find((path) => Buffer.byteLength(path) <= SOCKET_DIRECTORY_BYTES_MAX);
  if (short === undefined) {
    throw failure(
      "postgres_start_failed",
      `\`${beside}\` and \`${tmpdir()}\` are too long for a Unix socket; set COUNTERSIGN_DATA to a shorter path`,
    );
  }
  makeOwned(short, plan.runAs);
  return short;
}

/**
 * A 0700 directory of the user who runs PostgreSQL. In /tmp anybody could have made it before us: such a directory is
 * refused.
 */
function makeOwned(path: string, runAs: RunAs | undefined): void {
  mkdirSync(path, { recursive: true, mode: 0o700 });
  const found = lstatSync(path);
  const owner = runAs?.uid ?? process.getuid?.() ?? found.uid;
  if (!found.isDirectory() || (found.uid !== owner && found.uid !== process.getuid?.())) {
    throw failure(
      "data_directory_unusable",
      `\`${path}\` is not a directory of this user (owner ${found.uid}); remove it`,
    );
  }
  if (runAs !== undefined && found.uid !== runAs.uid) chownSync(path, runAs.uid, runAs.gid);
  chmodSync(path, 0o700);
}

function settings(socketDirectory: string): string[] {
  return [
    "listen_addresses=",
    `unix_socket_directories="${socketDirectory.replaceAll('"', '""')}"`,
    "unix_socket_permissions=0700",
    `port=${PORT}`,
    "cluster_name=countersign",
    "max_connections=100",
    "max_wal_size=1GB",
    "fsync=on",
    "full_page_writes=on",
    "synchronous_commit=on",
    "timezone=UTC",
    "log_timezone=UTC",
    "jit=off",
    // Tables start empty and grow fast: without statistics the planner takes indexes that read a whole tenant.
    "autovacuum_naptime=5s",
    "logging_collector=off",
    "log_destination=stderr",
    // A statement or a key in the log would be somebody's data outside the database.
    "log_error_verbosity=terse",
    "log_min_error_statement=panic",
  ];
}

function spawnPostgres(plan: ClusterPlan, data: string, socketDirectory: string): ReturnType<typeof spawn> {
  writeAccessRules(plan, data);
  const log = openLog(plan);
  try {
    const chosen = [...settings(socketDirectory), ...(plan.settings ?? [])];
    const child = spawn(plan.binaries.postgres, ["-D", data, ...chosen.flatMap((setting) => ["-c", setting])], {
      ...asUser(plan.runAs),
      cwd: data,
      // A session of its own: Ctrl-C in the terminal reaches this program first, which then ends PostgreSQL in order.
      detached: true,
      stdio: ["ignore", log, log],
    });
    child.on("error", (error) =>
      writeFileSync(logFileOf(plan.home), `could not execute: ${error.message}\n`, { flag: "a" }),
    );
    child.unref();
    if (child.pid !== undefined) endWithThisProcess(child.pid);
    return child;
  } finally {
    closeSync(log);
  }
}

/**
 * The rules for connecting: a user must reach the socket (a 0700 directory) and know a password. There is no network
 * line at all.
 */
function writeAccessRules(plan: ClusterPlan, data: string): void {
  const file = join(data, "pg_hba.conf");
  const next = `${file}.next`;
  writeFileSync(next, "# Written by Countersign at every start.\nlocal all all scram-sha-256\n", { mode: 0o600 });
  if (plan.runAs !== undefined) chownSync(next, plan.runAs.uid, plan.runAs.gid);
  renameSync(next, file);
}

function openLog(plan: ClusterPlan): number {
  const file = logFileOf(plan.home);
  if (existsSync(file) && statSync(file).size > LOG_BYTES_MAX) renameSync(file, `${file}.1`);
  const log = openSync(file, "a", 0o600);
  if (plan.runAs !== undefined) chownSync(file, plan.runAs.uid, plan.runAs.gid);
  return log;
}

type Probe = "ready" | "starting" | "away";

/** One attempt to log in. 57P03: starting up, recovering or shutting down. */
async function probe(socketDirectory: string, password: string): Promise<Probe> {
  const client = new pg.Client({
    ...{ host: socketDirectory, port: PORT, user: SUPERUSER, password, database: "postgres" },
    connectionTimeoutMillis: 5_000,
    application_name: "countersign start",
  });
  client.on("error", () => undefined); // the connection may break after the answer; nothing is asked of it any more
  try {
    await client.connect();
    return "ready";
  } catch (error) {
    const code = (error as { code?: string }).code;
    if (code === "57P03") return "starting";
    if (code === "28P01" || code === "28000") {
      throw failure(
        "postgres_start_failed",
        `the embedded PostgreSQL at \`${socketDirectory}\` refuses the stored password; restore \`postgres-credentials.json\` in the data directory`,
        { cause: error },
      );
    }
    return "away"; // no socket yet, refused, timed out: the caller's deadline decides
  } finally {
    await client.end().catch(() => undefined); // never connected: there is nothing to end
  }
}

/** True when the server of process `pid` answers; false when the process has ended (or, for one that runs, is ending). */
async function waitUntilReady(
  plan: ClusterPlan,
  socketDirectory: string,
  pid: number,
  deadline: Deadline,
  ended?: () => boolean,
): Promise<boolean> {
  const answer = await poll(deadline, async () => {
    if (ended?.() === true || !isAlive(pid)) return "ended";
    return (await probe(socketDirectory, plan.superuserPassword)) === "ready" ? "ready" : undefined;
  });
  return answer === "ready";
}

/** Servers of this process that it has not stopped, each with its start: a number may belong to another by now. */
const unstopped = new Map<number, string | undefined>();

/**
 * If this process ends before it has stopped the server, for example by an interrupted command, it tells the server to
 * end as well.
 */
function endWithThisProcess(pid: number): void {
  if (unstopped.size === 0) process.once("exit", endUnstopped);
  unstopped.set(pid, processStart(pid));
}

function endUnstopped(): void {
  for (const [pid, start] of unstopped)
    if (start !== undefined && processStart(pid) === start) signalIfThere(pid, "SIGINT");
}

function running(
  plan: ClusterPlan,
  found: { data: string; socketDirectory: string; pid: number; how: "started" | "adopted" },
): RunningCluster {
  endWithThisProcess(found.pid);
  let stopping: Promise<void> | undefined;
  const start = processStart(found.pid);
  return {
    socketDirectory: found.socketDirectory,
    port: PORT,
    dataDirectory: found.data,
    logFile: logFileOf(plan.home),
    pid: found.pid,
    how: found.how,
    alive: () => isAlive(found.pid) && processStart(found.pid) === start,
    stop: () => (stopping ??= stopServer(found.data, found.pid)),
  };
}

/** SIGINT is PostgreSQL's fast shutdown: sessions end, a checkpoint is written. SIGQUIT when that takes too long: the next start recovers. */
async function stopServer(data: string, pid: number): Promise<void> {
  for (const signal of ["SIGINT", "SIGQUIT"] as const) {
    if (!serverMayRun(data, pid)) return stoppedHere(pid);
    signalIfThere(pid, signal);
    if (await poll(deadlineIn(STOP_DEADLINE_MS), () => !isAlive(pid) || undefined)) return stoppedHere(pid);
  }
  throw failure("postgres_start_failed", `PostgreSQL process \`${pid}\` in \`${data}\` does not end`);
}

function stoppedHere(pid: number): void {
  unstopped.delete(pid);
  if (unstopped.size === 0) process.off("exit", endUnstopped);
}

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function asUser(runAs: RunAs | undefined): { uid?: number; gid?: number; env: NodeJS.ProcessEnv } {
  // PostgreSQL does not get our environment: PG* variables would redirect it, and LD_* and locale variables would
  // change its behaviour.
  const env = { PATH: process.env["PATH"] ?? "/usr/bin:/bin", LC_ALL: "C", TZ: "UTC" };
  return runAs === undefined ? { env } : { uid: runAs.uid, gid: runAs.gid, env };
}

function tail(file: string): string {
  if (!existsSync(file)) return "";
  const handle = openSync(file, "r");
  try {
    const { size } = fstatSync(handle);
    const buffer = Buffer.alloc(Math.min(size, 4096));
    readSync(handle, buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString("utf8");
  } finally {
    closeSync(handle);
  }
}

function lastLines(text: string, count: number): string {
  return text.trim().split("\n").slice(-count).join("\n");
}
