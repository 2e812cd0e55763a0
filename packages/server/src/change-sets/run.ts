/**
 * `run` is the one path on which targets are changed: called at once, after a restart, by resume. It asks `run.rules.ts`
 * for the next step, does it, records it, and asks again, until the application has an end.
 *
 * If we die here, anywhere: the next `run` finds an item that is STARTED without an outcome, reads its targets, and goes on
 * from what they hold. Nothing is repeated blindly.
 */
import type { JsonObject, Problem, Refusal, TenantId } from "@countersign/contract";
import { isRefusal, limits, refused, RefusalError } from "@countersign/contract";
import { checkKill, loadConfiguration, loadKill, undoUntilMs } from "../governance/index.js";
import type { Actor, Decided, EntryDraft, Guard, Outcome, Receipt, Snapshot, Write } from "../ledger/index.js";
import {
  type AtomicTargetKind,
  backupsOf,
  type CompensatingTargetKind,
  type Effect,
  reverseEffects,
  type StateImage,
  type TargetContext,
} from "../targets/index.js";
import { runMismatch } from "./authority.js";
import { type Desk, entry } from "./desk.js";
import type { Leases } from "./leases.js";
import { readStates } from "./plan.js";
import { type ApplicationWhole, readApplication, readHoldsOf, readItems, readWhole } from "./queries.js";
import {
  type ApplicationItemRow,
  type ApplicationItemStatus,
  type ApplicationRow,
  type ChangeSetRow,
  type HoldRow,
  insert,
  type ItemRow,
  type NewRow,
  type Stored,
  update,
  type Whole,
} from "./rows.js";
import { nextStep, partialReason, pendingEffects, type Standing, standingOf, type Step, stepsOf } from "./run.rules.js";

interface Run {
  readonly application: ApplicationRow;
  readonly recorded: readonly ApplicationItemRow[];
  readonly items: readonly ItemRow[];
  readonly steps: readonly Step[];
}

/** Another process took the run over: it brings it to its end. */
class TakenOver extends Error {}

export class Runner {
  readonly #desk: Desk;
  readonly #leases: Leases;
  readonly #running = new Map<string, Promise<Receipt[]>>();
  /** Tokens of items this process began: nobody else can have acted on them before. */
  readonly #begun = new Set<string>();

  constructor(desk: Desk, leases: Leases) {
    this.#desk = desk;
    this.#leases = leases;
  }

  /**
   * Brings an application to its end. Callers of one application share one run. `items`: as they were held against the
   * ledger when it was decided; without them it is a run that was found, and is held against the ledger first.
   */
  run(tenant: TenantId, applicationId: string, items?: readonly ItemRow[]): Promise<Receipt[]> {
    const known = this.#running.get(applicationId);
    if (known !== undefined) return known;
    const run = this.#toTheEnd(tenant, applicationId, items).finally(() => this.#running.delete(applicationId));
    this.#running.set(applicationId, run);
    return run;
  }

