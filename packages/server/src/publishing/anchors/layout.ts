/**
 * How file and git anchors lay a log out, and the check that both make: an anchor keeps the leaf hashes, computes the root of its
 * own tiles and confirms a checkpoint only when they give the root that was signed.
 *
 * Verifiers read this layout for ever (docs/anchors.md), below `encodeURIComponent(origin)`:
 *
 *   checkpoints, checkpoints.1, checkpoints.2, …   every confirmed signed note, appended; a file that is full, or whose end was cut
 *                                    short, is never written again, the next number follows. One record:
 *                                    `<bytes of the note, decimal> <received, ms since the epoch, decimal>\n` and the note.
 *                                    A record that is cut short at the end of a file was never confirmed.
 *   checkpoint                       the newest note once more, for people; replaced, so it may be one behind
 *   tile/0/x001/234                  256 leaf hashes of 32 bytes (tlog-tiles), written once
 *   tile/0/x001/234.p/17             the first 17 of a tile that is not full yet; goes when a wider one is there
 */
import { parseCheckpoint, RightEdge, tilePath, type Checkpoint } from "@countersign/proof";
import { AnchorContradiction, type Submission } from "./anchor.js";

export const tileLeaves = 256;
const hashBytes = 32;
/** As large as a note may be (1 MiB), with its header line. */
const recordBytesMax = 1024 * 1024 + 32;
const header = /^(0|[1-9][0-9]{0,6}) (0|[1-9][0-9]{0,15})\n/;

/** Reads a log's folder, from the file system or from a commit. Paths are relative to the log's folder. */
export interface Shelf {
  /** Undefined: there is no such file. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** Names in a folder; none when the folder is missing. */
  list(path: string): Promise<readonly string[]>;
}

/** The checked state of one log in an anchor: the edge's root is the root in the newest note. */
export interface Held {
  readonly edge: RightEdge;
  /** The newest note and when it came; undefined: nothing yet. */
  readonly newest: { readonly text: string; readonly receivedMs: number } | undefined;
  /** Number of the last file of notes, -1: there is none. */
  readonly segment: number;
  /** Where its last whole record ends. */
  readonly readTo: number;
  /** The file ends there. False: somebody was interrupted; the next note goes into the next file. */
  readonly whole: boolean;
}

export function nothingHeld(): Held {
  return { edge: new RightEdge(), newest: undefined, segment: -1, readTo: 0, whole: false };
}

/** The folder of a log. Throws when its name does not fit a file system. */
export function folderOf(origin: string): string {
  const name = encodeURIComponent(origin);
  if (name.length > 240 || /^\.*$/.test(name))
    throw new Error(`the log's name \`${origin.slice(0, 80)}\` does not fit into the name of a folder (240 bytes)`);
  return name;
}

export function segmentName(segment: number): string {
  return segment === 0 ? "checkpoints" : `checkpoints.${segment}`;
}

export function recordOf(note: string, receivedMs: number): Buffer {
  return Buffer.from(`${Buffer.byteLength(note)} ${receivedMs}\n${note}`, "utf8");
}

export interface NoteRecord {
  readonly receivedMs: number;
  readonly text: string;
}

/** The records of a file of notes from an offset, as far as it can be read. `end`: of the last one. */
export function readRecords(
  bytes: Uint8Array,
  from = 0,
): { readonly records: NoteRecord[]; readonly end: number; readonly whole: boolean } {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: NoteRecord[] = [];
  let at = from;
  while (at < buffer.length) {
    const found = header.exec(buffer.toString("latin1", at, Math.min(at + 32, buffer.length)));
    const begins = at + (found?.[0].length ?? 0);
    const end = begins + Number(found?.[1]);
    if (found === null || end - at > recordBytesMax || end > buffer.length) break;
    const note = buffer.subarray(begins, end);
    // A file system that lost power may have kept the length and not the bytes.
    if (note.includes(0)) break;
    records.push({ receivedMs: Number(found[2]), text: note.toString("utf8") });
    at = end;
  }
  return { records, end: at, whole: at === buffer.length };
}

/**
 * Reads the anchor's state, from the beginning or from a known state, and checks it against the anchor's own tiles.
 * Throws AnchorContradiction.
 */
