/**
 * Freeze windows: times in which nothing is applied. They stop forward steps only; rollbacks go on. All times are UTC.
 */
import {
  type Category,
  type ConfigurationValue,
  type FreezeWindow,
  type Refusal,
  refused,
  type TargetFacts,
  type WeeklyFreeze,
} from "@countersign/contract";
import { dayMs, minuteMs } from "../platform/index.js";
import { anyMatches } from "./patterns.rules.js";

export interface FreezeQuestion {
  readonly nowMs: number;
  readonly category: Category;
  readonly targets: readonly TargetFacts[];
}

const days = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"] as const;

/** `frozen`, until the last of the windows that hold now has ended. */
export function checkFreeze(question: FreezeQuestion, freeze: ConfigurationValue<"freeze">): Refusal | undefined {
  const holding = [
    ...freeze.windows
      .filter((window) => concerns(window, question))
      .map((window) => ({ window, untilMs: untilOfWindow(window, question.nowMs) })),
    ...freeze.weekly
      .filter((window) => concerns(window, question))
      .map((window) => ({ window, untilMs: untilOfWeekly(window, question.nowMs) })),
  ].flatMap((found) => (found.untilMs === undefined ? [] : [{ window: found.window, untilMs: found.untilMs }]));
  const last = holding.sort((a, b) => b.untilMs - a.untilMs)[0];
  if (last === undefined) return undefined;
  const until = new Date(last.untilMs).toISOString();
  return refused("frozen", `window \`${last.window.id}\` holds until ${until}: ${last.window.reason}; apply it then`, {
    details: { window: last.window.id, until },
    retryAfterSeconds: Math.ceil((last.untilMs - question.nowMs) / 1000),
  });
}

function concerns(window: FreezeWindow | WeeklyFreeze, question: FreezeQuestion): boolean {
  if (window.categories !== undefined && !window.categories.includes(question.category)) return false;
  if (
    window.environments !== undefined &&
    !question.targets.some((target) => window.environments?.includes(target.environment))
  )
    return false;
  return window.targets === undefined || anyMatches(window.targets, question.targets, "restrict");
}

/** The end of the window when it holds now: `from` is in it, `until` no more. */
function untilOfWindow(window: FreezeWindow, nowMs: number): number | undefined {
  const untilMs = Date.parse(window.until);
  return Date.parse(window.from) <= nowMs && nowMs < untilMs ? untilMs : undefined;
}

function untilOfWeekly(window: WeeklyFreeze, nowMs: number): number | undefined {
  const midnightMs = Math.floor(nowMs / dayMs) * dayMs;
  const today = days[new Date(nowMs).getUTCDay()];
  if (today === undefined || !window.days.includes(today)) return undefined;
  const untilMs = midnightMs + minutesOf(window.until) * minuteMs;
  return midnightMs + minutesOf(window.from) * minuteMs <= nowMs && nowMs < untilMs ? untilMs : undefined;
}

function minutesOf(clock: string): number {
  return Number(clock.slice(0, 2)) * 60 + Number(clock.slice(3, 5));
}
