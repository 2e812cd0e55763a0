/** Waiting with an end: every wait of the storage has a deadline, measured on the monotonic clock. */
import { setTimeout as delay } from "node:timers/promises";

export interface Deadline {
  readonly leftMs: () => number;
  readonly passed: () => boolean;
}

export function deadlineIn(ms: number): Deadline {
  const end = performance.now() + ms;
  const leftMs = (): number => Math.max(0, end - performance.now());
  return { leftMs, passed: () => leftMs() === 0 };
}

/** Asks `probe` again, with growing pauses of 5 to 200 ms, until it answers something or the deadline passes. */
export async function poll<T>(
  deadline: Deadline,
  probe: () => Promise<T | undefined> | T | undefined,
): Promise<T | undefined> {
  for (let pauseMs = 5; ; pauseMs = Math.min(pauseMs * 1.5, 200)) {
    const answer = await probe();
    if (answer !== undefined) return answer;
    if (deadline.passed()) return undefined;
    await delay(Math.min(pauseMs, deadline.leftMs()));
  }
}
