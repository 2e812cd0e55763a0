/**
 * What is written is read as it was; what is read, whatever it is, was written so: no text of another spelling is taken for a note,
 * a checkpoint, a receipt, a statement, a key or a tile's path, and nothing that is thrown at the readers makes them throw.
 */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hexOf } from "../src/bytes.js";
import {
  checkpointBody,
  decodeEntries,
  encodeEntries,
  formatNote,
  formatTlogProof,
  formatVerifierKey,
  fromBase64,
  generateSigningKeyPair,
  keyStatementKinds,
  keyStatementText,
  originOf,
  parseCheckpoint,
  parseKeyStatement,
  parseNote,
  parseOrigin,
  parsePolicy,
  parseRestoreStatement,
  parseTilePath,
  parseTlogProof,
  parseVerifierKey,
  restoreStatementText,
  signatureLine,
  tilePath,
  toBase64,
  verifierKey,
  type KeyStatement,
  type Policy,
  type Tile,
  type VerifierKey,
} from "../src/index.js";

const pairs = Array.from({ length: 8 }, (_, n) => generateSigningKeyPair(Buffer.alloc(32, n + 1)));
const size = fc.maxSafeNat();
const hash = fc.uint8Array({ minLength: 32, maxLength: 32 });
const uuid = fc.uuid({ version: 7 });
const deployment = fc.stringMatching(/^[a-z][a-z0-9.-]{0,20}[a-z0-9]$/);
const name = fc.string({ unit: fc.constantFrom(..."abc.-_/0é€漢😀"), minLength: 1, maxLength: 20 });
const key = fc
  .record({ name, type: fc.constantFrom(1 as const, 4 as const), pair: fc.constantFrom(...pairs) })
  .map(({ name, type, pair }) => verifierKey({ name, type, publicKey: pair.publicKey }));
const line = fc
  .record({ key, signature: fc.uint8Array({ minLength: 1, maxLength: 80 }) })
  .map(({ key, signature }) => signatureLine(key, signature));
const lines = fc.array(line, { minLength: 1, maxLength: 16 });
const origin = fc.record({ deployment, tenant: uuid, incarnation: fc.nat(99_999) }).map(originOf);
const head = fc.record({ origin, size, root: hash });
const checkpoint = fc.record({ head, lines }).map(({ head, lines }) => formatNote(checkpointBody(head), lines));
const text = fc
  .array(fc.string({ unit: fc.constantFrom(..."ab \u2014+=é😀"), maxLength: 20 }), { minLength: 1, maxLength: 6 })
  .map((parts) => `${parts.join("\n")}\n`)
  .filter((whole) => whole !== "\n");

const property = <T>(given: fc.Arbitrary<T>, holds: (value: T) => void): void => {
  fc.assert(
    fc.property(given, (value) => {
      holds(value);
    }),
    { numRuns: 150 },
  );
};