  /** Resolves when no run is under way in this process. */
  async idle(): Promise<void> {
    while (this.#running.size > 0) await Promise.allSettled(this.#running.values());
  }

  async #toTheEnd(tenant: TenantId, applicationId: string, given: readonly ItemRow[] | undefined): Promise<Receipt[]> {
    const receipts: Receipt[] = [];
    if (!(await this.#leases.take(tenant, applicationId))) return receipts;
    let renewAtMs = this.#desk.now() + 5_000;
    try {
      const items = given ?? (await this.#found(tenant, applicationId));
      if (items === undefined) return receipts;
      for (;;) {
        if (this.#desk.now() > renewAtMs) {
          if (!(await this.#leases.take(tenant, applicationId))) return receipts;
          renewAtMs = this.#desk.now() + 5_000;
        }
        const run = await this.#desk.ledger.snapshot(tenant, (snapshot) => this.#load(snapshot, applicationId, items));
        if (run.application.status !== "RUNNING") return receipts;
        receipts.push(...(await this.#step(tenant, run)));
      }
    } catch (error) {
      if (error instanceof TakenOver) return receipts;
      throw error;
    } finally {
      await this.#leases
        .release(tenant, applicationId)
        .catch(() => this.#desk.log.warn({ applicationId }, "the lease of a run was not released; it ends by itself"));
    }
  }

  /** Items of a run that has no end; undefined when it has one, or when the ledger does not know it: then nothing is done. */
  #found(tenant: TenantId, applicationId: string): Promise<readonly ItemRow[] | undefined> {
    return this.#desk.ledger.snapshot(tenant, async (snapshot) => {
      const found = await readApplication(snapshot, applicationId);
      if (found === undefined || found.application.status !== "RUNNING") return undefined;
      const mismatch = await runMismatch(this.#desk, snapshot, found.application, found.items);
      if (mismatch === undefined) return readItems(snapshot, found.application.revision_id);
      this.#desk.log.error(
        { tenant, applicationId, mismatches: mismatch.details?.["mismatches"] },
        "a run is not what the ledger says: it is left as it is; run `countersign audit verify`",
      );
      const system = this.#desk.tenancy.systemCaller(tenant);
      this.#desk.ledger.recordRefusal(tenant, {
        actor: system.actor,
        code: mismatch.code,
        subject: { type: "change_set", id: found.application.change_set_id },
      });
      return undefined;
    });
  }

  async #load(snapshot: Snapshot, applicationId: string, items: readonly ItemRow[]): Promise<Run> {
    const found = (await readApplication(snapshot, applicationId)) as ApplicationWhole | undefined;
    if (found === undefined) throw new Error(`application ${applicationId} is gone`);
    const steps = stepsOf(found.application.kind, items, (kind) => this.#desk.targets.kind(kind).atomic);
    return { application: found.application, recorded: found.items, items, steps };
  }

  async #step(tenant: TenantId, run: Run): Promise<readonly Receipt[]> {
    const next = nextStep(run.application, run.steps, run.recorded);
    switch (next.kind) {
      case "begin":
        return this.#begin(tenant, run, next.step);
      case "carry_out":
        return this.#carryOut(tenant, run, next.step);
      case "change":
        return this.#change(tenant, run, next.step);
      case "compensate":
        return next.step.atomic ? this.#undoChange(tenant, run, next.step) : this.#undo(tenant, run, next.step);
      case "finish":
        return this.#finish(tenant, run, next.outcome);
    }
  }

  /** `item.started`: no effect without it, and none after a kill-switch that is before it in the ledger. */
  async #begin(tenant: TenantId, run: Run, step: Step): Promise<readonly Receipt[]> {
    const sequence = only(step);
    return this.#commit(
      tenant,
      run,
      async (snapshot) => ({ stop: await this.#stopped(snapshot, run) }),
      ({ stop }, write) => {
        if (stop.refusal !== undefined) return this.#fail(run, [], stop.refusal, write);
        const token = write.uuid();
        this.#begun.add(token);
        const started: NewRow<ApplicationItemRow> = {
          id: write.uuid(),
          change_set_id: run.application.change_set_id,
          application_id: run.application.id,
          sequence,
          token,
          status: "STARTED",
          problem: null,
          started_at_ms: write.nowMs,
          ended_at_ms: null,
        };
        const backups = backupsOf(step.effects).map((backup) =>
          insert<Stored>("backups", {
            id: write.uuid(),
            change_set_id: run.application.change_set_id,
            application_id: run.application.id,
            item_sequence: sequence,
            target_key: backup.targetKey,
            digest: backup.digest,
            bytes: backup.bytes,
            mode: backup.mode,
            released: false,
            at_ms: write.nowMs,
          } as NewRow<Stored>),
        );
        return {
          guards: [
            ...stop.guards,
            { kind: "absent", table: "application_items", key: { application_id: run.application.id, sequence } },
          ],
          entries: [
            write.entry("item_started", { application: run.application.id, item: sequence, backups: backups.length }, [
              insert("application_items", started),
              ...backups,
            ]),
          ],
        };
      },
    );
  }

  async #carryOut(tenant: TenantId, run: Run, step: Step): Promise<readonly Receipt[]> {
    const record = recordOf(run, only(step));
    const kind = this.#outside(run, step);
    const result = await this.#desk.ledger.snapshot(tenant, async (snapshot) => {
      const context = this.#context(snapshot);
      const effects = run.application.plan.resumed
        ? pendingEffects(step.effects, await this.#read(step.effects, context))
        : step.effects;
      const outcome =
        effects.length === 0 ? ({ kind: "done" } as const) : await kind.act({ effects, token: record.token }, context);
      // A refusal is without effect. After a restart somebody's effect may lie before it, and only the targets can tell.
      const untouched = outcome.kind === "refused" && this.#begun.has(record.token);
      return {
        problem: outcome.kind === "done" ? undefined : outcome.problem,
        standing: untouched ? "before" : await this.#stand(step.effects, context),
      } as const;
    });
    this.#begun.delete(record.token);
    const verdict = verdictOf(result.standing, result.problem);
    return this.#commit(
      tenant,
      run,
      () => Promise.resolve({}),
      (_, write) => {
        const ended = verdict.status === "COMPENSATING" ? null : write.nowMs;
        const recorded = update("application_items", record, {
          status: verdict.status,
          problem: verdict.problem,
          ended_at_ms: ended,
        });
        const data = {
          application: run.application.id,
          item: record.sequence,
          outcome: verdict.status,
          hashes: step.effects.map((effect) => effect.after.hash ?? "absent"),
        };
        if (verdict.status === "VERIFIED")
          return { guards: [], entries: [write.entry("item_verified", data, [recorded])] };
        return this.#fail(run, [recorded], problemOf(verdict.problem), write, { action: "item_failed", data });
      },
    );
  }

  /** Atomic kinds: applied and recorded in one commit, under the kill epoch. */
  async #change(tenant: TenantId, run: Run, step: Step): Promise<readonly Receipt[]> {
    const kind = this.#inside(run, step);
    const by = { actor: actorOf(run), changeSetId: run.application.change_set_id };
    return this.#commit(
      tenant,
      run,
      async (snapshot) => {
        const context = this.#context(snapshot);
        const effects = run.application.plan.resumed
          ? pendingEffects(step.effects, await this.#read(step.effects, context))
          : step.effects;
        const change = effects.length === 0 ? undefined : await kind.change(effects, by, context);
        return { stop: await this.#stopped(snapshot, run), change };
      },
      ({ stop, change }, write) => {
        if (stop.refusal !== undefined) return this.#fail(run, [], stop.refusal, write);
        if (Array.isArray(change)) return this.#fail(run, [], problemsRefusal(change as Problem[]), write);
        const changed = typeof change === "function" ? change(write) : { guards: [], entries: [] };
        const rows = step.sequences.map((sequence) =>
          insert<ApplicationItemRow>("application_items", {
            id: write.uuid(),
            change_set_id: run.application.change_set_id,
            application_id: run.application.id,
            sequence,
            token: write.uuid(),
            status: "VERIFIED",
            problem: null,
            started_at_ms: write.nowMs,
            ended_at_ms: write.nowMs,
          }),
        );
        return {
          guards: [
            ...stop.guards,
            ...changed.guards,
            ...step.sequences.map((sequence): Guard => ({
              kind: "absent",
              table: "application_items",
              key: { application_id: run.application.id, sequence },
            })),
          ],
          entries: [
            write.entry("items_applied", { application: run.application.id, items: [...step.sequences] }, rows),
            ...changed.entries,
          ],
        };
      },
    );
  }

  async #undoChange(tenant: TenantId, run: Run, step: Step): Promise<readonly Receipt[]> {
    const kind = this.#inside(run, step);
    const by = { actor: actorOf(run), changeSetId: run.application.change_set_id };
    const records = step.sequences.map((sequence) => recordOf(run, sequence));
    return this.#commit(
      tenant,
      run,
      (snapshot) => kind.change(reverseEffects(step.effects), by, this.#context(snapshot)),
      (change, write) => {
        if (typeof change !== "function") {
          const problem = problemJson(problemsRefusal(change));
          const rows = records.map((record) =>
            update("application_items", record, { status: "DIVERGED", problem, ended_at_ms: write.nowMs }),
          );
          return {
            guards: [],
            entries: [
              write.entry(
                "compensation_failed",
                { application: run.application.id, items: [...step.sequences] },
                rows,
                { problem },
              ),
            ],
          };
        }
        const undone = change(write);
        const rows = records.map((record) =>
          update("application_items", record, { status: "COMPENSATED", ended_at_ms: write.nowMs }),
        );
        return {
          guards: undone.guards,
          entries: [
            write.entry("items_compensated", { application: run.application.id, items: [...step.sequences] }, rows),
            ...undone.entries,
          ],
        };
      },
    );
  }

  /** Undoes one compensating item, effect by effect: those that happened are reversed, the others are left. */
  async #undo(tenant: TenantId, run: Run, step: Step): Promise<readonly Receipt[]> {
    const record = recordOf(run, only(step));
    const kind = this.#outside(run, step);
    const inverse = reverseEffects(step.effects);
    const result = await this.#desk.ledger.snapshot(tenant, async (snapshot) => {
      const context = this.#context(snapshot);
      // The step may have died underway and is not done again under its own token.
      await kind.tidy({ effects: step.effects, token: record.token }, context);
      let problem: Problem | undefined;
      const whole = await kind.act(
        { effects: pendingEffects(inverse, await this.#read(inverse, context)), token: `${record.token}-undo` },
        context,
      );
      if (whole.kind !== "done") problem = whole.problem;
      return { problem, standing: await this.#stand(inverse, context) };
    });
    const done = result.standing === "after";
    const status: ApplicationItemStatus = done
      ? "COMPENSATED"
      : result.standing === "unreadable"
        ? "UNKNOWN"
        : "DIVERGED";
    const problem = done
      ? (record.problem ?? null)
      : problemJson(
          result.problem ?? { code: "target_unavailable", message: "the target is neither as before nor as after" },
        );
    return this.#commit(
      tenant,
      run,
      () => Promise.resolve({}),
      (_, write) => ({
        guards: [],
        entries: [
          write.entry(
            done ? "item_compensated" : "compensation_failed",
            { application: run.application.id, item: record.sequence, outcome: status },
            [update("application_items", record, { status, problem, ended_at_ms: write.nowMs })],
          ),
        ],
      }),
    );
  }

  async #finish(
    tenant: TenantId,
    run: Run,
    outcome: "succeeded" | "compensated" | "partial",
  ): Promise<readonly Receipt[]> {
    const { application } = run;
    const partly = outcome === "compensated" && application.plan.resumed ? "partial" : outcome;
    return this.#commit(
      tenant,
      run,
      async (snapshot) => {
        const whole = (await readWhole(snapshot, application.change_set_id)) as Whole;
        return {
          whole,
          holds: await readHoldsOf(snapshot, application.id),
          configuration: await loadConfiguration(snapshot),
        };
      },
      ({ whole, holds, configuration }, write) => {
        const verified = run.recorded.filter((row) => row.status === "VERIFIED").length;
        const end = endOf({
          application,
          outcome: partly,
          recorded: run.recorded,
          changeSet: whole.changeSet,
          nowMs: write.nowMs,
          undoUntilMs: undoUntilMs(write.nowMs, configuration.approvals),
        });
        const ended = update("applications", application, {
          status: end.status,
          applied_items: verified,
          failed_items: run.items.length - verified,
          ended_at_ms: write.nowMs,
        });
        const released = holds.map((hold) =>
          update<HoldRow>("target_holds", hold, { application_id: null, change_set_id: null }),
        );
        const changed = update("change_sets", whole.changeSet, { ...end.changes, updated_at_ms: write.nowMs });
        return {
          guards: [{ kind: "row", table: "change_sets", id: whole.changeSet.id, version: whole.changeSet.version }],
          entries: [
            write.entry(
              end.action,
              {
                application: application.id,
                outcome: end.status,
                applied: verified,
                failed: run.items.length - verified,
                ...(end.changes.status_reason == null ? {} : { reason: end.changes.status_reason }),
              },
              [ended, changed, ...released],
              {
                items: run.recorded.map((row) => ({
                  sequence: row.sequence,
                  status: row.status,
                  problem: row.problem ?? null,
                })),
              },
            ),
          ],
        };
      },
    );
  }

  /** From here on the run goes backwards; the entry is the intent of every compensation. */
  #fail(
    run: Run,
    writes: readonly Write[],
    refusal: Refusal,
    write: Writing,
    item?: { action: string; data: JsonObject },
  ): { guards: Guard[]; entries: EntryDraft[] } {
    const errors = [...run.application.errors, { code: refusal.code, message: refusal.message }];
    const phase = update("applications", run.application, {
      plan: { ...run.application.plan, phase: "compensate" },
      errors,
    });
    const failed = write.entry(
      run.application.kind === "APPLY" ? "apply_failed" : "rollback_failed",
      { application: run.application.id, code: refusal.code },
      [phase],
      { message: refusal.message },
    );
    const first = item === undefined ? [] : [write.entry(item.action, item.data, writes)];
    return { guards: [], entries: [...first, failed] };
  }

  /** A kill-switch stops forward steps of an apply. Rollbacks, compensation and reading go on. */
  async #stopped(snapshot: Snapshot, run: Run): Promise<{ refusal?: Refusal; guards: Guard[] }> {
    if (run.application.kind !== "APPLY") return { guards: [] };
    const kill = await loadKill(snapshot);
    const refusal = checkKill(kill.rows, this.#desk.now());
    return refusal === undefined
      ? { guards: [{ kind: "epoch", name: "kill", value: kill.epoch }] }
      : { refusal, guards: [] };
  }

  /** One commit of the run, fenced by the version of the application: of two runs of it, one gets no further. */
  async #commit<L>(
    tenant: TenantId,
    run: Run,
    load: (snapshot: Snapshot) => Promise<L>,
    decide: (loaded: L, write: Writing) => { guards: readonly Guard[]; entries: readonly EntryDraft[] },
  ): Promise<readonly Receipt[]> {
    const { application } = run;
    const actor = actorOf(run);
    const outcome: Outcome<boolean> = await this.#desk.ledger.transact(
      tenant,
      async (snapshot) => ({ now: await readApplication(snapshot, application.id), loaded: await load(snapshot) }),
      ({ now, loaded }, context): Decided<boolean> => {
        if (
          now === undefined ||
          now.application.version !== application.version ||
          !sameRecords(now.items, run.recorded)
        )
          return { kind: "nothing", result: false };
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
            guards: [
              ...guards,
              { kind: "row", table: "applications", id: application.id, version: application.version },
            ],
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

  #context(snapshot: Snapshot): TargetContext {
    return { tenant: snapshot.tenant, snapshot, blobs: this.#desk.blobs(snapshot.tenant) };
  }

  #read(effects: readonly Effect[], context: TargetContext): Promise<Map<string, StateImage>> {
    return readStates(effects, this.#desk.targets, context);
  }

  async #stand(effects: readonly Effect[], context: TargetContext): Promise<Standing | "unreadable"> {
    try {
      return standingOf(effects, await this.#read(effects, context));
    } catch (error) {
      this.#desk.log.warn({ err: error }, "a target could not be read back");
      return "unreadable";
    }
  }

  #outside(run: Run, step: Step): CompensatingTargetKind {
    const kind = this.#desk.targets.kind(itemOf(run, only(step)).target_kind);
    if (kind.atomic) throw new Error("an atomic kind was asked to act");
    return kind;
  }

  #inside(run: Run, step: Step): AtomicTargetKind {
    const kind = this.#desk.targets.kind(itemOf(run, step.sequences[0] ?? 0).target_kind);
    if (!kind.atomic) throw new Error("a compensating kind was asked for writes");
    return kind;
  }
}

