/**
 * Digests of the states of targets. They stand in plans, approvals and entries: two states are the same exactly when their
 * digests are. Stored digests depend on these bytes for ever: a change needs a new version tag.
 */
import { canonicalize } from "./canonicalJson.js";
import { tag } from "./formatVersion.js";
import { sha256Hex, sha256PartsHex } from "./hash.js";
import type { JsonValue } from "./json.js";

/** SHA-256("countersign.resource.v…" 0x00 JCS(document)), hex: equal documents, whatever the order of their members. */
export function resourceStateHash(document: JsonValue): string {
  return sha256Hex(`${tag("resource")}\u0000${canonicalize(document)}`);
}

/** SHA-256("countersign.file.v…" 0x00 mode 0x00 bytes), hex; mode: permission bits as four octal digits, e.g. `0644`. */
export function fileStateHash(bytes: Uint8Array, mode: number): string {
  if (!Number.isInteger(mode) || mode < 0 || mode > 0o7777) throw new Error(`not permission bits: ${mode}`);
  return sha256PartsHex(`${tag("file")}\u0000${mode.toString(8).padStart(4, "0")}\u0000`, bytes);
}
