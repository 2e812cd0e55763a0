import type {
  ApprovalRoute,
  Category,
  JsonValue,
  RiskAssessment,
  RiskLevel,
  TenantMode,
  VoteDecision,
} from "@countersign/contract";
import { canonicalize } from "@countersign/proof";
import { describe, expect, test } from "vitest";
import {
  approvedUntilMs,
  checkPriority,
  checkSatisfiable,
  checkVote,
  deadlineMs,
  excludedVoters,
  makeRoute,
  tally,
  undoUntilMs,
  type ApprovalContext,
  type RouteInput,
  type Voter,
} from "../../src/governance/index.js";
import { configuration, target, voter } from "../support/governance.js";

const approvalsByLevel = { LOW: 0, MEDIUM: 1, HIGH: 2, CRITICAL: 3 };

function assessment(level: RiskLevel, auto = false): RiskAssessment {
  return {
    score: 0,
    level,
    scoreLevel: level,
    factors: [],
    floors: [],
    approvalsByLevel: approvalsByLevel[level],
    auto,
    autoWhy: "",
    recommendations: [],
  };
}

interface RouteRow {
  readonly level?: RiskLevel;
  readonly auto?: boolean;
  readonly category?: Category;
  readonly outcome?: "allow" | "require_approval";
  readonly stages?: RouteInput["decision"]["stages"];
  readonly irreversible?: boolean;
  readonly on?: string;
}

function input(row: RouteRow = {}): RouteInput {
  return {
    category: row.category ?? "UI_LAYOUT",
    assessment: assessment(row.level ?? "MEDIUM", row.auto),
    decision: { outcome: row.outcome ?? "allow", version: "built-in", items: [], stages: row.stages ?? [] },
    targets: [target(row.on ?? "resource:development:LAYOUT:home")],
    irreversible: row.irreversible ?? false,
  };
}

const people = [
  voter("ann", ["design"]),
  voter("bob", ["design", "ui"]),
  voter("cay", ["backend"]),
  voter("dan", ["integration", "backend"]),
  voter("fay", ["reviewers"]),
];

function context(
  more: {
    mode?: TenantMode;
    voters?: readonly Voter[];
    humans?: readonly string[];
    now?: readonly string[];
    config?: Record<string, JsonValue>;
  } = {},
): ApprovalContext {
  const humansAtProposal = more.humans ?? ["owner"];
  return {
    mode: more.mode ?? "organisation",
    voters: more.voters ?? people,
    author: { id: "bot", humansAtProposal, humansNow: more.now ?? humansAtProposal },
    configuration: configuration(more.config),
  };
}

/** `design+ui:2 | backend:1`. */
function written(route: ApprovalRoute): string {
  const stages = route.stages.map((stage) => `${stage.groups.join("+")}:${stage.quorum}`).join(" | ");
  return `${route.auto ? "auto" : route.required}${stages === "" ? "" : ` of ${stages}`}${route.capped ? ` (capped from ${route.uncapped})` : ""}`;
}

