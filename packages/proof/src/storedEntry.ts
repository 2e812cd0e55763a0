/** An entry as it is stored, whoever stores it: the verifier's input. */
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
