/**
 * How agents reach an operation over MCP, by its class. READ looks; PROPOSE makes and withdraws proposals; ENGAGE stops everything.
 * GOVERN decides, applies and releases, ADMIN is about people, keys and what is kept: both are people's, and never a tool.
 */
export type ToolFacts =
  | { readonly class: "READ" | "PROPOSE" | "ENGAGE"; readonly tool: string }
  | { readonly class: "GOVERN" | "ADMIN"; readonly tool: null };

type Stream = "application/jsonl" | "text/event-stream";

/**
 * One capability: everything the HTTP edge, OpenAPI, the SDK and the CLI need to know of it. They all derive from this row.
 *
 * `input` is flat: members named in the path come from there; of the rest, GET and DELETE take the query string, others the
 * JSON body. With `ifMatch`, the member of that name comes from the `If-Match` header.
 */
import type { z } from "zod";
import type { ErrorCode } from "../errors.js";
import type { Permission } from "../permissions.js";

export interface Operation<
  I extends z.ZodObject = z.ZodObject,
  O extends z.ZodType = z.ZodType,
  S extends Stream = Stream,
> {
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
  /**
   * Type of what `id` in the path names: a refusal is recorded about it. Left out: about the operation itself.
   * Entries carry it for ever, so an operation's subject never changes.
   */
  readonly subject?: "change_set" | "principal" | "resource";
  /** It begins a run: a repeat is answered with that run as it is by then. */
  readonly run?: true;
  /**
   * Its handler begins with its decision, which is loaded in the snapshot the caller is read in.
   * INVARIANT: such a handler asks for no other snapshot before it transacts, and needs no proof.
   */
  readonly decidesAtOnce?: true;
  readonly mcp: ToolFacts;
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
  readonly stream?: S;
  /** Member that `Last-Event-ID` stands for: what a browser sends when it connects again. It wins over the query. */
  readonly resume?: string;
  /** For a job that goes on after the answer: its address, which makes the answer a 202. */
  readonly job?: (answer: z.output<O>) => string | undefined;
  /** Codes that this operation may answer, besides those of every operation. */
  readonly errors: readonly ErrorCode[];
  /** The command that runs the operation, as a person types it. */
  readonly cli: string | null;
}

/** Whether an operation streams is part of its type: its handler answers with text instead of a value. */
export function operation<I extends z.ZodObject, O extends z.ZodType, S extends Stream = never>(
  row: Operation<I, O, S>,
): Operation<I, O, S> {
  return row;
}

/** Names in braces in the path. */
export function pathParameters(path: string): string[] {
  return [...path.matchAll(/\{([A-Za-z]+)\}/g)].map((match) => match[1] as string);
}
