/** Bundles of version 2: ranges with their edge, selections with their proofs, checkpoints; and a bundle of version 1, kept. */
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  BundleWriter,
  consistencyProof,
  exitCodeOf,
  inclusionProof,
  nodeHash,
  sha256Hex,
  verifyBundle,
  type BundleEntry,
  type BundleHeader,
  type BundleProofs,
  type BundleResult,
  type ReadNodes,
  type StoredEntry,
  type Trust,
  type VerifyBundleOptions,
} from "../src/index.js";
import { chainOf, enrolled, plain, startMs, tenant, voted, voterOf } from "./chains.js";
import {
  anchorOf,
  checkpointAt,
  deployment,
  edgeAt,
  logKey,
  policyOf,
  statementsOf,
  thiefKey,
  trustOf,
} from "./logs.js";

const ada = voterOf(1);
const ledger = chainOf([enrolled(ada), voted(ada), ...Array.from({ length: 60 }, (_, i) => plain(i + 2))]);
const size = ledger.length;
const statements = await statementsOf({ kind: "root", key: logKey });

/** Nodes of the tree over all entries, by the definition. */
const nodes: ReadNodes = (wanted) =>
  wanted.map(({ level, index }) => {
    const hash = (from: number, to: number): Uint8Array => {
      if (to - from === 1) return Buffer.from(ledger[from]?.hash ?? "", "hex");
      const middle = (from + to) / 2;
      return nodeHash(hash(from, middle), hash(middle, to));
    };
    return hash(index * 2 ** level, (index + 1) * 2 ** level);
  });

const headerOf = (changes: Partial<BundleHeader> = {}): BundleHeader => {
  const head = ledger.at(-1) as StoredEntry;
  return {
    ...({ deployment, tenant, selection: "range", from: 0, to: size - 1, bodies: "included" } as const),
    head: { seq: head.seq, hash: head.hash, timeMs: head.timeMs },
    exportedAtMs: startMs + 1_000_000,
    ...changes,
  };
};
function textOf(header: BundleHeader, entries: readonly BundleEntry[], proofs: BundleProofs = {}): string {
  const writer = new BundleWriter();
  return (
    writer.header(header) + writer.proofs(proofs) + entries.map((entry) => writer.entry(entry)).join("") + writer.end()
  );
}
const check = (text: string | Uint8Array, options: VerifyBundleOptions = {}): Promise<BundleResult> =>
  verifyBundle([typeof text === "string" ? Buffer.from(text, "utf8") : text], options);
/** The last line made true again: what remains to be found is elsewhere. */
function resealed(text: string): string {
  const lines = text.trimEnd().split("\n").slice(0, -1);
  const before = lines.map((line) => `${line}\n`).join("");
  const entries = lines.filter((line) => line.includes('"seq":') && line.includes('"prev":')).length;
  return `${before}${JSON.stringify({ entries, sha256: sha256Hex(before) })}\n`;
}

async function whole(changes: Partial<BundleHeader> = {}): Promise<string> {
  const note = (await checkpointAt(ledger, size)).text;
  return textOf(headerOf(changes), ledger, { keyStatements: statements, checkpoints: [{ note }] });
}
/** Entries 20 to 39 with the edge before and checkpoints at 30 and at the end. */
async function range(edgeSize = 20): Promise<string> {
  const [inside, beyond] = [await checkpointAt(ledger, 30), await checkpointAt(ledger, size)];
  const consistency = await consistencyProof(40, size, nodes);
  return textOf(headerOf({ from: 20, to: 39 }), ledger.slice(20, 40), {
    edge: edgeAt(ledger, edgeSize).hashes(),
    keyStatements: statements,
    checkpoints: [{ note: inside.text }, { note: beyond.text, consistency }],
  });
}
async function selection(seqs: readonly number[], of = ledger): Promise<string> {
  const { text: note } = await checkpointAt(ledger, size);
  const entries = await Promise.all(
    seqs.map(async (seq) => ({ ...(of[seq] as StoredEntry), proof: await inclusionProof(seq, size, nodes) })),
  );
  const header = headerOf({ selection: "entries", about: { changeSet: "CS-2026-1120-001" } });
  return textOf(header, entries, { keyStatements: statements, checkpoints: [{ note }] });
}
const trust = async (): Promise<Trust> =>
  trustOf({
    policy: policyOf("a"),
    requireAnchored: true,
    anchors: [anchorOf("a", [await checkpointAt(ledger, size)])],
  });

