/**
 * Files that survive a power failure: written whole, brought to the disk, then given their name. Promises: a reader
 * finds a file whole or not at all; when a function here resolves, the file it wrote survives a crash.
 */
import { randomUUID } from "node:crypto";
import { link, mkdir, open, readFile, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";

/** Brings the names in a folder to the disk. */
export async function syncFolder(folder: string): Promise<void> {
  // Windows has no way to do it; NTFS journals names itself.
  if (process.platform === "win32") return;
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Makes `folder` and the missing folders above it, up to `root`, which must exist. */
export async function makeFolder(folder: string, root: string, mode = 0o777): Promise<void> {
  if (folder === root) return;
  try {
    await mkdir(folder, { mode });
  } catch (error) {
    if (hasCode(error, "EEXIST")) return;
    if (!hasCode(error, "ENOENT") || dirname(folder) === folder) throw error;
    await makeFolder(dirname(folder), root, mode);
    return makeFolder(folder, root, mode);
  }
  await syncFolder(dirname(folder));
}

/** Writes a new file. False: a file of that name exists, and was left unchanged. */
export async function writeOnce(path: string, bytes: Uint8Array | string, mode = 0o666): Promise<boolean> {
  const partial = await writePartial(path, bytes, mode);
  try {
    await link(partial, path);
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    throw error;
  } finally {
    await removePartial(partial);
  }
  await syncFolder(dirname(path));
  return true;
}

/** Writes a file, replacing an existing one. */
export async function replaceFile(path: string, bytes: Uint8Array | string, mode = 0o666): Promise<void> {
  const partial = await writePartial(path, bytes, mode);
  try {
    await rename(partial, path);
  } catch (error) {
    await removePartial(partial);
    throw error;
  }
  await syncFolder(dirname(path));
}

/** Undefined: there is none. */
export async function readIfPresent(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return undefined;
    throw error;
  }
}

export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code !== undefined && codes.includes(code);
}

/** A folder that only lets one add keeps it. */
async function removePartial(partial: string): Promise<void> {
  try {
    await unlink(partial);
  } catch (error) {
    if (!hasCode(error, "ENOENT", "EPERM", "EACCES")) throw error;
  }
}

async function writePartial(path: string, bytes: Uint8Array | string, mode: number): Promise<string> {
  const partial = `${path}.${randomUUID()}.partial`;
  const handle = await open(partial, "wx", mode);
  try {
    await handle.writeFile(bytes);
    await handle.sync();
  } finally {
    await handle.close();
  }
  return partial;
}
