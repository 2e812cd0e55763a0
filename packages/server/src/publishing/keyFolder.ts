/**
 * The key directory: the signer's files, out of the database's reach.
 *
 *   deployment   name of the deployment, first part of every origin
 *   key          the current private key (not with a signer of one's own)
 *   statements   every key statement, oldest first, each after a line with its length in bytes
 *   pending      a change of keys that is under way; whoever comes next finishes it
 *   memory/      what was signed last (memory.ts)
 *
 * Promises: the private key is readable by its owner alone, or nothing is signed · files are replaced as a whole · what is
 * there and cannot be read is an error with the way out, never taken for absent · nothing of a private key is in a message.
 */
import { chmod, link, mkdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import {
  formatKeyStatements,
  fromBase64Url,
  isDeploymentName,
  parseKeyStatements,
  publicKeyOf,
  signerOf,
  type NoteSigner,
} from "@countersign/proof";
import { z } from "zod";
import { keyFailure, quoted } from "./failure.js";
import { syncFolder, writeDurably } from "./memory.js";

const keyTag = "countersign-log-key.v1";
const privateKeyBytes = 32;
/** Of every file here: a thousand statements of 1 KiB. */
const fileBytesMax = 4 * 1024 * 1024;

export interface PrivateKey {
  readonly publicKey: string;
  readonly signer: NoteSigner;
}

/** The directory itself, made if it is missing. */
export async function makeKeyFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await chmod(folder, 0o700);
  } catch (cause) {
    throw keyFailure(
      `the key directory ${quoted(folder)} cannot be made (${codeOf(cause)}); set COUNTERSIGN_LOG_KEYS to a folder this user can write`,
      cause,
    );
  }
}

export async function readDeployment(folder: string): Promise<string | undefined> {
  const text = await readIfThere(join(folder, "deployment"));
  if (text === undefined) return undefined;
  const name = text.trim();
  if (isDeploymentName(name)) return name;
  throw keyFailure(`${quoted(join(folder, "deployment"))} holds no name of a deployment; put it back from a backup`);
}

/** Throws unless the key exists, is whole, and nobody else may read it. */
export async function readPrivateKey(folder: string): Promise<PrivateKey> {
  const file = join(folder, "key");
  const text = await readIfThere(file, "private");
  if (text === undefined)
    throw keyFailure(
      `there is no log key at ${quoted(file)}; put the key directory back from a backup, or name it in COUNTERSIGN_LOG_KEYS`,
    );
  return privateKeyFrom(file, text);
}

export function privateKeyText(privateKey: string): string {
  return `${keyTag} ${privateKey}\n`;
}

function privateKeyFrom(file: string, text: string): PrivateKey {
  const [tag, privateKey = "", ...rest] = text.trim().split(" ");
  if (tag !== keyTag || rest.length > 0 || fromBase64Url(privateKey, privateKeyBytes) === undefined)
    throw keyFailure(`${quoted(file)} holds no log key; put it back from a backup`);
  const publicKey = publicKeyOf(privateKey);
  return { publicKey, signer: signerOf({ publicKey, privateKey }) };
}

/** Whether the file still has the key that was read: a rotation replaces the file. */
export async function keyStamp(folder: string): Promise<string> {
  const [key, statements] = await Promise.all(
    ["key", "statements"].map(async (name) => {
      const found = await stat(join(folder, name), { bigint: true }).catch(() => undefined); // said when it is read
      return found === undefined ? "none" : `${found.ino}:${found.mtimeNs}:${found.size}`;
    }),
  );
  return `${key} ${statements}`;
}

// ── Statements ───────────────────────────────────────────────────────────────────────────────────────────────────────

export async function readStatements(folder: string): Promise<string[]> {
  const file = join(folder, "statements");
  const text = await readIfThere(file);
  if (text === undefined) return [];
  const statements = parseKeyStatements(Buffer.from(text, "utf8"));
  if (statements !== undefined) return statements;
  throw keyFailure(
    `${quoted(file)} was cut short or edited; put it back from a backup, or write it anew from the ledger: \`countersign keys repair\``,
  );
}

