/** What requests leave behind and nobody needs any more: responses for repeats, and proofs that were used. */
import type { TenantId } from "@countersign/contract";
import type { Job } from "../platform/index.js";
import { type Storage, writeOperational } from "../storage/index.js";
import { sweepProofs, sweepResponses, tenantsToSweep } from "./queries.js";

const lookMs = 600_000;

export function sweepJob(storage: Pick<Storage, "app" | "inTenants">, now: () => number): Job {
  return {
    name: "sweep",
    purpose: "responses and proofs that have expired are removed",
    lookMs,
    due: async (tenants) => {
      const { name, text, values } = tenantsToSweep(tenants, now());
      const { rows } = await storage.inTenants(tenants, (client) =>
        client.query<{ id: TenantId }>({ name, text, values: [...values] }),
      );
      return rows.map((row) => row.id);
    },
    run: async (tenant, signal) => {
      for (const sweep of [sweepResponses, sweepProofs])
        while (!signal.aborted && (await writeOperational(storage.app, tenant, sweep(tenant, now()))) > 0);
    },
  };
}
