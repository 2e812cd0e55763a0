/** Submitting, decided: who may, in which status, and what becomes of it by policy, risk and the people there are. */
import { describe, expect, it } from "vitest";
import { statuses, type RiskAssessment, type Status } from "@countersign/contract";
import { judgePlan, type Judgement } from "../../src/change-sets/proposing/judgement.rules.js";
import type { Plan } from "../../src/change-sets/proposing/plan.js";
import { checkSubmission, decideSubmission } from "../../src/change-sets/proposing/submission.rules.js";
import { noHistory } from "../../src/governance/index.js";
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
  written,
} from "../support/changeSets.js";
import { configuration } from "../support/governance.js";

const hours = 3_600_000;

describe("submitting is refused before anything is judged", () => {
  const check = (status: Status, by: string, expected: string, given: Given = {}) =>
    it(`${status} by ${by}: ${expected}`, () =>
      expect(shown(checkSubmission(loadedIn(status, given), callerOf(by)))).toBe(expected));

  check("DRAFT", "builder", "fine");
  check("DRAFT", "alice", "fine");
  check("DRAFT", "bob", "forbidden");
  check("DRAFT", "other", "forbidden");
  check("DRAFT", "rita", "forbidden");
  check("DRAFT", "builder", "erased", { changeSet: { erased_at_ms: 5 } });
  // That it is not legal is told before who may: it holds for everybody.
  for (const status of statuses.filter((one) => one !== "DRAFT")) check(status, "bob", "illegal_transition");
});

const low: RiskAssessment = { ...risk, approvalsByLevel: 0, auto: true };

describe("what was judged decides", () => {
  const submit = (judgement: Partial<Judgement>, given: Given = {}) =>
    decideSubmission(
      {
        ...loadedIn("DRAFT", given),
        judgement: { decision: decision(), risk, ...judgement },
        counters: [{ kind: "counter", key: "limit", add: 1, max: 600 }],
      },
      { caller: callerOf("builder") },
      at(),
    );
  const check = (name: string, judgement: Partial<Judgement>, expected: string, given: Given = {}) =>
    it(`${name}: ${expected}`, () => expect(shown(submit(judgement, given))).toBe(expected));

  check("policy denies", { decision: decision("deny") }, "rejected → REJECTED");
  check(
    "policy denies, though nobody would have to be asked",
    { decision: decision("deny"), risk: low },
    "rejected → REJECTED",
  );
  check("allowed, at a risk people are asked about", {}, "submitted → PENDING_APPROVAL");
  check(
    "policy wants people, at low risk",
    { decision: decision("require_approval"), risk: low },
    "submitted → PENDING_APPROVAL",
  );
  check("allowed, at low risk", { risk: low }, "approved → APPROVED");
  check("at low risk, and cannot be undone", { risk: low }, "submitted → PENDING_APPROVAL", {
    items: [itemRow({ reversibility: "irreversible" })],
  });
  check("at low risk, where nothing is approved by itself", { risk: low }, "submitted → PENDING_APPROVAL", {
    configuration: configuration({ approvals: { ...configuration().approvals, auto: false } }),
  });
  check("nobody could approve it", {}, "route_unsatisfiable", {
    people: peopleOf({ alice: everybody["alice"] ?? {}, builder: everybody["builder"] ?? {} }),
  });
  check("more are asked than there are", { risk: { ...risk, approvalsByLevel: 3 } }, "route_unsatisfiable");
  check(
    "more are asked than there are, in a team",
    { risk: { ...risk, approvalsByLevel: 3 } },
    "submitted → PENDING_APPROVAL",
    {
      people: peopleOf(everybody, { mode: "team" }),
    },
  );
  check("only the author's human could, in mode solo", {}, "submitted → PENDING_APPROVAL", {
    people: peopleOf({ alice: everybody["alice"] ?? {}, builder: everybody["builder"] ?? {} }, { mode: "solo" }),
  });

  it("a submission waits until its deadline, and fixes what people sign", () => {
    const decided = submit({});
    const [changeSet] = written(decided, "change_sets");
    const [revision] = written(decided, "revisions");
    expect(changeSet).toMatchObject({
      status: "PENDING_APPROVAL",
      submitted_at_ms: nowMs,
      deadline_at_ms: nowMs + 24 * hours,
      approved_until_ms: null,
      required_approvals: 1,
      approval_digest: revision?.["approval_digest"],
    });
    expect(revision).toMatchObject({ risk, policy: decision(), route: { required: 1, auto: false } });
    expect(written(decided, "items")).toMatchObject([{ policy: { sequence: 1, outcome: "allow" } }]);
    const { entries, guards } = changeOf(decided);
    expect(entries[0]?.data).toEqual({
      ...{ revision: revision?.["digest"], digest: revision?.["approval_digest"], risk: "LOW", score: 20 },
      ...{ required: 1, auto: false, policy: "allow" },
    });
    expect(entries[0]?.body).toEqual({ route: revision?.["route"] });
    expect(guards.map((guard) => guard.kind)).toEqual(["row", "row", "epoch", "epoch", "counter"]);
  });

  it("approved at once, the approval may be used as long as there would have been to decide", () =>
    expect(written(submit({ risk: low }, { changeSet: { priority: "LOW" } }), "change_sets")).toMatchObject([
      { status: "APPROVED", deadline_at_ms: null, approved_until_ms: nowMs + 48 * hours, required_approvals: 0 },
    ]));

  it("denied, it names the items, counts against no limit and is nothing to be approved", () => {
    const decided = submit({ decision: decision("deny", 2) }, { items: [itemRow(), itemRow({ sequence: 2 })] });
    expect(changeOf(decided).entries[0]).toMatchObject({
      data: { reason: "policy_denied", denied: [1, 2] },
      body: { items: decision("deny", 2).items },
    });
    expect(changeOf(decided).guards.map((guard) => guard.kind)).toEqual(["row", "row", "epoch", "epoch"]);
    expect(written(decided, "change_sets")).toMatchObject([{ status_reason: "policy_denied", approval_digest: null }]);
    expect(written(decided, "revisions")).toMatchObject([{ route: null, approval_digest: null }]);
  });
});

