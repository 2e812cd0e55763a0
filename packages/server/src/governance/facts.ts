/**
 * What governance knows of a target: names only, never its state. The structural part of `TargetRef`, so that callers
 * pass their references as they are and this folder needs nothing above it.
 */
export interface TargetFacts {
  readonly kind: string;
  /** `CONFIG`, `COMPONENT`, …; `FILE` for files. */
  readonly type: string;
  /** resource: its id; file: `<workspace>:<path>`. */
  readonly id: string;
  readonly environment: string;
  /** file: path below the root. */
  readonly path?: string;
}

/** A target as people write it in patterns: `resource:development:CONFIG:shop/checkout`, `file:shop:config/app.json`. */
export function describeTarget(target: TargetFacts): string {
  return target.kind === "file"
    ? `file:${target.id}`
    : `${target.kind}:${target.environment}:${target.type}:${target.id}`;
}

/** The part of a target its protection depends on: the id of a resource, the path of a file. */
export function localName(target: TargetFacts): string {
  return target.path ?? target.id;
}

export function sortedUnique(values: Iterable<string>): string[] {
  return [...new Set(values)].sort();
}

/** A list for people: `a`, `b` and `c`. */
export function quotedList(values: readonly string[], last = "and"): string {
  const quoted = values.map((value) => `\`${value}\``);
  if (quoted.length <= 1) return quoted.join("");
  return `${quoted.slice(0, -1).join(", ")} ${last} ${quoted.at(-1) ?? ""}`;
}
