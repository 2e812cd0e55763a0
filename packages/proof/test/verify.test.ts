/** Every attack on a stored chain gives its verdict; what nobody touched gives none. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  ChainVerifier,
  exitCodeOf,
  MalformedSourceError,
  verifyEntries,
  type StoredEntry,
  type VerifyOptions,
  type VerifyResult,
} from "../src/index.js";
import {
  chainOf,
  enrolled,
  hashOf,
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

const ada = voterOf(1);
const bob = voterOf(2);
const length = 12;
/** Two keys, a vote, then ordinary entries; some with bodies. */
const good = chainOf([
  enrolled(ada),
  enrolled(bob),
  voted(ada),
  ...Array.from({ length: length - 3 }, (_, n) => plain(n + 3)),
]);

function verify(entries: readonly StoredEntry[], options: Partial<VerifyOptions> = {}): VerifyResult {
  const verifier = new ChainVerifier({ tenant, ...options });
  for (const entry of entries) verifier.add(entry);
  return verifier.finish();
}
/** "CLASS seq (suspect n)" of every finding. */
function namesOf(result: VerifyResult): string[] {
  return result.findings.map(
    ({ class: name, seq, suspect }) => `${name} ${seq}${suspect === undefined ? "" : ` (suspect ${suspect})`}`,
  );
}
const at = (i: number): StoredEntry => good[i] as StoredEntry;
const edit = (i: number, changes: Partial<StoredEntry>): StoredEntry[] =>
  good.map((entry, n) => (n === i ? { ...entry, ...changes } : entry));
const without = (...gone: number[]): StoredEntry[] => good.filter((_, n) => !gone.includes(n));
const place = (entry: StoredEntry, where: StoredEntry): StoredEntry => ({ ...entry, seq: where.seq });
const edited = (i: number): StoredEntry => ({ ...at(i), content: (at(i).content as string).replace("abab", "abac") });
const foreign = chainOf(
  Array.from({ length }, (_, n) => plain(n + 1)),
  otherTenant,
);

describe("untouched ledgers verify", () => {
  it.each<[string, readonly StoredEntry[], Partial<VerifyOptions>]>([
    ["whole", good, {}],
    ["thoroughly", good, { thorough: true }],
    [
      "content as bytes",
      good.map((entry) => ({ ...entry, content: Buffer.from(entry.content as string) })),
      { thorough: true },
    ],
    ["with the head known", good, { to: length - 1, headHash: at(length - 1).hash }],
    ["a range", good.slice(5), { from: 5 }],
    ["a range whose beginning is known", good.slice(5), { from: 5, prevHash: at(4).hash }],
    ["nothing yet", [], {}],
    ["equal times", chainOf([plain(1), plain(2)].map((draft) => ({ ...draft, timeMs: startMs }))), {}],
    ["without the column entry_id", good.map((entry) => ({ ...entry, entryId: null })), {}],
  ])("%s", (_, entries, options) => {
    const result = verify(entries, options);
    expect(namesOf(result)).toEqual([]);
    expect(result).toMatchObject({ integrity: "ok", entries: entries.length });
    expect(exitCodeOf(result)).toBe(0);
  });

  it("says what was read: head, votes, bodies, bytes, time", () => {
    let now = 100;
    const result = verify(good, { clock: () => (now += 7) });
    expect(result.head).toEqual({ seq: length - 1, hash: at(length - 1).hash, timeMs: at(length - 1).timeMs });
    expect(result.votes).toEqual({ checked: 1, unchecked: 0 });
    expect(result.bodies.checked).toBe(good.filter((entry) => entry.body !== undefined).length);
    expect(result.bytes).toBe(good.reduce((sum, entry) => sum + (entry.content as string).length, 0));
    expect(result.durationMs).toBe(7);
    expect(result.completeness.status).toBe("not_demanded");
  });
});

