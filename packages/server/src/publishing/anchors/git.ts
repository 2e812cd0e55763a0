/**
 * The git anchor: a repository, one commit a submission, pushed to `origin` when there is such a remote. Its strength
 * is in the clones that others fetched, and in a remote that refuses rewriting. Layout and check: layout.ts.
 *
 * Promises:
 * - A commit holds a whole submission or there is none: `git fast-import` makes it from its parent, without working
 *   tree, index or hooks, and it is refused when the branch moved meanwhile. So a kill at any point leaves nothing half
 *   done.
 * - History is never rewritten, and a branch that others rewrote is reported: `refs/countersign/anchored` is the last
 *   commit made here, `refs/countersign/pushed` the last one the remote took; both stay ancestors of what follows.
 * - Confirmed means: committed, and pushed where there is a remote.
 */
import { randomUUID } from "node:crypto";
import { readdir, rename, rm, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { parseTilePath, tilePath } from "@countersign/proof";
import { hasCode, type Clock } from "../../platform/index.js";
import { AnchorContradiction, type Anchor, type AnchorReceipt, type Submission } from "./anchor.js";
import { Git } from "./gitCommand.js";
import {
  check,
  type Continuation,
  folderOf,
  type Held,
  readHeld,
  recordOf,
  segmentName,
  type Shelf,
  tileLeaves,
} from "./layout.js";
import { openDirectory } from "./openDirectory.js";
import { Memory, Turns } from "./turns.js";

export interface GitAnchorOptions {
  readonly name: string;
  /** A repository, bare or not, or an empty or missing folder that becomes one. */
  readonly directory: string;
  readonly clock: Clock;
  /** A file of notes that has grown to this takes no more: each commit stores the last one anew. */
  readonly segmentBytesMax?: number;
}

const segmentBytesMaxUsual = 64 * 1024;
const anchoredRef = "refs/countersign/anchored";
const pushedRef = "refs/countersign/pushed";
/** Times a commit is made again because the branch moved. */
const triesMax = 5;
/** Commits between two looks at whether the repository should be packed. */
const commitsUntilGc = 256;

interface Known {
  /** The tree of the log's folder when it was read. */
  readonly tree: string | undefined;
  readonly held: Held;
}

interface Repository {
  readonly options: GitAnchorOptions;
  readonly git: Git;
  readonly memory: Memory<Known>;
  commits: number;
}

interface Head {
  readonly branch: string;
  /** Undefined: no commit yet. */
  readonly commit: string | undefined;
}

export function gitAnchor(options: GitAnchorOptions): Anchor {
  const cut = new AbortController();
  const repository: Repository = {
    options,
    git: new Git(options.directory, cut.signal),
    memory: new Memory(),
    commits: 0,
  };
  const turns = new Turns();
  return {
    name: options.name,
    kind: "git",
    location: options.directory,
    submit: (submission) => turns.take("repository", () => submit(repository, submission)),
    close: () => cut.abort(),
  };
}

async function submit(repository: Repository, submission: Submission): Promise<AnchorReceipt> {
  const { git } = repository;
  const gitDirectory = await openRepository(git, submission.anchored);
  for (let tries = 0; tries < triesMax; tries += 1) {
    const head = await readHead(git);
    await clearLocks(gitDirectory, [head.branch, anchoredRef, pushedRef]);
    await refuseRewritten(git, head, anchoredRef, "the branch");
    const held = await hold(repository, head, submission.origin);
    const continuation = await check(shelfOf(git, head, submission.origin), held, submission);
    const commit =
      continuation === undefined ? head.commit : await makeCommit(repository, { head, held, submission, continuation });
    if (commit === undefined) continue; // the branch moved: read again
    await git.answer(["update-ref", anchoredRef, commit]);
    await push(git, { branch: head.branch, commit });
    await collect(repository);
    return receiptFor(repository, { branch: head.branch, commit }, submission);
  }
  throw new Error(
    `the branch of \`${git.directory}\` moved ${triesMax} times; does another program commit to it all the time?`,
  );
}

async function receiptFor(
  repository: Repository,
  head: Head,
  { origin, checkpoint }: Submission,
): Promise<AnchorReceipt> {
  const { newest } = await hold(repository, head, origin);
  if (newest === undefined) throw new Error("the anchor holds no checkpoint after it committed one");
  return {
    size: checkpoint.size,
    atMs: newest.receivedMs,
    receipt: `commit ${head.commit ?? ""} ${folderOf(origin)}\n`,
  };
}

/** An existing repository is used; an empty or missing folder becomes one. Returns the path of the git directory. */
async function openRepository(git: Git, anchored: number): Promise<string> {
  const { directory } = git;
  await openDirectory(directory, anchored);
  const names = await readdir(directory);
  if (names.length === 0) await initialize(git);
  const { code, stdout, stderr } = await git.run(["rev-parse", "--absolute-git-dir"]);
  if (code === 0) return stdout.toString("utf8").trim();
  if (names.join() !== ".git")
    throw new Error(`\`${directory}\` is no git repository and not empty: ${stderr.slice(0, 300)}`);
  await git.answer(["init", "-q"]); // somebody was interrupted while making it
  return (await git.answer(["rev-parse", "--absolute-git-dir"])).toString("utf8").trim();
}

/** A git that changes a branch holds the branch's lock for milliseconds. A killed git holds it for ever. */
const lockStaleMs = 60_000;

async function clearLocks(gitDirectory: string, refs: readonly string[]): Promise<void> {
  for (const ref of refs) {
    const lock = join(gitDirectory, `${ref}.lock`);
    try {
      if (Date.now() - (await stat(lock)).mtimeMs > lockStaleMs) await unlink(lock);
    } catch (error) {
      if (!hasCode(error, "ENOENT", "ENOTDIR")) throw error; // as it should be: there is none
    }
  }
}

/** Made beside it and given its name as a whole, so that of several processes one is first. */
async function initialize(git: Git): Promise<void> {
  const { directory } = git;
  const partial = `${directory}.${randomUUID()}.partial`;
  try {
    await git.answer(["init", "-q", partial]);
    await rename(partial, directory);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    if (hasCode(error, "ENOTEMPTY", "EEXIST")) return; // another process was faster
    // A mount, or a folder above that may not be written: made in place.
    await git.answer(["init", "-q"]);
  }
}

async function readHead(git: Git): Promise<Head> {
  const { code, stdout } = await git.run(["symbolic-ref", "-q", "HEAD"]);
  if (code !== 0) throw new Error(`no branch is checked out in \`${git.directory}\`; check one out for the anchor`);
  const branch = stdout.toString("utf8").trim();
  return { branch, commit: await commitOf(git, branch) };
}

async function commitOf(git: Git, ref: string): Promise<string | undefined> {
  const { code, stdout } = await git.run(["rev-parse", "-q", "--verify", `${ref}^{commit}`]);
  return code === 0 ? stdout.toString("utf8").trim() : undefined;
}

async function isAncestor(git: Git, older: string, newer: string): Promise<boolean> {
  if (older === newer) return true;
  const { code, stderr } = await git.run(["merge-base", "--is-ancestor", older, newer]);
  if (code > 1 || code < 0) throw new Error(`\`git merge-base\` failed (${code}): ${stderr.slice(0, 300)}`);
  return code === 0;
}

/** Commits that were anchored before must be ancestors of the present branch. */
async function refuseRewritten(git: Git, head: Head, ref: string, what: string): Promise<void> {
  const before = await commitOf(git, ref);
  if (before === undefined) return;
  if (head.commit !== undefined && (await isAncestor(git, before, head.commit))) return;
  throw new AnchorContradiction(
    "rewritten",
    undefined,
    `${what} \`${head.branch}\` of \`${git.directory}\` no longer contains commit ${before}, which was anchored: its history was rewritten, or another branch is checked out`,
  );
}

async function hold(repository: Repository, head: Head, origin: string): Promise<Held> {
  const { git, memory } = repository;
  const found = await git.run(["rev-parse", "-q", "--verify", `${head.commit ?? head.branch}:${folderOf(origin)}`]);
  const tree = found.code === 0 ? found.stdout.toString("utf8").trim() : undefined;
  const known = memory.get(origin);
  if (known !== undefined && known.tree === tree) return known.held;
  const held = await readHeld(shelfOf(git, head, origin), origin, known?.held);
  memory.set(origin, { tree, held });
  return held;
}

/** Full tiles that one question to git asks for: they are read in their order. */
const tilesAhead = 64;

/** The log's folder as a commit has it. */
function shelfOf(git: Git, { commit }: Head, origin: string): Shelf {
  const at = (path: string): string => `${commit ?? ""}:${folderOf(origin)}${path === "" ? "" : `/${path}`}`;
  let ahead = new Map<string, Buffer | undefined>();
  return {
    read: async (path) => {
      if (commit === undefined) return undefined;
      if (ahead.has(path)) return ahead.get(path);
      const paths = withFollowing(path);
      const input = paths.map((wanted) => `${at(wanted)}\n`);
      const blobs = blobsOf(await git.answer(["cat-file", "--batch"], { input }));
      ahead = new Map(paths.map((wanted, index) => [wanted, blobs[index]]));
      return ahead.get(path);
    },
    list: async (path) => {
      if (commit === undefined) return [];
      const { code, stdout } = await git.run(["ls-tree", "-z", "--name-only", at(path)]);
      // Not 0: there is no such folder in this commit, which was found to be there.
      return code === 0
        ? stdout
            .toString("utf8")
            .split("\0")
            .filter((name) => name !== "")
        : [];
    },
  };
}

function withFollowing(path: string): string[] {
  const tile = parseTilePath(path);
  if (tile?.width !== tileLeaves) return [path];
  return Array.from({ length: tilesAhead }, (_, more) => tilePath({ ...tile, index: tile.index + more }));
}

/** For each name `<oid> blob <size>\n<bytes>\n`, or `<name> missing\n`. Throws where that is cut off. */
function blobsOf(answer: Buffer): (Buffer | undefined)[] {
  const blobs: (Buffer | undefined)[] = [];
  for (let at = 0; at < answer.length;) {
    const line = answer.indexOf("\n", at);
    if (line < 0) throw new Error("`git cat-file` ended in the middle of its answer");
    const size = /^[0-9a-f]+ blob ([0-9]+)$/.exec(answer.toString("utf8", at, line))?.[1];
    const begins = line + 1;
    blobs.push(size === undefined ? undefined : answer.subarray(begins, begins + Number(size)));
    at = size === undefined ? begins : begins + Number(size) + 1;
  }
  return blobs;
}

interface Commit {
  readonly head: Head;
  readonly held: Held;
  readonly submission: Submission;
  readonly continuation: Continuation;
}

/** Undefined: the branch moved meanwhile. */
async function makeCommit(repository: Repository, made: Commit): Promise<string | undefined> {
  const { git } = repository;
  const { branch, commit } = made.head;
  // Under a name of its own: a first commit says no parent, and fast-import would put it on whatever the branch has become.
  const pending = `${pendingRefs}${randomUUID()}`;
  const stream = commitStream(repository, made, pending);
  const { code, stderr } = await git.run(["fast-import", "--quiet", "--done", "--date-format=raw"], { input: stream });
  const created = code === 0 ? await commitOf(git, pending) : undefined;
  if (created === undefined)
    throw new Error(`the checkpoint could not be committed (${code}): ${stderr.slice(0, 500)}`);
  // INVARIANT: the branch moves only from the commit that was read, or from none (empty), by git's own compare-and-set.
  const moved = await git.run(["update-ref", branch, created, commit ?? ""]);
  await git.run(["update-ref", "-d", pending]);
  if (moved.code === 0) {
    await showInWorkingTree(git, commit, created);
    return created;
  }
  if ((await commitOf(git, branch)) !== commit) return undefined;
  throw new Error(`the branch could not be moved (${moved.code}): ${String(moved.stderr).slice(0, 500)}`);
}

/** The refs of commits that no branch has yet. Refs left by a killed process have no meaning. */
const pendingRefs = "refs/countersign/pending/";

async function* commitStream(
  { options, git }: Repository,
  made: Commit,
  ref: string,
): AsyncIterable<Uint8Array | string> {
  const { head, held, submission, continuation } = made;
  const { origin, checkpoint } = submission;
  const folder = folderOf(origin);
  const nowMs = options.clock.nowMs();
  const root = Buffer.from(checkpoint.root).toString("hex");
  yield `commit ${ref}\ncommitter countersign <countersign@localhost> ${Math.floor(nowMs / 1_000)} +0000\n`;
  yield* data(Buffer.from(`${origin}: size ${checkpoint.size}, root ${root}\n`));
  if (head.commit !== undefined) yield `from ${head.commit}\n`;
  for await (const { path, bytes } of continuation.tiles()) {
    // A partial tile has grown, or is full now. One file for each tile is enough; older commits have the older ones.
    yield* removed(`${folder}/${path.replace(/(\.p\/[0-9]+)?$/, ".p")}`, held.edge.size % tileLeaves !== 0);
    yield* file(`${folder}/${path}`, bytes);
  }
  const record = recordOf(checkpoint.text, nowMs);
  const full = held.readTo >= (options.segmentBytesMax ?? segmentBytesMaxUsual);
  const segment = held.whole && !full ? held.segment : held.segment + 1;
  const before = segment === held.segment ? await shelfOf(git, head, origin).read(segmentName(segment)) : undefined;
  yield* file(`${folder}/${segmentName(segment)}`, Buffer.concat([before ?? new Uint8Array(), record]));
  yield* file(`${folder}/checkpoint`, Buffer.from(checkpoint.text));
  yield "done\n";
}

function* data(bytes: Uint8Array): Iterable<Uint8Array | string> {
  yield `data ${bytes.length}\n`;
  yield bytes;
  yield "\n";
}

function* file(path: string, bytes: Uint8Array): Iterable<Uint8Array | string> {
  yield `M 100644 inline ${path}\n`;
  yield* data(bytes);
}

function* removed(path: string, mayBeThere: boolean): Iterable<string> {
  if (mayBeThere) yield `D ${path}\n`;
}

/** A courtesy to people who look into a repository that is not bare. Files that they changed themselves stay. */
async function showInWorkingTree(git: Git, before: string | undefined, now: string): Promise<void> {
  const bare = await git.answer(["rev-parse", "--is-bare-repository"]);
  if (bare.toString("utf8").trim() === "true") return;
  await git.run(["read-tree", "-m", "-u", ...(before === undefined ? [] : [before]), now]);
}

/** Loose objects are packed now and then, as `git commit` would do. */
async function collect(repository: Repository): Promise<void> {
  repository.commits += 1;
  if (repository.commits % commitsUntilGc !== 0) return;
  await repository.git.run(["gc", "--auto", "--quiet"], { timeoutMs: 600_000 });
}

const pushTimeoutMs = 120_000;

/** Only when a remote `origin` is configured. The remote has to stand where it was left: it must not be rewritten unnoticed. */
async function push(git: Git, { branch, commit }: { branch: string; commit: string }): Promise<void> {
  const remotes = (await git.answer(["remote"])).toString("utf8").split("\n");
  if (!remotes.includes("origin")) return;
  const pushed = await commitOf(git, pushedRef);
  if (pushed === commit) return;
  const lease = pushed === undefined ? [] : [`--force-with-lease=${branch}:${pushed}`];
  // INVARIANT: nothing is forced. The lease only adds that the remote is as we left it, and `pushed` is an ancestor of `commit`.
  if (pushed !== undefined) await refuseRewritten(git, { branch, commit }, pushedRef, "the branch");
  const args = ["push", "--porcelain", ...lease, "origin", `${commit}:${branch}`];
  const { code, stdout, stderr } = await git.run(args, { timeoutMs: pushTimeoutMs });
  if (code !== 0) {
    const rejected = /^!\t.*\[rejected\] \((.*)\)$/m.exec(stdout.toString("utf8"))?.[1];
    if (rejected === undefined) throw new Error(`the push to \`origin\` failed: ${stderr.slice(0, 500)}`);
    await judgeRemote(git, { branch, commit, pushed });
  }
  await git.answer(["update-ref", pushedRef, commit]);
}

interface Rejected {
  readonly branch: string;
  readonly commit: string;
  readonly pushed: string | undefined;
}

/** The remote is at another commit. Resolves when the remote was brought forward; otherwise throws the reason. */
async function judgeRemote(git: Git, { branch, commit, pushed }: Rejected): Promise<void> {
  const fetched = await git.run(["fetch", "-q", "--no-tags", "origin", branch], { timeoutMs: pushTimeoutMs });
  const there = fetched.code === 0 ? await commitOf(git, "FETCH_HEAD") : undefined;
  if (pushed !== undefined && (there === undefined || !(await isAncestor(git, pushed, there)))) {
    throw new AnchorContradiction(
      "rewritten",
      undefined,
      `\`${branch}\` of the remote \`origin\` no longer contains commit ${pushed}, which was pushed: its history was rewritten`,
    );
  }
  if (there === undefined || !(await isAncestor(git, there, commit)))
    throw new Error(
      `the remote \`origin\` has commits that \`${git.directory}\` does not have; pull them, or give the anchor a branch of its own`,
    );
  // An earlier push of ours arrived and its answer was lost.
  const args = ["push", "--porcelain", "origin", `${commit}:${branch}`];
  const { code, stderr } = await git.run(args, { timeoutMs: pushTimeoutMs });
  if (code !== 0) throw new Error(`the push to \`origin\` failed: ${stderr.slice(0, 500)}`);
}
