/** The services of the door that publishing needs. */
import type { Refusal, TenantId } from "@countersign/contract";
import type { Decided, DecideContext, Outcome, Snapshot } from "../ledger/index.js";

export interface Door {
  transact<L, R>(
    tenant: TenantId,
    load: (snapshot: Snapshot) => Promise<L>,
    decide: (loaded: L, context: DecideContext) => Refusal | Decided<R>,
  ): Promise<Outcome<R>>;
  /** Gives the function that ends it. */
  onCommitted(listener: (tenant: TenantId) => void): () => void;
}
