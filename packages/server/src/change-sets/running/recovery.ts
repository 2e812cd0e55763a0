/**
 * Runs without an end are brought to their end: at the start those of a process that died, later those of one that died
 * elsewhere, and our own that were cut off because the database was away.
 */
import type { TenantId } from "@countersign/contract";
import type { Log } from "../../platform/index.js";

/** Longer than a lease would be pointless, much shorter a waste: one indexed question a tenant. */
const everyMs = 10_000;

export interface Recovery {
  /** Resolves when the round that is under way has ended; none begins after it. */
  stop(): Promise<void>;
}

export function startRecovery(of: {
  tenants: () => Promise<readonly TenantId[]>;
  recover: (tenant: TenantId) => Promise<string[]>;
  log: Log;
}): Recovery {
  let timer: NodeJS.Timeout | undefined;
  let stopped = false;
  const round = async (): Promise<void> => {
    try {
      for (const tenant of await of.tenants()) {
        if (stopped) return;
        const ended = await of.recover(tenant);
        if (ended.length > 0) of.log.info({ tenant, applications: ended }, "applications were brought to their end");
      }
    } catch (error) {
      of.log.warn({ err: error }, "recovery is tried again");
    }
    if (!stopped) timer = setTimeout(next, everyMs).unref();
  };
  let running = Promise.resolve();
  const next = (): void => void (running = round());
  next();
  return {
    stop: async () => {
      stopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
