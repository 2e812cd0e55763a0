/**
 * Applying: what is approved, and is executable now, is begun. An apply that is refused leaves its mark where somebody must act: the
 * change-set says that its targets drifted, or goes back to whoever may give the approvals that are missing.
 */
import { type ApplicationAnswer, isRefusal, type Refusal } from "@countersign/contract";
import type { Guard, Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import type { Desk, RequestContext } from "../desk.js";
import { countersFor, isStopped, loadForCommand } from "../load.js";
import type { Loaded } from "../loaded.rules.js";
import { driftOf, judge } from "../proposing/judgement.js";
import { readWhole } from "../queries.js";
import { assertExecutable } from "./executable.js";
import { decideAndRun } from "./intent.js";
import { decideApply } from "./intent.rules.js";
import { decideBlocked, decideReroute } from "./refusedApply.rules.js";
import type { Runner } from "./run.js";

export async function apply(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  id: string,
  request: RequestContext,
  mode: "AUTO" | "MANUAL" = "MANUAL",
): Promise<ApplicationAnswer | Refusal> {
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, id);
    if (isStopped(loaded)) return loaded;
    const executable = await assertExecutable(desk, snapshot, loaded, caller);
    if (isRefusal(executable)) return executable;
    const counters = await applyCounters(desk, snapshot, loaded, caller);
    return isRefusal(counters) ? counters : { ...loaded, ...executable, counters };
  };
  const answer = await decideAndRun({ desk, runner }, caller, request, load, (loaded, at) =>
    decideApply(loaded, { caller, mode }, at),
  );
  if (!isRefusal(answer)) return answer;
  if (answer.code === "drift") return markBlocked(desk, caller, id, answer);
  return answer.code === "approvals_missing" ? reroute(desk, caller, id, answer) : answer;
}

/** What the engine applies by itself counts for its author: AUTO is no way around a limit. */
function applyCounters(desk: Desk, snapshot: Snapshot, loaded: Loaded, caller: Caller): Promise<Guard[] | Refusal> {
  const { whole, people, configuration } = loaded;
  const author = people.principals.get(whole.changeSet.author_id);
  const by = caller.actor.type === "system" && author !== undefined ? author : caller.principal;
  return countersFor(desk, snapshot, { command: "apply", by, items: whole.items.length, configuration });
}

async function markBlocked(desk: Desk, caller: Caller, ref: string, refusal: Refusal): Promise<Refusal> {
  const system = desk.tenancy.systemCaller(caller.tenant);
  await desk.ledger.transact(
    caller.tenant,
    async (snapshot) => {
      const whole = await readWhole(snapshot, ref);
      if (whole?.changeSet.status !== "APPROVED" || whole.changeSet.blocked === "drift") return undefined;
      return (await driftOf(desk, snapshot, whole)) === undefined ? undefined : whole;
    },
    (whole, context) => decideBlocked(whole, { caller: system }, context),
  );
  return refusal;
}

async function reroute(desk: Desk, caller: Caller, ref: string, refusal: Refusal): Promise<Refusal> {
  const system = desk.tenancy.systemCaller(caller.tenant);
  const outcome = await desk.ledger.transact(
    caller.tenant,
    async (snapshot) => {
      const loaded = await loadForCommand(desk, snapshot, ref);
      if (isStopped(loaded) || loaded.whole.changeSet.status !== "APPROVED") return undefined;
      const judgement = await judge(desk, snapshot, loaded);
      return isRefusal(judgement) || judgement.decision.outcome === "deny" ? undefined : { ...loaded, judgement };
    },
    (loaded, context) => decideReroute(loaded, { caller: system }, context),
  );
  if (isRefusal(outcome) || !outcome.result) return refusal;
  return { ...refusal, message: `${refusal.message}; it is PENDING_APPROVAL again` };
}