describe("attacks", () => {
  it.each<[string, readonly StoredEntry[], readonly string[], Partial<VerifyOptions>?]>([
    ["1 content edited", edit(5, { content: edited(5).content }), ["CONTENT_MISMATCH 5"]],
    ["1 content edited, last entry", edit(11, { content: edited(11).content }), ["CONTENT_MISMATCH 11"]],
    ["1 content emptied", edit(5, { content: "" }), ["CONTENT_MISMATCH 5"]],
    [
      "2 content and its hash edited",
      edit(5, { ...rehashed(edited(5)), hash: at(5).hash }),
      ["LINK_BROKEN 6 (suspect 5)"],
    ],
    ["2 content, its hash and the link's hash edited", edit(5, rehashed(edited(5))), ["LINK_BROKEN 6 (suspect 5)"]],
    ["2 in the first entry", edit(0, rehashed({ ...at(0), timeMs: startMs + 1 })), ["LINK_BROKEN 1 (suspect 0)"]],
    [
      "2 in the last entry, its hash left",
      edit(11, { ...rehashed(edited(11)), hash: at(11).hash }),
      ["LINK_BROKEN 11 (suspect 11)"],
    ],
    [
      "2 in the last entry, head known",
      edit(11, rehashed(edited(11))),
      ["LINK_BROKEN 11 (suspect 11)"],
      { to: 11, headHash: at(11).hash },
    ],
    ["prev edited", edit(5, { prev: "0".repeat(64) }), ["LINK_BROKEN 5 (suspect 5)"]],
    ["prev edited, first entry", edit(0, { prev: "1".repeat(64) }), ["LINK_BROKEN 0 (suspect 0)"]],
    [
      "prev and hash edited",
      edit(5, rehashed({ ...at(5), prev: "1".repeat(64) })),
      ["LINK_BROKEN 5 (suspect 4)", "LINK_BROKEN 6 (suspect 5)"],
    ],
    ["only the column hash edited", edit(5, { hash: "1".repeat(64) }), ["COLUMN_MISMATCH 5"]],
    ["only the column hash, last entry", edit(11, { hash: "1".repeat(64) }), ["LINK_BROKEN 11 (suspect 11)"]],
    [
      "only the content's hash edited",
      edit(5, { contentHash: "1".repeat(64) }),
      ["CONTENT_MISMATCH 5", "LINK_BROKEN 6 (suspect 5)"],
    ],
    ["entry_id edited", edit(5, { entryId: uuid("aaa", 99) }), ["COLUMN_MISMATCH 5"]],
    ["entry_id of another entry", edit(5, { entryId: at(6).entryId }), ["COLUMN_MISMATCH 5"]],
    ["entry_id of something the entry is about", edit(5, { entryId: uuid("ccc", 5) }), ["COLUMN_MISMATCH 5"]],
    ["3 one deleted", without(5), ["GAP 5"]],
    ["3 two deleted", without(5, 6), ["GAP 5"]],
    ["3 two deleted apart", without(4, 8), ["GAP 4", "GAP 8"]],
    ["3 the first deleted", without(0, 1, 2), ["PRUNED_WITHOUT_ENTRY 0"]],
    [
      "3 deleted, the later ones moved up",
      without(5).map((entry, n) => ({ ...entry, seq: n })),
      ["LINK_BROKEN 5 (suspect 5)", "…"],
    ],
    ["3 the last deleted, head known", without(11), ["GAP 11"], { to: 11, headHash: at(11).hash }],
    ["3 all deleted, head known", [], ["GAP 0"], { to: 11, headHash: at(11).hash }],
    ["4 duplicated", [...good.slice(0, 6), at(5), ...good.slice(6)], ["DUPLICATE_SEQ 5"]],
    ["4 duplicated far away", [...good, at(5)], ["DUPLICATE_SEQ 5"]],
    [
      "4 a forged twin before the real one",
      [...good.slice(0, 5), rehashed(edited(5)), ...good.slice(5)],
      ["DUPLICATE_SEQ 5"],
    ],
    ["4 a forged twin behind it", [...good.slice(0, 6), rehashed(edited(5)), ...good.slice(6)], ["DUPLICATE_SEQ 5"]],
    [
      "4 inserted, the later ones moved down",
      [
        ...good.slice(0, 5),
        rehashed({ ...edited(5), prev: at(4).hash }),
        ...good.slice(5).map((entry) => ({ ...entry, seq: entry.seq + 1 })),
      ],
      ["LINK_BROKEN 6 (suspect 6)", "…"],
    ],
    ["5 neighbours exchanged: sequence numbers", seqsExchanged(5, 6), ["ORDER_BROKEN 5 (suspect 6)"]],
    ["5 far ones exchanged: sequence numbers", seqsExchanged(4, 9), ["ORDER_BROKEN 4 (suspect 9)"]],
    ["5 the last two exchanged", seqsExchanged(10, 11), ["ORDER_BROKEN 10 (suspect 11)"]],
    ["5 the first two exchanged", seqsExchanged(0, 1), ["ORDER_BROKEN 0 (suspect 1)"]],
    ["5 contents exchanged", exchanged(5, 8, ["content", "contentHash", "entryId"]), ["ORDER_BROKEN 5 (suspect 8)"]],
    ["5 contents and ids' columns not", exchanged(5, 8, ["content", "contentHash"]), ["ORDER_BROKEN 5 (suspect 8)"]],
    [
      "5 contents and hashes exchanged",
      exchanged(5, 8, ["content", "contentHash", "entryId", "hash"]),
      ["ORDER_BROKEN 5 (suspect 8)"],
    ],
    [
      "5 everything but prev exchanged",
      exchanged(5, 8, ["content", "contentHash", "entryId", "hash", "timeMs"]),
      ["ORDER_BROKEN 5 (suspect 8)"],
    ],
    ["5 read in another order", [...good.slice(0, 5), at(6), at(5), ...good.slice(7)], ["ORDER_BROKEN 5"]],
    [
      "5 read in another order, far",
      [...good.slice(0, 4), at(9), ...good.slice(5, 9), at(4), ...good.slice(10)],
      ["ORDER_BROKEN 4"],
    ],
    [
      "14 time lowered, hashed again to the end",
      withTimes((n) => (n === 5 ? startMs + 1 : startMs + n * 10)),
      ["TIME_REGRESSION 5"],
    ],
    [
      "14 time raised, hashed again to the end",
      withTimes((n) => (n === 5 ? startMs + 900 : startMs + n * 10)),
      ["TIME_REGRESSION 6"],
    ],
    ["14 time lowered in place", edit(5, { timeMs: 1 }), ["TIME_REGRESSION 5", "LINK_BROKEN 6 (suspect 5)"]],
    ["time changed a little", edit(5, { timeMs: at(5).timeMs + 1 }), ["LINK_BROKEN 6 (suspect 5)"]],
    ["18 tenant column edited", edit(5, { tenantId: otherTenant }), ["FOREIGN_ENTRY 5"]],
    [
      "18 moved here from another tenant",
      edit(5, { ...foreign[5], tenantId: tenant }),
      ["FOREIGN_ENTRY 5"],
      { otherTenants: [uuid("fff", 1), otherTenant] },
    ],
    [
      "18 the same, its tenant unknown",
      edit(5, { ...foreign[5], tenantId: tenant }),
      ["LINK_BROKEN 5 (suspect 5)", "LINK_BROKEN 6 (suspect 5)"],
    ],
    [
      "18 appended from another tenant",
      [
        ...good,
        {
          ...(foreign[0] as StoredEntry),
          ...place(foreign[0] as StoredEntry, { ...at(0), seq: 12 }),
          tenantId: tenant,
        },
      ],
      ["TIME_REGRESSION 12", "LINK_BROKEN 12 (suspect 12)"],
    ],
    [
      "18 the whole ledger of another tenant",
      foreign.map((entry) => ({ ...entry, tenantId: tenant })),
      ["FOREIGN_ENTRY 0", "…"],
      { otherTenants: [otherTenant] },
    ],
    [
      "some out of order, some gone",
      [...good.slice(0, 4), at(9), at(5), ...good.slice(10)],
      ["ORDER_BROKEN 4", "GAP 4", "GAP 6"],
    ],
    ["19 content erased", edit(5, { content: null }), ["ERASED_WITHOUT_ENTRY 5"]],
    ["16 body edited", edit(3, { body: { ...bodyOf(3), text: '{"title":"another"}' } }), ["REFERENCE_MISMATCH 3"]],
    ["16 body's salt edited", edit(3, { body: { ...bodyOf(3), salt: "0".repeat(64) } }), ["REFERENCE_MISMATCH 3"]],
    ["16 body of another entry", edit(3, { body: bodyOf(6) }), ["REFERENCE_MISMATCH 3"]],
    ["16 body where none belongs", edit(4, { body: bodyOf(6) }), ["REFERENCE_MISMATCH 4"]],
    [
      "a range whose beginning is another",
      good.slice(5),
      ["LINK_BROKEN 5 (suspect 5)"],
      { from: 5, prevHash: at(3).hash },
    ],
    ["a range that begins too early", good.slice(4), ["ORDER_BROKEN 4"], { from: 5 }],
    ["a range that begins too late", good.slice(6), ["GAP 5"], { from: 5 }],
  ])("%s", (_, entries, expected, options) => {
    const result = verify(entries, options);
    const names = namesOf(result);
    expect(expected.at(-1) === "…" ? names.slice(0, expected.length - 1) : names).toEqual(
      expected.filter((name) => name !== "…"),
    );
    expect(result.integrity).toBe("tampered");
    expect(result.first).toEqual(result.findings[0]);
    expect(exitCodeOf(result)).toBe(1);
  });
});

