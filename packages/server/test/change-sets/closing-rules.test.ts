/** How a change-set ends without touching a target: cancelled, archived, resolved, and by time. Every refusal, every status. */
import { describe, expect, it } from "vitest";
import { statuses, type Status } from "@countersign/contract";
import { decideArchive, decideCancel, decideResolution } from "../../src/change-sets/deciding/closing.rules.js";
import { decideExpiry, due, overdue } from "../../src/change-sets/expiry.rules.js";
import type { BackupRow } from "../../src/change-sets/rows.js";
import { at, callerOf, changeOf, type Given, loadedIn, nowMs, shown, written } from "../support/changeSets.js";

const hours = 3_600_000;
const erased: Given = { changeSet: { erased_at_ms: 5 } };

describe("cancelling", () => {
  const cancel = (status: Status, by: string, given: Given = {}, reason?: string) =>
    decideCancel(loadedIn(status, given), { caller: callerOf(by), reason }, at());
  const check = (status: Status, by: string, expected: string, given: Given = {}) =>
    it(`${status} by ${by}: ${expected}`, () => expect(shown(cancel(status, by, given))).toBe(expected));

  const legal: readonly Status[] = ["DRAFT", "PENDING_APPROVAL", "APPROVED"];
  for (const status of statuses)
    check(status, "builder", legal.includes(status) ? "cancelled → CANCELLED" : "illegal_transition");
  check("DRAFT", "alice", "cancelled → CANCELLED");
  check("DRAFT", "bob", "forbidden");
  check("DRAFT", "rita", "forbidden");
  check("APPLIED", "bob", "illegal_transition");
  check("DRAFT", "builder", "erased", erased);

  it("ends every time limit", () =>
    expect(
      written(cancel("APPROVED", "builder", { changeSet: { approved_until_ms: 9 } }), "change_sets"),
    ).toMatchObject([{ status: "CANCELLED", deadline_at_ms: null, approved_until_ms: null, updated_at_ms: nowMs }]));
  it("records the reason, if there is one", () => {
    expect(changeOf(cancel("DRAFT", "builder", {}, "not needed")).entries[0]).toMatchObject({
      body: { reason: "not needed" },
      data: { from: "DRAFT" },
    });
    expect(changeOf(cancel("DRAFT", "builder")).entries[0]).not.toHaveProperty("body");
  });
});

describe("archiving", () => {
  const backup = { id: "b1", version: 1, change_set_id: "cs", released: false } as BackupRow;
  const archive = (status: Status, by: string, given: Given = {}) =>
    decideArchive({ ...loadedIn(status, given), backups: [backup] }, { caller: callerOf(by) }, at());
  const check = (status: Status, by: string, expected: string, given: Given = {}) =>
    it(`${status} by ${by}${JSON.stringify(given.changeSet ?? "")}: ${expected}`, () =>
      expect(shown(archive(status, by, given))).toBe(expected));

  const legal: readonly Status[] = ["APPLIED", "REJECTED", "ROLLED_BACK", "CANCELLED"];
  for (const status of statuses)
    check(status, "builder", legal.includes(status) ? "archived → ARCHIVED" : "illegal_transition");
  check("REJECTED", "alice", "archived → ARCHIVED");
  check("REJECTED", "rita", "archived → ARCHIVED");
  check("REJECTED", "bob", "forbidden");
  check("REJECTED", "builder", "erased", erased);
  check("APPLIED", "builder", "illegal_transition", { changeSet: { undo_until_ms: nowMs + 1 } });
  check("APPLIED", "builder", "archived → ARCHIVED", { changeSet: { undo_until_ms: nowMs } });
  // Only what is applied has anything to be undone.
  check("ROLLED_BACK", "builder", "archived → ARCHIVED", { changeSet: { undo_until_ms: nowMs + 1 } });
  check("APPLIED", "bob", "forbidden", { changeSet: { undo_until_ms: nowMs + 1 } });

  it("says when it may be", () =>
    expect(archive("APPLIED", "builder", { changeSet: { undo_until_ms: nowMs + 1_500 } })).toMatchObject({
      details: { status: "APPLIED", legal: ["roll_back"] },
      retryAfterSeconds: 2,
    }));
  it("releases the backups", () => {
    const decided = archive("APPLIED", "builder");
    expect(written(decided, "backups")).toMatchObject([{ id: "b1", released: true }]);
    expect(changeOf(decided).entries[0]?.data).toEqual({ from: "APPLIED", backupsReleased: 1 });
  });
});