export async function readHeld(shelf: Shelf, origin: string, known: Held = nothingHeld()): Promise<Held> {
  const last = Math.max(-1, ...(await shelf.list("")).map(segmentNumber));
  if (last < known.segment)
    throw rewritten(known.edge.size, "the anchor has fewer files of checkpoints than when they were last read");
  const notes: ReceivedCheckpoint[] = [];
  let [readTo, whole] = [0, false];
  for (let number = last; number >= Math.max(known.segment, 0); number -= 1) {
    const bytes = (await shelf.read(segmentName(number))) ?? new Uint8Array();
    const from = number === known.segment ? known.readTo : 0;
    if (bytes.length < from)
      throw rewritten(known.edge.size, `\`${segmentName(number)}\` has become shorter since it was last read`);
    const read = readRecords(bytes, from);
    if (number === last) [readTo, whole] = [read.end, read.whole];
    notes.push(...read.records.map((record) => checked(record, origin, known)));
    // If no state is known, the last file that has a note is enough: the tiles show whether the note is true.
    if (known.segment === -1 && notes.length > 0) break;
  }
  return { ...(await follow(shelf, known, notes)), segment: last, readTo, whole };
}

/** -1: not the name of a file of notes. */
function segmentNumber(name: string): number {
  return name === "checkpoints" ? 0 : Number(/^checkpoints\.([1-9][0-9]{0,8})$/.exec(name)?.[1] ?? -1);
}

interface ReceivedCheckpoint {
  readonly checkpoint: Checkpoint;
  readonly receivedMs: number;
}

function checked({ text, receivedMs }: NoteRecord, origin: string, known: Held): ReceivedCheckpoint {
  const parsed = parseCheckpoint(text);
  if (parsed.ok && parsed.checkpoint.origin === origin) return { checkpoint: parsed.checkpoint, receivedMs };
  throw rewritten(known.edge.size, "the anchor holds a note that is no checkpoint of this log");
}

/** Walks the tree over the notes, smallest first, and compares the roots. */
async function follow(
  shelf: Shelf,
  known: Held,
  notes: readonly ReceivedCheckpoint[],
): Promise<Pick<Held, "edge" | "newest">> {
  const edge = known.edge.clone();
  let { newest } = known;
  for (const { checkpoint, receivedMs } of notes.toSorted((a, b) => a.checkpoint.size - b.checkpoint.size)) {
    const there = checkpoint.size >= edge.size ? edge : new RightEdge();
    await extend(shelf, there, checkpoint.size);
    if (!sameBytes(there.root(), checkpoint.root)) {
      throw new AnchorContradiction(
        "rewritten",
        known.edge.size,
        `the anchor contradicts itself: its leaf tiles give another root for size ${checkpoint.size} than its checkpoint`,
      );
    }
    if (there === edge) newest = { text: checkpoint.text, receivedMs };
  }
  return { edge, newest };
}

/** Appends the anchor's own leaves up to `size`. */
async function extend(shelf: Shelf, edge: RightEdge, size: number): Promise<void> {
  while (edge.size < size) {
    const index = Math.floor(edge.size / tileLeaves);
    const width = Math.min(tileLeaves, size - index * tileLeaves);
    const bytes = await readLeaves(shelf, index, width);
    if (bytes === undefined) throw rewritten(edge.size, `the anchor's leaf tile ${index} is missing or too short`);
    appendLeaves(edge, bytes.subarray(0, width * hashBytes), edge.size - index * tileLeaves);
  }
}

/** At least `width` leaves of a tile: it, the full one, or the narrowest that is wide enough. */
async function readLeaves(shelf: Shelf, index: number, width: number): Promise<Uint8Array | undefined> {
  const exact = await shelf.read(tilePath({ level: 0, index, width }));
  if (isWide(exact, width)) return exact;
  // Another writer removes a partial tile when it has a wider one: look again before saying that it is missing.
  for (let look = 0; look < 3; look += 1) {
    const wider = (await partialWidths(shelf, index)).filter((found) => found > width);
    for (const candidate of [...wider, tileLeaves]) {
      const bytes = await shelf.read(tilePath({ level: 0, index, width: candidate }));
      if (isWide(bytes, width)) return bytes;
    }
  }
  return undefined;
}

function isWide(bytes: Uint8Array | undefined, width: number): bytes is Uint8Array {
  return bytes !== undefined && bytes.length >= width * hashBytes;
}

/** Widths of the partial tiles that are there, ascending. */
export async function partialWidths(shelf: Shelf, index: number): Promise<number[]> {
  const names = await shelf.list(partialFolder(index));
  return names
    .filter((name) => /^[1-9][0-9]{0,2}$/.test(name))
    .map(Number)
    .sort((a, b) => a - b);
}

export function partialFolder(index: number): string {
  return tilePath({ level: 0, index, width: 1 }).replace(/\/1$/, "");
}

