import { execFileSync, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import { join } from "node:path";
import { limits } from "@countersign/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Ledger } from "../../src/ledger/index.js";
import {
  backupsOf,
  openBlobs,
  registerWorkspace,
  removeWorkspace,
  reverseEffects,
  type ActOutcome,
} from "../../src/targets/index.js";
import { exerciseTarget, planCase, tryPlan, type ExerciseCase } from "../support/exercise-target.js";
import { actor, testSealing } from "../support/ledger.js";
import { createDatabase, withClient, type TestDatabase } from "../support/postgres.js";
import { fileWorld, testLedger, type FileWorld } from "../support/targets.js";

let database: TestDatabase;
let ledger: Ledger;
beforeAll(async () => {
  database = await createDatabase();
  ledger = await testLedger(database);
});
afterAll(() => ledger.close());

const target = (path: string) => ({ kind: "file", workspace: "shop", path });
const json =
  '{\r\n\t"name": "shop", // the name\r\n\t"list": [1, 2.0, 3],\r\n\t"nested": {"x": 12345678901234567890}\r\n}';
const write = (world: FileWorld, path: string, bytes: string | Uint8Array, mode = 0o640): void => {
  fs.mkdirSync(join(world.root, path, ".."), { recursive: true });
  fs.writeFileSync(join(world.root, path), bytes);
  fs.chmodSync(join(world.root, path), mode);
};
const drift = (path: string) => (world: FileWorld) => Promise.resolve(write(world, path, "somebody else's"));

const on = (
  name: string,
  path: string,
  start: string | Uint8Array | undefined,
  item: Record<string, unknown>,
): ExerciseCase<FileWorld> =>
  ({
    name,
    prepare: (world: FileWorld) => Promise.resolve(start === undefined ? undefined : write(world, path, start)),
    item: { target: target(path), ...item },
    drift: drift(path),
  }) as unknown as ExerciseCase<FileWorld>;

const binary = Uint8Array.from({ length: 300 }, (_, i) => i % 256);
const cases = [
  on("CREATE text in new folders", "new/deep/notes.md", undefined, {
    operation: "CREATE",
    content: { text: "héllo\n" },
    mode: "664",
  }),
  on("CREATE JSON", "app.json", undefined, { operation: "CREATE", after: { a: [1] } }),
  on("CREATE binary, empty folder above", "blob.bin", undefined, {
    operation: "CREATE",
    content: { base64: Buffer.from(binary).toString("base64") },
  }),
  on("UPDATE text", "notes.md", "old\nlines\n", { operation: "UPDATE", content: { text: "new\nlines\n" } }),
  on("UPDATE binary", "blob.bin", binary, { operation: "UPDATE", content: { base64: "AAAA" } }),
  on("UPDATE JSON by a patch", "sub/app.json", json, {
    operation: "UPDATE",
    patch: [{ op: "replace", path: "/name", value: "new" }],
  }),
  on("UPDATE JSON by the whole", "app.json", '{"a": 1}\n', { operation: "UPDATE", after: { a: 2 } }),
  on("DELETE", "sub/notes.md", "bytes \u0000 and all", { operation: "DELETE" }),
  on("MOVE to a new folder", "notes.md", "moved", { operation: "MOVE", to: { path: "archive/2026/notes.md" } }),
  on("MOVE of a value", "app.json", json, { operation: "MOVE", pointer: "/nested", to: { pointer: "/inner" } }),
  on("RENAME", "sub/notes.md", "renamed", { operation: "RENAME", to: { path: "sub/renamed.md" } }),
  on("CHANGE_PROPERTY", "app.json", json, { operation: "CHANGE_PROPERTY", pointer: "/name", value: "new" }),
  on("ADD_CHILD", "app.json", json, { operation: "ADD_CHILD", pointer: "/list", value: { four: 4 } }),
  on("REMOVE_CHILD", "app.json", json, { operation: "REMOVE_CHILD", pointer: "/list/1" }),
  on("REORDER", "app.json", json, { operation: "REORDER", pointer: "/list", order: [2, 1, 0] }),
];
const refused = [{ operation: "RESIZE" as const, target: target("x") }];

exerciseTarget<FileWorld>("file", { open: () => fileWorld(database, ledger), cases, refused });

// By paths, as on platforms without `/proc/self/fd`: the same promises but for races.
const ways = new Set(["CREATE text in new folders", "UPDATE text", "DELETE", "MOVE to a new folder"]);
exerciseTarget<FileWorld>("file, by paths", {
  open: () => fileWorld(database, ledger, { handles: false }),
  cases: cases.filter(({ name }) => ways.has(name)),
  refused: [],
  partial: true,
});

describe("file: what is refused, with its pointer", () => {
  let world: FileWorld;
  beforeAll(async () => {
    world = await fileWorld(database, ledger);
    write(world, "notes.md", "text");
    write(world, "app.json", json);
    write(world, "twice.json", '{"a": 1, "a": 2}');
    write(world, "README", "x");
    write(world, "big", Buffer.alloc(limits.fileBytesMax + 1));
    fs.symlinkSync(world.outside, join(world.root, "out"));
    fs.symlinkSync("notes.md", join(world.root, "alias"));
    fs.linkSync(join(world.outside, "secret"), join(world.root, "hard"));
    execFileSync("mkfifo", [join(world.root, "fifo")]);
  });
  afterAll(() => world.close());
  const text = { content: { text: "x" } };
  const rows: readonly [what: string, item: Record<string, unknown>, code: string, pointer: string][] = [
    [
      "an unknown workspace",
      { operation: "CREATE", target: { ...target("x"), workspace: "other" }, ...text },
      "target_not_found",
      "/items/0/target/workspace",
    ],
    [
      "up and out",
      { operation: "UPDATE", target: target("../outside/secret"), ...text },
      "path_refused",
      "/items/0/target/path",
    ],
    [
      "through a linked folder",
      { operation: "UPDATE", target: target("out/secret"), ...text },
      "path_refused",
      "/items/0/target/path",
    ],
    [
      "a new file through a linked folder",
      { operation: "CREATE", target: target("out/new"), ...text },
      "path_refused",
      "/items/0/target/path",
    ],
    ["a link", { operation: "UPDATE", target: target("alias"), ...text }, "path_refused", "/items/0/target/path"],
    ["a hard link", { operation: "UPDATE", target: target("hard"), ...text }, "path_refused", "/items/0/target/path"],
    ["a FIFO", { operation: "DELETE", target: target("fifo") }, "path_refused", "/items/0/target/path"],
    [
      "moved out",
      { operation: "MOVE", target: target("notes.md"), to: { path: "../x" } },
      "path_refused",
      "/items/0/to/path",
    ],
    [
      "moved into a linked folder",
      { operation: "MOVE", target: target("notes.md"), to: { path: "out/x" } },
      "path_refused",
      "/items/0/target/path",
    ],
    [
      "git",
      { operation: "CREATE", target: target(".git/hooks/pre-commit"), ...text },
      "path_denied",
      "/items/0/target/path",
    ],
    [
      "another case",
      { operation: "CREATE", target: target("readme"), ...text },
      "path_refused",
      "/items/0/target/path",
    ],
    [
      "renamed to another case",
      { operation: "RENAME", target: target("README"), to: { path: "readme" } },
      "no_effect",
      "/items/0/to/path",
    ],
    [
      "renamed to another folder",
      { operation: "RENAME", target: target("README"), to: { path: "sub/README" } },
      "item_invalid",
      "/items/0/to/path",
    ],
    [
      "renamed onto another",
      { operation: "RENAME", target: target("README"), to: { path: "notes.md" } },
      "target_exists",
      "/items/0/to/path",
    ],
    [
      "there already",
      { operation: "CREATE", target: target("notes.md"), ...text },
      "target_exists",
      "/items/0/target/path",
    ],
    ["nothing there", { operation: "DELETE", target: target("none") }, "target_not_found", "/items/0/target/path"],
    [
      "no change",
      { operation: "UPDATE", target: target("notes.md"), content: { text: "text" } },
      "no_effect",
      "/items/0",
    ],
    [
      "no change to JSON",
      { operation: "CHANGE_PROPERTY", target: target("app.json"), pointer: "/list/1", value: 2 },
      "no_effect",
      "/items/0",
    ],
    [
      "not JSON",
      { operation: "CHANGE_PROPERTY", target: target("notes.md"), pointer: "/a", value: 1 },
      "item_invalid",
      "/items/0",
    ],
    [
      "a member twice",
      { operation: "CHANGE_PROPERTY", target: target("twice.json"), pointer: "/a", value: 1 },
      "json_duplicate_key",
      "/items/0",
    ],
    [
      "a patch that fails",
      { operation: "UPDATE", target: target("app.json"), patch: [{ op: "remove", path: "/none" }] },
      "patch_failed",
      "/items/0/patch/0",
    ],
    ["no content", { operation: "CREATE", target: target("x") }, "item_invalid", "/items/0"],
    [
      "two contents",
      { operation: "CREATE", target: target("x"), content: { text: "", base64: "" } },
      "item_invalid",
      "/items/0/content",
    ],
    [
      "a lone surrogate",
      { operation: "CREATE", target: target("x"), content: { text: "\ud800" } },
      "text_unstorable",
      "/items/0/content/text",
    ],
    [
      "a mode its owner cannot use",
      { operation: "CREATE", target: target("x"), ...text, mode: "044" },
      "item_invalid",
      "/items/0/mode",
    ],
    [
      "a mode on an update",
      { operation: "UPDATE", target: target("notes.md"), ...text, mode: "644" },
      "item_invalid",
      "/items/0/mode",
    ],
    [
      "an unsafe integer",
      { operation: "CHANGE_PROPERTY", target: target("app.json"), pointer: "/name", value: 2 ** 60 },
      "json_number_unsafe",
      "/items/0/value",
    ],
    [
      "an unsafe integer in a patch",
      { operation: "UPDATE", target: target("app.json"), patch: [{ op: "add", path: "/n", value: [2 ** 60] }] },
      "json_number_unsafe",
      "/items/0/patch/0/value/0",
    ],
    [
      "too large",
      {
        operation: "CREATE",
        target: target("x"),
        content: { base64: Buffer.alloc(limits.fileBytesMax + 1).toString("base64") },
      },
      "limit_exceeded",
      "/items/0/content",
    ],
    ["too large already", { operation: "DELETE", target: target("big") }, "limit_exceeded", "/items/0/target/path"],
  ];
  it.each(rows)("%s", async (_what, item, code, pointer) => {
    const before = await world.observe();
    const refusal = await tryPlan(world, item);
    expect(refusal).toMatchObject([{ code, pointer }]);
    expect(await world.observe()).toBe(before);
  });

  it("all problems at once", async () => {
    const problems = await tryPlan(world, {
      operation: "CREATE",
      target: { ...target("../x"), workspace: "no" },
      patch: [{ op: "remove", path: "/a" }],
      mode: "000",
    });
    expect((problems as readonly { code: string }[]).map(({ code }) => code).sort()).toEqual([
      "item_invalid",
      "item_invalid",
      "item_invalid",
      "path_refused",
      "target_not_found",
    ]);
  });
});

describe("file: what a plan says", () => {
  it("shows texts as unified differences, bytes as sizes, moves by name", async () => {
    const world = await fileWorld(database, ledger);
    write(world, "notes.md", "one\ntwo\nthree\n");
    write(world, "run.sh", "echo", 0o755);
    write(world, "blob", Buffer.from([0, 1, 2]));
    const text = await planCase(world, {
      operation: "UPDATE",
      target: target("notes.md"),
      content: { text: "one\n2\nthree\n" },
    });
    expect(text.diff).toMatchObject({ format: "text", before: { bytes: 14, mode: "0640" }, after: { bytes: 12 } });
    expect((text.diff as { unified: string }).unified).toContain("-two\n+2\n");
    expect(text.flags).toEqual([]);
    const gone = await planCase(world, { operation: "DELETE", target: target("run.sh") });
    expect(gone.flags).toEqual(["protected_path", "code_bearing", "destructive"]);
    expect(backupsOf(gone.effects)).toMatchObject([{ bytes: 4, mode: 0o755 }]);
    const bytes = await planCase(world, { operation: "UPDATE", target: target("blob"), content: { base64: "" } });
    expect(bytes.diff).toMatchObject({ format: "binary", before: { bytes: 3 }, after: { bytes: 0 } });
    expect(bytes.flags).toEqual(["destructive"]);
    await world.close();
  });

  it("bounds the difference of large texts", async () => {
    const world = await fileWorld(database, ledger);
    write(world, "large", Array.from({ length: 100_000 }, (_, i) => `line ${i}`).join("\n"));
    const planned = await planCase(world, {
      operation: "UPDATE",
      target: target("large"),
      content: { text: Array.from({ length: 100_000 }, (_, i) => `other ${i}`).join("\n") },
    });
    expect(planned.diff).toMatchObject({ format: "text", unified: null });
    await world.close();
  });
});

describe("file: what can go wrong while acting", () => {
  const codeOf = (outcome: ActOutcome): string =>
    outcome.kind === "done" ? "done" : `${outcome.kind} ${outcome.problem.code}`;

  it("a hard link made after planning is refused", async () => {
    const world = await fileWorld(database, ledger);
    write(world, "notes.md", "text");
    const { effects } = await planCase(world, {
      operation: "UPDATE",
      target: target("notes.md"),
      content: { text: "new" },
    });
    fs.linkSync(join(world.root, "notes.md"), join(world.outside, "second"));
    const before = await world.observe();
    expect(codeOf(await world.apply(effects, "t"))).toBe("refused path_refused");
    expect(await world.observe()).toBe(before);
    await world.close();
  });

  it("a folder exchanged for a link after planning is refused", async () => {
    const world = await fileWorld(database, ledger);
    write(world, "sub/secret", "secret", 0o644);
    const { effects } = await planCase(world, {
      operation: "UPDATE",
      target: target("sub/secret"),
      content: { text: "overwritten" },
    });
    fs.renameSync(join(world.root, "sub"), join(world.root, "sub2"));
    fs.symlinkSync(world.outside, join(world.root, "sub"));
    expect(codeOf(await world.apply(effects, "t"))).toBe("refused path_refused");
    expect(fs.readFileSync(join(world.outside, "secret"), "utf8")).toBe("secret");
    await world.close();
  });

  it("different changes of one file at once: one wins, the others are told", async () => {
    const world = await fileWorld(database, ledger);
    write(world, "notes.md", "text");
    const plans = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        planCase(world, { operation: "UPDATE", target: target("notes.md"), content: { text: `version ${i}` } }),
      ),
    );
    const outcomes = await Promise.all(plans.map(({ effects }, i) => world.apply(effects, `t${i}`)));
    expect(outcomes.map(codeOf).sort()).toEqual(["done", ...Array.from({ length: 9 }, () => "refused drift")]);
    const winner = outcomes.findIndex((outcome) => outcome.kind === "done");
    expect(fs.readFileSync(join(world.root, "notes.md"), "utf8")).toBe(`version ${winner}`);
    await world.close();
  });

  it("a second step that cannot be done takes the first back", async (context) => {
    const world = await fileWorld(database, ledger);
    write(world, "locked/a", "a");
    const first = await planCase(world, { operation: "CREATE", target: target("sub/b"), content: { text: "b" } });
    const second = await planCase(world, { operation: "DELETE", target: target("locked/a") });
    // Not removable, whoever asks: for a user by the folder's mode, for root by an attribute that not every file system has.
    const asRoot = process.getuid?.() === 0;
    const { mode } = fs.statSync(join(world.root, "locked"));
    const lock = (locked: boolean): boolean => {
      if (!asRoot) fs.chmodSync(join(world.root, "locked"), locked ? 0o500 : mode);
      return !asRoot || spawnSync("chattr", [locked ? "+i" : "-i", join(world.root, "locked/a")]).status === 0;
    };
    const before = await world.observe();
    if (!lock(true)) {
      await world.close();
      context.skip("root can remove everything here: no chattr, or a file system without it");
    }
    const outcome = await world.apply([...first.effects, ...second.effects], "t");
    lock(false);
    expect(codeOf(outcome)).toBe("refused target_unavailable");
    expect(await world.observe()).toBe(before);
    await world.close();
  });

  it("two files in one new folder, undone in reverse, leave no folder", async () => {
    const world = await fileWorld(database, ledger);
    const before = await world.observe();
    const plans = await Promise.all(
      ["a/b/one", "a/b/two", "a/three"].map((path) =>
        planCase(world, { operation: "CREATE", target: target(path), content: { text: path } }),
      ),
    );
    for (const [i, { effects }] of plans.entries()) expect(codeOf(await world.apply(effects, `t${i}`))).toBe("done");
    for (const [i, { effects }] of [...plans.entries()].reverse())
      expect(codeOf(await world.apply(reverseEffects(effects), `u${i}`))).toBe("done");
    expect(await world.observe()).toBe(before);
    await world.close();
  });

  it("a full disk is named, and nothing is half done", async (context) => {
    const world = await fileWorld(database, ledger);
    const disk = join(world.root, "disk");
    fs.mkdirSync(disk);
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], { stdio: "ignore" });
    } catch {
      context.skip("mounting a small disk needs root");
    }
    try {
      write(world, "disk/notes.md", "text");
      write(world, "plain", "plain");
      const large = Buffer.alloc(128 * 1024, 7).toString("base64");
      const update = await planCase(world, {
        operation: "UPDATE",
        target: target("disk/notes.md"),
        content: { base64: large },
      });
      const create = await planCase(world, {
        operation: "CREATE",
        target: target("disk/a/b/new"),
        content: { base64: large },
      });
      write(world, "move", Buffer.alloc(128 * 1024, 7));
      const move = await planCase(world, { operation: "MOVE", target: target("move"), to: { path: "disk/moved" } });
      const before = await world.observe();
      for (const { effects } of [update, create, move]) {
        expect(codeOf(await world.apply(effects, "t"))).toBe("refused disk_full");
        expect(await world.observe()).toBe(before);
      }
    } finally {
      execFileSync("umount", [disk]);
      await world.close();
    }
  });

  it("a read-only disk is named", async (context) => {
    const world = await fileWorld(database, ledger);
    const disk = join(world.root, "disk");
    fs.mkdirSync(disk);
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], { stdio: "ignore" });
    } catch {
      context.skip("mounting a disk needs root");
    }
    try {
      write(world, "disk/notes.md", "text");
      const plans = [
        await planCase(world, { operation: "UPDATE", target: target("disk/notes.md"), content: { text: "new" } }),
        await planCase(world, { operation: "DELETE", target: target("disk/notes.md") }),
        await planCase(world, { operation: "CREATE", target: target("disk/x/new"), content: { text: "new" } }),
      ];
      execFileSync("mount", ["-o", "remount,ro", disk]);
      const before = await world.observe();
      for (const { effects } of plans) {
        expect(codeOf(await world.apply(effects, "t"))).toBe("refused target_unavailable");
        expect(await world.observe()).toBe(before);
      }
    } finally {
      execFileSync("umount", [disk]);
      await world.close();
    }
  });

  it("a damaged or missing backup stops what needs it", async () => {
    const world = await fileWorld(database, ledger);
    write(world, "notes.md", "text");
    const { effects } = await planCase(world, {
      operation: "UPDATE",
      target: target("notes.md"),
      content: { text: "new" },
    });
    const blobs = openBlobs(database.storage, testSealing, world.tenant);
    const [old, next] = [effects[0]?.before.blob ?? "", effects[0]?.after.blob ?? ""];
    expect(Buffer.from(await blobs.get(old)).toString()).toBe("text");
    await withClient(database.superuser, (client) =>
      client.query(
        `update countersign.blobs set sealed = overlay(sealed placing '\\x00' from 60) where tenant_id = $1 and digest = $2`,
        [world.tenant, old],
      ),
    );
    const before = await world.observe();
    expect(codeOf(await world.apply(effects, "t"))).toBe("refused backup_unusable");
    await withClient(database.superuser, (client) =>
      client.query(`delete from countersign.blobs where tenant_id = $1`, [world.tenant]),
    );
    expect(codeOf(await world.apply(effects, "t"))).toBe("refused backup_unusable");
    expect(await world.observe()).toBe(before);
    // The bytes of the plan come back; the backup is made anew.
    await blobs.put(Buffer.from("new"));
    expect(await blobs.get(next)).toEqual(Buffer.from("new"));
    expect(codeOf(await world.apply(effects, "t"))).toBe("done");
    expect(codeOf(await world.apply(reverseEffects(effects), "back"))).toBe("done");
    expect(await world.observe()).toBe(before);
    await world.close();
  });

  it("blobs of one tenant are nobody else's", async () => {
    const [a, b] = [await fileWorld(database, ledger), await fileWorld(database, ledger)];
    const digest = await openBlobs(database.storage, testSealing, a.tenant).put(Buffer.from("a's"));
    await expect(openBlobs(database.storage, testSealing, b.tenant).get(digest)).rejects.toMatchObject({
      refusal: { code: "backup_unusable" },
    });
    await Promise.all([a.close(), b.close()]);
  });

  it("the owner of a file stays, and root's new files belong to the folder's owner", async (context) => {
    if (process.geteuid?.() !== 0) context.skip("only root can give files away");
    const world = await fileWorld(database, ledger);
    write(world, "sub/notes.md", "text");
    fs.chownSync(join(world.root, "sub"), 1234, 1235);
    fs.chownSync(join(world.root, "sub/notes.md"), 1236, 1237);
    const update = await planCase(world, {
      operation: "UPDATE",
      target: target("sub/notes.md"),
      content: { text: "new" },
    });
    const create = await planCase(world, {
      operation: "CREATE",
      target: target("sub/in/new.md"),
      content: { text: "new" },
    });
    expect(codeOf(await world.apply([...update.effects, ...create.effects], "t"))).toBe("done");
    const owner = (path: string): number[] => [
      fs.statSync(join(world.root, path)).uid,
      fs.statSync(join(world.root, path)).gid,
    ];
    expect([owner("sub/notes.md"), owner("sub/in"), owner("sub/in/new.md")]).toEqual([
      [1236, 1237],
      [1234, 1235],
      [1234, 1235],
    ]);
    await world.close();
  });
});