describe("routes", () => {
  const routes = { categories: {}, otherwise: [{ groups: ["reviewers"] }], additional: [] as JsonValue[] };
  const legal = [{ groups: ["legal"], quorum: 2 }];
  const rows: [string, RouteRow, Parameters<typeof context>[0], string][] = [
    ["UI", {}, {}, "1 of design+ui:1"],
    ["design", { category: "DESIGN_SYSTEM" }, {}, "1 of design:1"],
    ["API", { category: "API_CHANGE" }, {}, "1 of backend:1"],
    ["infrastructure", { category: "INFRASTRUCTURE", level: "HIGH" }, {}, "2 of backend:1 | integration:1"],
    ["security", { category: "SECURITY", level: "HIGH" }, {}, "2 of backend:1"],
    ["integration", { category: "INTEGRATION" }, {}, "1 of integration:1"],
    ["anything else", { category: "COMPLIANCE", level: "CRITICAL" }, {}, "3 of reviewers:1"],
    ["LOW without auto needs one", { level: "LOW" }, {}, "1 of design+ui:1"],
    ["auto", { level: "LOW", auto: true }, {}, "auto"],
    ["auto, but policy asks", { level: "LOW", auto: true, outcome: "require_approval" }, {}, "1 of design+ui:1"],
    ["auto, but irreversible", { level: "LOW", auto: true, irreversible: true }, {}, "1 of design+ui:1"],
    [
      "auto switched off",
      { level: "LOW", auto: true },
      { config: { approvals: { ...configuration().approvals, auto: false } } },
      "1 of design+ui:1",
    ],
    [
      "policy's stages come after",
      { stages: [{ name: "legal", groups: ["legal"], quorum: 2 }], outcome: "require_approval" },
      {},
      "2 of design+ui:1 | legal:2",
    ],
    [
      "the same groups are one stage",
      { stages: [{ name: "x", groups: ["design", "ui"], quorum: 3 }], outcome: "require_approval" },
      {},
      "3 of design+ui:3",
    ],
    ["configured", {}, { config: { routes } }, "1 of reviewers:1"],
    [
      "additional by level, not reached",
      {},
      { config: { routes: { ...routes, additional: [{ id: "l", when: { minLevel: "HIGH" }, stages: legal }] } } },
      "1 of reviewers:1",
    ],
    [
      "additional by level",
      { level: "HIGH" },
      { config: { routes: { ...routes, additional: [{ id: "l", when: { minLevel: "HIGH" }, stages: legal }] } } },
      "2 of reviewers:1 | legal:2",
    ],
    [
      "additional by environment",
      { on: "resource:production:LAYOUT:a", level: "LOW", auto: true },
      {
        config: {
          routes: { ...routes, additional: [{ id: "l", when: { environments: ["production"] }, stages: legal }] },
        },
      },
      "2 of reviewers:1 | legal:2",
    ],
    [
      "additional by target",
      { on: "file:shop:CONTRACTS/a" },
      {
        config: {
          routes: { ...routes, additional: [{ id: "l", when: { targets: ["file:*:contracts/**"] }, stages: legal }] },
        },
      },
      "2 of reviewers:1 | legal:2",
    ],
    [
      "additional needs every condition",
      { level: "HIGH" },
      {
        config: {
          routes: {
            ...routes,
            additional: [{ id: "l", when: { minLevel: "HIGH", categories: ["SECURITY"] }, stages: legal }],
          },
        },
      },
      "2 of reviewers:1",
    ],
    [
      "team: capped at the people there are",
      { level: "CRITICAL" },
      { mode: "team" },
      "2 of design+ui:1 (capped from 3)",
    ],
    ["team: enough people", { level: "HIGH" }, { mode: "team" }, "2 of design+ui:1"],
    [
      "team: never below one",
      { level: "HIGH", category: "DESIGN_SYSTEM" },
      { mode: "team", voters: [] },
      "1 of design:1 (capped from 2)",
    ],
    [
      "team: the author's human is no other",
      { level: "HIGH" },
      { mode: "team", humans: ["ann"] },
      "1 of design+ui:1 (capped from 2)",
    ],
    [
      "solo: one",
      { level: "CRITICAL", category: "INFRASTRUCTURE" },
      { mode: "solo" },
      "1 of backend:1 | integration:1 (capped from 3)",
    ],
  ];
  test.each(rows)("%s", (_, row, where, expected) => {
    const route = makeRoute(input(row), context(where));
    expect(written(route)).toBe(expected);
    expect(JSON.parse(canonicalize(route))).toEqual(route);
  });

  test("the bytes that are signed do not depend on the order of people or groups", () => {
    const a = makeRoute(input({ level: "HIGH" }), context({ mode: "team" }));
    const b = makeRoute(input({ level: "HIGH" }), context({ mode: "team", voters: [...people].reverse() }));
    expect(canonicalize(a)).toBe(canonicalize(b));
  });
});