interface Writing {
  readonly nowMs: number;
  uuid(): string;
  randomBytes(count: number): Uint8Array;
  entry(action: string, data: JsonObject, writes: readonly Write[], body?: JsonObject): EntryDraft;
}

/** What the targets hold after an attempt decides, not what the attempt said of itself. */
function verdictOf(
  standing: Standing | "unreadable",
  problem: Problem | undefined,
): { status: ApplicationItemStatus; problem: JsonObject | null } {
  const because = (code: Problem["code"], message: string): JsonObject => problemJson(problem ?? { code, message });
  switch (standing) {
    case "after":
      return { status: "VERIFIED", problem: null };
    case "before":
      return { status: "NOT_APPLIED", problem: because("target_unavailable", "the target kept its state") };
    case "mixed":
      return {
        status: "COMPENSATING",
        problem: because("target_unavailable", "only some of the item's targets changed"),
      };
    case "other":
      return {
        status: "DIVERGED",
        problem: because("drift", "the target holds neither the state before nor the state after"),
      };
    case "unreadable":
      return { status: "UNKNOWN", problem: because("target_unavailable", "the target cannot be read back") };
  }
}

function endOf(of: {
  application: ApplicationRow;
  outcome: "succeeded" | "compensated" | "partial";
  recorded: readonly ApplicationItemRow[];
  changeSet: ChangeSetRow;
  nowMs: number;
  undoUntilMs: number;
}): {
  status: ApplicationRow["status"];
  action: string;
  changes: Partial<ChangeSetRow>;
} {
  const applying = of.application.kind === "APPLY";
  if (of.outcome === "partial")
    return {
      status: "PARTIAL",
      action: "partially_applied",
      changes: { status: "PARTIALLY_APPLIED", status_reason: partialReason(of.recorded) },
    };
  if (of.outcome === "succeeded") {
    return applying
      ? {
          status: "SUCCEEDED",
          action: "applied",
          changes: {
            status: "APPLIED",
            status_reason: null,
            blocked: null,
            applied_at_ms: of.nowMs,
            undo_until_ms: of.undoUntilMs,
          },
        }
      : {
          status: "SUCCEEDED",
          action: "rolled_back",
          changes: { status: "ROLLED_BACK", status_reason: null, undo_until_ms: null },
        };
  }
  if (!applying)
    return {
      status: of.recorded.length === 0 ? "REFUSED" : "COMPENSATED",
      action: "rollback_refused",
      changes: { status: "APPLIED", status_reason: null },
    };
  const exhausted = of.changeSet.attempts >= limits.applyAttemptsMax;
  return {
    status: "COMPENSATED",
    action: "apply_compensated",
    changes: exhausted
      ? { status: "REJECTED", status_reason: "apply_failed", approved_until_ms: null }
      : { status: "APPROVED", status_reason: "apply_failed" },
  };
}

