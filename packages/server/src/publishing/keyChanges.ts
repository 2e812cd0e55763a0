/**
 * Changes of the log key: the root key of a deployment, rotation, revocation. Each is a signed statement, an entry of the
 * deployment's ledger and a line of the file `statements`.
 *
 * The order survives a crash anywhere: the whole change, key and all, is first put down in `pending`; then entry, statements,
 * key, each only if it is not there yet; then `pending` goes. The next command or server finishes a pending change. The
 * new key signs nothing before the statement that makes it valid is recorded.
 */
import { randomBytes } from "node:crypto";
import { isRefusal, RefusalError } from "@countersign/contract";
import {
  formatNote,
  fromBase64Url,
  generateSigningKeyPair,
  keyStatementKinds,
  keyStatementsMax,
  keyStatementText,
  parseEntryContent,
  parseKeyStatement,
  signatureLine,
  signerOf,
  signKeyStatement,
  statementHash,
  toBase64Url,
  zeroHash,
  type JsonObject,
  type KeyStatement,
  type Note,
  type NoteSigner,
} from "@countersign/proof";
import { moveEpoch, type EntryDraft, type Snapshot } from "../ledger/index.js";
import { failure, keyFailure, quoted } from "./failure.js";
import {
  placeFile,
  placePending,
  privateKeyText,
  readDeployment,
  readPending,
  readStatements,
  removePending,
  replaceFile,
  writeStatements,
  type PendingChange,
} from "./keyFolder.js";
import { historyOf, type KeyParts, type OpenKeys } from "./keyHistory.js";
import { contentsByAction, statement as queryOf } from "./queries.js";

export const keyActions = { root: "log_key.created", rotate: "log_key.rotated", revoke: "log_key.revoked" } as const;
const actions = Object.values(keyActions);
const keysEpoch = "log_keys";
/** Key entries read: those of some deployments this one was copied from come before its own. */
const entriesMax = 4 * keyStatementsMax;

/** A statement with the signatures under it. */
export type SignedStatement = KeyStatement & { readonly note: Note };

/** `countersign-` and 16 random hex digits: two deployments that never heard of each other differ. */
export function newDeploymentName(): string {
  return `countersign-${randomBytes(8).toString("hex")}`;
}

/** Puts down the root key of a new deployment. If another process was faster, nothing happens. */
export async function prepareRoot(
  folder: string,
  given: {
    readonly deployment: string;
    readonly signer?: NoteSigner | undefined;
    readonly atMs: number;
    /** The deployment whose copied database this one goes on with. */
    readonly cloneOf?: string | null;
    readonly reason?: string;
  },
): Promise<void> {
  const { deployment, signer, atMs, cloneOf = null, reason = null } = given;
  const made = signer === undefined ? freshKey() : { privateKey: null, signer };
  const statement = await signKeyStatement(
    { deployment, number: 0, previous: zeroHash, kind: "root", key: made.signer.publicKey, atMs },
    [made.signer],
  );
  await placePending(folder, { statement, privateKey: made.privateKey, reason, cloneOf });
}

export interface KeyChangeRequest {
  readonly keys: OpenKeys;
  readonly atMs: number;
  readonly reason: string;
}

/** A new current key, signed by the one before and by itself. `next`: a signer of one's own. */
export async function prepareRotation(request: KeyChangeRequest, next?: NoteSigner): Promise<void> {
  const { keys, atMs, reason } = request;
  const made = next === undefined ? freshKey() : { privateKey: null, signer: next };
  if (keys.publicKeys.includes(made.signer.publicKey))
    throw failure(
      "already_exists",
      `\`${made.signer.publicKey}\` was a log key of this deployment already; make a new one`,
    );
  const statement = await signKeyStatement({ ...following(keys), kind: "rotate", key: made.signer.publicKey, atMs }, [
    keys.signer,
    made.signer,
  ]);
  await begin(keys.folder, { statement, privateKey: made.privateKey, reason, cloneOf: null });
}

