/**
 * Text of others, made fit to look at. A file can name a person "\u202Eadmin" or put a megabyte where a name should be: what
 * steers the display is shown as what it is, what is long is cut, and says so. Whoever shows text of a file uses this.
 */

/** Controls, bidirectional marks, joiners, unassigned and private characters, exotic spaces; and more than three marks on a letter. */
const unseen = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}|(?<=\p{M}{3})\p{M}/gu;
const shownMax = 300;

export function visible(text: string, lengthMax = shownMax): string {
  const cut = text.length > lengthMax;
  const kept = cut ? text.slice(0, lengthMax) : text;
  const shown = kept.replace(unseen, (character) => `‹${nameOf(character)}›`);
  return cut ? `${shown}… (${formatCount(text.length)} characters)` : shown;
}

function nameOf(character: string): string {
  return `U+${(character.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, "0")}`;
}

/** 1,234,567: the same on every machine. */
export function formatCount(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

/** "1 entry", "2 entries". */
export function counted(value: number, one: string, many = `${one}s`): string {
  return `${formatCount(value)} ${value === 1 ? one : many}`;
}

/** 2026-11-20 14:03:22 UTC. A number no calendar has is shown as it is. */
export function formatTime(ms: number): string {
  if (!Number.isFinite(ms) || Math.abs(ms) > 8.64e15) return `${ms} ms`;
  const iso = new Date(ms).toISOString();
  return `${iso.slice(0, -14)} ${iso.slice(-13, -5)} UTC`;
}

export function formatBytes(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1_000_000) return `${(bytes / 1000).toFixed(1)} kB`;
  return bytes < 1_000_000_000 ? `${(bytes / 1_000_000).toFixed(1)} MB` : `${(bytes / 1_000_000_000).toFixed(2)} GB`;
}

export function formatDuration(ms: number): string {
  if (ms < 1000) return `${Math.max(1, Math.round(ms))} ms`;
  return ms < 60_000
    ? `${(ms / 1000).toFixed(1)} s`
    : `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1000)} s`;
}

/** Hexadecimal in groups of eight, for the eye. */
export function grouped(hex: string): string {
  return hex.replace(/(.{8})(?=.)/g, "$1 ");
}
