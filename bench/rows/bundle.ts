/**
 * Verifying an exported bundle offline, from a file: with and without following the tree for a signed checkpoint. Against the
 * least that checking can cost (the hash of the same bytes, in memory).
 */
import { hash } from "node:crypto";
import { closeSync, createReadStream, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  BundleWriter,
  contentHashHex,
  entryContentText,
  entryHasher,
  generateSigningKeyPair,
  originOf,
  RightEdge,
  signCheckpoint,
  signerOf,
  signKeyStatement,
  verifyBundle,
  zeroHash,
} from "../../packages/proof/src/index.js";
import type { Bench, Measured, Row, Sample } from "../row.js";

const entriesMax = Number(process.env["COUNTERSIGN_BENCH_ENTRIES"] ?? 1_000_000);
const tenant = "0199c000-0000-7000-8000-00000000000a";
const deployment = "bench.example";
const startMs = 1_790_000_000_000;

interface Made {
  readonly folder: string;
  readonly path: string;
  readonly contentBytes: number;
}

/** Contents as those of verify.ts: about 800 bytes. */
function* contents(): Generator<string> {
  for (let seq = 0; seq < entriesMax; seq++) {
    const nonce = seq.toString(16).padStart(32, "0");
    const id = `0199c000-0000-7000-8000-${seq.toString(16).padStart(12, "0")}`;
    const data = { revision: 3, digest: nonce.repeat(2), decision: "APPROVED", padding: nonce.repeat(8) };
    const actor = { type: "agent", id, humans: [id] } as const;
    const subject = { type: "change_set", id };
    yield entryContentText({ id, nonce, at: startMs, actor, action: "change_set.approved", subject, data });
  }
}

/** Twice over the entries: the checkpoint stands before them and needs the root of all. */
async function make(bench: Bench, proven: boolean): Promise<Made> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-bench-"));
  const path = join(folder, "ledger.bundle");
  const chain = entryHasher(tenant);
  const edge = new RightEdge();
  let [prev, contentBytes] = [zeroHash, 0];
  for (const content of proven ? contents() : []) {
    prev = chain(edge.size, startMs, prev, contentHashHex(content));
    edge.append(Buffer.from(prev, "hex"));
  }
  const keys = signerOf(generateSigningKeyPair(Buffer.alloc(32, 7)));
  const root = { deployment, number: 0, previous: zeroHash, kind: "root", key: keys.publicKey, atMs: startMs } as const;
  const origin = originOf({ deployment, tenant, incarnation: 0 });
  const note = await signCheckpoint({ origin, size: edge.size, root: edge.root() }, keys);
  const file = openSync(path, "w");
  const writer = new BundleWriter();
  const head = { seq: entriesMax, hash: zeroHash, timeMs: startMs };
  const range = { selection: "range", from: 0, to: entriesMax - 1, bodies: "withheld", exportedAtMs: startMs } as const;
  writeSync(file, writer.header({ deployment, tenant, head, ...range }));
  if (proven)
    writeSync(file, writer.proofs({ keyStatements: [await signKeyStatement(root, [keys])], checkpoints: [{ note }] }));
  prev = zeroHash;
  let [seq, text] = [0, ""];
  for (const content of contents()) {
    const contentHash = contentHashHex(content);
    const hash = chain(seq, startMs, prev, contentHash);
    text += writer.entry({ tenantId: tenant, seq, timeMs: startMs, entryId: null, prev, hash, contentHash, content });
    [prev, contentBytes, seq] = [hash, contentBytes + content.length, seq + 1];
    if (seq % 1000 === 0) text = flush(file, text);
    if (seq % 100_000 === 0) bench.progress(`writing a bundle: ${seq} of ${entriesMax}`);
  }
  writeSync(file, text + writer.end());
  closeSync(file);
  return { folder, path, contentBytes };
}

function flush(file: number, text: string): string {
  writeSync(file, text);
  return "";
}

async function verified({ path }: Made): Promise<Sample> {
  const before = process.memoryUsage().rss;
  const begin = performance.now();
  const result = await verifyBundle(createReadStream(path, { highWaterMark: 1 << 20 }));
  const ms = performance.now() - begin;
  if (result.integrity !== "ok" || result.entries !== entriesMax)
    throw new Error(`not verified: ${JSON.stringify(result.findings)} ${result.undecided ?? ""}`);
  const grownMb = (process.memoryUsage().rss - before) / 1e6;
  if (grownMb > 200) throw new Error(`memory grew by ${grownMb.toFixed(0)} MB`);
  return { value: (entriesMax * 1000) / ms };
}

function hashed({ contentBytes }: Made): Sample {
  const piece = Buffer.alloc(Math.round(contentBytes / entriesMax), "x");
  const link = Buffer.alloc(200, "y");
  const begin = performance.now();
  for (let i = 0; i < entriesMax; i++) {
    hash("sha256", piece, "hex");
    hash("sha256", link, "hex");
  }
  return { value: (entriesMax * 1000) / (performance.now() - begin) };
}

async function measure(bench: Bench, proven: boolean): Promise<Measured> {
  const made = await make(bench, proven);
  return {
    ours: () => verified(made),
    reference: () => Promise.resolve(hashed(made)),
    close: () => Promise.resolve(rmSync(made.folder, { recursive: true })),
  };
}

const common = {
  unit: "entries/s",
  conditions: `${entriesMax.toLocaleString("en")} entries of about 800 bytes, from a file`,
  referenceIs: "crypto.hash of the same bytes in memory",
} as const;

export const bundleRows: readonly Row[] = [
  {
    ...common,
    name: "verify-bundle",
    work: "an exported bundle verified offline, its tree followed to a signed checkpoint",
    goal: { text: "≥ 0.5×, constant memory", ratioMin: 0.5 },
    prepare: (bench) => measure(bench, true),
  },
  {
    ...common,
    name: "verify-bundle-chain",
    work: "the same without a checkpoint: the chain alone",
    goal: { text: "≥ 0.5×, constant memory", ratioMin: 0.5 },
    prepare: (bench) => measure(bench, false),
  },
];
