/**
 * The conformance suite of the target seam: every kind passes it with a case for every operation it supports, back and
 * there again. What is compared is the whole world the kind can reach, not only what it says about itself.
 */
import { itemInput, itemOperations, type ItemOperation, type Problem } from "@countersign/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  reverseEffects,
  sameState,
  type ActOutcome,
  type Effect,
  type PlannedItem,
  type TargetContext,
  type TargetKind,
} from "../../src/targets/index.js";

/** A world with one tenant in it, fresh for every use. */
export interface TargetWorld {
  readonly kind: TargetKind;
  /** Runs in one snapshot of the database. */
  within<T>(use: (context: TargetContext) => Promise<T>): Promise<T>;
  /** Everything the kind could change, exactly: equal texts are equal worlds. */
  observe(): Promise<string>;
  /** Carries effects out: through the door, or by `act`. */
  apply(effects: readonly Effect[], token: string): Promise<ActOutcome>;
  /** Holds the ledger against the database; empty when they agree. */
  check(): Promise<readonly unknown[]>;
  close(): Promise<void>;
}

export interface ExerciseCase<W extends TargetWorld> {
  readonly name: string;
  /** Brings a fresh world to the state the item is planned on. */
  prepare(world: W): Promise<void>;
  /** An item as it arrives. */
  readonly item: { readonly operation: ItemOperation } & Readonly<Record<string, unknown>>;
  /** Changes the target from outside, so that the plan's state before is no more. */
  drift(world: W): Promise<void>;
}

export interface Exercise<W extends TargetWorld> {
  open(): Promise<W>;
  readonly cases: readonly ExerciseCase<W>[];
  /** Operations the kind refuses, each with an item that would be well-formed elsewhere. */
  readonly refused: readonly ExerciseCase<W>["item"][];
  /** Not every operation: another suite has them all. */
  readonly partial?: boolean;
  /** Dies in the middle: resolves to how many points there were to die at, with the process killed before the n-th (compensating kinds). */
  dieAt?(
    world: W,
    step: { readonly effects: readonly Effect[]; readonly token: string },
    point: number,
  ): Promise<"died" | "finished">;
}

export async function planCase<W extends TargetWorld>(world: W, item: ExerciseCase<W>["item"]): Promise<PlannedItem> {
  const planned = await tryPlan(world, item);
  if ("length" in planned) throw new Error(`refused: ${JSON.stringify(planned)}`);
  return planned;
}

export async function tryPlan(
  world: TargetWorld,
  item: Readonly<Record<string, unknown>>,
): Promise<PlannedItem | readonly Problem[]> {
  const planned = await world.within(async (context) => {
    const checked = await world.kind.check(itemInput.parse(item), "/items/0", context);
    if ("length" in checked) return checked;
    return world.kind.plan(checked, "/items/0", { state: (ref) => world.kind.read(ref, context) }, context);
  });
  if ("length" in planned) return planned;
  await world.within(async ({ blobs }) => {
    for (const bytes of planned.blobs.values()) await blobs.put(bytes);
  });
  return planned;
}

async function expectStates(world: TargetWorld, effects: readonly Effect[], which: "before" | "after"): Promise<void> {
  for (const effect of effects) {
    const state = await world.within((context) => world.kind.read(effect.target, context));
    expect(sameState(state.image, effect[which]), `${effect.target.key} is ${which}`).toBe(true);
  }
}

const done: ActOutcome = { kind: "done" };

