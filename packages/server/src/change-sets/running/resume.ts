/**
 * Going on with an application that ended partly. What was approved still holds, so nothing is planned anew; who may go on, and whether
 * policy, people and time still allow it, is asked again.
 */
import { type ApplicationAnswer, isRefusal, type Refusal, refused } from "@countersign/contract";
import { checkKill, decidePolicy, loadKill, policyRefusal, policySet } from "../../governance/index.js";
import type { Decided, Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { authorityMismatch } from "../authority.js";
import { type Desk, type Loaded, loadForCommand, policyPrincipal, type RequestContext } from "../desk.js";
import { dutiesRefusal, freezeNow } from "./executable.js";
import { begin, finishRequest, type Held, holdsFor, type Intent } from "./intent.js";
import { transition } from "../lifecycle.rules.js";
import type { Runner } from "./run.js";
import { timely } from "../timely.js";

export async function resume(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  id: string,
  request: RequestContext,
): Promise<ApplicationAnswer | Refusal> {
  const held: Held = {};
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, id);
    if (isRefusal(loaded)) return loaded;
    const kill = await loadKill(snapshot);
    const refusal =
      checkKill(kill.rows, desk.now()) ??
      transition(loaded.whole.changeSet, "resume") ??
      mayResume(caller, loaded) ??
      (await authorityMismatch(desk, snapshot, loaded, kill.rows)) ??
      dutiesRefusal(loaded) ??
      policyNow(loaded) ??
      freezeNow(desk, loaded);
    if (refusal !== undefined) return refusal;
    const holds = await holdsFor(desk, snapshot, loaded.whole);
    held.items = loaded.whole.items;
    return isRefusal(holds) ? holds : { ...loaded, kill, holds };
  };
  const outcome = await timely(desk, caller, request, load, (loaded, context): Decided<Intent> | Refusal => {
    return begin(
      loaded,
      caller,
      {
        kind: "APPLY",
        mode: "MANUAL",
        status: "APPLYING",
        action: "change_set.apply_resumed",
        changes: {},
        resumed: true,
        reason: null,
        kill: loaded.kill,
        holds: loaded.holds,
      },
      context,
    );
  });
  return outcome.kind === "refused" ? outcome : finishRequest(desk, runner, caller, outcome, held);
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
