/** Whether an application that ended partly may be gone on with. */
import { type Refusal, refused } from "@countersign/contract";
import { checkKill, decidePolicy, type KillLoaded, policyRefusal, policySet } from "../../governance/index.js";
import type { Caller } from "../../tenancy/index.js";
import { transition } from "../lifecycle.rules.js";
import { type Loaded, policyPrincipal } from "../loaded.rules.js";
import { checkDuties, checkFrozen } from "./executable.rules.js";

/** Whether the caller may go on with it now. */
export function checkResume(
  loaded: Loaded,
  { caller, kill }: { readonly caller: Caller; readonly kill: KillLoaded },
  nowMs: number,
): Refusal | undefined {
  return checkKill(kill.rows, nowMs) ?? transition(loaded.whole.changeSet, "resume") ?? mayResume(caller, loaded);
}

/** Somebody answers for going on: not the agent, which may have been stopped by a rollback. */
function mayResume(caller: Caller, { whole, people }: Loaded): Refusal | undefined {
  const { author_id: author, author_humans: humans, number } = whole.changeSet;
  const person =
    caller.principal.kind === "human" && [author, ...humans, ...people.humansOf(author)].includes(caller.principal.id);
  if (person || caller.permissions.has("change_sets.resolve")) return undefined;
  return refused(
    "forbidden",
    `\`${caller.principal.name}\` may not go on with \`${number}\`; the author's human or an operator resumes it`,
  );
}

/** Once the rows are known to be the ledger's: whether people, policy and time still allow what was approved. */
export function checkStillAllowed(loaded: Loaded, nowMs: number): Refusal | undefined {
  return checkDuties(loaded) ?? policyNow(loaded) ?? checkFrozen(loaded, nowMs);
}

/** What policy says now of the targets as they were approved: a plan cannot be made anew half-way. */
function policyNow({ whole, people, configuration }: Loaded): Refusal | undefined {
  const { changeSet, items } = whole;
  const decision = decidePolicy(
    {
      principal: policyPrincipal(people, changeSet.author_id, configuration),
      category: whole.revision.category,
      ...(changeSet.risk_level === null ? {} : { level: changeSet.risk_level }),
      items: items.map((item) => ({
        sequence: item.sequence,
        operation: item.operation,
        targets: item.effects.map((effect) => effect.target),
      })),
    },
    policySet(configuration),
  );
  return decision.outcome === "deny" ? policyRefusal(decision) : undefined;
}