describe("who does not count", () => {
  const key = (mintedBy: string[], first: boolean): Voter["keys"][number] => ({
    id: `k-${mintedBy.join()}-${first}`,
    mintedBy,
    first,
  });
  const rows: [string, Parameters<typeof context>[0], string[]][] = [
    ["nobody, when none is answerable", {}, []],
    ["the human at the proposal", { humans: ["ann"], now: ["owner"] }, ["ann"]],
    ["the human now, after a transfer", { humans: ["ann"], now: ["bob"] }, ["ann", "bob"]],
    ["nobody in mode solo", { mode: "solo", humans: ["ann"] }, []],
    [
      "a first key from the author's human: organisation",
      { voters: [voter("ann", ["ui"], { keys: [key(["owner"], true)] })] },
      ["ann"],
    ],
    [
      "a first key from the author's human: team",
      { mode: "team", voters: [voter("ann", ["ui"], { keys: [key(["owner"], true)] })] },
      [],
    ],
    [
      "a reset by the author's human: team",
      { mode: "team", voters: [voter("ann", ["ui"], { keys: [key(["owner"], false)] })] },
      ["ann"],
    ],
    [
      "one untainted key is enough",
      { voters: [voter("ann", ["ui"], { keys: [key(["owner"], false), key(["cay"], false)] })] },
      [],
    ],
    [
      "configured: resets only",
      {
        voters: [voter("ann", ["ui"], { keys: [key(["owner"], true)] })],
        config: { approvals: { ...configuration().approvals, mintedKeys: "exclude_resets" } },
      },
      [],
    ],
  ];
  test.each(rows)("%s", (_, where, excluded) =>
    expect([...excludedVoters(context(where)).keys()].sort()).toEqual(excluded),
  );

  test("the author itself, when it is a person", () => {
    const own = { ...context(), author: { id: "ann", humansAtProposal: ["ann"], humansNow: ["ann"] } };
    expect(excludedVoters(own).get("ann")).toBe("they proposed it");
  });
});

describe("a route nobody could satisfy is refused with the reason", () => {
  const rows: [string, RouteRow, Parameters<typeof context>[0], string | undefined][] = [
    ["there are people", {}, {}, undefined],
    ["auto needs none", { auto: true, level: "LOW" }, { voters: [] }, undefined],
    [
      "nobody in the group",
      { category: "DESIGN_SYSTEM" },
      { voters: [voter("cay", ["backend"])] },
      "needs 1 and 0 could approve; bind another person to `design`",
    ],
    [
      "the only one is answerable",
      { category: "DESIGN_SYSTEM" },
      { voters: [voter("ann", ["design"])], humans: ["ann"] },
      "`ann`: they are answerable for its author",
    ],
    [
      "suspended",
      { category: "DESIGN_SYSTEM" },
      { voters: [voter("ann", ["design"], { active: false })] },
      "`ann`: suspended",
    ],
    [
      "no key",
      { category: "DESIGN_SYSTEM" },
      { voters: [voter("ann", ["design"], { keys: [] })] },
      "`ann`: no signing key enrolled",
    ],
    [
      "no role that votes",
      { category: "DESIGN_SYSTEM" },
      { voters: [voter("ann", ["design"], { roles: ["auditor"] })] },
      "no role with the permission `change_sets.vote`",
    ],
    ["fewer than required in all", { level: "CRITICAL" }, {}, "3 people must approve and 2 could"],
    [
      "escalation does not help at submit",
      { category: "DESIGN_SYSTEM" },
      { voters: [voter("root", [], { roles: ["admin"] })] },
      "needs 1 and 0",
    ],
    ["solo, without a key", {}, { mode: "solo", voters: [voter("ann", [], { keys: [] })] }, "enrol a signing key"],
    [
      "solo, whatever the groups",
      { category: "SECURITY", level: "CRITICAL" },
      { mode: "solo", voters: [voter("ann", [])], humans: ["ann"] },
      undefined,
    ],
  ];
  test.each(rows)("%s", (_, row, where, message) => {
    const given = context(where);
    const refusal = checkSatisfiable(makeRoute(input(row), given), given);
    if (message === undefined) expect(refusal).toBeUndefined();
    else
      expect(refusal).toMatchObject({
        code: "route_unsatisfiable",
        message: expect.stringContaining(message) as string,
      });
  });

  test("every stage that lacks people is a problem", () => {
    const given = context({ voters: [] });
    expect(
      checkSatisfiable(makeRoute(input({ category: "INFRASTRUCTURE", level: "HIGH" }), given), given)?.problems,
    ).toHaveLength(2);
  });
});

