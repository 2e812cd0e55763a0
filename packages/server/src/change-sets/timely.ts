/** What time does by itself, done when somebody looks: a passed deadline rejects, and whoever asked is told so. */
import { isRefusal, type Refusal, type TenantId } from "@countersign/contract";
import type { Decided, DecideContext, Outcome, Snapshot } from "../ledger/index.js";
import type { Caller } from "../tenancy/index.js";
import { unlessKnown } from "./authority.js";
import { type Desk, entry, type Loaded, type RequestContext } from "./desk.js";
import { due } from "./lifecycle.rules.js";
import { readWhole } from "./queries.js";
import { type ChangeSetRow, update } from "./rows.js";

/**
 * `request.transact` for commands on a change-set: its rows are held against the ledger before they are written again, and
 * what is overdue is rejected in the ledger before its refusal is answered.
 */
export async function timely<L extends Pick<Loaded, "whole" | "people">, R>(
  desk: Desk,
  caller: Caller,
  request: RequestContext,
  load: (snapshot: Snapshot) => Promise<L | Refusal>,
  decide: (loaded: L, context: DecideContext) => Refusal | Decided<R>,
): Promise<Outcome<R>> {
  const late = { id: undefined as string | undefined };
  const outcome = await request.transact(
    caller.tenant,
    async (snapshot) => {
      const loaded = await load(snapshot);
      late.id = isRefusal(loaded) ? (loaded.details?.["overdueId"] as string | undefined) : undefined;
      return isRefusal(loaded) ? loaded : ((await unlessKnown(desk, snapshot, loaded)) ?? loaded);
    },
    (loaded, context) => (isRefusal(loaded) ? loaded : decide(loaded, context)),
  );
  if (late.id !== undefined) await expire(desk, caller.tenant, late.id);
  return outcome;
}

/** Rejects a change-set whose deadline passed; does nothing when somebody was faster. */
export async function expire(desk: Desk, tenant: TenantId, id: string): Promise<void> {
  const system = desk.tenancy.systemCaller(tenant);
  await desk.ledger.transact(
    tenant,
    async (snapshot) => {
      const whole = await readWhole(snapshot, id);
      const people = await desk.tenancy.loadPeople(snapshot);
      return whole === undefined || (await unlessKnown(desk, snapshot, { whole, people })) !== undefined
        ? undefined
        : whole;
    },
    (whole, context) => {
      const what = whole === undefined ? undefined : due(whole.changeSet, context.nowMs);
      if (whole === undefined || what === undefined) return { kind: "nothing", result: undefined };
      const { changeSet, revision } = whole;
      const changes: Partial<ChangeSetRow> = {
        status: "REJECTED",
        status_reason: "expired",
        updated_at_ms: context.nowMs,
      };
      return {
        kind: "change",
        change: {
          guards: [{ kind: "row", table: "change_sets", id: changeSet.id, version: changeSet.version }],
          entries: [
            entry(system.actor, changeSet.id, "change_set.expired", {
              data: { from: changeSet.status, what, revision: revision.digest },
              writes: [update("change_sets", changeSet, changes)],
            }),
          ],
        },
        result: undefined,
      };
    },
  );
}
