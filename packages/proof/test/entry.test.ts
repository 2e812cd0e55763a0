/** The bytes of an entry: what the builder makes, what it refuses, and that every field counts. */
import { describe, expect, it } from "vitest";
import {
  approvalDigest,
  bodyCommitment,
  contentHashHex,
  entryContentText,
  entryHasher,
  entryHashHex,
  FORMAT_VERSION,
  isStorable,
  parseEntryContent,
  revisionDigest,
  rowDigest,
  Sha256Stream,
  sha256Bytes,
  sha256Hex,
  sha256PartsHex,
  voteSigningBytes,
  type EntryContentInput,
  type JsonObject,
} from "../src/index.js";
import { tenant, uuid } from "./chains.js";

const input: EntryContentInput = {
  id: uuid("aaa", 1),
  nonce: "0f".repeat(16),
  at: 1_790_000_000_000,
  actor: { type: "agent", id: uuid("bbb", 1), humans: [uuid("bbb", 2)] },
  action: "change_set.approved",
  subject: { type: "change_set", id: uuid("ccc", 1) },
  refs: [{ type: "revision", id: uuid("ccc", 2) }],
  data: { decision: "APPROVED", count: 3, deep: [{ id: "x" }, null, true] },
  state: [
    ["votes", "b", 1, "cd".repeat(32)],
    ["items", "z", 2, "ab".repeat(32)],
    ["votes", "a", 1, "cd".repeat(32)],
  ],
  counts: [
    ["z", 1],
    ["a", 2],
  ],
  body: { commitment: "ef".repeat(32) },
};

describe("content", () => {
  const text = entryContentText(input);

  it("is canonical, versioned, with state and counts sorted", () => {
    const parsed = parseEntryContent(text);
    expect(parsed.ok && parsed.content.v).toBe(FORMAT_VERSION);
    expect(parsed.ok && parsed.content.state.map(([table, id]) => `${table} ${id}`)).toEqual([
      "items z",
      "votes a",
      "votes b",
    ]);
    expect(parsed.ok && parsed.content.counts).toEqual([
      ["a", 2],
      ["z", 1],
    ]);
    expect(text.startsWith('{"action":"change_set.approved","actor":')).toBe(true);
  });
  it("leaves out what is not there", () => {
    const { refs: _r, data: _d, state: _s, counts: _c, body: _b, ...least } = input;
    expect(Object.keys(JSON.parse(entryContentText(least)) as object)).toEqual([
      "action",
      "actor",
      "at",
      "data",
      "id",
      "nonce",
      "refs",
      "state",
      "subject",
      "v",
    ]);
    expect(entryContentText({ ...least, counts: [] })).toBe(entryContentText(least));
  });

  it.each<[string, Record<string, unknown>]>([
    ["id is no UUID", { id: "1" }],
    ["id in upper case", { id: uuid("aaa", 1).toUpperCase() }],
    ["nonce too short", { nonce: "00" }],
    ["time with a fraction", { at: 1.5 }],
    ["time before 1970", { at: -1 }],
    ["unknown actor", { actor: { type: "robot", id: "x", humans: [] } }],
    ["actor without humans", { actor: { type: "agent", id: "x" } }],
    ["actor with more", { actor: { type: "agent", id: "x", humans: [], name: "Ada" } }],
    ["action without noun", { action: "approved" }],
    ["subject without id", { subject: { type: "change_set", id: "" } }],
    ["subject's type with a space", { subject: { type: "change set", id: "x" } }],
    ["refs no array", { refs: {} }],
    ["data no object", { data: [] }],
    ["data with a fraction", { data: { score: 0.5 } }],
    ["data with 2^53", { data: { n: 2 ** 53 } }],
    ["data with U+0000", { data: { text: "a\u0000" } }],
    ["data with U+0000 in a name", { data: { "a\u0000": 1 } }],
    ["data with a lone surrogate", { data: { text: "\ud800" } }],
    ["data with undefined", { data: { a: undefined } }],
    ["data too deep", { data: JSON.parse(`${'{"a":'.repeat(30)}1${"}".repeat(30)}`) as JsonObject }],
    ["data with id and nonce", { data: { a: [{ id: "x", nonce: "y" }] } }],
    [
      "a row twice",
      {
        state: [
          ["items", "a", 1, "ab".repeat(32)],
          ["items", "a", 2, "ab".repeat(32)],
        ],
      },
    ],
    ["version 0", { state: [["items", "a", 0, "ab".repeat(32)]] }],
    ["digest too short", { state: [["items", "a", 1, "ab"]] }],
    [
      "a counter twice",
      {
        counts: [
          ["a", 1],
          ["a", 2],
        ],
      },
    ],
    ["a body that is no commitment", { body: { commitment: "x" } }],
    ["a body with more", { body: { commitment: "ef".repeat(32), title: "secret" } }],
    ["too long", { data: { text: "x".repeat(1_100_000) } }],
  ])("refuses: %s", (_, changes) => {
    expect(() => entryContentText({ ...input, ...changes } as EntryContentInput)).toThrow(
      /not a valid entry|no canonical JSON/,
    );
  });

  it.each<[string, (text: string) => string]>([
    ["white space", (good) => good.replace(",", ", ")],
    ["another order", (good) => `{"v":${FORMAT_VERSION},${good.slice(1).replace(`,"v":${FORMAT_VERSION}`, "")}`],
    ["a member twice", (good) => good.replace("{", '{"action":"change_set.approved",')],
    ["an unknown member", (good) => good.replace('"v":', '"u":1,"v":')],
    ["another version", (good) => good.replace(`"v":${FORMAT_VERSION}`, '"v":9')],
    ["a member missing", (good) => good.replace(/"nonce":"[0-9a-f]+",/, "")],
    ["state out of order", (good) => good.replace("items", "zzz")],
    ["escapes that need not be", (good) => good.replace("APPROVED", "\\u0041PPROVED")],
    ["a number written otherwise", (good) => good.replace('"count":3', '"count":3.0')],
    ["nothing", () => ""],
    ["an array", () => "[]"],
    ["deep nonsense", () => "[".repeat(500_000)],
    ["a megabyte and more", () => `"${"x".repeat(1_100_000)}"`],
  ])("is not read from: %s", (_, change) => expect(parseEntryContent(change(text)).ok).toBe(false));
});

