/** Mode AUTO: once a change-set is approved, the engine applies it by itself. What stops it stays visible on the change-set. */
import { type ChangeSetAnswer, isRefusal, type Refusal } from "@countersign/contract";
import type { Caller } from "../../tenancy/index.js";
import type { Desk, RequestContext } from "../desk.js";
import { read } from "../reading.js";
import { apply } from "./apply.js";
import type { Runner } from "./run.js";

/** `answer`: of the command that may have approved it; a replayed one, without receipts, applies nothing again. */
export async function thenAuto(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  request: RequestContext,
  answer: ChangeSetAnswer | Refusal,
): Promise<ChangeSetAnswer | Refusal> {
  if (isRefusal(answer) || answer.receipts.length === 0) return answer;
  const { id, number, status, applyMode } = answer.changeSet;
  if (status !== "APPROVED" || applyMode !== "AUTO") return answer;
  const system = desk.tenancy.systemCaller(caller.tenant);
  const applied = await apply(desk, runner, system, id, { ...request, transact: desk.ledger.transact }, "AUTO");
  if (!isRefusal(applied)) return { changeSet: applied.changeSet, receipts: [...answer.receipts, ...applied.receipts] };
  desk.log.info({ changeSet: number, code: applied.code }, "approved, and not applied by itself");
  const now = await read(desk, caller, id);
  return isRefusal(now) ? answer : { changeSet: now, receipts: answer.receipts };
}
