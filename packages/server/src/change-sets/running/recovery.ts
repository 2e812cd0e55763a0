/**
 * Runs without an end are brought to their end: at the start those of a process that died, later those of one that died
 * elsewhere, and our own that were cut off because the database was away.
 */
import type { TenantId } from "@countersign/contract";
import { forEach, type Log, startRounds } from "../../platform/index.js";

/** Longer than a lease would be pointless, much shorter a waste: one indexed question a tenant. */
const everyMs = 10_000;

export interface Recovery {
  /** Resolves when the round that is under way has ended; none begins after it. */
  stop(): Promise<void>;
}

export function startRecovery(of: {
  tenants: () => Promise<readonly TenantId[]>;
  recover: (tenant: TenantId) => Promise<string[]>;
  log: Pick<Log, "info" | "warn">;
}): Recovery {
  const recover = async (tenant: TenantId): Promise<void> => {
    const ended = await of.recover(tenant);
    if (ended.length > 0) of.log.info({ tenant, applications: ended }, "applications were brought to their end");
  };
  return startRounds({
    pauseMs: everyMs,
    round: async (signal) =>
      forEach(await of.tenants(), recover, {
        signal,
        failed: (tenant, error) => of.log.warn({ err: error, tenant }, "recovery is tried again"),
      }),
    failed: (error) => of.log.warn({ err: error }, "recovery is tried again"),
  });
}
