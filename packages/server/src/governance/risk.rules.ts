/**
 * How risky a change-set is: five weighted factors give the score, floors raise the level. The numbers are configuration
 * (`system.config/risk`); `docs/risk.md` has the default profile with worked examples.
 *
 * INVARIANT: the score is an integer in 0…100; a floor raises the level and never lowers it; adding an item lowers nothing.
 * Properties: test/governance/risk.test.ts.
 */
import {
  type Category,
  type EffectFlag,
  higherLevel,
  isProduction,
  type ItemOperation,
  localName,
  type Reversibility,
  type RiskAssessment,
  type RiskFactor,
  type RiskFactorName,
  type RiskFloor,
  type RiskFloorName,
  riskFloorNames,
  type RiskLevel,
  riskLevels,
  type RiskProfile,
  type TargetFacts,
} from "@countersign/contract";
import { sortedUnique } from "./facts.js";

export interface RiskItem {
  readonly operation: ItemOperation;
  readonly targets: readonly TargetFacts[];
  readonly flags: readonly EffectFlag[];
  readonly reversibility: Reversibility;
}

export interface RiskInput {
  readonly author: { readonly type: "human" | "agent" | "service"; readonly agentType?: string };
  readonly category: Category;
  /** Of each item: `deriveCategory` gives them. */
  readonly itemCategories: readonly Category[];
  /** In order of their sequence numbers, which begin with 1. */
  readonly items: readonly RiskItem[];
}

/** The outcomes of the author's earlier change-sets. */
export interface AgentHistory {
  /** Applied ever. 0 makes the change-set the first change of a new agent. */
  readonly appliedEver: number;
  /** Of the last 50 finished ones: applied and not rolled back; rejected by vote or policy; rolled back; failed or partly applied. */
  readonly applied: number;
  readonly rejected: number;
  readonly rolledBack: number;
  readonly failed: number;
}
export const noHistory: AgentHistory = { appliedEver: 0, applied: 0, rejected: 0, rolledBack: 0, failed: 0 };

interface Factor {
  readonly value: number;
  readonly why: string;
}

/** Assesses the risk of a planned change-set. Values in, value out: the same input gives the same bytes. */
export function assessRisk(input: RiskInput, history: AgentHistory, profile: RiskProfile): RiskAssessment {
  if (input.items.length === 0) throw new Error("a change-set has at least one item");
  const values: Record<RiskFactorName, Factor> = {
    operation: operationFactor(input.items, profile),
    target: targetFactor(input.items, profile),
    agent: agentFactor(input.author, history, profile),
    scope: scopeFactor(input, profile),
    quantity: quantityFactor(input.items.length, profile),
  };
  const factors: RiskFactor[] = (Object.keys(values) as RiskFactorName[]).map((factor) => ({
    factor,
    weight: profile.weights[factor],
    ...values[factor],
  }));
  const score = weightedMean(factors);
  const scoreLevel = levelOfScore(score, profile);
  const floors = findFloors(input, history, profile);
  const level = floors.map((floor) => floor.level).reduce(higherLevel, scoreLevel);
  return {
    score,
    level,
    scoreLevel,
    factors,
    floors,
    approvalsByLevel: profile.approvals[level],
    ...autoRule(values, level, floors, profile),
    recommendations: recommend(values),
  };
}

/** Whether the risk is higher now than the approved risk. */
export function riskHigher(now: RiskLevel, approved: RiskLevel): boolean {
  return riskLevels.indexOf(now) > riskLevels.indexOf(approved);
}

/** Σ weight · value / 100, rounded half up, in integers: weights are percents that add up to 100. */
function weightedMean(factors: readonly RiskFactor[]): number {
  const sum = factors.reduce((total, factor) => total + factor.weight * factor.value, 0);
  return Math.floor((sum + 50) / 100);
}

function levelOfScore(score: number, profile: RiskProfile): RiskLevel {
  if (score >= profile.levels.CRITICAL) return "CRITICAL";
  if (score >= profile.levels.HIGH) return "HIGH";
  return score >= profile.levels.MEDIUM ? "MEDIUM" : "LOW";
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value));
}

function count(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}

