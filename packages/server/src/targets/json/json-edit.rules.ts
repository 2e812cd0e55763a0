/**
 * Edits of JSON and JSONC text that leave everything else as it stands: indentation, line ends, comments, number and string
 * spelling, byte order mark, final newline. The text is never parsed and printed; only what an edit says is spliced.
 *
 * INVARIANT: the edited text means exactly the document the same steps make of the parsed one (checked for every edit).
 */
import { limits, visible, type JsonValue } from "@countersign/contract";
import { createScanner, parseTree, printParseErrorCode, type Node, type ParseError } from "jsonc-parser";
import { applyPatch, arrayIndex, jsonEqual, parsePointer, toPointer, valueAt, type PatchStep } from "./json.rules.js";
import type { JsonEdit } from "./jsonOperations.rules.js";

export interface JsonText {
  /** Without the byte order mark. */
  readonly text: string;
  readonly bom: string;
  readonly root: Node;
  readonly document: JsonValue;
}

export interface TextFailure {
  readonly kind: "failed";
  readonly code:
    "item_invalid" | "json_duplicate_key" | "json_too_deep" | "json_too_large" | "patch_failed" | "limit_exceeded";
  readonly reason: string;
  /** Index of the operation that failed. */
  readonly step?: number;
}

/** Characters parsed for one item: each step of a patch reads the text again. */
const parsedCharactersMax = 64 * 1024 * 1024;

const failed = (code: TextFailure["code"], reason: string, step?: number): TextFailure => ({
  kind: "failed",
  code,
  reason,
  ...(step === undefined ? {} : { step }),
});

export function isFailure(value: unknown): value is TextFailure {
  return (value as { kind?: unknown }).kind === "failed";
}

/** Reads JSON with or without comments and trailing commas. */
export function parseJsonText(source: string): JsonText | TextFailure {
  const bom = source.startsWith("\ufeff") ? "\ufeff" : "";
  const text = source.slice(bom.length);
  const tooMuch = checkTokens(text);
  if (tooMuch !== undefined) return tooMuch;
  const errors: ParseError[] = [];
  const root = parseTree(text, errors, { allowTrailingComma: true, allowEmptyContent: false });
  const error = errors[0];
  if (root === undefined || error !== undefined) {
    const place = error === undefined ? "" : ` at character ${error.offset}: ${printParseErrorCode(error.error)}`;
    return failed("item_invalid", `it is not JSON${place}; send \`content\` instead`);
  }
  const twice = duplicateKey(root, "");
  if (twice !== undefined)
    return failed("json_duplicate_key", `\`${visible(twice)}\` is there twice; correct the file by hand first`);
  return { text, bom, root, document: valueOf(root) };
}

/** The parser recurses: depth and size are checked before, token by token. */
function checkTokens(text: string): TextFailure | undefined {
  const scanner = createScanner(text, true);
  let depth = 0;
  let tokens = 0;
  // Kinds of `SyntaxKind`: 1 `{`, 2 `}`, 3 `[`, 4 `]`, 17 end of file.
  for (let kind: number = scanner.scan(); kind !== 17; kind = scanner.scan()) {
    if (kind === 1 || kind === 3) depth += 1;
    if (kind === 2 || kind === 4) depth -= 1;
    tokens += 1;
    if (depth > limits.jsonDepthMax)
      return failed(
        "json_too_deep",
        `it is nested deeper than ${limits.jsonDepthMax} levels; send \`content\` instead`,
      );
    if (tokens > limits.jsonValuesMax * 4)
      return failed("json_too_large", "it has too many values; send `content` instead");
  }
  return undefined;
}

function duplicateKey(node: Node, pointer: string): string | undefined {
  const seen = new Set<string>();
  for (const [index, child] of (node.children ?? []).entries()) {
    const key = node.type === "object" ? keyOf(child) : index;
    const at = pointer + toPointer([key]);
    if (typeof key === "string" && seen.has(key)) return at;
    if (typeof key === "string") seen.add(key);
    const below = duplicateKey(node.type === "object" ? valueNode(child) : child, at);
    if (below !== undefined) return below;
  }
  return undefined;
}

const keyOf = (property: Node): string => String(property.children?.[0]?.value);

function valueNode(property: Node): Node {
  const value = property.children?.[1];
  if (value === undefined) throw new Error("a property without value was parsed without error");
  return value;
}

