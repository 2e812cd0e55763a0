/**
 * The files below one folder, reached so that nothing outside it is ever read or written, whatever links, renames and races
 * happen inside it meanwhile.
 *
 * Mechanism on Linux: every folder from `/` to the file's own is opened step by step as a handle (O_PATH | O_DIRECTORY |
 * O_NOFOLLOW) and the next step taken through `/proc/self/fd/<handle>/<name>`, which is what openat(2) does: a folder that
 * is exchanged for a link between check and use is not followed, since the handle still is the folder that was checked.
 * Files are opened as O_PATH | O_NOFOLLOW first, found to be regular, and only then opened for reading through the handle,
 * so that no device, FIFO or socket is ever opened. Elsewhere (no `/proc/self/fd`): paths, with the real path and identity of
 * the folder compared before and after each use; a race by somebody who can already write there is found, not prevented.
 *
 * INVARIANT: a file is seen whole in the old state or whole in the new one, also after a crash: new bytes are written to a
 * temporary file in the same folder, made durable, and take the name in one step (rename, or link where nothing may be there).
 * Temporary names carry the step's token: what a process that died left behind is found and removed by the next try.
 *
 * Not promised: a foreign program that rewrites the file in the moment between the last check and the rename (microseconds)
 * is overwritten; POSIX has no conditional rename. Removals have no such moment: the file is taken aside, compared, then removed.
 */
import { randomBytes } from "node:crypto";
import { constants, existsSync, type BigIntStats } from "node:fs";
import * as fs from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { join, parse, sep } from "node:path";
import { limits, refuse, RefusalError, visible, type ErrorCode } from "@countersign/contract";
import { sha256Hex } from "@countersign/proof";
import { foldPath, temporaryPrefix } from "./paths.rules.js";

/** What must not be reached even inside the folder: compared by identity (device and inode), so no link or mount hides it. */
export interface TreeOptions {
  /** Absolute path of the folder, without links (as `realpath` gave it when it was registered). */
  readonly root: string;
  readonly denied: readonly string[];
  /** False: the way of platforms without `/proc/self/fd`. */
  readonly handles?: boolean;
}

/** Identity and time of a file, to see whether it is still the one that was read. */
interface Mark {
  readonly dev: bigint;
  readonly ino: bigint;
  readonly size: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
}

export interface FoundFile {
  readonly exists: true;
  readonly bytes: Uint8Array;
  /** Permission bits, 0 to 0o7777. */
  readonly mode: number;
  /** Names of the file: more than one means that writing to it would write elsewhere too. */
  readonly links: number;
  readonly mark: Mark;
}

export type FileState =
  FoundFile | { readonly exists: false; /** Folders above it that are not there. */ readonly missingParents: number };

export interface Tree {
  /** The file as it is; refuses what is not a regular file reached without links. */
  read(path: string): Promise<FileState>;
  /** Removes what an earlier try of this token left behind; puts back what it had taken aside and must not lose. */
  recover(path: string, token: string, isBefore: (file: FoundFile) => boolean): Promise<void>;
  /** Makes the file and the folders above it that are missing. False: something is there already. */
  create(path: string, content: FileContent, token: string): Promise<boolean>;
  /** False: the file is not the one marked any more. */
  replace(path: string, content: FileContent, mark: Mark, token: string): Promise<boolean>;
  /** Removes the file and at most `parents` folders above it that are empty then. False: it is not as `isBefore` wants it. */
  remove(path: string, isBefore: (file: FoundFile) => boolean, parents: number, token: string): Promise<boolean>;
  /** Removes at most `parents` folders above the path that are empty. */
  prune(path: string, parents: number): Promise<void>;
}

export interface FileContent {
  readonly bytes: Uint8Array;
  readonly mode: number;
}

// Linux, every architecture Node runs on (asm-generic/fcntl.h); not among Node's constants.
const O_PATH = 0o10000000;
const noFollow = constants.O_NOFOLLOW ?? 0;
const directory = constants.O_DIRECTORY ?? 0;

export function handlesSupported(): boolean {
  return process.platform === "linux" && existsSync("/proc/self/fd");
}

