/**
 * What an apply that is refused leaves on the change-set, for whoever must act: that its targets drifted, or that it goes back to whoever
 * may give the approvals that are missing.
 */
import { checkSatisfiable, deadlineMs, type Route, tally } from "../../governance/index.js";
import type { Decided, Write } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { type At, entry, guardsOf } from "../entries.rules.js";
import { dismissVotes } from "../lifecycle.rules.js";
import { approvalContext, castVotes, type Loaded } from "../loaded.rules.js";
import { digestApproval, type Judgement, routeOf } from "../proposing/judgement.rules.js";
import { type ChangeSetRow, update, type Whole } from "../rows.js";

/** Drift leaves a change-set APPROVED and says so on it. `whole`: one that drifted; undefined when there is nothing to say. */
export function decideBlocked(
  whole: Whole | undefined,
  { caller }: { readonly caller: Caller },
  context: At,
): Decided<undefined> {
  if (whole === undefined) return { kind: "nothing", result: undefined };
  const changes: Partial<ChangeSetRow> = { blocked: "drift", updated_at_ms: context.nowMs };
  const blocked = entry(caller.actor, whole.changeSet.id, "change_set.blocked", {
    data: { reason: "drift", revision: whole.revision.digest },
    writes: [update("change_sets", whole.changeSet, changes)],
  });
  return { kind: "change", change: { guards: [], entries: [blocked] }, result: undefined };
}

/**
 * The approvals given are not enough any more (a longer route, an approver who may not): it is PENDING_APPROVAL again. Votes stand as
 * long as what they signed does. The result says whether it was sent back.
 */
export function decideReroute(
  loaded: (Loaded & { readonly judgement: Judgement }) | undefined,
  { caller }: { readonly caller: Caller },
  context: At,
): Decided<boolean> {
  const next = loaded === undefined ? undefined : missingRoute(loaded, loaded.judgement);
  if (loaded === undefined || next === undefined) return { kind: "nothing", result: false };
  const { changeSet, revision } = loaded.whole;
  const { route, digest, dismissed } = next;
  const { decision: policy, risk } = loaded.judgement;
  const rerouted = entry(caller.actor, changeSet.id, "change_set.rerouted", {
    data: {
      from: changeSet.status,
      revision: revision.digest,
      digest,
      required: route.required,
      votesDismissed: dismissed.length,
    },
    body: { route },
    writes: [
      update("change_sets", changeSet, pendingAgain(loaded, next, context.nowMs)),
      update("revisions", revision, { route, policy, risk, approval_digest: digest }),
      ...dismissed,
    ],
  });
  return { kind: "change", change: { guards: guardsOf(loaded, caller), entries: [rerouted] }, result: true };
}

function pendingAgain(
  { whole, configuration, judgement }: Loaded & { readonly judgement: Judgement },
  { route, digest }: MissingRoute,
  nowMs: number,
): Partial<ChangeSetRow> {
  return {
    status: "PENDING_APPROVAL",
    status_reason: "rerouted",
    approval_digest: digest,
    required_approvals: route.required,
    risk_score: judgement.risk.score,
    risk_level: judgement.risk.level,
    deadline_at_ms: deadlineMs(whole.changeSet.priority, nowMs, configuration.approvals),
    approved_until_ms: null,
    updated_at_ms: nowMs,
  };
}

/** A route that the votes given do not satisfy. */
interface MissingRoute {
  readonly route: Route;
  readonly digest: string;
  /** Votes that do not stand under it. */
  readonly dismissed: readonly Write[];
}

/** Undefined: the votes given are enough, or nobody could give what is missing. */
function missingRoute(loaded: Loaded, judgement: Judgement): MissingRoute | undefined {
  const { whole } = loaded;
  const route = routeOf(loaded, judgement);
  const digest = digestApproval(whole.revision.digest, route, judgement);
  const same = digest === whole.changeSet.approval_digest;
  const votes = same ? castVotes(loaded, whole) : [];
  const context = approvalContext(loaded, whole);
  const enough = route.required === 0 || tally(route, votes, context).state === "satisfied";
  if (enough || checkSatisfiable(route, context) !== undefined) return undefined;
  return { route, digest, dismissed: same ? [] : dismissVotes(whole).writes };
}
