/**
 * What the auditor brings beside the bundle: policy, copies of anchors, receipts, statements of keys. Read whole, so each file
 * is bounded; whatever is wrong with one is said of it by name. Nothing here comes from the bundle.
 */
import {
  cosignatureOf,
  isSignedBy,
  leafHashOf,
  noTrust,
  parseCheckpoint,
  parsePolicy,
  parseTlogProof,
  policyBytesMax,
  verifyTlogProof,
  type AnchoredCheckpoint,
  type AnchorView,
  type Checkpoint,
  type Policy,
  type TlogProof,
  type Trust,
} from "@countersign/proof";
import { hexOf, textOfUtf8 } from "./primitives/bytes.js";
import type { Job } from "./messages.js";
import { counted, formatCount } from "./visible.js";

export interface ReceiptReport {
  readonly name: string;
  readonly state: "holds" | "fails" | "unreadable";
  readonly detail: string;
}

export interface TrustReport {
  readonly policy: {
    readonly name: string;
    readonly problems: readonly { readonly line: number; readonly message: string }[];
  } | null;
  /** Files that could not be used, and why. */
  readonly unused: readonly { readonly name: string; readonly why: string }[];
  readonly receipts: readonly ReceiptReport[];
}

export interface Receipt {
  readonly name: string;
  readonly parsed: { readonly ok: true; readonly proof: TlogProof } | { readonly ok: false; readonly problem: string };
}

export interface LoadedTrust {
  readonly trust: Trust;
  readonly receipts: readonly Receipt[];
  readonly policy: TrustReport["policy"];
  readonly unused: TrustReport["unused"];
}

const checkpointsMax = 10_000;
/** 64 MiB: some 200,000 checkpoints. */
const anchorBytesMax = 64 * 1024 * 1024;
const smallBytesMax = 2 * 1024 * 1024;
const filesMax = 1000;

export async function loadTrust(job: Job): Promise<LoadedTrust> {
  const unused: { name: string; why: string }[] = [];
  const { policy, report } = await loadPolicy(job.policies[0]);
  const receipts = await Promise.all(job.receipts.slice(0, filesMax).map(loadReceipt));
  const anchors: AnchorView[] = [];
  for (const file of job.anchors.slice(0, filesMax)) {
    const read = await readAnchor(file);
    if (typeof read === "string") unused.push({ name: file.name, why: read });
    else anchors.push(...viewsOf(file.name, read, policy));
  }
  for (const { name, parsed } of receipts)
    if (parsed.ok)
      anchors.push({
        name,
        kind: "receipt",
        location: name,
        checkpoints: [{ checkpoint: parsed.proof.checkpoint, atMs: null }],
      });
  const keyStatements: string[] = [];
  for (const file of job.keys.slice(0, filesMax)) {
    const bytes = await readWhole(file, smallBytesMax);
    if (typeof bytes === "string") unused.push({ name: file.name, why: bytes });
    else keyStatements.push(...statementsOf(textOfUtf8(bytes)));
  }
  const policySource = job.policies[0]?.name ?? "none";
  const { requireAnchored } = job;
  const trust = { ...noTrust, policySource, keyStatements, anchors: joined(anchors), requireAnchored };
  return { trust: policy === undefined ? trust : { ...trust, policy }, receipts, policy: report, unused };
}

async function loadPolicy(
  file: File | undefined,
): Promise<{ policy: Policy | undefined; report: TrustReport["policy"] }> {
  if (file === undefined) return { policy: undefined, report: null };
  const bytes = await readWhole(file, policyBytesMax);
  if (typeof bytes === "string")
    return { policy: undefined, report: { name: file.name, problems: [{ line: 0, message: bytes }] } };
  const parsed = parsePolicy(bytes);
  return parsed.ok
    ? { policy: parsed.policy, report: { name: file.name, problems: [] } }
    : { policy: undefined, report: { name: file.name, problems: parsed.problems } };
}

/** The bytes of a small file, or why not. */
async function readWhole(file: File, bytesMax: number): Promise<Uint8Array | string> {
  if (file.size > bytesMax) return `it has ${formatCount(file.size)} bytes; at most ${formatCount(bytesMax)} are read`;
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch (error) {
    return error instanceof Error ? error.message : "it could not be read";
  }
}

// ---- anchors --------------------------------------------------------------------------------------------------------

/** Records of a file anchor (`<bytes> <received, ms>` and the note, again and again), or one signed note by itself. */
async function readAnchor(file: File): Promise<AnchoredCheckpoint[] | string> {
  const bytes = await readWhole(file, anchorBytesMax);
  if (typeof bytes === "string") return bytes;
  const records = recordsOf(bytes);
  if (records.length === 0) {
    const parsed = parseCheckpoint(bytes);
    return parsed.ok ? [{ checkpoint: parsed.checkpoint, atMs: null }] : `no checkpoints in it: ${parsed.problem}`;
  }
  const found: AnchoredCheckpoint[] = [];
  for (const { start, end, atMs } of thinned(records)) {
    const parsed = parseCheckpoint(bytes.subarray(start, end));
    if (!parsed.ok) return `a checkpoint in it: ${parsed.problem}`;
    found.push({ checkpoint: parsed.checkpoint, atMs });
  }
  return found.sort((a, b) => a.checkpoint.size - b.checkpoint.size);
}

