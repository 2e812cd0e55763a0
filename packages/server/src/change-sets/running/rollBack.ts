/**
 * Rolling back the newest application, by the same path as applying, in reverse. Everything that may stand in the way is looked at before
 * the first target is touched; `rollBack.rules.ts` says what that is.
 */
import {
  type ApplicationAnswer,
  type CheckedInput,
  inEffectStatuses,
  isRefusal,
  type Refusal,
} from "@countersign/contract";
import type { Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { authorityMismatch } from "../authority.js";
import { type Desk, type RequestContext, targetContext } from "../desk.js";
import { transition } from "../lifecycle.rules.js";
import { isStopped, loadForCommand } from "../load.js";
import type { Loaded } from "../loaded.rules.js";
import { readStates } from "../proposing/plan.js";
import { readOverlaps } from "../queries.js";
import { keysOf, type Whole } from "../rows.js";
import { decideAndRun, holdsFor } from "./intent.js";
import { decideRollback, type Ready, type RolledBackAs } from "./intent.rules.js";
import { checkReversible, checkRollback, type Later, laterOnTop, rollbackDrift } from "./rollBack.rules.js";
import type { Runner } from "./run.js";

type RollbackInput = CheckedInput<"rollbackChangeSet">;

/** Rolls back the newest application; `cascade` takes back what builds on it first. `above`: what a cascade is about already. */
export async function rollBack(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  input: RollbackInput,
  request: RequestContext,
  above: ReadonlySet<string> = new Set(),
): Promise<ApplicationAnswer | Refusal> {
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, input.id);
    if (isStopped(loaded)) return loaded;
    const preflight = await rollbackPreflight(desk, snapshot, loaded, caller, request.proven === true);
    return isRefusal(preflight) ? preflight : { ...loaded, ...preflight };
  };
  const { reason, cascade } = input;
  const answer = await decideAndRun({ desk, runner }, caller, request, load, (loaded, at) =>
    decideRollback(loaded, { caller, reason }, at),
  );
  const isBlocked = isRefusal(answer) && answer.code === "rollback_blocked";
  return isBlocked && cascade ? rollBackAbove(desk, runner, caller, input, request, answer, above) : answer;
}

/** The later change-sets one by one, newest first, each with the caller's authority over it; then the one asked for. */
async function rollBackAbove(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  input: RollbackInput,
  request: RequestContext,
  blocked: Refusal,
  above: ReadonlySet<string>,
): Promise<ApplicationAnswer | Refusal> {
  const later = (blocked.details?.["later"] as Later[] | undefined) ?? [];
  const seen = new Set([...above, blocked.details?.["of"] as string]);
  // Two that are partly applied may each stand in the other's way: a person says what became of one of them.
  if (later.some((one) => seen.has(one.id))) return blocked;
  const plain: RequestContext = { ...request, transact: desk.ledger.transact };
  for (const { id } of later) {
    const answer = await rollBack(desk, runner, caller, { id, cascade: true, reason: input.reason }, plain, seen);
    // One that an earlier step of the cascade already took back is no obstacle.
    if (isRefusal(answer) && !(answer.code === "illegal_transition" && answer.details?.["status"] === "ROLLED_BACK"))
      return answer;
  }
  return rollBack(desk, runner, caller, { ...input, cascade: false }, request);
}

async function rollbackPreflight(
  desk: Desk,
  snapshot: Snapshot,
  loaded: Loaded,
  caller: Caller,
  proven: boolean,
): Promise<(Pick<Ready, "holds"> & { readonly as: RolledBackAs }) | Refusal> {
  const { whole } = loaded;
  const early =
    transition(whole.changeSet, "roll_back") ??
    (await authorityMismatch(desk, snapshot, loaded, [])) ??
    checkReversible(whole);
  if (early !== undefined) return early;
  const later = laterOnTop(whole, await othersApplied(snapshot, whole));
  const allowed = checkRollback(loaded, { caller, proven, later }, desk.now());
  if (isRefusal(allowed)) return allowed;
  if (whole.changeSet.status === "APPLIED") {
    const effects = whole.items.flatMap((item) => item.effects);
    const drift = rollbackDrift(whole, await readStates(effects, desk.targets, targetContext(desk, snapshot)));
    if (drift !== undefined) return drift;
  }
  const holds = await holdsFor(desk, snapshot, whole);
  return isRefusal(holds) ? holds : { holds, as: allowed.as };
}

/** Other change-sets that did or do something to its targets. */
function othersApplied(snapshot: Snapshot, whole: Whole) {
  return readOverlaps(snapshot, {
    changeSetId: whole.changeSet.id,
    keys: [...new Set(whole.items.flatMap(keysOf))],
    statuses: inEffectStatuses,
  });
}
