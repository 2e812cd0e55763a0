/** Types of the key directory: its options, its content, and the keys in its statements. */
import type { TenantId } from "@countersign/contract";
import { readKeyHistory, type NoteSigner } from "@countersign/proof";
import type { Clock } from "../platform/index.js";
import type { Storage } from "../storage/index.js";
import type { Door } from "./ports.js";
import type { Actor } from "../ledger/index.js";
import type { SignerMemory } from "./memory.js";

export interface KeyParts {
  /** The key directory. */
  readonly folder: string;
  /** Signs instead of the file `key`. */
  readonly signer?: NoteSigner | undefined;
  readonly storage: Pick<Storage, "withSnapshot">;
  readonly ledger: Pick<Door, "transact">;
  readonly deploymentTenant: TenantId;
  readonly actor: Actor;
  readonly clock: Clock;
}

export interface OpenKeys {
  readonly folder: string;
  readonly deployment: string;
  /** The current key. */
  readonly signer: NoteSigner;
  /** Number of its statement. */
  readonly number: number;
  /** Of the whole history, revoked ones too. */
  readonly publicKeys: readonly string[];
  /** Those whose signatures stopped counting at some moment. */
  readonly revokedKeys: readonly string[];
  readonly statements: readonly string[];
  readonly memory: SignerMemory;
}

export interface HistoricKey {
  readonly publicKey: string;
  readonly from: number;
  readonly fromMs: number;
  readonly revokedAtMs?: number;
}

/** The keys of a chain of statements, oldest first; the last is current. Undefined: the chain does not verify. */
export function historyOf(statements: readonly string[], deployment: string): readonly HistoricKey[] | undefined {
  const unpinned = readKeyHistory(statements, { deployment, pinned: [] });
  const root = unpinned.keys[0]?.publicKey;
  if (root === undefined) return undefined;
  const history = readKeyHistory(statements, { deployment, pinned: [root] });
  return history.problems.length === 0 && history.keys.every((key) => key.trusted) ? history.keys : undefined;
}
