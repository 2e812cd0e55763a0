/**
 * The life of a change-set: the one table of its transitions. It drives enforcement, the text of refusals, hints and docs.
 * INVARIANT: a status changes only by a command listed here, and every change is an entry in the ledger.
 */

import { limits } from "./limits.js";

export const statuses = [
  "DRAFT",
  "PENDING_APPROVAL",
  "APPROVED",
  "APPLYING",
  "APPLIED",
  "PARTIALLY_APPLIED",
  "ROLLING_BACK",
  "ROLLED_BACK",
  "REJECTED",
  "CANCELLED",
  "ARCHIVED",
] as const;
export type Status = (typeof statuses)[number];

/** Commands a principal gives, and events the engine records by itself. */
export const commands = [
  "revise",
  "submit",
  "vote",
  "request_changes",
  "cancel",
  "expire",
  "reroute",
  "apply",
  "finish_apply",
  "roll_back",
  "finish_rollback",
  "resume",
  "resolve",
  "archive",
] as const;
export type Command = (typeof commands)[number];

export interface Transition {
  readonly command: Command;
  readonly from: Status;
  /** Every status the command may lead to from here. */
  readonly to: readonly Status[];
  /** Given by a principal, or by the engine itself when its condition holds. */
  readonly by: "principal" | "engine";
  readonly who: string;
}

export const transitions: readonly Transition[] = [
  { command: "revise", from: "DRAFT", to: ["DRAFT"], by: "principal", who: "the author or their human" },
  {
    command: "submit",
    from: "DRAFT",
    to: ["PENDING_APPROVAL", "APPROVED", "REJECTED"],
    by: "principal",
    who: "the author or their human",
  },
  { command: "cancel", from: "DRAFT", to: ["CANCELLED"], by: "principal", who: "the author or their human" },

  {
    command: "vote",
    from: "PENDING_APPROVAL",
    to: ["PENDING_APPROVAL", "APPROVED", "REJECTED"],
    by: "principal",
    who: "a person on the route",
  },
  {
    command: "request_changes",
    from: "PENDING_APPROVAL",
    to: ["DRAFT"],
    by: "principal",
    who: "a person on the route",
  },
  { command: "revise", from: "PENDING_APPROVAL", to: ["DRAFT"], by: "principal", who: "the author or their human" },
  { command: "cancel", from: "PENDING_APPROVAL", to: ["CANCELLED"], by: "principal", who: "the author or their human" },
  {
    command: "expire",
    from: "PENDING_APPROVAL",
    to: ["REJECTED"],
    by: "engine",
    who: "the deadline passed, or nobody is left who could satisfy the route",
  },

  {
    command: "apply",
    from: "APPROVED",
    to: ["APPLYING"],
    by: "principal",
    who: "the author, their human or an operator; the engine in mode AUTO",
  },
  {
    command: "vote",
    from: "APPROVED",
    to: ["REJECTED"],
    by: "principal",
    who: "a person on the route, with REJECTED: an approval can be withdrawn",
  },
  { command: "revise", from: "APPROVED", to: ["DRAFT"], by: "principal", who: "the author or their human" },
  { command: "cancel", from: "APPROVED", to: ["CANCELLED"], by: "principal", who: "the author or their human" },
  { command: "expire", from: "APPROVED", to: ["REJECTED"], by: "engine", who: "the approval's time passed" },
  {
    command: "reroute",
    from: "APPROVED",
    to: ["PENDING_APPROVAL"],
    by: "engine",
    who: "a longer route is required now",
  },

  {
    command: "finish_apply",
    from: "APPLYING",
    to: ["APPLIED", "APPROVED", "REJECTED", "PARTIALLY_APPLIED"],
    by: "engine",
    who: "every item is verified or compensated, or its state is reported",
  },

  {
    command: "roll_back",
    from: "APPLIED",
    to: ["ROLLING_BACK"],
    by: "principal",
    who: "the author's human, an approver of it or the on-call role",
  },
  {
    command: "archive",
    from: "APPLIED",
    to: ["ARCHIVED"],
    by: "principal",
    who: "the author, their human or an operator, after the undo window",
  },

  {
    command: "finish_rollback",
    from: "ROLLING_BACK",
    to: ["ROLLED_BACK", "APPLIED", "PARTIALLY_APPLIED"],
    by: "engine",
    who: "every inverse is verified or refused before any effect, or its state is reported",
  },

  {
    command: "resume",
    from: "PARTIALLY_APPLIED",
    to: ["APPLYING"],
    by: "principal",
    who: "the author's human or an operator",
  },
  {
    command: "roll_back",
    from: "PARTIALLY_APPLIED",
    to: ["ROLLING_BACK"],
    by: "principal",
    who: "the author's human, an approver of it or the on-call role",
  },
  {
    command: "resolve",
    from: "PARTIALLY_APPLIED",
    to: ["APPLIED", "ROLLED_BACK"],
    by: "principal",
    who: "a person, with evidence",
  },

  { command: "revise", from: "REJECTED", to: ["DRAFT"], by: "principal", who: "the author or their human" },
  {
    command: "archive",
    from: "REJECTED",
    to: ["ARCHIVED"],
    by: "principal",
    who: "the author, their human or an operator",
  },
  { command: "revise", from: "ROLLED_BACK", to: ["DRAFT"], by: "principal", who: "the author or their human" },
  {
    command: "archive",
    from: "ROLLED_BACK",
    to: ["ARCHIVED"],
    by: "principal",
    who: "the author, their human or an operator",
  },
  {
    command: "archive",
    from: "CANCELLED",
    to: ["ARCHIVED"],
    by: "principal",
    who: "the author, their human or an operator",
  },
];

