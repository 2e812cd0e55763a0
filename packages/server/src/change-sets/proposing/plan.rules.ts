/**
 * The pure part of planning: the order of items, what a revision's digest covers, what a set of items amounts to.
 * INVARIANT: what people sign covers every effect: target, state before, state after, and how it can be undone.
 */
import { type Problem, type ItemInput } from "@countersign/contract";
import { revisionDigestOfItems, type JsonObject } from "@countersign/proof";
import type { PlannedItem, StateImage } from "../../targets/index.js";

/** Positions of items (indices from 0) so that each comes after those it depends on, else in the proposer's order. */
export function orderItems(items: readonly ItemInput[]): number[] | readonly Problem[] {
  const problems: Problem[] = [];
  items.forEach((item, index) => {
    for (const [at, needed] of (item.dependsOn ?? []).entries()) {
      const pointer = `/items/${index}/dependsOn/${at}`;
      if (needed > items.length) {
        problems.push({
          code: "item_invalid",
          pointer,
          message: `there is no item \`${needed}\`; items are numbered from 1 to ${items.length}`,
        });
      } else if (needed === index + 1) {
        problems.push({ code: "dependency_cycle", pointer, message: `item \`${needed}\` depends on itself` });
      }
    }
  });
  if (problems.length > 0) return problems;

  const order: number[] = [];
  const placed = new Set<number>();
  while (order.length < items.length) {
    const next = items.findIndex(
      (item, index) => !placed.has(index) && (item.dependsOn ?? []).every((needed) => placed.has(needed - 1)),
    );
    if (next === -1) {
      const stuck = items.map((_, index) => index + 1).filter((sequence) => !placed.has(sequence - 1));
      return [
        {
          code: "dependency_cycle",
          pointer: `/items/${(stuck[0] ?? 1) - 1}/dependsOn`,
          message: `items \`${stuck.join("`, `")}\` wait for each other; remove one of their \`dependsOn\``,
        },
      ];
    }
    placed.add(next);
    order.push(next);
  }
  return order;
}

/** One planned item with its place in the proposal (sequence) and in the execution (position), both from 1. */
export interface OrderedPlan {
  readonly sequence: number;
  readonly position: number;
  readonly input: ItemInput;
  readonly planned: PlannedItem;
}

export function digestRevision(nonce: string, plans: readonly OrderedPlan[]): string {
  return revisionDigestOfItems(
    nonce,
    plans.map(({ sequence, position, input, planned }) => ({
      sequence,
      position,
      input: input as unknown as JsonObject,
      effects: planned.effects,
      reversibility: planned.reversibility,
    })),
  );
}

export interface Drift {
  readonly target: string;
  readonly sequence: number;
  readonly expected: string | null;
  readonly actual: string | null;
}

/** Where targets are not as the stored plan expects them: the first state each target was planned from, against now. */
export function findDrift(
  stored: readonly { readonly sequence: number; readonly position: number; readonly effects: PlannedItem["effects"] }[],
  now: ReadonlyMap<string, StateImage>,
): Drift[] {
  const seen = new Set<string>();
  const drift: Drift[] = [];
  for (const item of [...stored].sort((a, b) => a.position - b.position)) {
    for (const effect of item.effects) {
      if (seen.has(effect.target.key)) continue;
      seen.add(effect.target.key);
      const actual = now.get(effect.target.key);
      if (actual !== undefined && actual.hash === effect.before.hash && actual.exists === effect.before.exists)
        continue;
      drift.push({
        target: effect.target.id,
        sequence: item.sequence,
        expected: effect.before.hash,
        actual: actual?.hash ?? null,
      });
    }
  }
  return drift;
}

/** `CS-2026-1120-001`. */
export function changeSetNumber(day: string, running: number): string {
  return `${day}${String(running).padStart(3, "0")}`;
}

/** `CS-2026-1120-` of the UTC day. */
export function dayPrefix(nowMs: number): string {
  const iso = new Date(nowMs).toISOString();
  return `CS-${iso.slice(0, 4)}-${iso.slice(5, 7)}${iso.slice(8, 10)}-`;
}
