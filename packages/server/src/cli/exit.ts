/** The program's exit codes, and the failures that happen on this side of the wire. Exit codes are stable. */
import type { ErrorCode } from "@countersign/contract";
import { errorCodes } from "@countersign/contract";
import type { CountersignError } from "@countersign/sdk";

export const exit = {
  ok: 0,
  /** The server refused, or the ledger was tampered with. */
  refused: 1,
  /** `audit verify`: integrity holds, completeness was demanded and not shown. `audit report`: there is more than was listed. */
  incomplete: 2,
  /** Nothing could be decided: server or database away, no answer in time. */
  unreachable: 3,
  /** The input is malformed: a file, a document, a request. */
  malformed: 4,
  /** The command line itself is wrong, or something that the command needs is missing. */
  usage: 64,
} as const;
export type ExitCode = (typeof exit)[keyof typeof exit];

/** Codes of failures on this side; like those of the server they are added, never renamed. */
export const localCodes = {
  usage: exit.usage,
  confirmation_needed: exit.usage,
  passphrase_needed: exit.usage,
  passphrase_wrong: exit.refused,
  passphrase_short: exit.malformed,
  key_file_missing: exit.usage,
  key_file_damaged: exit.malformed,
  keys_in_workspace: exit.refused,
  not_logged_in: exit.usage,
  credentials_damaged: exit.malformed,
  file_unreadable: exit.malformed,
  file_exists: exit.usage,
  file_malformed: exit.malformed,
  nothing_to_undo: exit.refused,
  not_found_here: exit.refused,
  digest_differs: exit.refused,
  database_missing: exit.unreachable,
  cancelled: exit.refused,
} as const satisfies Record<string, ExitCode>;
export type LocalCode = keyof typeof localCodes;

/** A failure found by the CLI: a message with the culprit in backticks, and the command that would help. */
export class CliError extends Error {
  override readonly name = "CliError";
  readonly code: LocalCode;
  /** Commands or hints, one a line. */
  readonly help: readonly string[];
  readonly problems: readonly { readonly pointer?: string; readonly message: string }[];
  constructor(
    code: LocalCode,
    message: string,
    options: {
      help?: readonly string[];
      problems?: readonly { readonly pointer?: string; readonly message: string }[];
      cause?: unknown;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.help = options.help ?? [];
    this.problems = options.problems ?? [];
  }
}

/** Codes that say the request itself is malformed. */
const malformed: ReadonlySet<ErrorCode> = new Set([
  "body_too_large",
  "unsupported_media_type",
  "malformed_json",
  "json_duplicate_key",
  "json_too_deep",
  "json_too_large",
  "json_number_unsafe",
  "text_unstorable",
  "invalid_request",
  "limit_exceeded",
]);

/** Codes of the machine rather than of a decision, met by commands that work without the server. */
const undecided: ReadonlySet<ErrorCode> = new Set([
  "data_directory_in_use",
  "data_directory_unusable",
  "postgres_unsupported",
  "postgres_start_failed",
  "configuration_invalid",
  "sealing_key_invalid",
  "sealed_unreadable",
  "log_key_unusable",
  "witness_unusable",
  "schema_behind",
  "migration_edited",
  "migration_missing",
  "migration_newer",
]);

export function exitCodeOfCode(code: string, status: number): ExitCode {
  if (Object.hasOwn(localCodes, code)) return localCodes[code as LocalCode];
  if (malformed.has(code as ErrorCode)) return exit.malformed;
  if (undecided.has(code as ErrorCode) || status === 503 || code === "internal") return exit.unreachable;
  // `unreachable`, `timed_out` and the SDK's other codes for the way to the server.
  return (errorCodes as readonly string[]).includes(code) ? exit.refused : exit.unreachable;
}

export function exitCodeOfError(error: CountersignError): ExitCode {
  return error.code === "settled_otherwise" ? exit.refused : exitCodeOfCode(error.code, error.status);
}
