/**
 * Decides which signatures of the log count. A key counts if the verifier's policy pins it, or if it descends from a
 * pinned key by signed statements. Without a policy the keys are the ledger's own; they then show only that the ledger
 * agrees with itself.
 */
import { isSignedBy, type Checkpoint } from "./checkpoint.js";
import { parseNote } from "./note.js";
import { coversOrigin, type Policy } from "./policy.js";
import { readKeyHistory } from "./statements.js";

/** undecided: by a revoked key, and nobody says when. */
export type SignatureTrust = "trusted" | "revoked" | "undecided" | "untrusted";

export interface LogKey {
  readonly publicKey: string;
  readonly from: number;
  readonly fromMs: number;
  readonly revokedAtMs?: number | undefined;
}

/** When a signature is known to have been there. */
export interface SignatureTimes {
  /** Somebody outside held it then. */
  readonly heldAtMs?: number | undefined;
  /** A witness cosigned it then, the first time. */
  readonly cosignedAtMs?: number | undefined;
}

export interface LogKeysGiven {
  readonly deployment: string | undefined;
  readonly tenant: string;
  readonly policy: Policy | undefined;
  /** Statements that the verifier kept. The ledger's own statements may continue them, but not replace them. */
  readonly kept: readonly string[];
  /** Those of the ledger. */
  readonly statements: readonly string[];
}

export class LogKeys {
  /** False: by the ledger's own word. */
  readonly pinned: boolean;
  readonly keys: readonly LogKey[];
  /** Why not all of the ledger's statements count; undefined: they follow one another, and those that were kept. */
  readonly problem: string | undefined;
  readonly #signers = new Map<string, string | undefined>();

  constructor({ deployment, tenant, policy, kept, statements }: LogKeysGiven) {
    const pinned =
      deployment === undefined || policy === undefined ? [] : pinnedKeys(policy, `${deployment}/${tenant}`);
    this.pinned = policy !== undefined;
    const known = new Map<string, LogKey>(
      pinned.map((publicKey) => [publicKey, { publicKey, from: 0, fromMs: 0 } as const]),
    );
    const isContinued = continues(statements, kept);
    let problem = isContinued ? undefined : "they are others than those that were kept";
    for (const list of deployment === undefined ? [] : [kept, ...(isContinued ? [statements] : [])]) {
      if (list.length === 0) continue;
      const roots = this.pinned ? pinned : rootsOf(list, deployment as string);
      const history = readKeyHistory(list, { deployment: deployment as string, pinned: roots });
      if (list === statements) [problem] = history.problems;
      for (const key of history.keys) if (key.trusted) known.set(key.publicKey, merged(known.get(key.publicKey), key));
    }
    this.keys = [...known.values()].sort((a, b) => a.from - b.from);
    this.problem = problem;
  }

  /** The key that signed it, of those known; undefined if none did. */
  signerOf(checkpoint: Checkpoint): LogKey | undefined {
    const known = this.#signers.get(checkpoint.text);
    if (known !== undefined || this.#signers.has(checkpoint.text))
      return this.keys.find(({ publicKey }) => publicKey === known);
    const signer = this.keys.find(({ publicKey }) => isSignedBy(checkpoint, publicKey));
    this.#signers.set(checkpoint.text, signer?.publicKey);
    return signer;
  }

  /** Whether the log's signature on it counts. */
  trustOf(checkpoint: Checkpoint, times: () => SignatureTimes): SignatureTrust {
    const signer = this.signerOf(checkpoint);
    if (signer === undefined) return "untrusted";
    const { revokedAtMs } = signer;
    if (revokedAtMs === undefined) return "trusted";
    const { heldAtMs, cosignedAtMs } = times();
    if (Math.min(heldAtMs ?? Infinity, cosignedAtMs ?? Infinity) < revokedAtMs) return "trusted";
    return cosignedAtMs === undefined ? "undecided" : "revoked";
  }
}

/** A log line for one tenant pins its key for that one alone. `origin`: of the first incarnation. */
function pinnedKeys(policy: Policy, origin: string): string[] {
  return policy.logs
    .filter((log) => coversOrigin(log, origin) || log.key.name.startsWith(`${origin}/`))
    .map((log) => log.key.publicKey);
}

/**
 * Whether both are one chain, of which one may be longer. A key that was stolen and revoked can still sign a chain that forks off before
 * its revocation; a verifier that kept the true chain must not follow the other.
 */
function continues(statements: readonly string[], kept: readonly string[]): boolean {
  return statements.slice(0, kept.length).every((text, i) => textOf(text) === textOf(kept[i] as string));
}

/** Without signatures: their order says nothing. */
function textOf(statement: string): string {
  const parsed = parseNote(statement);
  return parsed.ok ? parsed.note.text : statement;
}

/** Without a pinned key: the first key of the ledger's own history stands for itself. */
function rootsOf(statements: readonly string[], deployment: string): string[] {
  return readKeyHistory(statements, { deployment, pinned: [] })
    .keys.slice(0, 1)
    .map(({ publicKey }) => publicKey);
}

function merged(known: LogKey | undefined, key: LogKey): LogKey {
  const revoked = [known?.revokedAtMs, key.revokedAtMs].filter((atMs) => atMs !== undefined);
  const { publicKey, from, fromMs } = key;
  return { publicKey, from, fromMs, ...(revoked.length > 0 ? { revokedAtMs: Math.min(...revoked) } : {}) };
}
