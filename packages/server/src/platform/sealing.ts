/**
 * Encryption at rest: bodies and backups are sealed before they are stored.
 *
 * A sealed value is for ever readable by this program as long as its key is kept:
 *   "CSS1" · key id (8 bytes) · nonce (24 bytes) · ciphertext · tag (16 bytes)
 * sealed with XAES-256-GCM (C2SP: AES-256-GCM under a key derived from the nonce's first half, so that random nonces are
 * safe for 2^80 messages under one key, where plain AES-256-GCM allows 2^32). Associated data: the first 12 bytes, then
 * what the caller binds it to (table and id), so that a value moved elsewhere does not open.
 * "CSS2" in its place: sealed with the key of one subject, which is stored beside (ledger/subjectKeys.ts).
 * key id = first 8 bytes of SHA-256("countersign.sealing-key.v1\0" || key). A change needs another first four bytes.
 */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { existsSync, linkSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { refused, RefusalError, type ErrorCode } from "@countersign/contract";
import { sha256PartsHex } from "@countersign/proof";
import { parseSealingKey } from "./config.js";
import { systemRandom, type RandomBytes } from "./ids.js";

export interface Sealing {
  /** Bytes over the plain text: 52. `binding` names the owner of the value, e.g. `body <tenant> <entry id>`. */
  seal(plain: Uint8Array, binding: string): Buffer;
  /** Throws `sealed_unreadable`: key unknown, bytes altered, or sealed for something else. */
  open(sealed: Uint8Array, binding: string): Buffer;
  /** Hex id of the key that seals now. */
  readonly keyId: string;
}

const MAGIC = Buffer.from("CSS1", "latin1");
const SUBJECT_MAGIC = Buffer.from("CSS2", "latin1");
const KEY_ID_BYTES = 8;
const HEADER_BYTES = MAGIC.length + KEY_ID_BYTES;
const NONCE_BYTES = 24;
const TAG_BYTES = 16;
export const sealedOverheadBytes = HEADER_BYTES + NONCE_BYTES + TAG_BYTES;

const KEY_FILE = "sealing-key";

/** Seals with the given keys, or else with those of the data directory's key file. The first start makes this file. */
export function openSealing(from: {
  readonly keys?: readonly Uint8Array[];
  readonly dataDirectory: string;
  readonly random?: RandomBytes;
}): Sealing {
  const random = from.random ?? systemRandom;
  const file = join(from.dataDirectory, KEY_FILE);
  // Keys from the environment seal. Values that the file's keys sealed before can still be opened.
  const stored = from.keys === undefined || existsSync(file) ? readOrMakeKeyFile(file, random) : [];
  return sealingWith([...(from.keys ?? []), ...stored], random);
}

/** The first key seals, all open. */
export function sealingWith(keys: readonly Uint8Array[], random: RandomBytes = systemRandom): Sealing {
  return sealingAs(MAGIC, keys, random);
}

/** Seals with the key of one subject. The sealed value says so. */
export function subjectSealing(key: Uint8Array, random: RandomBytes): Sealing {
  return sealingAs(SUBJECT_MAGIC, [key], random);
}

/** Hex id of the subject's key that a value was sealed with; undefined when it was sealed with no such key. */
export function subjectKeyId(sealed: Uint8Array): string | undefined {
  const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
  return bytes.length < sealedOverheadBytes || !bytes.subarray(0, MAGIC.length).equals(SUBJECT_MAGIC)
    ? undefined
    : bytes.toString("hex", MAGIC.length, HEADER_BYTES);
}

function sealingAs(magic: Buffer, keys: readonly Uint8Array[], random: RandomBytes): Sealing {
  const byId = new Map<string, Uint8Array>();
  for (const key of keys) byId.set(keyIdOf(key), key);
  const [first] = keys;
  if (first === undefined) throw refusal("sealing_key_invalid", "there is no sealing key");
  const keyId = keyIdOf(first);
  const header = Buffer.concat([magic, Buffer.from(keyId, "hex")]);
  return {
    keyId,
    seal: (plain, binding) => {
      const nonce = random(NONCE_BYTES);
      return Buffer.concat([
        header,
        nonce,
        xaesSeal({ key: first, nonce, associated: associatedData(header, binding) }, plain),
      ]);
    },
    open: (sealed, binding) =>
      openSealed(magic, byId, Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength), binding),
  };
}

