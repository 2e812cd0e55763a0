/**
 * Which signatures of the log count. Keys are pinned by the verifier's policy, or descend from a pinned one by signed
 * statements; without a policy they are the ledger's own, and then show nothing but that it agrees with itself.
 */
import { isSignedBy, type Checkpoint } from "./checkpoint.js";
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
  readonly policy: Policy | undefined;
  /** The verifier's own statements, and those of the ledger. */
  readonly statements: readonly (readonly string[])[];
}

export class LogKeys {
  /** False: by the ledger's own word. */
  readonly pinned: boolean;
  readonly keys: readonly LogKey[];
  readonly problems: readonly string[];
  readonly #signers = new Map<string, string | undefined>();

  constructor({ deployment, policy, statements }: LogKeysGiven) {
    const pinned = deployment === undefined || policy === undefined ? [] : pinnedKeys(policy, deployment);
    this.pinned = policy !== undefined;
    const known = new Map<string, LogKey>(
      pinned.map((publicKey) => [publicKey, { publicKey, from: 0, fromMs: 0 } as const]),
    );
    const problems: string[] = [];
    for (const list of deployment === undefined ? [] : statements) {
      if (list.length === 0) continue;
      const roots = this.pinned ? pinned : rootsOf(list, deployment as string);
      const history = readKeyHistory(list, { deployment: deployment as string, pinned: roots });
      problems.push(...history.problems);
      for (const key of history.keys) if (key.trusted) known.set(key.publicKey, merged(known.get(key.publicKey), key));
    }
    this.keys = [...known.values()].sort((a, b) => a.from - b.from);
    this.problems = problems;
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

function pinnedKeys(policy: Policy, deployment: string): string[] {
  // A log line for one tenant pins its key for that origin alone; whether it covers the origin is asked with the checkpoint.
  return policy.logs
    .filter((log) => coversOrigin(log, deployment) || log.key.name.startsWith(`${deployment}/`))
    .map((log) => log.key.publicKey);
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
