/**
 * What is to be decided about a change-set, on the targets as they are now: whether they are still as it was planned, what policy and risk
 * say, which route follows, and the digest that people sign.
 *
 * INVARIANT: what is judged is the plan that is stored. When the targets would be changed otherwise than that says, nothing is
 * decided and the answer is `drift`.
 */
import { isRefusal, type JsonObject, type Refusal, refused } from "@countersign/contract";
import { approvalDigest } from "@countersign/proof";
import {
  decidePolicy,
  makeRoute,
  type PolicyDecision,
  policyOutcome,
  policySet,
  type RiskAssessment,
  type Route,
} from "../../governance/index.js";
import type { Snapshot } from "../../ledger/index.js";
import { approvalContext, type Desk, type Loaded, policyPrincipal, targetContext } from "../desk.js";
import { assess } from "./draft.js";
import { type Plan, planItems, readStates } from "./plan.js";
import { findDrift } from "./plan.rules.js";
import { readAuthorHistory } from "../queries.js";
import type { ItemRow, Whole } from "../rows.js";
import { reversibilityOf } from "../lifecycle.rules.js";

/** What policy and risk say about the present revision on the targets as they are now. */
export interface Judgement {
  readonly decision: PolicyDecision;
  readonly risk: RiskAssessment;
}

export async function judge(desk: Desk, snapshot: Snapshot, loaded: Loaded): Promise<Judgement | Refusal> {
  const { whole, people, configuration } = loaded;
  const principal = policyPrincipal(people, whole.changeSet.author_id, configuration);
  const blobs = desk.blobs(snapshot.tenant);
  const drift = await driftOf(desk, snapshot, whole);
  if (drift !== undefined) return drift;
  const items = [...whole.items].sort((a, b) => a.sequence - b.sequence);
  const plan = await planItems(
    items.map((item) => item.input),
    { targets: desk.targets, blobs, snapshot, configuration, principal },
  );
  if (isRefusal(plan)) return plan;
  const other = plannedOtherwise(whole, plan);
  if (other !== undefined) return other;
  const history = await readAuthorHistory(snapshot, whole.changeSet.author_id);
  const assessed = assess(plan, {
    history,
    category: whole.changeSet.category_requested ?? undefined,
    people,
    configuration,
    authorId: whole.changeSet.author_id,
  });
  if (isRefusal(assessed)) return assessed;
  const decision = decidePolicy(
    {
      principal,
      level: assessed.risk.level,
      category: assessed.category.category,
      items: items.map((item) => ({
        sequence: item.sequence,
        operation: item.operation,
        targets: plan.checked[item.sequence - 1]?.targets ?? [],
      })),
    },
    policySet(configuration),
  );
  return { decision, risk: assessed.risk };
}

/**
 * The same items on the same states come out as they were planned, unless what their targets are has changed: a workspace is
 * of another environment now. What people approved, and what freezes and routes are held against, is the plan that is stored.
 */
function plannedOtherwise(whole: Whole, plan: Plan): Refusal | undefined {
  // Of a file not the bytes: an item is stored as jsonb, which forgets the order of members, so new JSON in a file may come out
  // in another order now. What is written are the stored bytes, in the order they were sent and approved.
  const outcome = (after: ItemRow["effects"][number]["after"]): string | boolean | null =>
    after.document === undefined ? after.exists : after.hash;
  const said = (effects: ItemRow["effects"]): string =>
    JSON.stringify(
      effects.map(({ target, before, after }) => [target.key, target.environment, before.hash, outcome(after)]),
    );
  const other = plan.items.filter(({ sequence, planned }) => {
    const stored = whole.items.find((item) => item.sequence === sequence);
    return stored === undefined || said(stored.effects) !== said(planned.effects);
  });
  if (other.length === 0) return undefined;
  const names = other.map(({ planned }) => `\`${planned.effects[0]?.target.id ?? ""}\``).join(", ");
  return refused(
    "drift",
    `${names} would be changed otherwise than \`${whole.changeSet.number}\` was planned; revise it to plan on what is there now`,
    {
      problems: other.map(({ sequence }) => ({
        code: "drift",
        pointer: `/items/${sequence - 1}`,
        message: "its targets, their environment or its outcome are not those of the plan",
      })),
    },
  );
}

/** `drift` with every target that is not as the plan expects it. */
export async function driftOf(desk: Desk, snapshot: Snapshot, whole: Whole): Promise<Refusal | undefined> {
  const states = await readStates(
    whole.items.flatMap((item) => item.effects),
    desk.targets,
    targetContext(desk, snapshot),
  );
  const drift = findDrift(whole.items, states);
  if (drift.length === 0) return undefined;
  const names = drift.map((one) => `\`${one.target}\``).join(", ");
  return refused(
    "drift",
    `${names} changed since \`${whole.changeSet.number}\` was planned; revise it (\`countersign change-set revise ${whole.changeSet.number}\`) to plan on what is there now, or cancel it`,
    {
      details: { drift },
      problems: drift.map((one) => ({
        code: "drift",
        pointer: `/items/${one.sequence - 1}`,
        message: `\`${one.target}\` was \`${one.expected ?? "absent"}\` and is \`${one.actual ?? "absent"}\``,
      })),
    },
  );
}

/** The route that policy, risk and configuration ask for now. */
export function routeOf(loaded: Loaded, { decision, risk }: Judgement): Route {
  const { whole } = loaded;
  return makeRoute(
    {
      category: whole.revision.category,
      targets: whole.items.flatMap((item) => item.effects.map((effect) => effect.target)),
      assessment: risk,
      decision,
      irreversible: reversibilityOf(whole.items) === "irreversible",
    },
    approvalContext(loaded, whole),
  );
}

/** What people sign. */
export function digestApproval(revision: string, route: Route, { decision, risk }: Judgement): string {
  return approvalDigest({
    revision,
    route: route as unknown as JsonObject,
    riskLevel: risk.level,
    policy: policyOutcome(decision),
  });
}
