import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  matchesPath,
  matchesTarget,
  parsePattern,
  patternStarsMax,
  type Pattern,
  type PatternUse,
} from "../../src/governance/patterns.rules.js";
import { target } from "../support/governance.js";
import type { FileFacts } from "@countersign/contract";

function parsed(text: string): Pattern {
  const pattern = parsePattern(text);
  if (pattern.kind === "error") throw new Error(pattern.message);
  return pattern;
}

function check(pattern: string, name: string, matches: boolean, use: PatternUse = "permit"): void {
  expect({ pattern, name, matches: matchesTarget(parsed(pattern), target(name), use) }).toEqual({
    pattern,
    name,
    matches,
  });
}

describe("the table of docs/policy.md", () => {
  const text = readFileSync(new URL("../../../../docs/policy.md", import.meta.url), "utf8");
  const section = text.slice(text.indexOf("### What patterns match"), text.indexOf("### Patterns that are refused"));
  const rows = section
    .split("\n")
    .filter((line) => line.startsWith("| `"))
    .map((line) => line.split(/(?<!\\)\|/).map((cell) => cell.trim()));
  const code = (cell = ""): string[] =>
    [...cell.matchAll(/`([^`]+)`/g)].map((match) => (match[1] ?? "").replaceAll("\\|", "|"));

  test("has rows", () => expect(rows.length).toBeGreaterThan(10));
  test.each(rows.map((cells) => [code(cells[1])[0] ?? "", code(cells[2]), code(cells[3])] as const))(
    "%s",
    (pattern, yes, no) => {
      for (const name of yes) check(pattern, name, true);
      for (const name of no) check(pattern, name, false);
    },
  );
});

describe("what is refused, and why", () => {
  test.each([
    ["", "begins with neither"],
    ["config/**", "begins with neither"],
    ["resource:*", "not of the form"],
    ["resource:*:CONFIG", "not of the form"],
    ["resource::CONFIG:a", "environment is empty"],
    ["resource:*:CONFIG:", "id is empty"],
    ["file:shop", "not of the form"],
    ["file:shop:", "path is empty"],
    ["file:shop:/etc/passwd", "begin below the workspace"],
    ["file:shop:a**", "stands alone between slashes"],
    ["file:shop:a/**b/c", "stands alone between slashes"],
    ["file:shop:***", "stands alone between slashes"],
    ["file:**:a", "is for ids and paths"],
    ["file:shop:a\\", "is no escape"],
    ["file:shop:a\\n", "is no escape"],
    ["file:shop:a\u0000b", "U+0000"],
    [`file:shop:${"*a".repeat(patternStarsMax + 1)}`, "more than"],
  ])("%j: %s", (text, message) => {
    const pattern = parsePattern(text);
    expect(pattern).toMatchObject({ kind: "error" });
    expect((pattern as { message: string }).message).toContain(message);
  });
});

describe("permits are read narrowly, restrictions widely", () => {
  test.each([
    ["file:shop:Secrets/**", "file:shop:secrets/key", false, true],
    ["file:shop:secrets/**", "file:SHOP:SECRETS/KEY", false, true],
    ["file:shop:straße", "file:shop:STRASSE", false, true],
    ["file:shop:**/ſecret", "file:shop:secret", false, true],
    ["resource:*:CONFIG:Secrets/**", "resource:development:CONFIG:secrets/key", false, false],
    ["*", "resource:system:SYSTEM_CONFIG:system.config/risk", false, true],
    ["resource:*:**", "resource:system:SYSTEM_CONFIG:system.config/risk", undefined, undefined],
    ["resource:*:*:**", "resource:system:SYSTEM_CONFIG:system.config/risk", false, true],
    ["resource:s*:*:**", "resource:system:SYSTEM_CONFIG:system.config/risk", false, true],
    ["resource:system:*:**", "resource:system:SYSTEM_CONFIG:system.config/risk", true, true],
    ["file:caf\u00e9:**", "file:cafe\u0301:menu.json", true, true],
  ] as const)("%s on %s: permit %s, restrict %s", (pattern, name, permit, restrict) => {
    if (permit === undefined) return expect(parsePattern(pattern)).toMatchObject({ kind: "error" });
    check(pattern, name, permit, "permit");
    check(pattern, name, restrict, "restrict");
    return undefined;
  });

  test.each([
    ["file:file:**", "file:file:a", true],
    ["file:file:**", "resource:file:CONFIG:a", false],
    ["file:resource:CONFIG:a", "file:resource:CONFIG:a", true],
    ["resource:file:*:**", "resource:file:CONFIG:a", true],
    ["resource:file:CONFIG:a", "file:CONFIG:a", false],
    ["resource:resource:*:a", "resource:resource:CONFIG:a", true],
    ["resource:resource:*:a", "resource:development:CONFIG:a", false],
  ] as const)("%s, where names are called like a kind: %s %s", (pattern, name, matches) => {
    for (const use of ["permit", "restrict"] as const) check(pattern, name, matches, use);
  });

  test("a workspace's name may hold colons", () => {
    const file: FileFacts = {
      kind: "file",
      type: "FILE",
      id: "a:b:c/d.txt",
      path: "c/d.txt",
      environment: "development",
    };
    expect(matchesTarget(parsed("file:a\\:b:c/*"), file, "permit")).toBe(true);
    expect(matchesTarget(parsed("file:a:b:c/*"), file, "permit")).toBe(false);
  });
});

describe("time", () => {
  /** Steps of a match; the bound is the product of both lengths, whatever the stars. */
  function steps(pattern: string, name: string): number {
    const meter = { steps: 0 };
    matchesTarget(parsed(pattern), target(name), "permit", meter);
    return meter.steps;
  }
  test.each([
    ["stars in a segment", `file:w:${"*a".repeat(15)}b`, `file:w:${"a".repeat(1000)}`],
    ["globstars", `file:w:${"**/a/".repeat(12)}b`, `file:w:${"a/".repeat(500)}c`],
    ["both", `file:w:${"**/*a*/".repeat(7)}x`, `file:w:${"aaaa/".repeat(200)}y`],
    ["overlapping pieces", `file:w:*${"ab".repeat(100)}*${"ab".repeat(100)}c`, `file:w:${"ab".repeat(500)}`],
  ])("hostile: %s", (_, pattern, name) => {
    expect(steps(pattern, name)).toBeLessThanOrEqual((pattern.length + 1) * (name.length + 1));
  });

  test("agrees with the definition on small patterns", () => {
    /** The definition, exponential: `**` takes any number of segments, at the end at least one; `*` any characters. */
    const segmentMatches = (pattern: string, text: string): boolean =>
      pattern === ""
        ? text === ""
        : pattern[0] === "*"
          ? segmentMatches(pattern.slice(1), text) || (text !== "" && segmentMatches(pattern, text.slice(1)))
          : text[0] === pattern[0] && segmentMatches(pattern.slice(1), text.slice(1));
    const pathMatches = (pattern: readonly string[], path: readonly string[]): boolean => {
      const [first, ...rest] = pattern;
      if (first === undefined) return path.length === 0;
      if (first === "**") {
        if (rest.length === 0) return path.length > 0;
        return pathMatches(rest, path) || (path.length > 0 && pathMatches(pattern, path.slice(1)));
      }
      return path[0] !== undefined && segmentMatches(first, path[0]) && pathMatches(rest, path.slice(1));
    };
    const segment = fc.stringMatching(/^[ab*]{0,4}$/).map((text) => text.replace(/\*+/g, "*"));
    const patterns = fc
      .array(fc.oneof(segment, fc.constant("**")), { minLength: 1, maxLength: 5 })
      .filter((parts) => parts.join("/") !== "");
    const paths = fc
      .array(fc.stringMatching(/^[ab]{0,3}$/), { minLength: 1, maxLength: 6 })
      .filter((parts) => parts.join("/") !== "");
    fc.assert(
      fc.property(patterns, paths, (parts, path) => {
        // Two globstars side by side are one, by the grammar.
        const folded = parts.filter((part, index) => !(part === "**" && parts[index - 1] === "**"));
        const text = parts.join("/");
        if (text.startsWith("/")) return;
        const pattern = parsed(`file:w:${text}`);
        if (pattern.kind === "any") throw new Error("not a file pattern");
        expect(matchesPath(pattern.parts[1] ?? [], path, { steps: 0 })).toBe(pathMatches(folded, path));
      }),
      { numRuns: 2000 },
    );
  });
});
