/**
 * Rolling back the newest application, by the same path as applying, in reverse. INVARIANT: nothing is taken back that something later
 * builds on, that changed since, or that was said to be irreversible; all of it is looked at before the first target is touched.
 */
import {
  type ApplicationAnswer,
  type CheckedInput,
  configurationEnvironment,
  isRefusal,
  type Refusal,
  refused,
} from "@countersign/contract";
import { mayRollBack } from "../../governance/index.js";
import type { Decided, Snapshot } from "../../ledger/index.js";
import { reverseEffects } from "../../targets/index.js";
import type { Caller } from "../../tenancy/index.js";
import { authorityMismatch } from "../authority.js";
import {
  authorOf,
  type Desk,
  liveVotes,
  type Loaded,
  loadForCommand,
  type RequestContext,
  targetContext,
} from "../desk.js";
import { begin, finishRequest, type Held, holdsFor, type Intent } from "./intent.js";
import { reversibilityOf, transition } from "../lifecycle.rules.js";
import { readStates } from "../proposing/plan.js";
import { findDrift } from "../proposing/plan.rules.js";
import { readOverlaps } from "../queries.js";
import { type HoldRow, keysOf, type Whole } from "../rows.js";
import type { Runner } from "./run.js";
import { timely } from "../timely.js";

/** Rolls back the newest application; `cascade` takes back what builds on it first. */
export async function rollBack(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  input: CheckedInput<"rollbackChangeSet">,
  request: RequestContext,
  above: ReadonlySet<string> = new Set(),
): Promise<ApplicationAnswer | Refusal> {
  const held: Held = {};
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, input.id);
    if (isRefusal(loaded)) return loaded;
    const preflight = await rollbackPreflight(desk, snapshot, loaded, caller, request.proven === true);
    held.items = loaded.whole.items;
    return isRefusal(preflight) ? preflight : { ...loaded, ...preflight };
  };
  const outcome = await timely(desk, caller, request, load, (loaded, context): Decided<Intent> | Refusal => {
    const resumed = loaded.whole.changeSet.status === "PARTIALLY_APPLIED";
    return begin(
      loaded,
      caller,
      {
        kind: "ROLLBACK",
        mode: "MANUAL",
        status: "ROLLING_BACK",
        action: "change_set.rollback_started",
        changes: {},
        resumed,
        reason: input.reason ?? null,
        kill: undefined,
        holds: loaded.holds,
        as: loaded.as,
      },
      context,
    );
  });
  if (outcome.kind === "refused") {
    return input.cascade && outcome.code === "rollback_blocked"
      ? cascade(desk, runner, caller, input, request, outcome, above)
      : outcome;
  }
  return finishRequest(desk, runner, caller, outcome, held);
}

/** The later change-sets one by one, newest first, each with the caller's authority over it; then the one asked for. */
async function cascade(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  input: CheckedInput<"rollbackChangeSet">,
  request: RequestContext,
  blocked: Refusal,
  above: ReadonlySet<string>,
): Promise<ApplicationAnswer | Refusal> {
  const later = (blocked.details?.["later"] as { id: string; number: string }[] | undefined) ?? [];
  const seen = new Set([...above, blocked.details?.["of"] as string]);
  // Two that are partly applied may each stand in the other's way: a person says what became of one of them.
  if (later.some((one) => seen.has(one.id))) return blocked;
  const plain: RequestContext = { ...request, transact: desk.ledger.transact };
  for (const one of later) {
    const answer = await rollBack(
      desk,
      runner,
      caller,
      { id: one.id, cascade: true, reason: input.reason },
      plain,
      seen,
    );
    // One that an earlier step of the cascade already took back is no obstacle.
    if (isRefusal(answer) && !(answer.code === "illegal_transition" && answer.details?.["status"] === "ROLLED_BACK"))
      return answer;
  }
  return rollBack(desk, runner, caller, { ...input, cascade: false }, request);
}

