/**
 * Bundles: a part of one tenant's ledger as a file that verifies without server and database. JSON Lines: a header, the
 * proofs (the tree's right edge before the part, the log's keys, signed checkpoints), one line an entry in order, a
 * last line with the SHA-256 of everything before it, so that a cut or damaged file shows. Written and read as a stream
 * in constant memory; everything read is bounded and checked (`bundleReader.ts`), nothing in it is trusted.
 *
 * A *range* holds every entry from `from` to `to`. A *selection* holds some entries, each with a proof that it is in the tree of
 * the last checkpoint line; it cannot say that there are no others.
 * Bundles are kept for years: lines of this version and of version 1 stay readable for ever. Version 2 is written.
 */
import { hexOf, textOfUtf8, utf8Bytes } from "./bytes.js";
import { canonicalize } from "./canonicalJson.js";
import { Sha256Stream } from "./hash.js";
import type { JsonObject } from "./json.js";
import type { StoredEntry } from "./storedEntry.js";

export const bundleFormat = "countersign.bundle.v2";
/** Still read: no proofs, `head` is the entry `to`. */
export const bundleFormatFirst = "countersign.bundle.v1";

export interface BundleHeader {
  /** Name of the deployment that exported: with the tenant, the origin of its checkpoints. In version 1 any text. */
  readonly deployment: string;
  readonly tenant: string;
  readonly selection: "range" | "entries";
  /** First and last sequence number asked for; an empty ledger has from 0, to -1. */
  readonly from: number;
  readonly to: number;
  /**
   * The last entry of the whole ledger when this was exported; null if it was empty. A range with `to` = `head.seq` claims to
   * reach the ledger's end. (Version 1: the entry `to`.)
   */
  readonly head: { readonly seq: number; readonly hash: string; readonly timeMs: number } | null;
  readonly bodies: "included" | "withheld";
  readonly exportedAtMs: number;
  /** The selection's criteria, e.g. `{ changeSet: id }`. */
  readonly about?: Readonly<Record<string, string>>;
}

/** A signed checkpoint of the ledger, with its cosignatures. */
export interface BundleCheckpoint {
  /** The signed note, as text. */
  readonly note: string;
  /** For those larger than `to` + 1: the proof that they continue the tree of size `to` + 1. */
  readonly consistency?: readonly Uint8Array[];
}

/** The proofs that tie the entries to signed checkpoints. */
export interface BundleProofs {
  /** The complete subtrees of the tree of size `from`, from left to right. */
  readonly edge?: readonly Uint8Array[];
  /** Signed notes. */
  readonly keyStatements?: readonly string[];
  /** Ascending by size. */
  readonly checkpoints?: readonly BundleCheckpoint[];
}

export type BundleEntry = StoredEntry;

/** A line longer than this is refused: the largest content, escaped, and a body of the largest documents fit. */
export const bundleLineBytesMax = 64 * 1024 * 1024;
export const bundleCheckpointsMax = 1000;
export const bundleKeyStatementsMax = 1000;
/** Lines of proofs together; they are held in memory. */
export const bundleProofBytesMax = 16 * 1024 * 1024;
/** Hashes of an edge or a proof: a tree has at most 2^53 leaves, a consistency proof at most twice its height. */
export const bundleHashesMax = 128;
const chunkLengthMin = 64 * 1024;

/** Writes the lines of a bundle in order: `header`, `proofs`, `entry` for each, `end`. Lines are canonical JSON and end with "\n". */
export class BundleWriter {
  readonly #digest = new Sha256Stream();
  #entries = 0;
  #proofBytes = 0;

  header(header: BundleHeader): string {
    const { deployment, tenant, selection, from, to, head, bodies, exportedAtMs, about } = header;
    const asked = about === undefined ? {} : { about };
    return this.#line({
      format: bundleFormat,
      deployment,
      tenant,
      selection,
      from,
      to,
      head,
      bodies,
      exportedAtMs,
      ...asked,
    });
  }

  /** Throws RangeError if there are more than a reader takes. */
  proofs({ edge, keyStatements = [], checkpoints = [] }: BundleProofs): string {
    if (keyStatements.length > bundleKeyStatementsMax)
      throw new RangeError("a bundle holds at most 1000 key statements");
    if (checkpoints.length > bundleCheckpointsMax) throw new RangeError("a bundle holds at most 1000 checkpoints");
    const lines: JsonObject[] = edge === undefined ? [] : [{ edge: edge.map(hexOf) }];
    for (const keyStatement of keyStatements) lines.push({ keyStatement });
    for (const { note, consistency } of checkpoints)
      lines.push({ checkpoint: note, ...(consistency === undefined ? {} : { consistency: consistency.map(hexOf) }) });
    return lines.map((line) => this.#proofLine(line)).join("");
  }

  entry({ seq, timeMs, prev, hash, contentHash, content, body, proof }: BundleEntry): string {
    this.#entries++;
    const text = content instanceof Uint8Array ? textOfUtf8(content) : content;
    const opened = body === undefined ? {} : { body: { salt: body.salt, text: body.text } };
    const proven = proof === undefined ? {} : { proof: proof.map(hexOf) };
    return this.#line({ seq, timeMs, prev, hash, contentHash, content: text, ...opened, ...proven });
  }

  end(): string {
    const sha256 = this.#digest.hex();
    return `${canonicalize({ entries: this.#entries, sha256 })}\n`;
  }

  #proofLine(value: JsonObject): string {
    const line = this.#line(value);
    this.#proofBytes += line.length;
    if (this.#proofBytes > bundleProofBytesMax) throw new RangeError("the proofs of a bundle are too large");
    return line;
  }

  #line(value: JsonObject): string {
    const line = `${canonicalize(value)}\n`;
    this.#digest.update(utf8Bytes(line));
    return line;
  }
}

/**
 * The whole bundle as text in pieces of about 64 KiB. Entries come in order, carry their bodies if they are included, and in a
 * selection their proofs.
 */
export async function* writeBundle(
  header: BundleHeader,
  entries: AsyncIterable<BundleEntry> | Iterable<BundleEntry>,
  proofs: BundleProofs = {},
): AsyncGenerator<string, void, undefined> {
  const writer = new BundleWriter();
  let text = writer.header(header) + writer.proofs(proofs);
  for await (const entry of entries) {
    text += writer.entry(entry);
    if (text.length < chunkLengthMin) continue;
    yield text;
    text = "";
  }
  yield text + writer.end();
}
