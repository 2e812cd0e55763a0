/**
 * Submitting: the plan is judged, and with that the change-set is denied, waits for people, or is approved by policy at once. From here on
 * what people sign is fixed.
 */
import { type ChangeSetAnswer, isRefusal, type JsonObject, type Refusal } from "@countersign/contract";
import { approvedUntilMs, checkSatisfiable, deadlineMs, type PolicyDecision } from "../../governance/index.js";
import type { Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { changeSetMismatch } from "../authority.js";
import {
  type Answered,
  answerOf,
  approvalContext,
  countersFor,
  type Desk,
  entry,
  guardsOf,
  loadForCommand,
  type RequestContext,
  view,
} from "../desk.js";
import { digestApproval, judge, routeOf } from "./judgement.js";
import { mayEdit, transition } from "../lifecycle.rules.js";
import { type ChangeSetRow, type ItemRow, replaced, type RevisionRow, update, updated } from "../rows.js";
import { timely } from "../timely.js";

export async function submit(
  desk: Desk,
  caller: Caller,
  id: string,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, id);
    if (isRefusal(loaded)) return loaded;
    const refusal = transition(loaded.whole.changeSet, "submit") ?? mayEdit(caller, loaded.whole);
    if (refusal !== undefined) return refusal;
    const mismatch = await changeSetMismatch(desk, snapshot, loaded);
    if (mismatch !== undefined) return mismatch;
    const counters = await countersFor(desk, snapshot, {
      command: "submit",
      by: caller.principal,
      items: loaded.whole.items.length,
      configuration: loaded.configuration,
    });
    if (isRefusal(counters)) return counters;
    const judgement = await judge(desk, snapshot, loaded);
    return isRefusal(judgement) ? judgement : { ...loaded, judgement, counters };
  };
  const outcome = await timely(desk, caller, request, load, (loaded, context): Answered | Refusal => {
    const { whole, configuration, judgement } = loaded;
    const { decision, risk } = judgement;
    const items = withPolicy(whole.items, decision);
    const itemWrites = items.map((item, index) =>
      update("items", whole.items[index] as ItemRow, { policy: item.policy }),
    );
    const policy = decision as unknown as JsonObject;
    const common = {
      risk_score: risk.score,
      risk_level: risk.level,
      submitted_at_ms: context.nowMs,
      updated_at_ms: context.nowMs,
    };

    if (decision.outcome === "deny") {
      const changes: Partial<ChangeSetRow> = { ...common, status: "REJECTED", status_reason: "policy_denied" };
      const revisionChanges: Partial<RevisionRow> = { policy, risk: risk as unknown as JsonObject };
      const after = replaced(whole, { changes, revisionChanges, items });
      return {
        kind: "change",
        change: {
          guards: guardsOf(loaded, caller),
          entries: [
            entry(caller.actor, whole.changeSet.id, "change_set.rejected", {
              data: {
                reason: "policy_denied",
                revision: whole.revision.digest,
                denied: decision.items.filter((item) => item.outcome === "deny").map((item) => item.sequence),
              },
              body: { items: decision.items as unknown as JsonObject[] },
              writes: [
                update("change_sets", whole.changeSet, changes),
                update("revisions", whole.revision, revisionChanges),
                ...itemWrites,
              ],
            }),
          ],
        },
        result: { changeSet: view(loaded, after) },
      };
    }

    const route = routeOf(loaded, judgement);
    const unsatisfiable = checkSatisfiable(route, approvalContext(loaded, whole));
    if (unsatisfiable !== undefined) return unsatisfiable;
    const digest = digestApproval(whole.revision.digest, route, judgement);
    const auto = route.auto && route.required === 0;
    const { priority } = whole.changeSet;
    const changes: Partial<ChangeSetRow> = {
      ...common,
      status: auto ? "APPROVED" : "PENDING_APPROVAL",
      status_reason: null,
      blocked: null,
      approval_digest: digest,
      required_approvals: route.required,
      deadline_at_ms: auto ? null : deadlineMs(priority, context.nowMs, configuration.approvals),
      approved_until_ms: auto ? approvedUntilMs(priority, context.nowMs, configuration.approvals) : null,
    };
    const revisionChanges: Partial<RevisionRow> = {
      policy,
      risk: risk as unknown as JsonObject,
      route: route as unknown as JsonObject,
      approval_digest: digest,
    };
    const after = replaced(whole, { changes, revisionChanges, items });
    return {
      kind: "change",
      change: {
        guards: [...guardsOf(loaded, caller), ...loaded.counters],
        entries: [
          entry(caller.actor, whole.changeSet.id, auto ? "change_set.approved" : "change_set.submitted", {
            data: {
              revision: whole.revision.digest,
              digest,
              risk: risk.level,
              score: risk.score,
              required: route.required,
              auto,
              policy: decision.outcome,
            },
            body: { route: route as unknown as JsonObject },
            writes: [
              update("change_sets", whole.changeSet, changes),
              update("revisions", whole.revision, revisionChanges),
              ...itemWrites,
            ],
          }),
        ],
      },
      result: { changeSet: view(loaded, after) },
    };
  });
  return answerOf(outcome);
}

function withPolicy(items: readonly ItemRow[], decision: PolicyDecision): ItemRow[] {
  return items.map((item) =>
    updated<ItemRow>(item, {
      policy: (decision.items.find((one) => one.sequence === item.sequence) ?? null) as unknown as JsonObject | null,
    }),
  );
}
