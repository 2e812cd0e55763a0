/** Jobs over the parts of a test. */
import type { TenantId } from "@countersign/contract";
import { type Jobs, openJobs, type Ran } from "../../src/jobs/index.js";
import { type Clock, type Job, openLog, systemClock } from "../../src/platform/index.js";
import type { Storage } from "../../src/storage/index.js";

/** Longer than any test: after the first look, which a start brings, `runDue` looks and nobody else. */
const neverMs = 3_600_000;

/** Started; whoever calls it stops it. `byThemselves`: they look as in a server. */
export function startJobs(of: {
  readonly storage: Pick<Storage, "inTenant" | "inTenants" | "jobs" | "whileLocked">;
  readonly tenants: readonly TenantId[];
  readonly jobs: readonly Job[];
  readonly clock?: Clock;
  readonly byThemselves?: boolean;
  readonly onRan?: (ran: Ran) => void;
}): Jobs {
  const jobs = openJobs({
    storage: of.storage,
    clock: of.clock ?? systemClock,
    log: openLog({ level: "silent" }),
    tenants: () => Promise.resolve(of.tenants),
    jobs: of.byThemselves === true ? of.jobs : of.jobs.map((job) => ({ ...job, lookMs: neverMs })),
    ...(of.onRan === undefined ? {} : { onRan: of.onRan }),
  });
  jobs.start();
  return jobs;
}
