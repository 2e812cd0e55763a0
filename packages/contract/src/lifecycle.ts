/**
 * The life of a change-set: the one table of its transitions. It drives enforcement, the text of refusals, hints and docs.
 * INVARIANT: a status changes only by a command listed here, and every change is an entry in the ledger.
 */

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
