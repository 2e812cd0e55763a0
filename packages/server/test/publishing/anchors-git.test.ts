/** The git anchor: what every anchor promises, and what is its own. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { AnchorContradiction, type Anchor } from "../../src/publishing/anchors/index.js";
import { gitAnchor } from "../../src/publishing/anchors/git.js";
import { MemoryLog, sizeOfNote } from "../support/anchors.js";
import { exerciseAnchor, type AnchorPlace } from "../support/exercise-anchor.js";
import { temporaryDirectory } from "../support/postgres.js";
import { startProgram } from "../support/processes.js";

const clock = { nowMs: () => Date.now() };

function git(directory: string, ...args: string[]): string {
  return execFileSync("git", args, { cwd: directory, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

function makePlace(): AnchorPlace {
  const directory = join(temporaryDirectory(), "anchor");
  const away = `${directory}.away`;
  return {
    open: () => gitAnchor({ name: "repository", directory, clock }),
    breakIt: async () => renameSync(directory, away),
    repair: async () => renameSync(away, directory),
    wipe: async () => {
      rmSync(directory, { recursive: true });
      git(join(directory, ".."), "init", "-q", "anchor");
    },
    holds: async (origin) => sizeOfNote(git(directory, "show", `HEAD:${encodeURIComponent(origin)}/checkpoint`)),
  };
}

exerciseAnchor("git", () => Promise.resolve(makePlace()));

interface Repository {
  readonly directory: string;
  readonly log: MemoryLog;
  readonly open: () => Anchor;
  readonly git: (...args: string[]) => string;
  /** Sizes in the commits of a branch, oldest first. */
  readonly history: (of?: string) => number[];
}

function repository(): Repository {
  const directory = join(temporaryDirectory(), "anchor");
  const log = new MemoryLog();
  const path = `${encodeURIComponent(log.origin)}/checkpoint`;
  return {
    directory,
    log,
    open: () => gitAnchor({ name: "repository", directory, clock }),
    git: (...args) => git(directory, ...args),
    history: (of = "HEAD") => {
      const commits = git(directory, "rev-list", "--reverse", of, "--", path).trim().split("\n");
      return commits.map((commit) => sizeOfNote(git(directory, "show", `${commit}:${path}`)));
    },
  };
}

async function failure(work: Promise<unknown>): Promise<string> {
  const error = await work.catch((cause: unknown) => cause);
  return error instanceof AnchorContradiction ? error.how : error instanceof Error ? error.message : "confirmed";
}