describe("what is written is read", () => {
  it("notes", () =>
    property(fc.record({ text, lines }), ({ text, lines }) => {
      const parsed = parseNote(formatNote(text, lines));
      expect(parsed.ok && [parsed.note.text, parsed.note.signatures.map((one) => one.line)]).toEqual([text, lines]);
    }));
  it("verifier keys", () => property(key, (key) => expect(parseVerifierKey(formatVerifierKey(key))).toEqual(key)));
  it("checkpoints", () =>
    property(fc.record({ head, lines }), ({ head, lines }) => {
      const parsed = parseCheckpoint(formatNote(checkpointBody(head), lines));
      if (!parsed.ok) throw new Error(parsed.problem);
      const { root, ...rest } = parsed.checkpoint;
      expect(rest).toMatchObject({ origin: head.origin, size: head.size, extensions: [] });
      expect(hexOf(root)).toBe(hexOf(head.root));
    }));
  it("origins", () =>
    property(fc.record({ deployment, tenant: uuid, incarnation: fc.nat(99_999) }), (given) =>
      expect(parseOrigin(originOf(given))).toEqual(given),
    ));
  it("receipts", () =>
    property(
      fc.record({
        index: size,
        proof: fc.array(hash, { maxLength: 63 }),
        checkpoint,
        extra: fc.option(fc.uint8Array({ maxLength: 400 })),
      }),
      ({ index, proof, checkpoint, extra }) => {
        const written = { index, proof, checkpoint, ...(extra === null ? {} : { extra }) };
        const parsed = parseTlogProof(formatTlogProof(written));
        if (!parsed.ok) throw new Error(parsed.problem);
        expect(parsed.proof.index).toBe(index);
        expect(parsed.proof.proof.map(hexOf)).toEqual(proof.map(hexOf));
        expect(parsed.proof.checkpoint.text).toBe(checkpoint);
        expect(parsed.proof.extra && hexOf(parsed.proof.extra)).toBe(extra === null ? undefined : hexOf(extra));
      },
    ));
  it("paths of tiles", () =>
    property(
      fc.record<Tile>({
        level: fc.constantFrom<Tile["level"]>(0, 1, 2, 3, 4, 5, 6, "entries"),
        index: fc.nat({ max: 2 ** 31 - 1 }).map((nat) => nat * 16_000),
        width: fc.integer({ min: 1, max: 256 }),
      }),
      (tile) => expect(parseTilePath(tilePath(tile))).toEqual(tile),
    ));
  it("bundles of entries", () =>
    property(fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 256 }), (entries) => {
      const bytes = encodeEntries(entries);
      expect(decodeEntries(bytes, entries.length)?.map(hexOf)).toEqual(entries.map(hexOf));
      expect(decodeEntries(bytes, entries.length + 1)).toBeUndefined();
      expect(decodeEntries(bytes, entries.length - 1)).toBeUndefined();
      expect(decodeEntries(bytes.subarray(1), entries.length)).toBeUndefined();
    }));
  it("base64", () =>
    property(fc.uint8Array(), (bytes) => expect(hexOf(fromBase64(toBase64(bytes)) ?? bytes)).toBe(hexOf(bytes))));
  it("statements about keys", () =>
    property(
      fc.record<KeyStatement>({
        deployment,
        number: size,
        previous: hash.map(hexOf),
        kind: fc.constantFrom(...keyStatementKinds),
        key: fc.constantFrom(...pairs).map((pair) => pair.publicKey),
        atMs: size,
      }),
      (statement) => {
        const parsed = parseKeyStatement(formatNote(keyStatementText(statement), ["\u2014 a AAAAAAAAAAAA"]));
        expect(parsed.ok && parsed.statement).toMatchObject({ ...statement });
      },
    ));
  it("statements about restores", () =>
    property(
      fc.record({
        tenant: uuid,
        deployment,
        before: fc.nat(9999),
        size,
        root: hash,
        lostSize: size,
        lostRoot: hash,
        atMs: size,
      }),
      ({ tenant, deployment, before, ...rest }) => {
        const statement = {
          ...rest,
          origin: originOf({ deployment, tenant, incarnation: before }),
          incarnation: before + 1,
        };
        const written = restoreStatementText(statement);
        const parsed = parseRestoreStatement(formatNote(written, ["\u2014 a AAAAAAAAAAAA"]));
        expect(parsed.ok && restoreStatementText(parsed.statement)).toBe(written);
      },
    ));
  it("policies", () =>
    property(policies, (policy) => {
      const parsed = parsePolicy(policyText(policy));
      expect(parsed.ok ? parsed.policy : parsed.problems).toEqual(policy);
    }));
});

/** Any policy over these eight keys; the first are logs, the others witnesses. */
const policies: fc.Arbitrary<Policy> = fc
  .record({
    logs: fc.integer({ min: 0, max: 4 }),
    witnesses: fc.integer({ min: 0, max: 4 }),
    anchors: fc.integer({ min: 0, max: 3 }),
    groups: fc.array(fc.record({ take: fc.integer({ min: 1, max: 3 }), k: fc.nat() }), { maxLength: 4 }),
    named: fc.nat(),
  })
  .map(({ logs, witnesses, anchors, groups, named }) => {
    const keyOf = (n: number, type: 1 | 4): VerifierKey =>
      verifierKey({ name: `k${n}.example`, type, publicKey: pairs[n]?.publicKey ?? "" });
    const made = {
      logs: Array.from({ length: logs }, (_, n) => ({
        key: keyOf(n, 1),
        ...(n % 2 === 0 ? {} : { url: "https://l/" }),
      })),
      witnesses: Array.from({ length: witnesses }, (_, n) => ({ name: `w${n}`, key: keyOf(4 + n, 4) })),
      anchors: Array.from({ length: anchors }, (_, n) => ({ name: `é${n}`, kind: "file", location: `/a b/${n}` })),
    };
    const free = [...made.witnesses, ...made.anchors].map((one) => one.name);
    const built = groups.flatMap(({ take, k }, n) => {
      const members = free.splice(0, take);
      if (members.length === 0) return [];
      free.push(`g${n}`);
      return [{ name: `g${n}`, members, threshold: 1 + (k % members.length) }];
    });
    const names = [null, ...[...made.witnesses, ...made.anchors, ...built].map((one) => one.name)];
    return { ...made, groups: built, quorum: names[named % names.length] ?? null };
  });

