/** Every limit, with its unit and the reason. Exceeding one is refused with `limit_exceeded` (or the code named here). */
export const limits = {
  /** Bytes of an HTTP request body: a change-set of large documents fits, a flood does not (`body_too_large`). */
  requestBytesMax: 8 * 1024 * 1024,
  /** Levels of nesting in any JSON of a request: neither people nor tools write deeper documents (`json_too_deep`). */
  jsonDepthMax: 64,
  /** Values in one JSON text, including the members of objects (`json_too_large`). */
  jsonValuesMax: 200_000,
  /** Items of one change-set: more cannot be reviewed by a person. */
  itemsMax: 200,
  /**
   * Characters of the JSON documents of all items together, before and after: each item keeps both, and one commit
   * writes all.
   */
  planDocumentsMax: 24 * 1024 * 1024,
  /** Bytes of files that one plan keeps. */
  planFileBytesMax: 128 * 1024 * 1024,
  /** Targets that all items of a change-set touch: each is read, held and looked up by itself. */
  planTargetsMax: 2_000,
  /** Title, in UTF-16 code units. */
  titleLengthMax: 200,
  /** Description and reasons, in UTF-16 code units. */
  descriptionLengthMax: 10_000,
  reasonLengthMax: 2_000,
  tagsMax: 20,
  tagLengthMax: 60,
  /** JCS bytes of free metadata. */
  metadataBytesMax: 16 * 1024,
  dependsOnMax: 50,
  /** Ids of targets, kinds, environments, in UTF-16 code units. */
  targetIdLengthMax: 512,
  pathLengthMax: 1024,
  /** JCS bytes of one resource document. */
  resourceBytesMax: 2 * 1024 * 1024,
  /** Bytes of one file that is changed: its backup is kept whole. */
  fileBytesMax: 4 * 1024 * 1024,
  /** Operations in one JSON Patch. */
  patchOperationsMax: 5_000,
  /** JCS bytes of one JSON Schema. */
  schemaBytesMax: 256 * 1024,
  idempotencyKeyLengthMax: 128,
  /** Longer than the longest approval deadline (48 h). */
  idempotencyHours: 72,
  pageSizeDefault: 50,
  pageSizeMax: 200,
  /** Attempts to apply one approval before it is rejected `apply_failed`. */
  applyAttemptsMax: 3,
  /** Times that one transaction is loaded and decided before it is refused with 409 `conflict`. */
  transactAttemptsMax: 5,
  /** Changes in one group commit, and their bytes. */
  groupChangesMax: 256,
  groupBytesMax: 2 * 1024 * 1024,
  /** Changes waiting for the door; more are refused with `overloaded`. */
  queueChangesMax: 4_096,
  principalNameLengthMax: 120,
  /** Days until a minted API key expires: by default, and at most. */
  apiKeyDaysDefault: 90,
  apiKeyDaysMax: 366,
  /** Minutes a one-time enrolment code is good for. */
  enrolmentCodeMinutes: 60,
  /** Days an approval holds at most before it must be applied. */
  approvedDaysMax: 7,
  /** Hours after an application in which it can be undone at once (default of the configuration). */
  undoWindowHoursDefault: 72,
  /** Legal holds in force in one tenant: every erasure and every pruning checks each of them. */
  holdsMax: 1_000,
  /** Grants of one agent. */
  grantsMax: 200,
} as const;
