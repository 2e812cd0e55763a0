/** Apply, roll back, resume: whether each may begin, with what intent, and what a refused apply leaves behind. */
import { describe, expect, it } from "vitest";
import { isRefusal, limits, statuses, type Status } from "@countersign/contract";
import type { Loaded } from "../../src/change-sets/loaded.rules.js";
import type { Judgement } from "../../src/change-sets/proposing/judgement.rules.js";
import type { Overlap } from "../../src/change-sets/queries.js";
import type { HoldRow } from "../../src/change-sets/rows.js";
import {
  checkApply,
  checkApprovals,
  checkDependencies,
  checkFrozen,
  checkJudgement,
} from "../../src/change-sets/running/executable.rules.js";
import { decideApply, decideResume, decideRollback } from "../../src/change-sets/running/intent.rules.js";
import { decideBlocked, decideReroute } from "../../src/change-sets/running/refusedApply.rules.js";
import { checkResume, checkStillAllowed } from "../../src/change-sets/running/resume.rules.js";
import {
  checkReversible,
  checkRollback,
  laterOnTop,
  rollbackDrift,
} from "../../src/change-sets/running/rollBack.rules.js";
import type { KillLoaded, KillRow } from "../../src/governance/index.js";
import {
  at,
  callerOf,
  changeOf,
  decision,
  everybody,
  type Given,
  itemRow,
  loadedIn,
  nowMs,
  peopleOf,
  risk,
  shown,
  tenant,
  voteRow,
  written,
} from "../support/changeSets.js";
import { configuration } from "../support/governance.js";

const hours = 3_600_000;
const free: KillLoaded = { tenant, rows: [], epoch: 6 };
const engaged: KillLoaded = { ...free, rows: [{ id: "kill", status: "ENGAGED", engagedAtMs: nowMs } as KillRow] };
const frozen = configuration({
  freeze: {
    windows: [
      {
        ...{ id: "release", from: new Date(nowMs - hours).toISOString(), until: new Date(nowMs + hours).toISOString() },
        reason: "release day",
      },
    ],
    weekly: [],
  },
});
const everything = { id: "all", principals: ["*"], operations: ["*"], targets: ["*"] };
const granted = configuration({ grants: { grants: [everything] } });
const suspended = (name: string) => peopleOf({ ...everybody, [name]: { ...everybody[name], status: "SUSPENDED" } });
/** Approved by bob, as one approval requires. */
const approved: Given = { votes: [voteRow("bob")] };

describe("who may apply, and when", () => {
  const check = (
    name: string,
    of: { status?: Status; by?: string; given?: Given; kill?: KillLoaded },
    expected: string,
  ) =>
    it(`${name}: ${expected}`, () => {
      const { status = "APPROVED", by = "builder", given = approved, kill = free } = of;
      expect(shown(checkApply(loadedIn(status, given), { caller: callerOf(by), kill }, nowMs))).toBe(expected);
    });

  for (const status of statuses) check(status, { status }, status === "APPROVED" ? "fine" : "illegal_transition");
  check("the author's human", { by: "alice" }, "fine");
  check("an operator", { by: "rita" }, "fine");
  check("the engine", { by: "system" }, "fine");
  check("a reviewer", { by: "bob" }, "forbidden");
  check("another agent", { by: "other" }, "forbidden");
  check("the last attempt", { given: { changeSet: { attempts: limits.applyAttemptsMax - 1 } } }, "fine");
  check("one attempt more", { given: { changeSet: { attempts: limits.applyAttemptsMax } } }, "attempts_exhausted");
  check("with the kill-switch engaged", { kill: engaged }, "kill_switch_engaged");
  check("what was erased", { given: { changeSet: { erased_at_ms: 5 } } }, "erased");
  // The first of several reasons is told.
  check("a draft, with the kill-switch engaged", { kill: engaged, status: "DRAFT" }, "kill_switch_engaged");
  check("a draft of somebody else", { by: "bob", status: "DRAFT" }, "illegal_transition");
});

