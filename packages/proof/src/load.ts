/**
 * Reads the sources that a verifier trusts: the policy file, and the anchors it names, as folders or git repositories
 * (their layout: docs/anchors.md). It only reads, bounds everything, and says of each place whether it could be read
 * and whether it lies inside the data under verification. Not part of the browser's page: this asks Node for files and
 * `git` for commits.
 */
import { spawnSync } from "node:child_process";
import { closeSync, fstatSync, openSync, readdirSync, readSync, realpathSync, statSync } from "node:fs";
import { dirname, isAbsolute, join, resolve, sep } from "node:path";
import { parseCheckpoint, parseOrigin } from "./checkpoint.js";
import { parsePolicy, policyBytesMax, type Policy, type PolicyProblem } from "./policy.js";
import { parseKeyStatements } from "./statements.js";
import { parseTilePath, tilePath, tileWidth } from "./tiles.js";
import { noTrust, type AnchoredCheckpoint, type AnchorView, type Trust } from "./trust.js";

/** Of one anchor: more checkpoints than this are thinned to the first, the last and some evenly between. */
export const anchorCheckpointsMax = 10_000;
const notesBytesMax = 64 * 1024 * 1024;
const recordBytesMax = 1024 * 1024 + 32;
const recordHeader = /^(0|[1-9][0-9]{0,6}) (0|[1-9][0-9]{0,15})\n/;
const tileBytes = tileWidth * 32;
const namesMax = 1_000_000;

/** A policy file that cannot be used; `problems` by line, line 0: the file as a whole. */
export class PolicyFileError extends Error {
  override readonly name = "PolicyFileError";
  readonly problems: readonly PolicyProblem[];

  constructor(path: string, problems: readonly PolicyProblem[], options?: ErrorOptions) {
    const listed = problems.map(({ line, message }) => (line === 0 ? message : `line ${line}: ${message}`));
    super(`the policy \`${path}\` cannot be used: ${listed.join("; ")}`, options);
    this.problems = problems;
  }
}

/** Throws PolicyFileError. */
export function readPolicyFile(path: string): Policy {
  let bytes: Uint8Array | undefined;
  try {
    bytes = readBounded(path, policyBytesMax);
  } catch (cause) {
    throw new PolicyFileError(path, [{ line: 0, message: reasonOf(cause) }], { cause });
  }
  const parsed = parsePolicy(bytes);
  if (!parsed.ok) throw new PolicyFileError(path, parsed.problems);
  return parsed.policy;
}

/** Key statements that were kept: each a signed note after a line with its length in bytes, as the server keeps its own. Throws. */
export function readKeyStatements(path: string): string[] {
  const statements = parseKeyStatements(readBounded(path, notesBytesMax));
  if (statements === undefined) throw new Error("not key statements, each after its length in bytes");
  return statements;
}

/**
 * The ledger whose checkpoints are wanted. Without a deployment: the ledgers of every deployment that has this tenant.
 */
export interface LedgerName {
  readonly deployment?: string | undefined;
  readonly tenant: string;
}

export interface LoadOptions {
  /** Undefined: nothing is trusted. */
  readonly policyPath?: string | undefined;
  readonly ledger: LedgerName;
  /** Folders that belong to the data under verification: files in them prove nothing. */
  readonly forbidden?: readonly string[];
  readonly requireAnchored?: boolean;
  /** Signed key statements that the verifier kept. */
  readonly keyStatements?: readonly string[];
}

/** Throws PolicyFileError; an anchor that cannot be read is a view that says so. Load before the ledger is opened. */
export function loadTrust({
  policyPath,
  ledger,
  forbidden = [],
  requireAnchored,
  keyStatements = [],
}: LoadOptions): Trust {
  const demanded = requireAnchored === true ? { requireAnchored } : {};
  if (policyPath === undefined) return { ...noTrust, keyStatements, ...demanded };
  const policy = readPolicyFile(policyPath);
  const folder = dirname(resolve(policyPath));
  const anchors = policy.anchors.map((anchor) => readAnchor(anchor, ledger, { forbidden, folder }));
  const inside = isInside(policyPath, forbidden);
  return {
    ...{ policy, policySource: resolve(policyPath), keyStatements, anchors, ...demanded },
    ...(inside ? { policySameSource: true } : {}),
  };
}