describe("a plan is judged", () => {
  const everything = { id: "all", principals: ["*"], operations: ["*"], targets: ["*"] };
  const granted = configuration({ grants: { grants: [everything] } });
  /** The plan as it is stored, with the effects of the first item changed. */
  const planOf = (
    items: readonly ReturnType<typeof itemRow>[],
    change: Partial<ReturnType<typeof itemRow>> = {},
  ): Plan => ({
    items: items.map((item) => ({
      ...{ sequence: item.sequence, position: item.position, input: item.input },
      planned: {
        ...{ effects: item.effects, diff: item.diff, reversibility: item.reversibility, flags: item.flags },
        ...(item.sequence === 1 ? change : {}),
        blobs: new Map(),
      },
    })),
    checked: items.map((item) => ({
      ...{ input: item.input, kind: "resource" as const },
      targets: item.effects.map((effect) => effect.target),
    })),
  });
  const judge = (given: Given, plan: Plan) => judgePlan(loadedIn("DRAFT", given), plan, noHistory);
  const stored = [itemRow(), itemRow({ sequence: 2, target_id: "b" })];
  const [first] = stored[0]?.effects ?? [];
  if (first === undefined) throw new Error("an item has an effect");

  it("with a decision for every item, and the risk of all", () =>
    expect(judge({ items: stored, configuration: granted }, planOf(stored))).toMatchObject({
      decision: { outcome: "allow", items: [{ sequence: 1 }, { sequence: 2 }] },
      risk: { level: "MEDIUM" },
    }));
  it("without a grant: denied", () =>
    expect(judge({ items: stored }, planOf(stored))).toMatchObject({ decision: { outcome: "deny" } }));

  const drift = (name: string, effect: Partial<typeof first>, expected: string) =>
    it(`${name}: ${expected}`, () => {
      const plan = planOf(stored, { effects: [{ ...first, ...effect }] });
      const judged = judge({ items: stored, configuration: granted }, plan);
      expect("code" in judged ? judged.code : "judged").toBe(expected);
    });
  drift("the same", {}, "judged");
  drift("another state before", { before: { exists: true, hash: "0" } }, "drift");
  drift("another outcome", { after: { ...first.after, hash: "0" } }, "drift");
  drift("another environment", { target: { ...first.target, environment: "production" } }, "drift");
  drift("another target", { target: { ...first.target, key: "other" } }, "drift");
  drift("other bytes of a file that is there still", { after: { exists: true, hash: "0" } }, "drift");

  it("of a file it does not matter in which order its members come out", () => {
    const file = { ...first, target: { ...first.target, kind: "file" as const }, after: { exists: true, hash: "1" } };
    const items = [itemRow({ effects: [file] })];
    const plan = planOf(items, { effects: [{ ...file, after: { exists: true, hash: "2" } }] });
    expect(judge({ items, configuration: granted }, plan)).not.toHaveProperty("code");
  });
});
