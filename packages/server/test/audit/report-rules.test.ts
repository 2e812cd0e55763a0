/** What entries of one change-set mean: tables of stories, and what a report makes of them. */
import type { JsonObject } from "@countersign/contract";
import { expect, test } from "vitest";
import { gap, reportOf, ReportTally, type StoryFacts, type ToldEntry } from "../../src/audit/report.rules.js";

const author = "11111111-1111-7111-8111-111111111111";
const voter = "22222222-2222-7222-8222-222222222222";
const digest = "ab".repeat(32);

const names: Readonly<Record<string, string>> = { [author]: "builder", [voter]: "bob" };

function told(
  ...steps: readonly (readonly [action: string, data?: JsonObject, more?: Partial<ToldEntry>])[]
): ToldEntry[] {
  return steps.map(([action, data = {}, more], seq) => ({
    seq,
    timeMs: Date.UTC(2026, 10, 20) + seq * 1_000,
    actor: { id: author, humans: [voter] },
    action: action.includes(".") ? action : `change_set.${action}`,
    data,
    body: null,
    bodyState: "none",
    ...more,
  }));
}

function story(entries: readonly ToldEntry[], more: Partial<StoryFacts> = {}) {
  return reportOf({
    id: "33333333-3333-7333-8333-333333333333",
    entries,
    row: undefined,
    items: [],
    wanted: () => true,
    signature: () => ({ signature: "verified", detail: null, fingerprint: null }),
    name: (id) => names[id] ?? null,
    period: { from: 0, to: entries.length - 1 },
    covered: undefined,
    mismatches: [],
    excused: () => undefined,
    ...more,
  });
}

const begin = [
  ["created", { number: "CS-1", risk: "LOW", score: 7 }],
  ["submitted", { digest, policy: "allow", required: 1 }],
] as const;
const started = (application: string, kind = "apply") => [`${kind}_started`, { application, attempt: 1 }] as const;

const statuses: readonly [string, readonly (readonly [string, JsonObject?])[], string][] = [
  ["nothing", [], "UNKNOWN"],
  ["drafted", [["created"]], "DRAFT"],
  ["waiting", [...begin], "PENDING_APPROVAL"],
  ["revised after it was submitted", [...begin, ["revised"]], "DRAFT"],
  ["approved, then more approvals are asked for", [...begin, ["approved"], ["rerouted"]], "PENDING_APPROVAL"],
  ["applied", [...begin, ["approved"], started("a"), ["applied", { application: "a" }]], "APPLIED"],
  ["failed once", [["approved"], started("a"), ["apply_compensated", { application: "a" }]], "APPROVED"],
  [
    "failed as often as it may",
    [
      ["approved"],
      ...["a", "b", "c"].flatMap((id) => [started(id), ["apply_compensated", { application: id }] as const]),
    ],
    "REJECTED",
  ],
  [
    "failed often, approved anew, failed once",
    [
      ...["a", "b"].flatMap((id) => [started(id), ["apply_compensated", { application: id }] as const]),
      ["approved"],
      started("c"),
      ["apply_compensated", { application: "c" }],
    ],
    "APPROVED",
  ],
  ["partly applied, then resolved", [["partially_applied"], ["resolved", { as: "not_applied" }]], "ROLLED_BACK"],
  ["a rollback that was refused", [["applied"], ["rollback_started"], ["rollback_refused"]], "APPLIED"],
  ["ended by its deadline", [...begin, ["expired"]], "REJECTED"],
  ["an action nobody knows", [...begin, ["sung_about"]], "PENDING_APPROVAL"],
];
test.each(statuses)("%s", (_, steps, status) => {
  expect(story(told(...steps)).status).toBe(status);
});

test("runs: begun by an intent, ended by an outcome, with the codes between", () => {
  const { runs, halted } = story(
    told(
      started("a"),
      ["apply_failed", { application: "a", code: "kill_switch_engaged" }],
      ["apply_failed", { application: "a", code: "kill_switch_engaged" }],
      ["apply_compensated", { application: "a" }],
      started("b"),
      ["applied", { application: "unknown" }], // of a run that never began: not believed to end another
      ["rollback_started", { application: "c", as: "on_call" }, { body: { reason: "fire" }, bodyState: "present" }],
      ["rolled_back", { application: "c" }],
    ),
  );
  expect(runs).toMatchObject([
    { application: "a", outcome: "compensated", codes: ["kill_switch_engaged"], ended: { seq: 3 } },
    { application: "b", outcome: "running", ended: null },
    { application: "c", kind: "ROLLBACK", outcome: "succeeded", as: "on_call", reason: "fire" },
  ]);
  expect(halted).toBe(true);
});

test("votes bind when they signed what was approved in the end", () => {
  const vote = (signed: string): readonly [string, JsonObject] => [
    "vote_cast",
    { voter, decision: "APPROVED", key: "k", digest: signed, selfApproved: false },
  ];
  const { votes, approved } = story(told(...begin, vote("cd".repeat(32)), vote(digest), ["approved", { digest }]));
  expect(votes.map((one) => [one.voter.name, one.binding])).toEqual([
    ["bob", false],
    ["bob", true],
  ]);
  expect(approved).toMatchObject({ automatic: false });
  // What a forged entry holds is shown as nothing rather than as anything.
  expect(story(told(["vote_cast", { voter: 7, digest: "x", decision: null }])).votes).toMatchObject([
    { voter: { id: author }, decision: "unknown", digest: null, binding: false },
  ]);
});

test("what is missing is named, once, with its reason", () => {
  const entries = told(
    ["created", {}, { bodyState: "erased" }],
    ["entry.unreadable", {}, { contentMissing: true }],
    ["entry.unreadable", {}, { contentMissing: true }],
    ["approved"],
  );
  const { missing } = story(entries, {
    covered: 3,
    excused: (seq) => (seq === 1 ? "content_pruned" : undefined),
    mismatches: [
      { seq: 1, message: "ERASED_WITHOUT_ENTRY seq=1" },
      { seq: 2, message: "ERASED_WITHOUT_ENTRY seq=2" },
      { seq: null, message: "STATE_MISMATCH" },
    ],
  });
  expect(missing).toMatchObject([
    { kind: "body_erased", seqs: [0], count: 1 },
    { kind: "content_pruned", seqs: [1], count: 1 },
    { kind: "unverifiable", seqs: [2], count: 2, message: "ERASED_WITHOUT_ENTRY seq=2; STATE_MISMATCH" },
    { kind: "not_covered", seqs: [3], count: 1 },
    { kind: "still_open", count: 1 },
  ]);
});

test("sums count what happened within the period", () => {
  const tally = new ReportTally();
  const whole = story(
    told(
      ...begin,
      ["approved", { auto: true }],
      started("a"),
      ["applied", { application: "a" }],
      started("b", "rollback"),
      ["rolled_back", { application: "b" }],
    ),
  );
  tally.take(whole, { from: 5, to: 99 });
  tally.take(story(told(["created"])), { from: 0, to: 99 });
  expect(tally.summary().counts).toMatchObject({
    changeSets: 2,
    applied: 0,
    rolledBack: 1,
    automatic: 0,
    open: 1,
    failed: 0,
  });
});

test("lists are bounded, counts are not", () => {
  const many = Array.from({ length: 5_000 }, (_, seq) => seq);
  expect(gap("not_covered", many, "")).toMatchObject({ count: 5_000, seqs: { length: 100 } });
  const { seqs, entries } = story(told(...many.map(() => ["vote_dismissed"] as const)));
  expect([seqs.length, entries]).toEqual([500, 5_000]);
});
