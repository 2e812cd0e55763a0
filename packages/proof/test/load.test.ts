/** Policies and anchors from real files and real git repositories: read within bounds, and told where they lie. */
import { execFileSync } from "node:child_process";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  formatVerifierKey,
  originOf,
  verifierKey,
  verifyEntries,
  type Checkpoint,
  type StoredEntry,
} from "../src/index.js";
import { loadTrust, PolicyFileError, readAnchor, readKeyStatements, readPolicyFile } from "../src/load.js";
import { chainOf, plain, startMs, tenant } from "./chains.js";
import { checkpointAt, deployment, logKey, statementsOf } from "./logs.js";

const ledger = chainOf(Array.from({ length: 700 }, (_, i) => plain(i)));
const origin = originOf({ deployment, tenant, incarnation: 0 });
const shelf = encodeURIComponent(origin);
let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "countersign-load-"))));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** As the file anchor lays it out (docs/anchors.md). */
function fill(root: string, checkpoints: readonly Checkpoint[], entries: readonly StoredEntry[] = ledger): void {
  const size = checkpoints.at(-1)?.size ?? 0;
  const hashes = Buffer.concat(entries.slice(0, size).map(({ hash }) => Buffer.from(hash, "hex")));
  const put = (path: string, bytes: string | Uint8Array): void => {
    mkdirSync(dirname(join(root, shelf, path)), { recursive: true });
    writeFileSync(join(root, shelf, path), bytes);
  };
  for (let tile = 0; tile * 256 < size; tile++) {
    const bytes = hashes.subarray(tile * 8192, tile * 8192 + 8192);
    const name = `tile/0/${String(tile).padStart(3, "0")}`;
    put(bytes.length === 8192 ? name : `${name}.p/${bytes.length / 32}`, bytes);
  }
  const records = checkpoints.map(({ text }, i) => `${Buffer.byteLength(text)} ${startMs + i}\n${text}`);
  put("checkpoints", records.slice(0, 1).join(""));
  put("checkpoints.1", records.slice(1).join(""));
}
function git(root: string, ...args: string[]): void {
  execFileSync("git", ["-C", root, "-c", "user.name=a", "-c", "user.email=a@b.example", ...args], { stdio: "pipe" });
}
function commitAll(root: string): void {
  git(root, "init", "-q", "-b", "main");
  git(root, "add", "-A");
  git(root, "commit", "-q", "-m", "checkpoints");
}
const policyText = (...anchors: string[]): string =>
  [
    `log ${formatVerifierKey(verifierKey({ name: deployment, type: 1, publicKey: logKey.publicKey }))}`,
    ...anchors.map((anchor) => `anchor ${anchor}`),
    `group all all ${anchors.map((anchor) => anchor.split(" ")[0] ?? "").join(" ")}`,
    "quorum all",
    "",
  ].join("\n");
const sizesOf = (view: { readonly checkpoints: readonly { readonly checkpoint: Checkpoint }[] }): number[] =>
  view.checkpoints.map(({ checkpoint }) => checkpoint.size);

