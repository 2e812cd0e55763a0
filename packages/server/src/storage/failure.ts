/**
 * Failures between Countersign and its PostgreSQL are refusals like any other: a code of the catalogue, and a message
 * that names the culprit and the way out. Foreign errors travel as `cause`.
 */
import { refused, RefusalError, type ErrorCode } from "@countersign/contract";

export function failure(
  code: ErrorCode,
  message: string,
  options: { cause?: unknown; retryAfterSeconds?: number } = {},
): RefusalError {
  const { cause, retryAfterSeconds } = options;
  const refusal = refused(code, message, retryAfterSeconds === undefined ? {} : { retryAfterSeconds });
  return cause === undefined ? new RefusalError(refusal) : new RefusalError(refusal, { cause });
}
