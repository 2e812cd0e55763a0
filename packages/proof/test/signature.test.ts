/** Ed25519 against Wycheproof, and the strictness that a stored vote needs. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  fromBase64Url,
  generateSigningKeyPair,
  importPublicKey,
  publicKeyOf,
  signMessage,
  timingSafeEqual,
  toBase64Url,
  verifySignature,
} from "../src/index.js";

interface Wycheproof {
  readonly numberOfTests: number;
  readonly testGroups: readonly {
    readonly publicKey: { readonly pk: string };
    readonly tests: readonly {
      readonly tcId: number;
      readonly comment: string;
      readonly msg: string;
      readonly sig: string;
      readonly result: string;
    }[];
  }[];
}
const wycheproof = JSON.parse(
  readFileSync(new URL("vectors/ed25519/ed25519_test.json", import.meta.url), "utf8"),
) as Wycheproof;
const base64Url = (hex: string): string => toBase64Url(Buffer.from(hex, "hex"));

describe("Wycheproof", () => {
  const cases = wycheproof.testGroups.flatMap((group) =>
    group.tests.map((test) => ({ ...test, pk: group.publicKey.pk })),
  );
  it("is there", () => expect(cases).toHaveLength(wycheproof.numberOfTests));
  it.each(cases)("$tcId $result $comment", ({ pk, msg, sig, result }) => {
    expect(verifySignature(base64Url(pk), Buffer.from(msg, "hex"), base64Url(sig))).toBe(result === "valid");
  });
});

describe("keys", () => {
  const pair = generateSigningKeyPair();
  const message = Buffer.from("what is signed");

  it("sign and verify, and the same seed gives the same pair", () => {
    const signature = signMessage(pair.privateKey, message);
    expect(publicKeyOf(pair.privateKey)).toBe(pair.publicKey);
    expect(generateSigningKeyPair(fromBase64Url(pair.privateKey, 32))).toEqual(pair);
    expect(verifySignature(pair.publicKey, message, signature)).toBe(true);
    expect(verifySignature(generateSigningKeyPair().publicKey, message, signature)).toBe(false);
    expect(verifySignature(pair.publicKey, Buffer.from("what is signeD"), signature)).toBe(false);
  });
  it("RFC 8032 §7.1, test 1", () => {
    const privateKey = base64Url("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
    expect(publicKeyOf(privateKey)).toBe(base64Url("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"));
    const signature = base64Url(
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    );
    expect(signMessage(privateKey, new Uint8Array())).toBe(signature);
  });
  it.each<[string, string]>([
    ["y = 0", "00".repeat(32)],
    ["the neutral point", `01${"00".repeat(31)}`],
    ["order 2", `ec${"ff".repeat(30)}7f`],
    ["order 4, other sign", `${"00".repeat(31)}80`],
    ["order 8", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"],
    ["order 8, other sign", "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"],
    ["order 8, other y", "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"],
    ["y above the prime", `ee${"ff".repeat(30)}7f`],
    ["y = all ones", "ff".repeat(32)],
    ["31 bytes", "11".repeat(31)],
    ["33 bytes", "11".repeat(33)],
    ["nothing", ""],
  ])("refused: %s", (_, hex) => expect(importPublicKey(base64Url(hex))).toBeUndefined());

  it("have one text only", () => {
    expect(importPublicKey(`${pair.publicKey}=`)).toBeUndefined();
    expect(importPublicKey(` ${pair.publicKey.slice(1)}`)).toBeUndefined();
    // 43 characters carry 258 bits: a changed unused bit decodes to the same bytes in a lax decoder.
    expect(fromBase64Url("A".repeat(42) + "B", 32)).toBeUndefined();
    expect([...(fromBase64Url("A".repeat(43), 32) ?? [])]).toEqual([...Buffer.alloc(32)]);
  });
});

describe("timingSafeEqual", () => {
  it.each<[string, string, boolean]>([
    ["", "", true],
    ["a", "a", true],
    ["a", "b", false],
    ["a", "aa", false],
    ["é", "é", true],
  ])("%j %j", (a, b, equal) => {
    expect(timingSafeEqual(a, b)).toBe(equal);
    expect(timingSafeEqual(Buffer.from(a), b)).toBe(equal);
  });
});
