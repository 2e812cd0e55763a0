/**
 * The second verifier, in Python and written from the format document alone, against what our writer makes: it accepts the
 * untouched bundle and finds every change, as ours does.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  contentHashHex,
  exitCodeOf,
  verifyBundle,
  writeBundle,
  zeroHash,
  type BundleHeader,
  type StoredEntry,
} from "../src/index.js";
import { chainOf, enrolled, otherTenant, plain, rehashed, revoked, startMs, tenant, voted, voterOf } from "./chains.js";

const script = fileURLToPath(new URL("../../../docs/verify-by-hand/countersign_verify.py", import.meta.url));
const vectors = fileURLToPath(new URL("vectors/ledger-format", import.meta.url));
const python = spawnSync("python3", ["-c", "import sys; print(sys.version_info >= (3, 8))"], { encoding: "utf8" });
const skipped = python.stdout?.trim() === "True" ? undefined : "python3 (3.8 or later) is not on this machine";
if (skipped !== undefined) console.warn(`the second verifier is not tested: ${skipped}`);

const ada = voterOf(1);
const good = chainOf([enrolled(ada), plain(1), voted(ada), plain(3), revoked(ada), plain(5), plain(6), plain(7)]);
const at = (i: number): StoredEntry => good[i] as StoredEntry;
const edit = (i: number, changes: Partial<StoredEntry>): StoredEntry[] =>
  good.map((entry, n) => (n === i ? { ...entry, ...changes } : entry));

function headerOf(entries: readonly StoredEntry[], changes: Partial<BundleHeader> = {}): BundleHeader {
  const last = entries.at(-1);
  const head = last === undefined ? null : { seq: last.seq, hash: last.hash, timeMs: last.timeMs };
  const from = entries[0]?.seq ?? 0;
  return {
    deployment: "test",
    tenant,
    selection: "range",
    from,
    to: last?.seq ?? from - 1,
    head,
    bodies: "included",
    exportedAtMs: startMs,
    ...changes,
  };
}
async function bundleOf(entries: readonly StoredEntry[], header = headerOf(good)): Promise<string> {
  let text = "";
  for await (const piece of writeBundle(header, entries)) text += piece;
  return text;
}
/** The bundle with its last line made true again: what remains to be found is in the entries. */
function resealed(text: string): string {
  const lines = text.trimEnd().split("\n").slice(0, -1);
  const before = lines.map((line) => `${line}\n`).join("");
  return `${before}${JSON.stringify({ entries: lines.length - 1, sha256: contentHashHex(before) })}\n`;
}

