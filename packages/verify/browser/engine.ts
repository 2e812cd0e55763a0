/**
 * Verifies what was dropped: reads the files piece by piece, so that a bundle of any size takes the same memory, and hands
 * them to the core. Runs in a worker, or on the page itself where a browser allows no worker; knows nothing of either.
 */
import { exitCodeOf, Sha256Stream, Summary, verifyBundle, type SummaryResult } from "@countersign/proof";
import type { Answer, Job, Report } from "./messages.js";
import { endsOf, readArchive, withArchives, type Archive } from "../src/archives.js";
import { judgeReceipts, loadTrust } from "./trust.js";

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
  const totalBytes = [job.bundle, ...job.archives].reduce((sum, file) => sum + file.size, 0);
  let entries = 0;
  let readBytes = 0;
  const reading = new Reading(async (bytes) => {
    readBytes += bytes;
    answer({ kind: "progress", readBytes, totalBytes, entries });
    await breathe();
  });

  const { trust, receipts, policy, unused } = await loadTrust(job);
  const archives: Archive[] = [];
  for (const file of job.archives) archives.push(await readArchive(file.name, reading.pieces(file), undefined));
  const summary = new Summary();
  const bundle = reading.pieces(job.bundle);
  const read = await verifyBundle(bundle, {
    trust,
    summary,
    ...(archives.length > 0 ? { hashesAt: endsOf(archives) } : {}),
    clock: () => performance.now(),
    onProgress: (count) => (entries = count),
  });
  const result = withArchives(read, archives);
  return {
    file: { name: job.bundle.name, bytes: job.bundle.size, sha256: await reading.digest(job.bundle) },
    exitCode: exitCodeOf(result),
    durationMs: performance.now() - startedMs,
    trust: { policy, unused, receipts: judgeReceipts(receipts, trust) },
    archives: archives.map(({ path, sha256, result: { entries: count } }) => ({ name: path, sha256, entries: count })),
    summary: plainSummary(summary.result),
    result,
  };
}

/** Reads files piece by piece and hashes what it reads. */
class Reading {
  readonly #read: (bytes: number) => Promise<void>;
  readonly #files = new Map<File, { readonly hash: Sha256Stream; at: number }>();

  constructor(read: (bytes: number) => Promise<void>) {
    this.#read = read;
  }

  async *pieces(file: File): AsyncGenerator<Uint8Array, void, undefined> {
    const state = { hash: new Sha256Stream(), at: 0 };
    this.#files.set(file, state);
    while (state.at < file.size) yield await this.#next(file, state);
  }

  /** SHA-256 of the whole file: the core stops where nothing can follow, what is said of a file names all of it. */
  async digest(file: File): Promise<string | null> {
    const state = this.#files.get(file);
    if (state === undefined) return null;
    try {
      while (state.at < file.size) await this.#next(file, state);
      return state.hash.hex();
    } catch {
      // The verdict says already that the file could not be read.
      return null;
    }
  }

  async #next(file: File, state: { readonly hash: Sha256Stream; at: number }): Promise<Uint8Array> {
    const piece = new Uint8Array(await file.slice(state.at, state.at + pieceBytes).arrayBuffer());
    if (piece.length === 0) throw new Error("the file became shorter while it was read");
    state.at += piece.length;
    state.hash.update(piece);
    await this.#read(piece.length);
    return piece;
  }
}

/** The lists as data: what goes to the page and into a file has no methods. */
function plainSummary(summary: SummaryResult): SummaryResult {
  return JSON.parse(JSON.stringify(summary)) as SummaryResult;
}
