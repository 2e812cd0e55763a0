/**
 * The log keys for the signer: the key directory, compared with the deployment's ledger.
 *
 * Promises: a directory that belongs to another database, an older database or another deployment signs nothing, and the
 * reason says what to do · a new key is used from the next checkpoint on, without a restart · only the first start of a
 * deployment makes keys by itself.
 */
import { keyFailure, quoted } from "./failure.js";
import { keyStamp, makeKeyFolder, readDeployment, readPending, readPrivateKey, readStatements } from "./keyFolder.js";
import { finishPending, newDeploymentName, prepareRoot, recordedStatements } from "./keyChanges.js";
import { historyOf, type KeyParts, type OpenKeys } from "./keyHistory.js";
import { SignerMemory } from "./memory.js";
import { latestCheckpoint, statement, type CheckpointRow } from "./queries.js";

export class KeyRing {
  readonly #parts: KeyParts;
  #open: { readonly stamp: string; readonly keys: OpenKeys } | undefined;

  constructor(parts: KeyParts) {
    this.#parts = parts;
  }

  /** The keys known from the last reading. */
  get known(): OpenKeys | undefined {
    return this.#open?.keys;
  }

  /** Called before each round: reads changed files again. Throws `log_key_unusable`. */
  async current(): Promise<OpenKeys> {
    const stamp = await keyStamp(this.#parts.folder);
    if (this.#open?.stamp === stamp) return this.#open.keys;
    this.#open = undefined;
    await this.#begin();
    // Taken before the files are read: a change by another process meanwhile is read the next time.
    const found = await keyStamp(this.#parts.folder);
    const keys = await openKeys(this.#parts);
    this.#open = { stamp: found, keys };
    return keys;
  }

  /** The database may be another one by now. */
  forget(): void {
    this.#open = undefined;
  }

  /** Finishes a pending change. Makes the first keys if the deployment has none, and no other process has made them. */
  async #begin(): Promise<void> {
    const { folder, signer, clock } = this.#parts;
    const begun = (await readDeployment(folder)) !== undefined || (await readPending(folder)) !== undefined;
    if (!begun) {
      await assertNothingPublished(this.#parts);
      await makeKeyFolder(folder);
      await prepareRoot(folder, { deployment: newDeploymentName(), signer, atMs: clock.nowMs() });
    }
    await finishPending(this.#parts);
  }
}

/** Throws `log_key_unusable` where another key directory was used with this database. */
export async function assertNothingPublished(parts: KeyParts): Promise<void> {
  const recorded = await recordedStatements(parts);
  const rows = await parts.storage.withSnapshot(
    parts.deploymentTenant,
    async (client) => (await client.query<CheckpointRow>(statement(latestCheckpoint(parts.deploymentTenant)))).rows,
  );
  if (recorded.statements.length === 0 && rows.length === 0) return;
  throw keyFailure(
    `this database was published as \`${recorded.deployment ?? "another deployment"}\`, and ${quoted(parts.folder)} has no keys; put the key directory back from a backup, name it in COUNTERSIGN_LOG_KEYS, or make this copy a deployment of its own: \`countersign restore --as-clone --reason …\``,
  );
}

/** The present directory, compared with the ledger. Changes nothing. Throws `log_key_unusable`. */
export async function openKeys(parts: KeyParts): Promise<OpenKeys> {
  const keys = await readKeys(parts);
  const recorded = await recordedStatements(parts);
  const how = compareStatements(keys, recorded);
  if (how === "same") return keys;
  throw keyFailure(
    disagreement(how, { folder: parts.folder, deployment: keys.deployment, recorded: recorded.deployment }),
  );
}

/** The directory alone. Throws `log_key_unusable`. */
export async function readKeys({ folder, signer: injected }: Pick<KeyParts, "folder" | "signer">): Promise<OpenKeys> {
  const deployment = await readDeployment(folder);
  if (deployment === undefined)
    throw keyFailure(
      `there is no log key in ${quoted(folder)}; make one with \`countersign keys init\`, or put the key directory back from a backup`,
    );
  const statements = await readStatements(folder);
  const history = historyOf(statements, deployment);
  if (history === undefined)
    throw keyFailure(
      `the key statements in ${quoted(folder)} do not verify; put them back from a backup, or write them anew from the ledger: \`countersign keys repair\``,
    );
  const current = history.at(-1);
  const signer = injected ?? (await readPrivateKey(folder)).signer;
  if (current === undefined || signer.publicKey !== current.publicKey)
    throw keyFailure(
      `the log key \`${signer.publicKey}\` is not the current one of \`${deployment}\` (\`${current?.publicKey ?? "none"}\`); put the key directory back as a whole`,
    );
  return {
    folder,
    deployment,
    signer,
    number: current.from,
    publicKeys: history.map((key) => key.publicKey),
    revokedKeys: history.filter((key) => key.revokedAtMs !== undefined).map((key) => key.publicKey),
    statements,
    memory: new SignerMemory(folder),
  };
}

export type Comparison = "same" | "ledger_behind" | "folder_behind" | "other";

export function compareStatements(
  keys: Pick<OpenKeys, "deployment" | "statements">,
  recorded: { readonly deployment: string | undefined; readonly statements: readonly string[] },
): Comparison {
  if (recorded.deployment !== undefined && recorded.deployment !== keys.deployment) return "other";
  const common = Math.min(keys.statements.length, recorded.statements.length);
  for (let n = 0; n < common; n++) if (keys.statements[n] !== recorded.statements[n]) return "other";
  if (keys.statements.length === recorded.statements.length) return "same";
  return keys.statements.length > recorded.statements.length ? "ledger_behind" : "folder_behind";
}

function disagreement(
  how: Exclude<Comparison, "same">,
  { folder, deployment, recorded }: { folder: string; deployment: string; recorded: string | undefined },
): string {
  switch (how) {
    case "ledger_behind":
      return `the database does not know all keys of \`${deployment}\` in ${quoted(folder)}: it is older than the keys, or another database; if a backup was restored, declare it: \`countersign restore --reason …\`; for another database name another directory in COUNTERSIGN_LOG_KEYS`;
    case "folder_behind":
      return `the ledger knows newer keys of \`${deployment}\` than ${quoted(folder)} has; use the key directory that is current, or, if only its \`statements\` are old: \`countersign keys repair\``;
    case "other":
      return `${quoted(folder)} has the keys of \`${deployment}\`, and the database is that of \`${recorded ?? "another deployment"}\`; name the right directory in COUNTERSIGN_LOG_KEYS, or make this copy a deployment of its own: \`countersign restore --as-clone --reason …\``;
  }
}