type Votes = readonly (readonly [string, VoteDecision])[];
function votes(given: Votes): { voter: string; decision: VoteDecision; atMs: number }[] {
  return given.map(([who, decision], index) => ({ voter: who, decision, atMs: index }));
}

describe("tallies", () => {
  const rows: [string, RouteRow, Votes, Parameters<typeof context>[0], string, string][] = [
    ["nobody voted", {}, [], {}, "pending", "1 of `design` or `ui`"],
    ["one approved", {}, [["ann", "APPROVED"]], {}, "satisfied", ""],
    ["two are needed", { level: "HIGH" }, [["ann", "APPROVED"]], {}, "pending", "1 more of anyone on the route"],
    [
      "two approved",
      { level: "HIGH" },
      [
        ["ann", "APPROVED"],
        ["bob", "APPROVED"],
      ],
      {},
      "satisfied",
      "",
    ],
    [
      "one person twice is one",
      { level: "HIGH" },
      [
        ["ann", "APPROVED"],
        ["ann", "APPROVED"],
      ],
      {},
      "pending",
      "1 more of anyone on the route",
    ],
    [
      "any rejection rejects",
      { level: "HIGH" },
      [
        ["ann", "APPROVED"],
        ["bob", "REJECTED"],
      ],
      {},
      "rejected",
      "",
    ],
    [
      "a rejection by somebody not on the route does not",
      {},
      [
        ["cay", "REJECTED"],
        ["ann", "APPROVED"],
      ],
      {},
      "satisfied",
      "",
    ],
    [
      "an approval can be withdrawn",
      {},
      [
        ["ann", "APPROVED"],
        ["ann", "REJECTED"],
      ],
      {},
      "rejected",
      "",
    ],
    ["an abstention does not count", {}, [["ann", "ABSTAINED"]], {}, "pending", "1 of `design` or `ui`"],
    [
      "and can be changed",
      {},
      [
        ["ann", "ABSTAINED"],
        ["ann", "APPROVED"],
      ],
      {},
      "satisfied",
      "",
    ],
    [
      "all abstained",
      {},
      [
        ["ann", "ABSTAINED"],
        ["bob", "ABSTAINED"],
      ],
      {},
      "unsatisfiable",
      "",
    ],
    [
      "all abstained, an administrator stands in",
      {},
      [
        ["ann", "ABSTAINED"],
        ["bob", "ABSTAINED"],
      ],
      { voters: [...people, voter("root", [], { roles: ["admin"] })] },
      "pending",
      "1 of `design` or `ui`",
    ],
    [
      "and approves",
      {},
      [
        ["ann", "ABSTAINED"],
        ["bob", "ABSTAINED"],
        ["root", "APPROVED"],
      ],
      { voters: [...people, voter("root", [], { roles: ["admin"] })] },
      "satisfied",
      "",
    ],
    [
      "an administrator does not stand in before",
      {},
      [["root", "APPROVED"]],
      { voters: [...people, voter("root", [], { roles: ["admin"] })] },
      "pending",
      "1 of `design` or `ui`",
    ],
    [
      "the votes of the author's humans do not count",
      {},
      [["ann", "APPROVED"]],
      { humans: ["ann"] },
      "pending",
      "1 of `design` or `ui`",
    ],
    ["nor after they became so", {}, [["ann", "APPROVED"]], { now: ["ann"] }, "pending", "1 of `design` or `ui`"],
    [
      "nor of the suspended",
      {},
      [["ann", "APPROVED"]],
      { voters: [voter("ann", ["design"], { active: false }), voter("bob", ["ui"])] },
      "pending",
      "1 of `design` or `ui`",
    ],
    [
      "stages, none",
      { category: "INFRASTRUCTURE", level: "HIGH" },
      [],
      {},
      "pending",
      "1 of `backend`, 1 of `integration` (after the stages before)",
    ],
    [
      "stages, the first",
      { category: "INFRASTRUCTURE", level: "HIGH" },
      [["cay", "APPROVED"]],
      {},
      "pending",
      "1 of `integration`",
    ],
    [
      "stages, both",
      { category: "INFRASTRUCTURE", level: "HIGH" },
      [
        ["cay", "APPROVED"],
        ["dan", "APPROVED"],
      ],
      {},
      "satisfied",
      "",
    ],
    [
      "one in both groups is still one person",
      { category: "INFRASTRUCTURE", level: "HIGH" },
      [["dan", "APPROVED"]],
      {},
      "pending",
      "1 more of anyone on the route",
    ],
    ["auto", { auto: true, level: "LOW" }, [], {}, "satisfied", ""],
  ];
  test.each(rows)("%s", (_, row, given, where, state, missing) => {
    const found = context(where);
    const result = tally(makeRoute(input(row), found), votes(given), found);
    expect({ state: result.state, missing: result.missing, self: result.selfApproved }).toEqual({
      state,
      missing,
      self: false,
    });
  });

  test("solo: the receipt says self-approved", () => {
    const solo = context({ mode: "solo", voters: [voter("ann", [])], humans: ["ann"] });
    const route = makeRoute(input({ level: "CRITICAL" }), solo);
    expect(tally(route, votes([["ann", "APPROVED"]]), solo)).toMatchObject({
      state: "satisfied",
      selfApproved: true,
      label: "self-approved (solo)",
    });
  });

  test("a route made for solo is not enough once the tenant is a team", () => {
    const solo = context({ mode: "solo", voters: [voter("ann", []), voter("bob", ["ui"])], humans: ["ann"] });
    const given = votes([["ann", "APPROVED"]]);
    expect(tally(makeRoute(input(), solo), given, solo).state).toBe("satisfied");
    const team: ApprovalContext = { ...solo, mode: "team" };
    expect(tally(makeRoute(input(), team), given, team).state).toBe("pending");
  });

  test("the order of votes in the list does not matter, their time does", () => {
    const given = context();
    const route = makeRoute(input(), given);
    const withdrawn = [
      { voter: "ann", decision: "REJECTED", atMs: 5 },
      { voter: "ann", decision: "APPROVED", atMs: 2 },
    ] as const;
    expect(tally(route, withdrawn, given).state).toBe("rejected");
  });
});