/** One anchor's view of a ledger. Never throws. `folder`: what a relative location is relative to. */
export function readAnchor(
  { name, kind, location }: Pick<AnchorView, "name" | "kind" | "location">,
  ledger: LedgerName,
  { forbidden = [], folder = "." }: { readonly forbidden?: readonly string[]; readonly folder?: string } = {},
): AnchorView {
  const path = isAbsolute(location) ? location : resolve(folder, location);
  const where = { name, kind, location: path };
  const sameSource = isInside(path, forbidden) ? { sameSource: true } : {};
  try {
    const shelf = kind === "file" ? new FolderShelf(path) : kind === "git" ? new GitShelf(path) : undefined;
    if (shelf === undefined)
      return { ...where, checkpoints: [], unreadable: `anchors of kind \`${kind}\` are not read by this program` };
    return { ...where, ...sameSource, checkpoints: checkpointsOf(shelf, ledger), leafTile: leafTilesOf(shelf) };
  } catch (error) {
    return { ...where, ...sameSource, checkpoints: [], unreadable: reasonOf(error) };
  }
}

// ---- the layout ---------------------------------------------------------------------------------------------------------

/** Folders and files of an anchor, wherever they are. Paths are relative. */
interface Shelf {
  /** Names in a folder. Throws if the anchor itself cannot be read; a folder that is not there has none. */
  list(path: string): readonly string[];
  /** Undefined: there is no such file, or it is larger. */
  read(path: string, bytesMax: number): Uint8Array | undefined;
  /** Several small files at once. */
  readAll(paths: readonly string[], bytesMax: number): (Uint8Array | undefined)[];
}

function checkpointsOf(shelf: Shelf, ledger: LedgerName): AnchoredCheckpoint[] {
  return foldersOf(shelf, ledger).flatMap((folder) => {
    const records = segmentsOf(shelf, folder).flatMap((segment) => {
      const bytes = shelf.read(`${folder}/${segment}`, notesBytesMax);
      return bytes === undefined ? [] : recordsOf(bytes);
    });
    return thinned(records, anchorCheckpointsMax)
      .flatMap(({ text, receivedMs }) => {
        const parsed = parseCheckpoint(text);
        const isOf = parsed.ok && encodeURIComponent(parsed.checkpoint.origin) === folder;
        return isOf ? [{ checkpoint: parsed.checkpoint, atMs: receivedMs }] : [];
      })
      .sort((a, b) => a.checkpoint.size - b.checkpoint.size);
  });
}

/** One folder an incarnation. */
function foldersOf(shelf: Shelf, { deployment, tenant }: LedgerName): string[] {
  return shelf
    .list("")
    .slice(0, namesMax)
    .filter((name) => {
      const origin = parseOrigin(decoded(name));
      return origin?.tenant === tenant && (deployment === undefined || origin.deployment === deployment);
    })
    .slice(0, 1000);
}

function decoded(name: string): string {
  try {
    return decodeURIComponent(name);
  } catch {
    return ""; // not a folder of ours
  }
}

/** `checkpoints`, `checkpoints.1`, …; if there are very many: the first, the last, some between. */
function segmentsOf(shelf: Shelf, folder: string): string[] {
  const numbers = shelf
    .list(folder)
    .flatMap((name) => {
      if (name === "checkpoints") return [0];
      const number = /^checkpoints\.([1-9][0-9]{0,8})$/.exec(name)?.[1];
      return number === undefined ? [] : [Number(number)];
    })
    .sort((a, b) => a - b);
  return thinned(numbers, 64).map((number) => (number === 0 ? "checkpoints" : `checkpoints.${number}`));
}

interface NoteRecord {
  readonly receivedMs: number;
  readonly text: string;
}

/** A record that is cut short at the end was never confirmed. */
function recordsOf(bytes: Uint8Array): NoteRecord[] {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const records: NoteRecord[] = [];
  for (let at = 0; at < buffer.length;) {
    const found = recordHeader.exec(buffer.toString("latin1", at, Math.min(at + 32, buffer.length)));
    const begins = at + (found?.[0].length ?? 0);
    const end = begins + Number(found?.[1]);
    if (found === null || end - at > recordBytesMax || end > buffer.length) break;
    records.push({ receivedMs: Number(found[2]), text: buffer.toString("utf8", begins, end) });
    at = end;
  }
  return records;
}

