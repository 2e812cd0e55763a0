import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { createRequire, syncBuiltinESMExports } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RefusalError } from "@countersign/contract";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openTree, type FoundFile, type Tree } from "../../src/targets/file/tree.js";

let base: string;
let root: string;
let outside: string;

beforeEach(() => {
  base = fs.mkdtempSync(join(fs.realpathSync(tmpdir()), "countersign-tree-"));
  root = join(base, "root");
  outside = join(base, "outside");
  for (const folder of [root, outside, join(root, "sub")]) fs.mkdirSync(folder);
  fs.writeFileSync(join(outside, "secret"), "secret");
  fs.writeFileSync(join(root, "plain"), "plain", { mode: 0o640 });
});
afterEach(() => fs.rmSync(base, { recursive: true, force: true }));

const content = (text: string, mode = 0o644): { bytes: Uint8Array; mode: number } => ({
  bytes: Buffer.from(text),
  mode,
});
const always = (): boolean => true;

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    const value = await promise;
    return `no refusal: ${typeof value === "boolean" ? value : "a value"}`;
  } catch (error) {
    if (error instanceof RefusalError) return error.refusal.code;
    throw error;
  }
}

async function found(tree: Tree, path: string): Promise<FoundFile> {
  const file = await tree.read(path);
  if (!file.exists) throw new Error(`${path} is not there`);
  return file;
}

const openFiles = (): number => fs.readdirSync("/proc/self/fd").length;