function operationFactor(items: readonly RiskItem[], profile: RiskProfile): Factor {
  const destructive = items.filter(isDestructive).length;
  const updates = items.filter((item) => !isDestructive(item) && item.operation === "UPDATE").length;
  const others = items.length - destructive - updates;
  const { destructive: d, update: u, other: o } = profile.operation;
  const parts = [
    destructive > 0 ? `${count(destructive, "deleting or destructive item")} × ${d}` : "",
    updates > 0 ? `${count(updates, "update")} × ${u}` : "",
    others > 0 ? `${count(others, "other operation")} × ${o}` : "",
  ].filter((part) => part !== "");
  return capped(destructive * d + updates * u + others * o, parts.join(" + "));
}

function isDestructive(item: RiskItem): boolean {
  return item.operation === "DELETE" || item.flags.includes("destructive");
}

function capped(sum: number, why: string): Factor {
  return { value: clamp(sum, 0, 100), why: sum > 100 ? `${why} = ${sum}, capped at 100` : `${why} = ${sum}` };
}

/** `*` stands for any letters: types are upper snake case and short, so pieces in order are enough. */
function typeMatches(pattern: string, type: string): boolean {
  const pieces = pattern.split("*");
  if (pieces.length === 1) return pattern === type;
  const first = pieces[0] ?? "";
  const last = pieces.at(-1) ?? "";
  if (!type.startsWith(first) || type.length < first.length + last.length || !type.endsWith(last)) return false;
  let at = first.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = type.indexOf(piece, at);
    if (found < 0) return false;
    at = found + piece.length;
  }
  return at <= type.length - last.length;
}

function isSensitive(target: TargetFacts, profile: RiskProfile): boolean {
  return profile.target.sensitiveTypes.some((pattern) => typeMatches(pattern, target.type));
}

function isProtected(target: TargetFacts, profile: RiskProfile): boolean {
  const name = localName(target).normalize("NFC").toLowerCase();
  return profile.target.protectedNamespaces.some((namespace) =>
    name.startsWith(namespace.normalize("NFC").toLowerCase()),
  );
}

/** Of an item with several targets (a move) the most sensitive counts, once. */
function targetFactor(items: readonly RiskItem[], profile: RiskProfile): Factor {
  const sensitive = items.filter((item) => item.targets.some((target) => isSensitive(target, profile))).length;
  const guarded = items.filter((item) => item.targets.some((target) => isProtected(target, profile))).length;
  if (sensitive + guarded === 0) return { value: 0, why: "no sensitive type, no protected namespace" };
  const parts = [
    sensitive > 0 ? `${count(sensitive, "item")} on a sensitive type × ${profile.target.sensitive}` : "",
    guarded > 0 ? `${count(guarded, "item")} in a protected namespace × ${profile.target.protected}` : "",
  ].filter((part) => part !== "");
  return capped(sensitive * profile.target.sensitive + guarded * profile.target.protected, parts.join(" + "));
}

function agentFactor(author: RiskInput["author"], history: AgentHistory, profile: RiskProfile): Factor {
  const { types, otherwise, record } = profile.agent;
  if (author.type === "human") return { value: otherwise, why: `proposed by a person: ${otherwise}` };
  const known = author.agentType === undefined ? undefined : types[author.agentType];
  const base = known ?? otherwise;
  const better = Math.floor(history.applied / record.appliedPerPoint);
  const worse =
    history.rejected * record.rejected + history.rolledBack * record.rolledBack + history.failed * record.failed;
  const moved = clamp(worse - better, record.lowest, record.highest);
  const name = known === undefined ? "type not listed" : `type ${author.agentType ?? ""}`;
  const outcomes = `${history.applied} applied, ${history.rejected} rejected, ${history.rolledBack} rolled back, ${history.failed} failed`;
  const value = clamp(base + moved, 0, 100);
  return { value, why: `${name}: ${base}, record (${outcomes}): ${moved > 0 ? "+" : ""}${moved}` };
}

/** The highest value among the items' categories and the change-set's own: raising a category cannot lower the score. */
function scopeFactor(input: RiskInput, profile: RiskProfile): Factor {
  const valueOf = (category: Category): number => profile.scope.categories[category] ?? profile.scope.otherwise;
  const highest = [input.category, ...input.itemCategories].reduce((best, next) =>
    valueOf(next) > valueOf(best) ? next : best,
  );
  return { value: valueOf(highest), why: `category ${highest}: ${valueOf(highest)}` };
}

