import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { statuses, type ItemInput } from "@countersign/contract";
import { due } from "../../src/change-sets/expiry.rules.js";
import { reversibilityOf, transition } from "../../src/change-sets/lifecycle.rules.js";
import { readCursor, writeCursor } from "../../src/change-sets/lists.rules.js";
import { changeSetNumber, dayPrefix, findDrift, orderItems } from "../../src/change-sets/proposing/plan.rules.js";
import type { ApplicationItemRow, ApplicationRow, ChangeSetRow, ItemRow } from "../../src/change-sets/rows.js";
import {
  nextStep,
  partialReason,
  pendingEffects,
  standingOf,
  stepsOf,
} from "../../src/change-sets/running/run.rules.js";
import type { Effect, StateImage } from "../../src/targets/index.js";

const item = (dependsOn?: number[]): ItemInput => ({
  operation: "UPDATE",
  target: { kind: "resource", type: "CONFIG", id: "a", environment: "development" },
  ...(dependsOn === undefined ? {} : { dependsOn }),
});

describe("order of items", () => {
  const check = (name: string, dependsOn: (number[] | undefined)[], expected: number[] | string): void =>
    it(name, () => {
      const order = orderItems(dependsOn.map((needs) => item(needs)));
      const shown = order.map((one) => (typeof one === "number" ? one + 1 : one));
      if (typeof expected === "string") expect(shown[0]).toMatchObject({ code: expected });
      else expect(shown).toEqual(expected);
    });
  check("keeps the proposer's order", [undefined, undefined, undefined], [1, 2, 3]);
  check("puts what is needed first", [[2], undefined, [1]], [2, 1, 3]);
  check("keeps independent items in place", [undefined, [3], undefined], [1, 3, 2]);
  check("refuses a cycle of two", [[2], [1]], "dependency_cycle");
  check("refuses a cycle behind a free item", [undefined, [3], [2]], "dependency_cycle");
  check("refuses an item that needs itself", [[1]], "dependency_cycle");
  check("refuses a number that is no item", [[5]], "item_invalid");

  it("places every item once and after what it needs (property)", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(fc.integer({ min: 1, max: 12 }), { maxLength: 3 }), { minLength: 12, maxLength: 12 }),
        (needs) => {
          const order = orderItems(needs.map((one) => item(one)));
          if (order.some((one) => typeof one !== "number")) return;
          const places = order as number[];
          expect([...places].sort((a, b) => a - b)).toEqual(needs.map((_, index) => index));
          needs.forEach((one, index) =>
            one.forEach((needed) => expect(places.indexOf(needed - 1)).toBeLessThan(places.indexOf(index))),
          );
        },
      ),
    );
  });
});

const state = (hash: string | null): StateImage => ({ exists: hash !== null, hash });
const effect = (
  key: string,
  before: string | null,
  after: string | null,
  kind: "resource" | "file" = "file",
): Effect => ({
  target: { kind, type: "FILE", id: key, environment: "development", key },
  before: state(before),
  after: state(after),
});
const now = (states: Record<string, string | null>): Map<string, StateImage> =>
  new Map(Object.entries(states).map(([key, hash]) => [key, state(hash)]));

describe("drift", () => {
  const stored = [
    { sequence: 1, position: 1, effects: [effect("a", "1", "2")] },
    { sequence: 2, position: 2, effects: [effect("a", "2", "3"), effect("b", null, "9")] },
  ];
  const check = (name: string, states: Record<string, string | null>, expected: string[]): void =>
    it(name, () => expect(findDrift(stored, now(states)).map((one) => one.target)).toEqual(expected));
  check("none when every target is where it was first touched", { a: "1", b: null }, []);
  check("a changed target", { a: "x", b: null }, ["a"]);
  check("a target that appeared", { a: "1", b: "9" }, ["b"]);
  check("a target that vanished", { a: null, b: null }, ["a"]);
  check("both", { a: "2", b: "0" }, ["a", "b"]);
});

describe("where targets stand", () => {
  const effects = [effect("a", "1", "2"), effect("a", "2", "3"), effect("b", "5", "6")];
  const check = (states: Record<string, string | null>, expected: string, pending: number): void =>
    it(`${JSON.stringify(states)} is ${expected}`, () => {
      expect(standingOf(effects, now(states))).toBe(expected);
      expect(pendingEffects(effects, now(states))).toHaveLength(pending);
    });
  check({ a: "1", b: "5" }, "before", 3);
  check({ a: "3", b: "6" }, "after", 0);
  check({ a: "3", b: "5" }, "mixed", 1);
  check({ a: "1", b: "6" }, "mixed", 2);
  check({ a: "2", b: "5" }, "other", 3);
  check({ a: "3" }, "other", 1);
});

const itemRow = (sequence: number, position: number, kind: "resource" | "file"): ItemRow =>
  ({
    id: String(sequence),
    version: 1,
    sequence,
    position,
    target_kind: kind,
    effects: [effect(`k${sequence}`, "0", "1", kind)],
  }) as unknown as ItemRow;
const isAtomic = (kind: string): boolean => kind === "resource";

describe("steps of a run", () => {
  const rows = [itemRow(1, 2, "resource"), itemRow(2, 1, "resource"), itemRow(3, 3, "file"), itemRow(4, 4, "resource")];
  it("joins atomic items that follow each other, in the order of execution", () =>
    expect(stepsOf("APPLY", rows, isAtomic).map((step) => step.sequences)).toEqual([[2, 1], [3], [4]]));
  it("joins no items of two kinds, though both are atomic", () => {
    const scene = { ...itemRow(2, 2, "resource"), target_kind: "scene" as ItemRow["target_kind"] };
    const steps = stepsOf("APPLY", [itemRow(1, 1, "resource"), scene, itemRow(3, 3, "resource")], () => true);
    expect(steps.map((step) => [step.kind, step.sequences])).toEqual([
      ["resource", [1]],
      ["scene", [2]],
      ["resource", [3]],
    ]);
  });
  it("goes backwards for a rollback, with inverse effects", () => {
    const steps = stepsOf("ROLLBACK", rows, isAtomic);
    expect(steps.map((step) => step.sequences)).toEqual([[4], [3], [1, 2]]);
    expect(steps[0]?.effects[0]).toMatchObject({ before: { hash: "1" }, after: { hash: "0" } });
  });
});