/** Why a change-set is PARTIALLY_APPLIED. */
export const partialReasons = ["compensation_failed", "halted", "unknown", "diverged"] as const;
export type PartialReason = (typeof partialReasons)[number];

/** Why a change-set was REJECTED by the engine. */
export const rejectionReasons = ["vote", "policy_denied", "expired", "route_unsatisfiable", "apply_failed"] as const;
export type RejectionReason = (typeof rejectionReasons)[number];

/** The commands a principal may give in this status, in the order of the table. */
export function legalCommands(status: Status): Command[] {
  return transitions.filter((t) => t.from === status && t.by === "principal").map((t) => t.command);
}

export function findTransition(status: Status, command: Command): Transition | undefined {
  return transitions.find((t) => t.from === status && t.command === command);
}

// ── Sets of statuses, each by what it means ──────────────────────────────────────────────────────────────────────────

/** Something will still happen, or somebody has to decide. */
export const openStatuses = [
  "DRAFT",
  "PENDING_APPROVAL",
  "APPROVED",
  "APPLYING",
  "PARTIALLY_APPLIED",
  "ROLLING_BACK",
] as const satisfies readonly Status[];
/** Open, and submitted: a draft is its author's alone, and in nobody's way. */
export const underWayStatuses: readonly Status[] = openStatuses.filter((status) => status !== "DRAFT");
/** Not open: nothing more happens by itself, and nobody waits for it. */
export const finishedStatuses: readonly Status[] = statuses.filter((status) => !isIn(openStatuses, status));
/** Finished, and nothing leads out but a revision or the archive. */
export const settledStatuses: readonly Status[] = finishedStatuses.filter((status) =>
  legalCommands(status).every((command) => command === "revise" || command === "archive"),
);
/** Approved, and not at its end: whoever carries it out, or watches that, looks at these. The most urgent first. */
export const beingCarriedOutStatuses = [
  "APPLYING",
  "ROLLING_BACK",
  "PARTIALLY_APPLIED",
  "APPROVED",
] as const satisfies readonly Status[];
/** Its targets may be in a state that it made: rolling back something earlier would take that away from under it. */
export const inEffectStatuses = [
  "APPLYING",
  "APPLIED",
  "PARTIALLY_APPLIED",
  "ROLLING_BACK",
] as const satisfies readonly Status[];
/** What depends on it may be applied. */
export const dependencyMetStatuses = ["APPLIED", "ARCHIVED"] as const satisfies readonly Status[];
/** Ends that a change-set can come to straight from its author's desk, without ever having been approved. */
export const endedUnappliedStatuses = ["CANCELLED", "REJECTED", "ARCHIVED"] as const satisfies readonly Status[];

