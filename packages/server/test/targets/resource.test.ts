import type { JsonValue } from "@countersign/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Ledger } from "../../src/ledger/index.js";
import { resourceVersions } from "../../src/targets/index.js";
import { exerciseTarget, planCase, tryPlan, type ExerciseCase } from "../support/exercise-target.js";
import { createDatabase, type TestDatabase } from "../support/postgres.js";
import { resourceNow, resourceWorld, testLedger, type ResourceWorld } from "../support/targets.js";

let database: TestDatabase;
let ledger: Ledger;
beforeAll(async () => {
  database = await createDatabase();
  ledger = await testLedger(database);
});
afterAll(() => ledger.close());

const target = (id: string, environment = "development", type = "CONFIG") => ({
  kind: "resource",
  type,
  id,
  environment,
});
const document = { title: "shop", list: ["a", "b", "c"], nested: { x: 1, y: { z: null } } };

async function put(
  world: ResourceWorld,
  id: string,
  after: JsonValue,
  environment = "development",
  type = "CONFIG",
): Promise<void> {
  const exists = (await resourceNow(world, environment, type, id))?.deleted === false;
  const planned = await planCase(world, {
    operation: exists ? "UPDATE" : "CREATE",
    target: target(id, environment, type),
    after,
  });
  expect(await world.apply(planned.effects, "")).toEqual({ kind: "done" });
}
const start = (world: ResourceWorld): Promise<void> => put(world, "shop", document);
const drift = (world: ResourceWorld): Promise<void> => put(world, "shop", { other: true });

const on = (operation: string, fields: Record<string, unknown>): ExerciseCase<ResourceWorld> =>
  ({
    name: `${operation} ${Object.keys(fields).join(", ")}`,
    prepare: start,
    item: { operation, target: target("shop"), ...fields },
    drift,
  }) as ExerciseCase<ResourceWorld>;

exerciseTarget<ResourceWorld>("resource", {
  open: () => resourceWorld(database, ledger),
  cases: [
    {
      name: "CREATE",
      prepare: () => Promise.resolve(),
      item: { operation: "CREATE", target: target("shop"), after: document },
      drift,
    },
    {
      name: "CREATE where one was deleted",
      prepare: async (world) => {
        await start(world);
        const planned = await planCase(world, { operation: "DELETE", target: target("shop") });
        await world.apply(planned.effects, "");
      },
      item: { operation: "CREATE", target: target("shop"), after: document },
      drift,
    },
    on("UPDATE", { after: { title: "new" } }),
    on("UPDATE", { patch: [{ op: "replace", path: "/title", value: "new" }] }),
    on("DELETE", {}),
    on("RENAME", { to: { id: "shop/2" } }),
    on("MOVE", { to: { environment: "staging" } }),
    on("MOVE", { pointer: "/nested", to: { pointer: "/inner" } }),
    on("CHANGE_PROPERTY", { pointer: "/nested/x", value: [1, 2] }),
    on("ADD_CHILD", { pointer: "/list", key: 0, value: { deep: true } }),
    on("REMOVE_CHILD", { pointer: "/nested/y" }),
    on("REORDER", { pointer: "/list", order: [2, 1, 0] }),
  ],
  refused: [{ operation: "RESIZE", target: target("shop") }],
});

