/**
 * Whether a change-set may be applied, decided anew at every apply and failing closed: nothing that was decided earlier is believed, it
 * is worked out again from the ledger, the signatures and the targets as they are now.
 */
import { isRefusal, limits, type Refusal, refused } from "@countersign/contract";
import {
  checkFreeze,
  checkKill,
  checkSatisfiable,
  type KillLoaded,
  loadKill,
  policyRefusal,
  riskHigher,
  tally,
} from "../../governance/index.js";
import type { Guard, Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { authorityMismatch } from "../authority.js";
import { approvalContext, castVotes, type Desk, type Loaded, standing } from "../desk.js";
import { holdsFor } from "./intent.js";
import { judge, routeOf } from "../proposing/judgement.js";
import { transition } from "../lifecycle.rules.js";
import { readByRefs } from "../queries.js";
import type { HoldRow, Whole } from "../rows.js";

interface Executable {
  readonly kill: KillLoaded;
  readonly holds: readonly HoldRow[];
  /** That what it depends on is applied still. */
  readonly dependencies: readonly Guard[];
}

/**
 * INVARIANT: nothing is applied whose approval is not in the ledger: signed by people who may, over exactly this revision,
 * route, risk level and policy outcome. A status column counts for nothing.
 */
export async function assertExecutable(
  desk: Desk,
  snapshot: Snapshot,
  loaded: Loaded,
  caller: Caller,
): Promise<Executable | Refusal> {
  const { whole } = loaded;
  const { changeSet } = whole;
  const kill = await loadKill(snapshot);
  const early = checkKill(kill.rows, desk.now()) ?? transition(changeSet, "apply") ?? mayApply(caller, whole);
  if (early !== undefined) return early;
  if (changeSet.attempts >= limits.applyAttemptsMax) {
    return refused(
      "attempts_exhausted",
      `\`${changeSet.number}\` was tried \`${changeSet.attempts}\` times; revise it`,
    );
  }
  const mismatch =
    (await authorityMismatch(desk, snapshot, loaded, kill.rows)) ??
    (caller.actor.type === "system" ? authorRefusal(loaded) : undefined) ??
    dutiesRefusal(loaded);
  if (mismatch !== undefined) return mismatch;

  const judgement = await judge(desk, snapshot, loaded);
  if (isRefusal(judgement)) return judgement;
  if (judgement.decision.outcome === "deny") return policyRefusal(judgement.decision);
  if (changeSet.risk_level !== null && riskHigher(judgement.risk.level, changeSet.risk_level)) {
    return refused(
      "risk_increased",
      `\`${changeSet.number}\` was approved at risk ${changeSet.risk_level} and is ${judgement.risk.level} now; revise it so that people see the new assessment`,
      { details: { approved: changeSet.risk_level, now: judgement.risk.level } },
    );
  }
  const route = routeOf(loaded, judgement);
  const votes = castVotes(loaded, whole);
  if (!(route.auto && route.required === 0)) {
    const now = tally(route, votes, approvalContext(loaded, whole));
    if (now.state !== "satisfied") {
      const impossible = checkSatisfiable(route, approvalContext(loaded, whole));
      return (
        impossible ??
        refused(
          "approvals_missing",
          `\`${changeSet.number}\` has ${now.approved} of ${now.required} approvals: ${now.missing}; ask for them, or revise it to start again`,
          { details: { approved: now.approved, required: now.required } },
        )
      );
    }
  }
  const dependencies = await readByRefs(snapshot, changeSet.depends_on);
  const unmet = dependencies.filter((one) => one.status !== "APPLIED" && one.status !== "ARCHIVED");
  if (unmet.length > 0) {
    return refused(
      "dependency_unmet",
      `\`${changeSet.number}\` depends on ${unmet.map((one) => `\`${one.number}\` (${one.status})`).join(", ")}; apply those first`,
      { details: { waitingFor: unmet.map((one) => one.number) } },
    );
  }
  const frozen = freezeNow(desk, loaded);
  if (frozen !== undefined) return frozen;
  const holds = await holdsFor(desk, snapshot, whole);
  return isRefusal(holds)
    ? holds
    : {
        kill,
        holds,
        dependencies: dependencies.map((one) => ({
          kind: "row",
          table: "change_sets",
          id: one.id,
          version: one.version,
        })),
      };
}

/** A voter who became the author's human root since, or lost the role, does not count any more. */
export function dutiesRefusal(loaded: Loaded): Refusal | undefined {
  const state = standing(loaded);
  if (state === null)
    return refused(
      "approvals_missing",
      `\`${loaded.whole.changeSet.number}\` has no route; revise it and submit it again`,
    );
  const auto = state.required === 0;
  if (auto || state.state === "satisfied") return undefined;
  return refused(
    "approvals_missing",
    `the approvals of \`${loaded.whole.changeSet.number}\` do not hold any more: ${state.missing}`,
    { details: { approved: state.approved, required: state.required } },
  );
}

/** By itself the engine does nothing for somebody who was stopped; a person may still apply what was approved. */
function authorRefusal({ whole, people }: Loaded): Refusal | undefined {
  const { author_id: author, number } = whole.changeSet;
  const stopped = [author, ...people.humansOf(author).slice(0, 1)]
    .map((id) => people.principals.get(id))
    .find((person) => person?.status !== "ACTIVE");
  return stopped === undefined
    ? undefined
    : refused(
        "forbidden",
        `\`${stopped.name}\` is suspended: \`${number}\` is not applied by itself; an operator can apply it`,
      );
}

function mayApply(caller: Caller, whole: Whole): Refusal | undefined {
  const { author_id: author, author_humans: humans, number } = whole.changeSet;
  const own = caller.principal.id === author || humans.includes(caller.principal.id);
  if (own || caller.actor.type === "system" || caller.permissions.has("change_sets.resolve")) return undefined;
  return refused(
    "forbidden",
    `\`${caller.principal.name}\` did not propose \`${number}\`; its author, their human or an operator applies it`,
  );
}

export function freezeNow(desk: Desk, { whole, configuration }: Loaded): Refusal | undefined {
  return checkFreeze(
    {
      nowMs: desk.now(),
      category: whole.changeSet.category,
      targets: whole.items.flatMap((item) => item.effects.map((effect) => effect.target)),
    },
    configuration.freeze,
  );
}