describe("in a repository", () => {
  it("makes one commit a submission, and each holds the whole layout", async () => {
    const { log, open, git: run, history } = repository();
    for (const [anchored, size] of [
      [0, 17],
      [17, 300],
      [300, 600],
    ] as const)
      await open().submit(await log.submission(size, anchored));
    expect(history()).toEqual([17, 300, 600]);
    const folder = encodeURIComponent(log.origin);
    const files = run("ls-tree", "-r", "--name-only", "HEAD").trim().split("\n");
    expect(files).toEqual(
      ["checkpoint", "checkpoints", "tile/0/000", "tile/0/001", "tile/0/002.p/88"].map((path) => `${folder}/${path}`),
    );
    expect(run("log", "-1", "--format=%an <%ae>").trim()).toBe("countersign <countersign@localhost>");
    run("fsck", "--strict");
    // People who look into the folder see the newest.
    expect(run("status", "--porcelain")).toBe("");
  });

  it("of somebody's, lets their files and settings be", async () => {
    const { directory, log, open, git: run, history } = repository();
    mkdirSync(directory);
    run("init", "-q", "-b", "mine");
    run("config", "commit.gpgsign", "true");
    run("config", "core.autocrlf", "true");
    run("config", "filter.spoil.clean", "tr a b");
    run("config", "gpg.program", "/bin/false");
    writeFileSync(join(directory, ".gitattributes"), "* filter=spoil\n");
    writeFileSync(join(directory, "theirs"), "a\n");
    for (const hook of ["pre-commit", "commit-msg", "post-commit", "reference-transaction"]) {
      writeFileSync(join(directory, ".git/hooks", hook), "#!/bin/sh\ntouch ../hooked hooked\nexit 1\n");
      chmodSync(join(directory, ".git/hooks", hook), 0o755);
    }
    await open().submit(await log.submission(5));
    writeFileSync(join(directory, "theirs"), "changed\n");
    await open().submit(await log.submission(9, 5));
    expect(history("mine")).toEqual([5, 9]);
    expect(readFileSync(join(directory, "theirs"), "utf8")).toBe("changed\n");
    expect(run("ls-tree", "--name-only", "HEAD").trim()).toBe(encodeURIComponent(log.origin));
    expect(
      run("status", "--porcelain")
        .split("\n")
        .filter((line) => line.includes("hooked")),
    ).toEqual([]);
  });

  it("that is bare works as well", async () => {
    const { directory, log, open, git: run, history } = repository();
    mkdirSync(directory);
    run("init", "-q", "--bare");
    await open().submit(await log.submission(5));
    await open().submit(await log.submission(300, 5));
    expect(history()).toEqual([5, 300]);
  });

  const obstacles: readonly (readonly [string, (at: Repository) => void, string])[] = [
    [
      "a folder with other things",
      ({ directory }) => (mkdirSync(directory), writeFileSync(join(directory, "x"), "")),
      "is no git repository",
    ],
    [
      "a detached head",
      (at) => (
        mkdirSync(at.directory),
        at.git("init", "-q"),
        at.git(...identity, "commit", "-q", "--allow-empty", "-m", "x"),
        at.git("checkout", "-q", "--detach")
      ),
      "no branch is checked out",
    ],
    ["a file", ({ directory }) => writeFileSync(directory, ""), "is no folder"],
  ];
  it.each(obstacles)("says what is in the way: %s", async (_what, place, message) => {
    const at = repository();
    place(at);
    expect(await failure(at.open().submit(await at.log.submission(5)))).toContain(message);
  });

  const rewritings: readonly (readonly [string, (at: Repository) => void])[] = [
    ["the branch reset to an older commit", (at) => at.git("reset", "-q", "--hard", "HEAD~1")],
    ["the last commit amended", (at) => at.git(...identity, "commit", "-q", "--amend", "-m", "other", "--allow-empty")],
    ["another branch checked out", (at) => at.git("checkout", "-q", "--orphan", "other")],
    [
      "a new history",
      (at) => (at.git("checkout", "-q", "--orphan", "new"), at.git(...identity, "commit", "-q", "-m", "x")),
    ],
  ];
  it.each(rewritings)("tells that its history was rewritten: %s", async (_what, rewrite) => {
    const at = repository();
    await at.open().submit(await at.log.submission(5));
    await at.open().submit(await at.log.submission(300, 5));
    rewrite(at);
    expect(await failure(at.open().submit(await at.log.submission(600, 300)))).toBe("rewritten");
  });

  it("tells contents altered by a commit on top", async () => {
    const at = repository();
    await at.open().submit(await at.log.submission(300));
    const tile = join(at.directory, encodeURIComponent(at.log.origin), "tile/0/000");
    const bytes = readFileSync(tile);
    bytes.writeUInt8(bytes.readUInt8(7) ^ 1, 7);
    writeFileSync(tile, bytes);
    at.git(...identity, "commit", "-q", "-a", "-m", "innocent");
    expect(await failure(at.open().submit(await at.log.submission(600, 300)))).toBe("rewritten");
  });
});

const identity = ["-c", "user.name=x", "-c", "user.email=x@localhost"];

