/**
 * What a run of an application does next, from what is recorded of it. `Runner` asks after every step, so being called,
 * restarted after a crash and resumed are the same path.
 *
 * INVARIANT: going forward, a step begins only when all before it are verified; compensating, the last that happened is
 * undone first.
 */
import { limits } from "@countersign/contract";
import type { Effect, StateImage } from "../../targets/index.js";
import { reverseEffects, sameState } from "../../targets/index.js";
import type {
  ApplicationItemRow,
  ApplicationItemStatus,
  ApplicationRow,
  ChangeSetAction,
  ChangeSetRow,
  ItemRow,
} from "../rows.js";

/** Items that are carried out together: those of atomic kinds that follow each other, else one. */
export interface Step {
  readonly sequences: readonly number[];
  readonly atomic: boolean;
  /** In the direction of the application: a rollback's are the inverses, in reverse. */
  readonly effects: readonly Effect[];
}

export function stepsOf(
  kind: ApplicationRow["kind"],
  items: readonly ItemRow[],
  isAtomic: (targetKind: ItemRow["target_kind"]) => boolean,
): Step[] {
  const ordered = [...items].sort((a, b) => a.position - b.position);
  if (kind === "ROLLBACK") ordered.reverse();
  const steps: { sequences: number[]; atomic: boolean; effects: Effect[] }[] = [];
  for (const item of ordered) {
    const effects = kind === "ROLLBACK" ? reverseEffects(item.effects) : item.effects;
    const atomic = isAtomic(item.target_kind);
    const last = steps.at(-1);
    if (atomic && last?.atomic === true) {
      last.sequences.push(item.sequence);
      last.effects.push(...effects);
    } else {
      steps.push({ sequences: [item.sequence], atomic, effects: [...effects] });
    }
  }
  return steps;
}

export type Next =
  | { readonly kind: "begin"; readonly step: Step }
  | { readonly kind: "carry_out"; readonly step: Step }
  | { readonly kind: "change"; readonly step: Step }
  | { readonly kind: "compensate"; readonly step: Step }
  | { readonly kind: "finish"; readonly outcome: "succeeded" | "compensated" | "partial" };

export function nextStep(
  application: ApplicationRow,
  steps: readonly Step[],
  recorded: readonly ApplicationItemRow[],
): Next {
  const statuses = new Map(recorded.map((row) => [row.sequence, row.status]));
  return application.plan.phase === "forward" ? forward(steps, statuses) : backward(steps, statuses);
}

type Statuses = ReadonlyMap<number, ApplicationItemStatus>;

function forward(steps: readonly Step[], statuses: Statuses): Next {
  for (const step of steps) {
    if (step.sequences.every((sequence) => statuses.get(sequence) === "VERIFIED")) continue;
    if (step.atomic) return { kind: "change", step };
    return statuses.get(step.sequences[0] ?? 0) === "STARTED" ? { kind: "carry_out", step } : { kind: "begin", step };
  }
  return { kind: "finish", outcome: "succeeded" };
}

/** What happened, or may have, and is not undone yet. */
const toUndo: ReadonlySet<ApplicationItemStatus> = new Set(["VERIFIED", "STARTED", "COMPENSATING"]);
const settled: ReadonlySet<ApplicationItemStatus> = new Set(["COMPENSATED", "NOT_APPLIED"]);

function backward(steps: readonly Step[], statuses: Statuses): Next {
  for (const step of [...steps].reverse()) {
    if (step.sequences.some((sequence) => toUndo.has(statuses.get(sequence) ?? "NOT_APPLIED")))
      return { kind: "compensate", step };
  }
  const clean = [...statuses.values()].every((status) => settled.has(status));
  return { kind: "finish", outcome: clean ? "compensated" : "partial" };
}

/** Where the targets of some effects stand. Several effects may touch one target: its first `before` and last `after` count. */
export type Standing = "before" | "after" | "mixed" | "other";

export function standingOf(effects: readonly Effect[], now: ReadonlyMap<string, StateImage>): Standing {
  let before = true;
  let after = true;
  let known = true;
  for (const { first, last, key } of chains(effects)) {
    const state = now.get(key);
    if (state === undefined) return "other";
    const isBefore = sameState(state, first);
    const isAfter = sameState(state, last);
    before &&= isBefore;
    after &&= isAfter;
    known &&= isBefore || isAfter;
  }
  if (after) return "after";
  if (before) return "before";
  return known ? "mixed" : "other";
}

/** The effects whose targets are not yet in their last state. */
export function pendingEffects(effects: readonly Effect[], now: ReadonlyMap<string, StateImage>): Effect[] {
  const done = new Set(
    chains(effects)
      .filter(({ key, last }) => now.get(key) !== undefined && sameState(now.get(key) as StateImage, last))
      .map(({ key }) => key),
  );
  return effects.filter((effect) => !done.has(effect.target.key));
}

function chains(effects: readonly Effect[]): { key: string; first: StateImage; last: StateImage }[] {
  const chain = new Map<string, { key: string; first: StateImage; last: StateImage }>();
  for (const effect of effects) {
    const known = chain.get(effect.target.key);
    chain.set(effect.target.key, { key: effect.target.key, first: known?.first ?? effect.before, last: effect.after });
  }
  return [...chain.values()];
}

/** The reason a run ended partly: the worst first. */
export function partialReason(recorded: readonly ApplicationItemRow[]): "unknown" | "diverged" | "compensation_failed" {
  const statuses = recorded.map((row) => row.status);
  if (statuses.includes("UNKNOWN")) return "unknown";
  if (statuses.includes("DIVERGED")) return "diverged";
  return "compensation_failed";
}

/** What becomes of an application and its change-set at the end of a run. */
export function endOf(of: {
  application: ApplicationRow;
  outcome: "succeeded" | "compensated" | "partial";
  recorded: readonly ApplicationItemRow[];
  changeSet: ChangeSetRow;
  nowMs: number;
  undoUntilMs: number;
}): {
  status: ApplicationRow["status"];
  action: ChangeSetAction;
  changes: Partial<ChangeSetRow>;
} {
  const applying = of.application.kind === "APPLY";
  if (of.outcome === "partial")
    return {
      status: "PARTIAL",
      action: "change_set.partially_applied",
      changes: { status: "PARTIALLY_APPLIED", status_reason: partialReason(of.recorded) },
    };
  if (of.outcome === "succeeded") {
    return applying
      ? {
          status: "SUCCEEDED",
          action: "change_set.applied",
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
          action: "change_set.rolled_back",
          changes: { status: "ROLLED_BACK", status_reason: null, undo_until_ms: null },
        };
  }
  if (!applying)
    return {
      status: of.recorded.length === 0 ? "REFUSED" : "COMPENSATED",
      action: "change_set.rollback_refused",
      changes: { status: "APPLIED", status_reason: null },
    };
  const exhausted = of.changeSet.attempts >= limits.applyAttemptsMax;
  return {
    status: "COMPENSATED",
    action: "change_set.apply_compensated",
    changes: exhausted
      ? { status: "REJECTED", status_reason: "apply_failed", approved_until_ms: null }
      : { status: "APPROVED", status_reason: "apply_failed" },
  };
}
