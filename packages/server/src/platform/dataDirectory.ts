/**
 * The data directory: this installation's keys, credentials, embedded database and backups.
 * Promises: outside any workspace, of one user, closed to everybody else. Moving the default would lose people's data:
 * it never changes.
 */
import { chmodSync, mkdirSync, realpathSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, isAbsolute, join, resolve } from "node:path";
import { refused, RefusalError } from "@countersign/contract";

export interface DataDirectoryRequest {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly platform: NodeJS.Platform;
  readonly home: string;
}

/** The path, without touching it: COUNTERSIGN_DATA, else the platform's usual place. */
export function dataDirectoryPath(
  request: DataDirectoryRequest = { env: process.env, platform: process.platform, home: homedir() },
): string {
  const { env, platform, home } = request;
  const chosen = env["COUNTERSIGN_DATA"];
  if (chosen !== undefined && chosen !== "") return resolve(chosen);
  if (platform === "darwin") return join(home, "Library", "Application Support", "countersign");
  if (platform === "win32") return join(env["LOCALAPPDATA"] ?? join(home, "AppData", "Local"), "countersign");
  const xdg = env["XDG_DATA_HOME"];
  // XDG Base Directory Specification: relative paths are invalid and ignored.
  return join(xdg !== undefined && isAbsolute(xdg) ? xdg : join(home, ".local", "share"), "countersign");
}

/** Makes the directory (0700), or checks the existing one. Returns its real path. */
export function openDataDirectory(path: string): string {
  try {
    // Only the directory itself is closed: parents made 0700 would shut out the user the embedded PostgreSQL runs as.
    mkdirSync(dirname(path), { recursive: true });
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    throw unusable(
      `cannot create the data directory \`${path}\`; set COUNTERSIGN_DATA to a directory this user can write`,
      cause,
    );
  }
  const real = realpathSync(path);
  const { uid, mode } = statSync(real);
  if (process.platform === "win32") return real;
  const own = process.getuid?.();
  if (own !== 0 && uid !== own) {
    throw unusable(`the data directory \`${real}\` belongs to user ${uid}; run as that user or set COUNTERSIGN_DATA`);
  }
  if ((mode & 0o002) !== 0) {
    // Somebody else may already have put a key or a database of theirs here: closing the directory now would not help.
    throw unusable(
      `anybody may write to the data directory \`${real}\`; look through it, then run \`chmod 700 '${real}'\``,
    );
  }
  // As root the pass-through bit may be there: the embedded PostgreSQL's own user has to reach its directory.
  const allowed = own === 0 ? 0o711 : 0o700;
  if ((mode & 0o777 & ~allowed) !== 0) chmodSync(real, mode & allowed);
  return real;
}

function unusable(message: string, cause?: unknown): RefusalError {
  const refusal = refused("data_directory_unusable", message);
  return cause === undefined ? new RefusalError(refusal) : new RefusalError(refusal, { cause });
}
