/** A vote and sending back, decided: every refusal, every status, and what each vote makes of the change-set. */
import { describe, expect, it } from "vitest";
import { statuses, type Status } from "@countersign/contract";
import { type Ballot, decideVote } from "../../src/change-sets/deciding/ballot.rules.js";
import { decideSendingBack } from "../../src/change-sets/deciding/sendingBack.rules.js";
import type { Loaded } from "../../src/change-sets/loaded.rules.js";
import {
  at,
  callerOf,
  changeOf,
  everybody,
  type Given,
  loadedIn,
  nowMs,
  peopleOf,
  shown,
  signedBy,
  voteRow,
  written,
} from "../support/changeSets.js";

const minutes = 60_000;

interface Cast {
  readonly by?: string;
  readonly decision?: Ballot["decision"];
  /** Instead of what the voter signed; undefined: left out. */
  readonly sent?: Partial<Record<"digest" | "keyId" | "atMs" | "signature" | "reason", unknown>>;
  readonly signedAtMs?: number;
}

function ballotOf(loaded: Loaded, { by = "bob", decision = "APPROVED", sent = {}, signedAtMs }: Cast): Ballot {
  const signed = signedBy(callerOf(by).principal.kind === "human" ? by : "bob", loaded, {
    decision,
    ...(signedAtMs === undefined ? {} : { atMs: signedAtMs }),
  });
  const parts = { ...signed, reason: "because", ...sent };
  const there = Object.entries(parts).filter(([, value]) => value !== undefined);
  return { ...(Object.fromEntries(there) as Omit<Ballot, "caller" | "decision">), caller: callerOf(by), decision };
}

const vote = (status: Status, given: Given, cast: Cast) => {
  const loaded = loadedIn(status, given);
  return decideVote(loaded, ballotOf(loaded, cast), at());
};

describe("a vote is refused", () => {
  const check = (name: string, cast: Cast, expected: string, given: Given = {}, status: Status = "PENDING_APPROVAL") =>
    it(`${name}: ${expected}`, () => expect(shown(vote(status, given, cast))).toBe(expected));

  check("of an agent", { by: "builder" }, "agents_never_vote");
  check("of a service", { by: "sync" }, "agents_never_vote");
  for (const part of ["digest", "keyId", "atMs", "signature"])
    check(`without ${part}`, { sent: { [part]: undefined } }, "precondition_required");
  check("on another digest", { sent: { digest: "f".repeat(64) } }, "digest_mismatch");
  check("signed too long ago", { signedAtMs: nowMs - 10 * minutes - 1 }, "signature_invalid");
  check("signed in the future", { signedAtMs: nowMs + 10 * minutes + 1 }, "signature_invalid");
  check("sent with another time than was signed", { sent: { atMs: nowMs - 1 } }, "signature_invalid");
  check("with a signature of nothing", { sent: { signature: "A".repeat(86) } }, "signature_invalid");
  check("with a key nobody has", { sent: { keyId: "key-nobody" } }, "signing_key_unknown");
  check("with another person's key", { sent: { keyId: "key-carol" } }, "signing_key_unknown");
  check("with a revoked key", {}, "signing_key_revoked", { people: peopleOf(everybody, { revokedKeys: ["key-bob"] }) });
  check("of the author's human", { by: "alice" }, "separation_of_duties");
  check("of somebody on no route", { by: "dan" }, "not_an_approver");
  check("that rejects without a reason", { decision: "REJECTED", sent: { reason: undefined } }, "reason_required");
  check("that rejects with an empty reason", { decision: "REJECTED", sent: { reason: " " } }, "reason_required");
  check("on what was erased", {}, "erased", { changeSet: { erased_at_ms: 5 } });
  check("that approves again what is approved", {}, "illegal_transition", {}, "APPROVED");
  check("that abstains on what is approved", { decision: "ABSTAINED" }, "illegal_transition", {}, "APPROVED");

  // The first of several reasons is told: who, then what, then when.
  check(
    "of an agent, wrong in all else",
    { by: "builder", sent: { digest: undefined } },
    "agents_never_vote",
    {},
    "DRAFT",
  );
  check("on another digest, and old", { sent: { digest: "f".repeat(64), atMs: 0 } }, "digest_mismatch");
  check("old, with a key nobody has", { sent: { keyId: "key-nobody", atMs: 0 } }, "signature_invalid");

  it("never, but of what only we can cause: a change-set that waits without a route", () =>
    expect(() => vote("PENDING_APPROVAL", { revision: { route: null } }, {})).toThrow("without a route"));
});

