import {
  categories,
  type Category,
  configurationDefaults,
  effectFlags,
  isProduction,
  itemOperations,
  type RiskLevel,
  riskLevels,
  type RiskProfile,
} from "@countersign/contract";
import { canonicalize } from "@countersign/proof";
import fc from "fast-check";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import {
  assessRisk,
  deriveCategory,
  noHistory,
  riskHigher,
  type AgentHistory,
  type RiskInput,
  type RiskItem,
} from "../../src/governance/index.js";
import { configuration, item, target } from "../support/governance.js";

const profile: RiskProfile = configuration().risk;
const proven: AgentHistory = { ...noHistory, appliedEver: 1 };
const veteran: AgentHistory = { appliedEver: 500, applied: 50, rejected: 0, rolledBack: 0, failed: 0 };

function input(items: readonly RiskItem[], more: Partial<RiskInput> = {}): RiskInput {
  const derived = deriveCategory(items, configuration().categories);
  if ("code" in derived) throw new Error(derived.message);
  return {
    author: { type: "agent", agentType: "UI_VELOCITY" },
    category: derived.category,
    itemCategories: derived.items,
    items,
    ...more,
  };
}

function times(n: number, one: RiskItem): RiskItem[] {
  return Array.from({ length: n }, () => one);
}

const layout = item("UPDATE", "resource:development:LAYOUT:home");

describe("worked examples", () => {
  // factors: operation, target, agent, scope, quantity
  const rows: [string, RiskInput, AgentHistory, number[], number, RiskLevel, string[], boolean][] = [
    ["one layout update by a known UI agent", input([layout]), proven, [10, 0, 15, 15, 5], 8, "LOW", [], true],
    ["the same by a new agent", input([layout]), noHistory, [10, 0, 15, 15, 5], 8, "MEDIUM", ["new_agent"], false],
    ["two updates are too many for auto", input(times(2, layout)), proven, [20, 0, 15, 15, 5], 11, "LOW", [], false],
    [
      "three moves of children",
      input(times(3, item("REORDER", "resource:development:LAYOUT:home"))),
      proven,
      [15, 0, 15, 15, 5],
      9,
      "LOW",
      [],
      true,
    ],
    [
      "a configuration by a backend agent",
      input([item("UPDATE", "resource:development:CONFIG:shop")], {
        author: { type: "agent", agentType: "BACKEND_SERVICES" },
      }),
      proven,
      [10, 0, 35, 25, 5],
      12,
      "LOW",
      [],
      false,
    ],
    [
      "in production",
      input([item("UPDATE", "resource:production:LAYOUT:home")]),
      proven,
      [10, 0, 15, 15, 5],
      8,
      "MEDIUM",
      ["production"],
      false,
    ],
    [
      "a DELETE of a layout",
      input([item("DELETE", "resource:development:LAYOUT:home")]),
      proven,
      [30, 0, 15, 15, 5],
      14,
      "LOW",
      [],
      false,
    ],
    [
      "emptying a document",
      input([item("UPDATE", "resource:development:LAYOUT:home", ["destructive"])]),
      proven,
      [30, 0, 15, 15, 5],
      14,
      "MEDIUM",
      ["destructive"],
      false,
    ],
    [
      "irreversible",
      input([item("UPDATE", "resource:development:LAYOUT:home", [], "irreversible")]),
      proven,
      [10, 0, 15, 15, 5],
      8,
      "HIGH",
      ["irreversible"],
      false,
    ],
    [
      "code-bearing",
      input([item("UPDATE", "file:shop:package.json", ["code_bearing"])]),
      proven,
      [10, 0, 15, 25, 5],
      9,
      "HIGH",
      ["code_bearing"],
      false,
    ],
    [
      "a referenced thing renamed",
      input([item("RENAME", "resource:development:LAYOUT:home", ["moves_referenced"])]),
      proven,
      [5, 0, 15, 15, 5],
      6,
      "MEDIUM",
      ["moves_referenced"],
      false,
    ],
    [
      "a security document",
      input([item("UPDATE", "resource:development:SECURITY:tls")]),
      proven,
      [10, 40, 15, 80, 5],
      32,
      "HIGH",
      ["protected_target", "security"],
      false,
    ],
    [
      "deleting it",
      input([item("DELETE", "resource:development:SECURITY:tls")]),
      proven,
      [30, 40, 15, 80, 5],
      38,
      "HIGH",
      ["delete_sensitive", "protected_target", "security"],
      false,
    ],
    [
      "configuration of the tenant, by a person",
      input([item("UPDATE", "resource:system:SYSTEM_CONFIG:system.config/risk")], { author: { type: "human" } }),
      noHistory,
      [10, 75, 30, 80, 5],
      46,
      "HIGH",
      ["protected_target", "security"],
      false,
    ],
    [
      "a workflow file",
      input([item("UPDATE", "file:shop:.github/workflows/ci.yml", ["code_bearing"])]),
      proven,
      [10, 0, 15, 60, 5],
      15,
      "HIGH",
      ["code_bearing", "infrastructure"],
      false,
    ],
    [
      "twenty deletions in a protected namespace",
      input(times(20, item("DELETE", "resource:development:SYSTEM:system.core"))),
      proven,
      [100, 100, 15, 60, 25],
      78,
      "CRITICAL",
      ["delete_sensitive", "protected_target", "infrastructure"],
      false,
    ],
    ["51 updates", input(times(51, layout)), proven, [100, 0, 15, 15, 50], 37, "MEDIUM", [], false],
    [
      "raised to SECURITY by its proposer",
      input([layout], { category: "SECURITY" }),
      proven,
      [10, 0, 15, 80, 5],
      18,
      "HIGH",
      ["security"],
      false,
    ],
  ];
  test.each(rows)("%s", (_, given, history, factors, score, level, floors, auto) => {
    const assessed = assessRisk(given, history, profile);
    expect({
      factors: assessed.factors.map((factor) => factor.value),
      score: assessed.score,
      level: assessed.level,
      floors: assessed.floors.map((floor) => floor.floor),
      auto: assessed.auto,
    }).toEqual({ factors, score, level, floors, auto });
    for (const factor of assessed.factors) expect(factor.why).not.toBe("");
  });
});

