/**
 * Items of target kinds outside the database (files): started, acted on, read back, undone. Each is a step of its own, because what was
 * done outside and what is recorded of it cannot be one commit.
 *
 * If we die here, anywhere: the next run finds an item that is STARTED without an outcome, reads its targets, and goes on from what
 * they hold. Nothing is repeated blindly.
 */
import type { JsonObject, Problem, Refusal } from "@countersign/contract";
import { refused } from "@countersign/contract";
import type { Receipt } from "../../ledger/index.js";
import {
  type ActContext,
  backupsOf,
  type CompensatingTargetKind,
  type Effect,
  gate,
  reverseEffects,
  type TargetReads,
} from "../../targets/index.js";
import { actContext, type Desk } from "../desk.js";
import { readStates } from "../proposing/plan.js";
import { type ApplicationItemRow, type ApplicationItemStatus, insert, type NewRow, update } from "../rows.js";
import { pendingEffects, type Standing, standingOf, type Step } from "./run.rules.js";
import { commitStep, failRun, isAsLoaded, problemJson, recordOf, type Run, stopped, TakenOver } from "./runCommit.js";
import { readApplication } from "../queries.js";

export class CompensatingItems {
  readonly #desk: Desk;

  constructor(desk: Desk) {
    this.#desk = desk;
  }

  /** `item.started`: no effect without it, and none after a kill-switch that is before it in the ledger. */
  async begin(run: Run, step: Step): Promise<readonly Receipt[]> {
    const sequence = only(step);
    const made = { token: "" };
    const receipts = await commitStep(
      this.#desk,
      run,
      async (snapshot) => ({ stop: await stopped(this.#desk, snapshot, run) }),
      ({ stop }, write) => {
        if (stop.refusal !== undefined) return failRun(run, [], stop.refusal, write);
        const token = (made.token = write.uuid());
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
          insert("backups", {
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
          }),
        );
        return {
          guards: [
            ...stop.guards,
            { kind: "absent", table: "application_items", key: { application_id: run.application.id, sequence } },
          ],
          entries: [
            write.entry(
              "change_set.item_started",
              { application: run.application.id, item: sequence, backups: backups.length },
              [insert("application_items", started), ...backups],
            ),
          ],
        };
      },
    );
    if (made.token !== "") run.begun.add(made.token);
    return receipts;
  }

  /** Acts, or finds out what an attempt of before left; what the targets hold then is the outcome. */
  carryOut(found: Run, step: Step): Promise<readonly Receipt[]> {
    return this.#asTheOnlyOne(found, step, async (kind, context, run) => {
      const record = recordOf(run, only(step));
      const { standing, problem } = await this.#attempt(run, step, kind, context);
      const verdict = verdictOf(standing, problem);
      return this.#recordVerdict(run, { step, record, verdict });
    });
  }

  async #attempt(run: Run, step: Step, kind: CompensatingTargetKind, context: ActContext): Promise<Attempt> {
    const { token } = recordOf(run, only(step));
    const isFirst = run.begun.delete(token);
    if (!isFirst && kind.concurrentActs === "exclusive") {
      // A process that died may have acted. INVARIANT: what must not run twice is done again only on targets that are as before.
      const standing = await this.#stand(step.effects, context);
      if (standing !== "before") return { standing, problem: undefined };
    }
    const effects = run.application.plan.resumed
      ? pendingEffects(step.effects, await readStates(step.effects, this.#desk.targets, context))
      : step.effects;
    const outcome = effects.length === 0 ? ({ kind: "done" } as const) : await kind.act({ effects, token }, context);
    if (context.signal.aborted) throw new TakenOver();
    // A refusal is without effect. After a restart an effect of the process that died may lie before it, and only the targets can tell.
    const isUntouched = outcome.kind === "refused" && isFirst;
    return {
      problem: outcome.kind === "done" ? undefined : outcome.problem,
      standing: isUntouched ? "before" : await this.#stand(step.effects, context),
    };
  }

  #recordVerdict(
    run: Run,
    { step, record, verdict }: { step: Step; record: ApplicationItemRow; verdict: Verdict },
  ): Promise<readonly Receipt[]> {
    return commitStep(
      this.#desk,
      run,
      () => Promise.resolve({}),
      (_, write) => {
        const recorded = update("application_items", record, {
          status: verdict.status,
          problem: verdict.problem,
          ended_at_ms: verdict.status === "COMPENSATING" ? null : write.nowMs,
        });
        const data = {
          application: run.application.id,
          item: record.sequence,
          outcome: verdict.status,
          hashes: step.effects.map((effect) => effect.after.hash ?? "absent"),
        };
        if (verdict.status === "VERIFIED")
          return { guards: [], entries: [write.entry("change_set.item_verified", data, [recorded])] };
        return failRun(run, [recorded], problemOf(verdict.problem), write, { action: "change_set.item_failed", data });
      },
    );
  }