function appendLeaves(edge: RightEdge, bytes: Uint8Array, from: number): void {
  for (let at = from * hashBytes; at < bytes.length; at += hashBytes) edge.append(bytes.slice(at, at + hashBytes));
}

/** A file to be written once. */
export interface TileFile {
  readonly path: string;
  readonly bytes: Uint8Array;
}

/** The additions of a checked submission. */
export interface Continuation {
  readonly edge: RightEdge;
  /** The leaf tiles from the held size on; may be read once. */
  tiles(): AsyncIterable<TileFile>;
}

/** Leaf tiles kept in memory between check and writing; more are asked for a second time and compared. */
const tilesAtOnce = 256;

/**
 * Checks that the submission continues the anchor's state. Undefined: the anchor already has it. Throws
 * AnchorContradiction; any other error means that the submitter broke its promise.
 */
export async function check(shelf: Shelf, held: Held, submission: Submission): Promise<Continuation | undefined> {
  const { checkpoint } = submission;
  const { size } = held.edge;
  if (submission.anchored > size)
    throw rewritten(
      size,
      `the anchor confirmed size ${submission.anchored} and now holds ${size}; was the disk or the repository replaced or not mounted? A new one gets a new name`,
    );
  if (checkpoint.size < size)
    throw new AnchorContradiction("smaller", size, `the anchor holds size ${size} and was offered ${checkpoint.size}`);
  if (checkpoint.size === size && held.newest !== undefined) {
    if (sameBytes(held.edge.root(), checkpoint.root)) return undefined;
    throw new AnchorContradiction("other_root", size, `the anchor holds another root for size ${size}`);
  }
  const ours =
    size % tileLeaves === 0 ? undefined : await readLeaves(shelf, Math.floor(size / tileLeaves), size % tileLeaves);
  const edge = held.edge.clone();
  const kept: TileFile[] = [];
  const digests: Uint8Array[] = [];
  for await (const { path, bytes, first } of sequence(submission, size)) {
    if (first > 0 && !sameBytes(bytes.subarray(0, first * hashBytes), ours?.subarray(0, first * hashBytes)))
      throw new AnchorContradiction("inconsistent", size, `the anchor holds other entries below size ${size}`);
    appendLeaves(edge, bytes, first);
    if (kept.length < tilesAtOnce) kept.push({ path, bytes: Uint8Array.from(bytes) });
    digests.push(subtreeRoot(bytes));
  }
  if (!sameBytes(edge.root(), checkpoint.root))
    throw new AnchorContradiction(
      "inconsistent",
      size,
      `the leaf hashes that the anchor holds, with those offered to it, do not give the root of the checkpoint of size ${checkpoint.size}`,
    );
  return { edge, tiles: () => (digests.length <= kept.length ? given(kept) : again(submission, size, digests)) };
}

/** The submitter's leaf tiles, each checked for its place and width. `first`: how many of its leaves are held already. */
async function* sequence(submission: Submission, size: number): AsyncIterable<TileFile & { first: number }> {
  const end = submission.checkpoint.size;
  let next = Math.floor(size / tileLeaves);
  for await (const { tile, bytes } of submission.leafTiles(size, end)) {
    const width = Math.min(tileLeaves, end - next * tileLeaves);
    if (tile.level !== 0 || tile.index !== next || tile.width !== width || bytes.length !== width * hashBytes)
      throw new Error(`a leaf tile was offered that does not follow: index ${tile.index}, width ${tile.width}`);
    yield { path: tilePath(tile), bytes, first: Math.max(0, size - next * tileLeaves) };
    next += 1;
  }
  if (next * tileLeaves < end) throw new Error(`leaf tiles were offered only up to ${next * tileLeaves} of ${end}`);
}

async function* given(tiles: readonly TileFile[]): AsyncIterable<TileFile> {
  yield* tiles;
}

async function* again(submission: Submission, size: number, digests: readonly Uint8Array[]): AsyncIterable<TileFile> {
  let at = 0;
  for await (const { path, bytes } of sequence(submission, size)) {
    if (!sameBytes(subtreeRoot(bytes), digests[at])) throw new Error("a leaf tile was offered twice and differed");
    at += 1;
    yield { path, bytes };
  }
}

function subtreeRoot(bytes: Uint8Array): Uint8Array {
  const edge = new RightEdge();
  appendLeaves(edge, bytes, 0);
  return edge.root();
}

export function sameBytes(a: Uint8Array, b: Uint8Array | undefined): boolean {
  return b !== undefined && Buffer.compare(a, b) === 0;
}

function rewritten(holds: number, message: string): AnchorContradiction {
  return new AnchorContradiction("rewritten", holds, message);
}
