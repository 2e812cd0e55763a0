/** Signed checkpoints, anchors and policies over the synthetic ledgers of `chains.ts`. Deterministic. */
import {
  appendSignature,
  formatVerifierKey,
  generateSigningKeyPair,
  originOf,
  parseCheckpoint,
  parsePolicy,
  RightEdge,
  signCheckpoint,
  signCosignature,
  signerOf,
  signKeyStatement,
  statementHash,
  parseKeyStatement,
  verifierKey,
  zeroHash,
  type AnchoredCheckpoint,
  type AnchorView,
  type Checkpoint,
  type Policy,
  type StoredEntry,
  type Trust,
} from "../src/index.js";
import { startMs, tenant } from "./chains.js";

const bytesOf = (hex: string): Uint8Array => Buffer.from(hex, "hex");

export const deployment = "ledger.example";
export const keyOf = (seed: number): ReturnType<typeof generateSigningKeyPair> =>
  generateSigningKeyPair(Buffer.alloc(32, seed));
export const logKey = keyOf(41);
export const nextKey = keyOf(42);
export const thiefKey = keyOf(43);
export const witnessKeys = [keyOf(51), keyOf(52), keyOf(53)];
export const witnessName = (n: number): string => `witness-${n}.example`;

export function edgeAt(entries: readonly StoredEntry[], size: number): RightEdge {
  const edge = new RightEdge();
  for (const { hash } of entries.slice(0, size)) edge.append(bytesOf(hash));
  return edge;
}
export const rootAt = (entries: readonly StoredEntry[], size: number): Uint8Array => edgeAt(entries, size).root();

export interface CheckpointOptions {
  readonly key?: { readonly publicKey: string; readonly privateKey: string };
  readonly incarnation?: number;
  /** [witness, seconds after the start] */
  readonly cosigned?: readonly (readonly [number, number])[];
  readonly root?: Uint8Array;
  readonly of?: string;
}

export async function checkpointAt(
  entries: readonly StoredEntry[],
  size: number,
  { key = logKey, incarnation = 0, cosigned = [], root, of = tenant }: CheckpointOptions = {},
): Promise<Checkpoint> {
  const origin = originOf({ deployment, tenant: of, incarnation });
  let text = await signCheckpoint({ origin, size, root: root ?? rootAt(entries, size) }, signerOf(key));
  for (const [witness, seconds] of cosigned) {
    const keys = witnessKeys[witness] as typeof logKey;
    const by = { name: witnessName(witness), signer: signerOf(keys), atSeconds: startMs / 1000 + seconds };
    text = appendSignature(text, await signCosignature(parsed(text), by));
  }
  return parsed(text);
}

export function parsed(text: string): Checkpoint {
  const result = parseCheckpoint(text);
  if (!result.ok) throw new Error(result.problem);
  return result.checkpoint;
}

/** Its leaf tiles are those of `entries`, as far as its last checkpoint goes. */
export function anchorOf(
  name: string,
  checkpoints: readonly Checkpoint[],
  more: Partial<AnchorView> & { readonly leaves?: readonly StoredEntry[]; readonly atMs?: number | null } = {},
): AnchorView {
  const { leaves, atMs = startMs + 500_000, ...others } = more;
  const last = checkpoints.at(-1)?.size ?? 0;
  const tile = (index: number): Uint8Array | undefined => {
    const hashes = leaves?.slice(index * 256, Math.min(last, index * 256 + 256)).map(({ hash }) => bytesOf(hash));
    return hashes === undefined || hashes.length === 0 ? undefined : Buffer.concat(hashes);
  };
  return {
    name,
    kind: "file",
    location: `/anchors/${name}`,
    checkpoints: checkpoints.map((checkpoint): AnchoredCheckpoint => ({ checkpoint, atMs })),
    ...(leaves === undefined ? {} : { leafTile: tile }),
    ...others,
  };
}

const vkeyOf = (name: string, publicKey: string, type: 1 | 4 = 1): string =>
  formatVerifierKey(verifierKey({ name, type, publicKey }));

export function policyOf(
  quorum: string,
  more: {
    readonly anchors?: readonly string[];
    readonly key?: typeof logKey;
    readonly log?: string;
    readonly groups?: readonly string[];
  } = {},
): Policy {
  const { anchors = ["a"], key = logKey, log = deployment, groups = [] } = more;
  const lines = [
    `log ${vkeyOf(log, key.publicKey)}`,
    ...witnessKeys.map(({ publicKey }, n) => `witness w${n} ${vkeyOf(witnessName(n), publicKey, 4)}`),
    ...anchors.map((name) => `anchor ${name} file /anchors/${name}`),
    ...groups,
    `quorum ${quorum}`,
  ];
  const result = parsePolicy(`${lines.join("\n")}\n`);
  if (!result.ok) throw new Error(result.problems.map(({ line, message }) => `${line}: ${message}`).join("\n"));
  return result.policy;
}

export function trustOf(more: Partial<Trust> = {}): Trust {
  return { policySource: "policy", keyStatements: [], anchors: [], ...more };
}

export interface KeyStep {
  readonly kind: "root" | "rotate" | "revoke";
  readonly key: typeof logKey;
  readonly by?: readonly (typeof logKey)[];
  readonly atMs?: number;
}

/** A root, and rotations and revocations after it. */
export async function statementsOf(...steps: readonly KeyStep[]): Promise<string[]> {
  const texts: string[] = [];
  let previous = zeroHash;
  for (const [number, { kind, key, by = [key], atMs = startMs }] of steps.entries()) {
    const statement = { deployment, number, previous, kind, key: key.publicKey, atMs };
    const text = await signKeyStatement(statement, by.map(signerOf));
    const read = parseKeyStatement(text);
    if (!read.ok) throw new Error(read.problem);
    previous = statementHash(read.statement.note.text);
    texts.push(text);
  }
  return texts;
}
