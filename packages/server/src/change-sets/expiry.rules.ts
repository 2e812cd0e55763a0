/** What time does by itself: a change-set whose deadline passed, or whose approval was not used in time, is rejected. */
import { type Refusal, refused } from "@countersign/contract";
import type { Decided } from "../ledger/index.js";
import type { Caller } from "../tenancy/index.js";
import { type At, entry } from "./entries.rules.js";
import { type ChangeSetRow, update, type Whole } from "./rows.js";

export type Due = "deadline" | "approval";

/** Whether a deadline passed that nobody has acted on yet. */
export function due(changeSet: ChangeSetRow, nowMs: number): Due | undefined {
  const passed = (untilMs: number | null): boolean => nowMs > (untilMs ?? Infinity);
  if (changeSet.status === "PENDING_APPROVAL" && passed(changeSet.deadline_at_ms)) return "deadline";
  if (changeSet.status === "APPROVED" && passed(changeSet.approved_until_ms)) return "approval";
  return undefined;
}

/** It cannot be worked with: its time is over, though the ledger does not say so yet. */
export interface Overdue {
  readonly kind: "overdue";
  readonly changeSetId: string;
  /** What whoever asked is answered. */
  readonly refusal: Refusal;
}

export function overdue(changeSet: ChangeSetRow, what: Due): Overdue {
  const since = what === "deadline" ? changeSet.deadline_at_ms : changeSet.approved_until_ms;
  const was = what === "deadline" ? "was to be decided" : "was to be applied";
  const { id, number } = changeSet;
  const refusal = refused(
    "expired",
    `\`${number}\` ${was} until \`${new Date(since ?? 0).toISOString()}\` and is REJECTED now; \`countersign change-set revise ${number}\` starts again`,
    { details: { overdue: what, overdueId: id } },
  );
  return { kind: "overdue", changeSetId: id, refusal };
}

/** Rejects what is overdue; nothing when somebody was faster. */
export function decideExpiry(whole: Whole | undefined, by: Caller, context: At): Decided<undefined> {
  const what = whole === undefined ? undefined : due(whole.changeSet, context.nowMs);
  if (whole === undefined || what === undefined) return { kind: "nothing", result: undefined };
  const { changeSet, revision } = whole;
  const changes: Partial<ChangeSetRow> = {
    status: "REJECTED",
    status_reason: "expired",
    updated_at_ms: context.nowMs,
  };
  return {
    kind: "change",
    change: {
      guards: [{ kind: "row", table: "change_sets", id: changeSet.id, version: changeSet.version }],
      entries: [
        entry(by.actor, changeSet.id, "change_set.expired", {
          data: { from: changeSet.status, what, revision: revision.digest },
          writes: [update("change_sets", changeSet, changes)],
        }),
      ],
    },
    result: undefined,
  };
}
