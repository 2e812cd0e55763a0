/**
 * Reads bundles: bytes into lines, lines into parts, each checked for its form. The verifier decides whether hashes,
 * numbers and signatures are true. Memory is constant and every length bounded; input that is not in the format throws
 * `MalformedSourceError`.
 */
import {
  bundleCheckpointsMax,
  bundleFormat,
  bundleFormatFirst,
  bundleHashesMax,
  bundleKeyStatementsMax,
  bundleLineBytesMax,
  bundleProofBytesMax,
  type BundleCheckpoint,
  type BundleEntry,
  type BundleHeader,
  type BundleProofs,
} from "./bundle.js";
import { bytesOfHex, concatBytes, isUtf8, textOfUtf8 } from "./bytes.js";
import { hasLoneSurrogate } from "./canonicalJson.js";
import { contentLengthMax, hashPattern, uuidPattern } from "./entry.js";
import { LineReader, type EntryLine, type EntryLines } from "./entryLines.js";
import { Sha256Stream } from "./hash.js";
import { MalformedSourceError, type StoredEntry } from "./storedEntry.js";

/** The parts that a reader hands on: header, proofs, entries in batches, then whether the last line agrees. */
export type BundlePart =
  | { readonly kind: "header"; readonly header: BundleHeader; readonly version: 1 | 2 }
  | { readonly kind: "proofs"; readonly proofs: BundleProofs }
  | { readonly kind: "entries"; readonly entries: readonly BundleEntry[] }
  | { readonly kind: "end"; readonly intact: boolean; readonly expected: string; readonly actual: string };

type Chunks = AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

/** Reads a bundle. Throws `MalformedSourceError` where it is not in the format; errors of `chunks` pass through. */
export async function* readBundle(chunks: Chunks): AsyncGenerator<BundlePart, void, undefined> {
  const reader = new BundleReader();
  // Without being asked for there are no lines.
  for await (const chunk of chunks) for (const part of reader.take(chunk)) if (part.kind !== "lines") yield part;
  reader.close();
}

/** Entries of a range, each read from its line when it is asked for; all must be, before the next part. */
export interface BundleLines {
  readonly kind: "lines";
  readonly lines: EntryLines;
}

/** The same for callers that can read entries in the memory they arrived in. */
export async function* readBundleLines(chunks: Chunks): AsyncGenerator<BundlePart | BundleLines, void, undefined> {
  const reader = new BundleReader(true);
  for await (const chunk of chunks) yield* reader.take(chunk);
  reader.close();
}

/** Cuts bytes into lines and lines into parts. `asLines`: entries of a range come as lines. */
export class BundleReader {
  readonly #asLines: boolean;
  readonly #line = new LineReader(() => this.#entryOfLine());
  readonly #digest = new Sha256Stream();
  /** Bytes of a line that has not ended. */
  #rest: Uint8Array[] = [];
  #restBytes = 0;
  #header: BundleHeader | undefined;
  #version: 1 | 2 = 2;
  /** Collected until the first entry. */
  #proofs: ProofLines | undefined = new ProofLines();
  #entries = 0;
  #lines = 0;
  #ended = false;
  /** Whole lines that are being read; each ends with "\n". */
  #block: Uint8Array = new Uint8Array(0);
  /** Where the next of them begins. */
  #at = 0;
  /** Where the line begins that was handed out last. */
  #lineAt = 0;

  constructor(asLines = false) {
    this.#asLines = asLines;
  }

