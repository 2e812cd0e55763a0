import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { RefusalError } from "@countersign/contract";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openTree, type FoundFile, type Tree } from "../src/targets/tree.js";

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

const content = (text: string, mode = 0o644): { bytes: Uint8Array; mode: number } => ({ bytes: Buffer.from(text), mode });
const always = (): boolean => true;

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    return `no refusal: ${JSON.stringify(await promise)}`;
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
    ["a link to a file outside", () => fs.symlinkSync(join(outside, "secret"), join(root, "link")), "link", "path_refused"],
    ["a link to a file inside", () => fs.symlinkSync("plain", join(root, "link")), "link", "path_refused"],
    ["a dangling link", () => fs.symlinkSync(join(outside, "new"), join(root, "link")), "link", "path_refused"],
    ["a linked folder outside", () => fs.symlinkSync(outside, join(root, "link")), "link/secret", "path_refused"],
    ["a linked folder inside", () => fs.symlinkSync("sub", join(root, "link")), "link/x", "path_refused"],
    ["a link deep inside", () => fs.symlinkSync("../..", join(root, "sub/up")), "sub/up/outside/secret", "path_refused"],
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

  it("says what the system said", async () => {
    if (process.geteuid?.() === 0) return;
    fs.chmodSync(join(root, "sub"), 0o500);
    expect(await codeOf(tree().create("sub/x", content(""), "t"))).toBe("target_unavailable");
    fs.chmodSync(join(root, "sub"), 0o700);
  });
});

describe("races", () => {
  /** Exchanges `sub` for a link to the outside and back, as fast as another process can. */
  const exchanger = `
    const fs = require("node:fs");
    const [root, outside] = process.argv.slice(1);
    process.stdout.write("ready");
    for (;;) {
      try {
        fs.renameSync(root + "/sub", root + "/real"); fs.symlinkSync(outside, root + "/sub");
        fs.unlinkSync(root + "/sub"); fs.renameSync(root + "/real", root + "/sub");
      } catch {}
    }`;

  it("never leave the root while a folder is exchanged for a link", async () => {
    const { spawn } = await import("node:child_process");
    const child = spawn(process.execPath, ["-e", exchanger, root, outside], { stdio: ["ignore", "pipe", "inherit"] });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    const tree = openTree({ root, denied: [] });
    const outcomes = { done: 0, refused: 0 };
    for (let i = 0; i < 600; i++) {
      try {
        await tree.create(`sub/file${i}`, content("evil"), `t${i}`);
        outcomes.done += 1;
      } catch (error) {
        if (!(error instanceof RefusalError)) throw error;
        outcomes.refused += 1;
      }
    }
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("exit", resolve));
    expect(fs.readdirSync(outside)).toEqual(["secret"]);
    // Both happened: otherwise nothing was raced.
    expect(outcomes.done).toBeGreaterThan(0);
    expect(outcomes.refused).toBeGreaterThan(0);
  });
});
