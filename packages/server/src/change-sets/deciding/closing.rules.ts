/**
 * How a change-set ends by the word of a person. INVARIANT: its backups are released only after the undo window, and only a person says
 * what became of one that was applied partly.
 */
import { type CheckedInput, type Refusal, refused } from "@countersign/contract";
import { undoUntilMs } from "../../governance/index.js";
import type { Caller } from "../../tenancy/index.js";
import { type Answered, answered, type At, entry } from "../entries.rules.js";
import { mayEdit, transition } from "../lifecycle.rules.js";
import type { Loaded } from "../loaded.rules.js";
import { type BackupRow, type ChangeSetRow, replaced, update } from "../rows.js";

/** Cancelled before it is applied, by its author or the human answerable for it. */
export function decideCancel(
  loaded: Loaded,
  by: { readonly caller: Caller; readonly reason?: string | undefined },
  context: At,
): Refusal | Answered {
  const { whole } = loaded;
  const { caller, reason } = by;
  const refusal = transition(whole.changeSet, "cancel") ?? mayEdit(caller, whole);
  if (refusal !== undefined) return refusal;
  const changes: Partial<ChangeSetRow> = {
    status: "CANCELLED",
    deadline_at_ms: null,
    approved_until_ms: null,
    updated_at_ms: context.nowMs,
  };
  const cancelled = entry(caller.actor, whole.changeSet.id, "change_set.cancelled", {
    data: { from: whole.changeSet.status, revision: whole.revision.digest },
    ...(reason === undefined ? {} : { body: { reason } }),
    writes: [update("change_sets", whole.changeSet, changes)],
  });
  return answered(loaded, caller, { entries: [cancelled], after: replaced(whole, { changes }) });
}

/** Never before the undo window ends: archiving releases the backups. `backups`: those that are kept still. */
export function decideArchive(
  loaded: Loaded & { readonly backups: readonly BackupRow[] },
  { caller }: { readonly caller: Caller },
  context: At,
): Refusal | Answered {
  const { whole, backups } = loaded;
  const { changeSet } = whole;
  const refusal =
    transition(changeSet, "archive") ??
    (caller.permissions.has("change_sets.resolve") ? undefined : mayEdit(caller, whole)) ??
    undoable(changeSet, context.nowMs);
  if (refusal !== undefined) return refusal;
  const changes: Partial<ChangeSetRow> = { status: "ARCHIVED", updated_at_ms: context.nowMs };
  const archived = entry(caller.actor, changeSet.id, "change_set.archived", {
    data: { from: changeSet.status, backupsReleased: backups.length },
    writes: [
      update("change_sets", changeSet, changes),
      ...backups.map((backup) => update("backups", backup, { released: true })),
    ],
  });
  return answered(loaded, caller, { entries: [archived], after: replaced(whole, { changes }) });
}

function undoable({ number, status, undo_until_ms: undoUntil }: ChangeSetRow, nowMs: number): Refusal | undefined {
  const untilMs = undoUntil ?? 0;
  if (status !== "APPLIED" || nowMs >= untilMs) return undefined;
  return refused(
    "illegal_transition",
    `\`${number}\` can be undone until \`${new Date(untilMs).toISOString()}\`; archiving would release its backups, so it waits until then`,
    { details: { status, legal: ["roll_back"] }, retryAfterSeconds: Math.ceil((untilMs - nowMs) / 1000) },
  );
}

/** A person says, with evidence, what became of a partly applied change-set. */
export function decideResolution(
  loaded: Loaded,
  { caller, as, evidence }: { readonly caller: Caller } & Pick<CheckedInput<"resolveChangeSet">, "as" | "evidence">,
  context: At,
): Refusal | Answered {
  const { whole } = loaded;
  const illegal = transition(whole.changeSet, "resolve");
  if (illegal !== undefined) return illegal;
  if (caller.principal.kind !== "human")
    return refused("agents_never_vote", `\`${caller.principal.name}\` is not a person; a person resolves`);
  const touched = { status_reason: null, updated_at_ms: context.nowMs };
  const undoUntil = undoUntilMs(context.nowMs, loaded.configuration.approvals);
  const changes: Partial<ChangeSetRow> =
    as === "applied"
      ? { ...touched, status: "APPLIED", applied_at_ms: context.nowMs, undo_until_ms: undoUntil }
      : { ...touched, status: "ROLLED_BACK" };
  const resolved = entry(caller.actor, whole.changeSet.id, "change_set.resolved", {
    data: { from: whole.changeSet.status, revision: whole.revision.digest, as },
    body: { reason: evidence },
    writes: [update("change_sets", whole.changeSet, changes)],
  });
  return answered(loaded, caller, { entries: [resolved], after: replaced(whole, { changes }) });
}
