/** The types of operations for a caller. They are derived from the contract, so neither can drift from the other. */
import type { CheckedInput, OperationId, OperationInput, OperationOutput } from "@countersign/contract";

/**
 * A member as a caller writes it. Where the contract reads text of a query string (`z.coerce`, lists, booleans), the
 * checked type is what people want to pass; the client writes it into the query string.
 */
type Member<In, Out> = unknown extends In ? Out : Out extends boolean | undefined ? In | Out : In;

/** The input of `client.<operation>(…)`. */
export type Input<K extends OperationId> = {
  [M in keyof OperationInput<K>]: Member<
    OperationInput<K>[M],
    M extends keyof CheckedInput<K> ? CheckedInput<K>[M] : never
  >;
};

/** Operations whose answer is streamed. A test compares this list with the contract. */
export const streamOperations = ["exportAudit", "tailAudit", "reportAudit"] as const satisfies readonly OperationId[];
export type StreamOperationId = (typeof streamOperations)[number];

/** Streamed operations give their text line by line, as it was sent. */
export type Output<K extends OperationId> = K extends StreamOperationId
  ? AsyncIterable<string>
  : Promise<OperationOutput<K>>;

type Arguments<K extends OperationId> =
  Record<never, never> extends Input<K>
    ? [input?: Input<K>, options?: CallOptions]
    : [input: Input<K>, options?: CallOptions];

export type OperationMethods = { readonly [K in OperationId]: (...call: Arguments<K>) => Output<K> };

/** Operations that answer one page of rows at a time. */
export type PagedOperationId = {
  [K in OperationId]: OperationOutput<K> extends {
    readonly rows: readonly unknown[];
    readonly nextCursor: string | null;
  }
    ? K
    : never;
}[OperationId];
export type RowOf<K extends PagedOperationId> =
  OperationOutput<K> extends { readonly rows: readonly (infer R)[] } ? R : never;

export interface CallOptions {
  /** The SDK makes a key by default. Sending the same key again gives the first answer and has no second effect. */
  readonly idempotencyKey?: string;
  readonly signal?: AbortSignal;
  /** Milliseconds for one attempt; default that of the client. */
  readonly timeoutMs?: number;
}
