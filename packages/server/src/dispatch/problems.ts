/** Refusals as problem documents (RFC 9457). They contain no internals of the program. */
import { type ErrorEntry, errorCatalogue, refused, type Refusal } from "@countersign/contract";

export const problemTypeBase = "https://countersign.dev/problems/";

export interface ProblemDocument {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Readonly<Record<string, unknown>>;
}

/** `instance`: names the occurrence; the log has it under the same id. */
export function problemOf(refusal: Refusal, requestId: string): ProblemDocument {
  const { status, title }: ErrorEntry = errorCatalogue[refusal.code];
  const { retryAfterSeconds } = refusal;
  const body = {
    ...refusal.details,
    type: `${problemTypeBase}${refusal.code}`,
    title,
    status,
    detail: refusal.message,
    code: refusal.code,
    instance: `urn:uuid:${requestId}`,
    ...(refusal.problems === undefined ? {} : { problems: refusal.problems }),
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
  };
  const headers = {
    ...(retryAfterSeconds === undefined ? {} : { "retry-after": String(Math.max(1, Math.ceil(retryAfterSeconds))) }),
    // RFC 9110 §11.6.1: a 401 says how to authenticate.
    ...(status === 401 ? { "www-authenticate": 'Bearer realm="countersign"' } : {}),
  };
  return { status, headers, body };
}

export function internalError(requestId: string): Refusal {
  return refused("internal", `something went wrong in the server; its log has the cause under \`${requestId}\``);
}