/** From `sinceMs` on the key's signatures do not count. The current key cannot revoke itself: rotate first. */
export async function prepareRevocation(
  { keys, reason }: Omit<KeyChangeRequest, "atMs">,
  revoked: { readonly publicKey: string; readonly sinceMs: number },
): Promise<void> {
  const known = historyOf(keys.statements, keys.deployment)?.find((key) => key.publicKey === revoked.publicKey);
  if (known === undefined)
    throw failure(
      "not_found",
      `\`${revoked.publicKey}\` is no log key of \`${keys.deployment}\`; \`countersign keys list\` shows them`,
    );
  if (known.publicKey === keys.signer.publicKey)
    throw failure("conflict", "the current key cannot be revoked; first run `countersign keys rotate --reason …`");
  if (known.revokedAtMs !== undefined)
    throw failure(
      "already_exists",
      `\`${revoked.publicKey}\` is revoked since ${new Date(known.revokedAtMs).toISOString()}`,
    );
  const statement = await signKeyStatement(
    { ...following(keys), kind: "revoke", key: revoked.publicKey, atMs: revoked.sinceMs },
    [keys.signer],
  );
  await begin(keys.folder, { statement, privateKey: null, reason, cloneOf: null });
}

function following(keys: OpenKeys): Pick<KeyStatement, "deployment" | "number" | "previous"> {
  const last = keys.statements.at(-1);
  const previous = last === undefined ? zeroHash : statementHash(statementOf(last).note.text);
  return { deployment: keys.deployment, number: keys.statements.length, previous };
}

async function begin(folder: string, change: PendingChange): Promise<void> {
  if (await placePending(folder, change)) return;
  throw failure(
    "conflict",
    `another change of keys is under way in ${quoted(folder)}; run \`countersign keys list\`, which finishes it`,
  );
}

function freshKey(): { privateKey: string; signer: NoteSigner } {
  const made = generateSigningKeyPair();
  return { privateKey: made.privateKey, signer: signerOf(made) };
}

/** Finishes the change in `pending`, if there is one. May run any number of times, in any number of processes. */
export async function finishPending(parts: KeyParts): Promise<void> {
  const { folder } = parts;
  const pending = await readPending(folder);
  if (pending === undefined) return;
  const statement = statementOf(pending.statement);
  await placeFile(folder, "deployment", `${statement.deployment}\n`);
  const named = await readDeployment(folder);
  if (named !== statement.deployment || !(await record(parts, pending, statement)))
    return giveUp(folder, statement, named);
  const statements = await readStatements(folder);
  if (!statements.includes(pending.statement)) await writeStatements(folder, [...statements, pending.statement]);
  if (pending.privateKey !== null) await replaceFile(folder, "key", privateKeyText(pending.privateKey));
  await removePending(folder);
}

