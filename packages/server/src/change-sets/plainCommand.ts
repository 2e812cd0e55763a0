/** The shape of a command that needs nothing but the change-set itself to decide: load it, decide, answer with it as it will be. */
import type { ChangeSetAnswer, Refusal } from "@countersign/contract";
import type { DecideContext, Snapshot } from "../ledger/index.js";
import type { Caller } from "../tenancy/index.js";
import { type Answered, answerOf, type Desk, type Loaded, loadForCommand, type RequestContext } from "./desk.js";
import { timely } from "./timely.js";

export async function plainCommand(
  desk: Desk,
  caller: Caller,
  id: string,
  request: RequestContext,
  decide: (loaded: Loaded, context: DecideContext) => Answered | Refusal,
): Promise<ChangeSetAnswer | Refusal> {
  return answerOf(
    await timely(desk, caller, request, (snapshot: Snapshot) => loadForCommand(desk, snapshot, id), decide),
  );
}
