import type { GrantOperation, JsonValue, RiskLevel } from "@countersign/contract";
import { canonicalize } from "@countersign/proof";
import { describe, expect, test } from "vitest";
import {
  decidePolicy,
  decideRead,
  policyOutcome,
  policyRefusal,
  policySet,
  type PolicyPrincipal,
  type PolicyRequest,
} from "../../src/governance/index.js";
import { configuration, target } from "../support/governance.js";

const bot: PolicyPrincipal = {
  id: "01936b0e-0000-7000-8000-000000000001",
  name: "checkout-bot",
  type: "agent",
  agentType: "UI_VELOCITY",
  roles: ["agent"],
  groups: [],
  permissions: ["change_sets.propose"],
};
const ann: PolicyPrincipal = {
  id: "01936b0e-0000-7000-8000-000000000002",
  name: "ann",
  type: "human",
  roles: ["member"],
  groups: ["design"],
  permissions: ["change_sets.propose"],
};
const eve: PolicyPrincipal = {
  ...ann,
  id: "01936b0e-0000-7000-8000-000000000003",
  name: "eve",
  permissions: ["resources.read"],
  roles: ["auditor"],
  groups: [],
};

const layouts = {
  id: "layouts",
  principals: ["agent:checkout-bot"],
  operations: ["read", "UPDATE"],
  targets: ["resource:*:LAYOUT:**"],
};
const everything = { id: "all", principals: ["*"], operations: ["*"], targets: ["*"] };

interface Row {
  readonly grants?: JsonValue[];
  readonly rules?: JsonValue[];
  readonly who?: PolicyPrincipal;
  readonly items?: readonly (readonly [GrantOperation, ...string[]])[];
  readonly level?: RiskLevel;
}

function decide(row: Row): ReturnType<typeof decidePolicy> {
  const set = policySet(configuration({ grants: { grants: row.grants ?? [] }, policy: { rules: row.rules ?? [] } }));
  const items = (row.items ?? [["UPDATE", "resource:development:LAYOUT:home"] as const]).map(
    ([operation, ...names], index) => ({ sequence: index + 1, operation, targets: names.map((name) => target(name)) }),
  );
  const request: PolicyRequest = {
    principal: row.who ?? bot,
    items,
    category: "UI_LAYOUT",
    ...(row.level === undefined ? {} : { level: row.level }),
  };
  return decidePolicy(request, set);
}

