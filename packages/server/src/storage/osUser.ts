/**
 * Chooses the operating-system user that runs the embedded PostgreSQL, and finds the folders that this user can reach.
 * PostgreSQL refuses to run as root. Promises: as an ordinary user nothing changes hands; as root the process runs as
 * `postgres` if the machine knows one, else as `nobody`, and an existing cluster always as its owner.
 */
import { readFileSync, realpathSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { failure } from "./failure.js";

/** A user to drop to; undefined in the callers means "the user we are". */
export interface RunAs {
  readonly uid: number;
  readonly gid: number;
  readonly name: string;
}

interface PasswdEntry extends RunAs {
  readonly home: string;
}

function passwdEntries(): PasswdEntry[] {
  const entries: PasswdEntry[] = [];
  for (const line of readFileSync("/etc/passwd", "utf8").split("\n")) {
    const [name, , uid, gid, , home] = line.split(":");
    if (name === undefined || uid === undefined || gid === undefined || !/^-?\d+$/.test(uid) || !/^-?\d+$/.test(gid))
      continue;
    // macOS writes nobody as -2; the system calls take it unsigned.
    entries.push({ name, uid: Number(uid) >>> 0, gid: Number(gid) >>> 0, home: home ?? "/" });
  }
  return entries;
}

export function isRoot(): boolean {
  return process.getuid?.() === 0;
}

/**
 * The user the embedded PostgreSQL runs as. `ownerUid` is the owner of a cluster that exists already.
 * Undefined when the current user simply runs it.
 */
export function runAsUser(ownerUid?: number): RunAs | undefined {
  if (!isRoot()) return undefined;
  const entries = passwdEntries();
  if (ownerUid !== undefined && ownerUid !== 0) {
    return entries.find((entry) => entry.uid === ownerUid) ?? { uid: ownerUid, gid: ownerUid, name: String(ownerUid) };
  }
  const found = entries.find((entry) => entry.name === "postgres") ?? entries.find((entry) => entry.name === "nobody");
  if (found === undefined) {
    throw failure(
      "postgres_start_failed",
      "PostgreSQL does not run as root, and this machine has neither a user `postgres` nor `nobody`; " +
        "start countersign as an ordinary user, add such a user, or set DATABASE_URL",
    );
  }
  return { uid: found.uid, gid: found.gid, name: found.name };
}

/** Whether `user` may pass through every directory down to and including `path` (symlinks resolved). */
export function canTraverse(path: string, user: RunAs): boolean {
  let directory = realpathSync(path);
  for (;;) {
    const { mode, uid, gid } = statSync(directory);
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) return false;
    const parent = dirname(directory);
    if (parent === directory) return true;
    directory = parent;
  }
}