  *take(chunk: Uint8Array): Generator<BundlePart | BundleLines, void, undefined> {
    const end = chunk.lastIndexOf(0x0a) + 1;
    if (end === 0) return this.#keep(chunk);
    let start = 0;
    if (this.#restBytes > 0) {
      // Only the line that began in an earlier chunk is put together; the others are read where they are.
      start = chunk.indexOf(0x0a) + 1;
      const line = concatBytes([...this.#rest, chunk.subarray(0, start)]);
      this.#rest = [];
      this.#restBytes = 0;
      yield* this.#takeBlock(line);
    }
    if (start < end) yield* this.#takeBlock(chunk.subarray(start, end));
    this.#keep(chunk.subarray(end));
  }

  close(): void {
    if (this.#restBytes > 0) throw this.#malformed("the last line does not end");
    if (!this.#ended) throw this.#malformed("the bundle is cut off: its last line is missing");
  }

  #keep(bytes: Uint8Array): void {
    this.#restBytes += bytes.byteLength;
    if (this.#restBytes > bundleLineBytesMax) throw this.#malformed("the line is too long");
    // A copy, because the code that reads the file may use the buffer again.
    if (bytes.byteLength > 0) this.#rest.push(Uint8Array.prototype.slice.call(bytes));
  }

  /** Parts before a wrong line are handed on first, so the verdict does not depend on how the bytes are cut. */
  *#takeBlock(block: Uint8Array): Generator<BundlePart | BundleLines, void, undefined> {
    if (!isUtf8(block)) throw this.#malformed("not UTF-8");
    this.#block = block;
    this.#at = 0;
    const entries: BundleEntry[] = [];
    try {
      while (this.#at < block.byteLength) {
        if (this.#isLineNext()) {
          if (entries.length > 0) yield { kind: "entries", entries: entries.splice(0) };
          yield { kind: "lines", lines: { next: () => this.#nextEntryLine() } };
        } else yield* this.#takeLine(entries);
      }
    } catch (error) {
      if (entries.length > 0) yield { kind: "entries", entries };
      throw error;
    }
    if (entries.length > 0) yield { kind: "entries", entries };
    if (!this.#ended) this.#digest.update(block);
  }

  *#takeLine(entries: BundleEntry[]): Generator<BundlePart, void, undefined> {
    const start = this.#at;
    const line = this.#nextLine();
    const value = this.#parse(line);
    if (this.#header === undefined) yield this.#takeHeader(value);
    else if ("sha256" in value) {
      this.#digest.update(this.#block.subarray(0, start));
      yield* this.#endProofs();
      yield { kind: "entries", entries: entries.splice(0) };
      yield this.#end(value);
      if (this.#at < this.#block.byteLength) throw this.#malformed("something follows the last line");
    } else if (!this.#takeProof(value, line)) {
      yield* this.#endProofs();
      entries.push(this.#readEntry(value, line, this.#header));
      this.#entries++;
    }
  }

  /** The line at `#at`, which is passed over. */
  #nextLine(): string {
    this.#lines++;
    if (this.#ended) throw this.#malformed("something follows the last line");
    const end = this.#block.indexOf(0x0a, this.#at);
    const line = textOfUtf8(this.#block.subarray(this.#at, end));
    this.#at = end + 1;
    return line;
  }

  // ---- entries as lines ---------------------------------------------------------------------------------------------

  /** After the proofs, in a range, what begins as an entry does. In a selection each has its proof. */
  #isLineNext(): boolean {
    if (!this.#asLines || this.#proofs !== undefined || this.#ended) return false;
    return this.#header?.selection === "range" && isEntryStart(this.#block, this.#at);
  }

  #nextEntryLine(): EntryLine | undefined {
    const [block, at] = [this.#block, this.#at];
    if (!isEntryStart(block, at)) return undefined;
    this.#lines++;
    this.#entries++;
    this.#lineAt = at;
    this.#at = this.#line.read(block, at) + 1;
    if (this.#at === 0) this.#at = block.indexOf(0x0a, at) + 1;
    return this.#line;
  }

  /** Of the line that was handed out last. */
  #entryOfLine(): BundleEntry {
    const end = this.#block.indexOf(0x0a, this.#lineAt);
    this.#at = end + 1; // a line that only looked like an entry may end before
    const line = textOfUtf8(this.#block.subarray(this.#lineAt, end));
    const value = this.#parse(line);
    if ("sha256" in value) throw this.#malformed("not a last line");
    return this.#readEntry(value, line, this.#header as BundleHeader);
  }

  #takeHeader(value: Record<string, unknown>): BundlePart {
    this.#version = value["format"] === bundleFormatFirst ? 1 : 2;
    const header = this.#version === 1 ? readHeaderFirst(value) : readHeader(value);
    this.#header = header ?? this.#refuse(`not a header of ${bundleFormat} or ${bundleFormatFirst}`);
    return { kind: "header", header: this.#header, version: this.#version };
  }

  /** True if the line is one of the proofs, which stand before all entries. */
  #takeProof(value: Record<string, unknown>, line: string): boolean {
    if ("seq" in value) return false;
    const proofs = this.#version === 2 ? this.#proofs : undefined;
    const problem = proofs === undefined ? "not an entry" : proofs.take(value, line, this.#header as BundleHeader);
    if (problem !== undefined) this.#refuse(problem);
    return true;
  }

  *#endProofs(): Generator<BundlePart, void, undefined> {
    if (this.#proofs === undefined) return;
    const { proofs } = this.#proofs;
    this.#proofs = undefined;
    yield { kind: "proofs", proofs };
  }

  #readEntry(value: Record<string, unknown>, line: string, header: BundleHeader): BundleEntry {
    const entry = readEntry(value, header) ?? this.#refuse("not an entry");
    // Half of a surrogate pair has no UTF-8, so nothing could be hashed; only an escape can bring one here.
    if (line.includes("\\ud") && !isWellFormed(entry)) this.#refuse("a lone surrogate");
    return entry;
  }

  #end(value: Record<string, unknown>): BundlePart {
    this.#ended = true;
    const { entries, sha256, ...others } = value;
    if (Object.keys(others).length > 0 || !isCount(entries) || !isHash(sha256))
      throw this.#malformed("not a last line");
    const actual = this.#digest.hex();
    const intact = actual === sha256 && entries === this.#entries;
    return {
      kind: "end",
      intact,
      expected: `${entries} entries, ${sha256}`,
      actual: `${this.#entries} entries, ${actual}`,
    };
  }

  #parse(line: string): Record<string, unknown> {
    try {
      const value: unknown = JSON.parse(line);
      if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
    } catch {
      // Said below, with the line's number.
    }
    throw this.#malformed("not a JSON object");
  }

  #refuse(why: string): never {
    throw this.#malformed(why);
  }
  #malformed(why: string): MalformedSourceError {
    return new MalformedSourceError(`line ${this.#lines}: ${why}`);
  }
}

/** `{"body"` or `{"content"`, and nothing else that may stand behind the proofs. */
function isEntryStart(block: Uint8Array, at: number): boolean {
  const first = block[at + 2];
  return (first === 0x63 || first === 0x62) && block[at] === 0x7b && block[at + 1] === 0x22;
}

/** The lines between header and entries, in their order: edge, key statements, checkpoints. */
class ProofLines {
  #edge: readonly Uint8Array[] | undefined;
  readonly #keyStatements: string[] = [];
  readonly #checkpoints: BundleCheckpoint[] = [];
  #length = 0;

  /** The error in the line; undefined if there is none. */
  take(value: Record<string, unknown>, line: string, header: BundleHeader): string | undefined {
    this.#length += line.length;
    if (this.#length > bundleProofBytesMax) return "the proofs are too large";
    const { edge, keyStatement, checkpoint, consistency, ...others } = value;
    if (Object.keys(others).length > 0) return "not an entry, edge, key statement or checkpoint";
    if (edge !== undefined) return this.#takeEdge(value, header);
    if (keyStatement !== undefined) return this.#takeKeyStatement(keyStatement, countMembers(value));
    return this.#takeCheckpoint(checkpoint, consistency);
  }

  get proofs(): BundleProofs {
    const edge = this.#edge === undefined ? {} : { edge: this.#edge };
    return { ...edge, keyStatements: this.#keyStatements, checkpoints: this.#checkpoints };
  }

  #takeEdge(value: Record<string, unknown>, { selection, from }: BundleHeader): string | undefined {
    if (
      this.#edge !== undefined ||
      this.#keyStatements.length + this.#checkpoints.length > 0 ||
      countMembers(value) > 1
    )
      return "an edge out of place";
    this.#edge = readHashes(value["edge"]);
    if (this.#edge === undefined || selection !== "range" || this.#edge.length !== bitsOf(from))
      return "not the edge of a tree as large as what comes before the range";
    return undefined;
  }

  #takeKeyStatement(keyStatement: unknown, members: number): string | undefined {
    if (this.#checkpoints.length > 0 || members > 1) return "a key statement out of place";
    if (!isText(keyStatement, bundleProofBytesMax)) return "not a key statement";
    if (this.#keyStatements.length >= bundleKeyStatementsMax) return "too many key statements";
    this.#keyStatements.push(keyStatement);
    return undefined;
  }

  #takeCheckpoint(note: unknown, consistency: unknown): string | undefined {
    if (!isText(note, bundleProofBytesMax)) return "not a checkpoint";
    if (this.#checkpoints.length >= bundleCheckpointsMax) return "too many checkpoints";
    const hashes = consistency === undefined ? undefined : readHashes(consistency);
    if (consistency !== undefined && hashes === undefined) return "not a consistency proof";
    this.#checkpoints.push({ note, ...(hashes === undefined ? {} : { consistency: hashes }) });
    return undefined;
  }
}

function readHeader(value: Record<string, unknown>): BundleHeader | undefined {
  const { format, deployment, tenant, selection, from, to, head, bodies, exportedAtMs, about, ...others } = value;
  if (format !== bundleFormat || Object.keys(others).length > 0) return undefined;
  const common = readHeaderMembers({ deployment, tenant, from, to, bodies, exportedAtMs });
  const headRead = readHead(head);
  if (common === undefined || headRead === undefined || (selection !== "range" && selection !== "entries"))
    return undefined;
  if (common.to > (headRead?.seq ?? -1)) return undefined;
  if (about === undefined) return { ...common, selection, head: headRead };
  const asked = readAbout(about);
  return asked === undefined ? undefined : { ...common, selection, head: headRead, about: asked };
}

/** Version 1: the head is the entry `to`, and everything is a range. */
function readHeaderFirst(value: Record<string, unknown>): BundleHeader | undefined {
  const { format, deployment, tenant, from, to, head, bodies, exportedAtMs, ...others } = value;
  if (format !== bundleFormatFirst || Object.keys(others).length > 0) return undefined;
  const common = readHeaderMembers({ deployment, tenant, from, to, bodies, exportedAtMs });
  const headRead = readHead(head);
  if (common === undefined || headRead === undefined || (headRead === null) !== common.to < common.from)
    return undefined;
  return { ...common, selection: "range", head: headRead };
}

type HeaderMembers = Pick<BundleHeader, "deployment" | "tenant" | "from" | "to" | "bodies" | "exportedAtMs">;

function readHeaderMembers(value: Record<keyof HeaderMembers, unknown>): HeaderMembers | undefined {
  const { deployment, tenant, from, to, bodies, exportedAtMs } = value;
  if (!isText(deployment, 256) || !isText(tenant, 36) || !uuidPattern.test(tenant)) return undefined;
  if (!isCount(from) || !Number.isSafeInteger(to) || (to as number) < from - 1 || !isCount(exportedAtMs))
    return undefined;
  if (bodies !== "included" && bodies !== "withheld") return undefined;
  return { deployment, tenant, from, to: to as number, bodies, exportedAtMs };
}

const aboutMembersMax = 8;

function readAbout(value: unknown): BundleHeader["about"] | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return undefined;
  const members = Object.entries(value as Record<string, unknown>);
  if (members.length > aboutMembersMax) return undefined;
  return members.every(([name, text]) => name.length <= 40 && isText(text, 1024) && !hasLoneSurrogate(text))
    ? (value as Record<string, string>)
    : undefined;
}

function readHead(value: unknown): BundleHeader["head"] | undefined {
  if (value === null) return null;
  if (typeof value !== "object") return undefined;
  const { seq, hash, timeMs, ...others } = value as Record<string, unknown>;
  if (Object.keys(others).length > 0 || !isCount(seq) || !isHash(hash) || !isCount(timeMs)) return undefined;
  return { seq, hash, timeMs };
}

/** Types only: whether hashes and numbers are true is the verifier's business. */
function readEntry(value: Record<string, unknown>, header: BundleHeader): BundleEntry | undefined {
  let members = 6;
  const { seq, timeMs, prev, hash, contentHash, content } = value;
  if (!isCount(seq) || !isCount(timeMs)) return undefined;
  if (!isText(prev, 64) || !isText(hash, 64) || !isText(contentHash, 64)) return undefined;
  if (content !== null && !isText(content, contentLengthMax)) return undefined;
  let body: StoredEntry["body"];
  if (value["body"] !== undefined) {
    members++;
    body = readBody(value["body"]);
    if (body === undefined || header.bodies === "withheld") return undefined;
  }
  let proof: BundleEntry["proof"];
  if (header.selection === "entries") {
    members++;
    proof = readHashes(value["proof"]);
    if (proof === undefined) return undefined;
  }
  if (content === undefined || countMembers(value) !== members) return undefined;
  return { tenantId: header.tenant, seq, timeMs, entryId: null, prev, content, contentHash, hash, body, proof };
}

function isWellFormed({ content, body }: StoredEntry): boolean {
  return (
    typeof content === "string" && !hasLoneSurrogate(content) && (body === undefined || !hasLoneSurrogate(body.text))
  );
}

function readBody(value: unknown): StoredEntry["body"] {
  if (typeof value !== "object" || value === null) return undefined;
  const { salt, text } = value as Record<string, unknown>;
  if (!isText(salt, 64) || !isText(text, bundleLineBytesMax) || countMembers(value) !== 2) return undefined;
  return { salt, text };
}

function readHashes(value: unknown): readonly Uint8Array[] | undefined {
  if (!Array.isArray(value) || value.length > bundleHashesMax) return undefined;
  const hashes = value as unknown[];
  return hashes.every(isHash) ? hashes.map((hash) => bytesOfHex(hash)) : undefined;
}

/** How many complete subtrees a tree of this size has. */
function bitsOf(size: number): number {
  let bits = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) bits += rest % 2;
  return bits;
}

function countMembers(value: object): number {
  let members = 0;
  for (const _ in value) members++;
  return members;
}

function isText(value: unknown, lengthMax: number): value is string {
  return typeof value === "string" && value.length <= lengthMax;
}
function isHash(value: unknown): value is string {
  return typeof value === "string" && hashPattern.test(value);
}
function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