export function isIn(set: readonly Status[], status: string): boolean {
  return (set as readonly string[]).includes(status);
}

/** Statuses in which a principal may give the command. */
export function statusesFor(command: Command): Status[] {
  return statuses.filter((status) => legalCommands(status).includes(command));
}

// ── What entries make of the status ──────────────────────────────────────────────────────────────────────────────────

/**
 * What becomes of a change-set's status with an entry of each action; null: it stays. `statusFrom` tells apart the two that lead to
 * one of two statuses. INVARIANT: an action that leads somewhere is the record of a transition of the table above.
 */
export const statusAfter = {
  "change_set.created": "DRAFT",
  "change_set.revised": "DRAFT",
  "change_set.submitted": "PENDING_APPROVAL",
  "change_set.approved": "APPROVED",
  "change_set.rejected": "REJECTED",
  "change_set.vote_cast": null,
  "change_set.changes_requested": "DRAFT",
  "change_set.cancelled": "CANCELLED",
  "change_set.archived": "ARCHIVED",
  "change_set.resolved": ["APPLIED", "ROLLED_BACK"],
  "change_set.expired": "REJECTED",
  "change_set.blocked": null,
  "change_set.rerouted": "PENDING_APPROVAL",
  "change_set.apply_started": "APPLYING",
  "change_set.apply_resumed": "APPLYING",
  "change_set.rollback_started": "ROLLING_BACK",
  "change_set.item_started": null,
  "change_set.item_verified": null,
  "change_set.item_failed": null,
  "change_set.item_compensated": null,
  "change_set.items_applied": null,
  "change_set.items_compensated": null,
  "change_set.compensation_failed": null,
  "change_set.apply_failed": null,
  "change_set.rollback_failed": null,
  "change_set.applied": "APPLIED",
  "change_set.partially_applied": "PARTIALLY_APPLIED",
  "change_set.rolled_back": "ROLLED_BACK",
  "change_set.rollback_refused": "APPLIED",
  "change_set.apply_compensated": ["APPROVED", "REJECTED"],
} as const satisfies Record<string, Status | null | readonly Status[]>;
export type ChangeSetAction = keyof typeof statusAfter;

/** The status that a change-set's entries, in their order, lead to; undefined when none of them says. */
export function statusFrom(
  entries: Iterable<{ readonly action: string; readonly data: Readonly<Record<string, unknown>> }>,
): Status | undefined {
  let status: Status | undefined;
  /** Tries to apply the present approval: the last one that is allowed rejects it. */
  let attempts = 0;
  for (const { action, data } of entries) {
    if (!isChangeSetAction(action)) continue;
    if (action === "change_set.approved") attempts = 0;
    if (action === "change_set.apply_started") attempts += 1;
    if (action === "change_set.resolved") status = resolvedAs(data["as"]) ?? status;
    else if (action === "change_set.apply_compensated")
      status = attempts >= limits.applyAttemptsMax ? "REJECTED" : "APPROVED";
    else status = statusAfter[action] ?? status;
  }
  return status;
}

function isChangeSetAction(action: string): action is ChangeSetAction {
  return Object.hasOwn(statusAfter, action);
}

function resolvedAs(as: unknown): Status | undefined {
  return as === "applied" ? "APPLIED" : as === "not_applied" ? "ROLLED_BACK" : undefined;
}