export function openTree(options: TreeOptions): Tree {
  const handles = options.handles ?? handlesSupported();
  const within = <T>(path: string, use: (walk: Walk) => Promise<T>): Promise<T> =>
    useWalk(new Walk(options, handles), path, use);
  return {
    read: (path) => within(path, (walk) => readAt(walk, path)),
    recover: (path, token, isBefore) => within(path, (walk) => recoverAt(walk, path, token, isBefore)),
    create: (path, content, token) => within(path, (walk) => createAt(walk, path, content, token)),
    replace: (path, content, mark, token) => within(path, (walk) => replaceAt(walk, path, content, mark, token)),
    prune: (path, parents) => within(path, (walk) => removeEmptyFolders(walk, path, parents)),
    remove: (path, isBefore, parents, token) =>
      within(path, (walk) => removeAt(walk, path, { isBefore, parents, token })),
  };
}

async function useWalk<T>(walk: Walk, path: string, use: (walk: Walk) => Promise<T>): Promise<T> {
  try {
    return await use(walk);
  } catch (error) {
    throw refusalOf(error, path);
  } finally {
    await walk.close();
  }
}

/** A folder that was reached without links. */
interface Folder {
  /** Path of a name in it, for one system call. */
  at(name: string): string;
  /** Path of the folder itself, to list or synchronise it. */
  readonly self: string;
  /** Fails if the path no longer is this folder (only where there are no handles). */
  verify(): Promise<void>;
}

interface Reached {
  readonly folder: Folder;
  readonly name: string;
}

/** Opens folders one after the other; holds them until it is closed. */
class Walk {
  readonly #options: TreeOptions;
  readonly #handles: boolean;
  readonly #open: FileHandle[] = [];
  #denied: Promise<ReadonlySet<string>> | undefined;

  constructor(options: TreeOptions, handles: boolean) {
    this.#options = options;
    this.#handles = handles;
  }

