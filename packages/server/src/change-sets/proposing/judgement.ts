/** A change-set judged on its targets as they are now: they are read and its items planned again, `judgement.rules.ts` decides. */
import { isRefusal, type Refusal } from "@countersign/contract";
import type { Snapshot } from "../../ledger/index.js";
import { type Desk, targetContext } from "../desk.js";
import { type Loaded, policyPrincipal } from "../loaded.rules.js";
import { readAuthorHistory } from "../queries.js";
import type { Whole } from "../rows.js";
import { driftRefusal, inSequence, type Judgement, judgePlan } from "./judgement.rules.js";
import { planItems, readStates } from "./plan.js";
import { findDrift } from "./plan.rules.js";

export async function judge(desk: Desk, snapshot: Snapshot, loaded: Loaded): Promise<Judgement | Refusal> {
  const { whole, people, configuration } = loaded;
  const { author_id: authorId } = whole.changeSet;
  const drift = await driftOf(desk, snapshot, whole);
  if (drift !== undefined) return drift;
  const plan = await planItems(
    inSequence(whole.items).map((item) => item.input),
    {
      targets: desk.targets,
      blobs: desk.blobs(snapshot.tenant),
      snapshot,
      configuration,
      principal: policyPrincipal(people, authorId, configuration),
    },
  );
  return isRefusal(plan) ? plan : judgePlan(loaded, plan, await readAuthorHistory(snapshot, authorId));
}

/** `drift` with every target that is not as the plan expects it. */
export async function driftOf(desk: Desk, snapshot: Snapshot, whole: Whole): Promise<Refusal | undefined> {
  const states = await readStates(
    whole.items.flatMap((item) => item.effects),
    desk.targets,
    targetContext(desk, snapshot),
  );
  return driftRefusal(whole.changeSet.number, findDrift(whole.items, states));
}
