/**
 * Decides who must approve, who may, and whether they have. People sign the route too, so it is made once at submit and
 * has one canonical form. Eligibility is checked anew whenever votes are counted. `docs/approvals.md` explains it.
 *
 * INVARIANT: only people count; a human root of the author counts in mode solo alone, and is labelled there.
 * INVARIANT: any REJECTED rejects; ABSTAINED never approves.
 * INVARIANT: nothing irreversible passes without a person.
 */
import {
  type ApprovalRoute,
  type Category,
  type ConfigurationValue,
  limits,
  type PolicyDecision,
  type Priority,
  type Problem,
  type Refusal,
  refused,
  refusedForProblems,
  type RiskAssessment,
  riskLevels,
  type RouteStage,
  type RouteTally,
  type StageRequest,
  type TargetFacts,
  type TenantMode,
  type VoteDecision,
} from "@countersign/contract";
import { hourMs } from "../platform/index.js";
import { quotedList, sortedUnique } from "./facts.js";
import { anyMatches } from "./patterns.rules.js";
import { mergeStages } from "./policy.rules.js";
import { permissionsOf } from "./roles.rules.js";

/** A human of the tenant, as far as approving goes. */
export interface Voter {
  readonly id: string;
  readonly name: string;
  readonly active: boolean;
  readonly roles: readonly string[];
  readonly groups: readonly string[];
  /**
   * Active signing keys. `mintedBy`: human roots of the issuer of the enrolment code; `first`: the person's first key
   * ever.
   */
  readonly keys: readonly { readonly id: string; readonly mintedBy: readonly string[]; readonly first: boolean }[];
}

/** The proposer, and the humans answerable for it then and now. */
export interface AuthorFacts {
  readonly id: string;
  readonly humansAtProposal: readonly string[];
  readonly humansNow: readonly string[];
}

export interface ApprovalContext {
  readonly mode: TenantMode;
  readonly voters: readonly Voter[];
  readonly author: AuthorFacts;
  readonly configuration: {
    readonly approvals: ConfigurationValue<"approvals">;
    readonly roles: ConfigurationValue<"roles">;
    readonly routes: ConfigurationValue<"routes">;
  };
}

export interface RouteInput {
  readonly category: Category;
  readonly assessment: RiskAssessment;
  readonly decision: PolicyDecision;
  readonly targets: readonly TargetFacts[];
  /** An item cannot be undone. */
  readonly irreversible: boolean;
}

export interface CastVote {
  readonly voter: string;
  readonly decision: VoteDecision;
  readonly atMs: number;
}

// ── The route ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** The route a change-set needs now. At apply the route is made again, and the votes must satisfy that one too. */
export function makeRoute(input: RouteInput, context: ApprovalContext): ApprovalRoute {
  const { routes, approvals } = context.configuration;
  const additional = routes.additional.filter((rule) => appliesTo(rule.when, input));
  const asked = [...additional.flatMap((rule) => rule.stages), ...input.decision.stages];
  const auto =
    approvals.auto &&
    input.assessment.auto &&
    !input.irreversible &&
    input.decision.outcome === "allow" &&
    asked.length === 0;
  const escalation = sortedUnique(routes.escalation);
  if (auto) return { mode: context.mode, required: 0, uncapped: 0, capped: false, auto, stages: [], escalation };

  const stages = mergeStages([...(routes.categories[input.category] ?? routes.otherwise), ...asked]);
  const uncapped = Math.max(1, input.assessment.approvalsByLevel, ...stages.map((stage) => stage.quorum));
  return cap(
    {
      mode: context.mode,
      required: uncapped,
      uncapped,
      capped: false,
      auto,
      stages: stages.map(asRouteStage),
      escalation,
    },
    context,
  );
}

function asRouteStage(stage: StageRequest): RouteStage {
  return { name: stage.name, groups: stage.groups, quorum: stage.quorum, uncapped: stage.quorum };
}

