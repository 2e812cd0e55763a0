/** Times as they are counted, milliseconds since 1970, and as they are shown. */
export const minuteMs = 60_000;
export const hourMs = 60 * minuteMs;
export const dayMs = 24 * hourMs;

/** RFC 3339, UTC, to the millisecond. */
export function iso(ms: number): string {
  return new Date(ms).toISOString();
}