describe("resource: what is refused, with its pointer", () => {
  let world: ResourceWorld;
  beforeAll(async () => {
    world = await resourceWorld(database, ledger);
    await start(world);
    await put(world, "taken", { x: 1 });
    await put(
      world,
      "system.config/schema/LIMITED",
      {
        type: "object",
        required: ["n"],
        properties: { n: { type: "integer", maximum: 9 } },
        additionalProperties: false,
      },
      "system",
      "SYSTEM_CONFIG",
    );
    await put(world, "one", { n: 1 }, "development", "LIMITED");
  });
  const limited = target("one", "development", "LIMITED");
  const schemaTarget = (type: string) => target(`system.config/schema/${type}`, "system", "SYSTEM_CONFIG");
  const rows: readonly [what: string, item: Record<string, unknown>, code: string, pointer: string][] = [
    [
      "nothing there",
      { operation: "UPDATE", target: target("none"), after: {} },
      "target_not_found",
      "/items/0/target/id",
    ],
    [
      "there already",
      { operation: "CREATE", target: target("taken"), after: {} },
      "target_exists",
      "/items/0/target/id",
    ],
    [
      "renamed onto another",
      { operation: "RENAME", target: target("shop"), to: { id: "taken" } },
      "target_exists",
      "/items/0/to",
    ],
    [
      "renamed to itself",
      { operation: "RENAME", target: target("shop"), to: { id: "shop" } },
      "no_effect",
      "/items/0/to",
    ],
    [
      "no change",
      {
        operation: "UPDATE",
        target: target("shop"),
        after: { nested: { y: { z: null }, x: 1.0 }, list: ["a", "b", "c"], title: "shop" },
      },
      "no_effect",
      "/items/0",
    ],
    [
      "no change by an order",
      { operation: "REORDER", target: target("shop"), pointer: "/list", order: [0, 1, 2] },
      "no_effect",
      "/items/0",
    ],
    [
      "a patch that fails",
      { operation: "UPDATE", target: target("shop"), patch: [{ op: "test", path: "/title", value: "other" }] },
      "patch_failed",
      "/items/0/patch/0",
    ],
    ["no field", { operation: "UPDATE", target: target("shop") }, "item_invalid", "/items/0"],
    [
      "both fields",
      { operation: "UPDATE", target: target("shop"), after: {}, patch: [{ op: "remove", path: "/title" }] },
      "item_invalid",
      "/items/0",
    ],
    ["a foreign field", { operation: "DELETE", target: target("shop"), mode: "644" }, "item_invalid", "/items/0/mode"],
    ["a scalar", { operation: "UPDATE", target: target("shop"), after: 1 }, "item_invalid", "/items/0/after"],
    [
      "null",
      { operation: "UPDATE", target: target("shop"), patch: [{ op: "remove", path: "" }] },
      "item_invalid",
      "/items/0",
    ],
    [
      "an unsafe integer",
      { operation: "UPDATE", target: target("shop"), after: { n: 2 ** 60 } },
      "json_number_unsafe",
      "/items/0/after/n",
    ],
    [
      "U+0000",
      { operation: "UPDATE", target: target("shop"), after: { n: "\u0000" } },
      "text_unstorable",
      "/items/0/after/n",
    ],
    [
      "too large",
      { operation: "UPDATE", target: target("shop"), after: { n: "x".repeat(2 * 1024 * 1024) } },
      "limit_exceeded",
      "/items/0/after",
    ],
    [
      "against its schema",
      { operation: "UPDATE", target: limited, after: { n: 10 } },
      "schema_violation",
      "/items/0/n",
    ],
    [
      "an unknown member",
      { operation: "CHANGE_PROPERTY", target: limited, pointer: "/m", value: 1 },
      "schema_violation",
      "/items/0",
    ],
    [
      "a foreign reference",
      { operation: "CREATE", target: schemaTarget("A"), after: { $ref: "https://example.com/x.json" } },
      "schema_unsupported",
      "/items/0/$ref",
    ],
    [
      "a file reference",
      { operation: "CREATE", target: schemaTarget("A"), after: { properties: { a: { $ref: "other.json#/a" } } } },
      "schema_unsupported",
      "/items/0/properties/a/$ref",
    ],
    [
      "a pattern that RE2 lacks",
      { operation: "CREATE", target: schemaTarget("A"), after: { pattern: "(?=a)b" } },
      "schema_unsupported",
      "/items/0/pattern",
    ],
    [
      "a back-reference",
      { operation: "CREATE", target: schemaTarget("A"), after: { patternProperties: { "(a)\\1": {} } } },
      "schema_unsupported",
      "/items/0/patternProperties/(a)\\1",
    ],
    [
      "a misspelt keyword",
      { operation: "CREATE", target: schemaTarget("A"), after: { requierd: ["a"] } },
      "schema_unsupported",
      "/items/0",
    ],
    [
      "another dialect",
      { operation: "CREATE", target: schemaTarget("A"), after: { $schema: "http://json-schema.org/draft-07/schema#" } },
      "schema_unsupported",
      "/items/0/$schema",
    ],
    ["no schema", { operation: "CREATE", target: schemaTarget("A"), after: [] }, "schema_unsupported", "/items/0"],
    [
      "a wrong schema",
      { operation: "CREATE", target: schemaTarget("A"), after: { type: "number", minimum: "one" } },
      "schema_unsupported",
      "/items/0",
    ],
    [
      "a part that is not there",
      { operation: "CREATE", target: schemaTarget("A"), after: { properties: { a: { $ref: "#/$defs/a" } } } },
      "schema_unsupported",
      "/items/0",
    ],
    [
      "a schema of configuration",
      { operation: "CREATE", target: schemaTarget("SYSTEM_CONFIG"), after: {} },
      "schema_unsupported",
      "/items/0/target/id",
    ],
  ];
  it.each(rows)("%s", async (_what, item, code, pointer) => {
    expect(await tryPlan(world, item)).toMatchObject([{ code, pointer }]);
  });

  it("references that multiply", async () => {
    const $defs = Object.fromEntries(
      Array.from({ length: 40 }, (_, i) => [
        `d${i}`,
        { allOf: [{ $ref: `#/$defs/d${i + 1}` }, { $ref: `#/$defs/d${i + 1}` }] },
      ]),
    );
    const after = { $ref: "#/$defs/d0", $defs: { ...$defs, d40: {} } };
    expect(await tryPlan(world, { operation: "CREATE", target: schemaTarget("B"), after })).toMatchObject([
      { code: "schema_unsupported" },
    ]);
  });

  it("a schema that refers to itself at the same place is refused when it is used", async () => {
    await put(world, "system.config/schema/LOOP", { allOf: [{ $ref: "#" }] }, "system", "SYSTEM_CONFIG");
    expect(
      await tryPlan(world, { operation: "CREATE", target: target("x", "development", "LOOP"), after: {} }),
    ).toMatchObject([{ code: "schema_unsupported" }]);
  });

  it("a chain of references as long as a schema can be", async () => {
    const $defs = Object.fromEntries(Array.from({ length: 4_000 }, (_, i) => [`d${i}`, { $ref: `#/$defs/d${i + 1}` }]));
    const after = { $ref: "#/$defs/d0", $defs: { ...$defs, d4000: {} } };
    const outcome = await tryPlan(world, { operation: "CREATE", target: schemaTarget("CHAIN"), after });
    if ("length" in outcome) expect(outcome).toMatchObject([{ code: "schema_unsupported" }]);
  });

  it("a schema may refer to itself further down, and to its parts by pointer and anchor", async () => {
    const schema = {
      $id: "https://example.com/tree",
      type: "object",
      properties: { n: { $ref: "#/$defs/n" }, m: { $ref: "#small" }, child: { $ref: "#" } },
      $defs: { n: { type: "integer" }, m: { $anchor: "small", maximum: 3 } },
    };
    await put(world, "system.config/schema/TREE", schema, "system", "SYSTEM_CONFIG");
    const plan = (after: JsonValue) =>
      tryPlan(world, { operation: "CREATE", target: target("t", "development", "TREE"), after });
    expect(await plan({ n: 1, child: { m: 3, child: { n: 2 } } })).toMatchObject({ reversibility: "exact" });
    expect(await plan({ n: 1, child: { m: 4, child: { n: "x" } } })).toMatchObject([
      { code: "schema_violation", pointer: "/items/0/child/m" },
      { code: "schema_violation", pointer: "/items/0/child/child/n" },
    ]);
    expect(await plan({ child: { m: 4 }, filler: "x".repeat(300_000) })).toMatchObject([
      { code: "schema_violation", pointer: "/items/0/child/m" },
    ]);
  });

  it("a pattern made to be slow is not", async () => {
    await put(
      world,
      "system.config/schema/SLOW",
      {
        properties: { t: { pattern: "^(a+)+$", type: "string" }, v: { pattern: "^b$" }, u: { uniqueItems: true } },
        "x-note": "kept",
      },
      "system",
      "SYSTEM_CONFIG",
    );
    const slow = target("s", "development", "SLOW");
    expect(
      await tryPlan(world, { operation: "CREATE", target: slow, after: { t: `${"a".repeat(2_000)}!` } }),
    ).toMatchObject([{ code: "schema_violation" }]);
    const items = Array.from({ length: 20_000 }, (_, i) => ({ i }));
    expect(await tryPlan(world, { operation: "CREATE", target: slow, after: { t: "aa", u: items } })).toMatchObject({
      reversibility: "exact",
    });
    expect(
      await tryPlan(world, { operation: "CREATE", target: slow, after: { t: "aa", u: [...items, { i: 7 }] } }),
    ).toMatchObject([{ code: "schema_violation", pointer: "/items/0/u" }]);
  });

  it("an item sees the schema of an item before it", async () => {
    const planned = await world.within(async (context) => {
      const { itemInput } = await import("@countersign/contract");
      const kind = world.kind;
      const checked = await kind.check(
        itemInput.parse({ operation: "CREATE", target: target("t", "development", "OVERLAID"), after: { bad: 1 } }),
        "",
        context,
      );
      if ("length" in checked) return checked;
      const schema = { additionalProperties: false };
      return kind.plan(
        checked,
        "",
        {
          state: (ref) =>
            ref.id.endsWith("OVERLAID")
              ? Promise.resolve({ image: { exists: true, hash: "overlaid", document: schema } })
              : kind.read(ref, context),
        },
        context,
      );
    });
    expect(planned).toMatchObject([{ code: "schema_violation" }]);
  });
});

