/** Verifies a bundle with nothing but its bytes and the verifier's own keys and anchors, or none. */
import type { BundleHeader, BundleProofs } from "./bundle.js";
import { readBundleLines, type BundleLines, type BundlePart } from "./bundleReader.js";
import { parseCheckpoint, parseOrigin, type Checkpoint } from "./checkpoint.js";
import type { EntryLines } from "./entryLines.js";
import type { Finding, VerifyResult } from "./findings.js";
import { noTrust, type Trust } from "./trust.js";
import { ChainVerifier, MalformedSourceError } from "./verify.js";
import type { VerifyOptions } from "./verifyOptions.js";

export interface BundleResult extends VerifyResult {
  /** Absent if the header could not be read. */
  readonly header?: BundleHeader;
}

export type VerifyBundleOptions = Pick<
  VerifyOptions,
  "otherTenants" | "hashesAt" | "thorough" | "findingsMax" | "clock" | "onProgress" | "summary"
> & {
  /** The verifier's trust; loaded once the bundle's ledger is known. */
  readonly trust?: Trust | ((header: BundleHeader) => Trust | Promise<Trust>);
  /** The tenant the bundle must be of. Default: the one its header names. */
  readonly tenant?: string;
};

type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** Exit code: `exitCodeOf(result)`. */
export function verifyBundle(chunks: Chunks, options: VerifyBundleOptions = {}): Promise<BundleResult> {
  return verifyBundleParts(readBundleLines(chunks), options);
}

/** The same verdict, whether entries come as lines or as objects. */
export async function verifyBundleParts(
  parts: AsyncIterable<BundlePart | BundleLines>,
  options: VerifyBundleOptions = {},
): Promise<BundleResult> {
  const reading = new BundleVerifier(options);
  let unreadable: string | undefined;
  try {
    for await (const part of parts) {
      if (part.kind === "lines") reading.lines(part.lines);
      else if (part.kind === "entries") reading.entries(part.entries);
      else if (part.kind === "header") await reading.header(part.header, part.version);
      else if (part.kind === "proofs") reading.proofs(part.proofs);
      else reading.end(part);
    }
  } catch (error) {
    if (error instanceof MalformedSourceError) reading.malformed(error);
    else unreadable = error instanceof Error ? error.message : String(error);
  }
  return reading.finish(unreadable);
}

/** The steps of `verifyBundle`, one by one, for callers that read the bundle themselves. */
class BundleVerifier {
  readonly #options: Omit<VerifyBundleOptions, "trust">;
  readonly #askTrust: (header: BundleHeader) => Trust | Promise<Trust>;
  #trust: Trust = noTrust;
  #verifier: ChainVerifier;
  #header: BundleHeader | undefined;
  #version: 1 | 2 = 2;
  #damage: { readonly expected: string; readonly actual: string } | undefined;

