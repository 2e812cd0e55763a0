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
  backupsOf,
  type CompensatingTargetKind,
  type Effect,
  reverseEffects,
  type TargetContext,
} from "../../targets/index.js";
import { type Desk, targetContext } from "../desk.js";
import { readStates } from "../proposing/plan.js";
import { type ApplicationItemRow, type ApplicationItemStatus, insert, type NewRow, update } from "../rows.js";
import { pendingEffects, type Standing, standingOf, type Step } from "./run.rules.js";
import { commitStep, failRun, itemOf, problemJson, recordOf, type Run, stopped } from "./runCommit.js";

export class CompensatingItems {
  readonly #desk: Desk;
  /** Tokens of items this process began: nobody else can have acted on them before. */
  readonly #begun = new Set<string>();

  constructor(desk: Desk) {
    this.#desk = desk;
  }

  /** `item.started`: no effect without it, and none after a kill-switch that is before it in the ledger. */
  async begin(run: Run, step: Step): Promise<readonly Receipt[]> {
    const sequence = only(step);
    return commitStep(
      this.#desk,
      run,
      async (snapshot) => ({ stop: await stopped(this.#desk, snapshot, run) }),
      ({ stop }, write) => {
        if (stop.refusal !== undefined) return failRun(run, [], stop.refusal, write);
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
  }

  /** Acts, or finds out what an attempt of before left; what the targets hold then is the outcome. */
  async carryOut(run: Run, step: Step): Promise<readonly Receipt[]> {
    const record = recordOf(run, only(step));
    const kind = this.#kindOf(run, step);
    const result = await this.#desk.ledger.snapshot(run.tenant, async (snapshot) => {
      const context = targetContext(this.#desk, snapshot);
      const effects = run.application.plan.resumed
        ? pendingEffects(step.effects, await readStates(step.effects, this.#desk.targets, context))
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
    return commitStep(
      this.#desk,
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
          return { guards: [], entries: [write.entry("change_set.item_verified", data, [recorded])] };
        return failRun(run, [recorded], problemOf(verdict.problem), write, { action: "change_set.item_failed", data });
      },
    );
  }

  /** Undoes one compensating item, effect by effect: those that happened are reversed, the others are left. */
  async undo(run: Run, step: Step): Promise<readonly Receipt[]> {
    const record = recordOf(run, only(step));
    const kind = this.#kindOf(run, step);
    const inverse = reverseEffects(step.effects);
    const result = await this.#desk.ledger.snapshot(run.tenant, async (snapshot) => {
      const context = targetContext(this.#desk, snapshot);
      // The step may have died underway and is not done again under its own token.
      await kind.tidy({ effects: step.effects, token: record.token }, context);
      let problem: Problem | undefined;
      const whole = await kind.act(
        {
          effects: pendingEffects(inverse, await readStates(inverse, this.#desk.targets, context)),
          token: `${record.token}-undo`,
        },
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
    return commitStep(
      this.#desk,
      run,
      () => Promise.resolve({}),
      (_, write) => ({
        guards: [],
        entries: [
          write.entry(
            done ? "change_set.item_compensated" : "change_set.compensation_failed",
            { application: run.application.id, item: record.sequence, outcome: status },
            [update("application_items", record, { status, problem, ended_at_ms: write.nowMs })],
          ),
        ],
      }),
    );
  }

  async #stand(effects: readonly Effect[], context: TargetContext): Promise<Standing | "unreadable"> {
    try {
      return standingOf(effects, await readStates(effects, this.#desk.targets, context));
    } catch (error) {
      this.#desk.log.warn({ err: error }, "a target could not be read back");
      return "unreadable";
    }
  }

  #kindOf(run: Run, step: Step): CompensatingTargetKind {
    const kind = this.#desk.targets.kind(itemOf(run, only(step)).target_kind);
    if (kind.atomic) throw new Error("an atomic kind was asked to act");
    return kind;
  }
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
