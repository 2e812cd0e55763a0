/**
 * Submitting: by what was judged the change-set is denied, waits for people, or is approved by policy at once. From here on what people
 * sign is fixed.
 */
import type { Refusal } from "@countersign/contract";
import { approvedUntilMs, checkSatisfiable, deadlineMs, type PolicyDecision } from "../../governance/index.js";
import type { Guard, Write } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { type Answered, answered, type At, entry } from "../entries.rules.js";
import { mayEdit, transition } from "../lifecycle.rules.js";
import { approvalContext, type Loaded } from "../loaded.rules.js";
import { type ChangeSetRow, type ItemRow, replaced, type RevisionRow, update, updated, type Whole } from "../rows.js";
import { digestApproval, type Judgement, routeOf } from "./judgement.rules.js";

/** A change-set with what is known of it when its submission is decided. */
export interface Judged extends Loaded {
  readonly judgement: Judgement;
  /** Of the limits that a submission counts against. */
  readonly counters: readonly Guard[];
}

/** Whether it may be submitted at all, asked before it is judged. */
export function checkSubmission({ whole }: Loaded, caller: Caller): Refusal | undefined {
  return transition(whole.changeSet, "submit") ?? mayEdit(caller, whole);
}

export function decideSubmission(
  loaded: Judged,
  { caller }: { readonly caller: Caller },
  context: At,
): Refusal | Answered {
  return loaded.judgement.decision.outcome === "deny"
    ? denied(loaded, caller, context)
    : accepted(loaded, caller, context);
}

function denied(loaded: Judged, caller: Caller, context: At): Answered {
  const { whole, judgement } = loaded;
  const { decision, risk } = judgement;
  const submission: Submission = {
    changes: { ...judgedAt(judgement, context.nowMs), status: "REJECTED", status_reason: "policy_denied" },
    revisionChanges: { policy: decision, risk },
  };
  const rejected = entry(caller.actor, whole.changeSet.id, "change_set.rejected", {
    data: {
      reason: "policy_denied",
      revision: whole.revision.digest,
      denied: decision.items.filter((item) => item.outcome === "deny").map((item) => item.sequence),
    },
    body: { items: decision.items },
    writes: writesOf(loaded, submission),
  });
  return answered(loaded, caller, { entries: [rejected], after: afterOf(loaded, submission) });
}

function accepted(loaded: Judged, caller: Caller, context: At): Refusal | Answered {
  const { whole, judgement, counters } = loaded;
  const { decision, risk } = judgement;
  const route = routeOf(loaded, judgement);
  const unsatisfiable = checkSatisfiable(route, approvalContext(loaded, whole));
  if (unsatisfiable !== undefined) return unsatisfiable;
  const digest = digestApproval(whole.revision.digest, route, judgement);
  const auto = route.auto && route.required === 0;
  const submission: Submission = {
    changes: {
      ...judgedAt(judgement, context.nowMs),
      ...(auto ? approved(loaded, context.nowMs) : waiting(loaded, context.nowMs)),
      status_reason: null,
      blocked: null,
      approval_digest: digest,
      required_approvals: route.required,
    },
    revisionChanges: { policy: decision, risk, route, approval_digest: digest },
  };
  const submitted = entry(caller.actor, whole.changeSet.id, auto ? "change_set.approved" : "change_set.submitted", {
    data: {
      revision: whole.revision.digest,
      digest,
      risk: risk.level,
      score: risk.score,
      required: route.required,
      auto,
      policy: decision.outcome,
    },
    body: { route },
    writes: writesOf(loaded, submission),
  });
  return answered(loaded, caller, { entries: [submitted], after: afterOf(loaded, submission), guards: counters });
}

/** Nobody is asked: policy approved it. */
function approved({ whole, configuration }: Loaded, nowMs: number): Partial<ChangeSetRow> {
  const untilMs = approvedUntilMs(whole.changeSet.priority, nowMs, configuration.approvals);
  return { status: "APPROVED", deadline_at_ms: null, approved_until_ms: untilMs };
}

function waiting({ whole, configuration }: Loaded, nowMs: number): Partial<ChangeSetRow> {
  const untilMs = deadlineMs(whole.changeSet.priority, nowMs, configuration.approvals);
  return { status: "PENDING_APPROVAL", deadline_at_ms: untilMs, approved_until_ms: null };
}

function judgedAt({ risk }: Judgement, nowMs: number): Partial<ChangeSetRow> {
  return { risk_score: risk.score, risk_level: risk.level, submitted_at_ms: nowMs, updated_at_ms: nowMs };
}

interface Submission {
  readonly changes: Partial<ChangeSetRow>;
  readonly revisionChanges: Partial<RevisionRow>;
}

function writesOf({ whole, judgement }: Judged, { changes, revisionChanges }: Submission): Write[] {
  return [
    update("change_sets", whole.changeSet, changes),
    update("revisions", whole.revision, revisionChanges),
    ...whole.items.map((item) => update("items", item, { policy: decisionOn(item, judgement.decision) })),
  ];
}

function afterOf({ whole, judgement }: Judged, submission: Submission): Whole {
  const items = whole.items.map((item) => updated<ItemRow>(item, { policy: decisionOn(item, judgement.decision) }));
  return replaced(whole, { ...submission, items });
}

function decisionOn(item: ItemRow, decision: PolicyDecision): ItemRow["policy"] {
  return decision.items.find((one) => one.sequence === item.sequence) ?? null;
}
