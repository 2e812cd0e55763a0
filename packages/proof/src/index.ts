/** `@countersign/proof`: canonical bytes, hashes, signatures and verification of a Countersign ledger. No dependencies. */
export * from "./formatVersion.js";
export type { JsonObject, JsonValue } from "./json.js";
export { CanonicalJsonError, canonicalDepthMax, canonicalize, hasLoneSurrogate, isCanonical } from "./canonicalJson.js";
export * from "./hash.js";
export * from "./entry.js";
export * from "./digests.js";
export * from "./requestSignatures.js";
export * from "./signature.js";
export * from "./states.js";
export * from "./strictJson.js";
export * from "./findings.js";
export * from "./verify.js";
export type { EntryBytes, EntryRows } from "./entryBytes.js";
export { VoteChecker, voteActions, type VoteOutcome, type VoteVerdict } from "./votes.js";
export * from "./bundle.js";
export * from "./bundleReader.js";
export * from "./verifyBundle.js";
export * from "./state.js";