type When = ConfigurationValue<"routes">["additional"][number]["when"];

function appliesTo(when: When, input: RouteInput): boolean {
  if (when.minLevel !== undefined && riskLevels.indexOf(input.assessment.level) < riskLevels.indexOf(when.minLevel))
    return false;
  if (when.categories !== undefined && !when.categories.includes(input.category)) return false;
  if (
    when.environments !== undefined &&
    !input.targets.some((target) => when.environments?.includes(target.environment))
  )
    return false;
  return when.targets === undefined || anyMatches(when.targets, input.targets, "restrict");
}

/** Solo: one. Team: no more than there are people. Organisation: as required. Never below one. */
function cap(route: ApprovalRoute, context: ApprovalContext): ApprovalRoute {
  if (context.mode === "organisation") return route;
  const people = stageMembers(route, context);
  const atMost = (wanted: number, there: number): number =>
    context.mode === "solo" ? 1 : Math.max(1, Math.min(wanted, there));
  const stages = route.stages.map((stage, index) => ({
    ...stage,
    quorum: atMost(stage.quorum, people[index]?.size ?? 0),
  }));
  const required = atMost(route.required, union(people).size);
  const capped = required < route.required || stages.some((stage) => stage.quorum < stage.uncapped);
  return { ...route, stages, required, capped };
}

// ── Who counts ───────────────────────────────────────────────────────────────────────────────────────────────────────

/** People whose votes do not count, and why. Empty in mode solo. */
export function excludedVoters(context: ApprovalContext): ReadonlyMap<string, string> {
  const excluded = new Map<string, string>();
  if (context.mode === "solo") return excluded;
  const roots = rootsOf(context.author);
  for (const voter of context.voters) {
    if (voter.id === context.author.id) excluded.set(voter.id, "they proposed it");
    else if (roots.has(voter.id)) excluded.set(voter.id, "they are answerable for its author");
    else if (voter.keys.length > 0 && voter.keys.every((key) => isTainted(key, context)))
      excluded.set(voter.id, "their signing key was enrolled with a code from a person answerable for its author");
  }
  return excluded;
}

function rootsOf(author: AuthorFacts): ReadonlySet<string> {
  return new Set([author.id, ...author.humansAtProposal, ...author.humansNow]);
}

/** The key was enrolled with an excluded person's code, so that person may hold it. */
function isTainted(key: Voter["keys"][number], context: ApprovalContext): boolean {
  if (context.mode === "solo") return false;
  const { mintedKeys } = context.configuration.approvals;
  const rule = mintedKeys === "by_mode" ? (context.mode === "organisation" ? "exclude" : "exclude_resets") : mintedKeys;
  if (rule === "exclude_resets" && key.first) return false;
  const roots = rootsOf(context.author);
  return key.mintedBy.some((human) => roots.has(human));
}

/** Somebody who could sign a vote that counts, whatever the stage. */
function canCount(voter: Voter, excluded: ReadonlyMap<string, string>, context: ApprovalContext): boolean {
  if (!voter.active || voter.keys.length === 0 || excluded.has(voter.id)) return false;
  return permissionsOf(voter.roles, context.configuration).has("change_sets.vote");
}

function isMember(voter: Voter, groups: readonly string[]): boolean {
  return groups.some((group) =>
    group.startsWith("role:") ? voter.roles.includes(group.slice(5)) : voter.groups.includes(group),
  );
}

/**
 * The people whose votes count in each stage, in the order of the stages. In mode solo everybody belongs to every
 * group.
 */
function stageMembers(route: ApprovalRoute, context: ApprovalContext): ReadonlySet<string>[] {
  return route.stages.map((stage) => membersOf(stage.groups, context));
}

