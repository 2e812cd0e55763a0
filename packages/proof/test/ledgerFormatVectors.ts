/**
 * The worked examples of `docs/ledger-format.md`, computed. `COUNTERSIGN_WRITE_VECTORS=1 npx vitest run
 * packages/proof/test/ledgerFormat.test.ts` writes them to `vectors/ledger-format/` and into the document; without it the same
 * test holds files and document to these values. They change with the format version and never otherwise.
 */
import {
  approvalDigest,
  bodyCommitment,
  BundleWriter,
  canonicalize,
  contentHashHex,
  entryContentText,
  entryHashHex,
  generateSigningKeyPair,
  linkText,
  nodeHash,
  revisionDigest,
  rowDigest,
  signMessage,
  voteSigningBytes,
  voteSigningText,
  zeroHash,
  type EntryContentInput,
  type StoredEntry,
} from "../src/index.js";

const tenant = "0199c000-0000-7000-8000-00000000000a";
const human = "0199c000-0000-7000-8000-0000000000b1";
const keyId = "0199c000-0000-7000-8000-0000000000c1";
const changeSetId = "0199c000-0000-7000-8000-0000000000d1";
const startMs = 1_790_000_000_000;
const salt = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
const actor = { type: "human", id: human, humans: [human] } as const;

// The seed of RFC 8032 §7.1, test 1: a key everybody knows.
const { publicKey, privateKey } = generateSigningKeyPair(
  Buffer.from("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "hex"),
);

const body = { name: "Ada Lovelace", note: "enrolled at the console: €10 “deposit”\n" };
const row = {
  created_ms: startMs,
  id: changeSetId,
  number: "CS-2026-1120-001",
  status: "APPROVED",
  tags: ["shop", "ui"],
  tenant_id: tenant,
  version: 3,
};
const revision = {
  nonce: "11".repeat(32),
  items: [
    {
      operation: "UPDATE",
      target: { kind: "resource", type: "CONFIG", id: "shop/checkout", environment: "production" },
      after: { retries: 3 },
    },
  ],
  bases: [{ item: 1, digest: "22".repeat(32) }],
  effects: [["production"]],
  reversibility: ["exact"],
};
const approval = {
  revision: revisionDigest(revision),
  route: { stages: [{ group: "reviewers", quorum: 1 }] },
  riskLevel: "MEDIUM",
  policy: { outcome: "require_approval" },
};
const voteParts = {
  tenant,
  changeSetId,
  approvalDigest: approvalDigest(approval),
  decision: "APPROVED",
  voterId: human,
  atMs: startMs + 5000,
};
const signature = signMessage(privateKey, voteSigningBytes(voteParts));

const contents: readonly Omit<EntryContentInput, "id" | "nonce" | "at" | "actor">[] = [
  {
    action: "principal.key_enrolled",
    subject: { type: "principal", id: human },
    data: { key: keyId, algorithm: "Ed25519", publicKey },
    state: [["signing_keys", keyId, 1, "33".repeat(32)]],
    body: { commitment: bodyCommitment(salt, body) },
  },
  {
    action: "change_set.vote_cast",
    subject: { type: "change_set", id: changeSetId },
    refs: [{ type: "principal", id: human }],
    data: {
      revision: approval.revision,
      digest: voteParts.approvalDigest,
      decision: "APPROVED",
      voter: human,
      key: keyId,
      atMs: voteParts.atMs,
      signature,
    },
    state: [["change_sets", changeSetId, 3, rowDigest(salt, row)]],
    counts: [["applies:2026-11", 1]],
  },
];

/** The two entries of the examples, the first with its body. */
export const exampleEntries: readonly StoredEntry[] = chainOf(contents);

function chainOf(inputs: typeof contents): StoredEntry[] {
  let prev = zeroHash;
  return inputs.map((input, seq) => {
    const at = startMs + seq * 6000;
    const id = `0199c000-0000-7000-8000-${String(seq).padStart(12, "0")}`;
    const content = entryContentText({ id, nonce: String(seq).repeat(32), at, actor, ...input });
    const link = { tenant, seq, timeMs: at + 7, prev, contentHash: contentHashHex(content) };
    prev = entryHashHex(link);
    const opened = seq === 0 ? { body: { salt: salt.toString("hex"), text: canonicalize(body) } } : {};
    return {
      tenantId: tenant,
      seq,
      timeMs: link.timeMs,
      entryId: id,
      prev: link.prev,
      content,
      contentHash: link.contentHash,
      hash: prev,
      ...opened,
    };
  });
}

function entryVector(entry: StoredEntry): unknown {
  const { tenantId, seq, timeMs, prev, content, contentHash, hash } = entry;
  const link = linkText({ tenant: tenantId, seq, timeMs, prev, contentHash });
  return { tenant: tenantId, seq, timeMs, prev, content, contentHash, link, hash };
}

function bundleText(): string {
  const writer = new BundleWriter();
  const last = exampleEntries.at(-1) as StoredEntry;
  const header = {
    deployment: "example",
    tenant,
    selection: "range",
    from: 0,
    to: last.seq,
    head: { seq: last.seq, hash: last.hash, timeMs: last.timeMs },
    bodies: "included",
    exportedAtMs: startMs + 60_000,
  } as const;
  return writer.header(header) + exampleEntries.map((entry) => writer.entry(entry)).join("") + writer.end();
}

const [first, second] = exampleEntries as [StoredEntry, StoredEntry];

/** File name → exact text. */
export const ledgerFormatVectors: Readonly<Record<string, string>> = {
  "entry-0.json": pretty(entryVector(first)),
  "entry-1.json": pretty(entryVector(second)),
  "node.json": pretty({
    left: first.hash,
    right: second.hash,
    hash: nodeHash(Buffer.from(first.hash, "hex"), Buffer.from(second.hash, "hex")).toString("hex"),
  }),
  "body.json": pretty({
    salt: salt.toString("hex"),
    body,
    text: canonicalize(body),
    commitment: bodyCommitment(salt, body),
  }),
  "row.json": pretty({ salt: salt.toString("hex"), row, digest: rowDigest(salt, row) }),
  "revision.json": pretty({ ...revision, digest: revisionDigest(revision) }),
  "approval.json": pretty({ ...approval, digest: approvalDigest(approval) }),
  "vote.json": pretty({ ...voteParts, bytes: voteSigningText(voteParts), publicKey, signature }),
  "bundle.jsonl": bundleText(),
};

function pretty(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