/** As `update … set seq` does it, read by seq. */
function seqsExchanged(i: number, j: number): StoredEntry[] {
  return good.map((entry, n) => (n === i ? place(at(j), at(i)) : n === j ? place(at(i), at(j)) : entry));
}
function bodyOf(i: number): NonNullable<StoredEntry["body"]> {
  const { body } = at(i);
  if (body === undefined) throw new Error(`entry ${i} has no body`);
  return body;
}
function exchanged(i: number, j: number, fields: readonly (keyof StoredEntry)[]): StoredEntry[] {
  const pick = (entry: StoredEntry): Partial<StoredEntry> =>
    Object.fromEntries(fields.map((field) => [field, entry[field]]));
  // Bodies are matched by entry id in storage, so they follow the content here.
  return good.map((entry, n) => {
    if (n === i) return { ...entry, ...pick(at(j)), body: at(j).body };
    return n === j ? { ...entry, ...pick(at(i)), body: at(i).body } : entry;
  });
}
function withTimes(timeOf: (n: number) => number): StoredEntry[] {
  return chainOf(Array.from({ length }, (_, n) => ({ ...plain(n), timeMs: timeOf(n) })));
}

describe("25 votes", () => {
  const check = (name: string, drafts: Parameters<typeof chainOf>[0], ...expected: string[]): void => {
    it(name, () => expect(namesOf(verify(chainOf(drafts), { thorough: true }))).toEqual(expected));
  };
  const both = [enrolled(ada), enrolled(bob)];
  check("good", [...both, voted(ada), voted(bob)]);
  check("good, then revoked", [...both, voted(ada), revoked(ada), voted(bob)]);
  check("after the key was revoked", [...both, revoked(ada), voted(ada)], "VOTE_FORGED 3");
  check("before the key was enrolled", [enrolled(bob), voted(ada), enrolled(ada)], "VOTE_FORGED 1");
  check("key never enrolled", [voted(ada)], "VOTE_FORGED 0");
  check("another decision", [...both, voted(ada, { decision: "REJECTED" })], "VOTE_FORGED 2");
  check("no decision at all", [...both, voted(ada, { decision: "MAYBE" })], "VOTE_FORGED 2");
  check("another digest", [...both, voted(ada, { digest: "ee".repeat(32) })], "VOTE_FORGED 2");
  check("another time", [...both, voted(ada, { atMs: startMs + 1 })], "VOTE_FORGED 2");
  check(
    "another change-set",
    [...both, { ...voted(ada), subject: { type: "change_set", id: uuid("ccc", 2) } }],
    "VOTE_FORGED 2",
  );
  check(
    "a subject that is no id",
    [...both, { ...voted(ada), subject: { type: "change_set", id: "a\nb" } }],
    "VOTE_FORGED 2",
  );
  check("enrolled for something else", [{ ...enrolled(ada), subject: { type: "agent", id: ada.id } }], "VOTE_FORGED 0");
  check("another tenant", [...both, voted(ada, {}, uuid("ccc", 1), otherTenant)], "VOTE_FORGED 2");
  check("another voter", [...both, voted(ada, { voter: bob.id })], "VOTE_FORGED 2");
  check(
    "the key of another principal",
    [...both, voted({ ...ada, key: bob.key, privateKey: bob.privateKey })],
    "VOTE_FORGED 2",
  );
  check(
    "cast by an agent",
    [...both, { ...voted(ada), actor: { type: "agent", id: ada.id, humans: [ada.id] } }],
    "VOTE_FORGED 2",
  );
  check(
    "cast by another human",
    [...both, { ...voted(ada), actor: { type: "human", id: bob.id, humans: [bob.id] } }],
    "VOTE_FORGED 2",
  );
  check("no signature", [...both, voted(ada, { signature: "" })], "VOTE_FORGED 2");
  check("a signature too long", [...both, voted(ada, { signature: "A".repeat(1_000_000) })], "VOTE_FORGED 2");
  check("a signature of zeros", [...both, voted(ada, { signature: "A".repeat(86) })], "VOTE_FORGED 2");
  check(
    "key enrolled twice",
    [...both, { ...enrolled(bob), data: { key: ada.key, algorithm: "Ed25519", publicKey: bob.publicKey } }],
    "VOTE_FORGED 2",
  );
  check("key of small order", [enrolled({ ...ada, publicKey: `AQ${"A".repeat(41)}` })], "VOTE_FORGED 0");
  check(
    "another algorithm",
    [{ ...enrolled(ada), data: { ...enrolled(ada).data, algorithm: "none" } }],
    "VOTE_FORGED 0",
  );
  check(
    "revoked by another",
    [...both, { ...revoked(ada), subject: { type: "principal", id: bob.id } }],
    "VOTE_FORGED 2",
  );

  it("a range without the enrolment leaves votes unchecked", () => {
    const result = verify(good.slice(1), { from: 1 });
    expect(result).toMatchObject({ integrity: "ok", votes: { checked: 0, unchecked: 1 } });
  });
});

