/** People decide: a vote that is signed, or sending back with a reason. */
import type { ChangeSetAnswer, CheckedInput, Refusal, VoteDecision } from "@countersign/contract";
import type { Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { changeSetMismatch } from "../authority.js";
import { command } from "../command.js";
import type { Desk, RequestContext } from "../desk.js";
import { transition } from "../lifecycle.rules.js";
import { isStopped, loadForCommand } from "../load.js";
import { decideVote } from "./ballot.rules.js";
import { decideSendingBack } from "./sendingBack.rules.js";

/** `fallback`: the decision of the path, when the body names none. */
export function vote(
  desk: Desk,
  caller: Caller,
  input: CheckedInput<"approveChangeSet">,
  fallback: VoteDecision,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, input.id);
    if (isStopped(loaded) || transition(loaded.whole.changeSet, "vote") !== undefined) return loaded;
    return (await changeSetMismatch(desk, snapshot, loaded)) ?? loaded;
  };
  const ballot = { ...input, caller, decision: input.decision ?? fallback };
  return command(desk, caller, request, load, (loaded, at) => decideVote(loaded, ballot, at));
}

export function requestChanges(
  desk: Desk,
  caller: Caller,
  { id, reason }: CheckedInput<"requestChanges">,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const load = (snapshot: Snapshot) => loadForCommand(desk, snapshot, id);
  return command(desk, caller, request, load, (loaded, at) => decideSendingBack(loaded, { caller, reason }, at));
}