  async close(): Promise<void> {
    for (const handle of this.#open.splice(0).reverse()) await handle.close();
  }

  /** The folder of a path, or how many folders of the way are missing. */
  async reach(path: string): Promise<Reached | { readonly missing: number }> {
    const names = path.split("/");
    let folder = await this.root();
    for (const [index, name] of names.slice(0, -1).entries()) {
      const next = await this.enter(folder, name);
      if (next === undefined) return { missing: names.length - 1 - index };
      folder = next;
    }
    const name = names.at(-1) as string;
    await refuseCollision(folder, name, path);
    return { folder, name };
  }

  async root(): Promise<Folder> {
    const { root } = this.#options;
    try {
      if (!this.#handles) return await this.#byPath(root);
      const start = parse(root).root;
      let folder = await this.#byHandle(start);
      for (const name of root.slice(start.length).split(sep)) folder = await this.#byHandle(folder.at(name));
      return folder;
    } catch (error) {
      if (error instanceof RefusalError) throw error;
      return refuse(
        "target_unavailable",
        `the workspace's root \`${visible(root)}\` is not there any more as it was registered (${codeOf(error)})`,
      );
    }
  }

  /** The folder of this name; undefined if there is none. */
  async enter(folder: Folder, name: string): Promise<Folder | undefined> {
    await refuseCollision(folder, name, name);
    try {
      return this.#handles ? await this.#byHandle(folder.at(name)) : await this.#byPath(folder.at(name));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    }
  }

  async #byHandle(path: string): Promise<Folder> {
    const handle = await fs.open(path, O_PATH | directory | noFollow);
    this.#open.push(handle);
    await this.refuseDenied(await handle.stat({ bigint: true }));
    const self = `/proc/self/fd/${handle.fd}`;
    return { self, at: (name) => `${self}/${name}`, verify: () => Promise.resolve() };
  }

  async #byPath(path: string): Promise<Folder> {
    const stat = await fs.lstat(path, { bigint: true });
    if (!stat.isDirectory())
      throw Object.assign(new Error("not a folder"), { code: stat.isSymbolicLink() ? "ELOOP" : "ENOTDIR" });
    await this.refuseDenied(stat);
    const verify = async (): Promise<void> => {
      const now = await fs.lstat(path, { bigint: true });
      if (!now.isDirectory() || now.dev !== stat.dev || now.ino !== stat.ino || (await fs.realpath(path)) !== path) {
        throw Object.assign(new Error("the folder was exchanged"), { code: "ELOOP" });
      }
    };
    await verify();
    return { self: path, at: (name) => join(path, name), verify };
  }

  async refuseDenied(stat: BigIntStats): Promise<void> {
    this.#denied ??= identities(this.#options.denied);
    if ((await this.#denied).has(identity(stat)))
      refuse("path_denied", "the path leads to Countersign's data, keys or tokens; choose another path");
  }

  /** A file, opened without touching what is not regular. */
  async openFile({ folder, name }: Reached): Promise<FileHandle | undefined> {
    await folder.verify();
    let probe: FileHandle;
    try {
      if (!this.#handles) await this.#regular(await fs.lstat(folder.at(name), { bigint: true }));
      probe = await fs.open(
        folder.at(name),
        this.#handles ? O_PATH | noFollow : constants.O_RDONLY | noFollow | (constants.O_NONBLOCK ?? 0),
      );
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    }
    this.#open.push(probe);
    await this.#regular(await probe.stat({ bigint: true }));
    await folder.verify();
    if (!this.#handles) return probe;
    const handle = await fs.open(`/proc/self/fd/${probe.fd}`, constants.O_RDONLY);
    this.#open.push(handle);
    return handle;
  }

  async #regular(stat: BigIntStats): Promise<void> {
    if (!stat.isFile()) refuse("path_refused", `the path is ${kindOf(stat)}, not a regular file; choose another path`);
    await this.refuseDenied(stat);
  }
}

const identity = (stat: BigIntStats): string => `${stat.dev}:${stat.ino}`;

async function identities(paths: readonly string[]): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  for (const path of paths) {
    try {
      found.add(identity(await fs.stat(path, { bigint: true })));
    } catch (error) {
      // What is not there cannot be reached.
      if (codeOf(error) !== "ENOENT" && codeOf(error) !== "ENOTDIR") throw error;
    }
  }
  return found;
}

function kindOf(stat: BigIntStats): string {
  if (stat.isSymbolicLink()) return "a symbolic link";
  if (stat.isDirectory()) return "a folder";
  if (stat.isFIFO()) return "a FIFO";
  if (stat.isSocket()) return "a socket";
  return "a device";
}

/** Refuses a name that another one in the folder differs from by case, normalisation or invisible characters alone. */
async function refuseCollision(folder: Folder, name: string, path: string): Promise<void> {
  await folder.verify();
  const folded = foldPath(name);
  const other = (await fs.readdir(folder.self)).find((entry) => entry !== name && foldPath(entry) === folded);
  if (other === undefined) return;
  refuse(
    "path_refused",
    `\`${visible(path)}\` and \`${visible(other)}\` are one name on other filesystems; use the name that is there, or rename it first`,
  );
}

const mask = 0o7777n;

async function readAt(walk: Walk, path: string): Promise<FileState> {
  const reached = await walk.reach(path);
  if ("missing" in reached) return { exists: false, missingParents: reached.missing };
  return (await readName(walk, reached)) ?? { exists: false, missingParents: 0 };
}

/** Reads until the file holds still for the time of reading, at most three times. */
async function readName(walk: Walk, reached: Reached): Promise<FoundFile | undefined> {
  for (let attempt = 0; attempt < 3; attempt++) {
    const handle = await walk.openFile(reached);
    if (handle === undefined) return undefined;
    const before = await handle.stat({ bigint: true });
    if (before.size > BigInt(limits.fileBytesMax))
      refuse("limit_exceeded", `the file has \`${before.size}\` bytes, more than ${limits.fileBytesMax}`);
    const bytes = await readAll(handle, Number(before.size));
    const after = await handle.stat({ bigint: true });
    if (before.mtimeNs === after.mtimeNs && before.ctimeNs === after.ctimeNs && after.size === BigInt(bytes.length)) {
      return { exists: true, bytes, mode: Number(after.mode & mask), links: Number(after.nlink), mark: markOf(after) };
    }
  }
  return refuse("target_unavailable", "the file is being written by another program; try again when it is done");
}

async function readAll(handle: FileHandle, size: number): Promise<Uint8Array> {
  const buffer = Buffer.alloc(size + 1);
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await handle.read(buffer, length, buffer.length - length, length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  return buffer.subarray(0, length);
}

const markOf = ({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): Mark => ({ dev, ino, size, mtimeNs, ctimeNs });
const sameMark = (a: Mark, b: Mark): boolean =>
  a.dev === b.dev && a.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs;

const tokenPrefix = (token: string): string => `${temporaryPrefix}${sha256Hex(token).slice(0, 24)}-`;
/** Where a file is taken aside to be removed: one name a file and token, so that a later try finds it. */
const asideName = (token: string, name: string): string => `${tokenPrefix(token)}aside-${sha256Hex(name).slice(0, 24)}`;

/** Writes a durable temporary file beside the target. */
async function writeTemporary(
  folder: Folder,
  { bytes, mode }: FileContent,
  token: string,
  like: Owner | undefined,
): Promise<string> {
  const name = `${tokenPrefix(token)}${randomBytes(8).toString("hex")}`;
  await folder.verify();
  const handle = await fs.open(
    folder.at(name),
    constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | noFollow,
    0o600,
  );
  try {
    await handle.writeFile(bytes);
    if (like !== undefined) await chownLike(handle, like);
    // After the owner: changing the owner clears set-user-id bits. The umask has no say.
    await handle.chmod(mode);
    await handle.sync();
  } catch (error) {
    await handle.close();
    await unlinkQuietly(folder, name);
    throw error;
  }
  await handle.close();
  return name;
}

interface Owner {
  readonly uid: bigint;
  readonly gid: bigint;
}

/** Keeps the owner where the process may set it; a file of one's own needs nothing. */
async function chownLike(handle: FileHandle, like: Owner): Promise<void> {
  const own = await handle.stat({ bigint: true });
  if (own.uid === like.uid && own.gid === like.gid) return;
  try {
    await handle.chown(Number(like.uid), Number(like.gid));
  } catch (error) {
    // Only root may give files away. The bytes and mode are what is promised; docs/targets.md says so.
    if (codeOf(error) !== "EPERM") throw error;
  }
}

/** What is made by root belongs to whoever the folder belongs to. */
async function folderOwner(folder: Folder): Promise<Owner | undefined> {
  return process.geteuid?.() === 0 ? fs.stat(folder.self, { bigint: true }) : undefined;
}

async function unlinkQuietly(folder: Folder, name: string): Promise<void> {
  try {
    await fs.unlink(folder.at(name));
  } catch {
    // It is gone, or the folder cannot be written: the next try of the same token removes it.
  }
}

async function syncFolder(folder: Folder): Promise<void> {
  // A handle by O_PATH cannot be synchronised: it is opened again.
  const handle = await fs.open(folder.self, constants.O_RDONLY | directory);
  try {
    await handle.sync();
  } catch (error) {
    // Some network and user-space filesystems cannot synchronise folders; what they make durable is their own affair.
    if (!["EINVAL", "ENOTSUP", "EOPNOTSUPP"].includes(codeOf(error))) throw error;
  } finally {
    await handle.close();
  }
}

async function createAt(walk: Walk, path: string, content: FileContent, token: string): Promise<boolean> {
  const made: Reached[] = [];
  try {
    const reached = await reachMaking(walk, path, made);
    const created = await createName(reached, content, token);
    if (!created) await unmake(made);
    return created;
  } catch (error) {
    await unmake(made);
    throw error;
  }
}

/** The folder of the path, with the missing ones made; `made` grows by each. */
async function reachMaking(walk: Walk, path: string, made: Reached[]): Promise<Reached> {
  const names = path.split("/");
  let folder = await walk.root();
  for (const name of names.slice(0, -1))
    folder = (await walk.enter(folder, name)) ?? (await makeFolder(walk, { folder, name }, made));
  const reached = { folder, name: names.at(-1) as string };
  await refuseCollision(folder, reached.name, path);
  return reached;
}

async function makeFolder(walk: Walk, reached: Reached, made: Reached[]): Promise<Folder> {
  const { folder, name } = reached;
  await folder.verify();
  try {
    await fs.mkdir(folder.at(name));
    made.push(reached);
    const owner = await folderOwner(folder);
    if (owner !== undefined) await fs.lchown(folder.at(name), Number(owner.uid), Number(owner.gid));
  } catch (error) {
    // Somebody else made it at the same time.
    if (codeOf(error) !== "EEXIST") throw error;
  }
  await syncFolder(folder);
  const next = await walk.enter(folder, name);
  return next ?? refuse("target_unavailable", "a folder of the path vanished while it was used; try again");
}

/** Removes folders that were made for nothing. */
async function unmake(made: readonly Reached[]): Promise<void> {
  for (const { folder, name } of made.toReversed()) {
    try {
      await fs.rmdir(folder.at(name));
    } catch {
      // Somebody put something into it: it is theirs now.
      return;
    }
  }
}

async function createName({ folder, name }: Reached, content: FileContent, token: string): Promise<boolean> {
  const temporary = await writeTemporary(folder, content, token, await folderOwner(folder));
  try {
    // If we die here: the temporary file is left; the next try of the token removes it and begins again.
    if (!(await takeFreeName(folder, temporary, name))) return false;
    // If we die here: the file is there with a second name; the next try removes that.
  } finally {
    await unlinkQuietly(folder, temporary);
  }
  await folder.verify();
  await syncFolder(folder);
  return true;
}

// Filesystems without hard links (FAT, some network mounts).
const noLinks = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EMLINK"]);

/** Gives the temporary file a name that nothing has. False: something has it. */
async function takeFreeName(folder: Folder, temporary: string, name: string): Promise<boolean> {
  try {
    await fs.link(folder.at(temporary), folder.at(name));
    return true;
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    if (!noLinks.has(codeOf(error))) throw error;
  }
  if (await isThere(folder, name)) return false;
  await fs.rename(folder.at(temporary), folder.at(name));
  return true;
}

async function isThere(folder: Folder, name: string): Promise<boolean> {
  try {
    await fs.lstat(folder.at(name));
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
}

async function replaceAt(walk: Walk, path: string, content: FileContent, mark: Mark, token: string): Promise<boolean> {
  const reached = await walk.reach(path);
  if ("missing" in reached) return false;
  const { folder, name } = reached;
  const present = await fs.lstat(folder.at(name), { bigint: true });
  const temporary = await writeTemporary(folder, content, token, present);
  try {
    await folder.verify();
    // INVARIANT: nothing is replaced that was not read: the last look is the step before the rename.
    if (!sameMark(markOf(await fs.lstat(folder.at(name), { bigint: true })), mark)) {
      await unlinkQuietly(folder, temporary);
      return false;
    }
    await fs.rename(folder.at(temporary), folder.at(name));
  } catch (error) {
    await unlinkQuietly(folder, temporary);
    throw error;
  }
  await folder.verify();
  await syncFolder(folder);
  return true;
}

interface Removal {
  readonly isBefore: (file: FoundFile) => boolean;
  readonly parents: number;
  readonly token: string;
}

async function removeAt(walk: Walk, path: string, { isBefore, parents, token }: Removal): Promise<boolean> {
  const reached = await walk.reach(path);
  if ("missing" in reached) return false;
  const { folder, name } = reached;
  const aside = asideName(token, name);
  await folder.verify();
  await fs.rename(folder.at(name), folder.at(aside));
  // If we die here: the file is aside; `recover` of the next try ends the removal, or puts it back if it is another one.
  if (!(await settleAside(walk, folder, { name, aside, isBefore }))) return false;
  await syncFolder(folder);
  await removeEmptyFolders(walk, path, parents);
  return true;
}

interface Aside {
  readonly name: string;
  readonly aside: string;
  readonly isBefore: (file: FoundFile) => boolean;
}

/** Removes what was taken aside if it is the file that was meant; else puts it back. */
async function settleAside(walk: Walk, folder: Folder, { name, aside, isBefore }: Aside): Promise<boolean> {
  let file: FoundFile | undefined;
  try {
    file = await readName(walk, { folder, name: aside });
  } catch (error) {
    // It became a link, a folder or unreadable in the moment before: it goes back as it is.
    if (!(await isThere(folder, name))) await fs.rename(folder.at(aside), folder.at(name));
    throw error;
  }
  if (file === undefined) return true;
  if (isBefore(file)) {
    await fs.unlink(folder.at(aside));
    return true;
  }
  if (await takeFreeName(folder, aside, name)) await unlinkQuietly(folder, aside);
  else
    refuse(
      "conflict",
      `a file was changed while it was removed, and its name is taken again; what it was is kept as \`${aside}\``,
    );
  await syncFolder(folder);
  return false;
}

async function removeEmptyFolders(walk: Walk, path: string, parents: number): Promise<void> {
  let folder = path;
  for (let left = parents; left > 0; left--) {
    folder = folder.slice(0, Math.max(folder.lastIndexOf("/"), 0));
    if (folder === "") return;
    const reached = await walk.reach(folder);
    if ("missing" in reached) return;
    try {
      await fs.rmdir(reached.folder.at(reached.name));
    } catch (error) {
      // It holds something, or it is in use: then it stays.
      if (["ENOTEMPTY", "EEXIST", "EBUSY", "ENOENT"].includes(codeOf(error))) return;
      throw error;
    }
    await syncFolder(reached.folder);
  }
}

async function recoverAt(
  walk: Walk,
  path: string,
  token: string,
  isBefore: (file: FoundFile) => boolean,
): Promise<void> {
  const reached = await walk.reach(path);
  if ("missing" in reached) return;
  const { folder, name } = reached;
  const aside = asideName(token, name);
  const left = (await fs.readdir(folder.self)).filter((entry) => entry.startsWith(tokenPrefix(token)));
  await folder.verify();
  for (const entry of left) {
    if (entry === aside) await recoverAside(walk, folder, { name, aside, isBefore });
    else if (!entry.includes("-aside-")) await unlinkQuietly(folder, entry);
  }
  if (left.length > 0) await syncFolder(folder);
}

async function recoverAside(walk: Walk, folder: Folder, place: Aside): Promise<void> {
  const aside = await fs.lstat(folder.at(place.aside), { bigint: true });
  const present = (await isThere(folder, place.name))
    ? await fs.lstat(folder.at(place.name), { bigint: true })
    : undefined;
  // It was being put back: both names are the same file.
  if (present !== undefined && identity(present) === identity(aside)) await unlinkQuietly(folder, place.aside);
  else await settleAside(walk, folder, place);
}

export function codeOf(error: unknown): string {
  return (error as { code?: string } | undefined)?.code ?? "";
}

const refusalCodes: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOSPC: ["disk_full", "the disk is full; make room and try again"],
  EDQUOT: ["disk_full", "the disk quota is used up; make room and try again"],
  EFBIG: ["disk_full", "the file would be larger than the system allows; make room and try again"],
  EACCES: ["target_unavailable", "the server may not do this there; check owner and permissions"],
  EPERM: ["target_unavailable", "the system does not permit this there; check owner and attributes"],
  EROFS: ["target_unavailable", "the filesystem is read-only"],
  EMFILE: ["target_unavailable", "too many files are open; try again later"],
  ENFILE: ["target_unavailable", "too many files are open on this machine; try again later"],
  EIO: ["target_unavailable", "the disk failed; check it"],
  EBUSY: ["target_unavailable", "the file is in use; try again later"],
  ETXTBSY: ["target_unavailable", "the file is being executed; try again later"],
  ELOOP: ["path_refused", "a component of the path is a link; use the path it leads to"],
  ENOTDIR: ["path_refused", "a component of the path is a link or no folder; use real folders"],
  EISDIR: ["path_refused", "the path is a folder"],
  ENAMETOOLONG: ["path_refused", "a name of the path is too long"],
};

/** Errors of the system in the words of the catalogue. */
function refusalOf(error: unknown, path: string): unknown {
  if (error instanceof RefusalError) return error;
  const code = codeOf(error);
  if (!/^E[A-Z0-9]+$/.test(code)) return error;
  const [refusal, reason] = refusalCodes[code] ?? (["target_unavailable", "the system refused"] as const);
  return new RefusalError(
    { kind: "refused", code: refusal, message: `\`${visible(path)}\`: ${reason} (${code})` },
    { cause: error },
  );
}
