/**
 * Durable followers: each does something for every entry of a ledger, with a cursor that survives restarts and kills. The seam for
 * what tells others (notifications).
 *
 * Promises: at least once, in order, one at a time for a tenant and follower: the cursor moves behind what was done, so that a
 * process that dies between the two does the entry again; the entry's id says that it is the same · what fails is tried again later and
 * later, and no later entry of that tenant passes it; other tenants and followers go on · nothing that is decided depends on a cursor.
 */
import type { TenantId } from "@countersign/contract";
import type { AuditEntry, Ledger } from "../ledger/index.js";
import type { Job } from "../platform/index.js";
import type { Storage } from "../storage/index.js";
import { cursorOf, moveCursor, newCursor, tenantsBehind } from "./queries.js";

export interface Follower {
  /** In the cursor's row: what is called otherwise begins anew. */
  readonly name: string;
  /** For people: what it does. */
  readonly purpose: string;
  /** Where it begins in a ledger that it has not seen: before its first entry, or behind its newest. */
  readonly from: "first" | "newest";
  /** Entries it has nothing to do for; by default there are none. */
  readonly wants?: (entry: AuditEntry) => boolean;
  /** Does it, and may do it again for the same `entryId`. What it throws is told, and it is tried again. */
  readonly effect: (tenant: TenantId, entry: AuditEntry, signal: AbortSignal) => Promise<void>;
}

export interface FollowingParts {
  readonly ledger: Pick<Ledger, "auditLog">;
  readonly storage: Pick<Storage, "inTenant" | "inTenants">;
  readonly now: () => number;
}

/** Commits of other processes are found so; those of this one wake it. */
const lookMs = 10_000;
const pageEntries = 100;
/** What is committed together wakes once. */
const gatherMs = 50;

/** A follower as a job: the queue sees to it that it runs once at a time, is tried again, and holds up no other. */
export function followerJob(follower: Follower, parts: FollowingParts): Job {
  return {
    name: jobName(follower),
    purpose: follower.purpose,
    lookMs,
    due: (tenants) => tenantsBehind(parts.storage, tenants, follower.name),
    run: (tenant, signal) => catchUp(follower, parts, tenant, signal),
  };
}

export function jobName({ name }: Pick<Follower, "name">): string {
  return `follow:${name}`;
}

async function catchUp(
  { name, from, wants, effect }: Follower,
  { ledger, storage, now }: FollowingParts,
  tenant: TenantId,
  signal: AbortSignal,
): Promise<void> {
  let after = await begun(storage, tenant, { name, from, nowMs: now() });
  /** False: another process moved it meanwhile, and goes on from there. */
  const move = async (seq: number): Promise<boolean> => {
    const moved = seq === after || (await moveCursor(storage, tenant, { name, after, seq, nowMs: now() }));
    after = seq;
    return moved;
  };
  for (;;) {
    const cursor = after < 0 ? {} : { cursor: String(after) };
    const { entries } = await ledger.auditLog(tenant, { order: "oldest", limit: pageEntries, ...cursor });
    for (const entry of entries) {
      if (signal.aborted) return;
      if (wants?.(entry) === false) continue;
      await effect(tenant, entry, signal);
      // If we die here: the next process finds the cursor before this entry and does it again.
      if (!(await move(entry.seq))) return;
    }
    const last = entries.at(-1);
    if (last === undefined || !(await move(last.seq))) return;
  }
}

/** Where it goes on. A cursor beyond the ledger's end was forged, and is put at its end. */
async function begun(
  storage: FollowingParts["storage"],
  tenant: TenantId,
  { name, from, nowMs }: { readonly name: string; readonly from: Follower["from"]; readonly nowMs: number },
): Promise<number> {
  const { after, head } = await cursorOf(storage, tenant, name);
  if (after === undefined) return newCursor(storage, tenant, { name, after: from === "first" ? -1 : head, nowMs });
  if (after > head) await moveCursor(storage, tenant, { name, after, seq: head, nowMs });
  return Math.min(after, head);
}

/** Wakes followers soon after a commit of this process; gives the function that ends it. */
export function wakeOnCommit(
  onCommitted: Ledger["onCommitted"],
  followers: readonly Follower[],
  wake: (job: string, tenant: TenantId) => void,
): () => void {
  if (followers.length === 0) return () => undefined;
  const gathered = new Set<TenantId>();
  let timer: NodeJS.Timeout | undefined;
  const tell = (): void => {
    timer = undefined;
    for (const tenant of gathered) for (const follower of followers) wake(jobName(follower), tenant);
    gathered.clear();
  };
  const unlisten = onCommitted((tenant) => {
    gathered.add(tenant);
    timer ??= setTimeout(tell, gatherMs).unref();
  });
  return () => {
    unlisten();
    clearTimeout(timer);
  };
}
