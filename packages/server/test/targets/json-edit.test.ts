import type { ItemInput, JsonValue } from "@countersign/contract";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { diffDocuments, jsonEqual, type PatchStep } from "../../src/targets/json/json.rules.js";
import { editJsonText, isFailure, parseJsonText, printJson } from "../../src/targets/json/json-edit.rules.js";
import { isEdits, jsonEdits, type JsonEdit } from "../../src/targets/json/jsonOperations.rules.js";

function edit(text: string, fields: Partial<ItemInput>): string {
  const source = parseJsonText(text);
  if (isFailure(source)) return `${source.code}`;
  const item = { target: { kind: "file", workspace: "w", path: "a.json" }, ...fields } as ItemInput;
  const edits = jsonEdits(source.document, item, "");
  if (!isEdits(edits)) return edits[0]?.code ?? "?";
  const result = editJsonText(source, edits);
  return isFailure(result) ? result.code : result;
}

const set = (pointer: string, value: JsonValue): Partial<ItemInput> => ({
  operation: "CHANGE_PROPERTY",
  pointer,
  value,
});
const add = (pointer: string, value: JsonValue, key?: string | number): Partial<ItemInput> => ({
  operation: "ADD_CHILD",
  pointer,
  value,
  ...(key === undefined ? {} : { key }),
});
const remove = (pointer: string): Partial<ItemInput> => ({ operation: "REMOVE_CHILD", pointer });
const move = (pointer: string, to: string): Partial<ItemInput> => ({ operation: "MOVE", pointer, to: { pointer: to } });
const reorder = (pointer: string, order: number[]): Partial<ItemInput> => ({ operation: "REORDER", pointer, order });
const patch = (...steps: PatchStep[]): Partial<ItemInput> => ({
  operation: "UPDATE",
  patch: steps as NonNullable<ItemInput["patch"]>,
});