export function writeStatements(folder: string, statements: readonly string[]): Promise<void> {
  return replaceFile(folder, "statements", formatKeyStatements(statements));
}

// ── A change under way ───────────────────────────────────────────────────────────────────────────────────────────────

const pendingChange = z.strictObject({
  v: z.literal(1),
  /** The signed note. */
  statement: z.string().max(16_384),
  /** The key that is current afterwards; null: it stays, or a signer of one's own has it. */
  privateKey: z.string().nullable(),
  /** The reason given by the person who asked for the change; for the entry's body. */
  reason: z.string().nullable(),
  /** A root key: the deployment of which this one is a copy. */
  cloneOf: z.string().nullable(),
});
export type PendingChange = Omit<z.infer<typeof pendingChange>, "v">;

export async function readPending(folder: string): Promise<PendingChange | undefined> {
  const file = join(folder, "pending");
  const text = await readIfThere(file, "private");
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined; // said below
  }
  const checked = pendingChange.safeParse(value);
  if (!checked.success) throw keyFailure(`${quoted(file)} is damaged; put it back from a backup`);
  const { statement, privateKey, reason, cloneOf } = checked.data;
  return { statement, privateKey, reason, cloneOf };
}

/** False: another change is under way. */
export async function placePending(folder: string, change: PendingChange): Promise<boolean> {
  return placeFile(folder, "pending", `${JSON.stringify({ v: 1, ...change })}\n`);
}

export async function removePending(folder: string): Promise<void> {
  await rm(join(folder, "pending"), { force: true });
  await syncFolder(folder);
}

/** Whole or not at all, and never over another: a hard link. */
export async function placeFile(folder: string, name: string, text: string): Promise<boolean> {
  const draft = draftOf(folder, name);
  try {
    await writeDurably(draft, text);
    await link(draft, join(folder, name));
    await syncFolder(folder);
    return true;
  } catch (cause) {
    if (codeOf(cause) === "EEXIST") return false;
    throw cannotWrite(join(folder, name), cause);
  } finally {
    await rm(draft, { force: true });
  }
}

export async function replaceFile(folder: string, name: string, text: string): Promise<void> {
  const draft = draftOf(folder, name);
  try {
    await writeDurably(draft, text);
    await rename(draft, join(folder, name));
    await syncFolder(folder);
  } catch (cause) {
    await rm(draft, { force: true });
    throw cannotWrite(join(folder, name), cause);
  }
}

function draftOf(folder: string, name: string): string {
  return join(folder, `${name}.${process.pid}-${Math.random().toString(36).slice(2)}.partial`);
}

function cannotWrite(file: string, cause: unknown): Error {
  return keyFailure(
    `${quoted(file)} cannot be written (${codeOf(cause)}); check the folder's owner and the disk`,
    cause,
  );
}

async function readIfThere(file: string, privacy?: "private"): Promise<string | undefined> {
  try {
    const found = await stat(file);
    if (!found.isFile() || found.size > fileBytesMax)
      throw keyFailure(`${quoted(file)} is no file of ours; put it back from a backup`);
    if (privacy === "private" && process.platform !== "win32" && (found.mode & 0o077) !== 0)
      throw keyFailure(
        `others may read or write the private key ${quoted(file)}; \`chmod 600 '${file}'\`, and if somebody may have read it: \`countersign keys rotate --reason …\` and revoke the old one`,
      );
    return await readFile(file, "utf8");
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return undefined;
    if (!(cause instanceof Error) || codeOf(cause) === "?") throw cause;
    throw keyFailure(`${quoted(file)} cannot be read (${codeOf(cause)}); check its owner and permissions`, cause);
  }
}

function codeOf(cause: unknown): string {
  return (cause as NodeJS.ErrnoException).code ?? "?";
}
