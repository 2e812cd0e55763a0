/**
 * JSON documents: pointers (RFC 6901), patches (RFC 6902), differences, limits.
 *
 * Promises: nothing given in is changed; only an object's own members exist, so `toString` or `__proto__` is never found by
 * accident; a patch applies whole or not at all; work is bounded by the limits, whatever the patch says.
 */
import { limits, visible, type JsonValue, type Problem } from "@countersign/contract";
import { canonicalize, hasLoneSurrogate } from "@countersign/proof";
import jsonPatch, { type Operation } from "fast-json-patch";

/** One operation of a JSON Patch as it arrives: members beyond those of RFC 6902 are ignored. */
export interface PatchStep {
  readonly op: "add" | "remove" | "replace" | "move" | "copy" | "test";
  readonly path: string;
  readonly [member: string]: unknown;
}

export type PatchOutcome =
  | { readonly kind: "patched"; readonly document: JsonValue }
  /** `step` is the index of the operation that failed. */
  | {
      readonly kind: "failed";
      readonly step: number;
      readonly code: "patch_failed" | "limit_exceeded";
      readonly reason: string;
    };

/** The steps of a pointer, unescaped; undefined if it is not a pointer. */
export function parsePointer(pointer: string): string[] | undefined {
  if (pointer === "") return [];
  if (!pointer.startsWith("/") || /~(?![01])/.test(pointer)) return undefined;
  return pointer
    .slice(1)
    .split("/")
    .map((step) => step.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** The pointer of these steps. */
export function toPointer(steps: readonly (string | number)[]): string {
  return steps.map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

/** RFC 6901 §4: digits without a leading zero. */
export function arrayIndex(step: string): number | undefined {
  return /^(0|[1-9]\d{0,8})$/.test(step) ? Number(step) : undefined;
}

export function isContainer(
  value: JsonValue | undefined,
): value is readonly JsonValue[] | { readonly [key: string]: JsonValue } {
  return typeof value === "object" && value !== null;
}

export function isArray(value: JsonValue | undefined): value is readonly JsonValue[] {
  return Array.isArray(value);
}

/** The own member or element; undefined if there is none (JSON has no undefined). */
export function childOf(value: JsonValue, step: string): JsonValue | undefined {
  if (!isContainer(value)) return undefined;
  if (isArray(value)) {
    const index = arrayIndex(step);
    return index === undefined ? undefined : value[index];
  }
  return Object.hasOwn(value, step) ? value[step] : undefined;
}

/** The value at these steps; undefined if there is none. */
export function valueAt(document: JsonValue, steps: readonly string[]): JsonValue | undefined {
  let value: JsonValue | undefined = document;
  for (const step of steps) {
    if (value === undefined) return undefined;
    value = childOf(value, step);
  }
  return value;
}

/** Equal as JSON: the order of members does not matter, 1.0 is 1. */
export function jsonEqual(a: JsonValue, b: JsonValue): boolean {
  if (!isContainer(a) || !isContainer(b)) return a === b;
  if (isArray(a) || isArray(b)) {
    return (
      isArray(a) && isArray(b) && a.length === b.length && a.every((item, i) => jsonEqual(item, b[i] as JsonValue))
    );
  }
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length &&
    keys.every((key) => Object.hasOwn(b, key) && jsonEqual(a[key] as JsonValue, b[key] as JsonValue))
  );
}

/** Applies a patch to a copy of the document. */
export function applyPatch(document: JsonValue, patch: readonly PatchStep[]): PatchOutcome {
  let current = structuredClone(document) as JsonValue;
  let copiedBytes = 0;
  for (const [index, step] of patch.entries()) {
    const failed = (reason: string, code: "patch_failed" | "limit_exceeded" = "patch_failed"): PatchOutcome => ({
      kind: "failed",
      step: index,
      code,
      reason,
    });
    if (step.op === "copy") {
      // attacker-controlled: 30 copies of a document into itself are 2^30 documents.
      const from = typeof step["from"] === "string" ? parsePointer(step["from"]) : undefined;
      const value = from && valueAt(current, from);
      copiedBytes += value === undefined ? 0 : JSON.stringify(value).length;
      if (copiedBytes > limits.resourceBytesMax)
        return failed(`copies more than ${limits.resourceBytesMax} bytes`, "limit_exceeded");
    }
    const next = applyStep(current, step);
    if (next.kind === "failed") return failed(next.reason);
    current = next.document;
  }
  return { kind: "patched", document: current };
}

type StepOutcome =
  { readonly kind: "patched"; readonly document: JsonValue } | { readonly kind: "failed"; readonly reason: string };

const stepFailed = (reason: string): StepOutcome => ({ kind: "failed", reason });

function applyStep(document: JsonValue, step: PatchStep): StepOutcome {
  const path = parsePointer(step.path);
  if (path === undefined) return stepFailed(`\`${visible(step.path)}\` is not a JSON pointer`);
  const value = step["value"] as JsonValue | undefined;
  switch (step.op) {
    case "test": {
      const found = valueAt(document, path);
      if (value === undefined) return stepFailed("`value` is missing");
      if (found === undefined) return stepFailed(`there is nothing at \`${visible(step.path)}\``);
      return jsonEqual(found, value)
        ? { kind: "patched", document }
        : stepFailed(`the value at \`${visible(step.path)}\` is another one`);
    }
    case "remove":
      return change(document, { op: "remove", path });
    case "add":
    case "replace":
      return value === undefined
        ? stepFailed("`value` is missing")
        : change(document, { op: step.op, path, value: structuredClone(value) as JsonValue });
    case "move":
    case "copy":
      return relocate(document, step, path);
    default:
      return stepFailed(`\`${visible(String(step.op))}\` is not an operation of JSON Patch`);
  }
}

function relocate(document: JsonValue, step: PatchStep, path: readonly string[]): StepOutcome {
  const pointer = step["from"];
  const from = typeof pointer === "string" ? parsePointer(pointer) : undefined;
  if (from === undefined) return stepFailed("`from` is not a JSON pointer");
  const value = valueAt(document, from);
  if (value === undefined) return stepFailed(`there is nothing at \`${visible(String(pointer))}\``);
  if (step.op === "copy") return change(document, { op: "add", path, value: structuredClone(value) as JsonValue });
  if (toPointer(from) === toPointer(path)) return { kind: "patched", document };
  // RFC 6902 §4.4: a value cannot be moved into one of its children.
  if (`${step.path}/`.startsWith(`${toPointer(from)}/`))
    return stepFailed(`\`${visible(String(pointer))}\` cannot be moved into itself`);
  const without = change(document, { op: "remove", path: from });
  return without.kind === "failed" ? without : change(without.document, { op: "add", path, value });
}

type Primitive =
  | { readonly op: "add" | "replace"; readonly path: readonly string[]; readonly value: JsonValue }
  | { readonly op: "remove"; readonly path: readonly string[] };

/** Changes the document in place, after making sure that the place is there. */
function change(document: JsonValue, primitive: Primitive): StepOutcome {
  const missing = whyNot(document, primitive);
  if (missing !== undefined) return stepFailed(missing);
  const operation = { ...primitive, path: toPointer(primitive.path) } as Operation;
  try {
    // Without the library's own validation: `whyNot` is stricter, and it walks the whole value at every operation.
    return { kind: "patched", document: jsonPatch.applyOperation(document, operation, false, true, true).newDocument };
  } catch (error) {
    // The library refuses `__proto__` and `constructor/prototype` by throwing: such members are set with the whole document.
    if (error instanceof TypeError)
      return stepFailed(`a member of \`${visible(operation.path)}\` cannot be patched; send the whole document`);
    return stepFailed((error as Error).name);
  }
}

/** Why there is no such place to change; undefined if there is. */
function whyNot(document: JsonValue, { op, path }: Primitive): string | undefined {
  const last = path.at(-1);
  if (last === undefined) return undefined;
  const parent = valueAt(document, path.slice(0, -1));
  if (!isContainer(parent)) return `there is no object or array at \`${visible(toPointer(path.slice(0, -1)))}\``;
  if (op !== "add")
    return childOf(parent, last) === undefined ? `there is nothing at \`${visible(toPointer(path))}\`` : undefined;
  if (!isArray(parent) || last === "-") return undefined;
  const index = arrayIndex(last);
  return index === undefined || index > parent.length
    ? `\`${visible(last)}\` is not an index of 0 to ${parent.length}, nor \`-\``
    : undefined;
}

/** The patch that makes `before` into `after`; replaces the whole when that says it shorter. */
export function diffDocuments(before: JsonValue, after: JsonValue): JsonValue[] {
  if (jsonEqual(before, after)) return [];
  const whole: JsonValue[] = [{ op: "replace", path: "", value: after }];
  // The library compares members only: two objects or two arrays.
  if (!isContainer(before) || !isContainer(after) || isArray(before) !== isArray(after)) return whole;
  const patch = jsonPatch.compare(before, after) as unknown as JsonValue[];
  if (JSON.stringify(patch).length > JSON.stringify(whole).length) return whole;
  // INVARIANT: what an approver is shown is what happens.
  const outcome = applyPatch(before, patch as unknown as PatchStep[]);
  return outcome.kind === "patched" && jsonEqual(outcome.document, after) ? patch : whole;
}

const problemsMax = 20;

/** What makes a value unfit to be kept: its size, depth, numbers, texts. Pointers below `pointer`; at most 20 problems. */
export function checkDocument(document: JsonValue, pointer: string): Problem[] {
  const problems: Problem[] = [];
  let values = 0;
  const visit = (value: JsonValue, at: string, depth: number): void => {
    values += 1;
    if (problems.length >= problemsMax || values > limits.jsonValuesMax) return;
    if (typeof value === "string") checkText(value, at, problems);
    if (
      typeof value === "number" &&
      (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value)))
    ) {
      problems.push({
        code: "json_number_unsafe",
        message: `\`${value}\` cannot be kept exactly; send it as a string`,
        pointer: at,
      });
    }
    if (!isContainer(value)) return;
    if (depth >= limits.jsonDepthMax) {
      problems.push({
        code: "json_too_deep",
        message: `nested deeper than \`${limits.jsonDepthMax}\` levels`,
        pointer: at,
      });
      return;
    }
    if (isArray(value)) {
      value.forEach((item, i) => visit(item, `${at}/${i}`, depth + 1));
      return;
    }
    for (const key of Object.keys(value)) {
      const below = at + toPointer([key]);
      checkText(key, below, problems);
      visit(value[key] as JsonValue, below, depth + 1);
    }
  };
  visit(document, pointer, 0);
  if (values > limits.jsonValuesMax) {
    problems.push({
      code: "json_too_large",
      message: `more than \`${limits.jsonValuesMax}\` values; split the document`,
      pointer,
    });
  }
  return problems;
}

function checkText(text: string, pointer: string, problems: Problem[]): void {
  if (!text.includes("\u0000") && !hasLoneSurrogate(text)) return;
  problems.push({
    code: "text_unstorable",
    message: "the text holds `U+0000` or a lone surrogate; remove it",
    pointer,
  });
}

/** Problems of a document that is too large to be kept; its canonical bytes count. */
export function checkBytes(document: JsonValue, pointer: string): Problem[] {
  const bytes = Buffer.byteLength(canonicalize(document));
  if (bytes <= limits.resourceBytesMax) return [];
  return [
    {
      code: "limit_exceeded",
      message: `the document has \`${bytes}\` bytes, more than ${limits.resourceBytesMax}; split it`,
      pointer,
    },
  ];
}

/** True if something that held values holds none any more: the whole, or an object or array inside that is still there. */
export function empties(before: JsonValue, after: JsonValue): boolean {
  if (!isContainer(before) || !isContainer(after)) return false;
  const keys = Object.keys(before);
  if (keys.length > 0 && Object.keys(after).length === 0) return true;
  return keys.some((key) => {
    const next = childOf(after, key);
    return next !== undefined && empties(childOf(before, key) as JsonValue, next);
  });
}
