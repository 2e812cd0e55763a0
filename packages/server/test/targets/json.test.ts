import { readFileSync } from "node:fs";
import type { ItemInput, JsonValue } from "@countersign/contract";
import { limits } from "@countersign/contract";
import { canonicalize } from "@countersign/proof";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  applyPatch,
  checkDocument,
  diffDocuments,
  empties,
  jsonEqual,
  parsePointer,
  toPointer,
  type PatchStep,
} from "../../src/targets/json/json.rules.js";
import { applyEdits, isEdits, jsonEdits } from "../../src/targets/json/jsonOperations.rules.js";

interface PatchVector {
  readonly comment: string;
  readonly doc: JsonValue;
  readonly patch: PatchStep[];
  readonly expected?: JsonValue;
  readonly error?: string;
  readonly disabled?: boolean;
}

const vectors = JSON.parse(
  readFileSync(new URL("../vectors/json-patch/spec_tests.json", import.meta.url), "utf8"),
) as PatchVector[];
const enabled = vectors.filter((vector) => vector.disabled !== true && vector.patch !== undefined);

describe("JSON Patch, the vectors of json-patch-tests", () => {
  it("are all there", () => expect(enabled.length).toBeGreaterThanOrEqual(16));

  it.each(enabled.map((vector) => [vector.comment, vector] as const))(
    "%s",
    (_comment, { doc, patch, expected, error }) => {
      const before = structuredClone(doc);
      const outcome = applyPatch(doc, patch);
      expect(doc).toEqual(before);
      if (error !== undefined) expect(outcome.kind).toBe("failed");
      else expect(outcome).toEqual({ kind: "patched", document: expected });
    },
  );
});

