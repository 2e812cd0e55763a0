/** Errors of a witness whose own files are missing or damaged. */
import { refused, RefusalError } from "@countersign/contract";

export function witnessFailure(message: string, cause?: unknown): RefusalError {
  const refusal = refused("witness_unusable", message);
  return cause === undefined ? new RefusalError(refusal) : new RefusalError(refusal, { cause });
}