describe("hostile and unreadable sources", () => {
  const hostile = (changes: Record<string, unknown>): StoredEntry =>
    ({ ...at(5), ...changes }) as unknown as StoredEntry;
  it.each<[string, Record<string, unknown>]>([
    ["seq 2^63", { seq: 2 ** 63 }],
    ["seq -1", { seq: -1 }],
    ["seq 1.5", { seq: 1.5 }],
    ["seq NaN", { seq: NaN }],
    ["seq a text", { seq: "5" }],
    ["time 2^63", { timeMs: 2 ** 63 }],
    ["prev of 31 bytes", { prev: "0".repeat(62) }],
    ["prev of a megabyte", { prev: "0".repeat(1_000_000) }],
    ["hash missing", { hash: undefined }],
    ["content's hash a number", { contentHash: 7 }],
    ["tenant missing", { tenantId: null }],
  ])("%s is MALFORMED", (_, changes) => {
    const result = verify([...good.slice(0, 5), hostile(changes), ...good.slice(6)]);
    expect(result.findings.some((finding) => finding.class === "MALFORMED")).toBe(true);
    expect(exitCodeOf(result)).not.toBe(0);
  });
  it("a malformed entry alone is no tampering", () => {
    const result = verify([hostile({ seq: 0, prev: "x" })]);
    expect(result).toMatchObject({ integrity: "undecided" });
    expect(exitCodeOf(result)).toBe(4);
  });
  it("content that is well hashed but not in the format is MALFORMED, when asked to be thorough", () => {
    const odd = rehashed({ ...at(11), content: '{"b":1,"a":2}', entryId: null });
    expect(namesOf(verify([...good.slice(0, 11), odd], { thorough: true }))).toEqual(["MALFORMED 11"]);
  });
  it("10,000 broken entries: bounded findings, all counted", () => {
    const broken = Array.from({ length: 10_000 }, (_, seq) => ({ ...at(5), seq }));
    const result = verify(broken);
    expect(result.findings).toHaveLength(100);
    expect(result.findingsTotal).toBeGreaterThan(9_000);
  });
  it("a sequence number near the end of numbers is a gap, not a crash", () => {
    expect(namesOf(verify([at(0), { ...at(1), seq: Number.MAX_SAFE_INTEGER - 1 }])).sort()).toContain("GAP 1");
  });

  it.each<[string, Error, number]>([
    ["cannot be read on", new Error("connection lost"), 3],
    ["is not in the format", new MalformedSourceError("line 7"), 4],
  ])("a source that %s", async (_, error, exitCode) => {
    async function* source(): AsyncGenerator<StoredEntry[]> {
      yield good.slice(0, 5);
      await Promise.resolve();
      throw error;
    }
    const result = await verifyEntries(source(), { tenant });
    expect(result).toMatchObject({ integrity: "undecided", entries: 5 });
    expect(exitCodeOf(result)).toBe(exitCode);
  });
  it("tampering found before reading failed stays tampering", async () => {
    async function* source(): AsyncGenerator<StoredEntry> {
      yield at(1);
      await Promise.resolve();
      throw new Error("connection lost");
    }
    const result = await verifyEntries(source(), { tenant });
    expect([result.integrity, exitCodeOf(result), result.undecided]).toEqual(["tampered", 1, "connection lost"]);
  });
});

