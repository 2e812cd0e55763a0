/** Kill-switch, freeze windows, limits and rollback: the decisions, without a database. */
import { isRefusal, type JsonValue, type Permission, type TenantMode } from "@countersign/contract";
import { describe, expect, test } from "vitest";
import {
  checkFreeze,
  checkKill,
  checkLimits,
  engageKill,
  holdGuard,
  killInForce,
  limitGuards,
  limitRefusal,
  mayRollBack,
  releaseKill,
  type KillCommand,
  type KillLoaded,
  type KillRow,
  type RollbackQuestion,
} from "../../src/governance/index.js";
import type { DecideContext } from "../../src/ledger/index.js";
import { configuration, target } from "../support/governance.js";

const nowMs = Date.parse("2026-11-20T12:00:00.000Z");
const minute = 60_000;
const hour = 60 * minute;
const decide: DecideContext = {
  nowMs,
  uuid: () => "01936b0e-0000-7000-8000-00000000000f",
  randomBytes: (count) => new Uint8Array(count),
};
const tenant = "01936b0e-0000-7000-8000-000000000000";

describe("kill-switch", () => {
  const may = new Set<Permission>(["kill.engage", "kill.release"]);
  const person = (id: string, permissions: ReadonlySet<Permission> = may): KillCommand => ({
    actor: { type: "human", id, humans: [id] },
    permissions,
    reason: "stop",
  });
  const agent: KillCommand = { actor: { type: "agent", id: "bot", humans: ["ann"] }, permissions: may };
  const engaged: KillRow = {
    id: "k1",
    version: 3,
    scope: "tenant",
    status: "ENGAGED",
    reason: null,
    engagedBy: "ann",
    engagedAtMs: nowMs - hour,
    holdUntilMs: null,
    confirmedBy: null,
    releaseVotes: [],
  };
  const held: KillRow = { ...engaged, status: "HELD", engagedBy: "bot", holdUntilMs: nowMs + minute };
  const ended: KillRow = { ...held, id: "k0", holdUntilMs: nowMs };
  const voted: KillRow = { ...engaged, releaseVotes: [{ principal: "ann", atMs: nowMs - minute }] };
  const loaded = (...rows: KillRow[]): KillLoaded => ({ tenant, rows, epoch: 4 });

  const rows: [string, "engage" | "release", KillLoaded, KillCommand, TenantMode, string][] = [
    ["a person engages", "engage", loaded(), person("ann"), "team", "kill_switch.engaged ENGAGED moves"],
    ["an agent holds", "engage", loaded(), agent, "team", "kill_switch.held HELD moves"],
    ["a person confirms a hold", "engage", loaded(held), person("ann"), "team", "kill_switch.confirmed ENGAGED moves"],
    ["an agent cannot prolong a hold", "engage", loaded(held), agent, "team", "already_exists"],
    [
      "after a hold ended, a person engages",
      "engage",
      loaded(ended),
      person("ann"),
      "team",
      "kill_switch.engaged ENGAGED moves",
    ],
    ["engaged already", "engage", loaded(engaged), person("ann"), "team", "already_exists"],
    ["without the permission", "engage", loaded(), person("ann", new Set()), "team", "forbidden"],
    [
      "the first of two to release",
      "release",
      loaded(engaged),
      person("ann"),
      "team",
      "kill_switch.release_voted ENGAGED",
    ],
    ["the same again", "release", loaded(voted), person("ann"), "team", "release_needs_another"],
    ["the second", "release", loaded(voted), person("bob"), "team", "kill_switch.released RELEASED moves"],
    [
      "in organisation, too",
      "release",
      loaded(engaged),
      person("ann"),
      "organisation",
      "kill_switch.release_voted ENGAGED",
    ],
    ["solo: one", "release", loaded(engaged), person("ann"), "solo", "kill_switch.released RELEASED moves"],
    ["a hold: one", "release", loaded(held), person("ann"), "organisation", "kill_switch.released RELEASED moves"],
    ["an agent", "release", loaded(held), agent, "solo", "forbidden"],
    [
      "without the permission to release",
      "release",
      loaded(engaged),
      person("ann", new Set<Permission>(["kill.engage"])),
      "solo",
      "forbidden",
    ],
    ["nothing is engaged", "release", loaded(), person("ann"), "solo", "kill_not_engaged"],
    ["a hold that ended", "release", loaded(ended), person("ann"), "solo", "kill_not_engaged"],
  ];
  test.each(rows)("%s", (_, what, before, command, mode, expected) => {
    const result =
      what === "engage"
        ? engageKill(before, command, mode, configuration().limits, decide)
        : releaseKill(before, command, mode, decide);
    if (isRefusal(result)) return expect(result.code).toBe(expected);
    if (result.kind !== "change") throw new Error("nothing decided");
    const [entry] = result.change.entries;
    const moves = entry?.writes?.some((write) => write.table === "epochs") === true;
    expect(`${entry?.action ?? ""} ${result.result.status}${moves ? " moves" : ""}`).toBe(expected);
    expect(entry?.subject).toEqual({ type: "tenant", id: tenant });
    return expect(result.change.guards).toContainEqual({ kind: "epoch", name: "kill", value: 4 });
  });

  test("an agent's hold ends after 15 minutes and is counted", () => {
    const result = engageKill(loaded(), agent, "team", configuration().limits, decide);
    if (isRefusal(result) || result.kind !== "change") throw new Error("refused");
    expect(result.result.holdUntilMs).toBe(nowMs + 15 * minute);
    expect(result.change.guards).toContainEqual(holdGuard("bot", nowMs, configuration().limits));
  });

  test("holds that ended are closed by the next switch", () => {
    const result = engageKill(loaded(ended), person("ann"), "team", configuration().limits, decide);
    if (isRefusal(result) || result.kind !== "change") throw new Error("refused");
    expect(result.change.entries[0]?.writes).toContainEqual({
      verb: "update",
      table: "kill_switches",
      from: 3,
      row: expect.objectContaining({ id: "k0", status: "RELEASED", released_at_ms: nowMs }) as object,
    });
  });

  test.each([
    ["nothing", [], undefined, undefined],
    ["engaged", [engaged], "k1", undefined],
    ["held", [held], "k1", 60],
    ["a hold that ended", [ended], undefined, undefined],
    ["both", [ended, engaged], "k1", undefined],
  ] as const)("in force: %s", (_, given, id, retryAfterSeconds) => {
    expect(killInForce(given, nowMs)?.id).toBe(id);
    const refusal = checkKill(given, nowMs);
    expect(refusal?.code).toBe(id === undefined ? undefined : "kill_switch_engaged");
    expect(refusal?.retryAfterSeconds).toBe(retryAfterSeconds);
  });
});

