/**
 * `server.lock`: one process at a time owns the embedded PostgreSQL of a data directory.
 *
 * Promises: the second is refused with the address of the first; a lock whose process has ended (told by number *and*
 * start time) is taken over; the file is complete or absent. Beneath it PostgreSQL's own interlock still holds.
 */
import {
  linkSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { failure } from "./failure.js";
import { isAlive, processStart } from "./processes.js";
import { deadlineIn, poll } from "./waiting.js";

export interface LockHolder {
  readonly pid: number;
  readonly start: string | undefined;
  /** Which numbers of processes it counts in: a container has its own. */
  readonly pidNamespace: string;
  /** The holder's purpose, and where it listens: `server at http://127.0.0.1:7117`. */
  readonly doing: string;
}

export interface ServerLock {
  /** Once the address is known (a port may be chosen by the system). */
  describe(doing: string): void;
  release(): void;
}

const TAKEOVER_STALE_MS = 5_000;

/** `foreignIsAlive`: whether a holder in another process namespace is alive, seen by its database answering. */
export async function acquireServerLock(
  dataDirectory: string,
  doing: string,
  foreignIsAlive: () => Promise<boolean>,
): Promise<ServerLock> {
  const file = join(dataDirectory, "server.lock");
  const mine: LockHolder = { pid: process.pid, start: processStart(process.pid), pidNamespace: pidNamespace(), doing };
  const done = await poll(deadlineIn(2 * TAKEOVER_STALE_MS), async () => {
    if (placeLock(file, mine)) return true;
    const holder = readHolder(file);
    if (holder !== undefined && (await holderIsAlive(holder, foreignIsAlive))) throw inUse(dataDirectory, holder);
    clearStale(file, holder);
    return undefined;
  });
  if (done !== true)
    throw failure(
      "data_directory_in_use",
      `\`${file}\` could not be taken over; remove it if no countersign server runs`,
    );
  return {
    describe: (now) => replaceLock(file, { ...mine, doing: now }),
    release: () => {
      if (readHolder(file)?.start === mine.start && readHolder(file)?.pid === mine.pid) rmSync(file, { force: true });
    },
  };
}

/** The process that holds the data directory now; undefined when no living process does. */
export async function currentHolder(
  dataDirectory: string,
  foreignIsAlive: () => Promise<boolean>,
): Promise<LockHolder | undefined> {
  const holder = readHolder(join(dataDirectory, "server.lock"));
  return holder !== undefined && (await holderIsAlive(holder, foreignIsAlive)) ? holder : undefined;
}

export function inUse(dataDirectory: string, holder: LockHolder): Error {
  return failure(
    "data_directory_in_use",
    `\`${dataDirectory}\` is in use by ${holder.doing} (process ${holder.pid}); stop that process, use its server, or set COUNTERSIGN_DATA to another directory`,
  );
}

async function holderIsAlive(holder: LockHolder, foreignIsAlive: () => Promise<boolean>): Promise<boolean> {
  if (holder.pidNamespace !== pidNamespace()) return foreignIsAlive();
  return isAlive(holder.pid) && processStart(holder.pid) === holder.start;
}

/** A hard link appears with its whole content or not at all, and never over another. */
function placeLock(file: string, holder: LockHolder): boolean {
  const partial = `${file}.${process.pid}.partial`;
  writeFileSync(partial, `${JSON.stringify(holder)}\n`, { mode: 0o600 });
  try {
    linkSync(partial, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    return false;
  } finally {
    rmSync(partial, { force: true });
  }
}

function replaceLock(file: string, holder: LockHolder): void {
  const partial = `${file}.${process.pid}.partial`;
  writeFileSync(partial, `${JSON.stringify(holder)}\n`, { mode: 0o600 });
  renameSync(partial, file);
}

/** Removes the stale lock that was read. A directory excludes others for that moment, so that nobody removes a fresh one. */
function clearStale(file: string, stale: LockHolder | undefined): void {
  const guard = `${file}.takeover`;
  try {
    mkdirSync(guard);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    removeOldGuard(guard);
    return;
  }
  try {
    if (JSON.stringify(readHolder(file)) === JSON.stringify(stale)) rmSync(file, { force: true });
  } finally {
    rmdirSync(guard);
  }
}

/** It is held for microseconds. One that is seconds old belongs to a process that was killed while holding it. */
function removeOldGuard(guard: string): void {
  try {
    if (Date.now() - statSync(guard).mtimeMs > TAKEOVER_STALE_MS) rmdirSync(guard);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error; // ENOENT: given back meanwhile
  }
}

function readHolder(file: string): LockHolder | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as LockHolder;
  } catch {
    return undefined; // absent, or not written by us: nobody is alive who could be named
  }
}

function pidNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "one"; // systems without namespaces
  }
}