describe("one vote", () => {
  const rows: [
    string,
    {
      who: string;
      type?: "human" | "agent";
      decision?: VoteDecision;
      reason?: string;
      key?: string;
      row?: RouteRow;
      before?: Votes;
      where?: Parameters<typeof context>[0];
    },
    string | undefined,
  ][] = [
    ["a person on the route", { who: "ann" }, undefined],
    ["an agent", { who: "bot", type: "agent" }, "agents_never_vote"],
    ["a stranger", { who: "zoe" }, "not_an_approver"],
    ["a person of another group", { who: "cay" }, "not_an_approver"],
    [
      "a member without the permission",
      { who: "ann", where: { voters: [voter("ann", ["design"], { roles: [] })] } },
      "not_an_approver",
    ],
    ["the author's human", { who: "ann", where: { humans: ["ann"] } }, "separation_of_duties"],
    [
      "the author's human, in mode team",
      { who: "ann", where: { humans: ["ann"], mode: "team" } },
      "separation_of_duties",
    ],
    ["the author's human, in mode solo", { who: "ann", where: { humans: ["ann"], mode: "solo" } }, undefined],
    [
      "with a key from the author's human",
      {
        who: "ann",
        key: "k2",
        where: {
          voters: [
            voter("ann", ["design"], {
              keys: [
                { id: "k1", mintedBy: [], first: true },
                { id: "k2", mintedBy: ["owner"], first: false },
              ],
            }),
          ],
        },
      },
      "separation_of_duties",
    ],
    [
      "with their other key",
      {
        who: "ann",
        key: "k1",
        where: {
          voters: [
            voter("ann", ["design"], {
              keys: [
                { id: "k1", mintedBy: [], first: true },
                { id: "k2", mintedBy: ["owner"], first: false },
              ],
            }),
          ],
        },
      },
      undefined,
    ],
    ["a rejection without reason", { who: "ann", decision: "REJECTED" }, "reason_required"],
    ["a rejection with an empty reason", { who: "ann", decision: "REJECTED", reason: "  " }, "reason_required"],
    ["a rejection with a reason", { who: "ann", decision: "REJECTED", reason: "no" }, undefined],
    [
      "the second stage before the first",
      {
        who: "eli",
        row: { category: "INFRASTRUCTURE", level: "HIGH" },
        where: { voters: [...people, voter("eli", ["integration"])] },
      },
      "not_an_approver",
    ],
    [
      "the second stage after it",
      {
        who: "eli",
        row: { category: "INFRASTRUCTURE", level: "HIGH" },
        before: [["cay", "APPROVED"]],
        where: { voters: [...people, voter("eli", ["integration"])] },
      },
      undefined,
    ],
    [
      "the second stage may reject at once",
      {
        who: "eli",
        decision: "REJECTED",
        reason: "no",
        row: { category: "INFRASTRUCTURE", level: "HIGH" },
        where: { voters: [...people, voter("eli", ["integration"])] },
      },
      undefined,
    ],
    [
      "who is in both stages need not wait",
      { who: "dan", row: { category: "INFRASTRUCTURE", level: "HIGH" } },
      undefined,
    ],
  ];
  test.each(rows)("%s", (_, attempt, code) => {
    const given = context(attempt.where);
    const refusal = checkVote(
      {
        voter: { id: attempt.who, type: attempt.type ?? "human" },
        decision: attempt.decision ?? "APPROVED",
        ...(attempt.key === undefined ? {} : { keyId: attempt.key }),
        ...(attempt.reason === undefined ? {} : { reason: attempt.reason }),
      },
      makeRoute(input(attempt.row), given),
      votes(attempt.before ?? []),
      given,
    );
    expect(refusal?.code).toBe(code);
  });
});

describe("priority and time", () => {
  const approvals = configuration().approvals;
  const hour = 3_600_000;
  test.each([
    ["LOW", 48],
    ["NORMAL", 24],
    ["HIGH", 8],
    ["CRITICAL", 2],
  ] as const)("%s: %s hours", (priority, hours) => {
    expect(deadlineMs(priority, 1000, approvals)).toBe(1000 + hours * hour);
    expect(approvedUntilMs(priority, 1000, approvals)).toBe(1000 + hours * hour);
  });
  test("the undo window", () => expect(undoUntilMs(1000, approvals)).toBe(1000 + 72 * hour));
  test.each([
    ["LOW", "agent", undefined],
    ["NORMAL", "service", undefined],
    ["HIGH", "agent", "priority_needs_human"],
    ["CRITICAL", "service", "priority_needs_human"],
    ["CRITICAL", "human", undefined],
  ] as const)("%s by %s: %s", (priority, type, code) => expect(checkPriority(priority, type)?.code).toBe(code));
});
