/**
 * The log keys in the operator's hands: making, listing, rotating, revoking, repairing. Beside a running server or in its
 * absence; a server that runs takes the new key from its next checkpoint on.
 */
import {
  formatVerifierKey,
  isDeploymentName,
  parseVerifierKey,
  verifierKey,
  type NoteSigner,
} from "@countersign/proof";
import { failure, keyFailure, quoted } from "./failure.js";
import {
  finishPending,
  newDeploymentName,
  prepareRevocation,
  prepareRoot,
  prepareRotation,
  recordedStatements,
} from "./keyChanges.js";
import { makeKeyFolder, readDeployment, readPending, writeStatements } from "./keyFolder.js";
import { historyOf, type KeyParts } from "./keyHistory.js";
import { assertNothingPublished, compareStatements, openKeys, readKeys } from "./keys.js";

import { TileRoots, withTree } from "./tree.js";

export type { KeyParts } from "./keyHistory.js";
export { restore, restoreAsClone, type Restored, type RestoredLedger, type RestoreParts } from "./restore.js";

export interface ListedKey {
  /** base64url. */
  readonly publicKey: string;
  /** As a policy pins it: `name+id+key`. */
  readonly verifierKey: string;
  /** Number of the statement that made it valid. */
  readonly number: number;
  readonly sinceMs: number;
  readonly revokedAtMs: number | null;
  readonly current: boolean;
}

export interface KeyList {
  readonly deployment: string;
  readonly folder: string;
  readonly keys: readonly ListedKey[];
  /** False: it is recorded in the deployment's ledger when the server starts. */
  readonly recorded: boolean;
}

/** Without a database (`undefined`): the keys wait in the directory until the server's first start records them. */
export type KeysOffline = Pick<KeyParts, "folder" | "signer" | "clock">;

/** Whether the deployment's ledger was begun: its first entry is the server's to write, at its first start. */
export function ledgerBegun({ storage, deploymentTenant }: KeyParts): Promise<boolean> {
  return withTree({ storage, roots: new TileRoots() }, deploymentTenant, async (tree) => (await tree.size()) > 0);
}

/** Makes the root key. Throws `already_exists` where one is, `log_key_unusable` where the database has another's. */
export async function initKeys(
  given: KeysOffline,
  deployment: string | undefined,
  parts: KeyParts | undefined,
): Promise<KeyList> {
  const { folder, signer, clock } = given;
  if (deployment !== undefined && !isDeploymentName(deployment))
    throw failure(
      "invalid_request",
      `\`${deployment}\` cannot name a deployment: printable ASCII without spaces and \`+\`, at most 200 characters, such as \`ledger.example.org/main\``,
    );
  const there = (await readDeployment(folder)) ?? (await pendingDeployment(folder));
  if (there !== undefined)
    throw failure(
      "already_exists",
      `${quoted(folder)} has the keys of \`${there}\` already; \`countersign keys list\` shows them`,
    );
  if (parts !== undefined) await assertNothingPublished(parts);
  await makeKeyFolder(folder);
  await prepareRoot(folder, { deployment: deployment ?? newDeploymentName(), signer, atMs: clock.nowMs() });
  return listKeys(given, parts);
}

async function pendingDeployment(folder: string): Promise<string | undefined> {
  return (await readPending(folder))?.statement.split("\n")[1];
}

/** The keys of the directory; a change that was cut off is finished first. */
export async function listKeys(given: KeysOffline, parts: KeyParts | undefined): Promise<KeyList> {
  if (parts !== undefined) await finishPending(parts);
  const waiting = await readPending(given.folder);
  const known = (await readDeployment(given.folder)) === undefined ? undefined : await readKeys(given);
  const deployment = known?.deployment ?? (await pendingDeployment(given.folder));
  if (deployment === undefined)
    throw keyFailure(
      `there is no log key in ${quoted(given.folder)}; \`countersign keys init\` or the server's first start makes one`,
    );
  const statements = [...(known?.statements ?? []), ...(waiting === undefined ? [] : [waiting.statement])];
  return {
    deployment,
    folder: given.folder,
    recorded: waiting === undefined,
    keys: keyRows(statements, deployment, known?.signer.publicKey),
  };
}

/** The keys that statements speak of, oldest first; the newest is current unless said otherwise. */
export function keyRows(statements: readonly string[], deployment: string, current?: string): ListedKey[] {
  const history = historyOf(statements, deployment) ?? [];
  const newest = current ?? history.at(-1)?.publicKey;
  return history.map(({ publicKey, from, fromMs, revokedAtMs }) => ({
    publicKey,
    verifierKey: formatVerifierKey(verifierKey({ name: deployment, type: 1, publicKey })),
    number: from,
    sinceMs: fromMs,
    revokedAtMs: revokedAtMs ?? null,
    current: publicKey === newest,
  }));
}

/** `next`: a signer of one's own, which is configured in place of the old one afterwards. */
export async function rotateKeys(
  parts: KeyParts,
  { reason }: { readonly reason: string },
  next?: NoteSigner,
): Promise<KeyList> {
  await finishPending(parts);
  await prepareRotation({ keys: await openKeys(parts), atMs: parts.clock.nowMs(), reason }, next);
  await finishPending(parts);
  return listKeys(next === undefined ? parts : { ...parts, signer: next }, parts);
}

/** `key`: base64url, a verifier key, or its eight hex digits. */
export async function revokeKey(
  parts: KeyParts,
  { key, sinceMs, reason }: { readonly key: string; readonly sinceMs: number; readonly reason: string },
): Promise<KeyList> {
  const listed = await listKeys(parts, parts);
  const asked = parseVerifierKey(key)?.publicKey ?? key;
  const found = listed.keys.find((one) => one.publicKey === asked || one.verifierKey.split("+")[1] === asked);
  if (found === undefined)
    throw failure(
      "not_found",
      `\`${key}\` is no log key of \`${listed.deployment}\`; \`countersign keys list\` shows them`,
    );
  await prepareRevocation({ keys: await openKeys(parts), reason }, { publicKey: found.publicKey, sinceMs });
  await finishPending(parts);
  return listKeys(parts, parts);
}

/** Writes `statements` anew from the deployment's ledger, when every signature there verifies. */
export async function repairStatements(parts: KeyParts): Promise<KeyList> {
  const deployment = await readDeployment(parts.folder);
  const recorded = await recordedStatements(parts);
  if (deployment === undefined || recorded.deployment !== deployment)
    throw keyFailure(
      `${quoted(parts.folder)} has the keys of \`${deployment ?? "nobody"}\`, and the database is that of \`${recorded.deployment ?? "nobody"}\`; nothing can be repaired from it`,
    );
  if (historyOf(recorded.statements, deployment) === undefined)
    throw keyFailure(
      "the key statements in the deployment's ledger do not verify; put the key directory back from a backup",
    );
  const here = await readKeys(parts).catch(() => undefined); // unreadable: that is what is repaired
  if (here !== undefined && compareStatements(here, recorded) === "ledger_behind")
    throw failure(
      "nothing_to_restore",
      `${quoted(parts.folder)} has more statements than the ledger; nothing is missing`,
    );
  await writeStatements(parts.folder, recorded.statements);
  return listKeys(parts, parts);
}
