/**
 * One capability. The HTTP edge, OpenAPI, the SDK and the CLI derive everything about it from this row.
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
  /**
   * A person must prove that their signing key is unlocked, in the member `proof`. `for_rules`: only where the
   * operation changes the tenant's governance.
   */
  readonly proof?: true | "for_rules";
  /** The answer is text streamed line by line; `output` describes one line, of server-sent events the `data` of one. */
  readonly stream?: "application/jsonl" | "text/event-stream";
  /**
   * Member that the header `Last-Event-ID` sets. A browser sends this header when it connects again; it wins over the
   * query.
   */
  readonly resume?: string;
  /** For a job that goes on after the answer: its address, which makes the answer a 202. */
  readonly job?: (answer: z.output<O>) => string | undefined;
  /** Codes that this operation may answer, besides those of every operation. */
  readonly errors: readonly ErrorCode[];
  /** The command that runs the operation, as a person types it. */
  readonly cli: string | null;
}

export function operation<I extends z.ZodObject, O extends z.ZodType>(row: Operation<I, O>): Operation<I, O> {
  return row;
}

/** Names in braces in the path. */
export function pathParameters(path: string): string[] {
  return [...path.matchAll(/\{([A-Za-z]+)\}/g)].map((match) => match[1] as string);
}