describe("a vote by status", () => {
  const legal: Partial<Record<Status, string>> = {
    PENDING_APPROVAL: "vote_cast + rejected → REJECTED",
    APPROVED: "vote_cast + rejected → REJECTED",
  };
  for (const status of statuses)
    it(`${status}: ${legal[status] ?? "illegal_transition"}`, () =>
      expect(shown(vote(status, { required: 1 }, { decision: "REJECTED" }))).toBe(
        legal[status] ?? "illegal_transition",
      ));
});

describe("a vote makes of the change-set", () => {
  const check = (name: string, given: Given, cast: Cast, expected: string, status: Status = "PENDING_APPROVAL") =>
    it(`${name}: ${expected}`, () => expect(shown(vote(status, given, cast))).toBe(expected));

  check("the only one that is required", {}, {}, "vote_cast + approved → APPROVED");
  check("the first of two", { required: 2 }, {}, "vote_cast → PENDING_APPROVAL");
  check("the second of two", { required: 2, votes: [voteRow("carol")] }, {}, "vote_cast + approved → APPROVED");
  check(
    "the second, where the first one's key was revoked",
    { required: 2, votes: [voteRow("carol")], people: peopleOf(everybody, { revokedKeys: ["key-carol"] }) },
    {},
    // She has another key, and may vote again.
    "vote_cast → PENDING_APPROVAL",
  );
  check(
    "the second, where the first one has no key any more",
    {
      required: 2,
      votes: [voteRow("carol")],
      people: peopleOf(everybody, { revokedKeys: ["key-carol", "key2-carol"] }),
    },
    {},
    "vote_cast + rejected → REJECTED",
  );
  check(
    "the second, where the first was dismissed",
    { required: 2, votes: [voteRow("carol", { dismissed: true })] },
    {},
    "vote_cast → PENDING_APPROVAL",
  );
  check(
    "the second, where the first was on another revision",
    { required: 2, votes: [voteRow("carol", { revision_id: "old" })] },
    {},
    "vote_cast → PENDING_APPROVAL",
  );
  check("a rejection", { required: 2 }, { decision: "REJECTED" }, "vote_cast + rejected → REJECTED");
  check("an abstention that leaves one who can", {}, { decision: "ABSTAINED" }, "vote_cast → PENDING_APPROVAL");
  check(
    "an abstention that leaves nobody",
    { required: 2 },
    { decision: "ABSTAINED" },
    "vote_cast + rejected → REJECTED",
  );
  check(
    "an approval withdrawn",
    { votes: [voteRow("bob")] },
    { decision: "REJECTED" },
    "vote_cast + rejected → REJECTED",
    "APPROVED",
  );

  it("records who, over what, with which key, and holds the key to it", () => {
    const loaded = loadedIn("PENDING_APPROVAL");
    const ballot = ballotOf(loaded, {});
    const decided = decideVote(loaded, ballot, at());
    const { guards, entries } = changeOf(decided);
    expect(guards).toEqual([
      { kind: "row", table: "api_keys", id: "k", version: 1 },
      { kind: "row", table: "change_sets", id: "cs", version: 5 },
      { kind: "epoch", name: "config", value: 4 },
      { kind: "epoch", name: "members", value: 7 },
      { kind: "row", table: "signing_keys", id: "key-bob", version: 3 },
    ]);
    const { digest: revision, approval_digest: digest } = loaded.whole.revision;
    expect(entries.map((entry) => entry.data)).toEqual([
      {
        revision,
        digest,
        decision: "APPROVED",
        voter: "bob",
        key: "key-bob",
        atMs: nowMs,
        signature: ballot.signature,
        selfApproved: false,
      },
      { revision, digest, approved: 1, required: 1 },
    ]);
    expect(entries[0]).toMatchObject({
      body: { reason: "because", title: "Title", description: "Text" },
      refs: [{ type: "principal", id: "bob" }],
    });
    expect(written(decided, "change_sets")).toMatchObject([
      { status: "APPROVED", deadline_at_ms: null, approved_until_ms: nowMs + 24 * 60 * minutes, attempts: 0 },
    ]);
    expect(written(decided, "votes")).toMatchObject([
      { id: "id-1", voter_id: "bob", digest, signature: ballot.signature },
    ]);
  });

  it("of the author's human in mode solo: labelled in the vote and in the approval", () => {
    const decided = vote("PENDING_APPROVAL", { people: peopleOf(everybody, { mode: "solo" }) }, { by: "alice" });
    expect(changeOf(decided).entries).toMatchObject([
      { data: { selfApproved: true } },
      { data: { selfApproved: true } },
    ]);
  });

  it("says why it was rejected", () => {
    const reasons = (["REJECTED", "ABSTAINED"] as const).map((decision) => {
      const decided = vote("PENDING_APPROVAL", { required: 2 }, { decision });
      const { reason } = (changeOf(decided).entries[1]?.data ?? {}) as { readonly reason?: string };
      return [reason, written(decided, "change_sets")[0]?.["status_reason"]];
    });
    expect(reasons).toEqual([
      ["vote", "vote"],
      ["route_unsatisfiable", "route_unsatisfiable"],
    ]);
  });
});