describe("properties", () => {
  const fields = ["tenantId", "entryId", "prev", "content", "contentHash", "hash"] as const;

  it("every changed character of every field of every entry is found", () => {
    const place = fc.record({ i: fc.nat(length - 1), field: fc.constantFrom(...fields), n: fc.nat(), bit: fc.nat(6) });
    fc.assert(
      fc.property(place, ({ i, field, n, bit }) => {
        const text = at(i)[field] as string;
        const where = n % text.length;
        const changed = String.fromCharCode(text.charCodeAt(where) ^ (1 << bit));
        const result = verify(edit(i, { [field]: text.slice(0, where) + changed + text.slice(where + 1) }));
        expect(result.integrity).toBe("tampered");
        expect(Math.abs((result.first?.seq ?? NaN) - i)).toBeLessThanOrEqual(1);
      }),
      { numRuns: 1_000 },
    );
  });
  it("every changed number is found", () => {
    fc.assert(
      fc.property(fc.nat(length - 1), fc.constantFrom("seq", "timeMs"), fc.nat(40), (i, field, bit) => {
        const value = at(i)[field as "seq" | "timeMs"];
        const changed = Number(BigInt(value) ^ (1n << BigInt(bit)));
        expect(verify(edit(i, { [field]: changed })).integrity).toBe("tampered");
      }),
      { numRuns: 500 },
    );
  });
  it("any set of deletions, and any shuffle, is found, unless it only cuts the tail", () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([...good.keys()], { minLength: 1 }), (kept) => {
        const isPrefix = kept.every((n, i) => n === i);
        expect(verify(kept.map(at)).integrity).toBe(isPrefix ? "ok" : "tampered");
      }),
      { numRuns: 500 },
    );
  });
  it("any exchange of two entries is named as such", () => {
    fc.assert(
      fc.property(fc.nat(length - 1), fc.nat(length - 1), (a, b) => {
        fc.pre(a !== b);
        const [i, j] = [Math.min(a, b), Math.max(a, b)];
        expect(namesOf(verify(seqsExchanged(i, j))).filter((name) => !name.startsWith("VOTE_FORGED"))).toEqual([
          `ORDER_BROKEN ${i} (suspect ${j})`,
        ]);
      }),
      { numRuns: 200 },
    );
  });
  it("untouched ledgers of any make verify", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(50), { maxLength: 30 }), (numbers) => {
        const entries = chainOf(numbers.map(plain));
        expect(verify(entries, { thorough: true }).integrity).toBe("ok");
        expect(entries.every((entry) => entry.hash === hashOf(entry))).toBe(true);
      }),
      { numRuns: 100 },
    );
  });
});