describe("decisions", () => {
  const rows: [string, Row, string, string[]][] = [
    ["nothing granted", {}, "deny", []],
    ["granted", { grants: [layouts] }, "allow", ["grants/layouts"]],
    [
      "granted, other operation",
      { grants: [layouts], items: [["DELETE", "resource:development:LAYOUT:home"]] },
      "deny",
      [],
    ],
    ["granted, other type", { grants: [layouts], items: [["UPDATE", "resource:development:CONFIG:home"]] }, "deny", []],
    [
      "read is an operation too",
      { grants: [{ ...layouts, operations: ["UPDATE"] }], items: [["read", "resource:development:LAYOUT:home"]] },
      "deny",
      [],
    ],
    ["by id", { grants: [{ ...layouts, principals: [`agent:${bot.id}`] }] }, "allow", ["grants/layouts"]],
    ["by another name", { grants: [{ ...layouts, principals: ["agent:other-bot"] }] }, "deny", []],
    ["a human of that name", { grants: [{ ...layouts, principals: ["human:checkout-bot"] }] }, "deny", []],
    ["by type", { grants: [{ ...layouts, principals: ["type:UI_VELOCITY"] }] }, "allow", ["grants/layouts"]],
    ["by role", { grants: [{ ...layouts, principals: ["role:agent"] }] }, "allow", ["grants/layouts"]],
    ["all agents", { grants: [{ ...layouts, principals: ["agents"] }] }, "allow", ["grants/layouts"]],
    ["all humans", { grants: [{ ...layouts, principals: ["humans"] }] }, "deny", []],
    ["in its environment", { grants: [{ ...layouts, environments: ["development"] }] }, "allow", ["grants/layouts"]],
    ["in another environment", { grants: [{ ...layouts, environments: ["staging"] }] }, "deny", []],
    ["permit rule", { rules: [{ id: "free", effect: "permit", principals: ["agents"] }] }, "allow", ["free"]],
    [
      "both targets of a move must be covered",
      {
        grants: [{ ...layouts, operations: ["*"] }],
        items: [["MOVE", "resource:development:LAYOUT:a", "resource:development:CONFIG:a"]],
      },
      "deny",
      [],
    ],
    [
      "by different grants, too",
      {
        grants: [
          { ...layouts, operations: ["*"] },
          { ...everything, id: "configs", targets: ["resource:*:CONFIG:**"] },
        ],
        items: [["MOVE", "resource:development:LAYOUT:a", "resource:development:CONFIG:a"]],
      },
      "allow",
      ["grants/configs", "grants/layouts"],
    ],
    [
      "forbid beats permit",
      { grants: [everything], rules: [{ id: "no", effect: "forbid", targets: ["resource:*:LAYOUT:**"] }] },
      "deny",
      ["no"],
    ],
    [
      "forbid on one target of two",
      {
        grants: [everything],
        rules: [{ id: "no", effect: "forbid", targets: ["resource:*:CONFIG:**"] }],
        items: [["MOVE", "resource:development:LAYOUT:a", "resource:development:CONFIG:a"]],
      },
      "deny",
      ["no"],
    ],
    [
      "forbid beats require_approval",
      {
        grants: [everything],
        rules: [
          { id: "ask", effect: "require_approval" },
          { id: "no", effect: "forbid" },
        ],
      },
      "deny",
      ["no"],
    ],
    [
      "forbid of another operation",
      { grants: [everything], rules: [{ id: "no", effect: "forbid", operations: ["DELETE"] }] },
      "allow",
      ["grants/all"],
    ],
    [
      "forbid files whatever their case",
      {
        grants: [everything],
        rules: [{ id: "no", effect: "forbid", targets: ["file:*:**/secrets/**"] }],
        items: [["UPDATE", "file:shop:a/SECRETS/key"]],
      },
      "deny",
      ["no"],
    ],
    [
      "require_approval",
      { grants: [everything], rules: [{ id: "ask", effect: "require_approval" }] },
      "require_approval",
      ["ask"],
    ],
    ["require_approval permits nothing", { rules: [{ id: "ask", effect: "require_approval" }] }, "deny", []],
    [
      "below the level",
      { grants: [everything], rules: [{ id: "no", effect: "forbid", minLevel: "HIGH" }], level: "MEDIUM" },
      "allow",
      ["grants/all"],
    ],
    [
      "at the level",
      { grants: [everything], rules: [{ id: "no", effect: "forbid", minLevel: "HIGH" }], level: "HIGH" },
      "deny",
      ["no"],
    ],
    [
      "level not known",
      { grants: [everything], rules: [{ id: "no", effect: "forbid", minLevel: "LOW" }] },
      "allow",
      ["grants/all"],
    ],
    [
      "category of the rule",
      { grants: [everything], rules: [{ id: "no", effect: "forbid", categories: ["UI_LAYOUT"] }] },
      "deny",
      ["no"],
    ],
    [
      "another category",
      { grants: [everything], rules: [{ id: "no", effect: "forbid", categories: ["SECURITY"] }] },
      "allow",
      ["grants/all"],
    ],
    [
      "one denied item denies the set",
      {
        grants: [layouts],
        items: [
          ["UPDATE", "resource:development:LAYOUT:home"],
          ["UPDATE", "file:shop:a"],
        ],
      },
      "deny",
      ["grants/layouts"],
    ],
    ["no item", { grants: [everything], items: [] }, "deny", []],
    ["an item without targets", { grants: [everything], items: [["UPDATE"]] }, "deny", []],
    [
      "a person under their role",
      { who: ann, items: [["DELETE", "resource:system:SYSTEM_CONFIG:system.config/risk"]] },
      "allow",
      ["permission/change_sets.propose"],
    ],
    [
      "a person, forbidden",
      { who: ann, rules: [{ id: "no", effect: "forbid", principals: ["human:ann"] }] },
      "deny",
      ["no"],
    ],
    [
      "a person, forbidden as a group",
      { who: ann, rules: [{ id: "no", effect: "forbid", principals: ["group:design"] }] },
      "deny",
      ["no"],
    ],
    ["a person without the role", { who: eve }, "deny", []],
    [
      "a person who may read reads",
      { who: eve, items: [["read", "file:shop:a"]] },
      "allow",
      ["permission/resources.read"],
    ],
    [
      "a grant of all targets leaves out the configuration",
      { grants: [everything], items: [["UPDATE", "resource:system:SYSTEM_CONFIG:system.config/grants"]] },
      "deny",
      [],
    ],
    [
      "named, it is granted",
      {
        grants: [{ ...everything, targets: ["resource:system:SYSTEM_CONFIG:**"] }],
        items: [["UPDATE", "resource:system:SYSTEM_CONFIG:system.config/grants"]],
      },
      "allow",
      ["grants/all"],
    ],
  ];
  test.each(rows)("%s", (_, row, outcome, policies) => {
    const decision = decide(row);
    expect({ outcome: decision.outcome, policies: decision.items[0]?.policies ?? [] }).toEqual({ outcome, policies });
    expect(JSON.parse(canonicalize(decision))).toEqual(decision);
  });
});