  constructor({ trust, ...options }: VerifyBundleOptions) {
    this.#options = options;
    this.#askTrust = typeof trust === "function" ? trust : () => trust ?? noTrust;
    this.#verifier = new ChainVerifier({
      ...options,
      tenant: options.tenant ?? "",
      readFrom: "bundle",
      reachesEnd: false,
    });
  }

  async header(header: BundleHeader, version: 1 | 2): Promise<void> {
    this.#header = header;
    this.#version = version;
    const tenant = this.#options.tenant ?? header.tenant;
    this.#verifier = new ChainVerifier({ ...this.#options, tenant, readFrom: "bundle", reachesEnd: false });
    this.#trust = await this.#askTrust(header);
  }

  /** Comes before all entries, also where there is nothing in it. */
  proofs(proofs: BundleProofs): void {
    const header = this.#header as BundleHeader;
    const checkpoints = checkpointsOf(proofs);
    const tenant = this.#options.tenant ?? header.tenant;
    this.#verifier = new ChainVerifier({
      ...this.#options,
      ...rangeOf(header, this.#version),
      ...this.#proven(header, proofs, checkpoints),
      tenant,
      trust: this.#trust,
      countBodies: true,
      readFrom: "bundle",
      ...(this.#version === 2 && header.bodies === "included" ? { bodiesExpected: true } : {}),
    });
    if (tenant !== header.tenant)
      this.#verifier.report({ class: "FOREIGN_ENTRY", seq: null, expected: tenant, actual: header.tenant });
    const problem = problemOf(header, proofs, checkpoints);
    if (problem !== undefined) throw new MalformedSourceError(problem);
  }

  #proven(
    header: BundleHeader,
    { edge, keyStatements = [], checkpoints = [] }: BundleProofs,
    read: readonly Checkpoint[],
  ): Partial<VerifyOptions> {
    if (this.#version === 1) return {};
    const consistency = new Map<number, readonly Uint8Array[]>();
    read.forEach(({ size }, i) => {
      const proof = checkpoints[i]?.consistency;
      if (proof !== undefined) consistency.set(size, proof);
    });
    const last = read.at(-1);
    return {
      deployment: header.deployment,
      ownCheckpoints: read,
      ownKeyStatements: keyStatements,
      consistency,
      ...(edge === undefined ? {} : { leftEdge: edge }),
      ...(header.selection === "entries" ? { selection: { size: last?.size ?? 0, root: last?.root ?? none } } : {}),
    };
  }

  entries(entries: readonly Parameters<ChainVerifier["add"]>[0][]): void {
    for (const entry of entries) this.#verifier.add(entry);
  }

  lines(lines: EntryLines): void {
    // Of another tenant than asked for, every single one is: that is said of entries.
    const isAsked = (this.#options.tenant ?? this.#header?.tenant) === this.#header?.tenant;
    for (let line = lines.next(); line !== undefined; line = lines.next()) {
      if (isAsked) this.#verifier.addLine(line);
      else this.#verifier.add(line.entry());
    }
  }

  end(part: { readonly intact: boolean; readonly expected: string; readonly actual: string }): void {
    if (!part.intact) this.#damage = part;
  }

  malformed(error: Error): void {
    this.#verifier.malformed(error);
  }

  finish(unreadable: string | undefined): BundleResult {
    const result = this.#verifier.finish(unreadable);
    const header = this.#header;
    const noted = header?.selection === "entries" ? withSelectionNote(result, header) : result;
    return { ...ofNothing(withDamage(noted, this.#damage)), ...(header !== undefined ? { header } : {}) };
  }
}

const none = new Uint8Array(32);

function rangeOf(
  { from, to, head, exportedAtMs, selection }: BundleHeader,
  version: 1 | 2,
): Pick<VerifyOptions, "from" | "to" | "headHash" | "reachesEnd" | "readAtMs"> {
  if (selection === "entries") return { from: 0, reachesEnd: false, readAtMs: exportedAtMs };
  // Version 1 does not say where the ledger ends. A missing content needed an entry then too: there were no erasures.
  const reachesEnd = version === 1 || to === (head?.seq ?? -1);
  return { from, to, reachesEnd, readAtMs: exportedAtMs, ...(head?.seq === to ? { headHash: head.hash } : {}) };
}

/** Those that are no checkpoints are left out here; `problemOf` says so. */
function checkpointsOf({ checkpoints = [] }: BundleProofs): Checkpoint[] {
  return checkpoints.flatMap(({ note }) => {
    const parsed = parseCheckpoint(note);
    return parsed.ok ? [parsed.checkpoint] : [];
  });
}

/**
 * Checks that the reader could not make: whether checkpoints are valid, of this ledger, in order, and have the proofs
 * they need.
 */
function problemOf(header: BundleHeader, proofs: BundleProofs, read: readonly Checkpoint[]): string | undefined {
  const { checkpoints = [] } = proofs;
  if (read.length < checkpoints.length) return "a checkpoint line holds no checkpoint";
  for (const [i, { size, origin }] of read.entries()) {
    const of = parseOrigin(origin);
    if (of?.tenant !== header.tenant || of.deployment !== header.deployment) return "a checkpoint is of another ledger";
    // Equal sizes stay possible: two signed trees of one size are proof against their signer.
    if (size < (read[i - 1]?.size ?? 0)) return "the checkpoints are not in the order of their sizes";
    const beyond = header.selection === "range" && size > header.to + 1;
    if (beyond !== (checkpoints[i]?.consistency !== undefined))
      return beyond ? "a checkpoint beyond the range without its proof" : "a proof of consistency that proves nothing";
  }
  return header.selection === "entries" && read.length === 0 ? "a selection without a checkpoint" : undefined;
}

function withSelectionNote(result: VerifyResult, { about }: BundleHeader): VerifyResult {
  const by =
    about === undefined
      ? ""
      : ` (${Object.entries(about)
          .map(([name, text]) => `${name} ${text}`)
          .join(", ")})`;
  const detail = `a selection${by}: these entries are in the ledger; it cannot show that there are no others`;
  const note = { class: "SELECTION", seq: null, detail } as const;
  return { ...result, notes: [note, ...result.notes], notesTotal: result.notesTotal + 1 };
}

/** Without entries there is nothing that could hold: not even where nothing is demanded is that a good verdict. */
function ofNothing(result: VerifyResult): VerifyResult {
  const { completeness } = result;
  if (result.integrity !== "ok" || result.entries > 0) return result;
  return { ...result, completeness: { ...completeness, status: "not_shown", statement: "there are no entries in it" } };
}

/** A wrong digest is reported where nothing else explains it: then something beside the entries was changed. */
function withDamage(result: VerifyResult, damage: { expected: string; actual: string } | undefined): VerifyResult {
  if (damage === undefined || result.integrity !== "ok") return result;
  const { expected, actual } = damage;
  const detail = "the bundle's bytes are not those its last line names";
  const finding: Finding = { class: "CONTENT_MISMATCH", seq: null, expected, actual, detail };
  const { completeness } = result;
  const status = completeness.status === "shown" ? "not_shown" : completeness.status;
  return {
    ...result,
    integrity: "tampered",
    first: finding,
    findings: [finding],
    findingsTotal: 1,
    completeness: { ...completeness, status },
  };
}