describe("the next step of a run", () => {
  const steps = stepsOf("APPLY", [itemRow(1, 1, "file"), itemRow(2, 2, "resource"), itemRow(3, 3, "file")], isAtomic);
  const application = (phase: "forward" | "compensate"): ApplicationRow =>
    ({ plan: { phase, resumed: false, actor: {} } }) as unknown as ApplicationRow;
  const recorded = (statuses: Record<number, string>): ApplicationItemRow[] =>
    Object.entries(statuses).map(
      ([sequence, status]) => ({ sequence: Number(sequence), status }) as unknown as ApplicationItemRow,
    );
  const check = (phase: "forward" | "compensate", statuses: Record<number, string>, expected: string): void =>
    it(`${phase} ${JSON.stringify(statuses)} → ${expected}`, () => {
      const next = nextStep(application(phase), steps, recorded(statuses));
      expect(next.kind === "finish" ? `finish ${next.outcome}` : `${next.kind} ${next.step.sequences.join(",")}`).toBe(
        expected,
      );
    });
  check("forward", {}, "begin 1");
  check("forward", { 1: "STARTED" }, "carry_out 1");
  check("forward", { 1: "VERIFIED" }, "change 2");
  check("forward", { 1: "VERIFIED", 2: "VERIFIED" }, "begin 3");
  check("forward", { 1: "VERIFIED", 2: "VERIFIED", 3: "VERIFIED" }, "finish succeeded");
  check("compensate", { 1: "VERIFIED", 2: "VERIFIED", 3: "NOT_APPLIED" }, "compensate 2");
  check("compensate", { 1: "VERIFIED", 2: "COMPENSATED", 3: "NOT_APPLIED" }, "compensate 1");
  check("compensate", { 1: "COMPENSATED", 2: "COMPENSATED", 3: "NOT_APPLIED" }, "finish compensated");
  check("compensate", { 1: "COMPENSATED", 2: "COMPENSATED", 3: "COMPENSATING" }, "compensate 3");
  check("compensate", { 1: "COMPENSATED", 2: "COMPENSATED", 3: "DIVERGED" }, "finish partial");
  check("compensate", { 1: "NOT_APPLIED" }, "finish compensated");
  check("compensate", {}, "finish compensated");

  it("names the worst reason", () => {
    expect(partialReason(recorded({ 1: "DIVERGED", 2: "UNKNOWN" }))).toBe("unknown");
    expect(partialReason(recorded({ 1: "DIVERGED", 2: "COMPENSATED" }))).toBe("diverged");
  });
});

describe("numbers, cursors, deadlines", () => {
  it("are made of the UTC day", () => expect(dayPrefix(Date.UTC(2026, 10, 20, 23, 59, 59))).toBe("CS-2026-1120-"));
  it("have three digits at least", () =>
    expect([1, 42, 1234].map((n) => changeSetNumber("CS-2026-1120-", n))).toEqual([
      "CS-2026-1120-001",
      "CS-2026-1120-042",
      "CS-2026-1120-1234",
    ]));
  it("a cursor comes back as it was, in its own order only", () => {
    const cursor = { value: 5, id: "01936b0e-7a3c-7def-8123-456789abcdef" };
    expect(readCursor("created", writeCursor("created", cursor))).toEqual(cursor);
    expect(readCursor("risk", writeCursor("created", cursor))).toBeUndefined();
  });
  it.each([
    "",
    "x",
    "bnVsbA",
    Buffer.from('["created",1.5,"x"]').toString("base64url"),
    Buffer.from('["created",1,"\' or 1=1"]').toString("base64url"),
  ])("refuses the cursor `%s`", (text) => expect(readCursor("created", text)).toBeUndefined());
  const row = (status: string, more: Partial<ChangeSetRow> = {}): ChangeSetRow =>
    ({
      number: "CS-2026-1120-001",
      status,
      status_reason: null,
      deadline_at_ms: null,
      approved_until_ms: null,
      ...more,
    }) as ChangeSetRow;
  it("a deadline is due after it, not at it", () => {
    expect(due(row("PENDING_APPROVAL", { deadline_at_ms: 10 }), 10)).toBeUndefined();
    expect(due(row("PENDING_APPROVAL", { deadline_at_ms: 10 }), 11)).toBe("deadline");
    expect(due(row("APPROVED", { approved_until_ms: 10 }), 11)).toBe("approval");
    expect(due(row("APPLIED", { deadline_at_ms: 10, approved_until_ms: 10 }), 11)).toBeUndefined();
  });
  it("an illegal command names the legal ones", () =>
    expect(transition(row("APPLIED"), "submit")).toMatchObject({
      code: "illegal_transition",
      details: { legal: ["roll_back", "archive"] },
    }));
  it("every status answers every command, legal or not", () => {
    for (const status of statuses) expect(() => transition(row(status), "apply")).not.toThrow();
  });
  it("one irreversible item makes the set so", () => {
    expect(
      reversibilityOf([
        { reversibility: "exact" },
        { reversibility: "irreversible" },
        { reversibility: "compensating" },
      ]),
    ).toBe("irreversible");
    expect(reversibilityOf([{ reversibility: "exact" }])).toBe("exact");
  });
});
