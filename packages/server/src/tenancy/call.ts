/**
 * An operation as it reaches the module that does it: who asks is known and permitted, what is asked is well formed. Every
 * module offers its handlers in these types, and dispatch holds that together they are all there are.
 */
import type { CheckedInput, OperationId, OperationOutput, Operations, Refusal } from "@countersign/contract";
import type { Ledger } from "../ledger/index.js";
import type { Caller } from "./caller.js";

/** `transact` replays the answer when the idempotency key was seen before. */
interface RequestContext {
  readonly transact: Ledger["transact"];
  readonly nowMs: number;
  readonly requestId: string;
  /** The person's own key was unlocked for this request, and is used up with its first commit. */
  readonly proven?: boolean;
}

/** An answer in pieces of text. */
export interface TextStream extends AsyncIterable<string> {
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Call<K extends OperationId> {
  /** For `enrol`, the one operation without a credential, nobody. */
  readonly caller: Caller;
  readonly input: CheckedInput<K>;
  readonly request: RequestContext;
  /** For answers that take long: whether the caller may still have them. */
  readonly recheck: () => Promise<Refusal | undefined>;
}

/** Streamed operations, as the contract marks them. */
type Streamed = {
  [K in OperationId]: [NonNullable<Operations[K]["stream"]>] extends [never] ? never : K;
}[OperationId];
type Answered<K extends OperationId> = K extends Streamed ? TextStream : Promise<OperationOutput<K> | Refusal>;
export type Handlers = { readonly [K in OperationId]: (call: Call<K>) => Answered<K> };
