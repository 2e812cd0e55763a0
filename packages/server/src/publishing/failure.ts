/** Why nothing is signed, as refusals: a code, the culprit, the way out. */
import { refused, RefusalError, type ErrorCode } from "@countersign/contract";

export function failure(code: ErrorCode, message: string, cause?: unknown): RefusalError {
  return cause === undefined
    ? new RefusalError(refused(code, message))
    : new RefusalError(refused(code, message), { cause });
}

/** The key directory cannot be used in its present state. */
export function keyFailure(message: string, cause?: unknown): RefusalError {
  return failure("log_key_unusable", message, cause);
}

export function quoted(path: string): string {
  return `\`${path}\``;
}
