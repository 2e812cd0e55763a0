/**
 * How a step of a run is committed. INVARIANT: every commit is fenced by the version of the application and of all that is recorded of
 * it: of two runs of one application, one gets no further. A step forward of an apply is fenced by the kill epoch as well.
 */
import type { JsonObject, Problem, Refusal, TenantId } from "@countersign/contract";
import { type ChangeSetAction, type EventData, isRefusal, RefusalError } from "@countersign/contract";
import { checkKill, loadKill } from "../../governance/index.js";
import type { Actor, Decided, EntryDraft, Guard, Outcome, Receipt, Snapshot, Write } from "../../ledger/index.js";
import type { Desk } from "../desk.js";
import { entry } from "../entries.rules.js";
import { type ApplicationWhole, readApplication } from "../queries.js";
import { type ApplicationItemRow, type ApplicationRow, type ItemRow, update } from "../rows.js";
import type { Step } from "./run.rules.js";

/** An application as it is recorded now, and what it is to do. */
export interface Run {
  readonly tenant: TenantId;
  readonly application: ApplicationRow;
  readonly recorded: readonly ApplicationItemRow[];
  readonly items: readonly ItemRow[];
  readonly steps: readonly Step[];
  /** Aborted when this process is not sure any more that it alone runs the application. */
  readonly lost: AbortSignal;
  /** Tokens of items that were begun under this lease and not acted on yet: nobody else can have acted on them. */
  readonly begun: Set<string>;
}

/** This run goes no further: another process has it, or may have it. */
export class TakenOver extends Error {}

export interface Writing {
  readonly nowMs: number;
  uuid(): string;
  randomBytes(count: number): Uint8Array;
  entry<A extends ChangeSetAction>(
    action: A,
    data: EventData<A>,
    writes: readonly Write[],
    body?: JsonObject,
  ): EntryDraft;
}

/** One commit of the run, fenced by the version of the application: of two runs of it, one gets no further. */
export async function commitStep<L>(
  desk: Desk,
  run: Run,
  load: (snapshot: Snapshot) => Promise<L>,
  decide: (loaded: L, write: Writing) => { guards: readonly Guard[]; entries: readonly EntryDraft[] },
): Promise<readonly Receipt[]> {
  const { application } = run;
  const actor = actorOf(run);
  if (run.lost.aborted) throw new TakenOver();
  const outcome: Outcome<boolean> = await desk.ledger.transact(
    run.tenant,
    async (snapshot) => ({ now: await readApplication(snapshot, application.id), loaded: await load(snapshot) }),
    ({ now, loaded }, context): Decided<boolean> => {
      if (!isAsLoaded(run, now)) return { kind: "nothing", result: false };
      const write: Writing = {
        nowMs: context.nowMs,
        uuid: () => context.uuid(),
        randomBytes: (count) => context.randomBytes(count),
        entry: (action, data, writes, body) =>
          entry(actor, application.change_set_id, action, { data, writes, ...(body === undefined ? {} : { body }) }),
      };
      const { guards, entries } = decide(loaded, write);
      return {
        kind: "change",
        change: {
          guards: [...guards, { kind: "row", table: "applications", id: application.id, version: application.version }],
          entries,
        },
        result: true,
      };
    },
  );
  if (isRefusal(outcome)) throw new RefusalError(outcome);
  if (outcome.kind === "nothing") throw new TakenOver();
  return outcome.receipts;
}

/** Whether nobody recorded anything of the application since the run was loaded. */
export function isAsLoaded(run: Run, now: Pick<ApplicationWhole, "application" | "items"> | undefined): boolean {
  return now?.application.version === run.application.version && sameRecords(now.items, run.recorded);
}

function sameRecords(now: readonly ApplicationItemRow[], then: readonly ApplicationItemRow[]): boolean {
  return (
    now.length === then.length &&
    now.every((row, index) => row.id === then[index]?.id && row.version === then[index]?.version)
  );
}

/** From here on the run goes backwards; the entry is the intent of every compensation. */
export function failRun(
  run: Run,
  writes: readonly Write[],
  refusal: Refusal,
  write: Writing,
  item?: { action: "change_set.item_failed"; data: EventData<"change_set.item_failed"> },
): { guards: Guard[]; entries: EntryDraft[] } {
  const errors = [...run.application.errors, { code: refusal.code, message: refusal.message }];
  const phase = update("applications", run.application, {
    plan: { ...run.application.plan, phase: "compensate" },
    errors,
  });
  const failed = write.entry(
    run.application.kind === "APPLY" ? "change_set.apply_failed" : "change_set.rollback_failed",
    { application: run.application.id, code: refusal.code },
    [phase],
    { message: refusal.message },
  );
  const first = item === undefined ? [] : [write.entry(item.action, item.data, writes)];
  return { guards: [], entries: [...first, failed] };
}

/** A kill-switch stops forward steps of an apply. Rollbacks, compensation and reading go on. */
export async function stopped(
  desk: Desk,
  snapshot: Snapshot,
  run: Run,
): Promise<{ refusal?: Refusal; guards: Guard[] }> {
  if (run.application.kind !== "APPLY") return { guards: [] };
  const kill = await loadKill(snapshot);
  const refusal = checkKill(kill.rows, desk.now());
  return refusal === undefined
    ? { guards: [{ kind: "epoch", name: "kill", value: kill.epoch }] }
    : { refusal, guards: [] };
}

export function recordOf(run: Run, sequence: number): ApplicationItemRow {
  const record = run.recorded.find((row) => row.sequence === sequence);
  if (record === undefined) throw new Error(`item ${sequence} was not started`);
  return record;
}

/** Who asked for the run: it acts in their name, also after a restart. */
export function actorOf(run: Run): Actor {
  return run.application.plan.actor;
}

export function problemJson(problem: Pick<Problem, "code" | "message">): JsonObject {
  return { code: problem.code, message: problem.message };
}