describe.each([
  ["by handles", true],
  ["by paths", false],
])("a tree %s", (_way, handles) => {
  const tree = (denied: string[] = []): Tree => openTree({ root, denied, handles });

  it("reads bytes and mode, and says what is missing", async () => {
    fs.chmodSync(join(root, "plain"), 0o640);
    expect(await tree().read("plain")).toMatchObject({ exists: true, mode: 0o640, links: 1 });
    expect(Buffer.from((await found(tree(), "plain")).bytes).toString()).toBe("plain");
    expect(await tree().read("none")).toEqual({ exists: false, missingParents: 0 });
    expect(await tree().read("a/b/none")).toEqual({ exists: false, missingParents: 2 });
  });

  it("creates with exactly the mode, whatever the umask, and makes folders", async () => {
    const umask = process.umask(0o077);
    try {
      expect(await tree().create("x/y/z", content("new", 0o664), "t")).toBe(true);
    } finally {
      process.umask(umask);
    }
    expect(fs.statSync(join(root, "x/y/z")).mode & 0o7777).toBe(0o664);
    expect(await tree().create("x/y/z", content("again"), "t")).toBe(false);
    expect(fs.readFileSync(join(root, "x/y/z"), "utf8")).toBe("new");
    expect(fs.readdirSync(join(root, "x/y"))).toEqual(["z"]);
  });

  it("replaces what was read, and nothing else", async () => {
    const file = await found(tree(), "plain");
    expect(await tree().replace("plain", content("next", 0o4750), file.mark, "t")).toBe(true);
    expect(fs.statSync(join(root, "plain")).mode & 0o7777).toBe(0o4750);
    expect(await tree().replace("plain", content("stale"), file.mark, "t")).toBe(false);
    expect(fs.readFileSync(join(root, "plain"), "utf8")).toBe("next");
    expect(fs.readdirSync(root).sort()).toEqual(["plain", "sub"]);
  });

  it("removes what was meant, and puts back what was not", async () => {
    expect(await tree().remove("plain", () => false, 0, "t")).toBe(false);
    expect(fs.readFileSync(join(root, "plain"), "utf8")).toBe("plain");
    expect(await tree().remove("plain", always, 0, "t")).toBe(true);
    expect(fs.readdirSync(root)).toEqual(["sub"]);
  });

  it("removes folders it made when they are empty, and no others", async () => {
    await tree().create("a/b/c/file", content("x"), "t");
    fs.writeFileSync(join(root, "a/keep"), "");
    await tree().remove("a/b/c/file", always, 3, "t");
    expect(fs.readdirSync(join(root, "a"))).toEqual(["keep"]);
    expect(fs.existsSync(join(root, "sub"))).toBe(true);
  });

  const links: readonly [what: string, make: () => void, path: string, code: string][] = [
    [
      "a link to a file outside",
      () => fs.symlinkSync(join(outside, "secret"), join(root, "link")),
      "link",
      "path_refused",
    ],
    ["a link to a file inside", () => fs.symlinkSync("plain", join(root, "link")), "link", "path_refused"],
    ["a dangling link", () => fs.symlinkSync(join(outside, "new"), join(root, "link")), "link", "path_refused"],
    ["a linked folder outside", () => fs.symlinkSync(outside, join(root, "link")), "link/secret", "path_refused"],
    ["a linked folder inside", () => fs.symlinkSync("sub", join(root, "link")), "link/x", "path_refused"],
    [
      "a link deep inside",
      () => fs.symlinkSync("../..", join(root, "sub/up")),
      "sub/up/outside/secret",
      "path_refused",
    ],
    ["a folder", () => undefined, "sub", "path_refused"],
    ["a file as a folder", () => undefined, "plain/x", "path_refused"],
    ["a FIFO", () => execFileSync("mkfifo", [join(root, "fifo")]), "fifo", "path_refused"],
    ["another case", () => undefined, "PLAIN", "path_refused"],
    ["another case of a folder", () => undefined, "Sub/x", "path_refused"],
    ["another normalisation", () => fs.writeFileSync(join(root, "caf\u00e9"), ""), "cafe\u0301", "path_refused"],
    ["two that differ by case", () => fs.writeFileSync(join(root, "Plain"), ""), "plain", "path_refused"],
  ];
  it.each(links)("refuses %s", async (_what, make, path, code) => {
    make();
    const before = execFileSync("find", [base, "-printf", "%p %y %s %T@\n"]).toString();
    const open = openFiles();
    expect(await codeOf(tree().read(path))).toBe(code);
    // Where the name itself is taken, that is what a creation finds.
    expect([code, "no refusal: false"]).toContain(await codeOf(tree().create(path, content("evil"), "t")));
    expect(openFiles()).toBe(open);
    expect(execFileSync("find", [base, "-printf", "%p %y %s\n"]).toString()).toBe(before.replace(/ [\d.]+\n/g, "\n"));
  });

  it("refuses a socket and a device without opening them", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(root, "socket"), resolve));
    expect(await codeOf(tree().read("socket"))).toBe("path_refused");
    await new Promise((resolve) => server.close(resolve));
    if (process.geteuid?.() !== 0) return;
    execFileSync("mknod", [join(root, "null"), "c", "1", "3"]);
    expect(await codeOf(tree().read("null"))).toBe("path_refused");
  });

  it("counts the names of a file", async () => {
    fs.linkSync(join(outside, "secret"), join(root, "hard"));
    expect((await found(tree(), "hard")).links).toBe(2);
  });

  it("denies by identity, also through a hard link", async () => {
    fs.linkSync(join(outside, "secret"), join(root, "hard"));
    expect(await codeOf(tree([join(outside, "secret")]).read("hard"))).toBe("path_denied");
    expect(await codeOf(tree([join(root, "sub")]).read("sub/x"))).toBe("path_denied");
    expect(await codeOf(tree([join(root, "sub")]).create("sub/x", content(""), "t"))).toBe("path_denied");
  });

  it("refuses files over the limit", async () => {
    fs.truncateSync(join(root, "plain"), 5 * 1024 * 1024);
    expect(await codeOf(tree().read("plain"))).toBe("limit_exceeded");
  });

  it("finds a root that is gone, or a link now", async () => {
    fs.renameSync(root, `${root}-moved`);
    expect(await codeOf(tree().read("plain"))).toBe("target_unavailable");
    fs.symlinkSync(outside, root);
    expect(await codeOf(tree().read("secret"))).toBe("target_unavailable");
  });

  it("is refused where the user may not write, and leaves nothing", async () => {
    const { geteuid, seteuid } = process;
    const asSomebody = async (use: () => Promise<void>): Promise<void> => {
      if (geteuid?.() !== 0) return use();
      seteuid?.call(process, 65_534);
      try {
        await use();
      } finally {
        seteuid?.call(process, 0);
      }
    };
    fs.chmodSync(base, 0o755);
    fs.chmodSync(join(root, "plain"), 0o644);
    fs.chmodSync(root, 0o555);
    const before = fs.readdirSync(root);
    await asSomebody(async () => {
      const { mark } = await found(tree(), "plain");
      expect(await codeOf(tree().replace("plain", content("x"), mark, "t"))).toBe("target_unavailable");
      expect(await codeOf(tree().remove("plain", always, 0, "t"))).toBe("target_unavailable");
      expect(await codeOf(tree().create("a/b", content("x"), "t"))).toBe("target_unavailable");
    });
    fs.chmodSync(join(root, "plain"), 0o000);
    await asSomebody(async () => {
      expect(await codeOf(tree().read("plain"))).toBe("target_unavailable");
    });
    expect(fs.readdirSync(root)).toEqual(before);
    fs.chmodSync(root, 0o755);
  });
});

