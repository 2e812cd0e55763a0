/** Entries taken from their lines get the same verdict as entries taken as objects, whatever a bundle holds and however it is cut. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readBundle, readBundleLines } from "../src/bundleReader.js";
import {
  BundleWriter,
  contentHashHex,
  leafHashHex,
  linkText,
  sha256Hex,
  Summary,
  type BundleHeader,
  type StoredEntry,
} from "../src/index.js";
import { verifyBundleParts, type BundleResult, type VerifyBundleOptions } from "../src/verifyBundle.js";
import {
  chainOf,
  enrolled,
  otherTenant,
  plain,
  rehashed,
  revoked,
  startMs,
  tenant,
  uuid,
  voted,
  voterOf,
} from "./chains.js";
import { checkpointAt, deployment, edgeAt, logKey, statementsOf } from "./logs.js";

const ada = voterOf(1);
/** Texts that need an escape, and such as do not; times of different lengths; a content too long for the short way. */
const texts = [
  "",
  "plain",
  '"',
  "\\",
  '\\"\\\\""',
  "ümlaut 😀",
  "line\nend",
  "\u0001",
  "\u2028",
  "/",
  "x".repeat(70_000),
];
const ledger = chainOf([
  { ...enrolled(ada), timeMs: 9 },
  { ...voted(ada), timeMs: 999 },
  ...texts.map((text, i) => ({ ...plain(3 * i + 1), data: { text, after: text }, timeMs: 10 ** (i + 3) })),
  ...Array.from({ length: 12 }, (_, i) => ({ ...plain(i), timeMs: 10 ** 14 + i })),
  { ...revoked(ada), timeMs: 10 ** 14 + 12 },
  { ...voted(ada), timeMs: 10 ** 14 + 13 },
  { ...plain(2), timeMs: 10 ** 15 + 1 },
  { ...plain(2), timeMs: Number.MAX_SAFE_INTEGER },
]);
const size = ledger.length;
const statements = await statementsOf({ kind: "root", key: logKey });
const note = (await checkpointAt(ledger, size)).text;

function bundleOf(entries: readonly StoredEntry[], changes: Partial<BundleHeader> = {}): string {
  const head = ledger.at(-1) as StoredEntry;
  const header: BundleHeader = {
    ...({ deployment, tenant, selection: "range", from: 0, to: size - 1, bodies: "included" } as const),
    head: { seq: head.seq, hash: head.hash, timeMs: head.timeMs },
    exportedAtMs: startMs,
    ...changes,
  };
  const edge = header.from === 0 ? {} : { edge: edgeAt(ledger, header.from).hashes() };
  const writer = new BundleWriter();
  return (
    writer.header(header) +
    writer.proofs({ ...edge, keyStatements: statements, checkpoints: [{ note }] }) +
    entries.map((entry) => writer.entry(entry)).join("") +
    writer.end()
  );
}
const withoutBodies = ledger.map(({ body: _, ...entry }) => entry);
const whole = bundleOf(ledger);
const withheld = bundleOf(withoutBodies, { bodies: "withheld" });
const range = bundleOf(withoutBodies.slice(7), { bodies: "withheld", from: 7 });

type Bytes = Uint8Array;
const cut = (bytes: Bytes, places: readonly number[]): Bytes[] => {
  const ends = [...places.map((place) => place % (bytes.length + 1)).sort((a, b) => a - b), bytes.length];
  return ends.map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end));
};

/** Both verdicts with what the summary saw; they must be one. */
async function verdict(
  bundle: string | Bytes,
  places: number[] = [],
  more: VerifyBundleOptions = {},
): Promise<BundleResult> {
  const bytes = typeof bundle === "string" ? Buffer.from(bundle, "utf8") : bundle;
  const [fast, slow] = await Promise.all(
    [readBundleLines, readBundle].map(async (read) => {
      const summary = new Summary();
      const hashesAt = [0, 3, 9, 20];
      const result = await verifyBundleParts(read(cut(bytes, places)), { ...more, summary, hashesAt });
      return { result, happened: summary.result };
    }),
  );
  expect(fast).toEqual(slow);
  return (fast as { result: BundleResult }).result;
}

/** The last line made true again, so that the damage has to be found elsewhere. */
function resealed(text: string): string {
  const lines = text.trimEnd().split("\n").slice(0, -1);
  const before = lines.map((line) => `${line}\n`).join("");
  const entries = lines.filter((line) => line.includes('"seq":')).length - 1;
  return `${before}{"entries":${entries},"sha256":"${sha256Hex(before)}"}\n`;
}