describe.skipIf(skipped !== undefined)("countersign_verify.py", () => {
  let folder: string;
  beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "countersign-verify-"))));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  function run(bundle: string | Uint8Array, ...options: string[]): { code: number | null; output: string } {
    const path = join(folder, "bundle.jsonl");
    writeFileSync(path, bundle);
    const { status, stdout, stderr } = spawnSync("python3", [script, path, ...options], { encoding: "utf8" });
    expect(stderr).not.toContain("Traceback");
    return { code: status, output: stdout };
  }
  /** Exit codes of the second verifier and of ours. */
  async function both(bundle: string | Uint8Array): Promise<[number | null, number]> {
    return [run(bundle).code, exitCodeOf(await verifyBundle([Buffer.from(bundle)]))];
  }

  it("agrees with the document's examples", () => {
    const { status, stdout } = spawnSync("python3", [script, "--vectors", vectors], { encoding: "utf8" });
    expect([status, stdout.trim()]).toEqual([0, "all vectors agree"]);
  });

  it("accepts untouched bundles, and says the same of them as ours", async () => {
    const bundle = await bundleOf(good);
    const ours = await verifyBundle([Buffer.from(bundle)]);
    const theirs = JSON.parse(run(bundle, "--json").output) as Record<string, unknown>;
    expect(theirs).toMatchObject({
      integrity: "ok",
      entries: ours.entries,
      votes: ours.votes,
      bodies: { checked: ours.bodies.checked },
      findings: [],
    });
    expect(ours).toMatchObject({ integrity: "ok", votes: { checked: 1, unchecked: 0 }, bodies: { checked: 2 } });
    expect(await both(await bundleOf([], headerOf([])))).toEqual([2, 2]);
    expect(await both(await bundleOf(good.slice(3), headerOf(good.slice(3))))).toEqual([0, 0]);
  });

  it.each<[string, () => StoredEntry[], string]>([
    [
      "content edited",
      () => edit(5, { content: (at(5).content as string).replace("abab", "abac") }),
      "CONTENT_MISMATCH seq=5",
    ],
    [
      "content edited and rehashed",
      () => edit(5, rehashed({ ...at(5), content: (at(5).content as string).replace("abab", "abac") })),
      "LINK_BROKEN seq=6",
    ],
    ["one deleted", () => good.filter((_, n) => n !== 5), "GAP seq=5"],
    ["the last deleted", () => good.slice(0, -1), "GAP seq=7"],
    ["lines exchanged", () => [...good.slice(0, 5), at(6), at(5), at(7)], "ORDER_BROKEN seq=5"],
    ["duplicated", () => [...good, at(7)], "DUPLICATE_SEQ seq=7"],
    ["time lowered", () => edit(5, { timeMs: 1 }), "TIME_REGRESSION seq=5"],
    ["column hash", () => edit(5, { hash: zeroHash }), "COLUMN_MISMATCH seq=5"],
    ["erased", () => edit(5, { content: null }), "ERASED_WITHOUT_ENTRY seq=5"],
    ["body edited", () => edit(3, { body: { salt: "00".repeat(32), text: "{}" } }), "REFERENCE_MISMATCH seq=3"],
    ["vote forged", () => chainOf([enrolled(ada), voted(ada, { decision: "REJECTED" })]), "VOTE_FORGED seq=1"],
    ["voted after revocation", () => chainOf([enrolled(ada), revoked(ada), voted(ada)]), "VOTE_FORGED seq=2"],
  ])("finds: %s", async (_, entries, finding) => {
    const bundle = await bundleOf(entries());
    expect(run(bundle).output).toContain(finding);
    expect(await both(bundle)).toEqual([1, 1]);
  });

  it("finds a bundle of another tenant", async () => {
    const bundle = await bundleOf(good);
    expect(run(bundle, "--tenant", otherTenant).code).toBe(1);
    expect(exitCodeOf(await verifyBundle([Buffer.from(bundle)], { tenant: otherTenant }))).toBe(1);
  });

  it("finds every flipped bit, with the digest left and with the digest made true again", async () => {
    const bundle = Buffer.from(await bundleOf(good));
    const places = Array.from({ length: 24 }, (_, i) => Math.floor(((i + 0.5) * bundle.length) / 24));
    for (const place of places) {
      const flipped = Buffer.from(bundle);
      flipped[place] = (flipped[place] as number) ^ (1 << (place % 8));
      const codes = await both(flipped);
      expect(codes, `byte ${place}, bit ${place % 8}`).not.toContain(0);
      expect(codes[0], `byte ${place}, bit ${place % 8}`).toBe(codes[1]);
    }
    const line = bundle.toString().split("\n")[4] as string;
    for (const field of ["timeMs", "prev", "hash", "contentHash", "content"] as const) {
      const value = JSON.stringify((JSON.parse(line) as Record<string, unknown>)[field]);
      const changed = value.replace(/\d(?=\D*$)/, (digit) => String((Number(digit) + 1) % 10));
      expect(await both(resealed(bundle.toString().replace(line, line.replace(value, changed)))), field).toEqual([
        1, 1,
      ]);
    }
  });

  it.each<[string, (text: string) => string]>([
    ["nothing", () => ""],
    ["no line feed at the end", (text) => text.trimEnd()],
    ["cut off", (text) => text.slice(0, text.lastIndexOf("\n", text.length - 2) + 1)],
    ["something behind it", (text) => `${text}{}\n`],
    ["no header", (text) => text.slice(text.indexOf("\n") + 1)],
    ["another format", (text) => text.replace("countersign.bundle.", "countersign.bundel.")],
    ["a line that is no object", (text) => text.replace("\n", "\n[]\n")],
    ["an unknown member", (text) => text.replace('"seq":', '"extra":1,"seq":')],
    ["a missing member", (text) => text.replace(/"prev":"[0-9a-f]*",/, "")],
    ["seq 2^63", (text) => text.replace('"seq":5,', '"seq":9223372036854775808,')],
    ["time of a million digits", (text) => text.replace(/"timeMs":\d+\}\n/, `"timeMs":${"9".repeat(1_000_000)}}\n`)],
    ["a lone surrogate", (text) => text.replace('"content":"{', '"content":"\\ud800{')],
    ["100,000 brackets", (text) => text.replace("\n", `\n${"[".repeat(100_000)}\n`)],
    [
      "a million members",
      (text) => text.replace("\n", `\n{${Array.from({ length: 1_000_000 }, (_, i) => `"k${i}":0`).join()}}\n`),
    ],
  ])("malformed: %s", async (_, change) => {
    expect(await both(change(await bundleOf(good)))).toEqual([4, 4]);
  });

  it("says 3 when there is nothing to read, and 64 when called wrongly", () => {
    const code = (...options: string[]): number | null =>
      spawnSync("python3", [script, ...options], { encoding: "utf8" }).status;
    expect([code(join(folder, "none")), code(), code("a", "b", "c"), code("--what")]).toEqual([3, 64, 64, 64]);
  });
});
