/** Entries taken from the memory they arrived in get the same verdict as entries taken as objects, whatever is done to them. */
import { describe, expect, it } from "vitest";
import {
  ChainVerifier,
  contentHashHex,
  entryContentText,
  entryHashHex,
  zeroHash,
  type EntryBytes,
  type StoredEntry,
} from "../src/index.js";

const tenant = "0198f1f0-0000-7000-8000-000000000001";
const other = "0198f1f0-0000-7000-8000-000000000002";
const uuidOf = (n: number): string => `0198f1f0-0000-7000-8000-${n.toString(16).padStart(12, "0")}`;

function chainOf(count: number, data: (seq: number) => Record<string, string> = () => ({})): StoredEntry[] {
  const entries: StoredEntry[] = [];
  for (let seq = 0, prev = zeroHash; seq < count; seq++) {
    const id = uuidOf(seq + 100);
    const content = Buffer.from(
      entryContentText({
        id,
        nonce: seq.toString(16).padStart(32, "0"),
        at: 1,
        actor: { type: "agent", id: uuidOf(1), humans: [] },
        action: "change_set.created",
        subject: { type: "change_set", id },
        data: data(seq),
      }),
    );
    const contentHash = contentHashHex(content);
    // Times and numbers of different lengths.
    const link = { tenant, seq, timeMs: 10 ** Math.min(15, seq), prev, contentHash };
    const hash = entryHashHex(link);
    entries.push({ tenantId: tenant, seq, timeMs: link.timeMs, entryId: id, prev, content, contentHash, hash });
    prev = hash;
  }
  return entries;
}

/** As a database sends it: id, prev, content, content's hash and hash one behind the other, between foreign bytes. */
function bytesOf(entry: StoredEntry): EntryBytes {
  const content = entry.content === null ? Buffer.alloc(0) : Buffer.from(entry.content);
  const fields = [
    Buffer.from("noise"),
    Buffer.from(entry.entryId?.replaceAll("-", "") ?? "", "hex"),
    Buffer.from(entry.prev, "hex"),
    content,
    Buffer.from(entry.contentHash, "hex"),
    Buffer.from(entry.hash, "hex"),
    Buffer.from("noise"),
  ];
  const places = fields.map((_, i) => fields.slice(0, i).reduce((sum, field) => sum + field.length, 0));
  const [, entryIdAt = 0, prevAt = 0, contentAt = 0, contentHashAt = 0, hashAt = 0] = places;
  const bytes = Buffer.concat(fields);
  return {
    bytes,
    words: new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    isPlain: entry.content !== null && fields[1]?.length === 16 && [2, 4, 5].every((i) => fields[i]?.length === 32),
    seq: entry.seq,
    timeMs: entry.timeMs,
    entryIdAt,
    prevAt,
    contentAt,
    contentEnd: contentAt + content.length,
    contentHashAt,
    hashAt,
    entry: () => entry,
  };
}

function verdicts(entries: readonly StoredEntry[], options: { from?: number; thorough?: boolean } = {}) {
  const [asObjects, asBytes] = [new ChainVerifier({ tenant, ...options }), new ChainVerifier({ tenant, ...options })];
  for (const entry of entries) {
    asObjects.add(entry);
    asBytes.addBytes(bytesOf(entry));
  }
  return [asBytes.finish(), asObjects.finish()] as const;
}

const flipped = (hex: string): string => `${hex.slice(0, -1)}${hex.endsWith("0") ? "1" : "0"}`;
type Damage = (entries: StoredEntry[]) => StoredEntry[];
const edit =
  (seq: number, change: (entry: StoredEntry) => Partial<StoredEntry>): Damage =>
  (entries) =>
    entries.map((entry) => (entry.seq === seq ? { ...entry, ...change(entry) } : entry));
const edited = (text: string | Uint8Array | null): Buffer =>
  Buffer.from(
    Buffer.from(text ?? "")
      .toString()
      .replace("created", "deleted"),
  );