const rows: readonly [what: string, before: string, fields: Partial<ItemInput>, after: string][] = [
  [
    "a value, four spaces",
    '{\n    "a": 1,\n    "b": [1, 2]\n}\n',
    set("/a", 2),
    '{\n    "a": 2,\n    "b": [1, 2]\n}\n',
  ],
  [
    "a value, tabs and CRLF",
    '{\r\n\t"a": 1\r\n}\r\n',
    set("/a", { x: 1 }),
    '{\r\n\t"a": {\r\n\t\t"x": 1\r\n\t}\r\n}\r\n',
  ],
  ["a new member, no final newline", '{\n  "a": 1\n}', set("/b", true), '{\n  "a": 1,\n  "b": true\n}'],
  ["a new member of a compact file", '{"a":1}', set("/b", { c: [1, 2] }), '{"a":1,"b":{"c":[1,2]}}'],
  ["a new member on one spaced line", '{ "a": 1, "b": 2 }\n', set("/c", 3), '{ "a": 1, "b": 2, "c": 3 }\n'],
  ["a new member of an empty object", '{\n  "a": {}\n}\n', set("/a/b", 1), '{\n  "a": {\n    "b": 1\n  }\n}\n'],
  ["a first member of an empty file", "{}\n", set("/a", 1), '{\n  "a": 1\n}\n'],
  ["a byte order mark stays", '\ufeff{\n  "a": 1\n}\n', set("/a", 2), '\ufeff{\n  "a": 2\n}\n'],
  [
    "numbers elsewhere keep their spelling",
    '{"big": 12345678901234567890, "x": 1.0, "e": 1E3, "a": 1}',
    set("/a", 2),
    '{"big": 12345678901234567890, "x": 1.0, "e": 1E3, "a": 2}',
  ],
  ["escapes elsewhere keep their spelling", '{"u": "\\u00e9\\/", "a": 1}', set("/a", 2), '{"u": "\\u00e9\\/", "a": 2}'],
  [
    "comments stay",
    '{\n  // first\n  "a": 1, // one\n  /* two */ "b": 2 // last\n}\n',
    set("/b", 3),
    '{\n  // first\n  "a": 1, // one\n  /* two */ "b": 3 // last\n}\n',
  ],
  ["a member after a comment", '{\n  "a": 1 // one\n}\n', set("/b", 2), '{\n  "a": 1, // one\n  "b": 2\n}\n'],
  ["a member after a trailing comma", '{\n  "a": 1,\n}\n', set("/b", 2), '{\n  "a": 1,\n  "b": 2,\n}\n'],
  ["an odd colon is copied", '{\n  "a" : 1\n}\n', set("/b", 2), '{\n  "a" : 1,\n  "b" : 2\n}\n'],
  ["an element on one line", '{\n  "l": [1, 2]\n}\n', add("/l", 3), '{\n  "l": [1, 2, 3]\n}\n'],
  [
    "an object into a list on one line",
    '{\n  "l": [1, 2]\n}\n',
    add("/l", { a: [1] }),
    '{\n  "l": [1, 2, {"a": [1]}]\n}\n',
  ],
  ["an element at the front", "[\n  1,\n  2\n]\n", add("", 0, 0), "[\n  0,\n  1,\n  2\n]\n"],
  ["an element between, after a comment", "[\n  1, // one\n  2\n]\n", add("", 9, 1), "[\n  1, // one\n  9,\n  2\n]\n"],
  [
    "an object into a list of lines",
    '[\n  {\n    "a": 1\n  }\n]\n',
    add("", { a: 2 }),
    '[\n  {\n    "a": 1\n  },\n  {\n    "a": 2\n  }\n]\n',
  ],
  [
    "a member goes, with its line",
    '{\n  "a": 1,\n  "b": 2,\n  "c": 3\n}\n',
    remove("/b"),
    '{\n  "a": 1,\n  "c": 3\n}\n',
  ],
  ["the last member goes", '{\n  "a": 1,\n  "b": 2\n}\n', remove("/b"), '{\n  "a": 1\n}\n'],
  ["the last member goes, CRLF", '{\r\n  "a": 1,\r\n  "b": 2\r\n}\r\n', remove("/b"), '{\r\n  "a": 1\r\n}\r\n'],
  [
    "the last member goes, a comment stays",
    '{\n  "a": 1, // one\n  "b": 2 // two\n}\n',
    remove("/b"),
    '{\n  "a": 1 // one\n}\n',
  ],
  ["the first of one line goes", '{ "a": 1, "b": 2 }', remove("/a"), '{ "b": 2 }'],
  ["the last of one line goes", '{ "a": 1, "b": 2 }', remove("/b"), '{ "a": 1 }'],
  ["the only member goes", '{\n  "a": {\n    "b": 1\n  }\n}\n', remove("/a/b"), '{\n  "a": {}\n}\n'],
  ["the only element goes, its comment stays", "[\n  // why\n  1\n]\n", remove("/0"), "[\n  // why\n  \n]\n"],
  ["a last element with trailing comma", "[\n  1,\n  2,\n]\n", remove("/1"), "[\n  1,\n]\n"],
  [
    "order",
    '[\n  "a", // first place\n  {"b": 1},\n  3\n]\n',
    reorder("", [2, 0, 1]),
    '[\n  3, // first place\n  "a",\n  {"b": 1}\n]\n',
  ],
  [
    "a value moves as it is spelt",
    '{\n  "a": {\n    "n": 1.50,\n    "big": 12345678901234567890\n  },\n  "b": {}\n}\n',
    move("/a", "/b/a"),
    '{\n  "b": {\n    "a": {\n      "n": 1.50,\n      "big": 12345678901234567890\n    }\n  }\n}\n',
  ],
  ["a rename of a member", '{"a": 1.0}', move("/a", "/b"), '{"b":1.0}'],
  [
    "a patch",
    '{\n  "a": 1\n}\n',
    patch(
      { op: "test", path: "/a", value: 1 },
      { op: "replace", path: "/a", value: 2 },
      { op: "copy", from: "/a", path: "/b" },
    ),
    '{\n  "a": 2,\n  "b": 2\n}\n',
  ],
  [
    "the whole by its differences",
    '{\n  "keep": 1.0,\n  "a": 1\n}\n',
    { operation: "UPDATE", after: { keep: 1, a: 2 } },
    '{\n  "keep": 1.0,\n  "a": 2\n}\n',
  ],
  ["members in brackets and slashes", '{"a/b": {"~": 1}}', set("/a~1b/~0", 2), '{"a/b": {"~": 2}}'],
  ["texts that look like JSON", '{"s": "}, // /* \\" [", "a": 1}', set("/a", 2), '{"s": "}, // /* \\" [", "a": 2}'],
  ["a member twice", '{"a": 1, "a": 2}', set("/a", 3), "json_duplicate_key"],
  ["a member twice inside", '{"x": [{"a": 1, "\\u0061": 2}]}', set("/y", 3), "json_duplicate_key"],
  ["no JSON", "a: 1\n", set("/a", 2), "item_invalid"],
  ["two values", "{} {}", set("/a", 2), "item_invalid"],
  ["nothing", "", set("/a", 2), "item_invalid"],
  ["too deep", "[".repeat(100_000), set("/a", 2), "json_too_deep"],
  ["a failing patch", '{"a": 1}', patch({ op: "remove", path: "/b" }), "patch_failed"],
];

