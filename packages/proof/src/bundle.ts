/**
 * Bundles: a range of one tenant's ledger as a file that verifies without server and database. JSON Lines: a header, one line
 * an entry in order, a last line with the SHA-256 of everything before it, so that a cut or damaged file shows. Written and
 * read as a stream in constant memory; everything read is bounded and checked, nothing in it is trusted.
 * Bundles are kept for years: lines of this version stay readable for ever.
 */
import { isAscii, isUtf8 } from "node:buffer";
import { canonicalize, hasLoneSurrogate } from "./canonicalJson.js";
import { contentLengthMax, hashPattern, uuidPattern } from "./entry.js";
import type { VerifyResult } from "./findings.js";
import { tag } from "./formatVersion.js";
import { Sha256Stream } from "./hash.js";
import type { JsonObject } from "./json.js";
import { ChainVerifier, MalformedSourceError, type StoredEntry, type VerifyOptions } from "./verify.js";

export const bundleFormat = tag("bundle");

export interface BundleHeader {
  /** Id of the deployment that exported. */
  readonly deployment: string;
  readonly tenant: string;
  /** First and last sequence number; an empty ledger has from 0, to -1. */
  readonly from: number;
  readonly to: number;
  /** The entry `to` as the exporter saw it; null if the range is empty. */
  readonly head: { readonly seq: number; readonly hash: string; readonly timeMs: number } | null;
  readonly bodies: "included" | "withheld";
  readonly exportedAtMs: number;
}

/** A line longer than this is refused: the largest content, escaped, and a body of the largest documents fit. */
export const bundleLineBytesMax = 64 * 1024 * 1024;
const chunkLengthMin = 64 * 1024;

/** Writes the lines of a bundle in order: `header`, `entry` for each, `end`. Each line is canonical JSON and ends with "\n". */
export class BundleWriter {
  readonly #digest = new Sha256Stream();
  #entries = 0;

  header(header: BundleHeader): string {
    const { deployment, tenant, from, to, head, bodies, exportedAtMs } = header;
    return this.#line({ format: bundleFormat, deployment, tenant, from, to, head, bodies, exportedAtMs });
  }

  entry({ seq, timeMs, prev, hash, contentHash, content, body }: StoredEntry): string {
    this.#entries++;
    const text = content instanceof Uint8Array ? Buffer.from(content).toString("utf8") : content;
    const opened = body === undefined ? {} : { body: { salt: body.salt, text: body.text } };
    return this.#line({ seq, timeMs, prev, hash, contentHash, content: text, ...opened });
  }

  end(): string {
    const sha256 = this.#digest.hex();
    return `${canonicalize({ entries: this.#entries, sha256 })}\n`;
  }

  #line(value: JsonObject): string {
    const line = `${canonicalize(value)}\n`;
    this.#digest.update(Buffer.from(line, "utf8"));
    return line;
  }
}

/** The whole bundle as text in pieces of about 64 KiB. Entries come in order and carry their bodies if they are included. */
export async function* writeBundle(
  header: BundleHeader,
  entries: AsyncIterable<StoredEntry> | Iterable<StoredEntry>,
): AsyncGenerator<string, void, undefined> {
  const writer = new BundleWriter();
  let text = writer.header(header);
  for await (const entry of entries) {
    text += writer.entry(entry);
    if (text.length < chunkLengthMin) continue;
    yield text;
    text = "";
  }
  yield text + writer.end();
}

/** What a reader hands on: first the header, then entries in batches, then whether the last line agrees. */
export type BundlePart =
  | { readonly kind: "header"; readonly header: BundleHeader }
  | { readonly kind: "entries"; readonly entries: readonly StoredEntry[] }
  | { readonly kind: "end"; readonly intact: boolean; readonly expected: string; readonly actual: string };