function valueOf(node: Node): JsonValue {
  if (node.type === "array") return (node.children ?? []).map(valueOf);
  if (node.type !== "object") return node.value as JsonValue;
  const object: Record<string, JsonValue> = {};
  for (const property of node.children ?? []) {
    Object.defineProperty(object, keyOf(property), {
      value: valueOf(valueNode(property)),
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return object;
}

/** A new JSON file. */
export function printJson(document: JsonValue): string {
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** The text after the edits. */
export function editJsonText(source: JsonText, edits: readonly JsonEdit[]): string | TextFailure {
  if (edits.length * source.text.length > parsedCharactersMax)
    return failed("limit_exceeded", "there are too many edits for a file of this size; send `content` instead");
  const steps = edits.map((edit) => (edit.kind === "patch" ? edit.step : reorderStep(source.document, edit)));
  const wanted = applyPatch(source.document, steps);
  if (wanted.kind === "failed") return failed(wanted.code, wanted.reason, wanted.step);
  let current = source;
  for (const batch of batchesOf(edits)) {
    const text = batchText(current, batch);
    if (text === current.text) continue;
    const next = parseJsonText(text);
    if (isFailure(next)) return failed("item_invalid", "it cannot be edited in place; send `content` instead");
    current = { ...next, bom: source.bom };
  }
  if (!jsonEqual(current.document, wanted.document))
    return failed("item_invalid", "it cannot be edited in place; send `content` instead");
  return current.bom + current.text;
}

/**
 * Edits that can be made on one reading of the text: neighbouring replacements of values that do not hold each other. They
 * move no index and no member, so each finds its place whatever the others write. A reading of 100 KB takes 5 ms, and the
 * difference of two documents is mostly such replacements.
 */
function batchesOf(edits: readonly JsonEdit[]): JsonEdit[][] {
  const batches: JsonEdit[][] = [];
  let open: { readonly paths: Set<string>; readonly above: Set<string> } | undefined;
  for (const edit of edits) {
    const path = edit.kind === "patch" && edit.step.op === "replace" ? edit.step.path : undefined;
    const above = path === undefined ? [] : ancestorsOf(path);
    const joins =
      open !== undefined &&
      path !== undefined &&
      !open.paths.has(path) &&
      !open.above.has(path) &&
      !above.some((one) => open?.paths.has(one));
    if (joins) batches.at(-1)?.push(edit);
    else batches.push([edit]);
    if (!joins) open = path === undefined ? undefined : { paths: new Set(), above: new Set() };
    if (path !== undefined) open?.paths.add(path);
    for (const one of above) open?.above.add(one);
  }
  return batches;
}

/** Pointers of all values that hold the one at `pointer`. */
function ancestorsOf(pointer: string): string[] {
  const ends = [...pointer.matchAll(/\//g)].map((match) => match.index);
  return ends.map((end) => pointer.slice(0, end));
}

function batchText(current: JsonText, batch: readonly JsonEdit[]): string {
  const [first] = batch;
  if (batch.length > 1) return replaceSeveral(current, batch);
  if (first === undefined) return current.text;
  return first.kind === "reorder" ? reorderText(current, first) : stepText(current, first.step);
}

function replaceSeveral(source: JsonText, batch: readonly JsonEdit[]): string {
  const splices: Splice[] = [];
  for (const edit of batch) {
    if (edit.kind !== "patch") throw new Error("only replacements are made together");
    const path = parsePointer(edit.step.path) ?? [];
    const value = edit.step["value"] as JsonValue;
    const node = findNode(source.root, path);
    const present = valueAt(source.document, path);
    // A value that is equal keeps its spelling: 2.0 is 2.
    if (node === undefined || (present !== undefined && jsonEqual(present, value))) continue;
    splices.push(replacement(source, node, (place) => printAt(source, value, place)));
  }
  return splice(source.text, splices);
}

function reorderStep(document: JsonValue, edit: Extract<JsonEdit, { kind: "reorder" }>): PatchStep {
  const list = valueAt(document, edit.path) as readonly JsonValue[];
  return { op: "replace", path: toPointer(edit.path), value: edit.order.map((index) => list[index]) };
}

/** One replacement of characters; several of one text do not overlap. */
interface Splice {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

function splice(text: string, splices: readonly Splice[]): string {
  const pieces: string[] = [];
  let at = 0;
  for (const { from, to, text: piece } of [...splices].sort((a, b) => a.from - b.from)) {
    pieces.push(text.slice(at, from), piece);
    at = to;
  }
  return pieces.join("") + text.slice(at);
}

/** Elements change places; what is between them (commas, comments, line ends) stays. */
function reorderText({ text, root }: JsonText, edit: Extract<JsonEdit, { kind: "reorder" }>): string {
  const elements = findNode(root, edit.path)?.children ?? [];
  const pieces = elements.map((element) => text.slice(element.offset, element.offset + element.length));
  return splice(
    text,
    elements.map((element, slot) => ({
      from: element.offset,
      to: element.offset + element.length,
      text: pieces[edit.order[slot] as number] as string,
    })),
  );
}

/** One step of a patch that is known to apply. */
function stepText(source: JsonText, step: PatchStep): string {
  const path = parsePointer(step.path) ?? [];
  const present = valueAt(source.document, path);
  // A value that is equal keeps its spelling: 2.0 is 2.
  if (step.op === "replace" && present !== undefined && jsonEqual(present, step["value"] as JsonValue))
    return source.text;
  const print = (place: Place): string => printAt(source, step["value"] as JsonValue, place);
  switch (step.op) {
    case "test":
      return source.text;
    case "remove":
      return path.length === 0 ? replaceNode(source, source.root, () => "null") : removeChild(source, path);
    case "replace":
      return replaceNode(source, findNode(source.root, path) ?? source.root, print);
    case "add":
      return addValue(source, path, print);
    case "move":
    case "copy":
      return relocate(source, step, path);
  }
}

function relocate(source: JsonText, step: PatchStep, path: readonly string[]): string {
  const from = parsePointer(step["from"] as string) ?? [];
  if (step.op === "move" && toPointer(from) === toPointer(path)) return source.text;
  const node = findNode(source.root, from) ?? source.root;
  const raw = source.text.slice(node.offset, node.offset + node.length);
  const indent = lineIndent(source.text, node.offset);
  const paste = (place: Place): string => reindent(raw, indent, place.indent);
  if (step.op === "copy" || from.length === 0) return addValue(source, path, paste);
  const without = parseJsonText(removeChild(source, from));
  if (isFailure(without)) return source.text;
  return addValue(without, path, paste);
}

/** Moves lines to another depth. Safe in JSON: no string holds a line end. */
function reindent(raw: string, from: string, to: string): string {
  return raw
    .split("\n")
    .map((line, i) => (i === 0 ? line : to + (line.startsWith(from) ? line.slice(from.length) : line.trimStart())))
    .join("\n");
}

function findNode(root: Node, path: readonly string[]): Node | undefined {
  let node: Node | undefined = root;
  for (const step of path) {
    const children: readonly Node[] = node?.children ?? [];
    if (node?.type === "array") node = children[arrayIndex(step) ?? -1];
    else {
      const property: Node | undefined = children.find((child) => keyOf(child) === step);
      node = property === undefined ? undefined : valueNode(property);
    }
  }
  return node;
}

/** Where a value is to be written: the indentation of its line, and whether on one line. */
interface Place {
  readonly indent: string;
  readonly inline: boolean;
}

type Print = (place: Place) => string;

function replaceNode(source: JsonText, node: Node, print: Print): string {
  return splice(source.text, [replacement(source, node, print)]);
}

function replacement({ text }: JsonText, node: Node, print: Print): Splice {
  const old = text.slice(node.offset, node.offset + node.length);
  const inline = !text.includes("\n") || (/^[[{]\s*[^\s\]}]/.test(old) && !old.includes("\n"));
  return {
    from: node.offset,
    to: node.offset + node.length,
    text: print({ indent: lineIndent(text, node.offset), inline }),
  };
}

function addValue(source: JsonText, path: readonly string[], print: Print): string {
  const last = path.at(-1);
  if (last === undefined) return replaceNode(source, source.root, print);
  const parent = findNode(source.root, path.slice(0, -1));
  if (parent === undefined) return source.text;
  const children = parent.children ?? [];
  if (parent.type === "array")
    return insertChild(
      source,
      parent,
      last === "-" ? children.length : (arrayIndex(last) ?? children.length),
      "",
      print,
    );
  const present = children.find((child) => keyOf(child) === last);
  if (present !== undefined) return replaceNode(source, valueNode(present), print);
  return insertChild(source, parent, children.length, JSON.stringify(last) + colonOf(source, parent), print);
}

/** Inserts a child before the one at `index`; `name` is the member name with its colon, "" in arrays. */
function insertChild(source: JsonText, parent: Node, index: number, name: string, print: Print): string {
  const { text } = source;
  const children = parent.children ?? [];
  const first = children[0];
  if (first === undefined) return insertFirst(source, parent, name, print);
  const lines = text.slice(parent.offset, first.offset).includes("\n");
  const place: Place = lines
    ? { indent: lineIndent(text, first.offset), inline: false }
    : { indent: lineIndent(text, parent.offset), inline: true };
  const gap = lines ? eolOf(text) + place.indent : gapOf(source, children);
  const child = name + print(place);
  if (index === 0) return splice(text, [{ from: first.offset, to: first.offset, text: `${child},${gap}` }]);
  const previous = children[index - 1] as Node;
  const end = previous.offset + previous.length;
  const comma = commaAfter(text, end);
  if (comma === undefined) {
    const at = lines ? endOfLine(text, end) : end;
    return at === end
      ? splice(text, [{ from: end, to: end, text: `,${gap}${child}` }])
      : splice(text, [
          { from: end, to: end, text: "," },
          { from: at, to: at, text: gap + child },
        ]);
  }
  const at = lines ? endOfLine(text, comma + 1) : comma + 1;
  return splice(text, [{ from: at, to: at, text: `${gap}${child},` }]);
}

function insertFirst(source: JsonText, parent: Node, name: string, print: Print): string {
  const { text } = source;
  const indent = lineIndent(text, parent.offset);
  const from = parent.offset + 1;
  const to = parent.offset + parent.length - 1;
  const comments = text.slice(from, to).trimEnd();
  if (!text.includes("\n"))
    return splice(text, [{ from: from + comments.length, to, text: name + print({ indent, inline: true }) }]);
  const inner = indent + unitOf(source);
  const eol = eolOf(text);
  return splice(text, [
    {
      from: from + comments.length,
      to,
      text: `${eol}${inner}${name}${print({ indent: inner, inline: false })}${eol}${indent}`,
    },
  ]);
}

function removeChild({ text, root }: JsonText, path: readonly string[]): string {
  const parent = findNode(root, path.slice(0, -1));
  const children = parent?.children ?? [];
  const last = path.at(-1) as string;
  const index =
    parent?.type === "array" ? (arrayIndex(last) ?? -1) : children.findIndex((child) => keyOf(child) === last);
  const child = children[index];
  if (parent === undefined || child === undefined) return text;
  const end = child.offset + child.length;
  const comma = commaAfter(text, end);
  if (children.length === 1) return removeOnly(text, parent, child, comma);
  if (comma !== undefined) return splice(text, [removal(text, child.offset, comma + 1, children[index + 1])]);
  const previous = children[index - 1] as Node;
  const before = commaAfter(text, previous.offset + previous.length) as number;
  const between = text.slice(before + 1, child.offset);
  if (!between.includes("\n")) return splice(text, [{ from: before, to: end, text: "" }]);
  // The comma may be followed by a comment that belongs to the child before: only the comma goes.
  const lineStart =
    before + 1 + between.lastIndexOf("\n") - (between.at(between.lastIndexOf("\n") - 1) === "\r" ? 1 : 0);
  return splice(text, [
    { from: before, to: before + 1, text: "" },
    { from: lineStart, to: endOfLine(text, end), text: "" },
  ]);
}

function removeOnly(text: string, parent: Node, child: Node, comma: number | undefined): string {
  const from = parent.offset + 1;
  const to = parent.offset + parent.length - 1;
  const end = comma === undefined ? child.offset + child.length : comma + 1;
  const rest =
    text.slice(from, child.offset) + text.slice(child.offset + child.length, comma ?? end) + text.slice(end, to);
  return splice(text, [{ from, to, text: rest.trim() === "" ? "" : rest }]);
}

/** A child with its comma: the whole of its lines when it has them for itself, else up to the next child. */
function removal(text: string, start: number, afterComma: number, next: Node | undefined): Splice {
  const indent = lineIndent(text, start);
  const lineStart = start - indent.length;
  const startsLine = lineStart === 0 || text[lineStart - 1] === "\n";
  const lineEnd = endOfLine(text, afterComma);
  const newline = /^\r?\n/.exec(text.slice(lineEnd))?.[0];
  if (startsLine && text.slice(lineStart, start).trim() === "" && newline !== undefined)
    return { from: lineStart, to: lineEnd + newline.length, text: "" };
  const gap = /^[ \t]*/.exec(text.slice(afterComma))?.[0] ?? "";
  return { from: start, to: next === undefined ? afterComma : afterComma + gap.length, text: "" };
}

const commentOrSpace = /^(?:\s|\/\/[^\r\n]*|\/\*[^]*?\*\/)+/;

/** The comma that follows, past space and comments. */
function commaAfter(text: string, offset: number): number | undefined {
  const skipped = commentOrSpace.exec(text.slice(offset))?.[0].length ?? 0;
  return text[offset + skipped] === "," ? offset + skipped : undefined;
}

/** The end of the line if nothing but space and comments follows on it, else the offset itself. */
function endOfLine(text: string, offset: number): number {
  const rest = /^(?:[ \t]|\/\*[^\r\n]*?\*\/)*(?:\/\/[^\r\n]*)?/.exec(text.slice(offset))?.[0] ?? "";
  const end = offset + rest.length;
  return end === text.length || text[end] === "\n" || text[end] === "\r" ? end : offset;
}

function lineIndent(text: string, offset: number): string {
  const start = text.lastIndexOf("\n", offset - 1) + 1;
  return /^[ \t]*/.exec(text.slice(start, offset))?.[0] ?? "";
}

const eolOf = (text: string): string => /\r?\n/.exec(text)?.[0] ?? "\n";

/** One level of indentation as the file has it; two spaces if it has none. */
function unitOf({ text, root }: JsonText): string {
  const queue: Node[] = [root];
  for (let node = queue.shift(); node !== undefined; node = queue.shift()) {
    const children = node.children ?? [];
    const first = children[0];
    if (first !== undefined && node.type !== "property" && text.slice(node.offset, first.offset).includes("\n")) {
      const unit = lineIndent(text, first.offset).slice(lineIndent(text, node.offset).length);
      if (unit !== "") return unit;
    }
    queue.push(...children);
  }
  return "  ";
}

/** What stands between a member's name and its value, as the nearest members have it. */
function colonOf(source: JsonText, parent: Node): string {
  const property = parent.children?.at(-1) ?? firstProperty(source.root);
  const name = property?.children?.[0];
  if (property === undefined || name === undefined) return source.text.includes("\n") ? ": " : ":";
  const colon = source.text.slice(name.offset + name.length, valueNode(property).offset);
  return /^\s*:[ \t]*$/.test(colon) ? colon : ": ";
}

function firstProperty(root: Node): Node | undefined {
  const queue: Node[] = [root];
  for (let node = queue.shift(); node !== undefined; node = queue.shift()) {
    if (node.type === "property") return node;
    queue.push(...(node.children ?? []));
  }
  return undefined;
}

/** What stands after a comma between children on one line. */
function gapOf({ text, root }: JsonText, children: readonly Node[]): string {
  const [first, second] = children;
  if (first !== undefined && second !== undefined) {
    const comma = commaAfter(text, first.offset + first.length) ?? first.offset + first.length;
    const gap = text.slice(comma + 1, second.offset);
    return /^[ \t]*$/.test(gap) ? gap : " ";
  }
  const property = firstProperty(root);
  return property !== undefined &&
    /^\s*:$/.test(colonOf({ text, root, bom: "", document: null }, property.parent ?? root))
    ? ""
    : " ";
}

function printAt(source: JsonText, value: JsonValue, { indent, inline }: Place): string {
  if (inline) return printInline(value, gapOf(source, []));
  return JSON.stringify(value, null, unitOf(source)).replaceAll("\n", eolOf(source.text) + indent);
}

function printInline(value: JsonValue, gap: string): string {
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const parts = Array.isArray(value)
    ? value.map((item: JsonValue) => printInline(item, gap))
    : Object.entries(value as Record<string, JsonValue>).map(
        ([key, item]) => `${JSON.stringify(key)}:${gap}${printInline(item, gap)}`,
      );
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return `${open}${parts.join(`,${gap}`)}${close}`;
}