/** Another deployment began in this database meanwhile. A key that was never recorded has signed nothing. */
function giveUp(folder: string, statement: KeyStatement, named: string | undefined): never {
  throw keyFailure(
    `the key change ${statement.number} of \`${statement.deployment}\` in ${quoted(folder)} contradicts the ledger${named === statement.deployment ? "" : ` and the deployment \`${named ?? "?"}\` there`}; use the key directory this database was published with`,
  );
}

/** A statement that was made here; a file that holds anything else was damaged. */
export function statementOf(note: string): SignedStatement {
  const parsed = parseKeyStatement(note);
  if (parsed.ok) return parsed.statement;
  throw keyFailure(
    `the key directory holds a statement that cannot be read (${parsed.problem}); put it back from a backup`,
  );
}

/** As an entry of the deployment's ledger, unless it is there. False: another statement has its number. */
export async function record(
  parts: KeyParts,
  change: Omit<PendingChange, "privateKey">,
  statement: SignedStatement,
): Promise<boolean> {
  const outcome = await parts.ledger.transact<Loaded, boolean>(parts.deploymentTenant, load, ({ epoch, recorded }) => {
    const same = recorded.deployment === undefined || recorded.deployment === statement.deployment;
    const there = same ? recorded.statements[statement.number] : undefined;
    if (there !== undefined) return { kind: "nothing", result: there === change.statement };
    const cloned = !same && statement.number === 0 && recorded.deployment === change.cloneOf;
    const follows = same && recorded.statements.length === statement.number;
    if (!follows && !cloned) return { kind: "nothing", result: false };
    const entries = [
      ...(cloned ? [cloneEntry(parts, statement, change)] : []),
      { ...keyEntry(parts, statement, change.reason), writes: [moveEpoch(keysEpoch, epoch)] },
    ];
    return {
      kind: "change",
      change: { guards: [{ kind: "epoch", name: keysEpoch, value: epoch }], entries },
      result: true,
    };
  });
  if (isRefusal(outcome)) throw new RefusalError(outcome);
  return outcome.result;
}

/** Everything of the statement is in it: `recordedIn` makes the note again, byte for byte. */
function keyEntry(
  parts: Pick<KeyParts, "actor" | "deploymentTenant">,
  of: SignedStatement,
  reason: string | null,
): EntryDraft {
  const { deployment, number, previous, kind, key, atMs, note } = of;
  const signatures = note.signatures.map(({ keyId, signature }) => [keyId, toBase64Url(signature)] as const);
  return {
    actor: parts.actor,
    action: keyActions[kind],
    subject: { type: "deployment", id: parts.deploymentTenant },
    data: { deployment, number, previous, key, atMs, signatures },
    ...(reason === null ? {} : { body: { reason } }),
  };
}

function cloneEntry(
  parts: Pick<KeyParts, "actor" | "deploymentTenant">,
  { deployment }: KeyStatement,
  { cloneOf, reason }: Pick<PendingChange, "cloneOf" | "reason">,
): EntryDraft {
  return {
    actor: parts.actor,
    action: "deployment.cloned",
    subject: { type: "deployment", id: parts.deploymentTenant },
    data: { deployment, previous: cloneOf },
    ...(reason === null ? {} : { body: { reason } }),
  };
}

interface Loaded {
  readonly epoch: number;
  readonly recorded: Recorded;
}

async function load(snapshot: Snapshot): Promise<Loaded> {
  const [epoch, rows] = await Promise.all([
    snapshot.epoch(keysEpoch),
    snapshot.query<{ content: string }>(contentsByAction(snapshot.tenant, actions, entriesMax)),
  ]);
  return { epoch, recorded: recordedIn(rows) };
}

export interface Recorded {
  /** Of the newest key entry; undefined: no key was ever made. */
  readonly deployment: string | undefined;
  /** Of that deployment, oldest first. */
  readonly statements: readonly string[];
}

/** The statements as the deployment's ledger has them. */
export function recordedStatements(parts: Pick<KeyParts, "storage" | "deploymentTenant">): Promise<Recorded> {
  return parts.storage.withSnapshot(parts.deploymentTenant, async (client) => {
    const query = contentsByAction(parts.deploymentTenant, actions, entriesMax);
    return recordedIn((await client.query<{ content: string }>(queryOf(query))).rows);
  });
}

function recordedIn(rows: readonly { readonly content: string }[]): Recorded {
  let deployment: string | undefined;
  let statements: string[] = [];
  for (const { content } of rows) {
    const parsed = parseEntryContent(content);
    const note = parsed.ok ? noteOfEntry(parsed.content.action, parsed.content.data) : undefined;
    if (note === undefined) continue;
    // A clone begins anew under its own name.
    if (note.deployment !== deployment) statements = [];
    deployment = note.deployment;
    statements.push(note.text);
  }
  return { deployment, statements };
}

/** The signed note that an entry of a key was made of; undefined: it is none of ours, and the verifier names it. */
function noteOfEntry(action: string, data: JsonObject): { deployment: string; text: string } | undefined {
  const kind = keyStatementKinds.find((one) => keyActions[one] === action);
  const { deployment, number, previous, key, atMs, signatures } = data;
  if (kind === undefined || typeof deployment !== "string" || typeof number !== "number") return undefined;
  if (typeof previous !== "string" || typeof key !== "string" || typeof atMs !== "number") return undefined;
  const lines = Array.isArray(signatures) ? signatures.map((signature: unknown) => lineOf(deployment, signature)) : [];
  if (lines.length === 0 || !lines.every((line) => line !== undefined)) return undefined;
  try {
    return { deployment, text: formatNote(keyStatementText({ deployment, number, previous, kind, key, atMs }), lines) };
  } catch {
    return undefined; // a key that is none
  }
}

function lineOf(name: string, given: unknown): string | undefined {
  const pair: readonly unknown[] = Array.isArray(given) ? given : [];
  const [keyId, encoded] = pair;
  const signature = typeof encoded === "string" ? fromBase64Url(encoded, 64) : undefined;
  if (typeof keyId !== "string" || !/^[0-9a-f]{8}$/.test(keyId) || signature === undefined) return undefined;
  return signatureLine({ name, keyId }, signature);
}
