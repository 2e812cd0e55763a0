/**
 * A person's signing key on their own machine: Ed25519, encrypted with their passphrase (argon2id → AES-256-GCM), one file
 * a key, 0600 in a 0700 folder outside every workspace.
 *
 * Promises: the private key is never written in the clear; a wrong passphrase, a damaged and an exchanged file are told
 * apart from a good one before anything is signed.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { readdirSync, realpathSync, rmSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import { canonicalize, fromBase64Url, publicKeyOf, signMessage, toBase64Url } from "@countersign/proof";
import { hashRaw } from "@node-rs/argon2";
import { z } from "zod";
import { parseJson, readIfThere, writePrivateFile } from "./credentials.js";
import { CliError } from "./exit.js";

// RFC 9106 §4, second recommendation (64 MiB, 3 passes), with one lane: about 0.2 s on a small machine.
const kdfNow = { name: "argon2id", memoryKib: 65_536, passes: 3, lanes: 1 } as const;
export const passphraseLengthMin = 8;

const keyFile = z.strictObject({
  version: z.literal(1),
  /** Empty until the server has enrolled it. */
  keyId: z.string(),
  tenant: z.string(),
  principal: z.string(),
  label: z.string(),
  algorithm: z.literal("Ed25519"),
  publicKey: z.string(),
  createdAt: z.string(),
  // Bounded: a file put here by somebody else must not make us allocate the machine's memory.
  kdf: z.strictObject({
    name: z.literal("argon2id"),
    memoryKib: z.int().min(8_192).max(1_048_576),
    passes: z.int().min(1).max(16),
    lanes: z.int().min(1).max(4),
    salt: z.string(),
  }),
  cipher: z.strictObject({ name: z.literal("aes-256-gcm"), iv: z.string() }),
  sealed: z.string(),
});
export type KeyFile = z.infer<typeof keyFile>;

export interface UnlockedKey {
  readonly keyId: string;
  readonly publicKey: string;
  sign(message: Uint8Array): string;
}

export async function sealKey(
  privateKey: string,
  passphrase: string,
  about: { readonly label: string; readonly createdAt: string },
): Promise<KeyFile> {
  if ([...passphrase].length < passphraseLengthMin)
    throw new CliError(
      "passphrase_short",
      `the passphrase is shorter than ${passphraseLengthMin} characters; choose a longer one`,
    );
  const kdf = { ...kdfNow, salt: toBase64Url(randomBytes(16)) };
  const publicKey = publicKeyOf(privateKey);
  const iv = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", await derive(passphrase, kdf), iv);
  cipher.setAAD(bound(publicKey, kdf));
  const sealed = Buffer.concat([cipher.update(Buffer.from(privateKey, "utf8")), cipher.final(), cipher.getAuthTag()]);
  const cipherFields = { name: "aes-256-gcm", iv: toBase64Url(iv) } as const;
  return {
    version: 1,
    keyId: "",
    tenant: "",
    principal: "",
    ...about,
    algorithm: "Ed25519",
    publicKey,
    kdf,
    cipher: cipherFields,
    sealed: toBase64Url(sealed),
  };
}

/** Throws `passphrase_wrong` or `key_file_damaged`. */
export async function unlockKey(key: KeyFile, passphrase: string): Promise<UnlockedKey> {
  const iv = fromBase64Url(key.cipher.iv, 12);
  const sealed = Buffer.from(key.sealed, "base64url");
  if (iv === undefined || sealed.length < 17) throw damaged(key);
  const cipher = createDecipheriv("aes-256-gcm", await derive(passphrase, key.kdf), iv);
  cipher.setAAD(bound(key.publicKey, key.kdf));
  cipher.setAuthTag(sealed.subarray(-16));
  let privateKey: string;
  try {
    privateKey = Buffer.concat([cipher.update(sealed.subarray(0, -16)), cipher.final()]).toString("utf8");
  } catch (cause) {
    const help = ["countersign human code NAME   (by an administrator: a new one-time code, then `countersign enrol`)"];
    throw new CliError(
      "passphrase_wrong",
      `the passphrase does not open the signing key \`${key.keyId}\`; nothing was signed`,
      { help, cause },
    );
  }
  if (publicKeyOf(privateKey) !== key.publicKey) throw damaged(key);
  return { keyId: key.keyId, publicKey: key.publicKey, sign: (message) => signMessage(privateKey, message) };
}