export function exerciseTarget<W extends TargetWorld>(name: string, exercise: Exercise<W>): void {
  describe.each(exercise.cases)(`${name}: $name`, (given) => {
    let world: W;
    let planned: PlannedItem;
    let start: string;
    let after: string;

    beforeAll(async () => {
      world = await exercise.open();
      await given.prepare(world);
      start = await world.observe();
      planned = await planCase(world, given.item);
    });
    afterAll(async () => {
      expect(await world.check()).toEqual([]);
      await world.close();
    });

    it("is planned without changing anything, and the same again", async () => {
      expect(await world.observe()).toBe(start);
      expect(planned.effects.length).toBeGreaterThan(0);
      await expectStates(world, planned.effects, "before");
      expect(planned.effects.every(({ before, after: next }) => !sameState(before, next))).toBe(true);
      const again = await planCase(world, given.item);
      expect({ ...again, blobs: [...again.blobs.keys()] }).toEqual({ ...planned, blobs: [...planned.blobs.keys()] });
    });

    it("is applied, read back, and rolled back to exactly what was; and again", async () => {
      for (const round of [1, 2]) {
        expect(await world.apply(planned.effects, `apply ${round}`)).toEqual(done);
        await expectStates(world, planned.effects, "after");
        after = await world.observe();
        expect(after).not.toBe(start);
        expect(await world.apply(reverseEffects(planned.effects), `roll back ${round}`)).toEqual(done);
        await expectStates(world, planned.effects, "before");
        expect(await world.observe()).toBe(start);
      }
    });

    it("applied twice has one effect", async () => {
      expect(await world.apply(planned.effects, "twice")).toEqual(done);
      const second = await world.apply(planned.effects, "twice");
      if (world.kind.atomic) expect(second).toMatchObject({ kind: "refused", problem: { code: "drift" } });
      else expect(second).toEqual(done);
      expect(await world.observe()).toBe(after);
      expect(await world.apply(reverseEffects(planned.effects), "twice back")).toEqual(done);
      expect(await world.observe()).toBe(start);
    });

    it("applied by many at once has one effect", async () => {
      const outcomes = await Promise.all(Array.from({ length: 12 }, () => world.apply(planned.effects, "many")));
      const winners = outcomes.filter((outcome) => outcome.kind === "done");
      if (world.kind.atomic) expect(winners).toHaveLength(1);
      else expect(winners).toHaveLength(12);
      expect(
        outcomes.every(
          (outcome) =>
            outcome.kind === "done" || outcome.problem.code === "drift" || outcome.problem.code === "conflict",
        ),
      ).toBe(true);
      expect(await world.observe()).toBe(after);
      expect(await world.apply(reverseEffects(planned.effects), "many back")).toEqual(done);
      expect(await world.observe()).toBe(start);
    });

    it("is refused without effect when the target has drifted", async () => {
      const other = await exercise.open();
      await given.prepare(other);
      const stale = await planCase(other, given.item);
      await given.drift(other);
      const drifted = await other.observe();
      expect(await other.apply(stale.effects, "drifted")).toMatchObject({
        kind: "refused",
        problem: { code: "drift" },
      });
      expect(await other.observe()).toBe(drifted);
      expect(await other.check()).toEqual([]);
      await other.close();
    });

    const { dieAt } = exercise;
    if (dieAt === undefined) return;
    it.each([
      ["apply", (effects: readonly Effect[]) => effects],
      ["roll back", reverseEffects],
    ])(
      "killed at any point of %s, it ends as if nothing had happened",
      async (direction, effectsOf) => {
        const effects = effectsOf(planned.effects);
        const [from, to] = direction === "apply" ? [start, after] : [after, start];
        if (direction === "roll back") expect(await world.apply(planned.effects, "before the kills")).toEqual(done);
        let points = 0;
        for (let point = 1; ; point++) {
          const token = `${direction} killed at ${point}`;
          const ended = await dieAt(world, { effects, token }, point);
          // No file may ever be seen half written, not even by who reads in the moment after.
          for (const effect of effects) {
            const { image } = await world.within((context) => world.kind.read(effect.target, context));
            expect(
              sameState(image, effect.before) || sameState(image, effect.after),
              `${effect.target.key} at ${point}`,
            ).toBe(true);
          }
          expect(await world.apply(effects, token)).toEqual(done);
          expect(await world.observe(), `after point ${point}`).toBe(to);
          expect(await world.apply(reverseEffects(effects), `${token}, undone`)).toEqual(done);
          expect(await world.observe(), `undone after point ${point}`).toBe(from);
          if (ended === "finished") break;
          points = point;
        }
        // Fewer would mean that the kills missed what it does.
        expect(points).toBeGreaterThanOrEqual(3);
        if (direction === "roll back")
          expect(await world.apply(reverseEffects(planned.effects), "after the kills")).toEqual(done);
      },
      300_000,
    );
  });

  if (exercise.partial === true) return;
  describe(`${name}: all operations`, () => {
    it("are exercised or refused", () => {
      const covered = [
        ...exercise.cases.map(({ item }) => item.operation),
        ...exercise.refused.map(({ operation }) => operation),
      ];
      expect([...new Set(covered)].sort()).toEqual([...itemOperations].sort());
    });
    it.each(exercise.refused)("$operation is refused", async (item) => {
      const world = await exercise.open();
      expect(await tryPlan(world, item)).toMatchObject([
        { code: "operation_unsupported", pointer: "/items/0/operation" },
      ]);
      await world.close();
    });
  });
}
