/** The one error a caller of the SDK meets. */
import { errorCatalogue, type ErrorCode, type Problem } from "@countersign/contract";

/**
 * Codes the SDK adds to the server's:
 * `unreachable` no answer came · `timed_out` none came in time, or `waitFor` gave up · `aborted` by the caller's signal ·
 * `malformed_answer` the answer is not Countersign's · `settled_otherwise` `waitFor`: the change-set can no longer get
 * there.
 */
export const clientCodes = ["unreachable", "timed_out", "aborted", "malformed_answer", "settled_otherwise"] as const;
export type ClientCode = (typeof clientCodes)[number];

export interface CountersignErrorFields {
  readonly code: ErrorCode | ClientCode;
  /** HTTP status; 0 when there was no answer. */
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly operation: string;
  readonly problems?: readonly Problem[];
  readonly legal?: readonly string[];
  readonly retryAfterSeconds?: number;
  readonly requestId?: string;
  /** All other members of the problem document. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The code, the error, and every problem with its pointer: `error.message` alone says what to do. */
export class CountersignError extends Error {
  override readonly name = "CountersignError";
  readonly code: ErrorCode | ClientCode;
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly operation: string;
  /** All problems of the request, each with a JSON pointer into the request body. */
  readonly problems: readonly Problem[];
  /** Commands that are legal in the present state of the change-set. */
  readonly legal: readonly string[] | undefined;
  readonly retryAfterSeconds: number | undefined;
  readonly requestId: string | undefined;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(fields: CountersignErrorFields, options?: { cause?: unknown }) {
    super(messageOf(fields), options);
    this.code = fields.code;
    this.status = fields.status;
    this.title = fields.title;
    this.detail = fields.detail;
    this.operation = fields.operation;
    this.problems = fields.problems ?? [];
    this.legal = fields.legal;
    this.retryAfterSeconds = fields.retryAfterSeconds;
    this.requestId = fields.requestId;
    this.details = fields.details ?? {};
  }
}

export function isCountersignError(
  error: unknown,
  ...codes: readonly (ErrorCode | ClientCode)[]
): error is CountersignError {
  return error instanceof CountersignError && (codes.length === 0 || codes.includes(error.code));
}

function messageOf(fields: CountersignErrorFields): string {
  const lines = [`${fields.code}: ${fields.detail}`];
  for (const problem of fields.problems ?? []) {
    const place = problem.pointer === undefined ? "" : `${problem.pointer === "" ? "(whole)" : problem.pointer} `;
    lines.push(`  ${place}${problem.code}: ${problem.message}`);
  }
  if (fields.legal !== undefined)
    lines.push(`  legal now: ${fields.legal.length === 0 ? "nothing" : fields.legal.join(", ")}`);
  return lines.join("\n");
}

const known = new Set([
  "type",
  "title",
  "status",
  "detail",
  "code",
  "instance",
  "problems",
  "legal",
  "retryAfterSeconds",
]);

/** Reads a problem document (RFC 9457) of the server. `undefined`: the value is no problem document. */
export function errorFromProblem(
  document: unknown,
  answer: { readonly status: number; readonly operation: string; readonly retryAfterSeconds?: number },
): CountersignError | undefined {
  if (typeof document !== "object" || document === null) return undefined;
  const fields = document as Readonly<Record<string, unknown>>;
  const code = fields["code"];
  if (typeof code !== "string" || !Object.hasOwn(errorCatalogue, code)) return undefined;
  const text = (name: string): string | undefined =>
    typeof fields[name] === "string" ? (fields[name] as string) : undefined;
  const list = (name: string): readonly unknown[] | undefined =>
    Array.isArray(fields[name]) ? (fields[name] as readonly unknown[]) : undefined;
  const after =
    typeof fields["retryAfterSeconds"] === "number" ? fields["retryAfterSeconds"] : answer.retryAfterSeconds;
  const problems = list("problems") as readonly Problem[] | undefined;
  const legal = list("legal") as readonly string[] | undefined;
  const instance = text("instance");
  const title = text("title") ?? errorCatalogue[code as ErrorCode].title;
  return new CountersignError({
    code: code as ErrorCode,
    status: answer.status,
    title,
    detail: text("detail") ?? title,
    operation: answer.operation,
    ...(problems === undefined ? {} : { problems }),
    ...(legal === undefined ? {} : { legal }),
    ...(after === undefined ? {} : { retryAfterSeconds: after }),
    ...(instance === undefined ? {} : { requestId: instance }),
    details: Object.fromEntries(Object.entries(fields).filter(([name]) => !known.has(name))),
  });
}
