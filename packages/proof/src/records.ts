/**
 * The ledger's entries about itself: erasures, prunings, restores. They are found by the first bytes of their content,
 * read strictly, and kept in bounded memory. Whether they are true is judged at the end.
 */
import { excuseActions, restoredAction } from "./actions.js";
import { bytesOfHex, equalBytes, utf8Bytes } from "./bytes.js";
import { parseOrigin } from "./checkpoint.js";
import type { Restore } from "./completeness.js";
import { hashPattern, parseEntryContent, type EntryContent } from "./entry.js";
import { Excuses } from "./excuses.js";
import type { JsonObject } from "./json.js";
import { verifySignature } from "./signature.js";
import { restoreStatementText, type RestoreStatement } from "./statements.js";

/** More restores than this in one ledger are not believed. */
const restoresMax = 1000;

export class LedgerRecords {
  readonly excuses = new Excuses();
  readonly #restores: Restore[] = [];

  get restores(): readonly Restore[] {
    return this.#restores;
  }

  /**
   * Takes every entry in order; its content's hash has been checked. `rootOf`: the root of the entries before it, if
   * known. Returns the entry's error, if any.
   */
  take(
    seq: number,
    content: string | Uint8Array,
    rootOf: (size: number) => Uint8Array | undefined,
  ): string | undefined {
    if (!mayBeRecord(content)) return undefined;
    const text = typeof content === "string" ? content : Buffer.from(content).toString("utf8");
    if (!starts.some((start) => text.startsWith(start))) return undefined;
    const parsed = parseEntryContent(text);
    if (!parsed.ok) return parsed.problem;
    return parsed.content.action === restoredAction
      ? this.#takeRestore(seq, parsed.content, rootOf)
      : this.excuses.take(seq, parsed.content);
  }

  #takeRestore(
    by: number,
    { data }: EntryContent,
    rootOf: (size: number) => Uint8Array | undefined,
  ): string | undefined {
    const read = readRestore(data);
    if (read === undefined) return "not a whole restore statement";
    if (this.#restores.length >= restoresMax) return "too many restores";
    const { statement, key, signature } = read;
    // The root is known here if nothing was written between the restored state and the entry; else where a checkpoint is of that size.
    const computed = statement.size === by ? rootOf(by) : undefined;
    const message = utf8Bytes(restoreStatementText(statement));
    this.#restores.push({
      by,
      incarnation: statement.incarnation,
      previousOrigin: statement.origin,
      previousIncarnation: parseOrigin(statement.origin)?.incarnation ?? 0,
      size: statement.size,
      root: statement.root,
      lostSize: statement.lostSize,
      rootHolds: statement.size <= by && (computed === undefined || equalBytes(computed, statement.root)),
      key,
      isSigned: () => verifySignature(key, message, signature),
    });
    return undefined;
  }
}

function readRestore(
  data: JsonObject,
): { readonly statement: RestoreStatement; readonly key: string; readonly signature: string } | undefined {
  const { incarnation, size, root, lostSize, lostRoot, previousOrigin, atMs, key, signature } = data;
  if (!isCount(incarnation) || !isCount(size) || !isCount(lostSize) || !isCount(atMs)) return undefined;
  if (!isHash(root) || !isHash(lostRoot)) return undefined;
  if (typeof key !== "string" || typeof signature !== "string" || typeof previousOrigin !== "string") return undefined;
  if (parseOrigin(previousOrigin) === undefined) return undefined;
  const roots = { root: bytesOfHex(root), lostRoot: bytesOfHex(lostRoot) };
  return { statement: { origin: previousOrigin, incarnation, size, lostSize, atMs, ...roots }, key, signature };
}

const starts = [restoredAction, ...Object.values(excuseActions)].map((action) => `{"action":"${action}"`);
const actionAt = '{"action":"'.length;

/** In canonical JSON `action` is the first member of a content: `le…` and `su…` rule out nearly all. */
function mayBeRecord(content: string | Uint8Array): boolean {
  const code = (at: number): number | undefined => (typeof content === "string" ? content.charCodeAt(at) : content[at]);
  const first = code(actionAt);
  return first === 0x6c ? code(actionAt + 1) === 0x65 : first === 0x73 && code(actionAt + 1) === 0x75;
}

function isHash(value: unknown): value is string {
  return typeof value === "string" && hashPattern.test(value);
}
function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