function membersOf(groups: readonly string[], context: ApprovalContext): ReadonlySet<string> {
  const excluded = excludedVoters(context);
  const able = context.voters.filter((voter) => canCount(voter, excluded, context));
  return new Set(able.filter((voter) => context.mode === "solo" || isMember(voter, groups)).map((voter) => voter.id));
}

function union(sets: readonly ReadonlySet<string>[]): Set<string> {
  return new Set(sets.flatMap((set) => [...set]));
}

// ── Can it be satisfied at all ───────────────────────────────────────────────────────────────────────────────────────

/** At submit: refuses a route nobody could satisfy, with the reason for each stage. */
export function checkSatisfiable(route: ApprovalRoute, context: ApprovalContext): Refusal | undefined {
  if (route.auto) return undefined;
  const people = stageMembers(route, context);
  const problems: Problem[] = [];
  for (const [index, stage] of route.stages.entries()) {
    const there = people[index]?.size ?? 0;
    if (there < stage.quorum)
      problems.push(
        problem(
          `stage \`${stage.name}\` needs ${stage.quorum} and ${there} could approve${whyNot(stage.groups, context)}`,
        ),
      );
  }
  const all = union(people).size;
  if (problems.length === 0 && all < route.required)
    problems.push(
      problem(
        `${route.required} people must approve and ${all} could${whyNot(
          route.stages.flatMap((stage) => stage.groups),
          context,
        )}`,
      ),
    );
  return problems.length === 0 ? undefined : refusedForProblems(problems);
}

function problem(message: string): Problem {
  return { code: "route_unsatisfiable", message };
}

/** Members of the groups who do not count, each with the reason; and the way out. */
function whyNot(groups: readonly string[], context: ApprovalContext): string {
  const excluded = excludedVoters(context);
  const members = context.voters.filter((voter) => isMember(voter, groups));
  const reasons = members.flatMap((voter) => {
    const why = reasonNotToCount(voter, excluded, context);
    return why === undefined ? [] : [`\`${voter.name}\`: ${why}`];
  });
  const list = reasons.length === 0 ? "" : ` (${reasons.join("; ")})`;
  const solo =
    context.mode === "solo"
      ? "enrol a signing key"
      : `bind another person to ${quotedList(groups, "or")}, or change \`system.config/routes\``;
  return `${list}; ${solo}`;
}

function reasonNotToCount(
  voter: Voter,
  excluded: ReadonlyMap<string, string>,
  context: ApprovalContext,
): string | undefined {
  if (!voter.active) return "suspended";
  if (voter.keys.length === 0) return "no signing key enrolled";
  const why = excluded.get(voter.id);
  if (why !== undefined) return why;
  return canCount(voter, excluded, context) ? undefined : "no role with the permission `change_sets.vote`";
}

// ── Counting ─────────────────────────────────────────────────────────────────────────────────────────────────────────

interface Ballot {
  readonly approved: ReadonlySet<string>;
  readonly abstained: ReadonlySet<string>;
  readonly rejected: readonly string[];
}

/** The latest vote of each voter. */
function latest(votes: readonly CastVote[]): Ballot {
  const last = new Map<string, CastVote>();
  for (const vote of votes) {
    const before = last.get(vote.voter);
    if (before === undefined || vote.atMs >= before.atMs) last.set(vote.voter, vote);
  }
  const by = (decision: VoteDecision): string[] =>
    [...last.values()].filter((vote) => vote.decision === decision).map((vote) => vote.voter);
  return { approved: new Set(by("APPROVED")), abstained: new Set(by("ABSTAINED")), rejected: by("REJECTED").sort() };
}

interface StageCount {
  readonly members: ReadonlySet<string>;
  readonly approved: number;
  readonly possible: number;
  readonly escalated: boolean;
}