describe("JSON Patch, what must not happen", () => {
  const document = { a: { b: [1, 2, 3] }, c: "x" };
  const rows: readonly [what: string, patch: PatchStep[], step: number][] = [
    ["an inherited member is not there", [{ op: "test", path: "/toString", value: "x" }], 0],
    ["an inherited member is not replaced", [{ op: "replace", path: "/constructor", value: 1 }], 0],
    ["no prototype is touched", [{ op: "add", path: "/__proto__/polluted", value: 1 }], 0],
    ["no constructor is touched", [{ op: "add", path: "/constructor/prototype/polluted", value: 1 }], 0],
    ["an index has no leading zero", [{ op: "replace", path: "/a/b/01", value: 1 }], 0],
    ["an index is not negative", [{ op: "replace", path: "/a/b/-1", value: 1 }], 0],
    ["an index is no exponent", [{ op: "replace", path: "/a/b/1e0", value: 1 }], 0],
    ["nothing is removed past the end", [{ op: "remove", path: "/a/b/3" }], 0],
    ["nothing is added past the end", [{ op: "add", path: "/a/b/4", value: 1 }], 0],
    ["`-` is nothing to remove", [{ op: "remove", path: "/a/b/-" }], 0],
    ["length is no member", [{ op: "replace", path: "/a/b/length", value: 0 }], 0],
    ["no missing parent is made", [{ op: "add", path: "/x/y", value: 1 }], 0],
    ["a text has no members", [{ op: "add", path: "/c/0", value: 1 }], 0],
    ["a value does not move into itself", [{ op: "move", from: "/a", path: "/a/b/0" }], 0],
    ["the whole does not move into itself", [{ op: "move", from: "", path: "/a" }], 0],
    ["a pointer begins with a slash", [{ op: "remove", path: "a" }], 0],
    ["`~` is escaped", [{ op: "remove", path: "/~2" }], 0],
    ["a value is needed", [{ op: "add", path: "/d" }], 0],
    ["a from is needed", [{ op: "copy", path: "/d" }], 0],
    [
      "the failing operation is named",
      [
        { op: "remove", path: "/c" },
        { op: "add", path: "/d", value: 1 },
        { op: "remove", path: "/c" },
      ],
      2,
    ],
    ["an unknown operation", [{ op: "merge" as "add", path: "/c", value: 1 }], 0],
  ];
  it.each(rows)("%s", (_what, patch, step) => {
    const before = structuredClone(document);
    expect(applyPatch(document, patch)).toMatchObject({ kind: "failed", step, code: "patch_failed" });
    expect(document).toEqual(before);
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  it("moves to the end of the same array", () => {
    expect(applyPatch(document, [{ op: "move", from: "/a/b/0", path: "/a/b/2" }])).toMatchObject({
      document: { a: { b: [2, 3, 1] } },
    });
  });

  it("bounds copies of copies", () => {
    const patch: PatchStep[] = Array.from({ length: 60 }, (_, i) => ({ op: "copy", from: "", path: `/k${i}` }));
    expect(applyPatch({ text: "x".repeat(1000) }, patch)).toMatchObject({ kind: "failed", code: "limit_exceeded" });
  });

  it("moves a large value as cheaply as a small one", () => {
    const large = { from: { list: Array.from({ length: 100_000 }, (_, i) => i) } };
    const patch: PatchStep[] = Array.from({ length: limits.patchOperationsMax }, (_, i) =>
      i % 2 === 0 ? { op: "move", from: "/from", path: "/to" } : { op: "move", from: "/to", path: "/from" },
    );
    // 5,000 walks over 100,000 values would take longer than any test may.
    expect(applyPatch(large, patch)).toEqual({ kind: "patched", document: large });
  });

  it("shows hostile names neutralised", () => {
    expect(applyPatch({}, [{ op: "remove", path: "/\u001b[2J\u202e" }])).toMatchObject({
      reason: "there is nothing at `/\\x1b[2J\\u{202e}`",
    });
  });

  it("applies twice with the same result: the patch is not used up", () => {
    const patch: PatchStep[] = [
      { op: "add", path: "/l", value: [] },
      { op: "add", path: "/l/-", value: 1 },
    ];
    expect(applyPatch({}, patch)).toEqual({ kind: "patched", document: { l: [1] } });
    expect(applyPatch({}, patch)).toEqual({ kind: "patched", document: { l: [1] } });
  });
});

/** JSON values as they arrive from a parser: any member names, finite numbers. */
const names = fc.oneof(
  fc.constantFrom(
    "a",
    "b",
    "c",
    "",
    "0",
    "1",
    "-",
    "~",
    "/",
    "~1",
    "toString",
    "constructor",
    "__proto__",
    "hasOwnProperty",
  ),
  fc.string({ unit: "binary", maxLength: 4 }),
);
const { document } = fc.letrec<{ document: JsonValue }>((tie) => ({
  document: fc.oneof(
    { maxDepth: 4, withCrossShrink: true },
    fc.oneof(
      fc.constant(null),
      fc.boolean(),
      fc.integer({ min: -5, max: 5 }),
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.string({ maxLength: 5 }),
    ),
    fc.array(tie("document"), { maxLength: 5 }),
    fc.dictionary(names, tie("document"), { maxKeys: 5, noNullPrototype: true }),
  ),
})) as { document: fc.Arbitrary<JsonValue> };
const parsed = document.map((value) => JSON.parse(JSON.stringify(value)) as JsonValue);

describe("differences", () => {
  it("patch and inverse restore any document", () => {
    fc.assert(
      fc.property(parsed, parsed, (before, after) => {
        const forth = applyPatch(before, diffDocuments(before, after) as unknown as PatchStep[]);
        expect(forth.kind).toBe("patched");
        if (forth.kind !== "patched") return;
        expect(canonicalize(forth.document)).toBe(canonicalize(after));
        const back = applyPatch(forth.document, diffDocuments(after, before) as unknown as PatchStep[]);
        expect(back.kind === "patched" && canonicalize(back.document)).toBe(canonicalize(before));
      }),
      { numRuns: 2000 },
    );
  });

  it("say nothing exactly for equal documents", () => {
    fc.assert(
      fc.property(parsed, parsed, (a, b) => {
        const equal = canonicalize(a) === canonicalize(b);
        expect(jsonEqual(a, b)).toBe(equal);
        expect(diffDocuments(a, b).length === 0).toBe(equal);
      }),
    );
  });

  it("are no larger than the whole", () => {
    const before = Array.from({ length: 500 }, (_, i) => ({ id: i, name: `n${i}` }));
    const after = before.slice(1);
    expect(JSON.stringify(diffDocuments(before, after)).length).toBeLessThanOrEqual(
      JSON.stringify([{ op: "replace", path: "", value: after }]).length,
    );
  });
});

describe("pointers", () => {
  it("go there and back", () => {
    fc.assert(
      fc.property(fc.array(fc.string()), (steps) => {
        expect(parsePointer(toPointer(steps))).toEqual(steps);
      }),
    );
  });
});

const base = { target: { kind: "resource" as const, type: "CONFIG", id: "x", environment: "development" } };
const item = (fields: Partial<ItemInput>): ItemInput => ({ ...base, ...fields }) as ItemInput;

describe("operations on JSON", () => {
  const start = { title: "a", list: [10, 20, 30], nested: { deep: { x: 1 } } };
  const rows: readonly [
    what: string,
    fields: Partial<ItemInput>,
    expected: JsonValue | { problem: string; pointer: string },
  ][] = [
    ["UPDATE with after", { operation: "UPDATE", after: { only: 1 } }, { only: 1 }],
    [
      "UPDATE with patch",
      { operation: "UPDATE", patch: [{ op: "remove", path: "/list/1" }] },
      { ...start, list: [10, 30] },
    ],
    [
      "UPDATE with a failing patch",
      {
        operation: "UPDATE",
        patch: [
          { op: "remove", path: "/title" },
          { op: "remove", path: "/title" },
        ],
      },
      { problem: "patch_failed", pointer: "/i/patch/1" },
    ],
    [
      "CHANGE_PROPERTY of a member",
      { operation: "CHANGE_PROPERTY", pointer: "/nested/deep/x", value: 2 },
      { ...start, nested: { deep: { x: 2 } } },
    ],
    [
      "CHANGE_PROPERTY makes a member",
      { operation: "CHANGE_PROPERTY", pointer: "/nested/new", value: null },
      { ...start, nested: { deep: { x: 1 }, new: null } },
    ],
    [
      "CHANGE_PROPERTY of an element",
      { operation: "CHANGE_PROPERTY", pointer: "/list/0", value: 11 },
      { ...start, list: [11, 20, 30] },
    ],
    [
      "CHANGE_PROPERTY makes no element",
      { operation: "CHANGE_PROPERTY", pointer: "/list/3", value: 11 },
      { problem: "item_invalid", pointer: "/i/pointer" },
    ],
    [
      "CHANGE_PROPERTY needs the parent",
      { operation: "CHANGE_PROPERTY", pointer: "/no/x", value: 1 },
      { problem: "item_invalid", pointer: "/i/pointer" },
    ],
    [
      "CHANGE_PROPERTY is not for the whole",
      { operation: "CHANGE_PROPERTY", pointer: "", value: 1 },
      { problem: "item_invalid", pointer: "/i/pointer" },
    ],
    [
      "ADD_CHILD to an object",
      { operation: "ADD_CHILD", pointer: "/nested", key: "y", value: [] },
      { ...start, nested: { deep: { x: 1 }, y: [] } },
    ],
    [
      "ADD_CHILD at the end of an array",
      { operation: "ADD_CHILD", pointer: "/list", value: 40 },
      { ...start, list: [10, 20, 30, 40] },
    ],
    [
      "ADD_CHILD inside an array",
      { operation: "ADD_CHILD", pointer: "/list", key: 1, value: 15 },
      { ...start, list: [10, 15, 20, 30] },
    ],
    [
      "ADD_CHILD past the end",
      { operation: "ADD_CHILD", pointer: "/list", key: 4, value: 15 },
      { problem: "item_invalid", pointer: "/i/key" },
    ],
    [
      "ADD_CHILD over a member",
      { operation: "ADD_CHILD", key: "title", value: 15 },
      { problem: "item_invalid", pointer: "/i/key" },
    ],
    [
      "ADD_CHILD without a name",
      { operation: "ADD_CHILD", pointer: "/nested", value: 15 },
      { problem: "item_invalid", pointer: "/i/key" },
    ],
    [
      "ADD_CHILD to a text",
      { operation: "ADD_CHILD", pointer: "/title", value: 15 },
      { problem: "item_invalid", pointer: "/i/pointer" },
    ],
    ["REMOVE_CHILD of an object", { operation: "REMOVE_CHILD", pointer: "/nested/deep" }, { ...start, nested: {} }],
    ["REMOVE_CHILD of an array", { operation: "REMOVE_CHILD", pointer: "/list/1" }, { ...start, list: [10, 30] }],
    [
      "REMOVE_CHILD that is not there",
      { operation: "REMOVE_CHILD", pointer: "/list/9" },
      { problem: "item_invalid", pointer: "/i/pointer" },
    ],
    [
      "REMOVE_CHILD of the whole",
      { operation: "REMOVE_CHILD", pointer: "" },
      { problem: "item_invalid", pointer: "/i/pointer" },
    ],
    ["REORDER", { operation: "REORDER", pointer: "/list", order: [2, 0, 1] }, { ...start, list: [30, 10, 20] }],
    [
      "REORDER leaves one out",
      { operation: "REORDER", pointer: "/list", order: [2, 0] },
      { problem: "item_invalid", pointer: "/i/order" },
    ],
    [
      "REORDER names one twice",
      { operation: "REORDER", pointer: "/list", order: [2, 0, 0] },
      { problem: "item_invalid", pointer: "/i/order" },
    ],
    [
      "REORDER by names",
      { operation: "REORDER", pointer: "/list", order: ["a", "b", "c"] },
      { problem: "item_invalid", pointer: "/i/order" },
    ],
    [
      "REORDER of an object",
      { operation: "REORDER", pointer: "/nested", order: [0] },
      { problem: "item_invalid", pointer: "/i/pointer" },
    ],
    [
      "MOVE of a value",
      { operation: "MOVE", pointer: "/nested/deep", to: { pointer: "/deep" } },
      { title: "a", list: [10, 20, 30], nested: {}, deep: { x: 1 } },
    ],
    [
      "MOVE onto a member",
      { operation: "MOVE", pointer: "/nested/deep", to: { pointer: "/title" } },
      { problem: "item_invalid", pointer: "/i/to/pointer" },
    ],
    [
      "MOVE of nothing",
      { operation: "MOVE", pointer: "/nope", to: { pointer: "/x" } },
      { problem: "item_invalid", pointer: "/i/pointer" },
    ],
    [
      "a pointer that is none",
      { operation: "REMOVE_CHILD", pointer: "title" },
      { problem: "item_invalid", pointer: "/i/pointer" },
    ],
  ];
  it.each(rows)("%s", (_what, fields, expected) => {
    const edits = jsonEdits(start, item(fields), "/i");
    const result = isEdits(edits) ? applyEdits(start, edits, item(fields), "/i") : edits;
    if (typeof expected === "object" && expected !== null && "problem" in expected)
      expect(result).toMatchObject([{ code: expected.problem, pointer: expected.pointer }]);
    else expect(result).toMatchObject({ document: expected });
  });
});

describe("limits of a document", () => {
  const deep = (levels: number): JsonValue => (levels === 0 ? 1 : [deep(levels - 1)]);
  const rows: readonly [what: string, value: JsonValue, code: string | undefined, pointer?: string][] = [
    ["plain", { a: [1, "x", null] }, undefined],
    ["as deep as allowed", deep(limits.jsonDepthMax), undefined],
    ["too deep", deep(limits.jsonDepthMax + 1), "json_too_deep"],
    ["an unsafe integer", { n: { m: 2 ** 53 } }, "json_number_unsafe", "/n/m"],
    ["a large double is no integer to be kept", [1e300], "json_number_unsafe", "/0"],
    ["U+0000", { a: "x\u0000y" }, "text_unstorable", "/a"],
    ["a lone surrogate in a name", { "\ud800": 1 }, "text_unstorable"],
    ["too many values", Array.from({ length: limits.jsonValuesMax }, () => 0), "json_too_large"],
  ];
  it.each(rows)("%s", (_what, value, code, pointer) => {
    const problems = checkDocument(value, "");
    expect(problems[0]?.code).toBe(code);
    if (pointer !== undefined) expect(problems[0]?.pointer).toBe(pointer);
  });
});

describe("destructive", () => {
  const rows: readonly [before: JsonValue, after: JsonValue, expected: boolean][] = [
    [{ a: 1 }, {}, true],
    [[1], [], true],
    [{ a: { b: 1 } }, { a: {} }, true],
    [{ a: { b: 1 } }, { a: { c: 1 } }, false],
    [{ a: { b: 1 } }, { c: 1 }, false],
    [{}, {}, false],
  ];
  it.each(rows)("%j to %j", (before, after, expected) => expect(empties(before, after)).toBe(expected));
});
