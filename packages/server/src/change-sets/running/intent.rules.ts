/**
 * The intent of a run, the same for apply, roll back and resume: an application, the change-set that is under way with it, and the holds on
 * targets outside the database. From its commit on, whatever happens, the run is brought to an end.
 */
import type { KillLoaded } from "../../governance/index.js";
import type { Decided, EntryDraft, Guard, Write } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { type At, entry, guardsOf } from "../entries.rules.js";
import { liveVotes, type Loaded } from "../loaded.rules.js";
import {
  type ApplicationRow,
  type ChangeSetRow,
  type HoldRow,
  insert,
  type NewRow,
  update,
  type Whole,
} from "../rows.js";
import type { EventData } from "@countersign/contract";

/** By what authority a run is taken back. */
export type RolledBackAs = NonNullable<EventData<"change_set.rollback_started">["as"]>;

export interface Intent {
  readonly applicationId: string;
}

/** A change-set whose targets may be changed now. */
export interface Ready extends Loaded {
  /** On its targets outside the database. Version 0: nobody ever held the target. */
  readonly holds: readonly HoldRow[];
}

/** What an apply rests on besides. */
export interface ReadyToApply extends Ready {
  readonly kill: KillLoaded;
  /** Of the limits that an apply counts against. */
  readonly counters: readonly Guard[];
  /** That what it depends on is applied still. */
  readonly dependencies: readonly Guard[];
}

export function decideApply(
  loaded: ReadyToApply,
  { caller, mode }: { readonly caller: Caller; readonly mode: "AUTO" | "MANUAL" },
  context: At,
): Decided<Intent> {
  const { changeSet } = loaded.whole;
  const attempt = changeSet.attempts + 1;
  const application = newApplication(loaded, caller, context, { kind: "APPLY", mode, attempt });
  const changes = { ...underWay(application, "APPLYING"), attempts: attempt, blocked: null };
  const started = entry(caller.actor, changeSet.id, "change_set.apply_started", {
    ...recorded(loaded, application),
    writes: writesOf(loaded, application, changes),
  });
  const guards = [...loaded.counters, ...loaded.dependencies, killGuard(loaded.kill)];
  return begun(loaded, caller, application, started, guards);
}

/** Going on with what ended partly: the attempt is the same. */
export function decideResume(
  loaded: Ready & { readonly kill: KillLoaded },
  { caller }: { readonly caller: Caller },
  context: At,
): Decided<Intent> {
  const { changeSet } = loaded.whole;
  const application = newApplication(loaded, caller, context, { kind: "APPLY", resumed: true });
  const resumed = entry(caller.actor, changeSet.id, "change_set.apply_resumed", {
    ...recorded(loaded, application),
    writes: writesOf(loaded, application, underWay(application, "APPLYING")),
  });
  return begun(loaded, caller, application, resumed, [killGuard(loaded.kill)]);
}

/** `as`: by what authority it is taken back. No kill-switch stops a rollback. */
export function decideRollback(
  loaded: Ready & { readonly as: RolledBackAs },
  { caller, reason }: { readonly caller: Caller; readonly reason: string | undefined },
  context: At,
): Decided<Intent> {
  const { changeSet } = loaded.whole;
  const resumed = changeSet.status === "PARTIALLY_APPLIED";
  const application = newApplication(loaded, caller, context, { kind: "ROLLBACK", resumed, reason: reason ?? null });
  const { data, ...more } = recorded(loaded, application);
  const started = entry(caller.actor, changeSet.id, "change_set.rollback_started", {
    ...more,
    data: { ...data, as: loaded.as },
    writes: writesOf(loaded, application, underWay(application, "ROLLING_BACK")),
  });
  return begun(loaded, caller, application, started, []);
}

function newApplication(
  { whole }: Loaded,
  caller: Caller,
  context: At,
  of: {
    readonly kind: ApplicationRow["kind"];
    readonly mode?: "AUTO" | "MANUAL";
    readonly attempt?: number;
    /** Targets may be in `after` already. */
    readonly resumed?: boolean;
    readonly reason?: string | null;
  },
): NewRow<ApplicationRow> {
  return {
    id: context.uuid(),
    change_set_id: whole.changeSet.id,
    revision_id: whole.revision.id,
    kind: of.kind,
    mode: of.mode ?? "MANUAL",
    attempt: of.attempt ?? whole.changeSet.attempts,
    status: "RUNNING",
    started_by: caller.principal.id,
    plan: { phase: "forward", resumed: of.resumed ?? false, actor: caller.actor },
    reason: of.reason ?? null,
    applied_items: 0,
    failed_items: 0,
    errors: [],
    started_at_ms: context.nowMs,
    ended_at_ms: null,
  };
}

function underWay(application: NewRow<ApplicationRow>, status: "APPLYING" | "ROLLING_BACK"): Partial<ChangeSetRow> {
  return {
    status,
    status_reason: null,
    application_id: application.id,
    updated_at_ms: application.started_at_ms,
  };
}

/** What the entry says of the run, and the votes that allow it. */
function recorded({ whole }: Loaded, application: NewRow<ApplicationRow>) {
  const { id, kind, attempt, reason } = application;
  return {
    data: { application: id, kind, attempt, revision: whole.revision.digest, items: whole.items.length },
    ...(reason === null ? {} : { body: { reason } }),
    refs: liveVotes(whole).map((vote) => ({ type: "vote", id: vote.id })),
  };
}

function writesOf(
  { whole, holds }: Ready,
  application: NewRow<ApplicationRow>,
  changes: Partial<ChangeSetRow>,
): Write[] {
  return [
    insert("applications", application),
    update("change_sets", whole.changeSet, changes),
    ...holdWrites(whole, holds, application.id),
  ];
}

function holdWrites(whole: Whole, holds: readonly HoldRow[], applicationId: string): Write[] {
  const held = { application_id: applicationId, change_set_id: whole.changeSet.id };
  return holds.map((hold) =>
    hold.version === 0 ? insert("target_holds", { id: hold.id, ...held }) : update("target_holds", hold, held),
  );
}

/** No step forward is taken after a kill-switch was engaged. */
function killGuard({ epoch }: KillLoaded): Guard {
  return { kind: "epoch", name: "kill", value: epoch };
}

function begun(
  loaded: Loaded,
  caller: Caller,
  application: NewRow<ApplicationRow>,
  entryOf: EntryDraft,
  guards: readonly Guard[],
): Decided<Intent> {
  return {
    kind: "change",
    change: { guards: [...guardsOf(loaded, caller), ...guards], entries: [entryOf] },
    result: { applicationId: application.id },
  };
}
