/** Diffs for people: lines of + and −, each with its place. */
import type { ItemView, JsonValue, PatchOperationView } from "./types.js";
import { block, empty, indent, inline, lines, show, type Painter, type Shown } from "../text.js";
import { shownTarget } from "@countersign/contract";

/** The change of one item, from its plan. */
export function itemDiff(paint: Painter, item: Pick<ItemView, "diff" | "effects" | "operation">): Shown {
  const { diff } = item;
  if (Array.isArray(diff)) return jsonDiff(paint, diff as readonly PatchOperationView[], documentBefore(item));
  const fields = (typeof diff === "object" && diff !== null ? diff : {}) as Readonly<Record<string, JsonValue>>;
  if (typeof fields["unified"] === "string") return unifiedDiff(paint, fields["unified"]);
  if (fields["format"] === "binary") return show`binary: ${size(fields["before"])} → ${size(fields["after"])}`;
  if (Array.isArray(fields["patch"]))
    return jsonDiff(paint, fields["patch"] as unknown as readonly PatchOperationView[], documentBefore(item));
  return diff === null ? paint.dim("no difference in content") : block(JSON.stringify(diff, null, 2));
}

function documentBefore(item: Pick<ItemView, "effects">): JsonValue | undefined {
  return item.effects[0]?.before.document;
}

function size(value: JsonValue | undefined): string {
  return typeof value === "number" ? `${value} bytes` : "none";
}

/** `unified` as `diff -u` writes it. */
export function unifiedDiff(paint: Painter, unified: string): Shown {
  const shown = unified
    .replace(/\n$/, "")
    .split("\n")
    // A line of `=` that some diffs begin with.
    .filter((line) => !/^={10,}$/.test(line))
    .map((line) => {
      const safe = block(line);
      if (line.startsWith("+++") || line.startsWith("---")) return paint.bold(safe);
      if (line.startsWith("+")) return paint.green(safe);
      if (line.startsWith("-")) return paint.red(safe);
      return line.startsWith("@@") ? paint.cyan(safe) : safe;
    });
  return lines(...shown);
}

/** A JSON Patch (RFC 6902) as lines: `~ /timeout`, `- 20`, `+ 30`. */
export function jsonDiff(paint: Painter, patch: readonly PatchOperationView[], before: JsonValue | undefined): Shown {
  if (patch.length === 0) return paint.dim("no difference in content");
  return lines(...patch.map((step) => patchStep(paint, step, before)));
}

function patchStep(paint: Painter, step: PatchOperationView, before: JsonValue | undefined): Shown {
  const place = step.path === "" ? "(whole document)" : step.path;
  const old = before === undefined ? undefined : valueAt(before, step.path);
  const gone = (): Shown => (old === undefined ? empty : paint.red(valueLines("- ", old)));
  const come = (): Shown => paint.green(valueLines("+ ", step.value ?? null));
  switch (step.op) {
    case "add":
      return lines(paint.bold(place), indent(come()));
    case "remove":
      return old === undefined ? paint.red(show`- ${place}`) : lines(paint.bold(place), indent(gone()));
    case "replace":
      return old === undefined
        ? lines(paint.bold(place), indent(come()))
        : lines(paint.bold(place), indent(lines(gone(), come())));
    case "move":
    case "copy":
      return show`${paint.bold(place)} ${paint.dim(step.op === "move" ? "moved from" : "copied from")} ${step.from ?? "?"}`;
    default:
      return show`${paint.dim(step.op)} ${place}`;
  }
}

/** Long values are cut: `--json` has them whole, and the hash that is signed is over all of it. */
const valueLinesMax = 60;

function valueLines(mark: "- " | "+ ", value: JsonValue): Shown {
  const text = JSON.stringify(value, null, 2).split("\n");
  const cut = text.slice(0, valueLinesMax);
  const rest = text.length - cut.length;
  return lines(
    ...cut.map((line) => show`${mark}${block(line)}`),
    rest > 0 && show`${mark}… ${rest} more lines (--full or --json shows them)`,
  );
}

/** RFC 6901; undefined where there is nothing. Earlier steps of the patch may have moved it: then nothing is claimed. */
function valueAt(document: JsonValue, pointer: string): JsonValue | undefined {
  let value: JsonValue | undefined = document;
  for (const part of pointer.split("/").slice(1)) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
    value = (value as Readonly<Record<string, JsonValue>>)[name];
  }
  return value;
}

/** The effect of undoing an item, without its diff: each target with its next state. */
export function undoLines(paint: Painter, item: Pick<ItemView, "effects">): Shown[] {
  return item.effects.toReversed().map(({ target, before }) => {
    const name = inline(shownTarget(target));
    return before.exists
      ? show`${paint.yellow("restore")} ${name} ${paint.dim(`to ${(before.hash ?? "").slice(0, 12)}`)}`
      : show`${paint.red("remove ")} ${name} ${paint.dim("which it created")}`;
  });
}
