import { describe, expect, it } from "vitest";
import {
  commands,
  findTransition,
  legalCommands,
  statuses,
  transitions,
  type Command,
  type Status,
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
