/**
 * The answers of governance: risk assessments, policy decisions, routes and their tallies. Routes, risk levels and
 * policy outcomes are hashed into the approval digest that people sign, so every value here has one canonical form:
 * strings, integers, booleans, arrays and objects, members left out instead of undefined.
 */
import { z } from "zod";
import { categories, riskLevels } from "./changeSets.js";
import { itemOperations } from "./targets/index.js";
import { tenantModes } from "./principals.js";

/** The operations that a grant or a policy rule can name: the operations of items, and reading a target. */
export const grantOperations = ["read", ...itemOperations] as const;
export type GrantOperation = (typeof grantOperations)[number];

export const riskFactorNames = ["operation", "target", "agent", "scope", "quantity"] as const;
export type RiskFactorName = (typeof riskFactorNames)[number];

/** Reasons for a minimum level, whatever the score says. */
export const riskFloorNames = [
  "irreversible",
  "destructive",
  "delete_sensitive",
  "protected_target",
  "code_bearing",
  "production",
  "moves_referenced",
  "security",
  "infrastructure",
  "compliance",
  "new_agent",
] as const;
export type RiskFloorName = (typeof riskFloorNames)[number];

export const riskFactor = z
  .object({
    factor: z.enum(riskFactorNames),
    /** Share of the score, in percent. */
    weight: z.int(),
    /** 0…100. */
    value: z.int(),
    why: z.string(),
  })
  .meta({ id: "RiskFactor" });
export type RiskFactor = z.infer<typeof riskFactor>;

export const riskFloor = z
  .object({
    floor: z.enum(riskFloorNames),
    level: z.enum(riskLevels),
    /** Sequence numbers of the items that set the floor; empty when the floor is about the change-set. */
    items: z.array(z.int()),
    why: z.string(),
  })
  .meta({ id: "RiskFloor" });
export type RiskFloor = z.infer<typeof riskFloor>;

export const riskRecommendations = ["split", "security_review", "batch"] as const;

export const riskAssessment = z
  .object({
    /** 0…100, the weighted mean of the factors, rounded half up. */
    score: z.int(),
    /** The level that counts: the level of the score, raised by the floors. */
    level: z.enum(riskLevels),
    scoreLevel: z.enum(riskLevels),
    factors: z.array(riskFactor),
    floors: z.array(riskFloor),
    /** Approvals that the level asks for, before configuration, mode and `auto` change the number. */
    approvalsByLevel: z.int(),
    /** Risk does not require an approval. */
    auto: z.boolean(),
    autoWhy: z.string(),
    recommendations: z.array(z.object({ code: z.enum(riskRecommendations), text: z.string() })),
  })
  .meta({ id: "RiskAssessment" });
export type RiskAssessment = z.infer<typeof riskAssessment>;

export const policyOutcomes = ["allow", "require_approval", "deny"] as const;
export type PolicyOutcomeName = (typeof policyOutcomes)[number];

export const routeStage = z
  .object({
    name: z.string(),
    /** Groups whose members count here, any of them; `role:NAME` stands for a role. Sorted. */
    groups: z.array(z.string()),
    /** Members who must approve. */
    quorum: z.int(),
    /** The quorum before it was capped at the number of people. */
    uncapped: z.int(),
  })
  .meta({ id: "RouteStage" });
export type RouteStage = z.infer<typeof routeStage>;

export const stageRequest = z.object({ name: z.string(), groups: z.array(z.string()), quorum: z.int() });
export type StageRequest = z.infer<typeof stageRequest>;

export const itemDecision = z
  .object({
    sequence: z.int(),
    outcome: z.enum(policyOutcomes),
    /** Ids of the rules and grants that decided, sorted. */
    policies: z.array(z.string()),
    why: z.string(),
  })
  .meta({ id: "ItemDecision" });
export type ItemDecision = z.infer<typeof itemDecision>;

export const policyDecision = z
  .object({
    outcome: z.enum(policyOutcomes),
    /** Version of the configuration it was decided with. */
    version: z.string(),
    items: z.array(itemDecision),
    /** Approvals that `require_approval` rules ask for. */
    stages: z.array(stageRequest),
  })
  .meta({ id: "PolicyDecision" });
export type PolicyDecision = z.infer<typeof policyDecision>;

export const approvalRoute = z
  .object({
    mode: z.enum(tenantModes),
    /** People who must approve in all. 0 with `auto`. */
    required: z.int(),
    /** The same number before it was capped at the number of people (modes team and solo). */
    uncapped: z.int(),
    capped: z.boolean(),
    auto: z.boolean(),
    /** In order. A stage opens when all stages before it have their quorum. */
    stages: z.array(routeStage),
    /** Groups that stand in for a stage in which nobody is left. */
    escalation: z.array(z.string()),
  })
  .meta({ id: "ApprovalRoute" });
export type ApprovalRoute = z.infer<typeof approvalRoute>;

export const tallyStates = ["pending", "satisfied", "rejected", "unsatisfiable"] as const;
export type TallyState = (typeof tallyStates)[number];

export const routeTally = z
  .object({
    state: z.enum(tallyStates),
    required: z.int(),
    approved: z.int(),
    stages: z.array(
      z.object({
        name: z.string(),
        quorum: z.int(),
        approved: z.int(),
        state: z.enum(["waiting", "open", "satisfied", "unsatisfiable"]),
        /** The escalation groups count in this stage, because nobody else was left. */
        escalated: z.boolean(),
      }),
    ),
    abstained: z.int(),
    /** Who rejected. */
    rejectedBy: z.string().optional(),
    /** An approval that counts came from a human root of the author (mode solo). */
    selfApproved: z.boolean(),
    /** `self-approved (solo)`, for receipts. */
    label: z.string().optional(),
    /** The approvals still missing, in words for people; empty when none is. */
    missing: z.string(),
  })
  .meta({ id: "RouteTally" });
export type RouteTally = z.infer<typeof routeTally>;

/** The higher of two risk levels. */
export function higherLevel(
  a: (typeof riskLevels)[number],
  b: (typeof riskLevels)[number],
): (typeof riskLevels)[number] {
  return riskLevels.indexOf(a) >= riskLevels.indexOf(b) ? a : b;
}

/** Category with the highest rank; `categories` lists them from the lowest. */
export function higherCategory(
  a: (typeof categories)[number],
  b: (typeof categories)[number],
): (typeof categories)[number] {
  return categories.indexOf(a) >= categories.indexOf(b) ? a : b;
}