describe("the approvals it was given", () => {
  const check = (name: string, given: Given, expected: string, by = "builder") =>
    it(`${name}: ${expected}`, () =>
      expect(shown(checkApprovals(loadedIn("APPROVED", given), callerOf(by)))).toBe(expected));

  check("enough", approved, "fine");
  check("none", {}, "approvals_missing");
  check("none, where none is required", { required: 0 }, "fine");
  check("without a route", { ...approved, revision: { route: null } }, "approvals_missing");
  check("one of two", { ...approved, required: 2 }, "approvals_missing");
  check("of somebody suspended", { ...approved, people: suspended("bob") }, "approvals_missing");
  check("of the author's human", { votes: [voteRow("alice")] }, "approvals_missing");
  check("of somebody on no route", { votes: [voteRow("dan")] }, "approvals_missing");
  check("dismissed", { votes: [voteRow("bob", { dismissed: true })] }, "approvals_missing");
  check("on another revision", { votes: [voteRow("bob", { revision_id: "old" })] }, "approvals_missing");
  check(
    "with a revoked key",
    { ...approved, people: peopleOf(everybody, { revokedKeys: ["key-bob"] }) },
    "approvals_missing",
  );
  check("the author suspended, by the engine", { ...approved, people: suspended("builder") }, "forbidden", "system");
  check(
    "the author's human suspended, by the engine",
    { ...approved, people: suspended("alice") },
    "forbidden",
    "system",
  );
  check("the author suspended, by an operator", { ...approved, people: suspended("builder") }, "fine", "rita");
});

describe("judged again", () => {
  const check = (name: string, judgement: Partial<Judgement>, expected: string, given: Given = approved) =>
    it(`${name}: ${expected}`, () =>
      expect(shown(checkJudgement(loadedIn("APPROVED", given), { decision: decision(), risk, ...judgement }))).toBe(
        expected,
      ));

  check("as it was", {}, "fine");
  check("policy denies it now", { decision: decision("deny") }, "policy_denied");
  check("riskier than people were shown", { risk: { ...risk, level: "MEDIUM" } }, "risk_increased");
  check("less risky", { risk: { ...risk, level: "LOW" } }, "fine", { ...approved, changeSet: { risk_level: "HIGH" } });
  check("two are asked now", { risk: { ...risk, approvalsByLevel: 2 } }, "approvals_missing");
  check("three are asked now, and only two could", { risk: { ...risk, approvalsByLevel: 3 } }, "route_unsatisfiable");
  check("nobody is asked", { risk: { ...risk, auto: true } }, "fine", { required: 0 });
  check("denied, and riskier", { decision: decision("deny"), risk: { ...risk, level: "HIGH" } }, "policy_denied");
});

describe("what it waits for", () => {
  for (const status of statuses) {
    const expected = status === "APPLIED" || status === "ARCHIVED" ? "fine" : "dependency_unmet";
    it(`a change-set it depends on is ${status}: ${expected}`, () =>
      expect(shown(checkDependencies({ number: "CS-1" }, [{ number: "CS-0", status }]))).toBe(expected));
  }
  it("nothing", () => expect(checkDependencies({ number: "CS-1" }, [])).toBeUndefined());
  it("names all it waits for", () =>
    expect(
      checkDependencies({ number: "CS-1" }, [
        { number: "CS-0", status: "APPROVED" },
        { number: "CS-9", status: "APPLIED" },
        { number: "CS-8", status: "REJECTED" },
      ]),
    ).toMatchObject({ details: { waitingFor: ["CS-0", "CS-8"] } }));
  it("a freeze window", () => {
    expect(shown(checkFrozen(loadedIn("APPROVED", { configuration: frozen }), nowMs))).toBe("frozen");
    expect(shown(checkFrozen(loadedIn("APPROVED", { configuration: frozen }), nowMs + hours))).toBe("fine");
  });
});

// ── Intents ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const holds: readonly HoldRow[] = [
  { id: "file:w:a", version: 3, application_id: null, change_set_id: null },
  { id: "file:w:b", version: 0, application_id: null, change_set_id: null },
];
const ready = (status: Status, given: Given = approved): Loaded & { holds: readonly HoldRow[]; kill: KillLoaded } => ({
  ...loadedIn(status, given),
  holds,
  kill: free,
});
const guard = { kind: "counter", key: "limit", add: 1, max: 600 } as const;
const dependency = { kind: "row", table: "change_sets", id: "cs0", version: 2 } as const;

