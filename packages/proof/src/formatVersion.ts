/**
 * The version that stands in every tag of the ledger format (`countersign.entry.v…`) and in `content.v`.
 * Stored hashes depend on it for ever: another version is another set of tags, and the old ones stay verifiable.
 * Version 1 is frozen: a second verifier, written from `docs/ledger-format.md` alone, agrees with this package
 * (`test/verifyByHand.test.ts`).
 */
export const FORMAT_VERSION = 1;

/** `countersign.<name>.v<FORMAT_VERSION>`: the first bytes of everything that is hashed or signed. */
export function tag(
  name: "entry" | "body" | "row" | "revision" | "approval" | "vote" | "resource" | "file" | "log-key" | "restore",
): string {
  return `countersign.${name}.v${FORMAT_VERSION}`;
}