test("a document that cannot be read denies everything, people included", () => {
  const broken = configuration({ policy: { rules: [{ id: "x", effect: "allow" }] } });
  expect(broken.problems).not.toEqual([]);
  const decision = decidePolicy(
    { principal: ann, items: [{ sequence: 1, operation: "UPDATE", targets: [target("file:shop:a")] }] },
    policySet(broken),
  );
  expect(decision).toMatchObject({
    outcome: "deny",
    items: [{ outcome: "deny", why: expect.stringContaining("no policy is loaded") as string }],
  });
});

test("require_approval rules add their stages, each group once with the highest quorum", () => {
  const rules = [
    { id: "a", effect: "require_approval", approval: { groups: ["design", "ui"], quorum: 1 } },
    { id: "b", effect: "require_approval", approval: { groups: ["ui", "design"], quorum: 2 } },
    { id: "c", effect: "require_approval", approval: { name: "lawyers", groups: ["legal"] } },
  ];
  expect(decide({ grants: [everything], rules }).stages).toEqual([
    { name: "design or ui", groups: ["design", "ui"], quorum: 2 },
    { name: "lawyers", groups: ["legal"], quorum: 1 },
  ]);
});

test("what is signed knows outcomes, neither names nor versions", () => {
  const one = policyOutcome(decide({ grants: [everything] }));
  const other = policyOutcome(
    decide({
      grants: [{ ...everything, id: "renamed" }],
      rules: [{ id: "unrelated", effect: "forbid", principals: ["human:nobody"] }],
    }),
  );
  expect(one).toEqual(other);
  expect(
    policyOutcome(decide({ grants: [everything], rules: [{ id: "ask", effect: "require_approval" }] })),
  ).not.toEqual(one);
});

describe("refusals name every item, the reason and the way out", () => {
  const items = [
    ["UPDATE", "file:shop:a"],
    ["UPDATE", "resource:development:LAYOUT:home"],
    ["DELETE", "resource:development:LAYOUT:home"],
  ] as const;
  test("policy_denied", () => {
    expect(policyRefusal(decide({ grants: [layouts], items }))).toMatchObject({
      code: "policy_denied",
      problems: [
        {
          pointer: "/items/0",
          message:
            "item 1: no grant of `checkout-bot` covers UPDATE on `file:shop:a`; a person can add one to `system.config/grants`",
        },
        {
          pointer: "/items/2",
          message: expect.stringContaining("DELETE on `resource:development:LAYOUT:home`") as string,
        },
      ],
    });
    expect(policyRefusal(decide({ grants: [everything], items: [] }))).toMatchObject({ code: "policy_denied" });
  });

  const reads = [
    { sequence: 1, targets: [target("resource:development:LAYOUT:home")] },
    { sequence: 2, targets: [target("file:shop:a")] },
  ];
  test("read_not_granted", () => {
    const set = policySet(configuration({ grants: { grants: [layouts] } }));
    expect(decideRead(bot, reads, set)).toMatchObject({
      code: "read_not_granted",
      problems: [{ code: "read_not_granted", pointer: "/items/1/target" }],
    });
    expect(decideRead(bot, reads.slice(0, 1), set)).toBeUndefined();
    expect(decideRead(ann, reads, set)).toBeUndefined();
  });
});
