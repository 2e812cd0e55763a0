/**
 * Whether the newest application may be taken back. INVARIANT: nothing is taken back that something later builds on, that changed since, or
 * that was said to be irreversible; all of it is looked at before the first target is touched.
 */
import { configurationEnvironment, isRefusal, type Refusal, refused } from "@countersign/contract";
import { mayRollBack } from "../../governance/index.js";
import { reverseEffects, type StateImage } from "../../targets/index.js";
import type { Caller } from "../../tenancy/index.js";
import { reversibilityOf } from "../lifecycle.rules.js";
import { authorOf, liveVotes, type Loaded } from "../loaded.rules.js";
import { findDrift } from "../proposing/plan.rules.js";
import type { Overlap } from "../queries.js";
import type { Whole } from "../rows.js";
import type { RolledBackAs } from "./intent.rules.js";

/** A change-set that was applied after another on a target of it. */
export type Later = Pick<Overlap, "id" | "number">;

/** What was said to be irreversible when it was approved stays so. */
export function checkReversible({ changeSet, items }: Whole): Refusal | undefined {
  if (reversibilityOf(items) !== "irreversible") return undefined;
  const which = items.filter((item) => item.reversibility === "irreversible").map((item) => `\`${item.target_id}\``);
  return refused(
    "irreversible",
    `${which.join(", ")} cannot be brought back, as was said when \`${changeSet.number}\` was approved`,
  );
}

/** Whether the caller may take it back now, and by what authority. `later`: what builds on it, newest first. */
export function checkRollback(
  loaded: Loaded,
  { caller, proven, later }: { readonly caller: Caller; readonly proven: boolean; readonly later: readonly Later[] },
  nowMs: number,
): { readonly as: RolledBackAs } | Refusal {
  const { changeSet } = loaded.whole;
  const allowed = authority(loaded, caller, later, nowMs);
  if (isRefusal(allowed)) return allowed;
  // What governs the tenant is changed with a key unlocked there and then, backwards too: a stored login is not enough.
  if (!proven && changesRules(loaded.whole)) return proofMissing(changeSet.number, caller);
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
  return { as: allowed.as };
}

function authority({ whole, people, configuration }: Loaded, caller: Caller, later: readonly Later[], nowMs: number) {
  const { changeSet, items } = whole;
  const { id, name, kind: type } = caller.principal;
  return mayRollBack({
    actor: { id, name, type, roles: caller.roles, permissions: caller.permissions },
    author: authorOf(whole, people),
    approvers: liveVotes(whole)
      .filter((vote) => vote.decision === "APPROVED")
      .map((vote) => vote.voter_id),
    exact: reversibilityOf(items) === "exact",
    laterOnTop: later.map((one) => one.number),
    appliedAtMs: changeSet.applied_at_ms ?? changeSet.updated_at_ms,
    nowMs,
    approvals: configuration.approvals,
  });
}

function changesRules(whole: Whole): boolean {
  return whole.items.some((item) =>
    item.effects.some((effect) => effect.target.environment === configurationEnvironment),
  );
}

function proofMissing(number: string, caller: Caller): Refusal {
  return refused(
    "precondition_required",
    `\`${number}\` changed what governs the tenant: taking it back needs \`proof\`, the request signed with your own key (docs/authentication.md); the command line asks for the passphrase`,
    { details: { operation: "rollbackChangeSet", tenant: caller.tenant, principal: caller.principal.id } },
  );
}

/** Of the change-sets on its targets those applied after it, newest first. */
export function laterOnTop(
  { changeSet, application }: Pick<Whole, "changeSet" | "application">,
  others: readonly Overlap[],
): Later[] {
  const { id: own, applied_at_ms: appliedAtMs } = changeSet;
  const since = appliedAtMs ?? application?.started_at_ms ?? 0;
  // Of two that are under way or were never applied whole only one comes after the other: neither would ever go first else.
  const isLater = (one: Overlap): boolean => {
    if (one.applied_at_ms === null) return (appliedAtMs ?? null) !== null || one.id > own;
    return one.applied_at_ms > since || (one.applied_at_ms === since && one.id > own);
  };
  return others
    .filter(isLater)
    .sort((a, b) => (b.applied_at_ms ?? Infinity) - (a.applied_at_ms ?? Infinity))
    .map(({ id, number }) => ({ id, number }));
}

/** Each target must be as the application left it: preflight of all before the first is touched. `states`: as they are now. */
export function rollbackDrift(
  { changeSet, items }: Whole,
  states: ReadonlyMap<string, StateImage>,
): Refusal | undefined {
  const last = Math.max(0, ...items.map((item) => item.position));
  const inverse = items.map((item) => ({
    sequence: item.sequence,
    position: last - item.position,
    effects: reverseEffects(item.effects),
  }));
  const drift = findDrift(inverse, states);
  if (drift.length === 0) return undefined;
  return refused(
    "drift",
    `${drift.map((one) => `\`${one.target}\``).join(", ")} changed since \`${changeSet.number}\` was applied; rolling back would lose that. Propose a change-set on what is there now`,
    { details: { drift } },
  );
}
