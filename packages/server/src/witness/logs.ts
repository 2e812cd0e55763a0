/**
 * The logs that a witness cosigns for, and the keys it trusts for each: `logs.json`. A log's name is a deployment, which covers its
 * tenants (`NAME/…`), or one origin. A witness follows a change of keys only through key statements that begin at a key it
 * was given: it never asks the log's own server about keys.
 */
import { join } from "node:path";
import { parseKeyStatement, parseVerifierKey, readKeyHistory } from "@countersign/proof";
import { z } from "zod";
import { readIfPresent, replaceFile } from "../platform/index.js";
import { witnessFailure } from "./failure.js";

const logFile = z.strictObject({
  v: z.literal(1),
  logs: z.array(
    z.strictObject({
      name: z.string().min(1),
      /** base64url, given by the operator with `add-log VKEY`. */
      pinned: z.array(z.string()),
      /** base64url, reached from a pinned one through statements. */
      followed: z.array(z.string()),
      /** base64url: no longer trusted, whatever is said later. */
      revoked: z.array(z.string()),
    }),
  ),
});
export type WitnessedLog = z.infer<typeof logFile>["logs"][number];

export async function readLogs(directory: string): Promise<WitnessedLog[]> {
  const bytes = await readIfPresent(join(directory, "logs.json"));
  if (bytes === undefined) return [];
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString("utf8"));
  } catch {
    value = undefined; // damaged: said below
  }
  const checked = logFile.safeParse(value);
  if (checked.success) return checked.data.logs;
  throw witnessFailure(
    `\`${join(directory, "logs.json")}\` is damaged; put it back, or remove it and add the logs again`,
  );
}

/** Keys that a log may sign with now. */
export function trustedKeys(log: WitnessedLog): string[] {
  return [...new Set([...log.pinned, ...log.followed])].filter((key) => !log.revoked.includes(key));
}

/** The log that covers an origin: the longest name wins. */
export function logOf(logs: readonly WitnessedLog[], origin: string): WitnessedLog | undefined {
  return logs
    .filter(({ name }) => name === origin || origin.startsWith(`${name}/`))
    .toSorted((a, b) => b.name.length - a.name.length)[0];
}

/** A log with the keys that count. */
export type KnownLog = WitnessedLog & { readonly trusted: readonly string[] };

/** Trusts a key for the log that the vkey names, in addition to the keys it trusts already. */
export async function addLog(directory: string, vkey: string): Promise<KnownLog> {
  const key = parseVerifierKey(vkey);
  if (key?.type !== 1)
    throw witnessFailure(
      `\`${vkey.slice(0, 200)}\` is no verifier key of a log; it looks like \`NAME+90b3a1c2+AQ…\` and \`countersign keys list\` prints it`,
    );
  const { name, publicKey } = key;
  const known = (await readLogs(directory)).find((log) => log.name === name);
  if (known?.revoked.includes(publicKey) === true)
    throw witnessFailure(`this key of \`${name}\` was revoked; it is not trusted again`);
  return writeLog(directory, {
    ...(known ?? { name, followed: [], revoked: [] }),
    pinned: [...new Set([...(known?.pinned ?? []), publicKey])],
  });
}

/**
 * Follows a known log's keys through its statements: signed notes, one after the other, each with or without a line of its length
 * before it, as the log's key directory has them. Throws when they do not begin at a key that was added, or are broken.
 */
export async function followStatements(directory: string, text: string): Promise<KnownLog> {
  const statements = text.split(/^(?:[0-9]+\n)?(?=countersign\.log-key\.v1\n)/m).filter((note) => note.trim() !== "");
  const first = parseKeyStatement(statements[0] ?? "");
  if (!first.ok) throw witnessFailure(`these are no key statements: ${first.problem}`);
  const { deployment: name } = first.statement;
  const known = (await readLogs(directory)).find((log) => log.name === name);
  if (known === undefined)
    throw witnessFailure(`no log \`${name}\` is known; add its first key with \`countersign witness add-log VKEY\``);
  const { keys, problems } = readKeyHistory(statements, { deployment: name, pinned: known.pinned });
  if (problems.length > 0) throw witnessFailure(`the key statements are not followed: ${problems.join("; ")}`);
  if (keys.some((key) => !key.trusted))
    throw witnessFailure(`the key statements of \`${name}\` do not contain a key that this witness was given`);
  const revoked = keys.filter((key) => key.revokedAtMs !== undefined);
  return writeLog(directory, {
    ...known,
    followed: [...new Set([...known.followed, ...keys.map((key) => key.publicKey)])],
    // From now on: the witness signs for now, whatever an old key is still used for.
    revoked: [...new Set([...known.revoked, ...revoked.map((key) => key.publicKey)])],
  });
}

async function writeLog(directory: string, log: WitnessedLog): Promise<KnownLog> {
  const others = (await readLogs(directory)).filter(({ name }) => name !== log.name);
  const text = JSON.stringify({ v: 1, logs: [...others, log] }, null, 2);
  await replaceFile(join(directory, "logs.json"), `${text}\n`, 0o600);
  return { ...log, trusted: trustedKeys(log) };
}