describe("freeze windows", () => {
  // 2026-11-20 is a Friday.
  const window = (more: Record<string, JsonValue> = {}): Record<string, JsonValue> => ({
    id: "w",
    from: "2026-11-20T10:00:00Z",
    until: "2026-11-20T14:00:00Z",
    reason: "sale",
    ...more,
  });
  const weekly = (more: Record<string, JsonValue> = {}): Record<string, JsonValue> => ({
    id: "f",
    days: ["fri"],
    from: "11:00",
    until: "24:00",
    reason: "no Friday deployments",
    ...more,
  });
  const rows: [string, { windows?: JsonValue[]; weekly?: JsonValue[] }, number | undefined, string?][] = [
    ["none", {}, undefined],
    ["inside", { windows: [window()] }, 2 * hour],
    ["at its beginning", { windows: [window({ from: "2026-11-20T12:00:00Z" })] }, 2 * hour],
    ["at its end", { windows: [window({ until: "2026-11-20T12:00:00Z" })] }, undefined],
    ["before it", { windows: [window({ from: "2026-11-20T12:00:00.001Z" })] }, undefined],
    [
      "two windows: the later end",
      { windows: [window(), window({ id: "x", until: "2026-11-20T18:00:00Z" })] },
      6 * hour,
    ],
    ["another environment", { windows: [window({ environments: ["production"] })] }, undefined],
    [
      "that environment",
      { windows: [window({ environments: ["production"] })] },
      2 * hour,
      "resource:production:CONFIG:a",
    ],
    ["another category", { windows: [window({ categories: ["SECURITY"] })] }, undefined],
    ["another target", { windows: [window({ targets: ["file:*:**"] })] }, undefined],
    ["weekly", { weekly: [weekly()] }, 12 * hour],
    ["weekly, another day", { weekly: [weekly({ days: ["mon", "sat"] })] }, undefined],
    ["weekly, over", { weekly: [weekly({ from: "09:00", until: "12:00" })] }, undefined],
    ["weekly, not yet", { weekly: [weekly({ from: "12:01" })] }, undefined],
  ];
  test.each(rows)("%s", (_, freeze, ms, on = "resource:development:LAYOUT:a") => {
    const config = configuration({ freeze: { windows: freeze.windows ?? [], weekly: freeze.weekly ?? [] } });
    expect(config.problems).toEqual([]);
    const refusal = checkFreeze({ nowMs, category: "UI_LAYOUT", targets: [target(on)] }, config.freeze);
    expect(refusal?.code).toBe(ms === undefined ? undefined : "frozen");
    expect(refusal?.retryAfterSeconds).toBe(ms === undefined ? undefined : ms / 1000);
  });
});