function countStage(stage: RouteStage, route: ApprovalRoute, ballot: Ballot, context: ApprovalContext): StageCount {
  const own = membersOf(stage.groups, context);
  const able = (members: ReadonlySet<string>): number => [...members].filter((id) => !ballot.abstained.has(id)).length;
  const escalated = able(own) < stage.quorum && route.escalation.length > 0;
  const members = escalated ? union([own, membersOf(route.escalation, context)]) : own;
  return {
    members,
    approved: [...members].filter((id) => ballot.approved.has(id)).length,
    possible: able(members),
    escalated,
  };
}

/**
 * The tally of the votes, by the present state of the people. A vote does not count any more if its voter does not. A
 * vote counts in every stage its voter belongs to.
 */
export function tally(route: ApprovalRoute, votes: readonly CastVote[], context: ApprovalContext): RouteTally {
  const ballot = latest(votes);
  const counts = route.stages.map((stage) => countStage(stage, route, ballot, context));
  const onRoute = union(counts.map((count) => count.members));
  const approvers = [...onRoute].filter((id) => ballot.approved.has(id));
  const possible = [...onRoute].filter((id) => !ballot.abstained.has(id)).length;
  const rejectedBy = ballot.rejected.find((id) => onRoute.has(id));

  let open = true;
  const stages = route.stages.map((stage, index): RouteTally["stages"][number] => {
    const count = counts[index] as StageCount;
    const satisfied = count.approved >= stage.quorum;
    const state = satisfied ? "satisfied" : count.possible < stage.quorum ? "unsatisfiable" : open ? "open" : "waiting";
    open &&= satisfied;
    return { name: stage.name, quorum: stage.quorum, approved: count.approved, state, escalated: count.escalated };
  });

  const satisfied = stages.every((stage) => stage.state === "satisfied") && approvers.length >= route.required;
  const impossible = stages.some((stage) => stage.state === "unsatisfiable") || possible < route.required;
  const state =
    rejectedBy !== undefined ? "rejected" : satisfied ? "satisfied" : impossible ? "unsatisfiable" : "pending";
  const selfApproved = approvers.some((id) => rootsOf(context.author).has(id));
  return {
    state,
    required: route.required,
    approved: approvers.length,
    stages,
    abstained: ballot.abstained.size,
    ...(rejectedBy === undefined ? {} : { rejectedBy }),
    selfApproved,
    ...(selfApproved ? { label: selfApprovedLabel } : {}),
    missing: state === "pending" ? missing(route, stages, approvers.length) : "",
  };
}

export const selfApprovedLabel = "self-approved (solo)";

function missing(route: ApprovalRoute, stages: RouteTally["stages"], approved: number): string {
  const perStage = stages.flatMap((stage, index) => {
    const lacking = stage.quorum - stage.approved;
    if (lacking <= 0) return [];
    const groups = quotedList(route.stages[index]?.groups ?? [], "or");
    return [`${lacking} of ${groups}${stage.state === "waiting" ? " (after the stages before)" : ""}`];
  });
  const fromStages = stages.reduce((sum, stage) => sum + Math.max(0, stage.quorum - stage.approved), 0);
  const more = route.required - approved - fromStages;
  return [...perStage, ...(more > 0 ? [`${more} more of anyone on the route`] : [])].join(", ");
}

// ── One vote ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export interface VoteAttempt {
  readonly voter: { readonly id: string; readonly type: "human" | "agent" | "service" | "system" };
  /** Signing key the vote is signed with. */
  readonly keyId?: string;
  readonly decision: VoteDecision;
  readonly reason?: string;
}