interface NoteRecord {
  readonly start: number;
  readonly end: number;
  readonly atMs: number | null;
}

/** A record that is cut short at the end was never confirmed. */
function recordsOf(bytes: Uint8Array): NoteRecord[] {
  const records: NoteRecord[] = [];
  for (let at = 0; at < bytes.length;) {
    const start = bytes.indexOf(0x0a, at) + 1;
    const header =
      start > 0 && start - at <= 32
        ? /^(\d{1,7})(?: (\d{1,16}))?\n$/.exec(textOfUtf8(bytes.subarray(at, start)))
        : null;
    const end = start + Number(header?.[1]);
    if (header === null || end > bytes.length) break;
    records.push({ start, end, atMs: header[2] === undefined ? null : Number(header[2]) });
    at = end;
  }
  return records;
}

/** First, last, evenly between. */
function thinned<T>(all: readonly T[]): T[] {
  if (all.length <= checkpointsMax) return [...all];
  return Array.from(
    { length: checkpointsMax },
    (_, i) => all[Math.round((i * (all.length - 1)) / (checkpointsMax - 1))] as T,
  );
}

/**
 * Whose copy is it? A witness's, if the note carries its cosignature. An anchor's of the policy, if there is one only, or if the
 * file is named for it (`mine.checkpoints`). Otherwise it is held against the ledger under its own name and counts for no quorum.
 */
function viewsOf(name: string, checkpoints: readonly AnchoredCheckpoint[], policy: Policy | undefined): AnchorView[] {
  const newest = checkpoints.at(-1)?.checkpoint;
  const views: AnchorView[] = [];
  for (const { name: witness, key, url } of policy?.witnesses ?? []) {
    const cosigned = newest === undefined ? undefined : cosignatureOf(newest, key);
    if (newest === undefined || cosigned === undefined) continue;
    views.push({
      name: witness,
      kind: "witness",
      location: url ?? name,
      checkpoints: [{ checkpoint: newest, atMs: cosigned.atSeconds * 1000 }],
    });
  }
  const anchors = policy?.anchors ?? [];
  const named = anchors.filter((anchor) => name.split(/[^\p{L}\p{N}_-]+/u).includes(anchor.name));
  const [anchor] = anchors.length === 1 ? anchors : named.length === 1 ? named : [];
  if (anchor !== undefined)
    return [...views, { name: anchor.name, kind: anchor.kind, location: anchor.location, checkpoints }];
  return views.length > 0 ? views : [{ name, kind: "file", location: name, checkpoints }];
}

/** Several files of one anchor (`checkpoints`, `checkpoints.1`) are one view. */
function joined(views: readonly AnchorView[]): AnchorView[] {
  const byName = new Map<string, AnchorView>();
  for (const view of views) {
    const id = JSON.stringify([view.kind, view.name, view.location]);
    const before = byName.get(id)?.checkpoints ?? [];
    const checkpoints = [...before, ...view.checkpoints].sort((a, b) => a.checkpoint.size - b.checkpoint.size);
    byName.set(id, { ...view, checkpoints: thinned(checkpoints) });
  }
  return [...byName.values()];
}

/** One statement, or several one after another: each begins with its sentinel. */
function statementsOf(text: string): string[] {
  return text
    .split(/(?=^countersign\.log-key\.v1$)/m)
    .map((one) => one.replace(/\n+$/, "\n"))
    .filter((one) => one.startsWith("countersign.log-key.v1\n"));
}

// ---- receipts -------------------------------------------------------------------------------------------------------

async function loadReceipt(file: File): Promise<Receipt> {
  const bytes = await readWhole(file, smallBytesMax);
  if (typeof bytes === "string") return { name: file.name, parsed: { ok: false, problem: bytes } };
  return { name: file.name, parsed: parseTlogProof(bytes) };
}

/** Says of each receipt whether its entry is in a tree that a trusted key signed. `trustedKeys`: base64url. */
export function judgeReceipts(receipts: readonly Receipt[], trustedKeys: readonly string[]): ReceiptReport[] {
  return receipts.map(({ name, parsed }) =>
    parsed.ok ? { name, ...judge(parsed.proof, trustedKeys) } : { name, state: "unreadable", detail: parsed.problem },
  );
}

function judge(proof: TlogProof, trustedKeys: readonly string[]): Omit<ReceiptReport, "name"> {
  const { checkpoint, index, extra } = proof;
  const leaf = extra === undefined ? undefined : leafHashOf(extra);
  if (leaf === undefined)
    return {
      state: "unreadable",
      detail: "it does not carry the entry’s link, so it does not say which entry it is for",
    };
  const what = `entry ${formatCount(index)}, hash ${hexOf(leaf)}, in a tree of ${counted(checkpoint.size, "entry", "entries")}`;
  if (!verifyTlogProof(proof, leaf))
    return { state: "fails", detail: `the path does not lead from the entry to the signed root: ${what}` };
  if (!isSignedByAny(checkpoint, trustedKeys))
    return { state: "fails", detail: `the root is signed by no key that you trust: ${what}` };
  return { state: "holds", detail: what };
}

function isSignedByAny(checkpoint: Checkpoint, keys: readonly string[]): boolean {
  return keys.some((key) => isSignedBy(checkpoint, key));
}
