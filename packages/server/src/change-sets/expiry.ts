/** What time does by itself, done also when nobody looks (`command.ts` does it when somebody does): the same entry, once. */
import type { TenantId } from "@countersign/contract";
import type { Job } from "../platform/index.js";
import type { Desk } from "./desk.js";
import { readOverdue, tenantsOverdue } from "./queries.js";
import { expire } from "./command.js";

const lookMs = 60_000;

export function expiryJob(desk: Desk): Job {
  return {
    name: "expiry",
    purpose: "change-sets whose deadline passed are rejected",
    lookMs,
    due: (tenants) => tenantsOverdue(desk.storage, tenants, desk.now()),
    run: (tenant, signal) => expireOverdue(desk, tenant, signal),
  };
}

/** One after the other, so that requests do not wait for them. One that cannot be rejected holds up no other. */
async function expireOverdue(desk: Desk, tenant: TenantId, signal: AbortSignal): Promise<void> {
  const overdue = await desk.ledger.snapshot(tenant, (snapshot) => readOverdue(snapshot, desk.now()));
  const failures: unknown[] = [];
  for (const id of overdue) {
    if (signal.aborted) return;
    await expire(desk, tenant, id).catch((error: unknown) => failures.push(error));
  }
  if (failures.length > 0) throw failures[0];
}
