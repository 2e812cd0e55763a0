/**
 * The file anchor: a folder, best a mount that this machine cannot rewrite. Layout and check: layout.ts.
 *
 * Promises:
 * - Confirmed checkpoints are on the disk (fsync of files and folders) and never overwritten: notes are appended, tiles
 *   written once.
 * - If the process is killed at any point, the folder holds its earlier state or the new checkpoint, and the next
 *   submission goes on from there
 *   (anchors-file.test.ts kills it at every step).
 * - Several writers, also of several machines, need no lock: appending is atomic. A writer then reads all records
 *   before its own, and confirms only a checkpoint that agrees with them.
 */
import { open, readdir, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Clock } from "../../platform/index.js";
import { hasCode, makeFolder, readIfPresent, replaceFile, syncFolder, writeOnce } from "../../platform/index.js";
import { AnchorContradiction, type Anchor, type AnchorReceipt, type Submission } from "./anchor.js";
import {
  check,
  folderOf,
  type Held,
  partialFolder,
  partialWidths,
  readHeld,
  recordOf,
  sameBytes,
  segmentName,
  type Shelf,
  tileLeaves,
  type TileFile,
} from "./layout.js";
import { openDirectory } from "./openDirectory.js";
import { Memory, Turns } from "./turns.js";

export interface FileAnchorOptions {
  readonly name: string;
  /** Makes a missing folder. The folder above it must exist, so a missing mount is noticed. */
  readonly directory: string;
  readonly clock: Clock;
  /** A file of notes that has grown to this takes no more. */
  readonly segmentBytesMax?: number;
}

const segmentBytesMaxUsual = 4 * 1024 * 1024;
/** Times a note is appended before giving up: each time somebody's interrupted record was in the way. */
const appendTries = 3;

export function fileAnchor(options: FileAnchorOptions): Anchor {
  const { name, directory } = options;
  const memory = new Memory<Held>();
  const turns = new Turns();
  return {
    name,
    kind: "file",
    location: directory,
    submit: (submission) => turns.take(submission.origin, () => submit(options, memory, submission)),
  };
}

async function submit(
  options: FileAnchorOptions,
  memory: Memory<Held>,
  submission: Submission,
): Promise<AnchorReceipt> {
  const { origin, checkpoint } = submission;
  const root = options.directory;
  await openDirectory(root, submission.anchored);
  const folder = join(root, folderOf(origin));
  const shelf = folderShelf(folder);
  const before = await readHeld(shelf, origin, memory.get(origin));
  let held = before;
  memory.set(origin, held);
  const continuation = await check(shelf, held, submission);
  if (continuation !== undefined) {
    await makeFolder(folder, root);
    for await (const tile of continuation.tiles()) await keepTile(folder, tile, held.edge.size);
    held = await append(options, { folder, shelf, held, submission });
    memory.set(origin, held);
  }
  if (held.newest === undefined) throw new Error("the anchor holds no checkpoint after it stored one");
  await showNewest(folder, held);
  await removeNarrower(folder, shelf, { from: before.edge.size, to: checkpoint.size });
  return { size: checkpoint.size, atMs: held.newest.receivedMs, receipt: `file ${folder}\n` };
}

function folderShelf(folder: string): Shelf {
  return {
    read: (path) => readIfPresent(join(folder, path)),
    list: async (path) => {
      try {
        return await readdir(join(folder, path));
      } catch (error) {
        if (hasCode(error, "ENOENT", "ENOTDIR")) return [];
        throw error;
      }
    },
  };
}

/** Writes a tile, or finds it written already, by an interrupted submission or another writer. */
async function keepTile(folder: string, { path, bytes }: TileFile, size: number): Promise<void> {
  const file = join(folder, path);
  await makeFolder(dirname(file), folder);
  if (await writeOnce(file, bytes)) return;
  if (!sameBytes(bytes, await readIfPresent(file)))
    throw new AnchorContradiction("inconsistent", size, `the anchor's \`${path}\` holds other leaf hashes`);
}

interface Appending {
  readonly folder: string;
  readonly shelf: Shelf;
  readonly held: Held;
  readonly submission: Submission;
}

/** Appends the note, and reads it back together with the notes that others appended before it. */
async function append(options: FileAnchorOptions, { folder, shelf, held, submission }: Appending): Promise<Held> {
  const { origin, checkpoint } = submission;
  const record = recordOf(checkpoint.text, options.clock.nowMs());
  let now = held;
  for (let tries = 0; tries < appendTries; tries += 1) {
    const full = now.readTo >= (options.segmentBytesMax ?? segmentBytesMaxUsual);
    const segment = now.whole && !full ? now.segment : now.segment + 1;
    // If we die within: the record is cut short, was not confirmed, and the next note goes into the next file.
    await appendDurably(join(folder, segmentName(segment)), record, folder);
    now = await readHeld(shelf, origin, now);
    if (now.edge.size >= checkpoint.size) return now;
  }
  throw new Error("the checkpoint was appended and cannot be read back");
}

async function appendDurably(file: string, bytes: Uint8Array, folder: string): Promise<void> {
  const handle = await open(file, "a");
  try {
    // One call: with O_APPEND two writers' records cannot mingle.
    const { bytesWritten } = await handle.write(bytes);
    if (bytesWritten !== bytes.length) throw new Error("the file system took only a part of the checkpoint");
    await handle.sync();
  } finally {
    await handle.close();
  }
  await syncFolder(folder);
}

/** For people. In a folder that allows appending only it stays the first one. */
async function showNewest(folder: string, { newest }: Held): Promise<void> {
  const file = join(folder, "checkpoint");
  if (newest === undefined || (await readIfPresent(file))?.toString("utf8") === newest.text) return;
  try {
    await replaceFile(file, newest.text);
  } catch (error) {
    if (!isForbidden(error)) throw error;
  }
}

/** A partial tile has no use when a wider one is confirmed. */
async function removeNarrower(folder: string, shelf: Shelf, sizes: { from: number; to: number }): Promise<void> {
  const index = Math.floor(sizes.to / tileLeaves);
  for (const tile of new Set([Math.floor(sizes.from / tileLeaves), index])) {
    const needed = tile < index ? tileLeaves : sizes.to % tileLeaves;
    for (const width of await partialWidths(shelf, tile))
      if (width < needed) await removeIfAllowed(join(folder, partialFolder(tile), String(width)));
  }
}

async function removeIfAllowed(file: string): Promise<void> {
  try {
    await unlink(file);
  } catch (error) {
    if (!isForbidden(error) && !hasCode(error, "ENOENT")) throw error;
  }
}

/** The errors of a folder in which nothing can be replaced or removed. A superseded file then simply stays. */
function isForbidden(error: unknown): boolean {
  return hasCode(error, "EPERM", "EACCES", "EROFS");
}