describe("the intent", () => {
  const applying = () =>
    decideApply(
      {
        ...ready("APPROVED", { ...approved, changeSet: { attempts: 1, blocked: "drift" } }),
        counters: [guard],
        dependencies: [dependency],
      },
      { caller: callerOf("builder"), mode: "MANUAL" },
      at(),
    );

  it("of an apply is one more attempt, and lets go of what blocked it", () => {
    expect(shown(applying())).toBe("apply_started");
    expect(written(applying(), "change_sets")).toMatchObject([
      {
        status: "APPLYING",
        status_reason: null,
        blocked: null,
        attempts: 2,
        application_id: "id-1",
        updated_at_ms: nowMs,
      },
    ]);
    expect(written(applying(), "applications")).toMatchObject([
      {
        ...{ id: "id-1", kind: "APPLY", mode: "MANUAL", attempt: 2, status: "RUNNING", started_by: "builder" },
        ...{ plan: { phase: "forward", resumed: false, actor: { type: "agent", id: "builder", humans: ["alice"] } } },
        ...{ reason: null, errors: [], started_at_ms: nowMs, ended_at_ms: null },
      },
    ]);
  });
  it("takes holds: new ones are inserted, free ones written at the version they were read in", () =>
    expect(changeOf(applying()).entries[0]?.writes?.filter((write) => write.table === "target_holds")).toEqual([
      {
        ...{ verb: "update", table: "target_holds", from: 3 },
        row: { id: "file:w:a", application_id: "id-1", change_set_id: "cs" },
      },
      {
        ...{ verb: "insert", table: "target_holds" },
        row: { id: "file:w:b", application_id: "id-1", change_set_id: "cs" },
      },
    ]));
  it("of an apply is guarded by the kill-switch, the limits and what it depends on", () =>
    expect(changeOf(applying()).guards.slice(-3)).toEqual([
      guard,
      dependency,
      { kind: "epoch", name: "kill", value: 6 },
    ]));
  it("cites the votes that allow it", () =>
    expect(changeOf(applying()).entries[0]).toMatchObject({
      refs: [{ type: "vote", id: "vote-bob" }],
      data: { application: "id-1", kind: "APPLY", attempt: 2, items: 1 },
    }));

  it("of going on is the same attempt", () => {
    const decided = decideResume(
      ready("PARTIALLY_APPLIED", { changeSet: { attempts: 2 } }),
      { caller: callerOf("alice") },
      at(),
    );
    expect(shown(decided)).toBe("apply_resumed");
    expect(written(decided, "applications")).toMatchObject([{ kind: "APPLY", attempt: 2, plan: { resumed: true } }]);
    expect(written(decided, "change_sets")).toMatchObject([{ status: "APPLYING", attempts: 2 }]);
    expect(changeOf(decided).guards.at(-1)).toEqual({ kind: "epoch", name: "kill", value: 6 });
  });

  const rollingBack = (status: Status, reason?: string) =>
    decideRollback({ ...ready(status), as: "approver" }, { caller: callerOf("bob"), reason }, at());
  it("of a rollback says by what authority, and no kill-switch stops it", () => {
    const decided = rollingBack("APPLIED", "wrong");
    expect(shown(decided)).toBe("rollback_started");
    expect(changeOf(decided).entries[0]).toMatchObject({
      data: { kind: "ROLLBACK", as: "approver" },
      body: { reason: "wrong" },
    });
    expect(written(decided, "change_sets")).toMatchObject([{ status: "ROLLING_BACK" }]);
    expect(written(decided, "applications")).toMatchObject([{ reason: "wrong", plan: { resumed: false } }]);
    expect(changeOf(decided).guards.some((one) => one.kind === "epoch" && one.name === "kill")).toBe(false);
  });
  it("of a rollback of what was applied partly knows that targets may be back already", () => {
    expect(written(rollingBack("PARTIALLY_APPLIED"), "applications")).toMatchObject([{ plan: { resumed: true } }]);
    expect(changeOf(rollingBack("PARTIALLY_APPLIED")).entries[0]).not.toHaveProperty("body");
  });
});

// ── Going on ─────────────────────────────────────────────────────────────────────────────────────────────────────────

describe("who may go on, and when", () => {
  const check = (
    name: string,
    of: { status?: Status; by?: string; given?: Given; kill?: KillLoaded },
    expected: string,
  ) =>
    it(`${name}: ${expected}`, () => {
      const { status = "PARTIALLY_APPLIED", by = "alice", given = {}, kill = free } = of;
      expect(shown(checkResume(loadedIn(status, given), { caller: callerOf(by), kill }, nowMs))).toBe(expected);
    });
  for (const status of statuses)
    check(status, { status }, status === "PARTIALLY_APPLIED" ? "fine" : "illegal_transition");
  check("an operator", { by: "rita" }, "fine");
  check("the agent itself", { by: "builder" }, "forbidden");
  check("a reviewer", { by: "bob" }, "forbidden");
  check("who answers for the author now", { by: "alice", given: { changeSet: { author_humans: ["bob"] } } }, "fine");
  check("with the kill-switch engaged", { kill: engaged }, "kill_switch_engaged");
  check("what was erased", { given: { changeSet: { erased_at_ms: 5 } } }, "erased");
});