  /** Undoes one compensating item, effect by effect: those that happened are reversed, the others are left. */
  undo(found: Run, step: Step): Promise<readonly Receipt[]> {
    return this.#asTheOnlyOne(found, step, async (kind, context, run) => {
      const record = recordOf(run, only(step));
      const inverse = reverseEffects(step.effects);
      // The step may have died underway and is not done again under its own token.
      await kind.tidy({ effects: step.effects, token: record.token }, context);
      const effects = pendingEffects(inverse, await readStates(inverse, this.#desk.targets, context));
      const outcome = await kind.act({ effects, token: `${record.token}-undo` }, context);
      if (context.signal.aborted) throw new TakenOver();
      const standing = await this.#stand(inverse, context);
      return this.#recordUndone(run, record, {
        standing,
        problem: outcome.kind === "done" ? undefined : outcome.problem,
      });
    });
  }

  #recordUndone(run: Run, record: ApplicationItemRow, { standing, problem }: Attempt): Promise<readonly Receipt[]> {
    const isDone = standing === "after";
    const failed = standing === "unreadable" ? "UNKNOWN" : "DIVERGED";
    const status = isDone ? "COMPENSATED" : failed;
    const why = problem ?? { code: "target_unavailable", message: "the target is neither as before nor as after" };
    return commitStep(
      this.#desk,
      run,
      () => Promise.resolve({}),
      (_, write) => ({
        guards: [],
        entries: [
          write.entry(
            isDone ? "change_set.item_compensated" : "change_set.compensation_failed",
            { application: run.application.id, item: record.sequence, outcome: status },
            [
              update("application_items", record, {
                status,
                problem: isDone ? (record.problem ?? null) : problemJson(why),
                ended_at_ms: write.nowMs,
              }),
            ],
          ),
        ],
      }),
    );
  }

  /**
   * From before the act until its outcome is recorded nobody else acts, where the kind asks for it: a lock of the database is held, which
   * ends with the session of who holds it. What another process recorded before the lock was ours is its run, not ours.
   */
  async #asTheOnlyOne<T>(
    run: Run,
    step: Step,
    use: (kind: CompensatingTargetKind, context: ActContext, run: Run) => Promise<T>,
  ): Promise<T> {
    const kind = this.#kindOf(step);
    if (kind.concurrentActs === "idempotent") return use(kind, actContext(this.#desk, run.tenant, run.lost), run);
    const locked = await throughGate(() =>
      this.#desk.storage.whileLocked(`act ${run.tenant} ${run.application.id}`, async (lockLost) => {
        const lost = AbortSignal.any([run.lost, lockLost]);
        const found = await this.#desk.ledger.snapshot(run.tenant, (snapshot) =>
          readApplication(snapshot, run.application.id),
        );
        if (!isAsLoaded(run, found)) throw new TakenOver();
        return use(kind, actContext(this.#desk, run.tenant, lost), { ...run, lost });
      }),
    );
    if (locked.kind === "taken") throw new TakenOver();
    return locked.result;
  }

  async #stand(effects: readonly Effect[], context: TargetReads): Promise<Standing | "unreadable"> {
    try {
      return standingOf(effects, await readStates(effects, this.#desk.targets, context));
    } catch (error) {
      this.#desk.log.warn({ err: error }, "a target could not be read back");
      return "unreadable";
    }
  }

  #kindOf(step: Step): CompensatingTargetKind {
    const kind = this.#desk.targets.kind(step.kind);
    if (kind.atomic) throw new Error("an atomic kind was asked to act");
    return kind;
  }
}

/** Acts that must not run twice, at once in this process: each holds a connection of its own for its lock. */
const exclusiveActsMax = 8;
const throughGate = gate(exclusiveActsMax);

/** Where the targets stand after an attempt, and what it said of itself. */
interface Attempt {
  readonly standing: Standing | "unreadable";
  readonly problem: Problem | undefined;
}

interface Verdict {
  readonly status: Exclude<ApplicationItemStatus, "STARTED">;
  readonly problem: JsonObject | null;
}

/** What the targets hold after an attempt decides, not what the attempt said of itself. */
function verdictOf(standing: Attempt["standing"], problem: Problem | undefined): Verdict {
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

function only(step: Step): number {
  const sequence = step.sequences[0];
  if (sequence === undefined || step.sequences.length !== 1)
    throw new Error("a step of a compensating kind has one item");
  return sequence;
}

function problemOf(problem: JsonObject | null): Refusal {
  const { code, message } = (problem ?? {}) as { code?: Refusal["code"]; message?: string };
  return refused(code ?? "internal", message ?? "the item failed");
}
