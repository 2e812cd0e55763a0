/**
 * Whether a change-set may be applied, asked anew at every apply. INVARIANT: nothing is applied whose approval is not signed by people who
 * may, over exactly this revision, route, risk level and policy outcome. A status column counts for nothing.
 */
import { dependencyMetStatuses, isIn, limits, type Refusal, refused } from "@countersign/contract";
import {
  checkFreeze,
  checkKill,
  checkSatisfiable,
  type KillLoaded,
  policyRefusal,
  riskHigher,
  tally,
} from "../../governance/index.js";
import type { Caller } from "../../tenancy/index.js";
import { transition } from "../lifecycle.rules.js";
import { approvalContext, castVotes, type Loaded, tallyOf } from "../loaded.rules.js";
import { type Judgement, routeOf } from "../proposing/judgement.rules.js";
import type { ChangeSetRow } from "../rows.js";

// ── Before anything is read ──────────────────────────────────────────────────────────────────────────────────────────

/** Whether the caller may apply it now. */
export function checkApply(
  { whole }: Loaded,
  { caller, kill }: { readonly caller: Caller; readonly kill: KillLoaded },
  nowMs: number,
): Refusal | undefined {
  const { changeSet } = whole;
  return (
    checkKill(kill.rows, nowMs) ??
    transition(changeSet, "apply") ??
    mayApply(caller, changeSet) ??
    attemptsExhausted(changeSet)
  );
}

function mayApply(caller: Caller, changeSet: ChangeSetRow): Refusal | undefined {
  const { author_id: author, author_humans: humans, number } = changeSet;
  const own = caller.principal.id === author || humans.includes(caller.principal.id);
  if (own || caller.actor.type === "system" || caller.permissions.has("change_sets.resolve")) return undefined;
  return refused(
    "forbidden",
    `\`${caller.principal.name}\` did not propose \`${number}\`; its author, their human or an operator applies it`,
  );
}

function attemptsExhausted({ number, attempts }: ChangeSetRow): Refusal | undefined {
  if (attempts < limits.applyAttemptsMax) return undefined;
  return refused("attempts_exhausted", `\`${number}\` was tried \`${attempts}\` times; revise it`);
}

// ── Once the rows are known to be the ledger's ───────────────────────────────────────────────────────────────────────

/** Whether the approvals it was given hold with the people as they are now. */
export function checkApprovals(loaded: Loaded, caller: Caller): Refusal | undefined {
  return (caller.actor.type === "system" ? checkAuthor(loaded) : undefined) ?? checkDuties(loaded);
}

/** By itself the engine does nothing for somebody who was stopped; a person may still apply what was approved. */
function checkAuthor({ whole, people }: Loaded): Refusal | undefined {
  const { author_id: author, number } = whole.changeSet;
  const stopped = [author, ...people.humansOf(author).slice(0, 1)]
    .map((id) => people.principals.get(id))
    .find((person) => person?.status !== "ACTIVE");
  if (stopped === undefined) return undefined;
  return refused(
    "forbidden",
    `\`${stopped.name}\` is suspended: \`${number}\` is not applied by itself; an operator can apply it`,
  );
}

/** A voter who became the author's human root since, or lost the role, does not count any more. */
export function checkDuties(loaded: Loaded): Refusal | undefined {
  const { number } = loaded.whole.changeSet;
  const state = tallyOf(loaded);
  if (state === null) return refused("approvals_missing", `\`${number}\` has no route; revise it and submit it again`);
  if (state.required === 0 || state.state === "satisfied") return undefined;
  return refused("approvals_missing", `the approvals of \`${number}\` do not hold any more: ${state.missing}`, {
    details: { approved: state.approved, required: state.required },
  });
}

// ── Once it is judged on the targets as they are ─────────────────────────────────────────────────────────────────────

/** Whether policy, risk and route are still satisfied by what was approved. */
export function checkJudgement(loaded: Loaded, judgement: Judgement): Refusal | undefined {
  if (judgement.decision.outcome === "deny") return policyRefusal(judgement.decision);
  return riskIncreased(loaded.whole.changeSet, judgement) ?? approvalsMissing(loaded, judgement);
}

function riskIncreased({ number, risk_level: approved }: ChangeSetRow, { risk }: Judgement): Refusal | undefined {
  if (approved === null || !riskHigher(risk.level, approved)) return undefined;
  return refused(
    "risk_increased",
    `\`${number}\` was approved at risk ${approved} and is ${risk.level} now; revise it so that people see the new assessment`,
    { details: { approved, now: risk.level } },
  );
}

function approvalsMissing(loaded: Loaded, judgement: Judgement): Refusal | undefined {
  const { whole } = loaded;
  const route = routeOf(loaded, judgement);
  if (route.auto && route.required === 0) return undefined;
  const context = approvalContext(loaded, whole);
  const now = tally(route, castVotes(loaded, whole), context);
  if (now.state === "satisfied") return undefined;
  return (
    checkSatisfiable(route, context) ??
    refused(
      "approvals_missing",
      `\`${whole.changeSet.number}\` has ${now.approved} of ${now.required} approvals: ${now.missing}; ask for them, or revise it to start again`,
      { details: { approved: now.approved, required: now.required } },
    )
  );
}

// ── What it waits for ────────────────────────────────────────────────────────────────────────────────────────────────

/** Whether what it depends on is applied. */
export function checkDependencies(
  { number }: Pick<ChangeSetRow, "number">,
  dependencies: readonly Pick<ChangeSetRow, "number" | "status">[],
): Refusal | undefined {
  const unmet = dependencies.filter((one) => !isIn(dependencyMetStatuses, one.status));
  if (unmet.length === 0) return undefined;
  return refused(
    "dependency_unmet",
    `\`${number}\` depends on ${unmet.map((one) => `\`${one.number}\` (${one.status})`).join(", ")}; apply those first`,
    { details: { waitingFor: unmet.map((one) => one.number) } },
  );
}

/** Whether a freeze window holds it off now. */
export function checkFrozen({ whole, configuration }: Loaded, nowMs: number): Refusal | undefined {
  return checkFreeze(
    {
      nowMs,
      category: whole.changeSet.category,
      targets: whole.items.flatMap((item) => item.effects.map((effect) => effect.target)),
    },
    configuration.freeze,
  );
}
