/**
 * Decides who may roll back a change-set, without a new approval or by a route. An exact rollback soon after the apply,
 * with nothing built on it, only restores a known state. So the author's human, an approver of it or the on-call role
 * need nobody else.
 */
import { refused, type ConfigurationValue, type Permission, type Refusal } from "@countersign/contract";
import type { AuthorFacts } from "./approvals.rules.js";
import { undoUntilMs } from "./approvals.rules.js";

export interface RollbackQuestion {
  readonly actor: {
    readonly id: string;
    readonly name: string;
    readonly type: "human" | "agent" | "service";
    readonly roles: readonly string[];
    readonly permissions: ReadonlySet<Permission>;
  };
  readonly author: AuthorFacts;
  /** People whose approvals counted. */
  readonly approvers: readonly string[];
  /** Every item restores exactly the earlier state. */
  readonly exact: boolean;
  /** Later change-sets on its targets, by number. */
  readonly laterOnTop: readonly string[];
  readonly appliedAtMs: number;
  readonly nowMs: number;
  readonly approvals: ConfigurationValue<"approvals">;
}

export type RollbackAuthority =
  | { readonly kind: "at_once"; readonly as: "author_human" | "approver" | "on_call"; readonly why: string }
  /** Somebody else must agree: the route of the change-set, asked again. */
  | { readonly kind: "route"; readonly why: string };

export function mayRollBack(question: RollbackQuestion): RollbackAuthority | Refusal {
  const { actor, author, approvals } = question;
  const isAuthor =
    actor.id === author.id || author.humansNow.includes(actor.id) || author.humansAtProposal.includes(actor.id);
  if (!isAuthor && !actor.permissions.has("change_sets.roll_back"))
    return refused(
      "rollback_not_permitted",
      `\`${actor.name}\` is neither answerable for the author nor holds \`change_sets.roll_back\`; ask the on-call role`,
    );

  const obstacles = routeReasons(question);
  const as = authorityOf(question);
  if (obstacles.length > 0) return { kind: "route", why: obstacles.join("; ") };
  if (as === undefined)
    return {
      kind: "route",
      why: `only the author's human, an approver of it or role \`${approvals.onCallRole}\` may roll it back without a new approval`,
    };
  const words = {
    author_human: "answerable for its author",
    approver: "approved it",
    on_call: `holds role \`${approvals.onCallRole}\``,
  };
  return { kind: "at_once", as, why: `\`${actor.name}\` ${as === "author_human" ? "is " : ""}${words[as]}` };
}

function authorityOf(question: RollbackQuestion): "author_human" | "approver" | "on_call" | undefined {
  const { actor, author, approvals } = question;
  if (actor.type !== "human") return undefined;
  if (actor.id === author.id || author.humansNow.includes(actor.id)) return "author_human";
  if (question.approvers.includes(actor.id)) return "approver";
  return actor.roles.includes(approvals.onCallRole) ? "on_call" : undefined;
}

function routeReasons(question: RollbackQuestion): string[] {
  const { approvals } = question;
  const untilMs = undoUntilMs(question.appliedAtMs, approvals);
  return [
    ...(question.exact ? [] : ["not every item can be undone exactly"]),
    ...(question.laterOnTop.length === 0
      ? []
      : [`later change-sets changed its targets: ${question.laterOnTop.map((number) => `\`${number}\``).join(", ")}`]),
    ...(question.nowMs < untilMs
      ? []
      : [`the undo window of ${approvals.undoWindowHours} h ended at ${new Date(untilMs).toISOString()}`]),
  ];
}