describe("a folder exchanged for a link to the outside before any call", () => {
  const promises = createRequire(import.meta.url)("node:fs/promises") as Record<string, unknown>;
  const names = [
    "open",
    "lstat",
    "stat",
    "readdir",
    "mkdir",
    "link",
    "rename",
    "unlink",
    "rmdir",
    "realpath",
    "lchown",
  ];

  /** Runs `use` with the exchange made before the n-th call of the filesystem. Resolves to how many calls there were. */
  async function exchangedAt(point: number, use: () => Promise<unknown>): Promise<number> {
    const originals = names.map((name) => promises[name] as (...args: unknown[]) => Promise<unknown>);
    let calls = 0;
    for (const [i, name] of names.entries()) {
      promises[name] = (...args: unknown[]) => {
        calls += 1;
        if (calls === point) {
          fs.renameSync(join(root, "sub"), join(root, "real"));
          fs.symlinkSync(outside, join(root, "sub"));
        }
        return originals[i]?.(...args);
      };
    }
    syncBuiltinESMExports();
    try {
      await use();
    } finally {
      for (const [i, name] of names.entries()) promises[name] = originals[i];
      syncBuiltinESMExports();
    }
    return calls;
  }

  const reset = (): void => {
    for (const name of ["sub", "real"]) fs.rmSync(join(root, name), { recursive: true, force: true });
    fs.rmSync(outside, { recursive: true });
    for (const folder of [outside, join(root, "sub")]) fs.mkdirSync(folder);
    fs.writeFileSync(join(outside, "secret"), "secret", { mode: 0o644 });
    fs.writeFileSync(join(root, "sub/secret"), "inside", { mode: 0o644 });
  };
  const secretIsSafe = (): boolean =>
    fs.readdirSync(outside).join() === "secret" && fs.readFileSync(join(outside, "secret"), "utf8") === "secret";

  const acts: readonly [what: string, act: (tree: Tree) => Promise<unknown>][] = [
    ["reading", async (tree) => expect(Buffer.from((await found(tree, "sub/secret")).bytes).toString()).toBe("inside")],
    ["creating", (tree) => tree.create("sub/new", content("evil"), "t")],
    ["creating with folders", (tree) => tree.create("sub/in/new", content("evil"), "t")],
    [
      "replacing",
      async (tree) => tree.replace("sub/secret", content("evil"), (await found(tree, "sub/secret")).mark, "t"),
    ],
    ["removing", (tree) => tree.remove("sub/secret", always, 1, "t")],
  ];
  it.each(acts)("%s by handles never leaves the root", async (_what, act) => {
    let refusals = 0;
    for (let point = 1; ; point++) {
      reset();
      let refused = false;
      const calls = await exchangedAt(point, async () => {
        refused = !(await codeOf(act(openTree({ root, denied: [], handles: true })))).startsWith("no refusal");
      });
      expect(secretIsSafe(), `exchanged before call ${point}`).toBe(true);
      if (refused) refusals += 1;
      if (calls < point) break;
    }
    // Some exchanges came before the folder was opened.
    expect(refusals).toBeGreaterThan(0);
  });

  it.each(acts)("%s by paths leaves the root at no time without saying so", async (_what, act) => {
    for (let point = 1; ; point++) {
      reset();
      let refused = false;
      const calls = await exchangedAt(point, async () => {
        refused = !(await codeOf(act(openTree({ root, denied: [], handles: false })))).startsWith("no refusal");
      });
      expect(secretIsSafe() || refused, `exchanged before call ${point}`).toBe(true);
      if (calls < point) break;
    }
  });
});
