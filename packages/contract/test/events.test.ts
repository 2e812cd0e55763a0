/** The catalogue of events by itself; that it says what is written is shown by every test with a ledger (server/test/support/eventCatalogue.ts). */
import { describe, expect, expectTypeOf, it, test } from "vitest";
import {
  type Action,
  actions,
  actionsMarked,
  concerned,
  type EventData,
  type EventSubject,
  eventRow,
  isAction,
  sentenceOf,
  statusAfter,
  subjectTypes,
} from "../src/index.js";

const id = "0199c000-0000-7000-8000-0000000000d1";
const digest = "a".repeat(64);

describe.each(actions)("%s", (action) => {
  const row = eventRow(action);
  it("is named noun.verb, as the ledger's format has it", () =>
    expect(action).toMatch(/^[a-z][a-z0-9_]*\.[a-z][a-z0-9_]*$/));
  it("is about known subjects and concerns somebody", () => {
    expect(row.subjects.length).toBeGreaterThan(0);
    expect(subjectTypes).toEqual(expect.arrayContaining([...row.subjects]));
    expect(row.concerns.length).toBeGreaterThan(0);
    expect(Object.keys(concerned)).toEqual(expect.arrayContaining([...row.concerns]));
  });
});

test("actions that lead a change-set somewhere are those about change-sets, and no others", () => {
  expect(actions.filter((action) => action.startsWith("change_set.")).sort()).toEqual(Object.keys(statusAfter).sort());
});

test("whatever happens to principals may change what somebody may read", () => {
  expect(actionsMarked("changesAccess")).toEqual(actions.filter((action) => action.startsWith("principal.")));
});

test("names of members of objects are no actions", () => {
  expect(["constructor", "toString", "__proto__", "change_set.planned"].filter(isAction)).toEqual([]);
});

describe("the sentence for people", () => {
  const check = (action: string, data: Record<string, unknown>, expected: string): void =>
    it(expected, () => expect(sentenceOf({ action, actor: "ada", subject: "CS-1", data })).toBe(expected));
  const vote = { revision: digest, digest, voter: id, key: id, atMs: 1, signature: "A".repeat(86) };
  check("change_set.vote_cast", { ...vote, decision: "APPROVED" }, "ada approved CS-1, signed");
  check(
    "change_set.vote_cast",
    { ...vote, decision: "REJECTED", selfApproved: true },
    "ada rejected CS-1, signed; they are answerable for its author",
  );
  check("change_set.items_applied", { application: id, items: [1, 2] }, "ada carried out items 1, 2 of CS-1");
  check("change_set.items_applied", { application: id, items: Array(13).fill(1) }, "ada carried out 13 items of CS-1");
  check("refusal.recorded", { code: "policy_denied", count: 3 }, "ada was refused at CS-1: policy_denied, 3 times");
  check(
    "principal.key_revoked",
    { key: id, later: "a member of a newer version" },
    "ada revoked a signing key of CS-1",
  );
  // What is not as the catalogue says is told by its action alone, and never as if it were.
  check("principal.key_revoked", { key: "<script>" }, "ada: principal.key_revoked CS-1");
  check("change_set.vote_cast", {}, "ada: change_set.vote_cast CS-1");
  check("thing.done", { code: 1 }, "ada: thing.done CS-1");
  check("constructor", {}, "ada: constructor CS-1");
});

test("data and subject are typed by the action", () => {
  expectTypeOf<EventData<"principal.key_revoked">>().toHaveProperty("key").toEqualTypeOf<string>();
  expectTypeOf<EventSubject<"kill_switch.held">>().toEqualTypeOf<"tenant">();
  expectTypeOf<EventSubject<"subject.erased">>().toEqualTypeOf<"change_set" | "principal">();
  expectTypeOf<"change_set.planned">().not.toExtend<Action>();
  // Where one of two is written, the data fits both.
  expectTypeOf<EventData<"change_set.cancelled" | "change_set.resolved">>().toHaveProperty("as");
});