describe("a range", () => {
  it("of everything verifies, and a policy finds it whole", async () => {
    expect(await check(await whole())).toMatchObject({
      integrity: "ok",
      entries: size,
      completeness: { status: "not_demanded" },
      checkpoints: { agreeing: 1, size, signedBy: [{ publicKey: logKey.publicKey, trust: "own" }] },
    });
    const result = await check(await whole(), { trust: await trust() });
    expect([result.completeness.status, result.findings, exitCodeOf(result)]).toEqual(["shown", [], 0]);
    expect(result.checkpoints.signedBy[0]?.trust).toBe("pinned");
  });

  it("from the middle is tied to checkpoints inside and beyond it", async () => {
    const result = await check(await range(), { trust: await trust() });
    expect(result).toMatchObject({ integrity: "ok", checkpoints: { agreeing: 2, size } });
    expect([result.completeness.status, exitCodeOf(result)]).toEqual(["shown", 0]);
  });

  it("is bound to its edge: another one makes another root", async () => {
    const other = edgeAt(
      ledger.map((entry) => ({ ...entry, hash: "ab".repeat(32) })),
      20,
    ).hashes();
    const lines = (await range()).split("\n");
    lines[1] = JSON.stringify({ edge: other.map((hash) => Buffer.from(hash).toString("hex")) });
    expect((await check(resealed(lines.join("\n")))).findings.map((finding) => finding.class)).toEqual([
      "HISTORY_REWRITTEN",
    ]);
  });

  it("rewritten as a whole: its own checkpoint tells, and one of its own making is untrusted", async () => {
    const forged = chainOf([enrolled(ada), ...Array.from({ length: size - 1 }, (_, i) => plain(500 + i))]);
    const head = forged.at(-1) as StoredEntry;
    const header = headerOf({ head: { seq: head.seq, hash: head.hash, timeMs: head.timeMs } });
    const kept = { keyStatements: statements, checkpoints: [{ note: (await checkpointAt(ledger, size)).text }] };
    expect((await check(textOf(header, forged, kept))).first?.class).toBe("HISTORY_REWRITTEN");
    const anew = {
      keyStatements: await statementsOf({ kind: "root", key: thiefKey }),
      checkpoints: [{ note: (await checkpointAt(forged, size, { key: thiefKey })).text }],
    };
    const text = textOf(header, forged, anew);
    // By itself it is consistent, and says so; with the auditor's policy it is neither trusted nor what was anchored.
    expect(exitCodeOf(await check(text))).toBe(0);
    const found = (await check(text, { trust: await trust() })).findings.map((finding) => finding.class).sort();
    expect(found).toEqual(["HISTORY_REWRITTEN", "KEY_UNTRUSTED"]);
  });

  it.each<[string, (text: string) => string, number]>([
    ["a checkpoint that is none", (text) => text.replace('{"checkpoint":"', '{"checkpoint":"x\\n'), 4],
    [
      "a checkpoint of another ledger",
      (text) => text.replace(new RegExp(`"checkpoint":"${deployment}`), '"checkpoint":"x'),
      4,
    ],
    ["proofs behind entries", (text) => swapped(text, 2, 4), 4],
    ["a checkpoint before the statements", (text) => swapped(text, 2, 3), 4],
    ["the larger checkpoint first", (text) => swapped(text, 3, 4), 4],
    ["two edges", (text) => text.replace(/\n(\{"edge".*\n)/, "\n$1$1"), 4],
    ["an edge of another size", (text) => text.replace(/\{"edge":\["[0-9a-f]{64}",/, '{"edge":['), 4],
    ["an edge that is no hash", (text) => text.replace(/\{"edge":\["[0-9a-f]/, '{"edge":["g'), 4],
    ["no consistency proof beyond the range", (text) => text.replace(/,"consistency":\[[^\]]*\]/, ""), 4],
    ["a wrong one", (text) => text.replace(/"consistency":\["..../, '"consistency":["abcd'), 1],
    ["a signature cut off", (text) => text.replace(/("checkpoint":"[^"]*)\\n\\n— [^"]*"/, '$1\\n\\n"'), 4],
    ["an unknown line", (text) => text.replace("\n", '\n{"what":1}\n'), 4],
  ])("%s", async (_, change, exit) => {
    const text = await range();
    const changed = change(text);
    expect(changed).not.toBe(text);
    expect(exitCodeOf(await check(resealed(changed)))).toBe(exit);
  });

  it("a tail cut, and the header with it: only what was anchored before the export tells", async () => {
    const cut = ledger.slice(0, 50);
    const head = cut.at(-1) as StoredEntry;
    const changes = { to: 49, head: { seq: 49, hash: head.hash, timeMs: head.timeMs } };
    const text = (exportedAtMs: number): string => textOf(headerOf({ ...changes, exportedAtMs }), cut);
    const with_ = { trust: await trust() };
    expect((await check(text(startMs + 1_000_000), with_)).first).toMatchObject({
      class: "TRUNCATED",
      have: 50,
      anchored: size,
    });
    const before = await check(text(startMs), with_);
    expect([before.findings, exitCodeOf(before)]).toEqual([[], 2]);
    expect(before.notes.map((note) => note.class)).toContain("ANCHOR_AHEAD");
  });
});

describe("a selection", () => {
  it("shows that its entries are in the ledger, and says what it cannot", async () => {
    const result = await check(await selection([0, 1, 17, 18, size - 1]), { trust: await trust() });
    expect(result).toMatchObject({ integrity: "ok", entries: 5, votes: { checked: 1, unchecked: 0 } });
    expect([result.completeness.status, exitCodeOf(result)]).toEqual(["shown", 0]);
    expect(result.notes[0]).toMatchObject({ class: "SELECTION" });
  });
  it("leaves votes of keys that are not in it unchecked", async () => {
    expect(await check(await selection([1, 5]))).toMatchObject({
      integrity: "ok",
      votes: { checked: 0, unchecked: 1 },
    });
  });
  it("of nothing shows nothing, whoever confirms its checkpoint", async () => {
    expect(exitCodeOf(await check(await selection([]), { trust: await trust() }))).toBe(2);
  });
  it("an entry that is not of the tree is found, consistent as it may be", async () => {
    const other = chainOf([plain(900)], tenant, { seq: 17, prev: ledger[16]?.hash ?? "" })[0] as StoredEntry;
    const with_ = ledger.map((entry) => (entry.seq === 17 ? other : entry));
    const result = await check(await selection([3, 17, 40], with_));
    expect([result.first?.class, result.first?.seq, exitCodeOf(result)]).toEqual(["LINK_BROKEN", 17, 1]);
  });
  it("an entry at another place is found", async () => {
    const text = await selection([3, 17]);
    expect(exitCodeOf(await check(resealed(text.replace('"seq":17', '"seq":18'))))).toBe(1);
  });
  it("needs a checkpoint, and a proof for each", async () => {
    const text = await selection([3]);
    expect(exitCodeOf(await check(resealed(text.replace(/\{"checkpoint".*\n/, ""))))).toBe(4);
    expect(exitCodeOf(await check(resealed(text.replace(/,"proof":\[[^\]]*\]/, ""))))).toBe(4);
  });
  it("with a signature nobody vouches for is not shown", async () => {
    const { text: note } = await checkpointAt(ledger, size, { key: thiefKey });
    const text = textOf(headerOf({ selection: "entries" }), [], { checkpoints: [{ note }] });
    expect((await check(text, { trust: await trust() })).first?.class).toBe("KEY_UNTRUSTED");
  });
});

describe("whatever is flipped", () => {
  it("one bit anywhere in a small bundle is found", async () => {
    // No vote and no key statement: 6,000 times some signatures would be minutes in the browser's arithmetic.
    const short = chainOf([plain(0), plain(1)]);
    const { hash, timeMs } = short[1] as StoredEntry;
    const proofs = { edge: [], checkpoints: [{ note: (await checkpointAt(short, 2)).text }] };
    const bytes = Buffer.from(textOf(headerOf({ to: 1, head: { seq: 1, hash, timeMs } }), short, proofs));
    expect(exitCodeOf(await check(bytes))).toBe(0);
    for (let place = 0; place < bytes.length; place++) {
      const bit = 1 << ((place * 5) % 8);
      bytes[place] = (bytes[place] as number) ^ bit;
      if (exitCodeOf(await check(bytes)) === 0) expect.fail(`byte ${place}: bit ${bit} flipped and not found`);
      bytes[place] = (bytes[place] as number) ^ bit;
    }
  });
  it("any bit of a range or a selection", async () => {
    const texts = [Buffer.from(await range()), Buffer.from(await selection([1, 17, 40]))];
    await fc.assert(
      fc.asyncProperty(fc.nat(1), fc.nat(), fc.nat(7), async (which, at, bit) => {
        const bytes = Buffer.from(texts[which] as Buffer);
        const place = at % bytes.length;
        bytes[place] = (bytes[place] as number) ^ (1 << bit);
        expect(exitCodeOf(await check(bytes))).not.toBe(0);
      }),
      { numRuns: 300 },
    );
  });
});

describe("hostile proofs", () => {
  it.each<[string, () => string]>([
    ["a million key statements", () => '{"keyStatement":"x"}\n'.repeat(1_000_001)],
    ["a million checkpoints", () => '{"checkpoint":"x"}\n'.repeat(1_000_001)],
    ["a note of 17 MB", () => `{"checkpoint":"${"x".repeat(17_000_000)}"}\n`],
    ["an edge of a million hashes", () => `{"edge":[${`"${"a".repeat(64)}",`.repeat(1_000_000)}"x"]}\n`],
  ])("%s: refused, in bounded memory", async (_, lines) => {
    const text = textOf(headerOf({ from: 20 }), []);
    const [header = ""] = text.split("\n");
    expect(exitCodeOf(await check(resealed(`${header}\n${lines()}${text.split("\n")[1] ?? ""}\n`)))).toBe(4);
  });
});

it("a bundle of version 1, written by the first writer, verifies as it did", async () => {
  const bytes = readFileSync(new URL("vectors/bundle-v1/bundle.jsonl", import.meta.url));
  const result = await check(bytes, { trust: await trust() });
  expect(result).toMatchObject({ integrity: "ok", entries: 2, votes: { checked: 1 }, bodies: { checked: 1 } });
  expect(exitCodeOf(await check(bytes))).toBe(0);
  const broken = Buffer.from(bytes);
  broken[700] = (broken[700] as number) ^ 1;
  expect(exitCodeOf(await check(broken))).toBe(1);
});

function swapped(text: string, a: number, b: number): string {
  const lines = text.split("\n");
  [lines[a], lines[b]] = [lines[b] ?? "", lines[a] ?? ""];
  return lines.join("\n");
}
