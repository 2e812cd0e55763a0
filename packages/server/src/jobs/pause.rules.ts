/** When a job of a tenant is run again. */

/** The longest pause after failures: whoever repaired what was broken waits no longer, and a restart tries at once. */
const failingMsMax = 300_000;

/** After so many failures in a row: one look, then doubling. */
export function pauseAfter(failures: number, lookMs: number): number {
  return Math.min(failingMsMax, lookMs * 2 ** Math.min(failures - 1, 30));
}

/** No true row holds a job back for longer; one that does was forged, and does not count. */
export function longestPause({ pauseMs = 0 }: { readonly pauseMs?: number }): number {
  return Math.max(pauseMs, failingMsMax);
}
