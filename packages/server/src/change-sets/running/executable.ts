/**
 * Whether a change-set may be applied, decided anew at every apply and failing closed: nothing that was decided earlier is believed, it
 * is worked out again from the ledger, the signatures and the targets as they are now.
 */
import { isRefusal, type Refusal } from "@countersign/contract";
import { loadKill } from "../../governance/index.js";
import type { Guard, Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { authorityMismatch } from "../authority.js";
import type { Desk } from "../desk.js";
import type { Loaded } from "../loaded.rules.js";
import { judge } from "../proposing/judgement.js";
import { readByRefs } from "../queries.js";
import { checkApply, checkApprovals, checkDependencies, checkFrozen, checkJudgement } from "./executable.rules.js";
import { holdsFor } from "./intent.js";
import type { ReadyToApply } from "./intent.rules.js";

/** What an apply is begun with. Cheap questions come before those that read much. */
export async function assertExecutable(
  desk: Desk,
  snapshot: Snapshot,
  loaded: Loaded,
  caller: Caller,
): Promise<Pick<ReadyToApply, "kill" | "holds" | "dependencies"> | Refusal> {
  const { whole } = loaded;
  const kill = await loadKill(snapshot);
  const early =
    checkApply(loaded, { caller, kill }, desk.now()) ??
    (await authorityMismatch(desk, snapshot, loaded, kill.rows)) ??
    checkApprovals(loaded, caller);
  if (early !== undefined) return early;
  const judgement = await judge(desk, snapshot, loaded);
  if (isRefusal(judgement)) return judgement;
  const unapproved = checkJudgement(loaded, judgement);
  if (unapproved !== undefined) return unapproved;
  const dependencies = await readByRefs(snapshot, whole.changeSet.depends_on);
  const waiting = checkDependencies(whole.changeSet, dependencies) ?? checkFrozen(loaded, desk.now());
  if (waiting !== undefined) return waiting;
  const holds = await holdsFor(desk, snapshot, whole);
  return isRefusal(holds) ? holds : { kill, holds, dependencies: dependencies.map(asItIs) };
}

function asItIs({ id, version }: { readonly id: string; readonly version: number }): Guard {
  return { kind: "row", table: "change_sets", id, version };
}
