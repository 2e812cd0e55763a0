/**
 * How a change-set ends by the word of a person: cancelled before it is applied, archived after its undo window, resolved when it was
 * applied only partly. No target is touched.
 */
import {
  type ChangeSetAnswer,
  type CheckedInput,
  isRefusal,
  type JsonObject,
  type Refusal,
  refused,
} from "@countersign/contract";
import { undoUntilMs } from "../../governance/index.js";
import type { Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import {
  type Answered,
  answerOf,
  type Desk,
  entry,
  guardsOf,
  type Loaded,
  loadForCommand,
  type RequestContext,
  view,
} from "../desk.js";
import { mayEdit, transition } from "../lifecycle.rules.js";
import { plainCommand } from "../plainCommand.js";
import { readBackups } from "../queries.js";
import { type ChangeSetAction, type ChangeSetRow, replaced, update } from "../rows.js";
import { timely } from "../timely.js";

export function cancel(
  desk: Desk,
  caller: Caller,
  input: CheckedInput<"cancelChangeSet">,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  return plainCommand(desk, caller, input.id, request, (loaded, context) => {
    const { whole } = loaded;
    const refusal = transition(whole.changeSet, "cancel") ?? mayEdit(caller, whole);
    if (refusal !== undefined) return refusal;
    return simple(loaded, caller, {
      action: "change_set.cancelled",
      changes: { status: "CANCELLED", deadline_at_ms: null, approved_until_ms: null, updated_at_ms: context.nowMs },
      reason: input.reason,
    });
  });
}

/** Never before the undo window ends: archiving releases the backups. */
export async function archive(
  desk: Desk,
  caller: Caller,
  id: string,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, id);
    return isRefusal(loaded) ? loaded : { ...loaded, backups: await readBackups(snapshot, loaded.whole.changeSet.id) };
  };
  const outcome = await timely(desk, caller, request, load, (loaded, context): Answered | Refusal => {
    const { whole, backups } = loaded;
    const { changeSet } = whole;
    const illegal =
      transition(changeSet, "archive") ??
      (caller.permissions.has("change_sets.resolve") ? undefined : mayEdit(caller, whole));
    if (illegal !== undefined) return illegal;
    const undoUntil = changeSet.undo_until_ms ?? 0;
    if (changeSet.status === "APPLIED" && context.nowMs < undoUntil) {
      return refused(
        "illegal_transition",
        `\`${changeSet.number}\` can be undone until \`${new Date(undoUntil).toISOString()}\`; archiving would release its backups, so it waits until then`,
        {
          details: { status: changeSet.status, legal: ["roll_back"] },
          retryAfterSeconds: Math.ceil((undoUntil - context.nowMs) / 1000),
        },
      );
    }
    const changes: Partial<ChangeSetRow> = { status: "ARCHIVED", updated_at_ms: context.nowMs };
    const writes = [
      update("change_sets", changeSet, changes),
      ...backups.map((backup) => update("backups", backup, { released: true })),
    ];
    return {
      kind: "change",
      change: {
        guards: guardsOf(loaded, caller),
        entries: [
          entry(caller.actor, changeSet.id, "change_set.archived", {
            data: { from: changeSet.status, backupsReleased: backups.length },
            writes,
          }),
        ],
      },
      result: { changeSet: view(loaded, replaced(whole, { changes })) },
    };
  });
  return answerOf(outcome);
}

/** A person says, with evidence, what became of a partly applied change-set. */
export function resolve(
  desk: Desk,
  caller: Caller,
  input: CheckedInput<"resolveChangeSet">,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  return plainCommand(desk, caller, input.id, request, (loaded, context) => {
    const illegal = transition(loaded.whole.changeSet, "resolve");
    if (illegal !== undefined) return illegal;
    if (caller.principal.kind !== "human")
      return refused("agents_never_vote", `\`${caller.principal.name}\` is not a person; a person resolves`);
    const applied = input.as === "applied";
    const undoUntil = undoUntilMs(context.nowMs, loaded.configuration.approvals);
    const changes: Partial<ChangeSetRow> = applied
      ? {
          status: "APPLIED",
          status_reason: null,
          applied_at_ms: context.nowMs,
          undo_until_ms: undoUntil,
          updated_at_ms: context.nowMs,
        }
      : { status: "ROLLED_BACK", status_reason: null, updated_at_ms: context.nowMs };
    return simple(loaded, caller, {
      action: "change_set.resolved",
      changes,
      reason: input.evidence,
      data: { as: input.as },
    });
  });
}

function simple(
  loaded: Loaded,
  caller: Caller,
  of: { action: ChangeSetAction; changes: Partial<ChangeSetRow>; reason?: string | undefined; data?: JsonObject },
): Answered {
  const { whole } = loaded;
  return {
    kind: "change",
    change: {
      guards: guardsOf(loaded, caller),
      entries: [
        entry(caller.actor, whole.changeSet.id, of.action, {
          data: { from: whole.changeSet.status, revision: whole.revision.digest, ...of.data },
          ...(of.reason === undefined ? {} : { body: { reason: of.reason } }),
          writes: [update("change_sets", whole.changeSet, of.changes)],
        }),
      ],
    },
    result: { changeSet: view(loaded, replaced(whole, { changes: of.changes })) },
  };
}