function quantityFactor(items: number, profile: RiskProfile): Factor {
  const step = profile.quantity.steps.find((row) => items <= row.upTo);
  const value = step?.value ?? Math.max(profile.quantity.otherwise, ...profile.quantity.steps.map((row) => row.value));
  return { value, why: `${count(items, "item")}: ${value}` };
}

const floorReasons: Record<RiskFloorName, string> = {
  irreversible: "it cannot be undone",
  destructive: "it destroys what was there",
  delete_sensitive: "it deletes a target of a sensitive type or in a protected namespace",
  protected_target: "the target is protected",
  code_bearing: "the file decides what runs on people's machines",
  production: "the environment is production",
  moves_referenced: "another document refers to the moved target",
  security: "category SECURITY",
  infrastructure: "category INFRASTRUCTURE",
  compliance: "category COMPLIANCE",
  new_agent: "nothing of this agent was applied yet",
};

function findFloors(input: RiskInput, history: AgentHistory, profile: RiskProfile): RiskFloor[] {
  const about = (test: (item: RiskItem, index: number) => boolean): number[] =>
    input.items.flatMap((item, index) => (test(item, index) ? [index + 1] : []));
  const flagged = (flag: EffectFlag): number[] => about((item) => item.flags.includes(flag));
  const sensitive = (item: RiskItem): boolean =>
    item.targets.some((target) => isSensitive(target, profile) || isProtected(target, profile));
  const ofCategory = (category: Category): number[] => about((_, index) => input.itemCategories[index] === category);
  const items: Record<RiskFloorName, number[]> = {
    irreversible: about((item) => item.reversibility === "irreversible"),
    destructive: flagged("destructive"),
    delete_sensitive: about((item) => item.operation === "DELETE" && sensitive(item)),
    protected_target: about((item) => item.flags.includes("protected_path") || sensitive(item)),
    code_bearing: flagged("code_bearing"),
    production: about(
      (item) => item.flags.includes("production") || item.targets.some((target) => isProduction(target.environment)),
    ),
    moves_referenced: flagged("moves_referenced"),
    security: ofCategory("SECURITY"),
    infrastructure: ofCategory("INFRASTRUCTURE"),
    compliance: ofCategory("COMPLIANCE"),
    new_agent: [],
  };
  const whole: Partial<Record<RiskFloorName, boolean>> = {
    security: input.category === "SECURITY",
    infrastructure: input.category === "INFRASTRUCTURE",
    compliance: input.category === "COMPLIANCE",
    new_agent: input.author.type !== "human" && history.appliedEver === 0,
  };
  return riskFloorNames
    .filter((name) => items[name].length > 0 || whole[name] === true)
    .map((floor) => ({ floor, level: profile.floors[floor], items: items[floor], why: floorReasons[floor] }));
}

function autoRule(
  values: Record<RiskFactorName, Factor>,
  level: RiskLevel,
  floors: readonly RiskFloor[],
  profile: RiskProfile,
): { readonly auto: boolean; readonly autoWhy: string } {
  const over = (Object.keys(profile.autoBelow) as (keyof RiskProfile["autoBelow"])[])
    .filter((name) => values[name].value >= profile.autoBelow[name])
    .map((name) => `${name} ${values[name].value} is not below ${profile.autoBelow[name]}`);
  const reasons = [
    ...(level === "LOW" ? [] : [`the level is ${level}`]),
    ...over,
    ...(floors.length === 0 ? [] : [`floors: ${sortedUnique(floors.map((floor) => floor.floor)).join(", ")}`]),
    ...(profile.approvals[level] === 0 ? [] : [`level ${level} needs ${count(profile.approvals[level], "approval")}`]),
  ];
  if (reasons.length === 0) return { auto: true, autoWhy: "low risk in every factor, no floor" };
  return { auto: false, autoWhy: reasons.join("; ") };
}

function recommend(values: Record<RiskFactorName, Factor>): RiskAssessment["recommendations"] {
  const found: RiskAssessment["recommendations"] = [];
  if (values.operation.value > 50)
    found.push({ code: "split", text: "split the risky operations into smaller change-sets" });
  if (values.target.value > 40)
    found.push({ code: "security_review", text: "ask for a security review of the sensitive targets" });
  if (values.quantity.value > 30) found.push({ code: "batch", text: "propose the items in smaller batches" });
  return found;
}
