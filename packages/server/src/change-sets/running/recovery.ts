/**
 * Runs without an end are brought to their end: at the start those of a process that died, later those of one that died
 * elsewhere, and our own that were cut off because the database was away.
 */
import type { TenantId } from "@countersign/contract";
import type { Job, Log } from "../../platform/index.js";
import type { Storage } from "../../storage/index.js";
import { tenantsRunning } from "../queries.js";

/** Longer than a lease would be pointless, much shorter a waste: one indexed question for all tenants. */
const lookMs = 10_000;

export function recoveryJob(of: {
  readonly storage: Pick<Storage, "inTenants">;
  readonly recover: (tenant: TenantId) => Promise<string[]>;
  readonly log: Pick<Log, "info">;
}): Job {
  return {
    name: "recovery",
    purpose: "applications without an end are brought to their end",
    lookMs,
    due: (tenants) => tenantsRunning(of.storage, tenants),
    run: async (tenant) => {
      const ended = await of.recover(tenant);
      if (ended.length > 0) of.log.info({ tenant, applications: ended }, "applications were brought to their end");
    },
  };
}