describe("anchors", () => {
  it("of both kinds are read, and find where a ledger was rewritten", async () => {
    const checkpoints = await Promise.all([100, 300, 700].map((size) => checkpointAt(ledger, size)));
    const [files, repository] = [join(folder, "both-files"), join(folder, "both-git")];
    for (const root of [files, repository]) fill(root, checkpoints);
    commitAll(repository);
    rmSync(join(repository, shelf), { recursive: true }); // the commit counts, not the working tree
    const policyPath = join(folder, "both.policy");
    writeFileSync(policyPath, policyText("f file ./both-files", `g git ${repository}`));
    const trust = loadTrust({ policyPath, ledger: { deployment, tenant } });
    expect(trust.anchors.map((view) => [view.name, view.location, sizesOf(view), view.checkpoints[2]?.atMs])).toEqual([
      ["f", files, [100, 300, 700], startMs + 2],
      ["g", repository, [100, 300, 700], startMs + 2],
    ]);
    for (const { leafTile } of trust.anchors) {
      expect(leafTile?.(0, origin)?.length).toBe(8192);
      expect(leafTile?.(2, origin)?.length).toBe(188 * 32);
      expect(leafTile?.(3, origin)).toBeUndefined();
    }
    const options = { tenant, deployment, trust };
    expect(await verifyEntries([ledger], options)).toMatchObject({
      findings: [],
      completeness: { status: "shown", anchored: 700 },
    });
    const at = ledger[450] as StoredEntry;
    const forged = [
      ...ledger.slice(0, 450),
      ...chainOf(
        Array.from({ length: 250 }, (_, i) => plain(9000 + i)),
        tenant,
        { seq: 450, prev: at.prev },
      ),
    ];
    expect((await verifyEntries([forged], options)).first).toMatchObject({ class: "HISTORY_REWRITTEN", seq: 450 });
  });

  it.each<[string, (root: string) => void, string]>([
    ["a folder that is not there", () => undefined, "there is no such file"],
    ["a file", (root) => writeFileSync(root, ""), "not a folder"],
    ["a folder that is no repository", (root) => mkdirSync(root), "not a git repository"],
  ])("%s is unreadable, not a crash", (_, make, reason) => {
    const location = join(folder, `unreadable-${reason.replaceAll(" ", "-")}`);
    make(location);
    const kind = reason.includes("git") ? "git" : "file";
    const view = readAnchor({ name: "a", kind, location }, { deployment, tenant });
    expect([view.checkpoints, view.unreadable]).toEqual([[], expect.stringContaining(reason)]);
  });

  it("an empty folder and an empty repository hold nothing yet", () => {
    const [files, repository] = [join(folder, "empty"), join(folder, "empty-git")];
    for (const root of [files, repository]) mkdirSync(root);
    git(repository, "init", "-q");
    for (const [kind, location] of [
      ["file", files],
      ["git", repository],
    ] as const) {
      const view = readAnchor({ name: "a", kind, location }, { deployment, tenant });
      expect([kind, view.checkpoints, view.unreadable]).toEqual([kind, [], undefined]);
    }
  });

  it("a kind nobody knows is unreadable", () => {
    expect(readAnchor({ name: "a", kind: "s3", location: "x" }, { tenant }).unreadable).toContain("`s3`");
  });

  it("what is cut short, broken or of others is left out", async () => {
    const root = join(folder, "broken");
    fill(root, [await checkpointAt(ledger, 100), await checkpointAt(ledger, 300)]);
    const foreign = await checkpointAt(ledger, 400, { of: "0199c000-0000-7000-8000-00000000000b" });
    const record = (text: string): string => `${Buffer.byteLength(text)} 7\n${text}`;
    const whole = record((await checkpointAt(ledger, 500)).text);
    const path = join(root, shelf, "checkpoints.1");
    appendFileSync(path, record(foreign.text) + record("no checkpoint\n") + whole + whole.slice(0, 90));
    writeFileSync(join(root, shelf, "checkpoints.2"), "999999999 1\nx");
    writeFileSync(join(root, "%zz"), "not a folder of ours");
    expect(sizesOf(readAnchor({ name: "a", kind: "file", location: root }, { tenant }))).toEqual([100, 300, 500]);
  });

  it("many checkpoints are thinned: the first, the last, evenly between", async () => {
    const root = join(folder, "many");
    const [first, between, last] = await Promise.all([1, 300, 700].map((size) => checkpointAt(ledger, size)));
    fill(root, [first, ...Array.from({ length: 30_000 }, () => between), last] as Checkpoint[]);
    const view = readAnchor({ name: "a", kind: "file", location: root }, { deployment, tenant });
    expect(view.checkpoints.length).toBe(10_000);
    expect([sizesOf(view)[0], sizesOf(view).at(-1)]).toEqual([1, 700]);
  });

  it("inside what is verified proves nothing, whatever links lead there", () => {
    const data = join(folder, "data");
    mkdirSync(join(data, "anchor"), { recursive: true });
    symlinkSync(join(data, "anchor"), join(folder, "linked"));
    const at = (location: string): boolean | undefined =>
      readAnchor({ name: "a", kind: "file", location }, { tenant }, { forbidden: [data] }).sameSource;
    expect([at(join(data, "anchor")), at(join(folder, "linked")), at(folder), at(`${data}-beside`)]).toEqual([
      true,
      true,
      undefined,
      undefined,
    ]);
    const policyPath = join(data, "policy");
    writeFileSync(policyPath, policyText("a file anchor"));
    const trust = loadTrust({ policyPath, ledger: { tenant }, forbidden: [data] });
    expect([trust.policySameSource, trust.anchors[0]?.sameSource, trust.policySource]).toEqual([
      true,
      true,
      policyPath,
    ]);
  });
});

describe("policy files and key statements", () => {
  it("are refused with all their problems and lines", () => {
    const path = join(folder, "bad.policy");
    writeFileSync(path, "log x\nwhat\nquorum nobody\n");
    expect(() => readPolicyFile(path)).toThrow(PolicyFileError);
    try {
      readPolicyFile(path);
    } catch (error) {
      expect((error as PolicyFileError).problems.map(({ line }) => line)).toEqual(expect.arrayContaining([1, 2, 3]));
    }
  });
  it.each([
    ["none", "there is no such file"],
    [".", "not a file"],
    ["/dev/zero", "not a file"],
  ])("%s is no policy", (path, reason) => {
    expect(() => readPolicyFile(path === "none" ? join(folder, path) : path)).toThrow(reason);
  });
  it("a huge one is refused unread", () => {
    const path = join(folder, "huge.policy");
    writeFileSync(path, "#".repeat(300_000));
    expect(() => readPolicyFile(path)).toThrow("larger than");
  });
  it("without a policy nothing is trusted and nothing demanded", () => {
    expect(loadTrust({ ledger: { tenant } })).toMatchObject({ policySource: "none", anchors: [] });
  });
  it("key statements are read as the server keeps them", async () => {
    const statements = await statementsOf({ kind: "root", key: logKey });
    const path = join(folder, "statements");
    writeFileSync(path, statements.map((text) => `${Buffer.byteLength(text)}\n${text}`).join(""));
    expect(readKeyStatements(path)).toEqual(statements);
    writeFileSync(path, "12\nshort");
    expect(() => readKeyStatements(path)).toThrow("not key statements");
  });
});