describe("resource: what is recorded", () => {
  it("keeps every revision, and revives a deleted resource under its id", async () => {
    const world = await resourceWorld(database, ledger);
    await start(world);
    const first = await resourceNow(world, "development", "CONFIG", "shop");
    await put(world, "shop", { v: 2 });
    await world.apply((await planCase(world, { operation: "DELETE", target: target("shop") })).effects, "");
    const tombstone = await resourceNow(world, "development", "CONFIG", "shop");
    expect(tombstone).toMatchObject({ deleted: true, document: null, hash: null, revision: 3 });
    await put(world, "shop", { v: 4 });
    const row = await resourceNow(world, "development", "CONFIG", "shop");
    expect(row).toMatchObject({ id: first?.id, revision: 4, document: { v: 4 } });
    const versions = await world.within(({ snapshot }) => resourceVersions(snapshot, row?.id ?? "", { limit: 10 }));
    expect(versions.map(({ revision, document: state, deleted }) => [revision, state, deleted])).toEqual([
      [4, { v: 4 }, false],
      [3, null, true],
      [2, { v: 2 }, false],
      [1, document, false],
    ]);
    expect(await world.check()).toEqual([]);
  });

  it("joins several effects on one resource into one write, and a rename into two entries that name each other", async () => {
    const world = await resourceWorld(database, ledger);
    await start(world);
    const rename = await planCase(world, { operation: "RENAME", target: target("shop"), to: { id: "shop/2" } });
    expect(rename.effects.map(({ target: ref, before, after }) => [ref.id, before.exists, after.exists])).toEqual([
      ["shop/2", false, true],
      ["shop", true, false],
    ]);
    await world.apply(rename.effects, "");
    const page = await ledger.auditLog(world.tenant, { limit: 10 } as Parameters<Ledger["auditLog"]>[1]);
    expect(page.entries.map((entry) => entry.action)).toEqual([
      "resource.moved",
      "resource.created",
      "resource.created",
    ]);
    const net = await planCase(world, { operation: "UPDATE", target: target("shop/2"), after: { a: 1 } });
    const [effect] = net.effects;
    if (effect === undefined) throw new Error("no effect");
    expect(await world.apply([effect, { ...effect, before: effect.after, after: effect.before }, effect], "")).toEqual({
      kind: "done",
    });
    expect(await resourceNow(world, "development", "CONFIG", "shop/2")).toMatchObject({
      revision: 2,
      document: { a: 1 },
    });
    expect(await world.check()).toEqual([]);
  });

  it("moves the epochs of configuration", async () => {
    const world = await resourceWorld(database, ledger);
    const epochs = (): Promise<[string, number][]> =>
      world.within(async ({ snapshot }) => [...(await snapshot.epochs(["config", "policy", "routes", "members"]))]);
    await put(world, "system.config/grants", { x: 1 }, "system", "SYSTEM_CONFIG");
    expect(await epochs()).toEqual([
      ["config", 1],
      ["policy", 1],
      ["routes", 0],
      ["members", 0],
    ]);
    await put(world, "system.config/roles", { x: 1 }, "system", "SYSTEM_CONFIG");
    await put(world, "shop", document);
    expect(await epochs()).toEqual([
      ["config", 2],
      ["policy", 1],
      ["routes", 1],
      ["members", 1],
    ]);
    expect(await world.check()).toEqual([]);
  });

  it("flags what a reviewer must see", async () => {
    const world = await resourceWorld(database, ledger);
    await start(world);
    await put(world, "refers", { uses: ["shop"] });
    await put(world, "shop", document, "production");
    const flags = async (item: Record<string, unknown>): Promise<readonly string[]> =>
      (await planCase(world, item as ExerciseCase<ResourceWorld>["item"])).flags;
    expect(await flags({ operation: "DELETE", target: target("shop") })).toEqual(["destructive"]);
    expect(await flags({ operation: "UPDATE", target: target("shop"), after: {} })).toEqual(["destructive"]);
    expect(await flags({ operation: "UPDATE", target: target("shop"), after: { ...document, nested: {} } })).toEqual([
      "destructive",
    ]);
    expect(await flags({ operation: "RENAME", target: target("shop"), to: { id: "b" } })).toEqual(["moves_referenced"]);
    expect(await flags({ operation: "RENAME", target: target("refers"), to: { id: "b" } })).toEqual([]);
    expect(await flags({ operation: "REMOVE_CHILD", target: target("shop", "production"), pointer: "/title" })).toEqual(
      ["production"],
    );
    expect(await flags({ operation: "CREATE", target: target("security.keys"), after: {} })).toEqual([
      "protected_path",
    ]);
  });
});
