/** Small helpers of the rules of governance. What it knows of a target are its names (`TargetFacts` of the contract), never its state. */

export function sortedUnique(values: Iterable<string>): string[] {
  return [...new Set(values)].sort();
}

/** A list for people: `a`, `b` and `c`. */
export function quotedList(values: readonly string[], last = "and"): string {
  const quoted = values.map((value) => `\`${value}\``);
  if (quoted.length <= 1) return quoted.join("");
  return `${quoted.slice(0, -1).join(", ")} ${last} ${quoted.at(-1) ?? ""}`;
}
