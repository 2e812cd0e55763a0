/** Parses points in time that people type: `7d`, `90m`, `2026-11-20`, `2026-11-20T12:00Z`. */
import { CliError } from "./exit.js";

const unitMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 } as const;
const relative = /^(\d{1,6})\s*([smhdw])$/;
// A date alone is UTC midnight; a time needs its zone, or two people would mean two moments.
const absolute = /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2}))?$/;

/** RFC 3339 in UTC. Throws `usage` naming the option. */
export function pointInTime(text: string, option: string, nowMs: number): string {
  const ago = relative.exec(text.trim());
  if (ago !== null) return new Date(nowMs - Number(ago[1]) * unitMs[ago[2] as keyof typeof unitMs]).toISOString();
  const ms = absolute.test(text.trim()) ? Date.parse(text.trim()) : Number.NaN;
  if (Number.isNaN(ms))
    throw new CliError(
      "usage",
      `\`${text}\` is no point in time for ${option}; write \`7d\`, \`12h\`, \`30m\`, \`2026-11-20\` or \`2026-11-20T12:00Z\``,
    );
  return new Date(ms).toISOString();
}

/** `in 3 h`, `2 d ago`: rough, for people; the exact time stands beside it where it matters. */
export function roughly(iso: string, nowMs: number): string {
  const ms = Date.parse(iso) - nowMs;
  const amount = Math.abs(ms);
  const [unit, size] =
    amount < 60_000
      ? (["s", 1_000] as const)
      : amount < 5_400_000
        ? (["min", 60_000] as const)
        : amount < 129_600_000
          ? (["h", 3_600_000] as const)
          : (["d", 86_400_000] as const);
  const text = `${Math.round(amount / size)} ${unit}`;
  return ms < 0 ? `${text} ago` : `in ${text}`;
}

/** Local-free, to the second: `2026-11-20 12:00:00Z`. */
export function moment(iso: string): string {
  return iso.replace("T", " ").replace(/\.\d+Z$/, "Z");
}
