/**
 * Going on with an application that ended partly. What was approved still holds, so nothing is planned anew; who may go on, and whether
 * policy, people and time still allow it, is asked again.
 */
import { type ApplicationAnswer, isRefusal, type Refusal } from "@countersign/contract";
import { loadKill } from "../../governance/index.js";
import type { Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { authorityMismatch } from "../authority.js";
import type { Desk, RequestContext } from "../desk.js";
import { isStopped, loadForCommand } from "../load.js";
import { decideAndRun, holdsFor } from "./intent.js";
import { decideResume } from "./intent.rules.js";
import { checkResume, checkStillAllowed } from "./resume.rules.js";
import type { Runner } from "./run.js";

export function resume(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  id: string,
  request: RequestContext,
): Promise<ApplicationAnswer | Refusal> {
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, id);
    if (isStopped(loaded)) return loaded;
    const kill = await loadKill(snapshot);
    const refusal =
      checkResume(loaded, { caller, kill }, desk.now()) ??
      (await authorityMismatch(desk, snapshot, loaded, kill.rows)) ??
      checkStillAllowed(loaded, desk.now());
    if (refusal !== undefined) return refusal;
    const holds = await holdsFor(desk, snapshot, loaded.whole);
    return isRefusal(holds) ? holds : { ...loaded, kill, holds };
  };
  return decideAndRun({ desk, runner }, caller, request, load, (loaded, at) => decideResume(loaded, { caller }, at));
}
