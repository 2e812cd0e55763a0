/**
 * Decides whether a principal may run an operation on some targets: it takes grants and rules, and returns a decision
 * with its reasons. `docs/policy.md` has the semantics. Another engine can stand behind `decidePolicy` without its
 * callers noticing.
 *
 * INVARIANT: default is deny; forbid beats require_approval beats permit; without a readable policy everything is denied;
 * no item, no permission.
 */
import {
  type Category,
  type ConfigurationValue,
  describeTarget,
  type Grant,
  type GrantOperation,
  type ItemDecision,
  type JsonObject,
  type Permission,
  type PolicyDecision,
  type PolicyOutcomeName,
  type PolicyRule,
  type Problem,
  type Refusal,
  refused,
  refusedForProblems,
  type RiskLevel,
  riskLevels,
  type StageConfiguration,
  type StageRequest,
  type TargetFacts,
} from "@countersign/contract";
import { quotedList, sortedUnique } from "./facts.js";
import { cachedPattern, matchesTarget, type PatternUse } from "./patterns.rules.js";

export interface PolicyPrincipal {
  readonly id: string;
  readonly name: string;
  readonly type: "human" | "agent" | "service";
  readonly agentType?: string;
  readonly roles: readonly string[];
  readonly groups: readonly string[];
  /** The operations that people may propose under their roles. Agents propose under grants alone. */
  readonly permissions: ReadonlySet<Permission> | readonly Permission[];
}

export interface PolicyItem {
  /** From 1. */
  readonly sequence: number;
  readonly operation: GrantOperation;
  readonly targets: readonly TargetFacts[];
}

export interface PolicyRequest {
  readonly principal: PolicyPrincipal;
  /** Not known when a target is only read: rules with `minLevel` do not hold then. */
  readonly level?: RiskLevel;
  readonly category?: Category;
  readonly items: readonly PolicyItem[];
}

/** The rules in force. `unreadable` says why there are none: everything is denied then. */
export interface PolicySet {
  readonly version: string;
  readonly rules: readonly PolicyRule[];
  readonly grants: readonly Grant[];
  readonly unreadable?: string;
}

/** The documents of the effective configuration that decide. If one of them cannot be read, everything is denied. */
export function policySet(configuration: {
  readonly version: string;
  readonly policy: ConfigurationValue<"policy">;
  readonly grants: ConfigurationValue<"grants">;
  readonly problems: readonly Problem[];
}): PolicySet {
  const first = configuration.problems[0];
  return {
    version: configuration.version,
    rules: configuration.policy.rules,
    grants: configuration.grants.grants,
    ...(first === undefined ? {} : { unreadable: first.message }),
  };
}

/** Decides every item and the set. The strictest item decides the set. */
export function decidePolicy(request: PolicyRequest, set: PolicySet): PolicyDecision {
  const deciders = request.items.map((item) => decideItem(item, request, set));
  const outcomes = deciders.map((decider) => decider.decision.outcome);
  const asked = deciders.flatMap((decider) => decider.stages);
  return {
    outcome: strictest(outcomes),
    version: set.version,
    items: deciders.map((decider) => decider.decision),
    stages: mergeStages(asked),
  };
}

function strictest(outcomes: readonly PolicyOutcomeName[]): PolicyOutcomeName {
  if (outcomes.length === 0 || outcomes.includes("deny")) return "deny";
  return outcomes.includes("require_approval") ? "require_approval" : "allow";
}

interface ItemVerdict {
  readonly decision: ItemDecision;
  readonly stages: readonly StageRequest[];
}

function decideItem(item: PolicyItem, request: PolicyRequest, set: PolicySet): ItemVerdict {
  const verdict = (
    outcome: PolicyOutcomeName,
    policies: Iterable<string>,
    why: string,
    stages: readonly StageRequest[] = [],
  ): ItemVerdict => ({
    decision: { sequence: item.sequence, outcome, policies: sortedUnique(policies), why },
    stages,
  });
  if (set.unreadable !== undefined) return verdict("deny", [], `no policy is loaded: ${set.unreadable}`);
  if (item.targets.length === 0) return verdict("deny", [], "the item names no target");

  const restricting = (effect: "forbid" | "require_approval"): PolicyRule[] =>
    set.rules.filter(
      (rule) =>
        rule.effect === effect &&
        holds(rule, request) &&
        item.targets.some((target) => covers(rule, item.operation, target, "restrict")),
    );

  const forbidding = restricting("forbid");
  if (forbidding.length > 0)
    return verdict("deny", ids(forbidding), `forbidden by ${quotedList(ids(forbidding))}${because(forbidding)}`);

  const permits = item.targets.map((target) => permitsFor(item.operation, target, request, set));
  const uncovered = item.targets.filter((_, index) => permits[index]?.length === 0);
  if (uncovered.length > 0) return verdict("deny", [], notPermitted(item, uncovered, request.principal));

  const requiring = restricting("require_approval");
  if (requiring.length > 0) {
    const stages = requiring.flatMap((rule) => (rule.approval === undefined ? [] : [stageRequest(rule.approval)]));
    return verdict(
      "require_approval",
      ids(requiring),
      `approval required by ${quotedList(ids(requiring))}${because(requiring)}`,
      stages,
    );
  }
  const permitting = sortedUnique(permits.flat());
  return verdict("allow", permitting, `permitted by ${quotedList(permitting)}`);
}

function ids(rules: readonly PolicyRule[]): string[] {
  return rules.map((rule) => rule.id);
}

function because(rules: readonly PolicyRule[]): string {
  const described = rules.flatMap((rule) => (rule.description === undefined ? [] : [rule.description]));
  return described.length === 0 ? "" : ` (${described.join("; ")})`;
}