test("the default profile is the one the documentation shows", () => {
  const text = readFileSync(new URL("../../../../docs/risk.md", import.meta.url), "utf8");
  const shown = /```json\n([^]*?)```/.exec(text)?.[1] ?? "";
  expect(JSON.parse(shown)).toEqual(configurationDefaults.risk);
});

test("a floor keeps from auto, even one that raises nothing", () => {
  const lowered: RiskProfile = { ...profile, floors: { ...profile.floors, new_agent: "LOW" } };
  expect(assessRisk(input([layout]), noHistory, lowered)).toMatchObject({ level: "LOW", auto: false });
});

describe("the agent's record moves its factor within −10…+30", () => {
  test.each([
    ["no record", { ...proven }, 15],
    ["four applied", { ...proven, applied: 4 }, 15],
    ["five applied", { ...proven, applied: 5 }, 14],
    ["fifty applied", veteran, 5],
    ["one rolled back", { ...proven, rolledBack: 1 }, 20],
    ["one rejected", { ...proven, rejected: 1 }, 18],
    ["one failed", { ...proven, failed: 1 }, 20],
    ["ten applied, one of each", { appliedEver: 12, applied: 10, rejected: 1, rolledBack: 1, failed: 1 }, 26],
    ["fifty failed", { ...proven, failed: 50 }, 45],
  ] as const)("%s: %s", (_, history, value) => {
    const factor = assessRisk(input([layout]), history, profile).factors.find((one) => one.factor === "agent");
    expect(factor?.value).toBe(value);
  });

  test.each([
    ["UI_VELOCITY", 15],
    ["DESIGN_SYSTEM", 20],
    ["BACKEND_SERVICES", 35],
    ["INTEGRATION", 25],
    ["GENERAL", 30],
    [undefined, 30],
  ])("type %s: %s", (agentType, value) => {
    const author = agentType === undefined ? ({ type: "agent" } as const) : ({ type: "agent", agentType } as const);
    expect(assessRisk(input([layout], { author }), proven, profile).factors[2]).toMatchObject({ value });
  });

  test("people are no new agents", () => {
    expect(assessRisk(input([layout], { author: { type: "human" } }), noHistory, profile).floors).toEqual([]);
  });
});

test.each([
  [5, 5],
  [6, 15],
  [10, 15],
  [11, 25],
  [20, 25],
  [21, 40],
  [50, 40],
  [51, 50],
  [200, 50],
])("%s items: quantity %s", (n, value) => {
  expect(assessRisk(input(times(n, layout)), proven, profile).factors[4]).toMatchObject({ value });
});

test("recommendations say what would make it smaller", () => {
  const given = input(times(51, item("DELETE", "resource:development:SECURITY:x")));
  expect(assessRisk(given, proven, profile).recommendations.map((one) => one.code)).toEqual([
    "split",
    "security_review",
    "batch",
  ]);
  expect(assessRisk(input([layout]), proven, profile).recommendations).toEqual([]);
});

