/** Sending a change-set back: it is a draft again, the votes on it are void, and its author is told what must change. */
import { type Refusal, refused } from "@countersign/contract";
import { checkVote, type Route } from "../../governance/index.js";
import type { Caller } from "../../tenancy/index.js";
import { type Answered, answered, type At, entry } from "../entries.rules.js";
import { backToDraft, dismissVotes, transition } from "../lifecycle.rules.js";
import { approvalContext, type Loaded } from "../loaded.rules.js";
import { type ChangeSetRow, replaced, update } from "../rows.js";

/** By whoever may reject it, with a reason. */
export function decideSendingBack(
  loaded: Loaded,
  { caller, reason }: { readonly caller: Caller; readonly reason: string | undefined },
  context: At,
): Refusal | Answered {
  const { whole } = loaded;
  const illegal = transition(whole.changeSet, "request_changes");
  if (illegal !== undefined) return illegal;
  if (reason === undefined || reason.trim() === "") return reasonRequired();
  const refusal = mayReject(loaded, caller, reason);
  if (refusal !== undefined) return refusal;
  const dismissed = dismissVotes(whole);
  const changes: Partial<ChangeSetRow> = {
    ...backToDraft,
    status_reason: "changes_requested",
    updated_at_ms: context.nowMs,
  };
  const requested = entry(caller.actor, whole.changeSet.id, "change_set.changes_requested", {
    data: { revision: whole.revision.digest, votesDismissed: dismissed.writes.length },
    body: { reason },
    writes: [update("change_sets", whole.changeSet, changes), ...dismissed.writes],
  });
  const after = replaced({ ...whole, votes: dismissed.votes }, { changes });
  return answered(loaded, caller, { entries: [requested], after });
}

function reasonRequired(): Refusal {
  return refused("reason_required", "say what must change: `--reason`", {
    problems: [{ code: "reason_required", pointer: "/reason", message: "a reason is required" }],
  });
}

function mayReject(loaded: Loaded, caller: Caller, reason: string): Refusal | undefined {
  const { whole } = loaded;
  const voter = { id: caller.principal.id, type: caller.principal.kind };
  const attempt = { voter, decision: "REJECTED" as const, reason };
  return checkVote(attempt, whole.revision.route as Route, [], approvalContext(loaded, whole));
}