describe("entries of a bundle as lines", () => {
  it.each([
    ["bodies", whole],
    ["no bodies", withheld],
    ["a range", range],
  ])("nothing wrong: %s", async (_, bundle) => {
    // The vote by a revoked key is the one thing to find.
    const result = await verdict(bundle);
    expect(result.findings.map(({ class: name }) => name)).toEqual(bundle === range ? [] : ["VOTE_FORGED"]);
    expect(result).toMatchObject({ checkpoints: { agreeing: 1 }, head: { seq: size - 1 } });
  });

  it("most take the short way, and give what JSON gives", async () => {
    let [plainOnes, all] = [0, 0];
    for await (const part of readBundleLines([Buffer.from(withheld)])) {
      if (part.kind !== "lines") continue;
      for (let line = part.lines.next(); line !== undefined; line = part.lines.next(), all++) {
        const entry = line.entry();
        if (!line.isPlain) continue;
        plainOnes++;
        const hash = (at: number): string => Buffer.from(line.bytes).toString("latin1", at, at + 64);
        expect([line.seq, line.timeMs, line.content.toString()]).toEqual([entry.seq, entry.timeMs, entry.content]);
        expect([hash(line.prevAt), hash(line.contentHashAt), hash(line.hashAt)]).toEqual([
          ...[entry.prev, entry.contentHash, entry.hash],
        ]);
      }
    }
    // Not: a content that is too long, two numbers of 16 digits. The first entry ends the proofs.
    expect([plainOnes, all]).toEqual([size - 1 - 3, size - 1]);
  });

  it("a bundle of another tenant than asked for", async () => {
    expect((await verdict(withheld, [], { tenant: otherTenant })).integrity).toBe("tampered");
    const foreign = ledger.map((entry) => ({ ...entry, tenantId: otherTenant }));
    const bundle = bundleOf(foreign, { tenant: otherTenant }).replace(/^\{"checkpoint".*\n/gm, "");
    const { findings } = await verdict(resealed(bundle), [], { tenant, findingsMax: 1000 });
    // Every single entry, and the bundle.
    expect(findings.filter(({ class: name }) => name === "FOREIGN_ENTRY").length).toBe(size + 1);
  });

  it("thoroughly", async () => {
    await verdict(withheld, [], { thorough: true });
  });

  const lineAt = (seq: number): RegExp => new RegExp(`^.*"seq":${seq},.*$`, "m");
  const inLine =
    (seq: number, from: string | RegExp, to: string) =>
    (text: string): string =>
      text.replace(lineAt(seq), (line) => line.replace(from, to));
  const hostile: Readonly<Record<string, (text: string) => string>> = {
    "a bare quote in the content": inLine(20, '\\"', '"'),
    "all of its quotes bare": inLine(20, /\\"/g, '"'),
    "a raw control character": inLine(20, "change_set.", "change\t_set."),
    "another escape for the same": inLine(20, "change_set.", "change\\u005fset."),
    "an escaped slash": inLine(20, "change_set.", "change\\/set."),
    "an escape of nothing": inLine(20, "change_set.", "change\\xset."),
    "half a surrogate pair": inLine(20, "change_set.", "change\\ud800set."),
    "white space": inLine(20, '"seq":', '"seq": '),
    "a carriage return": inLine(20, /$/, "\r"),
    "a leading zero": inLine(20, '"seq":20', '"seq":020'),
    "an exponent": inLine(20, '"seq":20', '"seq":2e1'),
    "a fraction": inLine(20, '"seq":20', '"seq":20.0'),
    "minus zero": inLine(20, '"seq":20', '"seq":-0'),
    "no number": inLine(20, '"seq":20', '"seq":'),
    "too large a number": inLine(20, '"seq":20', '"seq":20000000000000000000'),
    "a later time": inLine(20, '"timeMs":1', '"timeMs":2'),
    "a hash in capitals": inLine(20, /"hash":"[^"]*"/, `"hash":"${(ledger[20]?.hash ?? "").toUpperCase()}"`),
    "a hash too short": inLine(20, /"hash":"../, '"hash":"'),
    "a hash that is none": inLine(20, /"hash":"../, '"hash":"zz'),
    "a hash with a line end": inLine(20, /"hash":"../, '"hash":"\n\n'),
    "a hash that ends the text": inLine(20, /"hash":"...../, '"hash":"","x'),
    "a prev that is none": inLine(20, /"prev":"../, '"prev":"zz'),
    "a prev in capitals": inLine(20, /"prev":"[^"]*"/, `"prev":"${(ledger[20]?.prev ?? "").toUpperCase()}"`),
    "a content's hash that is none": inLine(20, /"contentHash":"../, '"contentHash":"zz'),
    "an escape of what needs none": inLine(20, "change_set.", "\\change_set."),
    "a digest among the members": inLine(20, /"prev":"[^"]*"/, `"prev":"${"0".repeat(49)}","sha256":"00000`),
    "a member more": inLine(20, '"seq":', '"extra":1,"seq":'),
    "a member twice": inLine(20, '"seq":', '"seq":3,"seq":'),
    "the content twice": inLine(20, '{"content"', '{"content":"","content"'),
    "members in another order": inLine(20, /("seq":\d+),("timeMs":\d+)/, "$2,$1"),
    "no content": inLine(20, /"content":".*","contentHash"/, '"content":null,"contentHash"'),
    "a checkpoint among the entries": inLine(20, /^/, '{"checkpoint":"x"}\n'),
    "an edge among the entries": inLine(20, /^/, '{"edge":[]}\n'),
    "an empty line": inLine(20, /^/, "\n"),
    "no JSON": inLine(20, /^/, '{"content":"\n'),
    "only a beginning": inLine(20, /"contentHash.*$/, ""),
    "a last line among the entries": inLine(20, /^/, `{"entries":20,"sha256":"${"0".repeat(64)}"}\n`),
    "a line after the last": (text) => `${text}{"content":"`,
    "an entry after the last": (text) => `${text}${lineAt(20).exec(text)?.[0] ?? ""}\n`,
    "two entries exchanged": (text) =>
      text
        .replace(lineAt(20), "@")
        .replace(lineAt(24), lineAt(20).exec(text)?.[0] ?? "")
        .replace("@", lineAt(24).exec(text)?.[0] ?? ""),
    "an entry twice": inLine(20, /^(.*)$/, "$1\n$1"),
    "an entry gone": (text) => text.replace(/^.*"seq":20,.*\n/m, ""),
    "cut off": (text) => text.slice(0, text.indexOf('"seq":20')),
    "a content edited, its hash made true": (text) => {
      const entry = ledger[20] as StoredEntry;
      const content = (entry.content as string).replace("submitted", "cancelled");
      const { contentHash } = rehashed({ ...entry, content });
      return inLine(20, entry.contentHash, contentHash)(inLine(20, "submitted", "cancelled")(text));
    },
    "an erasure of what comes later": (text) => inLine(20, uuid("ccc", 1), uuid("ccc", 2))(text),
  };
  it.each(Object.entries(hostile))("%s", async (_, change) => {
    for (const bundle of [whole, withheld, range]) {
      const changed = change(bundle);
      for (const one of [changed, resealed(changed)])
        for (const places of [[], [1000, 5000, changed.length - 3], [changed.indexOf('"seq":20') + 2]])
          await verdict(one, places);
    }
  });

  /** Entry 20 is another, and what follows is chained to it: no hash tells that its line is not in the format. */
  function chainedWith(content: string, asSeq = "20"): string {
    const entries = withoutBodies.slice();
    for (let seq = 20; seq < entries.length; seq++) {
      const before = entries[seq - 1] as StoredEntry;
      const entry = { ...(entries[seq] as StoredEntry), prev: before.hash };
      if (seq === 20) entry.content = content;
      const contentHash = contentHashHex(entry.content ?? "");
      const link = linkText({ tenant, seq, timeMs: entry.timeMs, prev: entry.prev, contentHash });
      const hash = leafHashHex(seq === 20 ? link.replace("\n20\n", `\n${asSeq}\n`) : link);
      entries[seq] = { ...entry, contentHash, hash };
    }
    return bundleOf(entries, { bodies: "withheld" });
  }
  const content = ledger[20]?.content as string;
  it.each([
    ["nothing but that", chainedWith(content.replace("submitted", "cancelled"))],
    ["a raw tab", inLine(20, "\\t", "\t")(chainedWith(content.replace("submitted", "sub\tmitted")))],
    ["a raw U+001F", inLine(20, "\\u001f", "\u001f")(chainedWith(content.replace("submitted", "sub\u001fmitted")))],
    ["a number with a zero before", inLine(20, '"seq":20', '"seq":020')(chainedWith(content, "020"))],
    ["bare quotes", inLine(20, /\\"/g, '"')(chainedWith(content))],
  ])("chained as it is: %s", async (what, bundle) => {
    const { findings } = await verdict(resealed(bundle));
    expect(findings.some(({ class: name }) => name === "MALFORMED")).toBe(what !== "nothing but that");
  });

  it("any bytes changed, anywhere, however it is cut", async () => {
    const change = fc.record({ at: fc.nat(), byte: fc.nat(255), insert: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(whole, withheld, range).map((text) => Buffer.from(text.replace(/x{1000,}/g, "xxx"))),
        fc.array(change, { maxLength: 3 }),
        fc.boolean(),
        fc.array(fc.nat(), { maxLength: 8 }),
        async (bundle, changes, reseal, places) => {
          let bytes = bundle;
          for (const { at, byte, insert } of changes) {
            const place = at % bytes.length;
            bytes = Buffer.concat([
              bytes.subarray(0, place),
              Buffer.of(byte),
              bytes.subarray(place + (insert ? 0 : 1)),
            ]);
          }
          await verdict(reseal ? Buffer.from(resealed(bytes.toString("latin1")), "latin1") : bytes, places);
        },
      ),
      { numRuns: 300 },
    );
  });
});