describe("whether what was approved is still allowed", () => {
  const check = (name: string, given: Given, expected: string) =>
    it(`${name}: ${expected}`, () =>
      expect(shown(checkStillAllowed(loadedIn("PARTIALLY_APPLIED", { configuration: granted, ...given }), nowMs))).toBe(
        expected,
      ));
  check("all as it was", approved, "fine");
  check("nobody approves any more", {}, "approvals_missing");
  check("without a grant", { ...approved, configuration: configuration() }, "policy_denied");
  check(
    "the author suspended: its roles permit nothing, its grants still do",
    { ...approved, people: suspended("builder") },
    "fine",
  );
  check("in a freeze window", { ...approved, configuration: { ...granted, freeze: frozen.freeze } }, "frozen");
});

// ── Taking back ──────────────────────────────────────────────────────────────────────────────────────────────────────

describe("what may be taken back", () => {
  it("not what was said to be irreversible", () => {
    const items = [itemRow(), itemRow({ sequence: 2, target_id: "b", reversibility: "irreversible" })];
    expect(checkReversible(loadedIn("APPLIED", { items }).whole)).toMatchObject({
      code: "irreversible",
      message: expect.stringContaining("`b`") as string,
    });
    expect(checkReversible(loadedIn("APPLIED").whole)).toBeUndefined();
  });

  interface Asked {
    readonly by?: string;
    readonly given?: Given;
    readonly proven?: boolean;
    readonly later?: readonly { id: string; number: string }[];
    readonly timeMs?: number;
  }
  const check = (name: string, of: Asked, expected: string) =>
    it(`${name}: ${expected}`, () => {
      const { by = "alice", given = {}, proven = false, later = [], timeMs = nowMs } = of;
      const changeSet = { applied_at_ms: nowMs, ...given.changeSet };
      const loaded = loadedIn("APPLIED", { ...approved, ...given, changeSet });
      const allowed = checkRollback(loaded, { caller: callerOf(by), proven, later }, timeMs);
      expect(isRefusal(allowed) ? allowed.code : allowed.as).toBe(expected);
    });
  const rules = [itemRow({ target_environment: "system" })];
  const later = [{ id: "cs2", number: "CS-2" }];

  check("by the author's human", {}, "author_human");
  check("by who approved it", { by: "bob" }, "approver");
  check("by the on-call role", { by: "olga" }, "on_call");
  check("by somebody who did not approve it", { by: "carol" }, "rollback_not_permitted");
  check("by the agent itself", { by: "builder" }, "rollback_not_permitted");
  check("by another agent", { by: "other" }, "rollback_not_permitted");
  check("after the undo window", { timeMs: nowMs + 1_000 * hours }, "rollback_not_permitted");
  check(
    "what cannot be undone exactly",
    { given: { items: [itemRow({ reversibility: "compensating" })] } },
    "rollback_not_permitted",
  );
  check("what something builds on", { later }, "rollback_blocked");
  check("what something builds on, by another agent", { by: "other", later }, "rollback_not_permitted");
  check("what governs the tenant, by a stored login", { given: { items: rules } }, "precondition_required");
  check("what governs the tenant, proven", { given: { items: rules }, proven: true }, "author_human");
  check(
    "what governs the tenant and something builds on, by a stored login",
    { given: { items: rules }, later },
    "precondition_required",
  );

  it("names what builds on it, for the cascade", () =>
    expect(
      checkRollback(loadedIn("APPLIED", approved), { caller: callerOf("alice"), proven: false, later }, nowMs),
    ).toMatchObject({
      details: { of: "cs", later },
    }));
});

