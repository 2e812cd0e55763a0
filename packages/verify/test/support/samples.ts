/** A signed ledger as a bundle, the policy of an auditor who knows its key, an anchor's copy, a receipt: as the writer makes them. */
import {
  BundleWriter,
  formatTlogProof,
  formatVerifierKey,
  generateSigningKeyPair,
  inclusionProof,
  linkText,
  nodeHash,
  RightEdge,
  signCheckpoint,
  signerOf,
  verifierKey,
  type StoredEntry,
  type TreeNode,
} from "@countersign/proof";
import { chainOf, enrolled, plain, tenant, uuid, voted, voterOf, type Draft } from "../../../proof/test/chains.js";

const deployment = "countersign-4be1c0ffee00beef";
export const origin = `${deployment}/${tenant}`;
const logKey = generateSigningKeyPair(Buffer.alloc(32, 7));

export const ada = voterOf(1);
const bob = voterOf(2);
const human = (id: string) => ({ type: "human", id, humans: [id] }) as const;
const named = (id: string, name: string): Draft => ({
  action: "principal.created",
  subject: { type: "principal", id },
  body: { name },
});

/** People with keys, then change-sets created, approved, applied, one of them in an emergency, one rolled back. */
export function draftsOf(count: number, adaName = "Ada Lovelace"): Draft[] {
  const start = [named(ada.id, adaName), named(bob.id, "Bob Noyce"), enrolled(ada), enrolled(bob)];
  const subject = (i: number) => ({ type: "change_set", id: uuid("ccc", i) });
  const story = Array.from({ length: Math.max(0, count - start.length) }, (_, i): Draft => {
    const id = Math.floor(i / 5);
    switch (i % 5) {
      case 0:
        return { action: "change_set.created", subject: subject(id), ...(id === 3 ? { actor: human(ada.id) } : {}) };
      case 2:
        return voted(id % 2 === 0 ? bob : ada, {}, uuid("ccc", id));
      case 3:
        return id === 5
          ? { action: "change_set.apply_started", subject: subject(id), actor: human(ada.id), data: { as: "on_call" } }
          : plain(i);
      case 4:
        return { action: id % 9 === 8 ? "change_set.rolled_back" : "change_set.applied", subject: subject(id) };
      default:
        return plain(i);
    }
  });
  return [...start, ...story];
}

export interface Sample {
  readonly entries: readonly StoredEntry[];
  readonly bundle: Buffer;
  /** Names the log's key and demands nothing. */
  readonly policy: string;
  /** The same, and the anchor `mine` must have seen it. */
  readonly policyWithAnchor: string;
  checkpoint(size: number): Promise<string>;
  /** `checkpoints` of a file anchor that saw these sizes. */
  anchor(...sizes: number[]): Promise<string>;
  receipt(seq: number): Promise<string>;
}

export async function sampleOf(drafts: readonly Draft[]): Promise<Sample> {
  const entries = chainOf(drafts);
  const size = entries.length;
  const leaves = entries.map(({ hash }) => Buffer.from(hash, "hex"));
  const checkpoint = (of: number): Promise<string> => {
    const edge = new RightEdge();
    for (const leaf of leaves.slice(0, of)) edge.append(leaf);
    return signCheckpoint({ origin, size: of, root: edge.root() }, signerOf(logKey));
  };
  const { seq, hash, timeMs } = entries[size - 1] as StoredEntry;
  const writer = new BundleWriter();
  const parts = [
    writer.header({
      ...{ deployment, tenant, selection: "range", from: 0, to: size - 1, head: { seq, hash, timeMs } },
      ...{ bodies: "included", exportedAtMs: timeMs + 60_000 },
    }),
    writer.proofs({ checkpoints: [{ note: await checkpoint(size) }] }),
    ...entries.map((entry) => writer.entry(entry)),
    writer.end(),
  ];
  const log = `log ${formatVerifierKey(verifierKey({ name: deployment, type: 1, publicKey: logKey.publicKey }))}\n`;
  return {
    entries,
    bundle: Buffer.from(parts.join("")),
    policy: `${log}quorum none\n`,
    policyWithAnchor: `${log}anchor mine file /srv/audit/anchor\nquorum mine\n`,
    checkpoint,
    anchor: async (...sizes) => {
      const notes = await Promise.all(sizes.map(checkpoint));
      return notes.map((note, i) => `${Buffer.byteLength(note)} ${timeMs + 1000 + i}\n${note}`).join("");
    },
    receipt: async (index) => {
      const entry = entries[index] as StoredEntry;
      const read = (nodes: readonly TreeNode[]) => nodes.map((node) => nodeOf(leaves, node));
      return formatTlogProof({
        index,
        proof: await inclusionProof(index, size, read),
        checkpoint: await checkpoint(size),
        extra: Buffer.from(linkText({ ...entry, tenant })),
      });
    },
  };
}

function nodeOf(leaves: readonly Uint8Array[], { level, index }: TreeNode): Uint8Array {
  if (level === 0) return leaves[index] as Uint8Array;
  const below = (at: number): Uint8Array => nodeOf(leaves, { level: level - 1, index: at });
  return nodeHash(below(2 * index), below(2 * index + 1));
}