function policyText({ logs, witnesses, anchors, groups, quorum }: Policy): string {
  return [
    ...logs.map((one) => `log ${formatVerifierKey(one.key)} ${one.url ?? ""}`),
    ...witnesses.map((one) => `witness\t${one.name} ${formatVerifierKey(one.key)} ${one.url ?? ""}`),
    ...anchors.map((one) => `anchor ${one.name} ${one.kind} ${one.location}\t`),
    ...groups.map((one) => `  group ${one.name} ${one.threshold} ${one.members.join(" ")}`),
    `quorum ${quorum ?? "none"}`,
  ].join("\n# and\n\n");
}

/** A text that was right, with a piece taken out, put in or exchanged; and some that never were. */
const damaged = (right: fc.Arbitrary<string>): fc.Arbitrary<string> =>
  fc.oneof(
    fc
      .record({
        right,
        at: fc.nat(),
        out: fc.nat(3),
        put: fc.oneof(fc.string({ unit: "binary", maxLength: 3 }), fc.constantFrom(..."\n \t+=0-\u2014\r\0")),
      })
      .map(({ right, at, out, put }) => {
        const place = at % (right.length + 1);
        return right.slice(0, place) + put + right.slice(place + out);
      }),
    fc.string({ unit: "binary" }),
  );

describe("what is read was written so", () => {
  const problem = (given: { readonly ok: boolean; readonly problem?: string }): boolean =>
    given.ok || (given.problem ?? "") !== "";
  it("notes and checkpoints", () =>
    property(damaged(checkpoint), (given) => {
      const parsed = parseNote(given);
      expect(problem(parsed)).toBe(true);
      if (parsed.ok)
        expect(
          formatNote(
            parsed.note.text,
            parsed.note.signatures.map((one) => one.line),
          ),
        ).toBe(given);
      const read = parseCheckpoint(given);
      expect(problem(read)).toBe(true);
      if (!read.ok) return;
      const { origin, size, root, extensions, note, text } = read.checkpoint;
      expect(text).toBe(given);
      expect(checkpointBody({ origin, size, root }) + extensions.map((one) => `${one}\n`).join("")).toBe(note.text);
    }));
  it("receipts", () =>
    property(
      damaged(
        fc
          .record({ index: size, proof: fc.array(hash, { maxLength: 5 }), checkpoint, extra: fc.uint8Array() })
          .map(formatTlogProof),
      ),
      (given) => {
        const parsed = parseTlogProof(given);
        expect(problem(parsed)).toBe(true);
        if (!parsed.ok) return;
        const { index, proof, checkpoint, extra } = parsed.proof;
        const written = { index, proof, checkpoint: checkpoint.text, ...(extra === undefined ? {} : { extra }) };
        expect(formatTlogProof(written)).toBe(given);
      },
    ));
  it("verifier keys", () =>
    property(damaged(key.map(formatVerifierKey)), (given) => {
      const parsed = parseVerifierKey(given);
      if (parsed !== undefined) expect(formatVerifierKey(parsed)).toBe(given);
    }));
  it("paths of tiles", () =>
    property(damaged(fc.constantFrom("tile/0/x001/234.p/17", "tile/entries/000", "tile/6/999.p/255")), (given) => {
      const tile = parseTilePath(given);
      if (tile !== undefined) expect(tilePath(tile)).toBe(given);
    }));
  it("statements", () => {
    const [one] = pairs as [(typeof pairs)[number]];
    const statement = { deployment: "d.example", number: 3, previous: "a".repeat(64), key: one.publicKey, atMs: 5 };
    const signed = formatNote(keyStatementText({ ...statement, kind: "rotate" }), ["\u2014 a AAAAAAAAAAAA"]);
    property(damaged(fc.constant(signed)), (given) => {
      const parsed = parseKeyStatement(given);
      expect(problem(parsed)).toBe(true);
      if (parsed.ok) expect(keyStatementText(parsed.statement)).toBe(parsed.statement.note.text);
      expect(problem(parseRestoreStatement(given))).toBe(true);
    });
  });
  it("policies: a reason with a line for each", () =>
    property(damaged(policies.map(policyText)), (given) => {
      const parsed = parsePolicy(given);
      if (parsed.ok) return;
      expect(parsed.problems.length).toBeGreaterThan(0);
      for (const { line, message } of parsed.problems) expect([line >= 0, message !== ""]).toEqual([true, true]);
    }));
  it("bytes of any kind", () =>
    property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      for (const parse of [parseNote, parseCheckpoint, parseTlogProof, parseKeyStatement, parseRestoreStatement])
        expect(problem(parse(bytes))).toBe(true);
      expect(parsePolicy(bytes).ok).toBe(false);
    }));
});