describe("what builds on it", () => {
  const check = (name: string, own: number | null, others: Record<string, number | null>, expected: string[]) =>
    it(name, () => {
      const { changeSet } = loadedIn("APPLIED", { changeSet: { id: "m", applied_at_ms: own } }).whole;
      const rows = Object.entries(others).map(
        ([id, applied]) => ({ id, number: id, applied_at_ms: applied }) as Overlap,
      );
      expect(laterOnTop({ changeSet, application: null }, rows).map((one) => one.id)).toEqual(expected);
    });
  check("nothing", 10, {}, []);
  check("what was applied later, newest first", 10, { a: 11, b: 20, c: 9 }, ["b", "a"]);
  check("of those applied at the same time, the one after it", 10, { a: 10, z: 10 }, ["z"]);
  check("what is under way, before all that ended", 10, { a: 30, b: null }, ["b", "a"]);
  check("of two that were never applied whole, one alone", null, { a: null, z: null }, ["z"]);
});

describe("targets that changed since", () => {
  const check = (name: string, hashes: (string | null)[], expected: string) =>
    it(`${name}: ${expected}`, () => {
      const items = [itemRow(), itemRow({ sequence: 2, target_id: "b" })];
      const { whole } = loadedIn("APPLIED", { items });
      const states = items.map((item, index) => {
        const hash = hashes[index] === "after" ? (item.effects[0]?.after.hash ?? null) : (hashes[index] ?? null);
        return [item.target_key, { exists: hash !== null, hash }] as const;
      });
      expect(shown(rollbackDrift(whole, new Map(states)))).toBe(expected);
    });
  check("none", ["after", "after"], "fine");
  check("one", ["after", "0"], "drift");
  check("one that is gone", [null, "after"], "drift");
});

// ── What a refused apply leaves behind ───────────────────────────────────────────────────────────────────────────────

describe("an apply that is refused", () => {
  it("for drift: it stays approved and says so, without a guard that would make it wait", () => {
    const decided = decideBlocked(loadedIn("APPROVED", approved).whole, { caller: callerOf("system") }, at());
    expect(shown(decided)).toBe("blocked");
    expect(written(decided, "change_sets")).toMatchObject([{ status: "APPROVED", blocked: "drift" }]);
    expect(changeOf(decided).guards).toEqual([]);
  });
  it("for drift that is gone again: nothing", () =>
    expect(shown(decideBlocked(undefined, { caller: callerOf("system") }, at()))).toBe("nothing"));

  const reroute = (judgement: Partial<Judgement>, given: Given = approved) =>
    decideReroute(
      { ...loadedIn("APPROVED", given), judgement: { decision: decision(), risk, ...judgement } },
      { caller: callerOf("system") },
      at(),
    );
  const check = (name: string, judgement: Partial<Judgement>, expected: string, given: Given = approved) =>
    it(`for approvals, ${name}: ${expected}`, () => expect(shown(reroute(judgement, given))).toBe(expected));
  check("which are there", {}, "nothing");
  check("of which one is missing now", { risk: { ...risk, approvalsByLevel: 2 } }, "rerouted");
  check("which signed another outcome of policy", { decision: decision("require_approval") }, "rerouted");
  check("which nobody could give", { risk: { ...risk, approvalsByLevel: 3 } }, "nothing");
  check("of somebody who does not count any more", {}, "rerouted", { votes: [voteRow("alice")] });
  check("where nobody is asked any more", { risk: { ...risk, approvalsByLevel: 0, auto: true } }, "nothing");
  it("somebody was faster: nothing", () =>
    expect(shown(decideReroute(undefined, { caller: callerOf("system") }, at()))).toBe("nothing"));

  it("another route voids the votes, for they signed another digest", () => {
    const decided = reroute({ risk: { ...risk, approvalsByLevel: 2 } });
    const [changeSet] = written(decided, "change_sets");
    expect(changeSet).toMatchObject({
      ...{ status: "PENDING_APPROVAL", status_reason: "rerouted", required_approvals: 2 },
      ...{ deadline_at_ms: nowMs + 24 * hours, approved_until_ms: null },
    });
    expect(written(decided, "votes")).toMatchObject([{ id: "vote-bob", dismissed: true }]);
    expect(changeOf(decided).entries[0]?.data).toMatchObject({
      digest: changeSet?.["approval_digest"],
      required: 2,
      votesDismissed: 1,
    });
  });
  it("the same route lets them stand", () => {
    const decided = reroute({}, { votes: [voteRow("alice")], required: 1 });
    expect(written(decided, "votes")).toEqual([]);
    expect(changeOf(decided).entries[0]?.data).toMatchObject({ votesDismissed: 0 });
  });
});