/** Whether this vote may be cast now. The signature, the digest and the status are the caller's to check. */
export function checkVote(
  attempt: VoteAttempt,
  route: ApprovalRoute,
  votes: readonly CastVote[],
  context: ApprovalContext,
): Refusal | undefined {
  if (attempt.voter.type !== "human")
    return refused("agents_never_vote", `\`${attempt.voter.id}\` is no person; ask one on the route to vote`);
  const voter = context.voters.find((candidate) => candidate.id === attempt.voter.id);
  if (voter === undefined) return refused("not_an_approver", `\`${attempt.voter.id}\` is no human of this tenant`);
  const separated = checkSeparation(voter, attempt.keyId, context);
  if (separated !== undefined) return separated;
  const placed = checkPlace(voter, attempt.decision, route, votes, context);
  if (placed !== undefined) return placed;
  if (attempt.decision === "REJECTED" && (attempt.reason ?? "").trim() === "")
    return refused("reason_required", "a rejection needs `reason`: tell the author what to improve", {
      problems: [{ code: "reason_required", pointer: "/reason", message: "a rejection needs `reason`" }],
    });
  return undefined;
}

function checkSeparation(voter: Voter, keyId: string | undefined, context: ApprovalContext): Refusal | undefined {
  const why = excludedVoters(context).get(voter.id);
  const other = "somebody else on the route must vote";
  if (why !== undefined) return refused("separation_of_duties", `\`${voter.name}\` does not count: ${why}; ${other}`);
  const key = voter.keys.find((candidate) => candidate.id === keyId);
  if (key !== undefined && isTainted(key, context))
    return refused(
      "separation_of_duties",
      `key \`${key.id}\` was enrolled with a code from a person answerable for the author; vote with another key, or ${other}`,
    );
  return undefined;
}

function checkPlace(
  voter: Voter,
  decision: VoteDecision,
  route: ApprovalRoute,
  votes: readonly CastVote[],
  context: ApprovalContext,
): Refusal | undefined {
  const ballot = latest(votes);
  const mine = route.stages.map((stage) => countStage(stage, route, ballot, context).members.has(voter.id));
  const groups = sortedUnique(route.stages.flatMap((stage) => stage.groups));
  if (!mine.includes(true)) {
    const why = reasonNotToCount(voter, new Map(), context);
    const reason = why === undefined ? `the route asks ${quotedList(groups, "or")}` : why;
    return refused("not_an_approver", `\`${voter.name}\` is not on the approval route: ${reason}`);
  }
  if (decision === "REJECTED") return undefined;
  const { stages } = tally(route, votes, context);
  const first = stages.find((stage) => stage.state === "open" || stage.state === "unsatisfiable");
  const turn = stages.some((stage, index) => mine[index] === true && stage.state !== "waiting");
  const own = stages.find((_, index) => mine[index] === true)?.name ?? "";
  if (!turn && first !== undefined)
    return refused(
      "not_an_approver",
      `stage \`${first.name}\` comes before \`${own}\`; vote when it has its ${first.quorum}`,
    );
  return undefined;
}

// ── Priority and time ────────────────────────────────────────────────────────────────────────────────────────────────

/** HIGH and CRITICAL shorten the deadline: only people may ask for that. */
export function checkPriority(
  priority: Priority,
  authorType: "human" | "agent" | "service",
  pointer = "/priority",
): Problem | undefined {
  if (authorType === "human" || priority === "LOW" || priority === "NORMAL") return undefined;
  return {
    code: "priority_needs_human",
    pointer,
    message: `priority \`${priority}\` needs a person; agents choose \`NORMAL\` or \`LOW\``,
  };
}

/** When a pending change-set expires. */
export function deadlineMs(
  priority: Priority,
  submittedAtMs: number,
  approvals: ConfigurationValue<"approvals">,
): number {
  return submittedAtMs + approvals.deadlineHours[priority] * hourMs;
}

/** Until when an approval may be used: as long as there was to decide, at most seven days. */
export function approvedUntilMs(
  priority: Priority,
  approvedAtMs: number,
  approvals: ConfigurationValue<"approvals">,
): number {
  return approvedAtMs + Math.min(approvals.deadlineHours[priority], limits.approvedDaysMax * 24) * hourMs;
}

export function undoUntilMs(appliedAtMs: number, approvals: ConfigurationValue<"approvals">): number {
  return appliedAtMs + approvals.undoWindowHours * hourMs;
}