/** Reads a bundle. Throws `MalformedSourceError` where it is not in the format; what `chunks` throws passes through. */
export async function* readBundle(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<BundlePart, void, undefined> {
  const reader = new BundleReader();
  for await (const chunk of chunks) yield* reader.take(chunk);
  reader.close();
}

export interface BundleResult extends VerifyResult {
  /** Absent if the header could not be read. */
  readonly header?: BundleHeader;
}

export type VerifyBundleOptions = Omit<VerifyOptions, "tenant" | "from" | "to" | "headHash" | "prevHash"> & {
  /** The tenant the bundle must be of. Default: the one its header names. */
  readonly tenant?: string;
};

/** Verifies a bundle with nothing but its bytes. Exit code: `exitCodeOf(result)`. */
export async function verifyBundle(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: VerifyBundleOptions = {},
): Promise<BundleResult> {
  let verifier = new ChainVerifier({ ...options, tenant: options.tenant ?? "" });
  let header: BundleHeader | undefined;
  let unreadable: string | undefined;
  let damage: { expected: string; actual: string } | undefined;
  try {
    for await (const part of readBundle(chunks)) {
      if (part.kind === "entries") for (const entry of part.entries) verifier.add(entry);
      if (part.kind === "end" && !part.intact) damage = part;
      if (part.kind !== "header") continue;
      header = part.header;
      const tenant = options.tenant ?? header.tenant;
      verifier = new ChainVerifier({ ...options, ...demandsOf(header), countBodies: true, tenant });
      if (tenant !== header.tenant)
        verifier.report({ class: "FOREIGN_ENTRY", seq: null, expected: tenant, actual: header.tenant });
    }
  } catch (error) {
    if (error instanceof MalformedSourceError) verifier.malformed(error);
    else unreadable = error instanceof Error ? error.message : String(error);
  }
  const result = verifier.finish(unreadable);
  return { ...withDamage(result, damage), ...(header !== undefined ? { header } : {}) };
}

function demandsOf(header: BundleHeader): Pick<VerifyOptions, "from" | "to" | "headHash"> {
  return { from: header.from, to: header.to, ...(header.head !== null ? { headHash: header.head.hash } : {}) };
}

/** A wrong digest is reported where nothing else explains it: then something beside the entries was changed. */
function withDamage(result: VerifyResult, damage: { expected: string; actual: string } | undefined): VerifyResult {
  if (damage === undefined || result.integrity !== "ok") return result;
  const { expected, actual } = damage;
  const detail = "the bundle's bytes are not those its last line names";
  const finding = { class: "CONTENT_MISMATCH", seq: null, expected, actual, detail } as const;
  return { ...result, integrity: "tampered", first: finding, findings: [finding], findingsTotal: 1 };
}

/** Cuts bytes into lines and lines into parts. */
class BundleReader {
  readonly #digest = new Sha256Stream();
  /** Bytes of a line that has not ended. */
  #rest: Uint8Array[] = [];
  #restBytes = 0;
  #header: BundleHeader | undefined;
  #entries = 0;
  #lines = 0;
  #ended = false;

  *take(chunk: Uint8Array): Generator<BundlePart, void, undefined> {
    const end = chunk.lastIndexOf(0x0a);
    if (end < 0) return this.#keep(chunk);
    const block = Buffer.concat([...this.#rest, chunk.subarray(0, end)]);
    this.#rest = [];
    this.#restBytes = 0;
    this.#keep(chunk.subarray(end + 1));
    yield* this.#takeLines(block);
  }

  close(): void {
    if (this.#restBytes > 0) throw this.#malformed("the last line does not end");
    if (!this.#ended) throw this.#malformed("the bundle is cut off: its last line is missing");
  }

  #keep(bytes: Uint8Array): void {
    this.#restBytes += bytes.byteLength;
    if (this.#restBytes > bundleLineBytesMax) throw this.#malformed("the line is too long");
    // A copy: whoever reads files may use the buffer again.
    if (bytes.byteLength > 0) this.#rest.push(Uint8Array.prototype.slice.call(bytes));
  }

  *#takeLines(block: Buffer): Generator<BundlePart, void, undefined> {
    if (!isUtf8(block)) throw this.#malformed("not UTF-8");
    const lines = block.toString(isAscii(block) ? "latin1" : "utf8").split("\n");
    const entries: StoredEntry[] = [];
    let hashedTo = 0;
    for (const line of lines) {
      this.#lines++;
      if (this.#ended) throw this.#malformed("something follows the last line");
      const value = this.#parse(line);
      if (this.#header === undefined) {
        this.#header = readHeader(value) ?? this.#refuse("not a header of " + bundleFormat);
        yield { kind: "header", header: this.#header };
      } else if ("sha256" in value) {
        hashedTo = block.byteLength - Buffer.byteLength(line, "utf8");
        this.#digest.update(block.subarray(0, hashedTo));
        yield { kind: "entries", entries };
        yield this.#end(value);
        return this.#requireLast(lines, line);
      } else {
        const entry = readEntry(value, this.#header) ?? this.#refuse("not an entry");
        // Half of a surrogate pair has no UTF-8, so nothing could be hashed; only an escape can bring one here.
        if (line.includes("\\ud") && !isWellFormed(entry)) this.#refuse("a lone surrogate");
        entries.push(entry);
        this.#entries++;
      }
    }
    this.#digest.update(block).update(lineFeed);
    if (entries.length > 0) yield { kind: "entries", entries };
  }

  #requireLast(lines: readonly string[], line: string): void {
    if (lines.at(-1) !== line || lines.indexOf(line) !== lines.length - 1)
      throw this.#malformed("something follows the last line");
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

const lineFeed = Uint8Array.of(0x0a);

function readHeader(value: Record<string, unknown>): BundleHeader | undefined {
  const { format, deployment, tenant, from, to, head, bodies, exportedAtMs, ...others } = value;
  if (format !== bundleFormat || Object.keys(others).length > 0) return undefined;
  if (!isText(deployment, 256) || !isText(tenant, 36) || !uuidPattern.test(tenant)) return undefined;
  if (!isCount(from) || !Number.isSafeInteger(to) || (to as number) < from - 1 || !isCount(exportedAtMs))
    return undefined;
  if (bodies !== "included" && bodies !== "withheld") return undefined;
  const headRead = readHead(head);
  if (headRead === undefined || (headRead === null) !== (to as number) < from) return undefined;
  return { deployment, tenant, from, to: to as number, head: headRead, bodies, exportedAtMs };
}

function readHead(value: unknown): BundleHeader["head"] | undefined {
  if (value === null) return null;
  if (typeof value !== "object") return undefined;
  const { seq, hash, timeMs, ...others } = value as Record<string, unknown>;
  if (Object.keys(others).length > 0 || !isCount(seq) || !isHash(hash) || !isCount(timeMs)) return undefined;
  return { seq, hash, timeMs };
}

/** Types only: whether hashes and numbers are true is the verifier's business. */
function readEntry(value: Record<string, unknown>, header: BundleHeader): StoredEntry | undefined {
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
  if (content === undefined || countMembers(value) !== members) return undefined;
  return { tenantId: header.tenant, seq, timeMs, entryId: null, prev, content, contentHash, hash, body };
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