describe("edits of JSON text", () => {
  it.each(rows)("%s", (_what, before, fields, after) => expect(edit(before, fields)).toBe(after));
});

const json = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.oneof(fc.constant(null), fc.boolean(), fc.integer({ min: -9, max: 9 }), fc.string({ maxLength: 4 })),
    fc.array(tie("value"), { maxLength: 4 }),
    fc.dictionary(
      fc.oneof(
        fc.constantFrom("a", "b", "c", "d/e", "~"),
        fc.string({ maxLength: 3 }).filter((name) => name !== "__proto__"),
      ),
      tie("value"),
      { maxKeys: 4, noNullPrototype: true },
    ),
  ),
})).value as fc.Arbitrary<JsonValue>;

/** Texts of a document as people and tools write them. */
const styles: readonly ((document: JsonValue) => string)[] = [
  printJson,
  (document) => JSON.stringify(document),
  (document) => JSON.stringify(document, null, "\t"),
  (document) => JSON.stringify(document, null, 4).replaceAll("\n", "\r\n"),
  (document) => JSON.stringify(document, null, 1).replace(/,$/gm, ", // note"),
  (document) =>
    `\ufeff/* head */\n${JSON.stringify(document, null, 2).replace(/([^,{[\s])(\n\s*[}\]])/g, "$1,$2")}\n// tail`,
  (document) => JSON.stringify(document, null, 1).replaceAll("\n", " "),
];

describe("any edit, in any style", () => {
  it("means exactly the new document", () => {
    fc.assert(
      fc.property(json, json, fc.constantFrom(...styles), (before, after, style) => {
        const source = parseJsonText(style(before));
        expect(isFailure(source)).toBe(false);
        if (isFailure(source)) return;
        expect(jsonEqual(source.document, before)).toBe(true);
        const edits = (diffDocuments(before, after) as unknown as PatchStep[]).map((step): JsonEdit => ({
          kind: "patch",
          step,
        }));
        const result = editJsonText(source, edits);
        expect(result).toBeTypeOf("string");
        const again = parseJsonText(result as string);
        expect(!isFailure(again) && jsonEqual(again.document, after)).toBe(true);
      }),
      { numRuns: 1500 },
    );
  });

  it("leaves the other lines alone", () => {
    const lines = Array.from({ length: 200 }, (_, i) => `  "k${i}": ${i}.0${i < 199 ? "," : ""}`);
    const text = `{\n${lines.join("\n")}\n}\n`;
    const after = edit(text, set("/k77", "new")).split("\n");
    expect(after.filter((line, i) => line !== text.split("\n")[i])).toEqual(['  "k77": "new",']);
  });
});
