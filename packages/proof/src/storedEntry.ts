/** A stored entry, from a database or a file: the verifier's input. */
export interface StoredEntry {
  readonly tenantId: string;
  readonly seq: number;
  readonly timeMs: number;
  /** The column beside the content; null where the storage has none (bundles). */
  readonly entryId: string | null;
  /** Hashes are lower-case hex. */
  readonly prev: string;
  /** The exact text, or its UTF-8; null if erased. */
  readonly content: string | Uint8Array | null;
  readonly contentHash: string;
  readonly hash: string;
  /** The opened body, where it is at hand; its salt as 64 hex digits. */
  readonly body?: { readonly salt: string; readonly text: string } | undefined;
  /** In a selection: the inclusion proof to its tree. */
  readonly proof?: readonly Uint8Array[] | undefined;
}

/** Thrown by a source whose bytes are not in the format. */
export class MalformedSourceError extends Error {
  override readonly name = "MalformedSourceError";
}

/** Fields that break the format in any chain. Wrong digits in a hash show when the chain is checked. */
export function findMalformed(entry: StoredEntry): string | undefined {
  if (!isCount(entry.seq) || entry.seq >= Number.MAX_SAFE_INTEGER) return "seq is not a sequence number";
  if (!isCount(entry.timeMs)) return "the time is not milliseconds";
  if (typeof entry.prev !== "string" || entry.prev.length !== 64) return "prev is not a hash";
  if (typeof entry.hash !== "string" || entry.hash.length !== 64) return "hash is not a hash";
  if (typeof entry.contentHash !== "string" || entry.contentHash.length !== 64)
    return "the content's hash is not a hash";
  if (typeof entry.tenantId !== "string") return "the tenant is not an id";
  return undefined;
}

export function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}
