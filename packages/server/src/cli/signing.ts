/**
 * Votes and key proofs. The content to sign is shown, its digest is recomputed, and the person signs it with their own
 * key, unlocked for this command.
 */
import {
  operationRow,
  type ChangeSetView,
  type OperationId,
  type PolicyDecision,
  type VoteDecision,
} from "@countersign/contract";
import {
  approvalDigest,
  keyProofBytes,
  revisionDigestOfItems,
  voteSigningBytes,
  type JsonObject,
  type PlannedItemParts,
} from "@countersign/proof";
import type { Input } from "@countersign/sdk";
import type { Cli } from "./cli.js";
import { CliError } from "./exit.js";
import { readKeys, refuseKeysInside, unlockKey, type KeyFile, type UnlockedKey } from "./keyFile.js";
import { show } from "./text.js";

// One unlock serves the steps of one command; it ends with the process.
const unlocked = new WeakMap<Cli, UnlockedKey>();

/** The person's key, unlocked. Throws `key_file_missing`, `keys_in_workspace`, `passphrase_wrong`. */
export async function unlock(cli: Cli, why: string): Promise<UnlockedKey> {
  const already = unlocked.get(cli);
  if (already !== undefined) return already;
  const key = await keyOf(cli);
  if (key === undefined) {
    const me = await cli.me();
    const help =
      me.principal.kind === "human" ? ["countersign enrol"] : ["countersign login --profile NAME   (as a person)"];
    throw new CliError(
      "key_file_missing",
      `there is no signing key of \`${me.principal.name}\` in \`${cli.folder}\`; enrol one to ${why}`,
      { help },
    );
  }
  refuseKeysInside(cli.folder, await workspaceRoots(cli));
  const opened = await unlockKey(key, await cli.passphrase(show`Passphrase of your signing key, to ${why}`));
  unlocked.set(cli, opened);
  return opened;
}

/** For a command that has just made the key. */
export function keepUnlocked(cli: Cli, key: UnlockedKey): void {
  unlocked.set(cli, key);
}

async function keyOf(cli: Cli): Promise<KeyFile | undefined> {
  const { tenant, principal } = await cli.me();
  const keys = readKeys(cli.folder, { tenant: tenant.id, principal: principal.id });
  return (
    keys.find((key) => key.keyId === cli.profile?.signingKey) ??
    keys.toSorted((a, b) => b.createdAt.localeCompare(a.createdAt))[0]
  );
}

/** Roots of registered workspaces; none where the caller may not see them: the server checks them again. */
async function workspaceRoots(cli: Cli): Promise<string[]> {
  const { permissions } = await cli.me();
  if (!permissions.includes("workspaces.read")) return [];
  const { rows } = await cli.client.listWorkspaces();
  return rows.filter((row) => row.status === "ACTIVE").map((row) => row.root);
}

/**
 * The input with a key proof, if the caller is a person with a key here; else unchanged, and the server says what is
 * missing.
 */
export async function proven<K extends OperationId>(
  cli: Cli,
  operation: K,
  input: Input<K>,
  why: string,
): Promise<Input<K>> {
  const me = await cli.me();
  if (me.principal.kind !== "human" || (await keyOf(cli)) === undefined) return input;
  // With its defaults written out, so the server hashes the same input.
  const checked = operationRow(operation).input.safeParse(input);
  if (!checked.success) return input;
  const key = await unlock(cli, why);
  const whole = JSON.parse(JSON.stringify(checked.data)) as JsonObject;
  const atMs = cli.terminal.nowMs();
  const signature = key.sign(
    keyProofBytes({ tenant: me.tenant.id, operation, input: whole, principal: me.principal.id, atMs }),
  );
  return { ...whole, proof: { keyId: key.keyId, atMs, signature } } as unknown as Input<K>;
}

/** The part of a policy decision that is signed: outcomes, without names of rules and versions. */
function policyOutcome(decision: PolicyDecision): JsonObject {
  return {
    outcome: decision.outcome,
    items: decision.items.map((item) => [item.sequence, item.outcome]),
    stages: decision.stages.map((stage) => ({ groups: stage.groups, quorum: stage.quorum })),
  };
}

/**
 * The digest to sign, recomputed from the shown content. INVARIANT: only the items, states before and after, route,
 * risk level and policy outcome on the screen are signed.
 */
export function checkedDigest(set: ChangeSetView): string {
  const { approvalDigest: said, revisionDigest: revision, route, riskLevel, policy } = set;
  if (said === null || route === null || riskLevel === null || policy === null) {
    throw new CliError("digest_differs", `change-set \`${set.number}\` is ${set.status}: there is nothing to vote on`, {
      help: [`countersign change-set show ${set.number}`],
    });
  }
  const items = revisionDigestOfItems(set.revisionNonce, set.items as unknown as PlannedItemParts[]);
  if (items !== revision) throw differs("revision", revision, items);
  const computed = approvalDigest({
    revision,
    route: route as JsonObject,
    riskLevel,
    policy: policyOutcome(policy as unknown as PolicyDecision),
  });
  if (computed === said) return said;
  throw differs("approval", said, computed);
}

function differs(what: "revision" | "approval", said: string, computed: string): CliError {
  const message = `the server's ${what} digest \`${said}\` is not the digest of the content it shows (\`${computed}\`); nothing was signed`;
  return new CliError("digest_differs", message, {
    help: ["countersign audit verify", "look at the versions of server and CLI: `countersign --version`"],
  });
}

export interface SignedVote {
  readonly digest: string;
  readonly decision: VoteDecision;
  readonly keyId: string;
  readonly atMs: number;
  readonly signature: string;
}

export async function signVote(
  cli: Cli,
  set: ChangeSetView,
  digest: string,
  decision: VoteDecision,
): Promise<SignedVote> {
  const { tenant, principal } = await cli.me();
  const verb = { APPROVED: "approve", REJECTED: "reject", ABSTAINED: "abstain on" }[decision];
  const key = await unlock(cli, `${verb} ${set.number}`);
  const atMs = cli.terminal.nowMs();
  const bytes = voteSigningBytes({
    tenant: tenant.id,
    changeSetId: set.id,
    approvalDigest: digest,
    decision,
    voterId: principal.id,
    atMs,
  });
  return { digest, decision, keyId: key.keyId, atMs, signature: key.sign(bytes) };
}
