/**
 * Receipts (C2SP tlog-proof): a file that shows that an entry is in the ledger. It has the entry's index, the path to
 * the root, and the signed checkpoint with that root. Our receipts also carry `extra`, so that they verify alone:
 * `receiptExtra.ts`.
 */
import { bytesOfHex, isUtf8, textOfUtf8, utf8Bytes } from "./bytes.js";
import { parseCheckpoint, type Checkpoint } from "./checkpoint.js";
import { leafHashHex } from "./hash.js";
import { verifyInclusion } from "./merkle.js";
import { fromBase64, noteBytesMax, toBase64, type Parsed } from "./note.js";

const firstLine = "c2sp.org/tlog-proof@v1";
/** Longer paths do not exist: a tree has less than 2^63 leaves. */
export const proofHashesMax = 63;

export interface TlogProof {
  readonly index: number;
  readonly proof: readonly Uint8Array[];
  readonly checkpoint: Checkpoint;
  /** Not authenticated as a whole. The proof authenticates only the part that hashes to the leaf. */
  readonly extra?: Uint8Array;
}

export function formatTlogProof(given: {
  readonly index: number;
  readonly proof: readonly Uint8Array[];
  /** The signed note, with cosignatures. */
  readonly checkpoint: string;
  readonly extra?: Uint8Array;
}): string {
  const extra = given.extra === undefined ? "" : `extra ${toBase64(given.extra)}\n`;
  const path = given.proof.map((hash) => `${toBase64(hash)}\n`).join("");
  return `${firstLine}\n${extra}index ${given.index}\n${path}\n${given.checkpoint}`;
}

export function parseTlogProof(input: string | Uint8Array): Parsed<"proof", TlogProof> {
  if ((typeof input === "string" ? utf8Bytes(input) : input).length > noteBytesMax) return no("too long");
  if (typeof input !== "string" && !isUtf8(input)) return no("not UTF-8");
  const text = typeof input === "string" ? input : textOfUtf8(input);
  const end = text.indexOf("\n\n");
  if (end < 0) return no("no checkpoint after a blank line");
  const lines = text.slice(0, end).split("\n", proofHashesMax + 4);
  if (lines.shift() !== firstLine) return no(`the first line is not \`${firstLine}\``);
  let extra: Uint8Array | undefined;
  if (lines[0]?.startsWith("extra ") === true) {
    extra = fromBase64((lines.shift() as string).slice(6));
    if (extra === undefined) return no("the extra data is not base64");
  }
  const index = /^index (0|[1-9]\d{0,15})$/.exec(lines.shift() ?? "")?.[1];
  if (index === undefined || !Number.isSafeInteger(Number(index))) return no("no index below 2^53");
  if (lines.length > proofHashesMax) return no(`a path of more than ${proofHashesMax} hashes`);
  const proof = lines.map((line) => (line.length === 44 ? fromBase64(line) : undefined));
  if (!proof.every((hash) => hash?.length === 32)) return no("a line that is not the base64 of 32 bytes");
  const parsed = parseCheckpoint(text.slice(end + 2));
  if (!parsed.ok) return no(`checkpoint: ${parsed.problem}`);
  const read = { index: Number(index), proof: proof as Uint8Array[], checkpoint: parsed.checkpoint };
  return { ok: true, proof: { ...read, ...(extra === undefined ? {} : { extra }) } };
}

/** Whether the leaf is in the tree of the checkpoint. The checkpoint's signatures are checked elsewhere. */
export function verifyTlogProof({ index, proof, checkpoint }: TlogProof, leafHash: Uint8Array): boolean {
  return verifyInclusion({ index, size: checkpoint.size, leafHash, proof, root: checkpoint.root });
}

/** RFC 6962 leaf hash of data, such as an entry's `link`; undefined where it is not UTF-8, as ours always is. */
export function leafHashOf(data: Uint8Array): Uint8Array | undefined {
  return isUtf8(data) ? bytesOfHex(leafHashHex(textOfUtf8(data))) : undefined;
}

function no(problem: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem };
}
