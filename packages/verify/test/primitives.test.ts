/** The browser's hashes, signatures and bytes give what Node's give, for whatever goes in. */
import { ed25519 } from "@noble/curves/ed25519.js";
import fc from "fast-check";
import { isAscii, isUtf8 } from "node:buffer";
import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import * as nodeBytes from "../../proof/src/bytes.js";
import * as nodeHash from "../../proof/src/hash.js";
import * as nodeSignature from "../../proof/src/signature.js";
import * as coreBytes from "../browser/primitives/bytes.js";
import * as bytes from "../browser/primitives/buffer.js";
import * as hash from "../browser/primitives/hash.js";
import * as signature from "../browser/primitives/signature.js";

const { Point } = ed25519;
const twin = bytes.Buffer;
const encodings = ["utf8", "hex", "base64", "base64url", "latin1"] as const;
const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string({ unit: fc.constantFrom("a", "F", "0", "=", "-", "+", "/", "_", "\ud800", "\udc00", "\ufeff") }),
);
const anyBytes = fc.oneof(
  fc.uint8Array({ maxLength: 400 }),
  fc.uint8Array({ max: 127, maxLength: 400 }),
  fc.string({ unit: "binary" }).map((text) => new TextEncoder().encode(text)),
);
const plain = (value: Uint8Array): number[] => [...value];

describe("bytes", () => {
  it("are made of texts as Node makes them", () =>
    fc.assert(
      fc.property(anyText, fc.constantFrom(...encodings), (text, encoding) => {
        // What a text that is not of the encoding decodes to differs; that it is not, and so is refused, does not.
        if (encoding !== "utf8" && encoding !== "latin1")
          expect(twin.from(text, encoding).toString(encoding) === text).toBe(
            Buffer.from(text, encoding).toString(encoding) === text,
          );
        else expect(plain(twin.from(text, encoding))).toEqual(plain(Buffer.from(text, encoding)));
        expect(twin.byteLength(text)).toBe(Buffer.byteLength(text));
      }),
      { numRuns: 2000 },
    ));
  it("become texts as Node makes them", () =>
    fc.assert(
      fc.property(anyBytes, fc.constantFrom(...encodings), (value, encoding) => {
        const text = Buffer.from(value).toString(encoding);
        expect(twin.from(value).toString(encoding)).toBe(text);
        if (encoding !== "utf8") expect(plain(twin.from(text, encoding))).toEqual(plain(value));
        expect(bytes.toHex(value)).toBe(Buffer.from(value).toString("hex"));
      }),
      { numRuns: 2000 },
    ));
  it("are joined, cut, compared and searched as Node does", () =>
    fc.assert(
      fc.property(fc.array(anyBytes, { maxLength: 4 }), fc.nat(20), fc.nat(20), (parts, a, b) => {
        const [ours, theirs] = [twin.concat(parts), Buffer.concat(parts)];
        expect(plain(ours)).toEqual(plain(theirs));
        expect(plain(ours.subarray(a, b))).toEqual(plain(theirs.subarray(a, b)));
        const part = theirs.subarray(a, a + 3);
        expect(ours.includes(part.toString("latin1"), 0, "latin1")).toBe(
          theirs.includes(part.toString("latin1"), 0, "latin1"),
        );
        expect(ours.indexOf(part, b)).toBe(theirs.indexOf(part, b));
        expect(ours.equals(parts[0] ?? ours)).toBe(theirs.equals(parts[0] ?? theirs));
        expect(ours.compare(parts[0] ?? ours)).toBe(theirs.compare(parts[0] ?? theirs));
      }),
    ));
  it("are UTF-8 or ASCII where Node says so", () =>
    fc.assert(
      fc.property(anyBytes, (value) => {
        expect(bytes.isUtf8(value)).toBe(isUtf8(value));
        expect(bytes.isAscii(value)).toBe(isAscii(value));
      }),
      { numRuns: 2000 },
    ));
  it.each([
    ["overlong", [0xc0, 0x80]],
    ["a surrogate", [0xed, 0xa0, 0x80]],
    ["beyond U+10FFFF", [0xf4, 0x90, 0x80, 0x80]],
    ["cut off", [0x61, 0xe2, 0x82]],
    ["a mark of byte order", [0xef, 0xbb, 0xbf, 0x61]],
  ])("%s", (_, list) => {
    const value = Uint8Array.from(list);
    expect(bytes.isUtf8(value)).toBe(isUtf8(value));
    expect(twin.from(value).toString("utf8")).toBe(Buffer.from(value).toString("utf8"));
  });
});

