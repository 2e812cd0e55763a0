/** Submitting: what was proposed is compared with the ledger, judged on its targets as they are now, and goes on by what was judged. */
import { type ChangeSetAnswer, isRefusal, type Refusal } from "@countersign/contract";
import type { Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { changeSetMismatch } from "../authority.js";
import { command } from "../command.js";
import type { Desk, RequestContext } from "../desk.js";
import { countersFor, isStopped, loadForCommand } from "../load.js";
import { judge } from "./judgement.js";
import { checkSubmission, decideSubmission } from "./submission.rules.js";

export function submit(
  desk: Desk,
  caller: Caller,
  id: string,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, id);
    if (isStopped(loaded)) return loaded;
    const { whole, configuration } = loaded;
    const refusal = checkSubmission(loaded, caller) ?? (await changeSetMismatch(desk, snapshot, loaded));
    if (refusal !== undefined) return refusal;
    const items = whole.items.length;
    const counters = await countersFor(desk, snapshot, {
      command: "submit",
      by: caller.principal,
      items,
      configuration,
    });
    if (isRefusal(counters)) return counters;
    const judgement = await judge(desk, snapshot, loaded);
    return isRefusal(judgement) ? judgement : { ...loaded, judgement, counters };
  };
  return command(desk, caller, request, load, (loaded, at) => decideSubmission(loaded, { caller }, at));
}
