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
    run: (tenant) => expireOverdue(desk, tenant),
  };
}

/** One that cannot be rejected (the database and the ledger disagree) holds up no other. */
async function expireOverdue(desk: Desk, tenant: TenantId): Promise<void> {
  const overdue = await desk.ledger.snapshot(tenant, (snapshot) => readOverdue(snapshot, desk.now()));
  const ends = await Promise.allSettled(overdue.map((id) => expire(desk, tenant, id)));
  const failed = ends.find((end) => end.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}
