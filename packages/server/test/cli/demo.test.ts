/** The demo, whole, on a little of its histories; and what it says of histories it cannot read. */
import { execFile } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { brotliCompressSync, gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { chainsOf, readHistories, type Edit } from "../../src/cli/demo/histories.js";
import { CliError } from "../../src/cli/exit.js";
import { startProgram } from "../support/processes.js";

const run = promisify(execFile);
const bin = fileURLToPath(new URL("../../bin/countersign.js", import.meta.url));
const shipped = fileURLToPath(new URL("../../../../examples/histories", import.meta.url));

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "cs-demo-test-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const edit = (path: string, fields: Partial<Edit> = {}): Edit => ({
  commit: "c0ffee",
  path,
  change: "M",
  before: {},
  after: { a: 1 },
  author: "Ada",
  date: "2026-01-01T00:00:00Z",
  message: "an edit",
  ...fields,
});
const line = (path: string): string => `${JSON.stringify(edit(path))}\n`;

test("interrupted while its server starts, it leaves nothing behind", async () => {
  const place = mkdtempSync(join(tmpdir(), "cs-demo-"));
  chmodSync(place, 0o711); // for PostgreSQL's user
  const file = new URL("../support/cliProgram.ts", import.meta.url);
  const demo = startProgram<never>(file, ["demo", "--limit", "1"], { env: { HOME: place, TMPDIR: place } });
  const begun = (): boolean =>
    readdirSync(place).some((name) => existsSync(join(place, name, "data", "postgres.json")));
  await expect.poll(begun, { timeout: 30_000, interval: 5 }).toBe(true);
  demo.kill("SIGINT");
  expect((await demo.ended).code).toBe(130);
  expect(readdirSync(place).filter((name) => name.startsWith("countersign-demo-"))).toEqual([]);
  rmSync(place, { recursive: true, force: true });
});

describe("histories", () => {
  test("are read as they are, with gzip and with brotli", () => {
    const there = join(folder, "three");
    mkdirSync(there);
    writeFileSync(join(there, "a.jsonl"), line("one.json") + line("two.json"));
    writeFileSync(join(there, "b.jsonl.gz"), gzipSync(line("one.json")));
    writeFileSync(join(there, "c.jsonl.br"), brotliCompressSync(line("one.json")));
    writeFileSync(join(there, "README.txt"), "not a history");
    expect(readHistories(there).map(({ name, edits }) => [name, edits.length])).toEqual([
      ["a", 2],
      ["b", 1],
      ["c", 1],
    ]);
  });

  test.each([
    ["not JSON", "{", "`x.jsonl:1` is not JSON"],
    ["no edit", '{"commit":"c"}', "`x.jsonl:1` is no recorded edit"],
    ["no author", JSON.stringify(edit("a", { author: " " })), "`author`"],
  ])("%s is named with its line", (what, text, message) => {
    const there = join(folder, what.replace(" ", "-"));
    mkdirSync(there);
    writeFileSync(join(there, "x.jsonl"), text);
    expect(() => readHistories(there)).toThrow(message);
  });

  test("a folder without any, and no folder, are refused", () => {
    const there = join(folder, "empty");
    mkdirSync(there);
    expect(() => readHistories(there)).toThrow(CliError);
    expect(() => readHistories(join(folder, "absent"))).toThrow("cannot read the folder");
  });

  test("are cut to equal shares, and every shape occurs", () => {
    const histories = readHistories(shipped);
    expect(histories.map(({ edits }) => edits.length)).toEqual([232, 165]);
    const count = (limit: number): number =>
      chainsOf(histories, limit).reduce((sum, chain) => sum + chain.edits.length, 0);
    expect([count(1000), count(9), count(2)]).toEqual([397, 9, 2]);
    expect(new Set(chainsOf(histories, 1000).map(({ shape }) => shape))).toEqual(new Set(["file", "resource", "both"]));
  });
});

test("runs to a good end, and says exactly what it promises to machines", async () => {
  const { stdout } = await run(process.execPath, [bin, "demo", "--json", "--limit", "24"], { timeout: 120_000 });
  const summary = JSON.parse(stdout) as Record<string, unknown>;
  expect(summary).toEqual({
    change_sets: expect.any(Number),
    applied: expect.any(Number),
    rolled_back: expect.any(Number),
    rejected: expect.any(Number),
    conflicts: expect.any(Number),
    drift_refused: expect.any(Number),
    entries: expect.any(Number),
    verify: { integrity: "ok", completeness: "not_demanded", entries_per_second: expect.any(Number) },
    restored_exact: true,
    seconds: expect.any(Number),
  });
  for (const count of ["change_sets", "applied", "rolled_back", "rejected", "conflicts", "drift_refused", "entries"])
    expect(summary[count], count).toBeGreaterThan(0);
}, 150_000);

test("a number of edits that is none is a mistake of the command line", async () => {
  await expect(run(process.execPath, [bin, "demo", "--limit", "many"])).rejects.toMatchObject({
    code: 64,
    stderr: expect.stringContaining("--limit many"),
  });
});
