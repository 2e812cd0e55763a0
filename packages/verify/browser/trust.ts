/**
 * What the auditor brings beside the bundle: policy, copies of anchors, receipts, statements of keys. Read whole, so each file
 * is bounded; whatever is wrong with one is said of it by name. Nothing here comes from the bundle.
 */
import {
  cosignatureOf,
  noTrust,
  parseCheckpoint,
  parseKeyStatement,
  parseKeyStatements,
  parsePolicy,
  parseTlogProof,
  policyBytesMax,
  verifyReceipt,
  type AnchoredCheckpoint,
  type AnchorView,
  type Policy,
  type Trust,
} from "@countersign/proof";
import { textOfUtf8 } from "./primitives/bytes.js";
import type { AnchorFiles, Job } from "./messages.js";
import { counted, formatCount } from "./visible.js";

export interface ReceiptReport {
  readonly name: string;
  readonly state: "holds" | "fails" | "undecided" | "unreadable";
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
  /** Undefined: it could not be read, and why. */
  readonly bytes: Uint8Array | undefined;
  readonly why: string;
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
const tileBytesMax = 256 * 32;
const smallBytesMax = 2 * 1024 * 1024;
const filesMax = 1000;

export async function loadTrust(job: Job): Promise<LoadedTrust> {
  const unused: { name: string; why: string }[] = [];
  const { policy, report } = await loadPolicy(job.policies[0]);
  const receipts = await Promise.all(job.receipts.slice(0, filesMax).map(loadReceipt));
  const anchors: AnchorView[] = [];
  for (const { name, origin, files, tiles } of job.anchors.slice(0, filesMax)) {
    const leafTile = await loadTiles(origin, tiles);
    for (const file of files.slice(0, filesMax)) {
      const read = await readAnchor(file);
      if (typeof read === "string") unused.push({ name: file.name, why: read });
      else anchors.push(...viewsOf(name, read, policy).map((view) => ({ ...view, ...leafTile })));
    }
  }
  for (const { name, bytes } of receipts) {
    const parsed = bytes === undefined ? undefined : parseTlogProof(bytes);
    if (parsed?.ok !== true) continue;
    const checkpoints = [{ checkpoint: parsed.proof.checkpoint, atMs: null }];
    anchors.push({ name, kind: "receipt", location: name, checkpoints });
  }
  anchors.push(...absentAnchors(anchors, policy));
  const keyStatements: string[] = [];
  for (const file of job.keys.slice(0, filesMax)) {
    const bytes = await readWhole(file, smallBytesMax);
    if (typeof bytes === "string") unused.push({ name: file.name, why: bytes });
    else {
      const statements = statementsOf(bytes);
      if (statements === undefined)
        unused.push({ name: file.name, why: "not key statements, each after its length in bytes" });
      else keyStatements.push(...statements);
    }
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

/** The leaves that an anchor keeps: with them the first altered entry is named, not only the checkpoints around it. */
async function loadTiles(origin: string, tiles: AnchorFiles["tiles"]): Promise<Pick<AnchorView, "leafTile">> {
  if (tiles.length === 0) return {};
  const widest = new Map<number, { readonly width: number; readonly file: File }>();
  for (const tile of tiles) if (tile.width > (widest.get(tile.index)?.width ?? 0)) widest.set(tile.index, tile);
  const leaves = new Map<number, Uint8Array>();
  for (const [index, { file }] of widest) {
    const bytes = await readWhole(file, tileBytesMax);
    if (typeof bytes !== "string") leaves.set(index, bytes);
  }
  return { leafTile: (index, of) => (of === origin ? leaves.get(index) : undefined) };
}

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
    const known = byName.get(id);
    const before = known?.checkpoints ?? [];
    const checkpoints = [...before, ...view.checkpoints].sort((a, b) => a.checkpoint.size - b.checkpoint.size);
    byName.set(id, { ...known, ...view, checkpoints: thinned(checkpoints), ...tilesOf(known, view) });
  }
  return [...byName.values()];
}

/** Each log of an anchor brings its own tiles. */
function tilesOf(one: AnchorView | undefined, other: AnchorView): Pick<AnchorView, "leafTile"> {
  const [first, second] = [one?.leafTile, other.leafTile];
  if (first === undefined || second === undefined) return {};
  return { leafTile: (index, origin) => first(index, origin) ?? second(index, origin) };
}

/** Anchors and witnesses that the policy names and nobody dropped: what they would say is not known. */
function absentAnchors(views: readonly AnchorView[], policy: Policy | undefined): AnchorView[] {
  return (policy?.anchors ?? [])
    .filter((anchor) => !views.some((view) => view.kind === anchor.kind && view.name === anchor.name))
    .map(({ name, kind, location }) => ({
      ...{ name, kind, location, checkpoints: [] },
      unreadable: "this page cannot look there; drop your copy of its `checkpoints`",
    }));
}

/** Statements each after its length in bytes, as they are kept; or one by itself. A file that was cut says less than it did: undefined. */
function statementsOf(bytes: Uint8Array): string[] | undefined {
  return parseKeyStatements(bytes) ?? (parseKeyStatement(bytes).ok ? [textOfUtf8(bytes)] : undefined);
}

// ---- receipts -------------------------------------------------------------------------------------------------------

async function loadReceipt(file: File): Promise<Receipt> {
  const bytes = await readWhole(file, smallBytesMax);
  return typeof bytes === "string"
    ? { name: file.name, bytes: undefined, why: bytes }
    : { name: file.name, bytes, why: "" };
}

/** Says of each receipt whether its entry is in a tree that somebody whom the auditor trusts has signed. */
export function judgeReceipts(receipts: readonly Receipt[], trust: Trust): ReceiptReport[] {
  return receipts.map(({ name, bytes, why }) => {
    if (bytes === undefined) return { name, state: "unreadable", detail: why };
    const { integrity, first, undecided, receipt } = verifyReceipt(bytes, { trust });
    const what =
      receipt === undefined
        ? ""
        : `entry ${formatCount(receipt.seq)} of ${receipt.origin}, hash ${receipt.hash}, in a tree of ${counted(receipt.size, "entry", "entries")}`;
    if (first !== undefined)
      return {
        name,
        state: integrity === "tampered" ? "fails" : "unreadable",
        detail: [first.detail ?? first.actual, what].filter((text) => text !== "").join(": "),
      };
    return integrity === "ok"
      ? { name, state: "holds", detail: what }
      : { name, state: "undecided", detail: `${undecided ?? "nobody you know signed it"}: ${what}` };
  });
}
