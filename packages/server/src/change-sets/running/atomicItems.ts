/**
 * Items of target kinds inside the database (JSON resources): all that follow each other are one step, and what they change is committed
 * together with the record of it. There is nothing to read back: either all of it happened, or none.
 */
import { type Problem, type Refusal, refused } from "@countersign/contract";
import type { Guard, Receipt } from "../../ledger/index.js";
import { type AtomicTargetKind, reverseEffects } from "../../targets/index.js";
import { type Desk, targetContext } from "../desk.js";
import { readStates } from "../proposing/plan.js";
import { insert, update } from "../rows.js";
import { pendingEffects, type Step } from "./run.rules.js";
import { actorOf, commitStep, failRun, itemOf, problemJson, recordOf, type Run, stopped } from "./runCommit.js";

/** Applied and recorded in one commit, under the kill epoch. */
export async function changeItems(desk: Desk, run: Run, step: Step): Promise<readonly Receipt[]> {
  const kind = kindOf(desk, run, step);
  const by = { actor: actorOf(run), changeSetId: run.application.change_set_id };
  return commitStep(
    desk,
    run,
    async (snapshot) => {
      const context = targetContext(desk, snapshot);
      const effects = run.application.plan.resumed
        ? pendingEffects(step.effects, await readStates(step.effects, desk.targets, context))
        : step.effects;
      const change = effects.length === 0 ? undefined : await kind.change(effects, by, context);
      return { stop: await stopped(desk, snapshot, run), change };
    },
    ({ stop, change }, write) => {
      if (stop.refusal !== undefined) return failRun(run, [], stop.refusal, write);
      if (Array.isArray(change)) return failRun(run, [], problemsRefusal(change as Problem[]), write);
      const changed = typeof change === "function" ? change(write) : { guards: [], entries: [] };
      const rows = step.sequences.map((sequence) =>
        insert("application_items", {
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
          write.entry(
            "change_set.items_applied",
            { application: run.application.id, items: [...step.sequences] },
            rows,
          ),
          ...changed.entries,
        ],
      };
    },
  );
}

/** Undone as it was done: by one commit. */
export async function undoItems(desk: Desk, run: Run, step: Step): Promise<readonly Receipt[]> {
  const kind = kindOf(desk, run, step);
  const by = { actor: actorOf(run), changeSetId: run.application.change_set_id };
  const records = step.sequences.map((sequence) => recordOf(run, sequence));
  return commitStep(
    desk,
    run,
    (snapshot) => kind.change(reverseEffects(step.effects), by, targetContext(desk, snapshot)),
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
              "change_set.compensation_failed",
              { application: run.application.id, items: [...step.sequences] },
              rows,
              {
                problem,
              },
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
          write.entry(
            "change_set.items_compensated",
            { application: run.application.id, items: [...step.sequences] },
            rows,
          ),
          ...undone.entries,
        ],
      };
    },
  );
}

function kindOf(desk: Desk, run: Run, step: Step): AtomicTargetKind {
  const kind = desk.targets.kind(itemOf(run, step.sequences[0] ?? 0).target_kind);
  if (!kind.atomic) throw new Error("a compensating kind was asked for writes");
  return kind;
}

function problemsRefusal(problems: readonly Problem[]): Refusal {
  const [first] = problems;
  return refused(first?.code ?? "internal", problems.map((problem) => problem.message).join("; "));
}
