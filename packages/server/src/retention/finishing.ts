/**
 * The second steps of erasures and prunings: contents and bodies that committed entries name are removed. Both steps
 * read from the ledger which ones remain, so they may be repeated and run in several processes at once.
 */
import type { TenantId } from "@countersign/contract";
import type { Storage } from "../storage/index.js";
import { finishErasures as eraseBodies, pruneEntries } from "./queries.js";

type Opener = Pick<Storage, "inTenant">;

/** Deletes the bodies that erasures name; how many. */
export async function finishErasures(storage: Opener, tenant: TenantId): Promise<number> {
  const { rows } = await storage.inTenant(tenant, (client) => client.query<{ gone: string }>(eraseBodies, [tenant]));
  return Number(rows[0]?.gone ?? 0);
}

/** Empties the entries that a pruning's entry names. Returns the numbers of entries and bodies. */
export async function finishPruning(
  storage: Opener,
  tenant: TenantId,
  entryId: string,
): Promise<{ readonly entries: number; readonly bodies: number }> {
  const { rows } = await storage.inTenant(tenant, async (client) => {
    // Without a time limit: only the caller waits for it.
    await client.query("set local statement_timeout = 0; set local work_mem = '64MB'; set local jit = off");
    return client.query<{ gone: { entries: number; bodies: number } }>(pruneEntries, [tenant, entryId]);
  });
  return rows[0]?.gone ?? { entries: 0, bodies: 0 };
}
