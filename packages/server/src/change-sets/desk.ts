/** What the commands on change-sets work with: the modules below, and the request they answer. */
import type { TenantId } from "@countersign/contract";
import type { Ledger, Snapshot } from "../ledger/index.js";
import type { Log } from "../platform/index.js";
import type { Storage } from "../storage/index.js";
import { type ActContext, type Blobs, contextIn, type TargetContext, type Targets } from "../targets/index.js";
import type { Tenancy } from "../tenancy/index.js";

export interface Desk {
  readonly ledger: Ledger;
  readonly storage: Storage;
  readonly tenancy: Pick<Tenancy, "loadPeople" | "principalNames" | "systemCaller">;
  readonly targets: Targets;
  readonly blobs: (tenant: TenantId) => Blobs;
  readonly now: () => number;
  readonly log: Log;
}

/** A request as the edge hands it down: `transact` replays the answer when the idempotency key was seen before. */
export interface RequestContext {
  readonly transact: Ledger["transact"];
  readonly nowMs: number;
  readonly requestId: string;
  /** The person's own key was unlocked for this request, and is used up with its first commit. */
  readonly proven?: boolean;
}

/** What a target kind works with, in one snapshot. */
export function targetContext(desk: Pick<Desk, "blobs">, snapshot: Snapshot): TargetContext {
  return contextIn(snapshot, desk.blobs(snapshot.tenant));
}

/** What a target kind works with while it acts: no snapshot is held, each question has one of its own. */
export function actContext(desk: Pick<Desk, "blobs" | "ledger">, tenant: TenantId, signal: AbortSignal): ActContext {
  return { tenant, blobs: desk.blobs(tenant), signal, look: (use) => desk.ledger.snapshot(tenant, use) };
}