describe("a vote of somebody who voted before", () => {
  /** `before`: of the vote that is there; it is on the present digest unless that is given. */
  const check = (name: string, before: Parameters<typeof voteRow>[1], cast: Cast, expected: string) =>
    it(`${name}: ${expected}`, () => {
      const { changeSet } = loadedIn("PENDING_APPROVAL", { required: 2 }).whole;
      const votes = [voteRow("bob", { digest: changeSet.approval_digest ?? "", ...before })];
      expect(shown(vote("PENDING_APPROVAL", { required: 2, votes }, cast))).toBe(expected);
    });

  check("the same again", {}, {}, "nothing");
  check("the same again, with the very same signature", { at_ms: nowMs }, {}, "nothing");
  check("another decision, signed later", {}, { decision: "REJECTED" }, "vote_cast + rejected → REJECTED");
  check("another decision, signed before", { at_ms: nowMs + 1 }, { decision: "REJECTED" }, "signature_invalid");
  check("another decision, signed at the same time", { at_ms: nowMs }, { decision: "REJECTED" }, "signature_invalid");
  check(
    "a dismissed vote brought back with its old signature",
    { dismissed: true, at_ms: nowMs },
    {},
    "signature_invalid",
  );
  check("a dismissed vote given anew", { dismissed: true }, {}, "vote_cast → PENDING_APPROVAL");
  check(
    "on another digest, signed later than now",
    { digest: "old", at_ms: nowMs + 5 },
    {},
    "vote_cast → PENDING_APPROVAL",
  );

  it("writes the same row again", () => {
    const votes = [voteRow("bob", { version: 4, dismissed: true })];
    const decided = vote("PENDING_APPROVAL", { required: 2, votes }, {});
    expect(changeOf(decided).entries[0]?.writes?.[0]).toMatchObject({
      verb: "update",
      table: "votes",
      from: 4,
      row: { id: "vote-bob", dismissed: false, at_ms: nowMs },
    });
  });
});

describe("sending back", () => {
  const send = (status: Status, by: string, reason: string | undefined, given: Given = {}) =>
    decideSendingBack(loadedIn(status, given), { caller: callerOf(by), reason }, at());
  const check = (name: string, by: string, reason: string | undefined, expected: string, given: Given = {}) =>
    it(`${name}: ${expected}`, () => expect(shown(send("PENDING_APPROVAL", by, reason, given))).toBe(expected));

  check("by a reviewer", "bob", "too much", "changes_requested → DRAFT");
  check("without a reason", "bob", undefined, "reason_required");
  check("with an empty reason", "bob", " \n", "reason_required");
  it("says what is to be told", () =>
    expect(send("PENDING_APPROVAL", "bob", " ")).toMatchObject({
      message: expect.stringContaining("say what must change") as string,
      problems: [{ pointer: "/reason" }],
    }));
  check("by an agent", "other", "no", "agents_never_vote");
  check("by somebody on no route", "dan", "no", "not_an_approver");
  check("by the author's human", "alice", "no", "separation_of_duties");
  check("what was erased", "bob", "no", "erased", { changeSet: { erased_at_ms: 5 } });
  for (const status of statuses.filter((one) => one !== "PENDING_APPROVAL"))
    it(`${status}: illegal_transition`, () => expect(shown(send(status, "bob", "no"))).toBe("illegal_transition"));

  it("makes every vote void and forgets what was to be approved", () => {
    const votes = [voteRow("carol"), voteRow("dan", { dismissed: true })];
    const decided = send("PENDING_APPROVAL", "bob", "too much", { required: 2, votes });
    expect(changeOf(decided).entries[0]).toMatchObject({ data: { votesDismissed: 1 }, body: { reason: "too much" } });
    expect(written(decided, "votes")).toMatchObject([{ id: "vote-carol", dismissed: true }]);
    expect(written(decided, "change_sets")).toMatchObject([
      { status: "DRAFT", status_reason: "changes_requested", approval_digest: null, required_approvals: null },
    ]);
  });
});
