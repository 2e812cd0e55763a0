/** The handlers of all modules in one table: every operation once. */
import { type OperationId, operations } from "@countersign/contract";
import { describe, expect, expectTypeOf, test } from "vitest";
import { type Module, operationsOf } from "../src/module.js";
import type { Handlers } from "../src/tenancy/index.js";

const ids = Object.keys(operations) as OperationId[];
const every = Object.fromEntries(ids.map((id) => [id, () => id])) as unknown as Handlers;

describe("operations of modules", () => {
  test("are those of the contract, each done by the module that brings it", () => {
    const { listAudit, ...others } = every;
    const table = operationsOf([
      { name: "audit", operations: { listAudit } },
      { name: "jobs alone", jobs: [] },
      { name: "others", operations: others },
    ]);
    expect(Object.keys(table).sort()).toEqual([...ids].sort());
    expect(table.listAudit).toBe(listAudit);
  });

  test("nobody's is an error of the compiler, which names it", () => {
    type Lacking = readonly [{ readonly name: string; readonly operations: Omit<Handlers, "listAudit"> }];
    expectTypeOf<Parameters<typeof operationsOf<Lacking>>[0]>().toEqualTypeOf<{ readonly nobodyDoes: "listAudit" }>();
  });

  test("done by two modules is refused, with both names", () => {
    const { listAudit } = every;
    const two: readonly [Module & { operations: Handlers }, Module] = [
      { name: "all", operations: every },
      { name: "audit", operations: { listAudit } },
    ];
    expect(() => operationsOf(two)).toThrow("`listAudit` is done by `all` and by `audit`");
  });
});