async function rollbackPreflight(
  desk: Desk,
  snapshot: Snapshot,
  loaded: Loaded,
  caller: Caller,
  proven: boolean,
): Promise<{ holds: readonly HoldRow[]; as: string } | Refusal> {
  const { whole, people, configuration } = loaded;
  const { changeSet } = whole;
  const illegal = transition(changeSet, "roll_back");
  if (illegal !== undefined) return illegal;
  const mismatch = await authorityMismatch(desk, snapshot, loaded, []);
  if (mismatch !== undefined) return mismatch;
  const reversibility = reversibilityOf(whole.items);
  if (reversibility === "irreversible") {
    const which = whole.items
      .filter((item) => item.reversibility === "irreversible")
      .map((item) => `\`${item.target_id}\``);
    return refused(
      "irreversible",
      `${which.join(", ")} cannot be brought back, as was said when \`${changeSet.number}\` was approved`,
    );
  }
  const later = await laterOnTop(snapshot, whole);
  const allowed = mayRollBack({
    actor: {
      id: caller.principal.id,
      name: caller.principal.name,
      type: caller.principal.kind,
      roles: caller.roles,
      permissions: caller.permissions,
    },
    author: authorOf(whole, people),
    approvers: liveVotes(whole)
      .filter((vote) => vote.decision === "APPROVED")
      .map((vote) => vote.voter_id),
    exact: reversibility === "exact",
    laterOnTop: later.map((one) => one.number),
    appliedAtMs: changeSet.applied_at_ms ?? changeSet.updated_at_ms,
    nowMs: desk.now(),
    approvals: configuration.approvals,
  });
  if (isRefusal(allowed)) return allowed;
  // What governs the tenant is changed with a key unlocked there and then, backwards too: a stored login is not enough.
  if (!proven && changesRules(whole)) {
    return refused(
      "precondition_required",
      `\`${changeSet.number}\` changed what governs the tenant: taking it back needs \`proof\`, the request signed with your own key (docs/authentication.md); the command line asks for the passphrase`,
      {
        details: { operation: "rollbackChangeSet", tenant: caller.tenant, principal: caller.principal.id },
      },
    );
  }
  if (later.length > 0) {
    return refused(
      "rollback_blocked",
      `${later.map((one) => `\`${one.number}\``).join(", ")} build on \`${changeSet.number}\`; roll them back first, or all at once with \`--cascade\``,
      { details: { of: changeSet.id, later } },
    );
  }
  if (allowed.kind === "route") {
    return refused(
      "rollback_not_permitted",
      `${allowed.why}: propose a change-set that brings \`${changeSet.number}\` back, so that it is decided like any other`,
    );
  }
  if (changeSet.status === "APPLIED") {
    const drift = await rollbackDrift(desk, snapshot, whole);
    if (drift !== undefined) return drift;
  }
  const holds = await holdsFor(desk, snapshot, whole);
  return isRefusal(holds) ? holds : { holds, as: allowed.as };
}

function changesRules(whole: Whole): boolean {
  return whole.items.some((item) =>
    item.effects.some((effect) => effect.target.environment === configurationEnvironment),
  );
}

/** Change-sets applied after this one on a target of it, newest first. */
async function laterOnTop(snapshot: Snapshot, whole: Whole): Promise<{ id: string; number: string }[]> {
  const keys = [...new Set(whole.items.flatMap(keysOf))];
  const others = await readOverlaps(snapshot, {
    changeSetId: whole.changeSet.id,
    keys,
    statuses: ["APPLYING", "APPLIED", "PARTIALLY_APPLIED", "ROLLING_BACK"],
  });
  const { id: own, applied_at_ms: appliedAtMs } = whole.changeSet;
  const since = appliedAtMs ?? whole.application?.started_at_ms ?? 0;
  // Of two that are under way or were never applied whole only one comes after the other: neither would ever go first else.
  const isLater = (one: (typeof others)[number]): boolean => {
    if (one.applied_at_ms === null) return (appliedAtMs ?? null) !== null || one.id > own;
    return one.applied_at_ms > since || (one.applied_at_ms === since && one.id > own);
  };
  return others
    .filter(isLater)
    .sort((a, b) => (b.applied_at_ms ?? Infinity) - (a.applied_at_ms ?? Infinity))
    .map(({ id, number }) => ({ id, number }));
}

/** Each target must be as the application left it: preflight of all before the first is touched. */
async function rollbackDrift(desk: Desk, snapshot: Snapshot, whole: Whole): Promise<Refusal | undefined> {
  const states = await readStates(
    whole.items.flatMap((item) => item.effects),
    desk.targets,
    targetContext(desk, snapshot),
  );
  const last = Math.max(0, ...whole.items.map((item) => item.position));
  const inverse = whole.items.map((item) => ({
    sequence: item.sequence,
    position: last - item.position,
    effects: reverseEffects(item.effects),
  }));
  const drift = findDrift(inverse, states);
  if (drift.length === 0) return undefined;
  return refused(
    "drift",
    `${drift.map((one) => `\`${one.target}\``).join(", ")} changed since \`${whole.changeSet.number}\` was applied; rolling back would lose that. Propose a change-set on what is there now`,
    { details: { drift } },
  );
}
