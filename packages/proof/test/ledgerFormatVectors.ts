/**
 * The worked examples of `docs/ledger-format.md`, computed. `COUNTERSIGN_WRITE_VECTORS=1 npx vitest run
 * packages/proof/test/ledgerFormat.test.ts` writes them to `vectors/ledger-format/` and into the document; without it the same
 * test holds files and document to these values. They change with the format version and never otherwise.
 */
import { hexOf, utf8Bytes } from "../src/bytes.js";
import {
  appendSignature,
  approvalDigest,
  bodyCommitment,
  BundleWriter,
  canonicalize,
  consistencyProof,
  contentHashHex,
  cosignatureMessage,
  encodeEntries,
  entryContentText,
  entryHashHex,
  formatReceipt,
  formatVerifierKey,
  generateSigningKeyPair,
  inclusionProof,
  keyStatementText,
  leafHashOf,
  linkText,
  nodeHash,
  nodesFromTiles,
  originOf,
  parseCheckpoint,
  revisionDigest,
  RightEdge,
  rowDigest,
  signCheckpoint,
  signCosignature,
  signerOf,
  signKeyStatement,
  signMessage,
  signRestoreStatement,
  statementHash,
  verifierKey,
  voteSigningBytes,
  voteSigningText,
  zeroHash,
  type Checkpoint,
  type EntryContentInput,
  type KeyStatement,
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
  const head = writer.header(header);
  const proofs = writer.proofs({ keyStatements: statements.slice(0, 1), checkpoints: [{ note: checkpoint }] });
  return head + proofs + exampleEntries.map((entry) => writer.entry(entry)).join("") + writer.end();
}

const [first, second] = exampleEntries as [StoredEntry, StoredEntry];

// ---- the tree and what is signed of it ----

/** A tree of seven leaves: the texts 0 to 6. */
const leaves = Array.from({ length: 7 }, (_, n) => String(n));
const leafHashes = leaves.map((leaf) => leafHashOf(utf8Bytes(leaf)) as Uint8Array);
const edgeOver = (hashes: readonly Uint8Array[]): RightEdge => {
  const edge = new RightEdge();
  for (const hash of hashes) edge.append(hash);
  return edge;
};
const tileOf = (hashes: readonly Uint8Array[]): Uint8Array => Buffer.concat(hashes);
const treeNodes = nodesFromTiles(leaves.length, () => tileOf(leafHashes));

async function treeVector(): Promise<unknown> {
  return {
    leaves,
    leafHashes: leafHashes.map(hexOf),
    roots: [0, 1, 2, 3, 4, 5, 6, 7].map((size) => hexOf(edgeOver(leafHashes.slice(0, size)).root())),
    edge: { size: 7, hashes: edgeOver(leafHashes).hashes().map(hexOf) },
    inclusion: { index: 4, size: 7, proof: (await inclusionProof(4, 7, treeNodes)).map(hexOf) },
    consistency: { from: 3, to: 7, proof: (await consistencyProof(3, 7, treeNodes)).map(hexOf) },
  };
}

const links = exampleEntries.map(({ tenantId, seq, timeMs, prev, contentHash }) =>
  utf8Bytes(linkText({ tenant: tenantId, seq, timeMs, prev, contentHash })),
);
const entryHashes = exampleEntries.map(({ hash }) => Buffer.from(hash, "hex"));
const tilesVector = [
  { path: "tile/0/000.p/2", bytes: hexOf(tileOf(entryHashes)) },
  { path: "tile/entries/000.p/2", bytes: hexOf(encodeEntries(links)) },
];

