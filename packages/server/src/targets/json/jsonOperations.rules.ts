/**
 * What the operations mean on JSON: each becomes steps of a JSON Patch, or a new order of an array. Resources and JSON files
 * share this, so that one operation never means two things.
 */
import { visible, type ItemInput, type JsonValue, type Problem } from "@countersign/contract";
import {
  applyPatch,
  childOf,
  diffDocuments,
  isArray,
  isContainer,
  parsePointer,
  toPointer,
  valueAt,
  type PatchStep,
} from "./json.rules.js";

export type JsonEdit =
  | { readonly kind: "patch"; readonly step: PatchStep }
  | { readonly kind: "reorder"; readonly path: readonly string[]; readonly order: readonly number[] };

/** The edits of an item on a document that exists, or why it cannot be carried out. Operations on the whole (CREATE, DELETE, RENAME) have none. */
export function jsonEdits(
  document: JsonValue,
  item: ItemInput,
  pointer: string,
): readonly JsonEdit[] | readonly Problem[] {
  switch (item.operation) {
    case "UPDATE":
      return item.patch !== undefined
        ? patchEdits(item.patch as PatchStep[])
        : patchEdits(diffDocuments(document, item.after as JsonValue) as unknown as PatchStep[]);
    case "CHANGE_PROPERTY":
      return changeProperty(document, item, pointer);
    case "ADD_CHILD":
      return addChild(document, item, pointer);
    case "REMOVE_CHILD":
      return removeChild(document, item, pointer);
    case "MOVE":
      return moveValue(document, item, pointer);
    case "REORDER":
      return reorder(document, item, pointer);
    default:
      return [
        {
          code: "operation_unsupported",
          message: `${item.operation} does not change a value inside a document`,
          pointer: `${pointer}/operation`,
        },
      ];
  }
}

export function isEdits(result: readonly JsonEdit[] | readonly Problem[]): result is readonly JsonEdit[] {
  return result.every((entry) => "kind" in entry);
}

/** The document after the edits. */
export function applyEdits(
  document: JsonValue,
  edits: readonly JsonEdit[],
  item: ItemInput,
  pointer: string,
): { readonly document: JsonValue } | readonly Problem[] {
  const steps = edits.map((edit) => (edit.kind === "patch" ? edit.step : reorderStep(document, edit.path, edit.order)));
  const outcome = applyPatch(document, steps);
  return outcome.kind === "patched" ? outcome : [patchProblem(outcome, item, pointer)];
}

/** The problem of a patch that failed: names the operation's index, points at it if the item brought the patch. */
export function patchProblem(
  outcome: { readonly step: number; readonly code: "patch_failed" | "limit_exceeded"; readonly reason: string },
  item: ItemInput,
  pointer: string,
): Problem {
  const own = item.patch !== undefined;
  return {
    code: outcome.code,
    message: own ? `operation \`${outcome.step}\` of the patch: ${outcome.reason}` : outcome.reason,
    pointer: own ? `${pointer}/patch/${outcome.step}` : pointer,
  };
}

const patchEdits = (patch: readonly PatchStep[]): JsonEdit[] => patch.map((step) => ({ kind: "patch", step }));
const oneStep = (
  op: PatchStep["op"],
  path: readonly (string | number)[],
  more: Record<string, unknown> = {},
): JsonEdit[] => [{ kind: "patch", step: { op, path: toPointer(path), ...more } }];
const invalid = (message: string, pointer: string): Problem[] => [{ code: "item_invalid", message, pointer }];

/** The steps of a field that holds a pointer, with the value there. */
function at(
  document: JsonValue,
  text: string,
  pointer: string,
): { readonly steps: string[]; readonly value: JsonValue | undefined } | Problem[] {
  const steps = parsePointer(text);
  if (steps === undefined)
    return invalid(`\`${visible(text)}\` is not a JSON pointer; begin with \`/\` and write \`~\` as \`~0\``, pointer);
  return { steps, value: valueAt(document, steps) };
}