function derive(passphrase: string, kdf: KeyFile["kdf"]): Promise<Buffer> {
  const salt = fromBase64Url(kdf.salt, 16);
  if (salt === undefined)
    throw new CliError(
      "key_file_damaged",
      "the key file's salt is damaged; restore it from a backup or enrol a new key",
    );
  // Unicode has two ways to write é: the same keys pressed on another system must open the file.
  // 2 is Argon2id; the package declares its names as ambient const enums, which cannot be imported here.
  const options = {
    algorithm: 2,
    memoryCost: kdf.memoryKib,
    timeCost: kdf.passes,
    parallelism: kdf.lanes,
    outputLen: 32,
    salt,
  };
  return hashRaw(passphrase.normalize("NFKC"), options);
}

/**
 * Data that the encryption authenticates besides the key: exchanging the public key or weakening the parameters breaks
 * it.
 */
function bound(publicKey: string, kdf: KeyFile["kdf"]): Buffer {
  return Buffer.from(canonicalize({ format: "countersign.keyfile.v1", publicKey, kdf }), "utf8");
}

function damaged(key: KeyFile): CliError {
  return new CliError(
    "key_file_damaged",
    `the key file of \`${key.keyId}\` is damaged; restore it from a backup or enrol a new key`,
    { help: ["countersign enrol"] },
  );
}

const keysFolder = (folder: string): string => join(folder, "keys");

/** Kept under its public key until the server has given it an id: a crash in between loses nothing. */
export function writePendingKey(folder: string, key: KeyFile): void {
  writePrivateFile(keysFolder(folder), `pending-${key.publicKey}.json`, `${JSON.stringify(key, null, 2)}\n`);
}

export function writeEnrolledKey(folder: string, key: KeyFile): void {
  writePrivateFile(keysFolder(folder), `${key.keyId}.json`, `${JSON.stringify(key, null, 2)}\n`);
  rmSync(join(keysFolder(folder), `pending-${key.publicKey}.json`), { force: true });
}

export function removePendingKey(folder: string, key: KeyFile): void {
  rmSync(join(keysFolder(folder), `pending-${key.publicKey}.json`), { force: true });
}

/** The enrolled keys of a person on this machine. */
export function readKeys(folder: string, owner: { readonly tenant: string; readonly principal: string }): KeyFile[] {
  return listFolder(keysFolder(folder))
    .filter((name) => name.endsWith(".json") && !name.startsWith("pending-"))
    .map((name) => readKey(join(keysFolder(folder), name)))
    .filter((key) => key.tenant === owner.tenant && key.principal === owner.principal);
}

function readKey(path: string): KeyFile {
  const parsed = keyFile.safeParse(parseJson(readIfThere(path) ?? ""));
  if (!parsed.success)
    throw new CliError(
      "key_file_damaged",
      `\`${path}\` cannot be read as a signing key; restore it from a backup or move it away and enrol a new key`,
    );
  return parsed.data;
}

function listFolder(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw new CliError("file_unreadable", `cannot read \`${folder}\`; check its owner and permissions`, { cause });
  }
}

/**
 * INVARIANT: no key is used that lies below a workspace's root, where an agent's change-set or the agent itself could
 * reach it. Paths are compared as they really are, links followed.
 */
export function refuseKeysInside(folder: string, roots: readonly string[]): void {
  const real = realFolder(folder);
  for (const root of roots) {
    const path = relative(realFolder(root), real);
    if (path !== "" && (path === ".." || path.startsWith(`..${sep}`) || path.startsWith(sep))) continue;
    const help = [
      `mkdir -p ~/.config && mv '${folder}' ~/.config/countersign`,
      "export COUNTERSIGN_CONFIG=…   (a folder outside every workspace)",
    ];
    throw new CliError(
      "keys_in_workspace",
      `your keys and credentials in \`${folder}\` lie inside the workspace \`${root}\`, within reach of agents`,
      { help },
    );
  }
}

/** The real path of the nearest folder above that exists, and the rest behind it. */
function realFolder(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    // The folder does not exist yet: the place where it would be made counts.
    const parent = dirname(path);
    return parent === path ? path : join(realFolder(parent), relative(parent, path));
  }
}
