/** Key files on a person's machine: sealed, told apart from damaged ones, never used inside a workspace. */
import { mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { generateSigningKeyPair, verifySignature } from "@countersign/proof";
import { describe, expect, test } from "vitest";
import { CliError } from "../../src/cli/exit.js";
import {
  readKeys,
  refuseKeysInside,
  sealKey,
  unlockKey,
  writeEnrolledKey,
  writePendingKey,
  type KeyFile,
} from "../../src/cli/keyFile.js";
import { temporaryDirectory } from "../support/postgres.js";

const pair = generateSigningKeyPair();
const about = { label: "laptop", createdAt: "2026-11-20T12:00:00.000Z" };
const sealed = await sealKey(pair.privateKey, "correct horse", about);

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  return error instanceof CliError ? error.code : `not refused: ${String(error)}`;
}

describe("a sealed key", () => {
  test("opens with its passphrase and signs", async () => {
    const key = await unlockKey(sealed, "correct horse");
    const message = Buffer.from("vote");
    expect(verifySignature(pair.publicKey, message, key.sign(message))).toBe(true);
  });
  test("does not hold the private key in the clear, and no two are alike", async () => {
    expect(JSON.stringify(sealed)).not.toContain(pair.privateKey);
    const again = await sealKey(pair.privateKey, "correct horse", about);
    expect(again.sealed).not.toBe(sealed.sealed);
    expect(again.kdf.salt).not.toBe(sealed.kdf.salt);
  });
  test("takes the same passphrase typed on another system", async () => {
    const key = await sealKey(pair.privateKey, "caf\u00e9 au lait", about);
    expect((await unlockKey(key, "cafe\u0301 au lait")).publicKey).toBe(pair.publicKey);
  });
  const other = generateSigningKeyPair();
  const flip = (text: string): string => (text.startsWith("A") ? "B" : "A") + text.slice(1);
  const rows: readonly (readonly [string, KeyFile, string, string])[] = [
    ["wrong passphrase", sealed, "wrong horse", "passphrase_wrong"],
    ["a byte changed", { ...sealed, sealed: flip(sealed.sealed) }, "correct horse", "passphrase_wrong"],
    ["another public key", { ...sealed, publicKey: other.publicKey }, "correct horse", "passphrase_wrong"],
    ["weaker parameters", { ...sealed, kdf: { ...sealed.kdf, passes: 1 } }, "correct horse", "passphrase_wrong"],
    [
      "another nonce",
      { ...sealed, cipher: { ...sealed.cipher, iv: flip(sealed.cipher.iv) } },
      "correct horse",
      "passphrase_wrong",
    ],
    ["no nonce", { ...sealed, cipher: { ...sealed.cipher, iv: "" } }, "correct horse", "key_file_damaged"],
    ["cut off", { ...sealed, sealed: "AAAA" }, "correct horse", "key_file_damaged"],
    ["no salt", { ...sealed, kdf: { ...sealed.kdf, salt: "" } }, "correct horse", "key_file_damaged"],
  ];
  test.each(rows)("%s is refused", async (_name, key, passphrase, code) => {
    expect(await codeOf(unlockKey(key, passphrase))).toBe(code);
  });
  test("a short passphrase is refused", async () => {
    expect(await codeOf(sealKey(pair.privateKey, "short", about))).toBe("passphrase_short");
  });
});

describe("on disk", () => {
  const owner = { tenant: "t", principal: "p" };
  test("a pending key becomes the enrolled one; others' keys are not theirs", () => {
    const folder = temporaryDirectory();
    writePendingKey(folder, sealed);
    expect(readKeys(folder, owner)).toEqual([]);
    writeEnrolledKey(folder, { ...sealed, ...owner, keyId: "k" });
    expect(readdirSync(join(folder, "keys"))).toEqual(["k.json"]);
    expect(readKeys(folder, owner).map((key) => key.keyId)).toEqual(["k"]);
    expect(readKeys(folder, { ...owner, principal: "q" })).toEqual([]);
    expect(JSON.parse(readFileSync(join(folder, "keys/k.json"), "utf8"))).toMatchObject({ publicKey: pair.publicKey });
  });
});

describe("keys within reach of agents", () => {
  const root = temporaryDirectory();
  const inside = join(root, "work/.config");
  mkdirSync(inside, { recursive: true });
  symlinkSync(inside, join(root, "link"));
  mkdirSync(join(root, "work-not"));
  test.each([
    ["below the root", inside, "work", true],
    ["the root itself", join(root, "work"), "work", true],
    ["by a link", join(root, "link"), "work", true],
    ["not made yet", join(inside, "new/deep"), "work", true],
    ["beside it", join(root, "work-not"), "work", false],
    ["above it", root, "work", false],
  ])("%s", (_name, folder, workspace, refused) => {
    const act = (): void => refuseKeysInside(folder, [join(root, workspace)]);
    if (refused) expect(act).toThrow(/within reach of agents/);
    else expect(act).not.toThrow();
  });
});