describe("resolving", () => {
  const resolve = (status: Status, by: string, as: "applied" | "not_applied" = "applied", given: Given = {}) =>
    decideResolution(loadedIn(status, given), { caller: callerOf(by), as, evidence: "I looked" }, at());

  for (const status of statuses) {
    const expected = status === "PARTIALLY_APPLIED" ? "resolved → APPLIED" : "illegal_transition";
    it(`${status}: ${expected}`, () => expect(shown(resolve(status, "rita"))).toBe(expected));
  }
  const check = (by: string, as: "applied" | "not_applied", expected: string, given: Given = {}) =>
    it(`by ${by} as ${as}: ${expected}`, () =>
      expect(shown(resolve("PARTIALLY_APPLIED", by, as, given))).toBe(expected));
  check("rita", "not_applied", "resolved → ROLLED_BACK");
  check("builder", "applied", "agents_never_vote");
  check("sync", "not_applied", "agents_never_vote");
  check("rita", "applied", "erased", erased);

  it("as applied, it can be undone from now on", () =>
    expect(written(resolve("PARTIALLY_APPLIED", "rita"), "change_sets")).toMatchObject([
      { status: "APPLIED", status_reason: null, applied_at_ms: nowMs, undo_until_ms: nowMs + 72 * hours },
    ]));
  it("as not applied, nothing was", () =>
    expect(written(resolve("PARTIALLY_APPLIED", "rita", "not_applied"), "change_sets")).toMatchObject([
      { status: "ROLLED_BACK", applied_at_ms: null, undo_until_ms: null },
    ]));
  it("records the evidence", () =>
    expect(changeOf(resolve("PARTIALLY_APPLIED", "rita")).entries[0]).toMatchObject({
      data: { from: "PARTIALLY_APPLIED", as: "applied" },
      body: { reason: "I looked" },
    }));
});

describe("time", () => {
  const limits = { deadline_at_ms: nowMs - 1, approved_until_ms: nowMs - 1 };
  for (const status of statuses) {
    const what = { PENDING_APPROVAL: "deadline", APPROVED: "approval" }[status as string];
    it(`passed, ${status} is ${what === undefined ? "left as it is" : `rejected (${what})`}`, () => {
      const { whole } = loadedIn(status, { changeSet: limits });
      expect(due(whole.changeSet, nowMs)).toBe(what);
      const decided = decideExpiry(whole, callerOf("system"), at());
      expect(shown(decided)).toBe(what === undefined ? "nothing" : "expired");
      if (what === undefined) return;
      expect(changeOf(decided).entries[0]?.data).toMatchObject({ from: status, what });
      expect(written(decided, "change_sets")).toMatchObject([{ status: "REJECTED", status_reason: "expired" }]);
    });
  }
  it("not passed, or somebody was faster: nothing is done", () => {
    const { whole } = loadedIn("PENDING_APPROVAL", { changeSet: { deadline_at_ms: nowMs } });
    expect(shown(decideExpiry(whole, callerOf("system"), at()))).toBe("nothing");
    expect(shown(decideExpiry(whole, callerOf("system"), at(nowMs + 1)))).toBe("expired");
    expect(shown(decideExpiry(undefined, callerOf("system"), at()))).toBe("nothing");
  });
  it("passed, whoever asks is told so, with the change-set", () => {
    const { changeSet } = loadedIn("APPROVED", { changeSet: limits }).whole;
    expect(overdue(changeSet, "approval")).toMatchObject({
      kind: "overdue",
      changeSetId: "cs",
      refusal: { code: "expired", details: { overdue: "approval", overdueId: "cs" } },
    });
  });
});
