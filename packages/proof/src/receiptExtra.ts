/**
 * The `extra` of our receipts: the leaf's data, which is the entry's `link`, and after it the deployment's key
 * statements. With them a receipt verifies alone after the log's key was rotated. Only the link is hashed into the
 * tree. INVARIANT: the link is the first six lines, so a receipt with the link alone, like the first receipts, stays
 * valid.
 */
import { concatBytes, isUtf8, textOfUtf8, utf8Bytes, utf8Length } from "./bytes.js";
import { hashPattern, linkTextStart, uuidPattern, type Link } from "./entry.js";
import { noteBytesMax, type Parsed } from "./note.js";
import { formatKeyStatements, keyStatementsMax, parseKeyStatements } from "./statements.js";
import { formatTlogProof } from "./tlogProof.js";

export interface ReceiptExtra {
  readonly link: Link;
  /** The leaf's data, exactly. */
  readonly linkText: string;
  /** Signed notes, not looked at yet: no more than somebody's word. */
  readonly keyStatements: readonly string[];
}

export interface ReceiptGiven {
  readonly index: number;
  readonly proof: readonly Uint8Array[];
  /** The signed note, with cosignatures. */
  readonly checkpoint: string;
  /** As `linkText` writes it. */
  readonly link: string;
  /** All of the deployment, oldest first. */
  readonly keyStatements: readonly string[];
}

export interface WrittenReceipt {
  readonly text: string;
  /** How many key statements the receipt carries. Null: they do not fit, and its verifier needs them from elsewhere. */
  readonly keyStatements: number | null;
}

/**
 * All statements or none: a chain cut off at its end would leave revocations out. A root alone ties no two keys to one another;
 * without it the extra is the leaf's data, as programs expect that know no more of us than tlog-proof.
 */
export function formatReceipt({ link, keyStatements, ...rest }: ReceiptGiven): WrittenReceipt {
  const leaf = utf8Bytes(link);
  const bare = { text: formatTlogProof({ ...rest, extra: leaf }), keyStatements: 0 };
  if (keyStatements.length < 2) return bare;
  const extra = concatBytes([leaf, utf8Bytes(formatKeyStatements(keyStatements))]);
  const text = extra.length > noteBytesMax ? undefined : formatTlogProof({ ...rest, extra });
  const fits = keyStatements.length <= keyStatementsMax && text !== undefined && utf8Length(text) <= noteBytesMax;
  return fits ? { text, keyStatements: keyStatements.length } : { ...bare, keyStatements: null };
}

export function parseReceiptExtra(extra: Uint8Array): Parsed<"extra", ReceiptExtra> {
  const end = endOfLink(extra);
  const linkText = isUtf8(extra.subarray(0, end)) ? textOfUtf8(extra.subarray(0, end)) : "";
  const link = readLink(linkText);
  if (link === undefined) return no("the receipt does not hold the entry's link");
  const keyStatements = parseKeyStatements(extra.subarray(end));
  if (keyStatements === undefined) return no("what follows the link is not key statements, each after its length");
  if (keyStatements.length > keyStatementsMax) return no(`more than ${keyStatementsMax} key statements`);
  return { ok: true, extra: { link, linkText, keyStatements } };
}

const linkLines = 6;
const linkBytesMax = 1000;

/** Behind its sixth line feed; 0 where there is none. */
function endOfLink(extra: Uint8Array): number {
  let end = 0;
  for (let line = 0; line < linkLines; line++) {
    const found = extra.subarray(0, linkBytesMax).indexOf(0x0a, end);
    if (found < 0) return 0;
    end = found + 1;
  }
  return end;
}

const numberPattern = /^(0|[1-9]\d{0,15})$/;

/** Exactly what `linkText` writes. */
function readLink(text: string): Link | undefined {
  const [, tenant = "", seq = "", timeMs = "", prev = "", contentHash = ""] = text.split("\n", linkLines);
  if (!uuidPattern.test(tenant) || !text.startsWith(linkTextStart(tenant))) return undefined;
  if (!numberPattern.test(seq) || !numberPattern.test(timeMs)) return undefined;
  if (!hashPattern.test(prev) || !hashPattern.test(contentHash)) return undefined;
  const [at, placed] = [Number(timeMs), Number(seq)];
  if (!Number.isSafeInteger(at) || !Number.isSafeInteger(placed)) return undefined;
  return { tenant, seq: placed, timeMs: at, prev, contentHash };
}

function no(problem: string): { readonly ok: false; readonly problem: string } {
  return { ok: false, problem };
}