describe("hashes", () => {
  const link = { tenant, seq: 7, timeMs: 1_790_000_000_000, prev: "11".repeat(32), contentHash: "22".repeat(32) };
  it("every field of a link counts", () => {
    const changes = [
      { tenant: uuid("fff", 1) },
      { seq: 8 },
      { timeMs: 1_790_000_000_001 },
      { prev: "12".repeat(32) },
      { contentHash: "23".repeat(32) },
    ];
    const hashes = new Set([link, ...changes.map((change) => ({ ...link, ...change }))].map(entryHashHex));
    expect(hashes.size).toBe(6);
    expect(entryHasher(tenant)(link.seq, link.timeMs, link.prev, link.contentHash)).toBe(entryHashHex(link));
  });
  it("what has one digest under one tag has another under the next", () => {
    const salt = Buffer.alloc(32, 1);
    const same: JsonObject = { a: 1 };
    expect(bodyCommitment(salt, same)).not.toBe(rowDigest(salt, same));
    expect(rowDigest(Buffer.alloc(32, 2), same)).not.toBe(rowDigest(salt, same));
    expect(() => rowDigest(Buffer.alloc(31), same)).toThrow("32 bytes");
  });
  it("every part of revision and approval counts", () => {
    const revision = { nonce: "00".repeat(32), items: [1], bases: [2], effects: [3], reversibility: [4] };
    const changed = Object.keys(revision).map((name) => revisionDigest({ ...revision, [name]: "x" }));
    expect(new Set([revisionDigest(revision), ...changed]).size).toBe(6);
    const approval = { revision: "r", route: 1, riskLevel: "LOW", policy: 2 };
    const others = Object.keys(approval).map((name) => approvalDigest({ ...approval, [name]: "x" }));
    expect(new Set([approvalDigest(approval), ...others]).size).toBe(5);
  });
  it("a vote's fields cannot run into each other", () => {
    const vote = {
      tenant,
      changeSetId: uuid("ccc", 1),
      approvalDigest: "ab".repeat(32),
      decision: "APPROVED",
      voterId: uuid("ddd", 1),
      atMs: 5,
    };
    for (const bad of [
      { decision: "APPROVED\nX" },
      { voterId: "" },
      { changeSetId: "a b" },
      { atMs: 1.5 },
      { atMs: -1 },
    ]) {
      expect(() => voteSigningBytes({ ...vote, ...bad })).toThrow();
    }
  });
  it("one way or another, SHA-256 is SHA-256", () => {
    const abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    expect([
      sha256Hex("abc"),
      sha256Hex(Buffer.from("abc")),
      sha256Bytes("abc").toString("hex"),
      sha256PartsHex("a", Buffer.from("b"), "c"),
    ]).toEqual([abc, abc, abc, abc]);
    const stream = new Sha256Stream().update(Buffer.from("ab")).update(Buffer.from("c"));
    expect([stream.bytes, stream.hex()]).toEqual([3, abc]);
    expect(contentHashHex("é")).toBe(sha256Hex(Buffer.from("é", "utf8")));
  });
  it.each<[string, boolean]>([
    ["plain", true],
    ["\u{1f600}", true],
    ["a\u0000b", false],
    ["\udc00", false],
  ])("isStorable(%j)", (text, storable) => {
    expect(isStorable(text)).toBe(storable);
  });
});
