/** The lifecycle's rules on rows: which command is legal now, which votes a new revision makes void. */
import {
  type Command,
  findTransition,
  legalCommands,
  type Refusal,
  refused,
  reversibilities,
  type Reversibility,
} from "@countersign/contract";
import type { Write } from "../ledger/index.js";
import { type ChangeSetRow, update, updated, type VoteRow, type Whole } from "./rows.js";
import type { Caller } from "../tenancy/index.js";

/** A refusal with the legal commands when this one is not, else undefined. */
export function transition(
  changeSet: Pick<ChangeSetRow, "status" | "number" | "status_reason" | "erased_at_ms">,
  command: Command,
): Refusal | undefined {
  const erased = erasedRefusal(changeSet);
  if (erased !== undefined) return erased;
  if (findTransition(changeSet.status, command) !== undefined) return undefined;
  const legal = legalCommands(changeSet.status);
  const reason =
    changeSet.status_reason === null || changeSet.status_reason === undefined
      ? ""
      : ` (\`${changeSet.status_reason}\`)`;
  return refused(
    "illegal_transition",
    `\`${command}\` is not legal: change-set \`${changeSet.number}\` is ${changeSet.status}${reason}; legal: ${legal.join(", ") || "nothing"}`,
    {
      details: { status: changeSet.status, legal },
    },
  );
}

/** What was erased is not carried out, taken back or changed any more: nobody could see what. */
export function erasedRefusal({
  number,
  erased_at_ms: erasedAtMs,
}: Pick<ChangeSetRow, "number" | "erased_at_ms">): Refusal | undefined {
  if (erasedAtMs === null || erasedAtMs === undefined) return undefined;
  const erasedAt = new Date(erasedAtMs).toISOString();
  return refused(
    "erased",
    `the texts and states of \`${number}\` were erased at ${erasedAt}: it cannot be rolled back or changed; propose what is needed as a new change-set`,
    { details: { erasedAt } },
  );
}

/** Votes that stood become void; they stay on record. */
export function dismissVotes(whole: Whole): { votes: VoteRow[]; writes: Write[] } {
  const stands = (vote: VoteRow): boolean => !vote.dismissed;
  return {
    votes: whole.votes.map((vote) => (stands(vote) ? updated<VoteRow>(vote, { dismissed: true }) : vote)),
    writes: whole.votes.filter(stands).map((vote) => update("votes", vote, { dismissed: true })),
  };
}

export type Due = "deadline" | "approval";

/** Whether a deadline passed that nobody has acted on yet. */
export function due(changeSet: ChangeSetRow, nowMs: number): Due | undefined {
  if (
    changeSet.status === "PENDING_APPROVAL" &&
    changeSet.deadline_at_ms !== null &&
    nowMs > (changeSet.deadline_at_ms ?? Infinity)
  )
    return "deadline";
  if (
    changeSet.status === "APPROVED" &&
    changeSet.approved_until_ms !== null &&
    nowMs > (changeSet.approved_until_ms ?? Infinity)
  )
    return "approval";
  return undefined;
}

export function overdue(changeSet: ChangeSetRow, what: Due): Refusal {
  const since = what === "deadline" ? changeSet.deadline_at_ms : changeSet.approved_until_ms;
  const was = what === "deadline" ? "was to be decided" : "was to be applied";
  return refused(
    "expired",
    `\`${changeSet.number}\` ${was} until \`${new Date(since ?? 0).toISOString()}\` and is REJECTED now; \`countersign change-set revise ${changeSet.number}\` starts again`,
    {
      details: { overdue: what, overdueId: changeSet.id },
    },
  );
}

/** What a change-set loses when it goes back to its author. */
export const backToDraft = {
  status: "DRAFT",
  status_reason: null,
  blocked: null,
  approval_digest: null,
  required_approvals: null,
  submitted_at_ms: null,
  deadline_at_ms: null,
  approved_until_ms: null,
} as const satisfies Partial<ChangeSetRow>;

/** Only the author, or the human answerable for it, edits, submits and cancels. */
export function mayEdit(caller: Caller, whole: Whole): Refusal | undefined {
  const { author_id: author, author_humans: humans, number } = whole.changeSet;
  if (caller.principal.id === author || humans.includes(caller.principal.id)) return undefined;
  return refused(
    "forbidden",
    `\`${caller.principal.name}\` did not propose \`${number}\` and is not answerable for its author; ask them, or propose a change-set of your own`,
  );
}

/** The worst of its items: one irreversible item makes the set irreversible. */
export function reversibilityOf(items: readonly { readonly reversibility: Reversibility }[]): Reversibility {
  const worst = Math.max(0, ...items.map((item) => reversibilities.indexOf(item.reversibility)));
  return reversibilities[worst] ?? "exact";
}