// The seeds of RFC 8032 §7.1, tests 2 and 3.
const witness = generateSigningKeyPair(
  Buffer.from("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb", "hex"),
);
const nextKey = generateSigningKeyPair(
  Buffer.from("c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7", "hex"),
);
const [logSigner, nextSigner] = [signerOf({ publicKey, privateKey }), signerOf(nextKey)];
const origin = originOf({ deployment: "example", tenant, incarnation: 0 });
const witnessName = "witness.example";
const witnessKey = verifierKey({ name: witnessName, type: 4, publicKey: witness.publicKey });
const deploymentKey = verifierKey({ name: "example", type: 1, publicKey });
const cosignedAtSeconds = startMs / 1000 + 60;
const signedCheckpoint = await signCheckpoint({ origin, size: 2, root: edgeOver(entryHashes).root() }, logSigner);
const read = parseCheckpoint(signedCheckpoint) as { readonly checkpoint: Checkpoint };
const checkpoint = appendSignature(
  signedCheckpoint,
  await signCosignature(read.checkpoint, {
    name: witnessName,
    signer: signerOf(witness),
    atSeconds: cosignedAtSeconds,
  }),
);
const keysVector = {
  log: { name: origin, publicKey, keyId: verifierKey({ name: origin, type: 1, publicKey }).keyId },
  witness: { name: witnessName, publicKey: witness.publicKey, keyId: witnessKey.keyId },
  vkeys: [formatVerifierKey(deploymentKey), formatVerifierKey(witnessKey)],
  cosigned: Buffer.from(cosignatureMessage(read.checkpoint.note.text, cosignedAtSeconds)).toString("utf8"),
};
const firstLink = Buffer.from(links[0] as Uint8Array).toString("utf8");
const firstPath = await inclusionProof(
  0,
  2,
  nodesFromTiles(2, () => tileOf(entryHashes)),
);
const receiptWith = (given: { readonly checkpoint: string; readonly keyStatements: readonly string[] }): string =>
  formatReceipt({ index: 0, proof: firstPath, link: firstLink, ...given }).text;
const policy = `# what an auditor of the deployment \`example\` demands
log ${formatVerifierKey(deploymentKey)}
witness W ${formatVerifierKey(witnessKey)} https://witness.example/
anchor books git /srv/anchors/example.git
anchor disk file /mnt/other machine/anchors
group copies any books disk
group all-of-it all W copies
quorum all-of-it
`;

async function keyStatements(): Promise<string[]> {
  const steps = [
    { kind: "root", key: publicKey, signers: [logSigner] },
    { kind: "rotate", key: nextKey.publicKey, signers: [logSigner, nextSigner] },
    { kind: "revoke", key: publicKey, signers: [nextSigner] },
  ] as const;
  const notes: string[] = [];
  let previous = zeroHash;
  for (const [number, { kind, key, signers }] of steps.entries()) {
    const statement: KeyStatement = {
      deployment: "example",
      number,
      previous,
      kind,
      key,
      atMs: startMs + number * 1000,
    };
    notes.push(await signKeyStatement(statement, signers));
    previous = statementHash(keyStatementText(statement));
  }
  return notes;
}

const statements = await keyStatements();
const restore = await signRestoreStatement(
  {
    origin,
    incarnation: 1,
    size: 1,
    root: edgeOver(entryHashes.slice(0, 1)).root(),
    lostSize: 2,
    lostRoot: edgeOver(entryHashes).root(),
    atMs: startMs + 90_000,
  },
  logSigner,
);

const root = edgeOver(entryHashes).root();
const receipt = receiptWith({ checkpoint, keyStatements: statements.slice(0, 1) });
const receiptAfterRotation = receiptWith({
  checkpoint: await signCheckpoint({ origin, size: 2, root }, nextSigner),
  keyStatements: statements,
});

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
  "tree.json": pretty(await treeVector()),
  "tiles.json": pretty(tilesVector),
  "keys.json": pretty(keysVector),
  "checkpoint.txt": checkpoint,
  "receipt.tlog-proof": receipt,
  "receipt-after-rotation.tlog-proof": receiptAfterRotation,
  "policy.txt": policy,
  "key-statements.json": pretty(statements),
  "restore.txt": restore,
  "bundle.jsonl": bundleText(),
};

function pretty(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`;
}