test.each([
  ["SYSTEM", true],
  ["SYSTEM_CONFIG", true],
  ["NETWORK_SECURITY", true],
  ["ACCESS_POLICY", true],
  ["DESIGN_SYSTEM", false],
  ["ECOSYSTEM", false],
  ["POLICYHOLDER", false],
])("type %s is sensitive: %s", (type, sensitive) => {
  expect(assessRisk(input([item("UPDATE", `resource:development:${type}:x`)]), proven, profile).factors[1]?.value).toBe(
    sensitive ? 40 : 0,
  );
});

test.each([
  ["production", true],
  ["prod", true],
  ["eu.production", true],
  ["prod-2", true],
  ["preproduction", false],
  ["development", false],
  ["product", false],
])("environment %s is production: %s", (name, expected) => expect(isProduction(name)).toBe(expected));

test.each([
  ["LOW", "LOW", false],
  ["MEDIUM", "LOW", true],
  ["LOW", "CRITICAL", false],
  ["CRITICAL", "HIGH", true],
] as const)("%s is higher than %s: %s", (now, approved, expected) => expect(riskHigher(now, approved)).toBe(expected));

describe("properties", () => {
  const targets = fc.constantFrom(
    "resource:development:LAYOUT:home",
    "resource:production:CONFIG:shop",
    "resource:staging:SECURITY:security.tls",
    "resource:system:SYSTEM_CONFIG:system.config/risk",
    "file:shop:admin.json",
    "file:shop:.github/workflows/ci.yml",
    "file:shop:docs/a.md",
  );
  const items: fc.Arbitrary<RiskItem> = fc.record({
    operation: fc.constantFrom(...itemOperations),
    targets: fc.array(
      targets.map((text) => target(text)),
      { minLength: 1, maxLength: 2 },
    ),
    flags: fc.uniqueArray(fc.constantFrom(...effectFlags), { maxLength: 3 }),
    reversibility: fc.constantFrom("exact", "compensating", "irreversible"),
  });
  const histories: fc.Arbitrary<AgentHistory> = fc.record({
    appliedEver: fc.nat(1000),
    applied: fc.nat(50),
    rejected: fc.nat(50),
    rolledBack: fc.nat(50),
    failed: fc.nat(50),
  });
  const percent = fc.nat(100);
  const level = fc.constantFrom(...riskLevels);
  /** Any profile the schema takes, built from the default. */
  const profiles: fc.Arbitrary<RiskProfile> = fc
    .record({
      weights: fc.tuple(percent, percent, percent, percent),
      op: fc.tuple(percent, percent, percent),
      sensitive: percent,
      protected: percent,
      scope: fc.array(percent, { minLength: 9, maxLength: 9 }),
      otherwise: percent,
      floor: level,
      quantity: fc.tuple(percent, percent),
    })
    .map((p) => {
      const [a, b, c, d] = [...p.weights].sort((x, y) => x - y) as [number, number, number, number];
      return {
        ...profile,
        weights: { operation: a, target: b - a, agent: c - b, scope: d - c, quantity: 100 - d },
        operation: { destructive: p.op[0], update: p.op[1], other: p.op[2] },
        target: { ...profile.target, sensitive: p.sensitive, protected: p.protected },
        scope: {
          categories: Object.fromEntries(categories.map((name, index) => [name, p.scope[index] ?? 0])) as Record<
            Category,
            number
          >,
          otherwise: p.otherwise,
        },
        quantity: {
          steps: [
            { upTo: 3, value: Math.min(...p.quantity) },
            { upTo: 6, value: Math.max(...p.quantity) },
          ],
          otherwise: p.otherwise,
        },
        floors: { ...profile.floors, new_agent: p.floor, production: p.floor },
      };
    });

  test("the score is an integer in 0…100, floors never lower, and the bytes are canonical", () => {
    fc.assert(
      fc.property(fc.array(items, { minLength: 1, maxLength: 60 }), histories, profiles, (list, history, any) => {
        const assessed = assessRisk(input(list), history, any);
        expect(Number.isInteger(assessed.score) && assessed.score >= 0 && assessed.score <= 100).toBe(true);
        expect(riskHigher(assessed.scoreLevel, assessed.level)).toBe(false);
        for (const floor of assessed.floors) expect(riskHigher(floor.level, assessed.level)).toBe(false);
        for (const factor of assessed.factors)
          expect(Number.isInteger(factor.value) && factor.value >= 0 && factor.value <= 100).toBe(true);
        if (assessed.auto)
          expect({ level: assessed.level, floors: assessed.floors }).toEqual({ level: "LOW", floors: [] });
        expect(JSON.parse(canonicalize(assessed))).toEqual(assessed);
      }),
      { numRuns: 300 },
    );
  });

  test("adding an item lowers neither score nor level, and makes nothing auto", () => {
    fc.assert(
      fc.property(
        fc.array(items, { minLength: 1, maxLength: 20 }),
        items,
        histories,
        profiles,
        (list, more, history, any) => {
          const before = assessRisk(input(list), history, any);
          const after = assessRisk(input([...list, more]), history, any);
          expect(after.score).toBeGreaterThanOrEqual(before.score);
          expect(riskHigher(before.level, after.level)).toBe(false);
          expect(after.auto && !before.auto).toBe(false);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("raising the category lowers neither", () => {
    fc.assert(
      fc.property(
        fc.array(items, { minLength: 1, maxLength: 5 }),
        fc.constantFrom(...categories),
        profiles,
        (list, raised, any) => {
          const given = input(list);
          if (categories.indexOf(raised) < categories.indexOf(given.category)) return;
          const before = assessRisk(given, proven, any);
          const after = assessRisk({ ...given, category: raised }, proven, any);
          expect(after.score).toBeGreaterThanOrEqual(before.score);
          expect(riskHigher(before.level, after.level)).toBe(false);
        },
      ),
      { numRuns: 200 },
    );
  });
});

describe("category", () => {
  test.each([
    ["resource:development:LAYOUT:home", "UI_LAYOUT"],
    ["resource:development:COMPONENT:button", "UI_LAYOUT"],
    ["resource:development:TOKEN:color.primary", "DESIGN_SYSTEM"],
    ["resource:development:CONFIG:shop", "CONFIG_UPDATE"],
    ["resource:development:API_ENDPOINT:orders", "API_CHANGE"],
    ["resource:development:WEBHOOK:stripe", "INTEGRATION"],
    ["resource:development:DEPLOYMENT:web", "INFRASTRUCTURE"],
    ["resource:development:COMPLIANCE_RULE:gdpr", "COMPLIANCE"],
    ["resource:development:ACCESS_POLICY:x", "SECURITY"],
    ["resource:system:ANYTHING:x", "SECURITY"],
    ["resource:development:NOTE:x", "OTHER"],
    ["file:shop:.github/workflows/ci.yml", "INFRASTRUCTURE"],
    ["file:shop:src/components/Button.ts", "UI_LAYOUT"],
    ["file:shop:.env", "SECURITY"],
    ["file:shop:.ENV", "SECURITY"],
    ["file:shop:config/app.json", "CONFIG_UPDATE"],
    ["file:shop:db/migrations/1.sql", "API_CHANGE"],
    ["file:shop:README.md", "OTHER"],
    ["file:shop:src/main.py", "OTHER"],
  ] as const)("%s: %s", (name, expected) => {
    expect(deriveCategory([{ targets: [target(name)] }], configuration().categories)).toMatchObject({
      kind: "category",
      category: expected,
      items: [expected],
    });
  });

  const mixed = [
    { targets: [target("file:shop:README.md")] },
    { targets: [target("file:shop:a.css"), target("file:shop:.env")] },
  ];
  test("the highest of all targets wins", () => {
    expect(deriveCategory(mixed, configuration().categories)).toEqual({
      kind: "category",
      category: "SECURITY",
      derived: "SECURITY",
      items: ["OTHER", "SECURITY"],
    });
  });
  test("the proposer may raise it, not lower it", () => {
    const ui = [{ targets: [target("file:shop:a.css")] }];
    expect(deriveCategory(ui, configuration().categories, "SECURITY")).toMatchObject({
      category: "SECURITY",
      derived: "UI_LAYOUT",
    });
    expect(deriveCategory(mixed, configuration().categories, "UI_LAYOUT", "/category")).toMatchObject({
      code: "category_lowered",
      pointer: "/category",
    });
  });
  test("configuration may say otherwise, except of the configuration itself", () => {
    const own = configuration({ categories: { rules: [{ category: "UI_LAYOUT", targets: ["*"] }] } }).categories;
    expect(deriveCategory([{ targets: [target("file:shop:main.py")] }], own)).toMatchObject({ category: "UI_LAYOUT" });
    expect(
      deriveCategory([{ targets: [target("resource:system:SYSTEM_CONFIG:system.config/risk")] }], own),
    ).toMatchObject({ category: "SECURITY" });
  });
});
