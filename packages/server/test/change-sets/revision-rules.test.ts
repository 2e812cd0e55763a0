/** Creating and revising, decided: who may, in which status, and the rows of a revision. */
import { describe, expect, it } from "vitest";
import { type ChangeSetInput, changeSetInput, isRefusal, statuses, type Status } from "@countersign/contract";
import { revisionDigestOfItems } from "@countersign/proof";
import type { Plan } from "../../src/change-sets/proposing/plan.js";
import {
  checkCreation,
  checkDependencies,
  checkRevision,
  decideCreation,
  decideRevision,
  type Proposal,
} from "../../src/change-sets/proposing/revision.rules.js";
import type { Overlap } from "../../src/change-sets/queries.js";
import {
  at,
  callerOf,
  changeOf,
  type Given,
  itemRow,
  loadedIn,
  nowMs,
  peopleOf,
  risk,
  shown,
  voteRow,
  written,
} from "../support/changeSets.js";
import { configuration } from "../support/governance.js";

const planned = itemRow();
const plan: Plan = {
  items: [
    {
      ...{ sequence: 1, position: 1, input: planned.input },
      planned: { effects: planned.effects, diff: [], reversibility: "exact", flags: [], blobs: new Map() },
    },
  ],
  checked: [{ input: planned.input, kind: "resource", targets: planned.effects.map((effect) => effect.target) }],
};
const overlap: Overlap = {
  ...{ id: "cs2", number: "CS-2", title: "Other", status: "APPROVED", applied_at_ms: null, target: "a" },
};
const proposal: Proposal = {
  ...{ plan, risk, overlaps: [overlap] },
  category: { kind: "category", category: "CONFIG_UPDATE", derived: "CONFIG_UPDATE", items: ["CONFIG_UPDATE"] },
};
const input: ChangeSetInput = changeSetInput.parse({ title: "New", description: "Words", items: [planned.input] });

describe("creating", () => {
  const check = (by: string, priority: ChangeSetInput["priority"], expected: string) =>
    it(`${priority} by ${by}: ${expected}`, () =>
      expect(shown(checkCreation({ priority }, callerOf(by)))).toBe(expected));
  for (const priority of ["LOW", "NORMAL"] as const) {
    check("builder", priority, "fine");
    check("alice", priority, "fine");
  }
  for (const priority of ["HIGH", "CRITICAL"] as const) {
    check("builder", priority, "priority_needs_human");
    check("sync", priority, "priority_needs_human");
    check("alice", priority, "fine");
  }

  const create = () =>
    decideCreation(
      {
        ...{ people: peopleOf(), configuration: configuration(), configurationEpoch: 4, proposal },
        ...{ dependsOn: ["cs9"], number: "CS-7", counters: [{ kind: "counter", key: "limit", add: 1, max: 600 }] },
      },
      { caller: callerOf("builder"), input },
      at(),
    );

  it("makes a draft at revision 1, with everybody it rests on", () => {
    const decided = create();
    expect(shown(decided)).toBe("created → DRAFT");
    expect(written(decided, "change_sets")).toMatchObject([
      {
        ...{ id: "id-1", number: "CS-7", title: "New", author_id: "builder", author_humans: ["alice"] },
        ...{ status: "DRAFT", revision: 1, revision_id: "id-2", depends_on: ["cs9"], attempts: 0 },
        ...{ approval_digest: null, created_at_ms: nowMs, updated_at_ms: nowMs, risk_score: 20 },
      },
    ]);
    expect(written(decided, "items")).toMatchObject([{ id: "id-3", revision_id: "id-2", sequence: 1, policy: null }]);
    expect(changeOf(decided).guards).toEqual([
      { kind: "row", table: "api_keys", id: "k", version: 1 },
      { kind: "absent", table: "change_sets", key: { number: "CS-7" } },
      { kind: "epoch", name: "config", value: 4 },
      { kind: "counter", key: "limit", add: 1, max: 600 },
    ]);
  });

  it("is one entry, whose digest is that of the items under a nonce of its own", () => {
    const decided = create();
    const [revision] = written(decided, "revisions");
    const nonce = "00".repeat(32);
    expect(revision).toMatchObject({
      nonce,
      digest: revisionDigestOfItems(nonce, [planned]),
      item_count: 1,
      number: 1,
    });
    expect(changeOf(decided).entries.map(({ data, body }) => ({ data, body }))).toEqual([
      {
        data: {
          ...{ number: "CS-7", revision: revision?.["digest"], items: 1, category: "CONFIG_UPDATE" },
          ...{ priority: "NORMAL", risk: "LOW", score: 20 },
        },
        body: { title: "New", description: "Words" },
      },
    ]);
  });

  it("shows who else is under way on its targets", () =>
    expect(create()).toMatchObject({ result: { changeSet: { conflicts: [{ number: "CS-2" }], approvals: null } } }));
});

