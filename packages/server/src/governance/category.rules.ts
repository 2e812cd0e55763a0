/**
 * Derives a change-set's category from the names of its targets. The category picks approvers and counts in the risk.
 * So it is derived, not claimed: the proposer may raise it, but never lower it.
 *
 * INVARIANT: a target in the environment `system` is SECURITY, whatever the configuration says.
 */
import {
  categories,
  type Category,
  configurationEnvironment,
  type ConfigurationValue,
  higherCategory,
  type Problem,
  type TargetFacts,
} from "@countersign/contract";
import { anyMatches } from "./patterns.rules.js";

export interface DerivedCategory {
  readonly kind: "category";
  /** The one that counts. */
  readonly category: Category;
  readonly derived: Category;
  /** Of each item, in order. */
  readonly items: readonly Category[];
}

export function categoryOfTarget(target: TargetFacts, rules: ConfigurationValue<"categories">): Category {
  if (target.environment === configurationEnvironment) return "SECURITY";
  return rules.rules.find((rule) => anyMatches(rule.targets, [target], "restrict"))?.category ?? "OTHER";
}

/** The highest category of the targets; `proposed` may raise it. `category_lowered` when it would lower it. */
export function deriveCategory(
  items: readonly { readonly targets: readonly TargetFacts[] }[],
  rules: ConfigurationValue<"categories">,
  proposed?: Category,
  pointer = "/category",
): DerivedCategory | Problem {
  const each = items.map((item) => highest(item.targets.map((target) => categoryOfTarget(target, rules))));
  const derived = highest(each);
  if (proposed === undefined) return { kind: "category", category: derived, derived, items: each };
  if (categories.indexOf(proposed) < categories.indexOf(derived)) {
    const legal = categories.slice(categories.indexOf(derived)).map((name) => `\`${name}\``);
    return {
      code: "category_lowered",
      pointer,
      message: `category \`${proposed}\` is lower than \`${derived}\`, which follows from the targets; leave it out or give one of ${legal.join(", ")}`,
    };
  }
  return { kind: "category", category: proposed, derived, items: each };
}

function highest(found: readonly Category[]): Category {
  const [first, ...rest] = found;
  return first === undefined ? "OTHER" : rest.reduce(higherCategory, first);
}
