/**
 * How a command on a change-set goes through the door: its rows are compared with the ledger before they are written again, and
 * what is overdue is rejected in the ledger before whoever asked is told so.
 */
import {
  type ChangeSetAnswer,
  type ChangeSetView,
  isRefusal,
  type Refusal,
  type TenantId,
} from "@countersign/contract";
import type { Decided, DecideContext, Outcome, Snapshot } from "../ledger/index.js";
import type { Caller } from "../tenancy/index.js";
import { unlessKnown } from "./authority.js";
import type { Desk, RequestContext } from "./desk.js";
import type { Answered } from "./entries.rules.js";
import { decideExpiry } from "./expiry.rules.js";
import { isStopped, refusalOf, type Stopped } from "./load.js";
import type { Loaded } from "./loaded.rules.js";
import { readWhole } from "./queries.js";
import { receiptsOf } from "./view.rules.js";

export type Load<L> = (snapshot: Snapshot) => Promise<L | Stopped>;
export type Decide<L, R> = (loaded: L, context: DecideContext) => Refusal | Decided<R>;
type Picture = Pick<Loaded, "whole" | "people">;

/** A command whose answer is the change-set: load, decide, answer with it as it will be. */
export async function command<L extends Picture>(
  desk: Desk,
  caller: Caller,
  request: RequestContext,
  load: Load<L>,
  decide: (loaded: L, context: DecideContext) => Refusal | Answered,
): Promise<ChangeSetAnswer | Refusal> {
  return answerOf(await transactOn(desk, caller, request, load, decide));
}

/** `request.transact` for commands on a change-set. */
export async function transactOn<L extends Picture, R>(
  desk: Desk,
  caller: Caller,
  request: RequestContext,
  load: Load<L>,
  decide: Decide<L, R>,
): Promise<Outcome<R>> {
  let late: string | undefined;
  const outcome = await request.transact(
    caller.tenant,
    async (snapshot) => {
      const loaded = await load(snapshot);
      late = isStopped(loaded) && loaded.kind === "overdue" ? loaded.changeSetId : undefined;
      return isStopped(loaded) ? refusalOf(loaded) : ((await unlessKnown(desk, snapshot, loaded)) ?? loaded);
    },
    (loaded, context) => (isRefusal(loaded) ? loaded : decide(loaded, context)),
  );
  if (late !== undefined) await expire(desk, caller.tenant, late);
  return outcome;
}

/** Rejects a change-set whose deadline passed; does nothing when somebody was faster. */
export async function expire(desk: Desk, tenant: TenantId, id: string): Promise<void> {
  const system = desk.tenancy.systemCaller(tenant);
  await desk.ledger.transact(
    tenant,
    async (snapshot) => {
      const whole = await readWhole(snapshot, id);
      if (whole === undefined) return undefined;
      const people = await desk.tenancy.loadPeople(snapshot);
      return (await unlessKnown(desk, snapshot, { whole, people })) === undefined ? whole : undefined;
    },
    (whole, context) => decideExpiry(whole, system, context),
  );
}

/** The stored answer with its receipts, or the refusal. */
export function answerOf(outcome: Awaited<ReturnType<RequestContext["transact"]>>): ChangeSetAnswer | Refusal {
  if (outcome.kind === "refused") return outcome;
  const { changeSet } = outcome.result as { changeSet: ChangeSetView };
  return { changeSet, receipts: outcome.kind === "committed" ? receiptsOf(outcome.receipts) : [] };
}