describe("what the core asks of bytes", () => {
  it("has the same answers", () =>
    fc.assert(
      fc.property(anyBytes, anyBytes, anyText, (a, b, text) => {
        expect(coreBytes.textOfUtf8(a)).toBe(nodeBytes.textOfUtf8(a));
        expect(plain(coreBytes.utf8Bytes(text))).toEqual(plain(nodeBytes.utf8Bytes(text)));
        expect(coreBytes.utf8Length(text)).toBe(nodeBytes.utf8Length(text));
        expect(plain(coreBytes.concatBytes([a, b]))).toEqual(plain(nodeBytes.concatBytes([a, b])));
        expect(coreBytes.hexOf(a)).toBe(nodeBytes.hexOf(a));
        expect(plain(coreBytes.bytesOfHex(nodeBytes.hexOf(a)))).toEqual(plain(a));
        const [into, intoNode] = [Buffer.alloc(300), Buffer.alloc(300)];
        coreBytes.writeLatin1(into, 7, nodeBytes.hexOf(a.subarray(0, 100)));
        nodeBytes.writeLatin1(intoNode, 7, nodeBytes.hexOf(a.subarray(0, 100)));
        expect(plain(into)).toEqual(plain(intoNode));
        expect(coreBytes.equalBytes(a, b)).toBe(nodeBytes.equalBytes(a, b));
        expect(coreBytes.equalBytes(a, Uint8Array.from(a))).toBe(true);
      }),
      { numRuns: 1000 },
    ));
});

describe("hashes", () => {
  it("are the same", () =>
    fc.assert(
      fc.property(anyBytes, anyText, (value, text) => {
        for (const data of [value, text]) {
          expect(hash.sha256Hex(data)).toBe(nodeHash.sha256Hex(data));
          expect(plain(hash.sha256Bytes(data))).toEqual(plain(nodeHash.sha256Bytes(data)));
          expect(hash.timingSafeEqual(data, value)).toBe(nodeHash.timingSafeEqual(data, value));
        }
        expect(hash.leafHashHex(text)).toBe(nodeHash.leafHashHex(text));
        expect(hash.sha256PartsHex(text, value)).toBe(nodeHash.sha256PartsHex(text, value));
        const [left, right] = [hash.sha256Bytes(value), hash.sha256Bytes(text)];
        expect(plain(hash.nodeHash(left, right))).toEqual(plain(nodeHash.nodeHash(left, right)));
        const [into, intoNode] = [Buffer.alloc(40), Buffer.alloc(40)];
        hash.nodeHashInto(value, into, 3);
        nodeHash.nodeHashInto(value, intoNode, 3);
        expect(plain(into)).toEqual(plain(intoNode));
        const streams = [new hash.Sha256Stream(), new nodeHash.Sha256Stream()];
        expect(streams.map((stream) => stream.update(value).update(value).bytes)).toEqual([
          value.length * 2,
          value.length * 2,
        ]);
        expect(streams[0]?.hex()).toBe(streams[1]?.hex());
      }),
    ));
});

