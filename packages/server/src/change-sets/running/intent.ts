/**
 * The intent of a run, the same for apply, roll back and resume: an application, the change-set that is under way with it, and the holds on
 * targets outside the database. From its commit on, whatever happens, the run is brought to an end.
 */
import { type ApplicationAnswer, isRefusal, type JsonObject, type Refusal, refused } from "@countersign/contract";
import type { KillLoaded } from "../../governance/index.js";
import type { Decided, Guard, Snapshot, Write } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { type Desk, entry, guardsOf, liveVotes, type Loaded, loadForCommand, namesOf, view } from "../desk.js";
import { readApplication, readHolds } from "../queries.js";
import {
  type ApplicationRow,
  type ChangeSetAction,
  type ChangeSetRow,
  type HoldRow,
  insert,
  type ItemRow,
  type NewRow,
  update,
  type Whole,
} from "../rows.js";
import type { Runner } from "./run.js";
import { applicationOf, receiptsOf } from "../view.rules.js";

export interface Intent {
  readonly applicationId: string;
}

/** The items of what was decided last, as they were held against the ledger. */
export interface Held {
  items?: readonly ItemRow[];
}

interface Beginning {
  readonly kind: ApplicationRow["kind"];
  readonly mode: string;
  readonly status: "APPLYING" | "ROLLING_BACK";
  readonly action: ChangeSetAction;
  readonly changes: Partial<ChangeSetRow>;
  readonly resumed: boolean;
  readonly reason: string | null;
  readonly kill: KillLoaded | undefined;
  readonly holds: readonly HoldRow[];
  readonly as?: string;
  /** Of limits, and of what else it depends on. */
  readonly counters?: readonly Guard[];
}

/** The intent: from its commit on, whatever happens, the run is brought to an end. */
export function begin(
  loaded: Loaded,
  caller: Caller,
  of: Beginning,
  context: { nowMs: number; uuid(): string },
): Decided<Intent> {
  const { whole } = loaded;
  const applicationId = context.uuid();
  const application: NewRow<ApplicationRow> = {
    id: applicationId,
    change_set_id: whole.changeSet.id,
    revision_id: whole.revision.id,
    kind: of.kind,
    mode: of.mode,
    attempt: whole.changeSet.attempts + (of.kind === "APPLY" && !of.resumed ? 1 : 0),
    status: "RUNNING",
    started_by: caller.principal.id,
    plan: { phase: "forward", resumed: of.resumed, actor: caller.actor as unknown as JsonObject },
    reason: of.reason,
    applied_items: 0,
    failed_items: 0,
    errors: [],
    started_at_ms: context.nowMs,
    ended_at_ms: null,
  };
  const changes: Partial<ChangeSetRow> = {
    ...of.changes,
    status: of.status,
    status_reason: null,
    application_id: applicationId,
    updated_at_ms: context.nowMs,
  };
  const approvals = liveVotes(whole).map((vote) => ({ type: "vote", id: vote.id }));
  return {
    kind: "change",
    change: {
      guards: [
        ...guardsOf(loaded, caller),
        ...(of.counters ?? []),
        ...(of.kill === undefined ? [] : [{ kind: "epoch" as const, name: "kill", value: of.kill.epoch }]),
      ],
      entries: [
        entry(caller.actor, whole.changeSet.id, of.action, {
          data: {
            application: applicationId,
            kind: of.kind,
            attempt: application.attempt,
            revision: whole.revision.digest,
            items: whole.items.length,
            ...(of.as === undefined ? {} : { as: of.as }),
          },
          ...(of.reason === null ? {} : { body: { reason: of.reason } }),
          refs: approvals,
          writes: [
            insert("applications", application),
            update("change_sets", whole.changeSet, changes),
            ...holdWrites(whole, of.holds, applicationId),
          ],
        }),
      ],
    },
    result: { applicationId },
  };
}

/** Holds on the targets outside the database, so that one application at a time changes each; free ones as they are now. */
export async function holdsFor(desk: Desk, snapshot: Snapshot, whole: Whole): Promise<readonly HoldRow[] | Refusal> {
  const keys = outsideKeys(desk, whole);
  const holds = await readHolds(snapshot, keys);
  const taken = holds.find((hold) => hold.application_id !== null && hold.application_id !== undefined);
  if (taken === undefined)
    return [
      ...holds,
      ...keys
        .filter((key) => !holds.some((hold) => hold.id === key))
        .map((id): HoldRow => ({ id, version: 0, application_id: null, change_set_id: null })),
    ];
  return refused(
    "target_locked",
    `\`${taken.id}\` is being changed by application \`${taken.application_id}\`; try again when it has ended`,
    { retryAfterSeconds: 1 },
  );
}

function outsideKeys(desk: Desk, whole: Whole): string[] {
  const keys = whole.items
    .filter((item) => !desk.targets.kind(item.target_kind).atomic)
    .flatMap((item) => item.effects.map((effect) => effect.target.key));
  return [...new Set(keys)].sort();
}

function holdWrites(whole: Whole, holds: readonly HoldRow[], applicationId: string): Write[] {
  const held = { application_id: applicationId, change_set_id: whole.changeSet.id };
  return holds.map((hold) =>
    hold.version === 0 ? insert("target_holds", { id: hold.id, ...held }) : update("target_holds", hold, held),
  );
}

/** Runs the plan and answers with where it ended; a replayed request gets where the first one stands. */
export async function finishRequest(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  outcome:
    | { kind: "committed"; result: Intent; receipts: readonly Parameters<typeof receiptsOf>[0][number][] }
    | { kind: "nothing"; result: Intent },
  held: Held,
): Promise<ApplicationAnswer | Refusal> {
  const { applicationId } = outcome.result;
  const receipts =
    outcome.kind === "committed"
      ? [...outcome.receipts, ...(await runner.run(caller.tenant, applicationId, held.items))]
      : [];
  return desk.ledger.snapshot(caller.tenant, async (snapshot) => {
    const application = await readApplication(snapshot, applicationId);
    if (application === undefined) throw new Error(`application ${applicationId} is gone`);
    const loaded = await loadForCommand(desk, snapshot, application.application.change_set_id);
    if (isRefusal(loaded)) return loaded;
    return {
      changeSet: view(loaded),
      application: applicationOf(application, namesOf(loaded.people)),
      receipts: receiptsOf(receipts),
    };
  });
}
