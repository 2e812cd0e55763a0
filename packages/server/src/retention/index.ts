/**
 * What leaves the ledger, and what may not: legal holds, erasures of a subject's texts, prunings with their archives.
 *
 * Promises: hashes stay, so what was erased or pruned is still proven to have been there · what a hold names is neither erased
 * nor pruned · every step is recorded before its bytes go, and what a process that died left undone is finished at a start.
 */
export { checkArchive, type ArchiveCheck } from "./archives.js";
export { archives, finishTenant, previewPruning, prune, type RetentionDesk, retentionJob } from "./commands.js";
export { type Eraser } from "./erase.js";
export { retentionHandlers } from "./operations.js";