describe("workspaces", () => {
  it("a removed one is reached no more, comes back by name and root, and its name is not another folder's", async () => {
    const world = await fileWorld(database, ledger);
    write(world, "notes.md", "text");
    const { effects } = await planCase(world, { operation: "DELETE", target: target("notes.md") });
    const commit = (
      load: (snapshot: Parameters<Parameters<Ledger["snapshot"]>[1]>[0]) => ReturnType<typeof removeWorkspace>,
    ) =>
      ledger.transact(world.tenant, load, (loaded, decide) => {
        if (typeof loaded !== "function") throw new Error(JSON.stringify(loaded));
        const { workspace, ...change } = loaded(decide);
        return { kind: "change", change, result: workspace };
      });
    expect(await commit((snapshot) => removeWorkspace(world.workspaceId, { actor, snapshot }))).toMatchObject({
      result: { status: "REMOVED" },
    });
    expect(await tryPlan(world, { operation: "DELETE", target: target("notes.md") })).toMatchObject([
      { code: "target_not_found" },
    ]);
    expect(await world.apply(effects, "t")).toMatchObject({ kind: "refused", problem: { code: "target_unavailable" } });
    expect(fs.existsSync(join(world.root, "notes.md"))).toBe(true);
    const register = (root: string) => (snapshot: Parameters<Parameters<Ledger["snapshot"]>[1]>[0]) =>
      registerWorkspace(
        { name: "shop", root, environment: "development" },
        { actor, snapshot, dataDirectory: world.dataDirectory },
      );
    expect(await ledger.snapshot(world.tenant, register(world.outside))).toMatchObject([{ code: "name_taken" }]);
    expect(await commit(register(world.root))).toMatchObject({
      result: { id: world.workspaceId, status: "ACTIVE", version: 3 },
    });
    expect(await world.apply(effects, "t")).toEqual({ kind: "done" });
    expect(await world.check()).toEqual([]);
    await world.close();
  });

  it("refuses what is no folder of its own", async () => {
    const world = await fileWorld(database, ledger);
    fs.writeFileSync(join(world.outside, "file"), "");
    fs.symlinkSync(world.root, join(world.outside, "link"));
    const register = (root: string) =>
      ledger.snapshot(world.tenant, (snapshot) =>
        registerWorkspace(
          { name: "two", root, environment: "development" },
          { actor, snapshot, dataDirectory: world.dataDirectory },
        ),
      );
    const roots = [
      "relative",
      join(world.outside, "none"),
      join(world.outside, "file"),
      join(world.outside, "link"),
      world.dataDirectory,
      join(world.root, ".."),
      "/",
    ];
    for (const root of roots) {
      const problems = await register(root);
      expect(problems, root).not.toEqual([]);
      for (const problem of problems as readonly object[])
        expect(problem, root).toMatchObject({ code: "workspace_invalid", pointer: "/root" });
    }
    expect(typeof (await register(world.outside))).toBe("function");
    const among = (allowedRoots: readonly string[]) =>
      ledger.snapshot(world.tenant, (snapshot) =>
        registerWorkspace(
          { name: "two", root: world.outside, environment: "development" },
          { actor, snapshot, dataDirectory: world.dataDirectory, allowedRoots },
        ),
      );
    expect(await among([world.root, `${world.outside.slice(0, -1)}`])).toMatchObject([{ code: "workspace_invalid" }]);
    expect(await among([])).toMatchObject([{ code: "workspace_invalid" }]);
    expect(typeof (await among([join(world.outside, "..")]))).toBe("function");
    await world.close();
  });
});
