/**
 * Every code a caller can meet, its HTTP status and its meaning. Codes are part of the protocol: they are added, never
 * renamed or reused. The order of the catalogue decides which refusal is reported first when several apply.
 */

export interface ErrorEntry {
  /** HTTP status of the problem document (RFC 9457). */
  readonly status: number;
  /** Short, and the same for every occurrence: the `title` of the problem document. */
  readonly title: string;
  /** Governed refusals leave an entry in the ledger, aggregated per principal, code and subject by the minute. */
  readonly recorded?: true;
}

export const errorCatalogue = {
  // The server cannot serve anybody just now.
  database_unavailable: { status: 503, title: "the database is away" },
  overloaded: { status: 503, title: "too much work is queued" },
  shutting_down: { status: 503, title: "the server is stopping" },
  not_ready: { status: 503, title: "the server has not finished starting" },
  clock_behind: { status: 503, title: "the server's clock is behind its ledger" },

  // Who is asking.
  unauthenticated: { status: 401, title: "no valid credential" },
  key_malformed: { status: 401, title: "the API key is malformed" },
  key_unknown: { status: 401, title: "the API key is unknown" },
  key_expired: { status: 401, title: "the API key has expired" },
  key_revoked: { status: 401, title: "the API key was revoked" },
  principal_suspended: { status: 401, title: "the principal is suspended" },
  forbidden: { status: 403, title: "the operation needs a permission that is missing", recorded: true },
  scope_missing: { status: 403, title: "the API key lacks the scope", recorded: true },

  // What was sent.
  body_too_large: { status: 413, title: "the request body is too large" },
  unsupported_media_type: { status: 415, title: "the request body is not JSON" },
  malformed_json: { status: 400, title: "the request body is not valid JSON" },
  json_duplicate_key: { status: 422, title: "an object has a member twice" },
  json_too_deep: { status: 422, title: "the JSON is nested too deeply" },
  json_too_large: { status: 422, title: "the JSON has too many values" },
  json_number_unsafe: { status: 422, title: "a number cannot be kept exactly" },
  text_unstorable: { status: 422, title: "a text holds U+0000 or a lone surrogate" },
  invalid_request: { status: 422, title: "the request is not valid" },
  limit_exceeded: { status: 422, title: "a documented limit is exceeded" },
  unknown_configuration: { status: 422, title: "the configuration resource is not known" },
  not_found: { status: 404, title: "there is no such thing" },
  method_not_allowed: { status: 405, title: "the path does not take this method" },
  idempotency_key_reused: { status: 422, title: "the idempotency key was used with another request" },
  idempotency_in_flight: { status: 409, title: "a request with this idempotency key is in flight" },
  precondition_required: { status: 428, title: "the request needs `If-Match`, a proof or a signature" },
  precondition_failed: { status: 412, title: "the thing has changed since it was read" },

  // Names and existence.
  already_exists: { status: 409, title: "it exists already" },
  name_taken: { status: 409, title: "the name is taken" },
  human_root_required: { status: 422, title: "an agent or service needs a human who is answerable" },
  enrolment_code_invalid: { status: 403, title: "the enrolment code is wrong, used or expired" },
  signing_key_unknown: { status: 403, title: "the signing key is not enrolled for this principal", recorded: true },
  signing_key_revoked: { status: 403, title: "the signing key was revoked", recorded: true },
  signature_invalid: { status: 403, title: "the signature does not verify", recorded: true },
  last_administrator: { status: 409, title: "the tenant would be left without an administrator" },

  // The lifecycle of a change-set.
  illegal_transition: { status: 409, title: "the change-set is not in a state for this" },
  erased: { status: 410, title: "the texts were erased" },
  legal_hold: { status: 409, title: "a legal hold forbids the removal", recorded: true },
  checkpoint_missing: { status: 409, title: "no signed checkpoint covers the entries" },
  archive_unusable: { status: 409, title: "the archive cannot be written or read back" },
  ledger_mismatch: { status: 409, title: "the database and the ledger disagree", recorded: true },
  kill_switch_engaged: { status: 423, title: "a kill-switch is engaged", recorded: true },
  item_invalid: { status: 422, title: "an item cannot be carried out as written" },
  operation_unsupported: { status: 422, title: "the target kind does not support the operation" },
  target_not_found: { status: 422, title: "the target does not exist" },
  target_exists: { status: 422, title: "the target exists already" },
  schema_violation: { status: 422, title: "the document does not satisfy its schema" },
  schema_unsupported: { status: 422, title: "the JSON Schema cannot be used" },
  patch_failed: { status: 422, title: "the patch does not apply" },
  no_effect: { status: 422, title: "the item changes nothing" },
  dependency_cycle: { status: 422, title: "dependencies form a cycle" },
  dependency_unmet: { status: 409, title: "a change-set this one depends on is not applied" },
  path_refused: { status: 422, title: "the path is not allowed" },
  path_denied: { status: 403, title: "the path is denied to every file target", recorded: true },
  target_unavailable: { status: 503, title: "the target cannot be reached" },
  target_locked: { status: 409, title: "the target is being changed" },
  masked_value: { status: 422, title: "a masked value was written back" },

  // Governance.
  policy_denied: { status: 403, title: "policy denies it", recorded: true },
  read_not_granted: { status: 403, title: "the agent may not read the target", recorded: true },
  priority_needs_human: { status: 403, title: "priority HIGH or CRITICAL needs a person", recorded: true },
  category_lowered: { status: 422, title: "the category may be raised, not lowered" },
  route_unsatisfiable: { status: 409, title: "nobody is left who could approve", recorded: true },
  separation_of_duties: { status: 403, title: "the author cannot approve their own change-set", recorded: true },
  not_an_approver: { status: 403, title: "the principal is not on the approval route", recorded: true },
  agents_never_vote: { status: 403, title: "only people vote", recorded: true },
  reason_required: { status: 422, title: "a reason is required" },
  digest_mismatch: { status: 412, title: "the digest is not that of the current revision", recorded: true },
  risk_increased: { status: 409, title: "the risk is higher than the approved risk", recorded: true },
  approvals_missing: { status: 409, title: "approvals are missing", recorded: true },
  expired: { status: 409, title: "the deadline has passed", recorded: true },
  drift: { status: 409, title: "a target is not in the state the plan was made for", recorded: true },
  conflict: { status: 409, title: "somebody else changed it first" },
  application_in_flight: { status: 409, title: "an application is in flight" },
  attempts_exhausted: { status: 409, title: "no attempt is left" },
  frozen: { status: 409, title: "changes are frozen", recorded: true },
  rate_limited: { status: 429, title: "too many requests", recorded: true },
  rollback_blocked: { status: 409, title: "later change-sets build on this one", recorded: true },
  rollback_not_permitted: { status: 403, title: "the principal may not roll this back", recorded: true },
  irreversible: { status: 409, title: "the change cannot be undone" },
  backup_unusable: { status: 409, title: "the backup is missing or damaged", recorded: true },
  kill_not_engaged: { status: 409, title: "the kill-switch is not engaged" },
  release_needs_another: { status: 409, title: "another person must release it too" },

  // Files.
  disk_full: { status: 507, title: "the disk is full" },
  workspace_invalid: { status: 422, title: "the folder cannot be a workspace" },

  // The server and its storage, at start and on the command line.
  configuration_invalid: { status: 500, title: "the configuration is not valid" },
  data_directory_in_use: { status: 500, title: "another server uses the data directory" },
  data_directory_unusable: { status: 500, title: "the data directory cannot be used" },
  postgres_unsupported: { status: 500, title: "the PostgreSQL server cannot be used" },
  postgres_start_failed: { status: 500, title: "the embedded PostgreSQL did not start" },
  migration_edited: { status: 500, title: "an applied migration was edited" },
  migration_missing: { status: 500, title: "an applied migration is missing" },
  migration_newer: { status: 500, title: "the database is newer than this program" },
  migration_failed: { status: 500, title: "a migration failed" },
  schema_behind: { status: 500, title: "the database needs a migration" },
  down_refused: { status: 500, title: "the migration cannot be undone" },
  sealing_key_invalid: { status: 500, title: "the sealing key cannot be used" },
  sealed_unreadable: { status: 500, title: "a sealed value cannot be opened" },
  witness_unusable: { status: 500, title: "the witness cannot be used" },

  // Publishing: checkpoints of the ledger, signed with the log key.
  log_key_unusable: { status: 500, title: "the log key cannot be used" },
  publishing_stopped: { status: 503, title: "the ledger is not published" },
  not_published: { status: 409, title: "no checkpoint covers the entry yet" },
  nothing_to_restore: { status: 409, title: "there is nothing to restore" },

  // Ours.
  internal: { status: 500, title: "an internal error" },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorCatalogue;
export const errorCodes = Object.keys(errorCatalogue) as readonly ErrorCode[];

/** One thing that is wrong. `pointer` is a JSON pointer (RFC 6901) into the request body. */
export interface Problem {
  readonly code: ErrorCode;
  readonly message: string;
  readonly pointer?: string;
}

/** A decision not to do something, with the culprit and the way out. Data, not an exception. */
export interface Refusal {
  readonly kind: "refused";
  readonly code: ErrorCode;
  readonly message: string;
  /** All problems found, when there is more than one or a pointer is known. */
  readonly problems?: readonly Problem[];
  readonly details?: Readonly<Record<string, unknown>>;
  /** Whole seconds after which trying again may help. */
  readonly retryAfterSeconds?: number;
}

export type RefusalOptions = Omit<Refusal, "kind" | "code" | "message">;

/** Makes a refusal. The message is lower case, names the culprit in backticks and says the way out. */
export function refused(code: ErrorCode, message: string, options: RefusalOptions = {}): Refusal {
  return { kind: "refused", code, message, ...options };
}

/** One refusal for many problems: its code is that of the problem that stands first in the catalogue. */
export function refusedForProblems(problems: readonly Problem[]): Refusal {
  const first = [...problems].sort((a, b) => errorCodes.indexOf(a.code) - errorCodes.indexOf(b.code))[0];
  if (first === undefined) throw new Error("refusedForProblems needs at least one problem");
  const more = problems.length === 1 ? "" : ` (and ${problems.length - 1} more)`;
  return refused(first.code, `${first.message}${more}`, { problems });
}

export function isRefusal(value: unknown): value is Refusal {
  return typeof value === "object" && value !== null && (value as { kind?: unknown }).kind === "refused";
}

/**
 * A refusal, thrown where a return value would not reach the caller. The edges turn it back into a problem document.
 */
export class RefusalError extends Error {
  override readonly name = "RefusalError";
  readonly refusal: Refusal;
  constructor(refusal: Refusal, options?: { cause?: unknown }) {
    super(refusal.message, options);
    this.refusal = refusal;
  }
}

/** Throws the refusal as a `RefusalError`. */
export function refuse(code: ErrorCode, message: string, options: RefusalOptions = {}): never {
  throw new RefusalError(refused(code, message, options));
}