const damages: Readonly<Record<string, Damage>> = {
  nothing: (entries) => entries,
  "content edited": edit(5, (entry) => ({ content: edited(entry.content) })),
  "content and its hash edited": edit(5, (entry) => ({
    content: edited(entry.content),
    contentHash: contentHashHex(edited(entry.content)),
  })),
  "content erased": edit(5, () => ({ content: null })),
  "id column edited": edit(5, () => ({ entryId: uuidOf(7) })),
  "prev edited": edit(5, (entry) => ({ prev: flipped(entry.prev) })),
  "hash edited": edit(5, (entry) => ({ hash: flipped(entry.hash) })),
  "hash of the last edited": edit(19, (entry) => ({ hash: flipped(entry.hash) })),
  "content's hash edited": edit(5, (entry) => ({ contentHash: flipped(entry.contentHash) })),
  "time edited": edit(5, () => ({ timeMs: 3 })),
  "time not exact": edit(5, () => ({ timeMs: 2 ** 60 })),
  deleted: (entries) => entries.filter((entry) => entry.seq !== 5),
  "the first deleted": (entries) => entries.slice(1),
  duplicated: (entries) => entries.flatMap((entry) => (entry.seq === 5 ? [entry, entry] : [entry])),
  exchanged: (entries) =>
    entries.map((entry, i) => ({
      ...(entries[i === 5 ? 9 : i === 9 ? 5 : i] ?? entry),
      seq: entry.seq,
      prev: entry.prev,
    })),
  "out of order": (entries) => [
    ...entries.slice(0, 5),
    ...entries.slice(6, 9),
    ...entries.slice(5, 6),
    ...entries.slice(9),
  ],
  "of another tenant": (entries) =>
    entries
      .map((entry) => ({ ...entry, tenantId: other }))
      .slice(0, 0)
      .concat(entries),
};

describe("entries in the memory they arrived in", () => {
  const rows = Object.entries(damages);
  it.each(rows)("%s", (_, damage) => {
    const [asBytes, asObjects] = verdicts(damage(chainOf(20)));
    expect(asBytes).toEqual(asObjects);
    if (damage !== damages["nothing"]) expect(asBytes.entries).toBeGreaterThan(0);
  });

  it.each(rows)("%s, thoroughly", (_, damage) => {
    const [asBytes, asObjects] = verdicts(damage(chainOf(20)), { thorough: true });
    expect(asBytes).toEqual(asObjects);
  });

  it("every field of every entry, one byte changed", () => {
    const entries = chainOf(6);
    for (const field of ["prev", "hash", "contentHash"] as const) {
      for (const { seq } of entries) {
        const [asBytes, asObjects] = verdicts(edit(seq, (entry) => ({ [field]: flipped(entry[field]) }))(entries));
        expect(asBytes).toEqual(asObjects);
        expect(asBytes.findingsTotal).toBeGreaterThan(0);
      }
    }
  });

  it.each([
    ["a nonce of its own in the data", { nonce: "x", a: "y" }],
    ["an id of its own in the data", { id: uuidOf(3), a: "y" }],
    ["what looks like the place, in a text", { a: `,"id":"${uuidOf(100)}","nonce":"` }],
    ["a name that ends so", { a: "x", mynonce: "z" }],
  ])("%s", (_, data) => {
    const [asBytes, asObjects] = verdicts(chainOf(20, () => data));
    expect(asBytes).toEqual(asObjects);
    expect(asBytes.findings).toEqual([]);
  });

  /** Neither what is divided by ten nor the place in memory sends an entry the long way round. */
  it("numbers at their bounds, wherever they lie, are followed where they are", () => {
    const bounds = [0, 9, 10, 99, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 10 ** 7, 10 ** 7 - 1, 10 ** 14, 2 ** 53 - 3];
    const numbers = [...new Set(bounds.flatMap((n) => [n, n + 1, n * 10 ** 7].filter((one) => one < 2 ** 53 - 1)))];
    const content = Buffer.from(chainOf(1)[0]?.content ?? "");
    const contentHash = contentHashHex(content);
    for (const [i, from] of numbers.entries()) {
      const verifier = new ChainVerifier({ tenant, from });
      const times = numbers.filter((_, n) => n % 3 === i % 3).sort((a, b) => a - b);
      let [prev, seq, asked] = [from === 0 ? zeroHash : contentHash, from, 0];
      for (const timeMs of times) {
        const hash = entryHashHex({ tenant, seq, timeMs, prev, contentHash });
        const stored = { tenantId: tenant, seq, timeMs, entryId: uuidOf(100), prev, content, contentHash, hash };
        const row = bytesOf(stored);
        const shifted = Buffer.concat([Buffer.alloc(seq % 8), row.bytes]).subarray(seq % 8);
        const words = new DataView(shifted.buffer, shifted.byteOffset, shifted.byteLength);
        const entry = (): StoredEntry => {
          asked += 1;
          return stored;
        };
        verifier.addBytes({ ...row, bytes: shifted, words, entry });
        [prev, seq] = [hash, seq + 1];
        if (seq > Number.MAX_SAFE_INTEGER - 1) break;
      }
      // The first is always looked at in full.
      expect([from, asked, verifier.finish().findings]).toEqual([from, 1, []]);
    }
  });

  it("a range", () => {
    const [asBytes, asObjects] = verdicts(chainOf(20).slice(7), { from: 7 });
    expect(asBytes).toEqual(asObjects);
    expect(asBytes.integrity).toBe("ok");
  });
});
