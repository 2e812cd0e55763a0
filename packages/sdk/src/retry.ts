/** Decides whether a request is sent again, and after how long. */
import { CountersignError } from "./errors.js";

/** Milliseconds of the first wait; it doubles with each attempt. */
export const backoffFirstMs = 200;
export const backoffMaxMs = 5_000;
/** If the server asks for a longer wait, the SDK does not try again; the caller decides. */
export const retryAfterMaxSeconds = 60;

/**
 * Milliseconds to wait before the next attempt, or `undefined`: do not try again.
 * Only for requests that may be repeated (reading, or with an idempotency key).
 */
export function retryDelayMs(error: unknown, attempt: number, random: () => number): number | undefined {
  if (!(error instanceof CountersignError) || !isPassing(error)) return undefined;
  if (error.retryAfterSeconds !== undefined && error.retryAfterSeconds > retryAfterMaxSeconds) return undefined;
  const ceiling = Math.min(backoffMaxMs, backoffFirstMs * 2 ** attempt);
  // Half of the wait is fixed and half random, so clients that failed together do not come back together.
  const jittered = ceiling / 2 + random() * (ceiling / 2);
  return Math.round(Math.max(jittered, (error.retryAfterSeconds ?? 0) * 1000));
}

function isPassing(error: CountersignError): boolean {
  // The first request with this idempotency key is still under way: its answer will be ours.
  if (error.code === "idempotency_in_flight") return true;
  // A freeze and a kill-switch name a time too, but with 409 or 423. The caller must know about them at once.
  return error.code === "unreachable" || error.code === "timed_out" || error.status === 429 || error.status === 503;
}