function changeProperty(
  document: JsonValue,
  item: ItemInput,
  pointer: string,
): readonly JsonEdit[] | readonly Problem[] {
  const place = at(document, item.pointer as string, `${pointer}/pointer`);
  if (Array.isArray(place)) return place;
  if (place.steps.length === 0) return invalid("`/pointer` names the whole document; use UPDATE", `${pointer}/pointer`);
  if (place.value !== undefined) return oneStep("replace", place.steps, { value: item.value });
  const parent = valueAt(document, place.steps.slice(0, -1));
  if (!isContainer(parent) || isArray(parent))
    return invalid(
      `there is no object or element at \`${visible(item.pointer ?? "")}\`; use ADD_CHILD for a new element`,
      `${pointer}/pointer`,
    );
  return oneStep("add", place.steps, { value: item.value });
}

function addChild(document: JsonValue, item: ItemInput, pointer: string): readonly JsonEdit[] | readonly Problem[] {
  const parent = at(document, item.pointer ?? "", `${pointer}/pointer`);
  if (Array.isArray(parent)) return parent;
  if (!isContainer(parent.value))
    return invalid(`there is no object or array at \`${visible(item.pointer ?? "")}\``, `${pointer}/pointer`);
  const { key } = item;
  if (isArray(parent.value)) {
    const length = parent.value.length;
    if (key !== undefined && (typeof key !== "number" || key > length))
      return invalid(`\`${visible(String(key))}\` is not an index of 0 to ${length}`, `${pointer}/key`);
    return oneStep("add", [...parent.steps, key ?? length], { value: item.value });
  }
  if (typeof key !== "string") return invalid("a child of an object needs its member name in `key`", `${pointer}/key`);
  if (childOf(parent.value, key) !== undefined)
    return invalid(`\`${visible(key)}\` is there already; use CHANGE_PROPERTY`, `${pointer}/key`);
  return oneStep("add", [...parent.steps, key], { value: item.value });
}

function removeChild(document: JsonValue, item: ItemInput, pointer: string): readonly JsonEdit[] | readonly Problem[] {
  const child = at(document, item.pointer as string, `${pointer}/pointer`);
  if (Array.isArray(child)) return child;
  if (child.steps.length === 0) return invalid("`/pointer` names the whole document; use DELETE", `${pointer}/pointer`);
  if (child.value === undefined)
    return invalid(`there is nothing at \`${visible(item.pointer ?? "")}\``, `${pointer}/pointer`);
  return oneStep("remove", child.steps);
}

function moveValue(document: JsonValue, item: ItemInput, pointer: string): readonly JsonEdit[] | readonly Problem[] {
  const from = at(document, item.pointer as string, `${pointer}/pointer`);
  if (Array.isArray(from)) return from;
  const to = at(document, item.to?.pointer as string, `${pointer}/to/pointer`);
  if (Array.isArray(to)) return to;
  if (from.value === undefined)
    return invalid(`there is nothing at \`${visible(item.pointer ?? "")}\``, `${pointer}/pointer`);
  const parent = valueAt(document, to.steps.slice(0, -1));
  // A member that is there would be overwritten unseen; into an array a move inserts.
  if (to.value !== undefined && !isArray(parent) && toPointer(from.steps) !== toPointer(to.steps)) {
    return invalid(`\`${visible(item.to?.pointer ?? "")}\` is taken; remove it first`, `${pointer}/to/pointer`);
  }
  return oneStep("move", to.steps, { from: toPointer(from.steps) });
}

function reorder(document: JsonValue, item: ItemInput, pointer: string): readonly JsonEdit[] | readonly Problem[] {
  const list = at(document, item.pointer ?? "", `${pointer}/pointer`);
  if (Array.isArray(list)) return list;
  if (!isArray(list.value))
    return invalid(
      `there is no array at \`${visible(item.pointer ?? "")}\`; the members of an object have no order`,
      `${pointer}/pointer`,
    );
  const order = item.order ?? [];
  const length = list.value.length;
  const indices = order.filter((index): index is number => typeof index === "number" && index < length);
  if (indices.length !== order.length || new Set(indices).size !== length || order.length !== length) {
    return invalid(`\`order\` must name each index of 0 to ${length - 1} once`, `${pointer}/order`);
  }
  return [{ kind: "reorder", path: list.steps, order: indices }];
}

/** A reorder stands alone in its item, so the list is as it is in the document. */
function reorderStep(document: JsonValue, path: readonly string[], order: readonly number[]): PatchStep {
  const list = valueAt(document, path) as readonly JsonValue[];
  return { op: "replace", path: toPointer(path), value: order.map((index) => list[index]) };
}
