/**
 * Limits on the work of one principal in an hour. Counter guards count it, and the database evaluates them in the
 * commit, so a limit is exact with any number of processes.
 */
import { refused, type ConfigurationValue, type Refusal } from "@countersign/contract";
import { dayMs, hourMs } from "../platform/index.js";
import type { Guard } from "../ledger/index.js";

export type LimitedCommand = "propose" | "submit" | "apply";
type Counter = Extract<Guard, { kind: "counter" }>;

export interface LimitQuestion {
  /** Id of the acting principal. */
  readonly principal: string;
  readonly type: "human" | "agent" | "service";
  readonly nowMs: number;
  /** Items of the change-set, for `propose`. */
  readonly items: number;
}

export interface LimitCheck {
  /** For the commit of the command. */
  readonly guards: readonly Counter[];
  /** The message for a guard of this key that did not hold. */
  refusal(key: string): Refusal;
}

/** The limits a command counts against. A key is used up with its hour. */
export function limitGuards(
  command: LimitedCommand,
  question: LimitQuestion,
  limits: ConfigurationValue<"limits">,
): LimitCheck {
  const guards = countersOf(command, question, limits);
  return {
    guards,
    refusal: (key) => {
      const guard = guards.find((candidate) => candidate.key === key);
      if (guard === undefined) throw new Error(`no limit has the key ${key}`);
      return limitRefusal(guard, question.nowMs);
    },
  };
}

function countersOf(command: LimitedCommand, question: LimitQuestion, limits: ConfigurationValue<"limits">): Counter[] {
  const max = limits.perHour[question.type === "human" ? "human" : "agent"];
  const hour = Math.floor(question.nowMs / hourMs);
  const counter = (what: string, add: number, most: number): Counter => ({
    kind: "counter",
    key: `limit:${what}:${question.principal}:${hour}`,
    add,
    max: most,
  });
  switch (command) {
    case "propose":
      return [counter("change_sets", 1, max.changeSets), counter("items", question.items, max.items)];
    case "submit":
      return [counter("submits", 1, max.submits)];
    case "apply":
      return [counter("applies", 1, max.applies)];
  }
}

/** Holds of the whole tenant by one agent in a day. */
export function holdGuard(agentId: string, nowMs: number, limits: ConfigurationValue<"limits">): Counter {
  return {
    kind: "counter",
    key: `limit:holds:${agentId}:d${Math.floor(nowMs / dayMs)}`,
    add: 1,
    max: limits.holdsPerDay,
  };
}

/**
 * Checks the loaded counters and refuses before the door would, so the caller learns which limit it is and when it
 * ends.
 */
export function checkLimits(
  guards: readonly Counter[],
  used: ReadonlyMap<string, number>,
  nowMs: number,
): Refusal | undefined {
  const over = guards.find((guard) => (used.get(guard.key) ?? 0) + guard.add > guard.max);
  return over === undefined ? undefined : limitRefusal(over, nowMs);
}

/** The refusal for a counter guard that did not hold. */
export function limitRefusal(guard: Counter, nowMs: number): Refusal {
  const daily = /:d\d+$/.test(guard.key);
  const span = daily ? dayMs : hourMs;
  const what = (guard.key.split(":")[1] ?? "uses").replace("_", "-");
  return refused(
    "rate_limited",
    `\`${what}\` are limited to ${guard.max} ${daily ? "a day" : "an hour"}; wait, or raise it in \`system.config/limits\``,
    {
      details: { limit: what, max: guard.max },
      retryAfterSeconds: Math.ceil((span - (nowMs % span)) / 1000),
    },
  );
}
