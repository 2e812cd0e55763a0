/**
 * What follows from a plan: its category and risk, what policy says of it, the route that then asks people, and the digest they sign.
 *
 * INVARIANT: what is judged is the plan that is stored. A plan that comes out otherwise now is `drift`.
 */
import { type Category, isRefusal, type Refusal, refused, refusedForProblems } from "@countersign/contract";
import { approvalDigest } from "@countersign/proof";
import {
  assessRisk,
  type Configuration,
  decidePolicy,
  deriveCategory,
  type DerivedCategory,
  makeRoute,
  type PolicyDecision,
  policyOutcome,
  type PolicyPrincipal,
  policySet,
  type RiskAssessment,
  type Route,
} from "../../governance/index.js";
import type { People } from "../../tenancy/index.js";
import { reversibilityOf } from "../lifecycle.rules.js";
import { approvalContext, type Loaded, policyPrincipal } from "../loaded.rules.js";
import type { AuthorHistory } from "../queries.js";
import type { ItemRow, Whole } from "../rows.js";
import type { Plan } from "./plan.js";
import type { Drift } from "./plan.rules.js";
import { type PlannedItem, targetRules } from "../../targets/index.js";

/** What policy and risk say about the present revision on the targets as they are now. */
export interface Judgement {
  readonly decision: PolicyDecision;
  readonly risk: RiskAssessment;
}

/** The judgement on `plan`, made of the items of the change-set as its targets are now. */
export function judgePlan(loaded: Loaded, plan: Plan, history: AuthorHistory): Judgement | Refusal {
  const { whole, people, configuration } = loaded;
  const other = plannedOtherwise(whole, plan);
  if (other !== undefined) return other;
  const { author_id: authorId, category_requested: requested } = whole.changeSet;
  const assessed = assess(plan, { history, category: requested ?? undefined, people, configuration, authorId });
  if (isRefusal(assessed)) return assessed;
  const { risk, category } = assessed;
  const principal = policyPrincipal(people, authorId, configuration);
  const decision = policyOn(plan, { items: whole.items, principal, risk, category, configuration });
  return { decision, risk };
}

function policyOn(
  plan: Plan,
  of: {
    readonly items: readonly ItemRow[];
    readonly principal: PolicyPrincipal;
    readonly risk: RiskAssessment;
    readonly category: DerivedCategory;
    readonly configuration: Configuration;
  },
): PolicyDecision {
  const items = inSequence(of.items).map(({ sequence, operation }) => ({
    sequence,
    operation,
    targets: plan.checked[sequence - 1]?.targets ?? [],
  }));
  const request = { principal: of.principal, level: of.risk.level, category: of.category.category, items };
  return decidePolicy(request, policySet(of.configuration));
}

/** In the proposer's order. */
export function inSequence<T extends { readonly sequence: number }>(items: readonly T[]): T[] {
  return [...items].sort((a, b) => a.sequence - b.sequence);
}

/** Category and risk of a plan by its author's record. */
export function assess(
  plan: Plan,
  of: {
    category: Category | undefined;
    people: People;
    configuration: Configuration;
    authorId: string;
    history: AuthorHistory;
  },
): { category: DerivedCategory; risk: RiskAssessment } | Refusal {
  const category = deriveCategory(plan.checked, of.configuration.categories, of.category);
  if ("code" in category) return refusedForProblems([category]);
  const author = of.people.principals.get(of.authorId);
  const risk = assessRisk(
    {
      author:
        author?.agentType == null
          ? { type: author?.kind ?? "agent" }
          : { type: author.kind, agentType: author.agentType },
      category: category.category,
      itemCategories: category.items,
      items: inSequence(plan.items).map(({ sequence, input, planned }) => ({
        operation: input.operation,
        targets: plan.checked[sequence - 1]?.targets ?? [],
        flags: planned.flags,
        reversibility: planned.reversibility,
      })),
    },
    of.history,
    of.configuration.risk,
  );
  return { category, risk };
}

// ── Drift ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * The same items on the same states come out as they were planned, unless what their targets are has changed: a workspace is
 * of another environment now. What people approved, and what freezes and routes are held against, is the plan that is stored.
 */
function plannedOtherwise(whole: Whole, plan: Plan): Refusal | undefined {
  const other = plan.items.filter(({ sequence, planned }) => {
    const stored = whole.items.find((item) => item.sequence === sequence);
    return stored === undefined || outcomesOf(stored.effects) !== outcomesOf(planned.effects);
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

/** What each target becomes, as far as it must be the same when the item is planned again. */
function outcomesOf(effects: PlannedItem["effects"]): string {
  return JSON.stringify(
    effects.map(({ target, before, after }) => [
      target.key,
      target.environment,
      before.hash,
      targetRules(target.kind).outcome(after),
    ]),
  );
}

/** `drift` with every target that is not as the plan expects it; undefined when all are. */
export function driftRefusal(number: string, drift: readonly Drift[]): Refusal | undefined {
  if (drift.length === 0) return undefined;
  const names = drift.map((one) => `\`${one.target}\``).join(", ");
  return refused(
    "drift",
    `${names} changed since \`${number}\` was planned; revise it (\`countersign change-set revise ${number}\`) to plan on what is there now, or cancel it`,
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

// ── What people are asked ────────────────────────────────────────────────────────────────────────────────────────────

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
  return approvalDigest({ revision, route, riskLevel: risk.level, policy: policyOutcome(decision) });
}