function openSealed(magic: Buffer, keys: ReadonlyMap<string, Uint8Array>, sealed: Buffer, binding: string): Buffer {
  if (sealed.length < sealedOverheadBytes || !sealed.subarray(0, MAGIC.length).equals(magic)) {
    throw refusal("sealed_unreadable", `the value of \`${binding}\` is not a sealed value this version knows`);
  }
  const header = sealed.subarray(0, HEADER_BYTES);
  const id = header.subarray(magic.length).toString("hex");
  const key = keys.get(id);
  if (key === undefined) {
    throw refusal(
      "sealed_unreadable",
      `\`${binding}\` was sealed with the key \`${id}\`, but this server has ${[...keys.keys()].join(", ")}: restore that key to \`${KEY_FILE}\` or COUNTERSIGN_SEALING_KEY`,
    );
  }
  const nonce = sealed.subarray(HEADER_BYTES, HEADER_BYTES + NONCE_BYTES);
  try {
    return xaesOpen(
      { key, nonce, associated: associatedData(header, binding) },
      sealed.subarray(HEADER_BYTES + NONCE_BYTES),
    );
  } catch (cause) {
    throw refusal(
      "sealed_unreadable",
      `the sealed value of \`${binding}\` was altered, or sealed for something else`,
      cause,
    );
  }
}

function associatedData(header: Uint8Array, binding: string): Buffer {
  return Buffer.concat([header, Buffer.from(binding, "utf8")]);
}

function keyIdOf(key: Uint8Array): string {
  return sha256PartsHex("countersign.sealing-key.v1\0", key).slice(0, 2 * KEY_ID_BYTES);
}

export interface XaesInput {
  readonly key: Uint8Array;
  readonly nonce: Uint8Array;
  readonly associated: Uint8Array;
}

/** c2sp.org/XAES-256-GCM; ciphertext, then tag. */
export function xaesSeal({ key, nonce, associated }: XaesInput, plain: Uint8Array): Buffer {
  const cipher = createCipheriv("aes-256-gcm", derivedKey(key, nonce), nonce.subarray(12));
  cipher.setAAD(associated);
  return Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
}

export function xaesOpen({ key, nonce, associated }: XaesInput, sealed: Uint8Array): Buffer {
  const decipher = createDecipheriv("aes-256-gcm", derivedKey(key, nonce), nonce.subarray(12), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(associated);
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  return Buffer.concat([decipher.update(sealed.subarray(0, sealed.length - TAG_BYTES)), decipher.final()]);
}

/** SP 800-108r1 counter mode over CMAC with the label "X" and the nonce's first half as context; two blocks, one subkey. */
function derivedKey(key: Uint8Array, nonce: Uint8Array): Buffer {
  const subkey = encryptBlocks(key, Buffer.alloc(16));
  let carry = 0;
  for (let index = 15; index >= 0; index -= 1) {
    const byte = subkey.readUInt8(index);
    subkey.writeUInt8(((byte << 1) | carry) & 0xff, index);
    carry = byte >> 7;
  }
  if (carry === 1) subkey.writeUInt8(subkey.readUInt8(15) ^ 0x87, 15);
  const blocks = Buffer.alloc(32);
  for (const counter of [1, 2]) {
    const at = (counter - 1) * 16;
    blocks.set([0, counter, 0x58, 0, ...nonce.subarray(0, 12)], at);
    for (let index = 0; index < 16; index += 1)
      blocks.writeUInt8(blocks.readUInt8(at + index) ^ subkey.readUInt8(index), at + index);
  }
  return encryptBlocks(key, blocks);
}

function encryptBlocks(key: Uint8Array, blocks: Uint8Array): Buffer {
  const cipher = createCipheriv("aes-256-ecb", key, null).setAutoPadding(false);
  return Buffer.concat([cipher.update(blocks), cipher.final()]);
}

/** One key a line, hex; the first seals. */
function readOrMakeKeyFile(file: string, random: RandomBytes): Uint8Array[] {
  if (!existsSync(file)) makeKeyFile(file, random);
  const { mode } = statSync(file);
  if (process.platform !== "win32" && (mode & 0o077) !== 0) {
    throw refusal(
      "sealing_key_invalid",
      `others may read \`${file}\`; if nobody has, run \`chmod 600 '${file}'\`; else put a new key on its first line`,
    );
  }
  const lines = readFileSync(file, "utf8")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
  const keys = lines.map((line, index) => {
    const key = parseSealingKey(line);
    if (key === undefined)
      throw refusal(
        "sealing_key_invalid",
        `key ${index + 1} of \`${file}\` is not 32 bytes in hex; restore the file from a backup`,
      );
    return key;
  });
  if (keys.length === 0) throw refusal("sealing_key_invalid", `\`${file}\` holds no key; restore it from a backup`);
  return keys;
}

/** The file is complete or absent, and never replaces an existing one: two processes that start at once agree. */
function makeKeyFile(file: string, random: RandomBytes): void {
  const partial = `${file}.${process.pid}.partial`;
  writeFileSync(
    partial,
    `# Seals texts and backups of this Countersign. Without it they cannot be read: keep a copy elsewhere.\n${Buffer.from(random(32)).toString("hex")}\n`,
    {
      mode: 0o600,
      flush: true,
    },
  );
  try {
    linkSync(partial, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    rmSync(partial, { force: true });
  }
}

function refusal(code: ErrorCode, message: string, cause?: unknown): RefusalError {
  return cause === undefined
    ? new RefusalError(refused(code, message))
    : new RefusalError(refused(code, message), { cause });
}