/** At most `max`: the first, the last, and evenly between. */
function thinned<T>(all: readonly T[], max: number): readonly T[] {
  if (all.length <= max) return all;
  return Array.from({ length: max }, (_, i) => all[Math.floor((i * (all.length - 1)) / (max - 1))] as T);
}

const tilesAtOnce = 256;

/** Tiles come in order, so the next ones are fetched along: one question to git for 65,536 leaves. */
function leafTilesOf(shelf: Shelf): NonNullable<AnchorView["leafTile"]> {
  let kept: { readonly folder: string; readonly from: number; readonly tiles: (Uint8Array | undefined)[] } | undefined;
  return (index, origin) => {
    const folder = encodeURIComponent(origin);
    try {
      const from = index - (index % tilesAtOnce);
      if (kept?.folder !== folder || kept.from !== from) {
        const paths = Array.from({ length: tilesAtOnce }, (_, i) => fullTilePath(folder, from + i));
        kept = { folder, from, tiles: shelf.readAll(paths, tileBytes) };
      }
      return kept.tiles[index - from] ?? partialTile(shelf, folder, index);
    } catch {
      return undefined; // the leaf hashes only tell where; that there is a difference is known without them
    }
  };
}

function fullTilePath(folder: string, index: number): string {
  return `${folder}/${tilePath({ level: 0, index, width: tileWidth })}`;
}

/** The widest of a tile that is not full yet. */
function partialTile(shelf: Shelf, folder: string, index: number): Uint8Array | undefined {
  const path = `${fullTilePath(folder, index)}.p`;
  const widths = shelf
    .list(path)
    .map((name) => parseTilePath(`${path.slice(folder.length + 1)}/${name}`)?.width ?? 0)
    .sort((a, b) => b - a);
  const [widest = 0] = widths;
  return widest === 0 ? undefined : shelf.read(`${path}/${widest}`, tileBytes);
}

// ---- folders ------------------------------------------------------------------------------------------------------------

