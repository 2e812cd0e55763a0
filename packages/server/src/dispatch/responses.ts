/** The answers that idempotency keys remember, once their texts must go. */
import type { FinishErasures } from "../ledger/index.js";
import type { Storage } from "../storage/index.js";
import { forgetErasedResponses } from "./queries.js";

/** Stored responses quote what was erased; a repeat is told that it was, instead of being carried out again. */
export function responsesEraser(storage: Pick<Storage, "inTenant">): FinishErasures {
  return async (tenant) => {
    const { rows } = await storage.inTenant(tenant, (client) =>
      client.query<{ count: number }>(forgetErasedResponses, [tenant]),
    );
    return rows[0]?.count ?? 0;
  };
}