/** The conditions of a rule that are about the request as a whole. */
function holds(rule: PolicyRule, request: PolicyRequest): boolean {
  if (!rule.principals.some((selector) => selects(selector, request.principal))) return false;
  if (
    rule.minLevel !== undefined &&
    (request.level === undefined || riskLevels.indexOf(request.level) < riskLevels.indexOf(rule.minLevel))
  )
    return false;
  return (
    rule.categories === undefined || (request.category !== undefined && rule.categories.includes(request.category))
  );
}

/** The conditions that are about one operation on one target. */
function covers(rule: PolicyRule | Grant, operation: GrantOperation, target: TargetFacts, use: PatternUse): boolean {
  if (!rule.operations.includes("*") && !rule.operations.includes(operation)) return false;
  if (rule.environments !== undefined && !rule.environments.includes(target.environment)) return false;
  return rule.targets.some((pattern) => matchesTarget(cachedPattern(pattern), target, use));
}

function permitsFor(operation: GrantOperation, target: TargetFacts, request: PolicyRequest, set: PolicySet): string[] {
  const { principal } = request;
  const grants = set.grants.filter(
    (grant) =>
      grant.principals.some((selector) => selects(selector, principal)) && covers(grant, operation, target, "permit"),
  );
  const rules = set.rules.filter(
    (rule) => rule.effect === "permit" && holds(rule, request) && covers(rule, operation, target, "permit"),
  );
  return [...grants.map((grant) => `grants/${grant.id}`), ...ids(rules), ...personalPermits(operation, principal)];
}

/** People may propose and plan the operations of their roles. Agents and services have only grants. */
function personalPermits(operation: GrantOperation, principal: PolicyPrincipal): string[] {
  if (principal.type !== "human") return [];
  const held = new Set<Permission>(principal.permissions);
  if (held.has("change_sets.propose")) return ["permission/change_sets.propose"];
  return operation === "read" && held.has("resources.read") ? ["permission/resources.read"] : [];
}

/** Whether a selector of a rule is about the principal; docs/policy.md lists the forms. */
export function selects(selector: string, principal: PolicyPrincipal): boolean {
  if (selector === "*") return true;
  if (selector === `${principal.type}s`) return true;
  const at = selector.indexOf(":");
  const kind = selector.slice(0, at);
  const name = selector.slice(at + 1).normalize("NFC");
  if (kind === "type") return principal.type !== "human" && principal.agentType === name;
  if (kind === "role") return principal.roles.includes(name);
  if (kind === "group") return principal.groups.includes(name);
  return kind === principal.type && (name === principal.id || name === principal.name.normalize("NFC"));
}

function notPermitted(item: PolicyItem, uncovered: readonly TargetFacts[], principal: PolicyPrincipal): string {
  const targets = quotedList(uncovered.map(describeTarget));
  if (principal.type === "human")
    return `\`${principal.name}\` has no role that may ${item.operation === "read" ? "read" : "propose"}: ${targets}; an administrator can bind one`;
  return `no grant of \`${principal.name}\` covers ${item.operation} on ${targets}; a person can add one to \`system.config/grants\``;
}

function stageRequest(stage: StageConfiguration): StageRequest {
  const groups = sortedUnique(stage.groups);
  return { name: stage.name ?? groups.join(" or "), groups, quorum: stage.quorum };
}

/** Stages that ask the same groups become one, with the highest quorum; in the order of their first mention. */
export function mergeStages(stages: readonly (StageConfiguration | StageRequest)[]): StageRequest[] {
  const merged = new Map<string, StageRequest>();
  for (const stage of stages.map((given) => stageRequest(given as StageConfiguration))) {
    const key = stage.groups.join("\n");
    const before = merged.get(key);
    merged.set(key, before === undefined ? stage : { ...before, quorum: Math.max(before.quorum, stage.quorum) });
  }
  return [...merged.values()];
}

/**
 * The part of a decision that people sign: outcomes, without versions and names of rules. So another version of the
 * policy voids an approval only if its outcome differs.
 */
export function policyOutcome(decision: PolicyDecision): JsonObject {
  return {
    outcome: decision.outcome,
    items: decision.items.map((item) => [item.sequence, item.outcome]),
    stages: decision.stages.map((stage) => ({ groups: stage.groups, quorum: stage.quorum })),
  };
}

/** `policy_denied` with a problem for each denied item. */
export function policyRefusal(
  decision: PolicyDecision,
  pointerOf: (sequence: number) => string = (sequence) => `/items/${sequence - 1}`,
): Refusal {
  const denied = decision.items.filter((item) => item.outcome === "deny");
  if (denied.length === 0)
    return refused("policy_denied", "a change-set without items is not permitted; give it at least one");
  return refusedForProblems(
    denied.map((item) => ({
      code: "policy_denied",
      pointer: pointerOf(item.sequence),
      message: `item ${item.sequence}: ${item.why}`,
    })),
  );
}

/** Refuses before a target is touched: planning reads, so it needs the `read` grant. */
export function decideRead(
  principal: PolicyPrincipal,
  items: readonly { readonly sequence: number; readonly targets: readonly TargetFacts[] }[],
  set: PolicySet,
  pointerOf: (sequence: number) => string = (sequence) => `/items/${sequence - 1}/target`,
): Refusal | undefined {
  const decision = decidePolicy(
    { principal, items: items.map((item) => ({ ...item, operation: "read" as const })) },
    set,
  );
  const denied = decision.items.filter((item) => item.outcome === "deny");
  if (denied.length === 0) return undefined;
  return refusedForProblems(
    denied.map((item) => ({
      code: "read_not_granted",
      pointer: pointerOf(item.sequence),
      message: `item ${item.sequence}: ${item.why}`,
    })),
  );
}