describe("signatures", () => {
  const seeds = fc.uint8Array({ minLength: 32, maxLength: 32 });

  it("are made and verified by either", () =>
    fc.assert(
      fc.property(seeds, anyBytes, (seed, message) => {
        const pair = nodeSignature.generateSigningKeyPair(seed);
        expect(signature.generateSigningKeyPair(seed)).toEqual(pair);
        const signed = nodeSignature.signMessage(pair.privateKey, message);
        expect(signature.signMessage(pair.privateKey, message)).toBe(signed);
        expect(signature.verifySignature(pair.publicKey, message, signed)).toBe(true);
      }),
      { numRuns: 30 },
    ));
  it("changed anywhere are refused by both", () =>
    fc.assert(
      fc.property(seeds, fc.nat(511), fc.nat(255), fc.boolean(), (seed, bit, keyBit, inKey) => {
        const pair = nodeSignature.generateSigningKeyPair(seed);
        const message = Buffer.from("message");
        const raw = Buffer.from(nodeSignature.signMessage(pair.privateKey, message), "base64url");
        const key = Buffer.from(pair.publicKey, "base64url");
        const [changed, at] = inKey ? [key, keyBit] : [raw, bit];
        changed[at >> 3] = (changed[at >> 3] as number) ^ (1 << (at & 7));
        expectAgreement(key, message, raw, false);
      }),
      { numRuns: 60 },
    ));
  it("of random keys and random bytes: the same keys are taken", () =>
    fc.assert(
      fc.property(seeds, fc.uint8Array({ minLength: 64, maxLength: 64 }), (key, raw) => {
        expectAgreement(key, Buffer.from("x"), raw);
      }),
      { numRuns: 200 },
    ));

  // Moved by points of small order: a verifier that multiplies by the cofactor accepts what one that does not refuses.
  const torsion = Point.fromHex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
  const multiples = Array.from({ length: 8 }, (_, i) => (i === 0 ? Point.ZERO : torsion.multiplyUnsafe(BigInt(i))));
  const order = 2n ** 252n + 27742317777372353535851937790883648493n;
  const number = (value: Uint8Array): bigint => BigInt(`0x${Buffer.from(value).reverse().toString("hex") || "0"}`);
  const encode = (value: bigint): Buffer => Buffer.from(value.toString(16).padStart(64, "0"), "hex").reverse();

  it("with a key or a nonce of mixed order", () => {
    const seen = new Set<boolean>();
    for (let i = 0; i < 64; i++) {
      const secret = (BigInt(i) * 7919n + 12345n) % order;
      const nonce = (BigInt(i) * 104729n + 999n) % order;
      const key = Point.BASE.multiply(secret).add(multiples[i & 7] as InstanceType<typeof Point>);
      const commitment = Point.BASE.multiply(nonce).add(multiples[i >> 3] as InstanceType<typeof Point>);
      const message = Buffer.from(`message ${i}`);
      const [rawKey, rawR] = [Buffer.from(key.toBytes()), Buffer.from(commitment.toBytes())];
      const k = number(sha512(Buffer.concat([rawR, rawKey, message]))) % order;
      const raw = Buffer.concat([rawR, encode((nonce + k * secret) % order)]);
      seen.add(expectAgreement(rawKey, message, raw));
      // The same with S moved by the order, and with R not reduced, where it can be written so.
      expectAgreement(rawKey, message, Buffer.concat([rawR, encode(number(raw.subarray(32)) + order)]), false);
    }
    expect(seen).toEqual(new Set([true, false]));
  });
  it("with one key many times, also when its multiples are kept", () => {
    const pair = nodeSignature.generateSigningKeyPair(Buffer.alloc(32, 9));
    const [ours, theirs] = [signature.importPublicKey(pair.publicKey), nodeSignature.importPublicKey(pair.publicKey)];
    if (ours === undefined || theirs === undefined) throw new Error("not a key");
    for (let i = 0; i < 24; i++) {
      const message = Buffer.from(`message ${i}`);
      const signed = nodeSignature.signMessage(pair.privateKey, message);
      const other = i % 3 === 0 ? Buffer.from("another") : message;
      expect(signature.verifySignature(ours, other, signed)).toBe(i % 3 !== 0);
      expect(nodeSignature.verifySignature(theirs, other, signed)).toBe(i % 3 !== 0);
    }
  });
  it("with keys that are no keys", () => {
    const prime = 2n ** 255n - 19n;
    const rows = [
      0n,
      1n,
      2n,
      7n,
      prime - 1n,
      prime,
      prime + 1n,
      2n ** 255n - 1n,
      ...multiples.map((point) => number(point.toBytes())),
    ];
    for (const row of rows)
      for (const value of [row, row | (1n << 255n)])
        expectAgreement(encode(value), Buffer.from("x"), Buffer.concat([encode(value), Buffer.alloc(32)]));
  });

  function expectAgreement(key: Uint8Array, message: Uint8Array, raw: Uint8Array, expected?: boolean): boolean {
    const [keyText, text] = [Buffer.from(key).toString("base64url"), Buffer.from(raw).toString("base64url")];
    const node = nodeSignature.verifySignature(keyText, message, text);
    expect(signature.verifySignature(keyText, message, text)).toBe(node);
    expect(signature.importPublicKey(keyText) === undefined).toBe(nodeSignature.importPublicKey(keyText) === undefined);
    if (expected !== undefined) expect(node).toBe(expected);
    return node;
  }
});

function sha512(value: Uint8Array): Uint8Array {
  return createHash("sha512").update(value).digest();
}