class FolderShelf implements Shelf {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
    if (!statSync(root).isDirectory()) throw new Error(`\`${root}\` is not a folder`);
  }

  list(path: string): string[] {
    try {
      return readdirSync(join(this.#root, path));
    } catch (error) {
      if (path !== "" && isMissing(error)) return [];
      throw error;
    }
  }

  read(path: string, bytesMax: number): Uint8Array | undefined {
    try {
      return readBounded(join(this.#root, path), bytesMax);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  }

  readAll(paths: readonly string[], bytesMax: number): (Uint8Array | undefined)[] {
    return paths.map((path) => this.read(path, bytesMax));
  }
}

function isMissing(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === "ENOENT" || code === "ENOTDIR";
}

/** A plain file of at most so many bytes; neither a pipe nor a device makes us wait. */
function readBounded(path: string, bytesMax: number): Uint8Array {
  const info = statSync(path);
  if (!info.isFile()) throw new Error(`\`${path}\` is not a file`);
  if (info.size > bytesMax) throw new Error(`\`${path}\` is larger than ${bytesMax} bytes`);
  const file = openSync(path, "r");
  try {
    if (!fstatSync(file).isFile()) throw new Error(`\`${path}\` is not a file`);
    // It may grow while it is read: one byte more than was there tells, and never more than allowed is held.
    const bytes = Buffer.alloc(Math.min(info.size, bytesMax));
    let length = 0;
    for (let read = -1; read !== 0 && length < bytes.length; length += read)
      read = readSync(file, bytes, length, bytes.length - length, length);
    return bytes.subarray(0, length);
  } finally {
    closeSync(file);
  }
}

// ---- git ----------------------------------------------------------------------------------------------------------------

const gitBytesMax = 256 * 1024 * 1024;
/** Nothing the repository or the machine is configured to makes git run or fetch anything. */
const gitSettings = [
  "core.hooksPath=/dev/null",
  "core.fsmonitor=false",
  "core.attributesFile=/dev/null",
  "protocol.allow=never",
  // The repository is read, never run, so its owner does not matter.
  "safe.directory=*",
].flatMap((setting) => ["-c", setting]);

/** The commit that HEAD names, read without a working tree. */
class GitShelf implements Shelf {
  readonly #root: string;
  readonly #commit: string | undefined;

  constructor(root: string) {
    this.#root = root;
    if (!statSync(root).isDirectory()) throw new Error(`\`${root}\` is not a folder`);
    this.#run(["rev-parse", "--git-dir"]);
    const head = this.#ask(["rev-parse", "--verify", "--quiet", "--end-of-options", "HEAD^{commit}"]);
    this.#commit = head.status === 0 ? head.stdout.toString("latin1").trim() : undefined;
  }

  list(path: string): string[] {
    if (this.#commit === undefined) return [];
    const tree = `${this.#commit}:${path}`;
    const listed = this.#ask(["ls-tree", "-z", "--name-only", "--end-of-options", tree]);
    return listed.status === 0
      ? listed.stdout
          .toString("utf8")
          .split("\0")
          .filter((name) => name !== "")
      : [];
  }

  read(path: string, bytesMax: number): Uint8Array | undefined {
    return this.readAll([path], bytesMax)[0];
  }

  readAll(paths: readonly string[], bytesMax: number): (Uint8Array | undefined)[] {
    if (this.#commit === undefined) return paths.map(() => undefined);
    const input = paths.map((path) => `${this.#commit as string}:${path}\n`).join("");
    const { stdout } = this.#run(["cat-file", "--batch"], input);
    return blobsOf(stdout, paths.length).map((blob) =>
      blob !== undefined && blob.length <= bytesMax ? blob : undefined,
    );
  }

  #run(args: readonly string[], input = ""): { readonly stdout: Buffer } {
    const done = this.#ask(args, input);
    if (done.status !== 0) throw new Error(`\`git ${args[0] ?? ""}\` in \`${this.#root}\`: ${done.stderr}`);
    return done;
  }

  #ask(
    args: readonly string[],
    input = "",
  ): { readonly status: number | null; readonly stdout: Buffer; readonly stderr: string } {
    const done = spawnSync("git", [...gitSettings, "-C", this.#root, ...args], {
      input,
      env: gitEnvironment(),
      maxBuffer: gitBytesMax,
      timeout: 60_000,
    });
    if (done.error !== undefined) throw done.error;
    return { status: done.status, stdout: done.stdout, stderr: done.stderr.toString("utf8").trim().slice(0, 500) };
  }
}

function gitEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith("GIT_"));
  return {
    ...Object.fromEntries(kept),
    GIT_CONFIG_NOSYSTEM: "1",
    GIT_CONFIG_GLOBAL: "/dev/null",
    GIT_NO_LAZY_FETCH: "1",
    GIT_NO_REPLACE_OBJECTS: "1",
    GIT_TERMINAL_PROMPT: "0",
    GIT_OPTIONAL_LOCKS: "0",
    LC_ALL: "C",
  };
}

/** `<object> blob <bytes>\n<bytes>\n`, or `<what was asked> missing\n`. */
function blobsOf(output: Buffer, count: number): (Uint8Array | undefined)[] {
  const blobs: (Uint8Array | undefined)[] = [];
  let at = 0;
  while (blobs.length < count) {
    const end = output.indexOf(0x0a, at);
    if (end < 0) throw new Error("git gave fewer files than were asked for");
    const length = /^[0-9a-f]+ blob ([0-9]+)$/.exec(output.toString("latin1", at, end))?.[1];
    blobs.push(length === undefined ? undefined : output.subarray(end + 1, end + 1 + Number(length)));
    at = length === undefined ? end + 1 : end + 2 + Number(length);
  }
  return blobs;
}

// ---- where things lie ---------------------------------------------------------------------------------------------------

/** Compared by real path, so no link can hide the place. A missing file counts as lying where its folder lies. */
function isInside(path: string, folders: readonly string[]): boolean {
  const real = realPathOf(path);
  return folders.some((folder) => {
    const outer = realPathOf(folder);
    return real === outer || real.startsWith(outer.endsWith(sep) ? outer : `${outer}${sep}`);
  });
}

function realPathOf(path: string): string {
  const whole = resolve(path);
  try {
    return realpathSync(whole);
  } catch {
    // Not there (yet): its folder decides.
    const folder = dirname(whole);
    return folder === whole ? whole : join(realPathOf(folder), whole.slice(folder.length));
  }
}

function reasonOf(error: unknown): string {
  if ((error as { readonly code?: unknown } | null)?.code === "ENOENT") return "there is no such file";
  return (error instanceof Error ? error.message : String(error)).slice(0, 500);
}