function sameRecords(now: readonly ApplicationItemRow[], then: readonly ApplicationItemRow[]): boolean {
  return (
    now.length === then.length &&
    now.every((row, index) => row.id === then[index]?.id && row.version === then[index]?.version)
  );
}

function only(step: Step): number {
  const sequence = step.sequences[0];
  if (sequence === undefined || step.sequences.length !== 1)
    throw new Error("a step of a compensating kind has one item");
  return sequence;
}

function recordOf(run: Run, sequence: number): ApplicationItemRow {
  const record = run.recorded.find((row) => row.sequence === sequence);
  if (record === undefined) throw new Error(`item ${sequence} was not started`);
  return record;
}

function itemOf(run: Run, sequence: number): ItemRow {
  const item = run.items.find((one) => one.sequence === sequence);
  if (item === undefined) throw new Error(`there is no item ${sequence}`);
  return item;
}

/** Who asked for the run: it acts in their name, also after a restart. */
function actorOf(run: Run): Actor {
  return run.application.plan.actor as unknown as Actor;
}

function problemJson(problem: Pick<Problem, "code" | "message">): JsonObject {
  return { code: problem.code, message: problem.message };
}

function problemOf(problem: JsonObject | null): Refusal {
  const { code, message } = (problem ?? {}) as { code?: Refusal["code"]; message?: string };
  return refused(code ?? "internal", message ?? "the item failed");
}

function problemsRefusal(problems: readonly Problem[]): Refusal {
  const [first] = problems;
  return refused(first?.code ?? "internal", problems.map((problem) => problem.message).join("; "));
}