describe("limits", () => {
  const own = configuration({
    limits: {
      perHour: {
        agent: { changeSets: 2, items: 10, submits: 3, applies: 4 },
        human: { changeSets: 5, items: 50, submits: 6, applies: 7 },
      },
      holdsPerDay: 1,
    },
  }).limits;
  const hourNumber = Math.floor(nowMs / hour);
  test.each([
    [
      "propose",
      "agent",
      [
        ["change_sets", 1, 2],
        ["items", 3, 10],
      ],
    ],
    [
      "propose",
      "service",
      [
        ["change_sets", 1, 2],
        ["items", 3, 10],
      ],
    ],
    [
      "propose",
      "human",
      [
        ["change_sets", 1, 5],
        ["items", 3, 50],
      ],
    ],
    ["submit", "agent", [["submits", 1, 3]]],
    ["apply", "human", [["applies", 1, 7]]],
  ] as const)("%s by %s", (command, type, expected) => {
    const { guards } = limitGuards(command, { principal: "p", type, nowMs, items: 3 }, own);
    expect(guards).toEqual(
      expected.map(([what, add, max]) => ({ kind: "counter", key: `limit:${what}:p:${hourNumber}`, add, max })),
    );
  });

  test("the next hour counts anew", () => {
    const keyAt = (ms: number): string | undefined =>
      limitGuards("submit", { principal: "p", type: "agent", nowMs: ms, items: 1 }, own).guards[0]?.key;
    expect(keyAt(nowMs)).toBe(keyAt(nowMs + hour - 1));
    expect(keyAt(nowMs)).not.toBe(keyAt(nowMs + hour));
  });

  test("which limit, and when to try again", () => {
    const check = limitGuards("propose", { principal: "p", type: "agent", nowMs: nowMs + 59 * minute, items: 3 }, own);
    const items = check.guards[1]?.key ?? "";
    expect(checkLimits(check.guards, new Map([[items, 7]]), nowMs + 59 * minute)).toBeUndefined();
    expect(checkLimits(check.guards, new Map([[items, 8]]), nowMs + 59 * minute)).toMatchObject({
      code: "rate_limited",
      retryAfterSeconds: 60,
      details: { limit: "items", max: 10 },
    });
    expect(check.refusal(items)).toMatchObject({ code: "rate_limited" });
    expect(() => check.refusal("other")).toThrow("no limit");
    expect(limitRefusal(holdGuard("p", nowMs, own), nowMs)).toMatchObject({ retryAfterSeconds: 12 * 3600 });
  });
});

describe("who may undo", () => {
  const human = (
    id: string,
    roles: string[] = [],
    permissions: Permission[] = ["change_sets.roll_back"],
  ): RollbackQuestion["actor"] => ({ id, name: id, type: "human", roles, permissions: new Set(permissions) });
  const question = (more: Partial<RollbackQuestion>): RollbackQuestion => ({
    actor: human("own"),
    author: { id: "bot", humansAtProposal: ["before"], humansNow: ["own"] },
    approvers: ["app"],
    exact: true,
    laterOnTop: [],
    appliedAtMs: nowMs - hour,
    nowMs,
    approvals: configuration().approvals,
    ...more,
  });
  const bot: RollbackQuestion["actor"] = { ...human("bot"), type: "agent" };
  test.each([
    ["the author's human", {}, "at_once author_human"],
    ["without any permission", { actor: human("own", [], []) }, "at_once author_human"],
    ["an approver", { actor: human("app") }, "at_once approver"],
    ["an approver whose roles were taken", { actor: human("app", [], []) }, "rollback_not_permitted"],
    ["on call", { actor: human("oc", ["on_call"]) }, "at_once on_call"],
    ["anybody else with the permission", { actor: human("x") }, "route"],
    ["anybody else without", { actor: human("x", [], []) }, "rollback_not_permitted"],
    ["the human before a transfer", { actor: human("before", [], []) }, "route"],
    ["the agent itself", { actor: bot }, "route"],
    ["an agent bound to the on-call role", { actor: { ...bot, id: "other", roles: ["on_call"] } }, "route"],
    [
      "a person undoes their own",
      { actor: human("per", [], []), author: { id: "per", humansAtProposal: ["per"], humansNow: ["per"] } },
      "at_once author_human",
    ],
    ["not exact", { exact: false }, "route"],
    ["built upon", { laterOnTop: ["CS-2026-1120-002"] }, "route"],
    ["at the end of the window", { appliedAtMs: nowMs - 72 * hour }, "route"],
    ["just inside", { appliedAtMs: nowMs - 72 * hour + 1 }, "at_once author_human"],
  ] as [string, Partial<RollbackQuestion>, string][])("%s", (_, more, expected) => {
    const answer = mayRollBack(question(more));
    if (isRefusal(answer)) return expect(answer.code).toBe(expected);
    expect(answer.why).not.toBe("");
    return expect(answer.kind === "at_once" ? `at_once ${answer.as}` : answer.kind).toBe(expected);
  });
});