describe("with a remote", () => {
  function withRemote(): Repository & {
    readonly remote: string;
    readonly away: () => void;
    readonly back: () => void;
  } {
    const at = repository();
    const remote = `${at.directory}-remote`;
    mkdirSync(at.directory);
    git(join(at.directory, ".."), "init", "-q", "--bare", remote);
    at.git("init", "-q", "-b", "ledger");
    at.git("remote", "add", "origin", remote);
    const away = (): void => renameSync(remote, `${remote}.away`);
    const back = (): void => renameSync(`${remote}.away`, remote);
    return { ...at, remote, away, back };
  }
  const remoteHead = (remote: string): string => git(remote, "rev-parse", "refs/heads/ledger").trim();

  it("pushes each commit; when that fails it is no receipt, and the next push takes what was missed", async () => {
    const at = withRemote();
    const anchor = at.open();
    await anchor.submit(await at.log.submission(5));
    expect(remoteHead(at.remote)).toBe(at.git("rev-parse", "HEAD").trim());
    at.away();
    expect(await failure(anchor.submit(await at.log.submission(9, 5)))).toContain("the push to `origin` failed");
    at.back();
    expect((await anchor.submit(await at.log.submission(9, 5))).size).toBe(9);
    expect((await at.open().submit(await at.log.submission(300, 9))).size).toBe(300);
    expect(at.history("refs/remotes/origin/ledger")).toEqual([5, 9, 300]);
    expect(remoteHead(at.remote)).toBe(at.git("rev-parse", "HEAD").trim());
  });

  it("goes on when a push arrived and its answer was lost", async () => {
    const at = withRemote();
    await at.open().submit(await at.log.submission(5));
    at.away();
    await failure(at.open().submit(await at.log.submission(9, 5)));
    at.back();
    at.git("push", "-q", "origin", "ledger");
    expect((await at.open().submit(await at.log.submission(300, 9))).size).toBe(300);
    expect(remoteHead(at.remote)).toBe(at.git("rev-parse", "HEAD").trim());
  });

  it("tells that the remote was rewritten, and repairs nothing silently", async () => {
    const at = withRemote();
    await at.open().submit(await at.log.submission(5));
    await at.open().submit(await at.log.submission(9, 5));
    git(at.remote, "update-ref", "refs/heads/ledger", at.git("rev-parse", "HEAD~1").trim());
    expect(await failure(at.open().submit(await at.log.submission(300, 9)))).toBe("rewritten");
    expect(remoteHead(at.remote)).toBe(at.git("rev-parse", "HEAD~2").trim());
  });

  it("does not overwrite what others pushed", async () => {
    const at = withRemote();
    await at.open().submit(await at.log.submission(5));
    const other = `${at.directory}-other`;
    git(join(at.directory, ".."), "clone", "-q", "-b", "ledger", at.remote, other);
    git(other, ...identity, "commit", "-q", "--allow-empty", "-m", "theirs");
    git(other, "push", "-q");
    const theirs = remoteHead(at.remote);
    expect(await failure(at.open().submit(await at.log.submission(9, 5)))).toContain("pull them");
    expect(remoteHead(at.remote)).toBe(theirs);
  });

  it("shows no password", async () => {
    const at = withRemote();
    at.git("remote", "set-url", "origin", "http://me:s3cret@127.0.0.1:1/x.git");
    const said = await failure(at.open().submit(await at.log.submission(5)));
    expect(said).toContain("the push to `origin` failed");
    expect(said).not.toContain("s3cret");
  });
});

/** As if a minute had passed since git was killed. */
function ageLocks(directory: string): void {
  if (!existsSync(directory)) return;
  for (const name of readdirSync(directory, { recursive: true, encoding: "utf8" }))
    if (name.endsWith(".lock")) utimesSync(join(directory, name), 1_000_000_000, 1_000_000_000);
}

describe("a git or a process that is killed", () => {
  const program = new URL("../support/anchorProgram.ts", import.meta.url);

  async function killedAt(n: number): Promise<NodeJS.Signals | null> {
    const { directory, log, open, git: run, history } = repository();
    const child = startProgram<number | "done">(program, ["git", directory, "300", String(n)]);
    const { signal, output } = await child.ended;
    expect(output).toBe("");
    let confirmed = 0;
    for (let message = await child.next().catch(() => "done" as const); message !== "done";)
      [confirmed, message] = [message, await child.next().catch(() => "done" as const)];
    ageLocks(directory);
    expect((await open().submit(await log.submission(600, confirmed))).size).toBe(600);
    expect(history().at(-1)).toBe(600);
    expect(history()).toEqual(expect.arrayContaining(confirmed === 0 ? [600] : [confirmed, 600]));
    run("fsck", "--strict");
    return signal;
  }

  it("leaves a lock: told while it may be held, taken away when nobody can hold it", async () => {
    const { directory, log, open } = repository();
    await open().submit(await log.submission(5));
    const branch = git(directory, "symbolic-ref", "HEAD").trim();
    for (const ref of [branch, "refs/countersign/anchored"]) writeFileSync(join(directory, ".git", `${ref}.lock`), "");
    expect(await failure(open().submit(await log.submission(9, 5)))).toContain(".lock");
    ageLocks(directory);
    expect((await open().submit(await log.submission(9, 5))).size).toBe(9);
  });

  it("leaves a whole commit or none", { timeout: 120_000 }, async () => {
    let killed = 0;
    for (let n = 1, ended = false; !ended; n += 8) {
      const signals = await Promise.all([n, n + 2, n + 4, n + 6].map(killedAt));
      killed += signals.filter((signal) => signal === "SIGKILL").length;
      ended = signals.includes(null);
    }
    // Every other point: a process and its gits take a second.
    expect(killed).toBeGreaterThan(5);
  });
});
