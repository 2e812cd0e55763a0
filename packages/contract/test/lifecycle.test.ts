import { describe, expect, it } from "vitest";
import {
  beingCarriedOutStatuses,
  commands,
  dependencyMetStatuses,
  endedUnappliedStatuses,
  findTransition,
  finishedStatuses,
  inEffectStatuses,
  legalCommands,
  limits,
  openStatuses,
  settledStatuses,
  statusAfter,
  statuses,
  statusesFor,
  statusFrom,
  transitions,
  type Command,
  type Status,
  underWayStatuses,
} from "../src/index.js";

describe("the table of transitions", () => {
  it("has each command at most once from a status", () => {
    const pairs = transitions.map((t) => `${t.from} ${t.command}`);
    expect(new Set(pairs).size).toBe(pairs.length);
  });

  it("uses every status and every command", () => {
    expect(new Set(transitions.flatMap((t) => [t.from, ...t.to]))).toEqual(new Set(statuses));
    expect(new Set(transitions.map((t) => t.command))).toEqual(new Set(commands));
  });

  it("reaches every status from DRAFT, and only by a listed command", () => {
    const reached = new Set<Status>(["DRAFT"]);
    for (const status of reached)
      for (const t of transitions.filter((one) => one.from === status)) t.to.forEach((to) => reached.add(to));
    expect(reached).toEqual(new Set(statuses));
  });

  it("has no way out of ARCHIVED, and out of CANCELLED only into it", () => {
    expect(legalCommands("ARCHIVED")).toEqual([]);
    expect(legalCommands("CANCELLED")).toEqual(["archive"]);
  });

  const check = (status: Status, command: Command, legal: boolean): void =>
    it(`${command} from ${status} is ${legal ? "legal" : "illegal"}`, () =>
      expect(findTransition(status, command) !== undefined).toBe(legal));

  check("DRAFT", "apply", false);
  check("PENDING_APPROVAL", "apply", false);
  check("REJECTED", "apply", false);
  check("APPROVED", "apply", true);
  check("APPLIED", "apply", false);
  check("APPLIED", "revise", false);
  check("APPLYING", "revise", false);
  check("APPLYING", "roll_back", false);
  check("ROLLED_BACK", "roll_back", false);
  check("ROLLED_BACK", "revise", true);
  check("PARTIALLY_APPLIED", "archive", false);
});

describe("sets of statuses", () => {
  const named = {
    open: openStatuses,
    underWay: underWayStatuses,
    finished: finishedStatuses,
    settled: settledStatuses,
    beingCarriedOut: beingCarriedOutStatuses,
    inEffect: inEffectStatuses,
    dependencyMet: dependencyMetStatuses,
    endedUnapplied: endedUnappliedStatuses,
    undoable: statusesFor("roll_back"),
  } satisfies Record<string, readonly Status[]>;
  const of = (status: Status): string =>
    Object.entries(named)
      .filter(([, set]) => (set as readonly Status[]).includes(status))
      .map(([name]) => name)
      .join(" ");
  const rows: Record<Status, string> = {
    DRAFT: "open",
    PENDING_APPROVAL: "open underWay",
    APPROVED: "open underWay beingCarriedOut",
    APPLYING: "open underWay beingCarriedOut inEffect",
    APPLIED: "finished inEffect dependencyMet undoable",
    PARTIALLY_APPLIED: "open underWay beingCarriedOut inEffect undoable",
    ROLLING_BACK: "open underWay beingCarriedOut inEffect",
    ROLLED_BACK: "finished settled",
    REJECTED: "finished settled endedUnapplied",
    CANCELLED: "finished settled endedUnapplied",
    ARCHIVED: "finished settled dependencyMet endedUnapplied",
  };
  it.each(statuses.map((status) => [status, rows[status]] as const))("%s is %s", (status, sets) =>
    expect(of(status)).toBe(sets),
  );
});

describe("what entries make of the status", () => {
  it("leads only where a transition does, or a change-set begins", () => {
    const reached = new Set<Status>(["DRAFT", ...transitions.flatMap(({ to }) => to)]);
    const named = Object.values(statusAfter).flatMap((to) => (to === null ? [] : to));
    expect(new Set(named)).toEqual(reached);
  });

  const check = (actions: string, expected: Status | undefined): void =>
    it(`${actions || "nothing"} leads to ${expected}`, () => {
      const entries = actions.split(" ").map((text) => {
        const [name = "", as] = text.split(":");
        return { action: `change_set.${name}`, data: as === undefined ? {} : { as } };
      });
      expect(statusFrom(entries)).toBe(expected);
    });
  const approved = "created submitted vote_cast approved";
  const tried = "apply_started apply_failed item_compensated apply_compensated";
  const tries = (count: number): string => Array<string>(count).fill(tried).join(" ");
  check("", undefined);
  check("refusal.recorded", undefined);
  check("created", "DRAFT");
  check("created submitted vote_cast", "PENDING_APPROVAL");
  check("created submitted changes_requested", "DRAFT");
  check("created rejected", "REJECTED");
  check("created submitted expired", "REJECTED");
  check(`${approved} blocked`, "APPROVED");
  check(`${approved} rerouted`, "PENDING_APPROVAL");
  check(`${approved} apply_started item_started`, "APPLYING");
  check(`${approved} apply_started items_applied applied`, "APPLIED");
  check(`${approved} ${tried}`, "APPROVED");
  check(`${approved} ${tries(limits.applyAttemptsMax)}`, "REJECTED");
  check(`${approved} ${tries(limits.applyAttemptsMax - 1)} revised submitted approved ${tried}`, "APPROVED");
  check(`${approved} apply_started partially_applied`, "PARTIALLY_APPLIED");
  check(`${approved} apply_started partially_applied apply_resumed`, "APPLYING");
  check(`${approved} apply_started partially_applied resolved:applied`, "APPLIED");
  check(`${approved} apply_started partially_applied resolved:not_applied`, "ROLLED_BACK");
  check(`${approved} apply_started partially_applied resolved:nonsense`, "PARTIALLY_APPLIED");
  check(`${approved} apply_started applied rollback_started rollback_failed rollback_refused`, "APPLIED");
  check(`${approved} apply_started applied rollback_started rolled_back archived`, "ARCHIVED");
  check("created cancelled of_a_newer_version", "CANCELLED");
});
