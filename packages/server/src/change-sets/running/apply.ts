/**
 * Applying: what is approved, and is executable now, is begun. An apply that is refused leaves its mark where somebody must act: the
 * change-set says that its targets drifted, or goes back to whoever may give the approvals that are missing.
 */
import { type ApplicationAnswer, isRefusal, type JsonObject, type Refusal } from "@countersign/contract";
import { checkSatisfiable, deadlineMs, tally } from "../../governance/index.js";
import type { Decided, Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import {
  approvalContext,
  castVotes,
  countersFor,
  type Desk,
  entry,
  guardsOf,
  type Loaded,
  loadForCommand,
  type RequestContext,
} from "../desk.js";
import { assertExecutable } from "./executable.js";
import { begin, finishRequest, type Held, type Intent } from "./intent.js";
import { digestApproval, driftOf, judge, type Judgement, routeOf } from "../proposing/judgement.js";
import { dismissVotes } from "../lifecycle.rules.js";
import { readWhole } from "../queries.js";
import { type ChangeSetRow, type RevisionRow, update } from "../rows.js";
import type { Runner } from "./run.js";
import { timely } from "../timely.js";

export async function apply(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  id: string,
  request: RequestContext,
  mode: "AUTO" | "MANUAL" = "MANUAL",
): Promise<ApplicationAnswer | Refusal> {
  const held: Held = {};
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, id);
    if (isRefusal(loaded)) return loaded;
    const executable = await assertExecutable(desk, snapshot, loaded, caller);
    if (isRefusal(executable)) return executable;
    held.items = loaded.whole.items;
    // What the engine applies by itself counts for its author: AUTO is no way around a limit.
    const author = loaded.people.principals.get(loaded.whole.changeSet.author_id);
    const by = caller.actor.type === "system" && author !== undefined ? author : caller.principal;
    const counters = await countersFor(desk, snapshot, {
      command: "apply",
      by,
      items: loaded.whole.items.length,
      configuration: loaded.configuration,
    });
    return isRefusal(counters) ? counters : { ...loaded, ...executable, counters };
  };
  const outcome = await timely(desk, caller, request, load, (loaded, context): Decided<Intent> | Refusal => {
    const changes: Partial<ChangeSetRow> = { attempts: loaded.whole.changeSet.attempts + 1, blocked: null };
    return begin(
      loaded,
      caller,
      {
        kind: "APPLY",
        mode,
        status: "APPLYING",
        action: "change_set.apply_started",
        changes,
        resumed: false,
        reason: null,
        kill: loaded.kill,
        holds: loaded.holds,
        counters: [...loaded.counters, ...loaded.dependencies],
      },
      context,
    );
  });
  if (outcome.kind !== "refused") return finishRequest(desk, runner, caller, outcome, held);
  if (outcome.code === "drift") return markBlocked(desk, caller, id, outcome);
  return outcome.code === "approvals_missing" ? reroute(desk, caller, id, outcome) : outcome;
}

/** Drift leaves a change-set APPROVED and says so on it, for whoever looks. */
async function markBlocked(desk: Desk, caller: Caller, ref: string, refusal: Refusal): Promise<Refusal> {
  const system = desk.tenancy.systemCaller(caller.tenant);
  await desk.ledger.transact(
    caller.tenant,
    async (snapshot) => {
      const whole = await readWhole(snapshot, ref);
      const drifted =
        whole?.changeSet.status === "APPROVED" && whole.changeSet.blocked !== "drift"
          ? await driftOf(desk, snapshot, whole)
          : undefined;
      return drifted === undefined ? undefined : whole;
    },
    (whole, context) => {
      if (whole === undefined) return { kind: "nothing", result: undefined };
      const changes: Partial<ChangeSetRow> = { blocked: "drift", updated_at_ms: context.nowMs };
      return {
        kind: "change",
        change: {
          guards: [],
          entries: [
            entry(system.actor, whole.changeSet.id, "change_set.blocked", {
              data: { reason: "drift", revision: whole.revision.digest },
              writes: [update("change_sets", whole.changeSet, changes)],
            }),
          ],
        },
        result: undefined,
      };
    },
  );
  return refusal;
}

/**
 * The approvals given are not enough any more (a longer route, an approver who may not): it goes back to whoever may give
 * what is missing. Votes stand as long as what they signed does.
 */
async function reroute(desk: Desk, caller: Caller, ref: string, refusal: Refusal): Promise<Refusal> {
  const system = desk.tenancy.systemCaller(caller.tenant);
  const outcome = await desk.ledger.transact(
    caller.tenant,
    async (snapshot) => {
      const loaded = await loadForCommand(desk, snapshot, ref);
      if (isRefusal(loaded) || loaded.whole.changeSet.status !== "APPROVED") return undefined;
      const judgement = await judge(desk, snapshot, loaded);
      return isRefusal(judgement) || judgement.decision.outcome === "deny" ? undefined : { ...loaded, judgement };
    },
    (loaded, context): Decided<boolean> => {
      const next = loaded === undefined ? undefined : rerouted(loaded, loaded.judgement, context.nowMs);
      if (loaded === undefined || next === undefined) return { kind: "nothing", result: false };
      const { changeSet, revision } = loaded.whole;
      const data = {
        from: changeSet.status,
        revision: revision.digest,
        digest: next.digest,
        required: next.route.required,
        votesDismissed: next.dismissed.length,
      };
      return {
        kind: "change",
        change: {
          guards: guardsOf(loaded, system),
          entries: [
            entry(system.actor, changeSet.id, "change_set.rerouted", {
              data,
              body: { route: next.route as unknown as JsonObject },
              writes: [
                update("change_sets", changeSet, next.changes),
                update("revisions", revision, next.revisionChanges),
                ...next.dismissed,
              ],
            }),
          ],
        },
        result: true,
      };
    },
  );
  if (isRefusal(outcome) || !outcome.result) return refusal;
  return { ...refusal, message: `${refusal.message}; it is PENDING_APPROVAL again` };
}

/** Undefined: the votes given are enough, or nobody could give what is missing. */
function rerouted(loaded: Loaded, judgement: Judgement, nowMs: number) {
  const { whole, configuration } = loaded;
  const { changeSet, revision } = whole;
  const route = routeOf(loaded, judgement);
  const digest = digestApproval(revision.digest, route, judgement);
  const same = digest === changeSet.approval_digest;
  const votes = same ? castVotes(loaded, whole) : [];
  const context = approvalContext(loaded, whole);
  if (
    route.required === 0 ||
    tally(route, votes, context).state === "satisfied" ||
    checkSatisfiable(route, context) !== undefined
  )
    return undefined;
  const changes: Partial<ChangeSetRow> = {
    status: "PENDING_APPROVAL",
    status_reason: "rerouted",
    approval_digest: digest,
    required_approvals: route.required,
    risk_score: judgement.risk.score,
    risk_level: judgement.risk.level,
    deadline_at_ms: deadlineMs(changeSet.priority, nowMs, configuration.approvals),
    approved_until_ms: null,
    updated_at_ms: nowMs,
  };
  const { decision, risk } = judgement;
  const revisionChanges: Partial<RevisionRow> = {
    route: route as unknown as JsonObject,
    policy: decision as unknown as JsonObject,
    risk: risk as unknown as JsonObject,
    approval_digest: digest,
  };
  return { route, digest, changes, revisionChanges, dismissed: same ? [] : dismissVotes(whole).writes };
}
