/**
 * Verifies what was dropped: reads the files piece by piece, so that a bundle of any size takes the same memory, and hands
 * them to the core. Runs in a worker, or on the page itself where a browser allows no worker; knows nothing of either.
 */
import {
  exitCodeOf,
  Sha256Stream,
  Summary,
  verifyBundle,
  type BundleResult,
  type SummaryResult,
} from "@countersign/proof";
import type { Answer, Job, Report } from "./messages.js";
import { judgeReceipts, loadTrust, type LoadedTrust } from "./trust.js";

const pieceBytes = 1024 * 1024;

export interface EngineOptions {
  readonly answer: (answer: Answer) => void;
  /** Called between pieces: a page draws itself meanwhile. */
  readonly breathe: () => Promise<void> | void;
}

export async function runJob(job: Job, { answer, breathe }: EngineOptions): Promise<void> {
  try {
    answer({ kind: "report", report: await verifyJob(job, answer, breathe) });
  } catch (error) {
    answer({ kind: "failed", why: error instanceof Error ? error.message : String(error) });
  }
}

async function verifyJob(
  job: Job,
  answer: EngineOptions["answer"],
  breathe: EngineOptions["breathe"],
): Promise<Report> {
  const startedMs = performance.now();
  const loaded = await loadTrust(job);
  const digest = new Sha256Stream();
  const totalBytes = job.bundle.size;
  const summary = new Summary();
  let entries = 0;
  let readBytes = 0;

  /** The next piece of the file, whoever asks for it. */
  async function next(): Promise<Uint8Array> {
    const piece = new Uint8Array(await job.bundle.slice(readBytes, readBytes + pieceBytes).arrayBuffer());
    readBytes += piece.length;
    if (piece.length === 0) throw new Error("the file became shorter while it was read");
    digest.update(piece);
    answer({ kind: "progress", readBytes, totalBytes, entries });
    await breathe();
    return piece;
  }
  async function* pieces(): AsyncGenerator<Uint8Array, void, undefined> {
    while (readBytes < totalBytes) yield await next();
  }

  const result = await verifyBundle(pieces(), {
    trust: loaded.trust,
    summary,
    clock: () => performance.now(),
    onProgress: (read) => (entries = read),
  });
  // The core stops where nothing can follow; what is said of a file names the whole of it by its hash.
  while (readBytes < totalBytes && result.undecided === undefined) await next();
  return {
    file: { name: job.bundle.name, bytes: totalBytes, sha256: readBytes === totalBytes ? digest.hex() : null },
    exitCode: exitCodeOf(result),
    durationMs: performance.now() - startedMs,
    trust: {
      policy: loaded.policy,
      unused: loaded.unused,
      receipts: judgeReceipts(loaded.receipts, trustedKeys(loaded, result)),
    },
    summary: plainSummary(summary.result),
    result,
  };
}

/** The lists as data: what goes to the page and into a file has no methods. */
function plainSummary(summary: SummaryResult): SummaryResult {
  return JSON.parse(JSON.stringify(summary)) as SummaryResult;
}

/** Named in the policy, or descending from one that is. */
function trustedKeys({ trust }: LoadedTrust, { checkpoints }: BundleResult): string[] {
  const descended = checkpoints.signedBy.filter((key) => key.trust === "pinned").map((key) => key.publicKey);
  return [...(trust.policy?.logs ?? []).map((log) => log.key.publicKey), ...descended];
}
