/**
 * One capability: everything the HTTP edge, OpenAPI, the SDK and the CLI need to know of it. They all derive from this row.
 *
 * `input` is flat: members named in the path come from there; of the rest, GET and DELETE take the query string, others the
 * JSON body. With `ifMatch`, the member of that name comes from the `If-Match` header.
 */
import type { z } from "zod";
import type { ErrorCode } from "../errors.js";
import type { Permission } from "../permissions.js";

export interface Operation<I extends z.ZodObject = z.ZodObject, O extends z.ZodType = z.ZodType> {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  readonly path: `/api/${string}`;
  readonly summary: string;
  readonly tag: string;
  readonly input: I;
  readonly output: O;
  /** Status of success. */
  readonly status: 200 | 201 | 202;
  /** Null: no credential is needed. */
  readonly permission: Permission | null;
  /** Takes `Idempotency-Key`; the SDK sends one by default. */
  readonly idempotent?: true;
  /** Member that is sent in `If-Match`. */
  readonly ifMatch?: string;
  /** A person must show their key unlocked: member `proof`. `for_rules`: where it changes what governs the tenant. */
  readonly proof?: true | "for_rules";
  /** The answer is text streamed line by line; `output` describes one line, of server-sent events the `data` of one. */
  readonly stream?: "application/jsonl" | "text/event-stream";
  /** Member that `Last-Event-ID` stands for: what a browser sends when it connects again. It wins over the query. */
  readonly resume?: string;
  /** Where the answer is only begun: the address of the job, which makes the answer a 202. */
  readonly job?: (answer: z.output<O>) => string | undefined;
  /** Codes beyond those every operation may answer. */
  readonly errors: readonly ErrorCode[];
  /** The command that does it, as typed. */
  readonly cli: string | null;
}

export function operation<I extends z.ZodObject, O extends z.ZodType>(row: Operation<I, O>): Operation<I, O> {
  return row;
}

/** Names in braces in the path. */
export function pathParameters(path: string): string[] {
  return [...path.matchAll(/\{([A-Za-z]+)\}/g)].map((match) => match[1] as string);
}