describe("revising is refused before anything is planned", () => {
  const legal: readonly Status[] = ["DRAFT", "PENDING_APPROVAL", "APPROVED", "REJECTED", "ROLLED_BACK"];
  const check = (
    name: string,
    of: { status?: Status; by?: string; revision?: number; priority?: ChangeSetInput["priority"]; given?: Given },
    expected: string,
  ) =>
    it(`${name}: ${expected}`, () => {
      const { status = "DRAFT", by = "builder", revision = 2, priority, given = {} } = of;
      const asked = { caller: callerOf(by), input: priority === undefined ? { revision } : { revision, priority } };
      expect(shown(checkRevision(loadedIn(status, given), asked))).toBe(expected);
    });

  for (const status of statuses) check(status, { status }, legal.includes(status) ? "fine" : "illegal_transition");
  check("by the author's human", { by: "alice" }, "fine");
  check("by somebody else", { by: "bob" }, "forbidden");
  check("by another agent", { by: "other" }, "forbidden");
  check("of a revision that was", { revision: 1 }, "precondition_failed");
  check("of a revision that is not yet", { revision: 3 }, "precondition_failed");
  check("to HIGH by the agent", { priority: "HIGH" }, "priority_needs_human");
  check("to HIGH by a person", { priority: "HIGH", by: "alice" }, "fine");
  check("of what was erased", { given: { changeSet: { erased_at_ms: 5 } } }, "erased");
  // The first of several reasons is told.
  check("illegal, by somebody else", { status: "APPLIED", by: "bob" }, "illegal_transition");
  check("of another revision, by somebody else", { revision: 9, by: "bob" }, "forbidden");
  check("of another revision, to HIGH", { revision: 9, priority: "HIGH" }, "precondition_failed");

  it("a change-set does not depend on itself", () => {
    const { whole } = loadedIn("DRAFT");
    expect(shown(checkDependencies(whole, ["cs2"]))).toBe("fine");
    expect(shown(checkDependencies(whole, ["cs2", "cs"]))).toBe("dependency_cycle");
  });
});

describe("a revision", () => {
  type Said = Omit<Parameters<typeof decideRevision>[1]["input"], "revision">;
  const revise = (status: Status, given: Given, said: Said = {}, by = "builder") =>
    decideRevision(
      { ...loadedIn(status, given), proposal, dependsOn: ["cs9"] },
      { caller: callerOf(by), input: { revision: 2, ...said } },
      at(),
    );
  for (const status of ["DRAFT", "PENDING_APPROVAL", "APPROVED", "REJECTED", "ROLLED_BACK"] as const)
    it(`of ${status} is a draft again`, () => {
      const decided = revise(status, { changeSet: { attempts: 2, blocked: "drift", status_reason: "vote" } });
      expect(shown(decided)).toBe("revised → DRAFT");
      expect(written(decided, "change_sets")).toMatchObject([
        {
          ...{ status: "DRAFT", status_reason: null, blocked: null, attempts: 0, revision: 3, revision_id: "id-1" },
          ...{ approval_digest: null, required_approvals: null, deadline_at_ms: null, approved_until_ms: null },
        },
      ]);
      expect(changeOf(decided).entries[0]?.data).toMatchObject({ from: status, number: 3 });
    });

  it("makes every vote void that stood", () => {
    const votes = [voteRow("bob"), voteRow("carol", { dismissed: true }), voteRow("dan", { revision_id: "old" })];
    const decided = revise("PENDING_APPROVAL", { votes });
    expect(written(decided, "votes").map((row) => [row["id"], row["dismissed"]])).toEqual([
      ["vote-bob", true],
      ["vote-dan", true],
    ]);
    expect(changeOf(decided).entries[0]?.data).toMatchObject({ votesDismissed: 2 });
    if (isRefusal(decided)) throw new Error("it is decided");
    expect(decided.result.changeSet.votes.map((vote) => vote.dismissed)).toEqual([true, true, true]);
  });

  const said = (name: string, from: Said, expected: object) =>
    it(name, () => expect(written(revise("DRAFT", {}, from), "change_sets")).toMatchObject([expected]));
  said("keeps what nothing is said of", {}, { title: "Title", description: "Text", priority: "NORMAL", tags: [] });
  said(
    "takes what is said",
    { title: "T2", tags: ["x"], priority: "LOW" },
    { title: "T2", tags: ["x"], priority: "LOW" },
  );
  said("takes an empty text too", { description: "" }, { description: "" });
  said("asks for a category", { category: "SECURITY" }, { category_requested: "SECURITY", category: "CONFIG_UPDATE" });

  it("asks for the category that was asked for before", () =>
    expect(written(revise("DRAFT", { changeSet: { category_requested: "SECURITY" } }), "change_sets")).toMatchObject([
      { category_requested: "SECURITY" },
    ]));
  it("excludes from voting who answered for the author before and who does now", () => {
    const moved = revise("DRAFT", { changeSet: { author_humans: ["bob"] } });
    expect(written(moved, "change_sets")).toMatchObject([{ author_humans: ["bob", "alice"] }]);
  });
  it("is guarded by the change-set, the configuration and the people", () =>
    expect(changeOf(revise("DRAFT", {})).guards.map((guard) => guard.kind)).toEqual(["row", "row", "epoch", "epoch"]));
});
