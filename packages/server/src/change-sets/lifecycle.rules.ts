/** The lifecycle's rules on rows: which command is legal now, which votes a new revision makes void. */
import { type Command, findTransition, legalCommands, type Refusal, refused } from "@countersign/contract";
import type { Write } from "../ledger/index.js";
import { type ChangeSetRow, update, updated, type VoteRow, type Whole } from "./rows.js";

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
