/** A target kind that is listed is whole: it has its conformance suite, its place in docs/targets.md and patterns in docs/policy.md. */
import { existsSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { findTargetKind, itemOperations, targetKinds, type ItemOperation } from "@countersign/contract";
import { findTargetRules } from "../../src/targets/index.js";

const read = (path: string): string => {
  const url = new URL(path, import.meta.url);
  return existsSync(url) ? readFileSync(url, "utf8") : "";
};
const targets = read("../../../../docs/targets.md");
const retention = read("../../../../docs/retention.md").replaceAll(/\s+/g, " ");
const policy = read("../../../../docs/policy.md");

/** Cells of the rows of a table, by the words its header begins with. */
function table(text: string, header: string): string[][] {
  const from = text.indexOf(header);
  if (from < 0) return [];
  const lines = text.slice(from).split("\n");
  const end = lines.findIndex((line) => !line.startsWith("|"));
  return lines.slice(0, end).map((line) =>
    line
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
}

function isDescribed(kind: string, operation: ItemOperation): boolean {
  const [header = [], , ...rows] = table(targets, "| operation |");
  const cell = rows.find(([name]) => name === operation)?.[header.indexOf(`on a ${kind}`)];
  const isTaken = findTargetKind(kind)?.fields[operation] !== undefined;
  return cell !== undefined && cell.startsWith("refused") !== isTaken;
}

/** What a kind lacks; empty when it is whole. */
function missing(kind: string): string[] {
  const suite = read(`./${kind}.test.ts`);
  const lacks = {
    "rules in packages/server/src/targets/kinds.ts": findTargetRules(kind) === undefined,
    "what stays after an erasure, in docs/retention.md": !retention.includes(findTargetRules(kind)?.stays.what ?? "?"),
    "a conformance suite": !new RegExp(`^exerciseTarget(<\\w+>)?\\("${kind}", `, "m").test(suite),
    "a column in the first table of docs/targets.md": table(targets, "| |")[0]?.includes(kind) !== true,
    "what its operations do, in docs/targets.md": !itemOperations.every((operation) => isDescribed(kind, operation)),
    "its pattern in the grammar of docs/policy.md": !new RegExp(`^${kind} +=`, "m").test(policy),
    "a row of what its patterns match in docs/policy.md": !policy.includes(`\n| \`${kind}:`),
  };
  return Object.entries(lacks).flatMap(([what, isMissing]) => (isMissing ? [what] : []));
}

test.each(targetKinds)("%s is whole", (kind) => expect(missing(kind)).toEqual([]));

test("what a kind lacks is found", () => expect(missing("kv")).toHaveLength(7));
