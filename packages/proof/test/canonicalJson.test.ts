/** RFC 8785 against its published vectors, and what has no canonical form. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CanonicalJsonError, canonicalDepthMax, canonicalize, isCanonical } from "../src/index.js";

const vectors = fileURLToPath(new URL("vectors/rfc8785/testdata/", import.meta.url));
const read = (path: string): string => readFileSync(vectors + path, "utf8");

describe("RFC 8785 vectors", () => {
  const names = readdirSync(`${vectors}input`);
  it("are there", () => expect(names).toHaveLength(6));

  it.each(names)("%s", (name) => {
    const text = canonicalize(JSON.parse(read(`input/${name}`)));
    const hex = read(`outhex/${name.replace(".json", ".txt")}`).replace(/\s/g, "");
    expect(text).toBe(read(`output/${name}`));
    expect(Buffer.from(text, "utf8").toString("hex")).toBe(hex);
    expect(isCanonical(text)).toBe(true);
  });

  it("numbers: 10,000 doubles as ECMAScript writes them", () => {
    const lines = read("es6-first-10000.txt").trimEnd().split("\n");
    const wrong = lines.filter((line) => {
      const [hex = "", expected] = line.split(",");
      const double = Buffer.from(hex.padStart(16, "0"), "hex").readDoubleBE();
      return canonicalize(double) !== expected;
    });
    expect(lines).toHaveLength(10_000);
    expect(wrong).toEqual([]);
  });
});

describe("what has no canonical form is refused with its place", () => {
  class Point {
    x = 1;
  }
  const cyclic: Record<string, unknown> = {};
  cyclic["self"] = cyclic;
  const deep = (levels: number): unknown => (levels === 0 ? 1 : [deep(levels - 1)]);

  it.each<[string, unknown, string]>([
    ["undefined", { a: undefined }, "/a"],
    ["a function", { a: { b: () => 1 } }, "/a/b"],
    ["a symbol", [Symbol("s")], "/0"],
    ["a bigint", { n: 1n }, "/n"],
    ["NaN", [1, NaN], "/1"],
    ["Infinity", { a: -Infinity }, "/a"],
    ["a hole", Object.assign(new Array<number>(2), { 0: 1 }), "/1"],
    ["a date", { at: new Date(0) }, "/at"],
    ["an instance", { "a/b": new Point() }, "/a~1b"],
    ["a map", [new Map()], "/0"],
    ["a boxed number", [Object(1)], "/0"],
    ["a symbol member", { [Symbol("s")]: 1 }, ""],
    ["toJSON", { toJSON: () => 1 }, "/toJSON"],
    ["a lone surrogate", { a: "x\ud800" }, "/a"],
    ["a lone surrogate in a name", { "\udc00": 1 }, "/\udc00"],
    ["a cycle", cyclic, "/self".repeat(canonicalDepthMax)],
    ["too deep", deep(canonicalDepthMax + 1), "/0".repeat(canonicalDepthMax)],
    ["far too deep", deep(5_000), "/0".repeat(canonicalDepthMax)],
  ])("%s", (_, value, pointer) => {
    expect(() => canonicalize(value)).toThrow(CanonicalJsonError);
    try {
      canonicalize(value);
    } catch (error) {
      expect((error as CanonicalJsonError).pointer).toBe(pointer);
    }
  });
});

describe("what has one", () => {
  it.each<[string, unknown, string]>([
    ["depth at the limit", [[[]]], "[[[]]]"],
    ["__proto__ is a member", JSON.parse('{"__proto__":{"b":1},"a":0}'), '{"__proto__":{"b":1},"a":0}'],
    ["no prototype", Object.assign(Object.create(null) as object, { b: 1, a: 2 }), '{"a":2,"b":1}'],
    ["minus zero", -0, "0"],
    [
      "names by UTF-16 code units",
      { "\ufb33": 1, "\u{1f600}": 2, "\r": 3, "1": 4 },
      '{"\\r":3,"1":4,"\u{1f600}":2,"\ufb33":1}',
    ],
    ["U+0000 escaped", "\u0000", '"\\u0000"'],
    ["DEL and U+2028 as themselves", "\u007f\u2028", '"\u007f\u2028"'],
  ])("%s", (_, value, text) => expect(canonicalize(value)).toBe(text));

  it("does not depend on the order in which members were made, and denotes the same value", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), (value) => {
        const text = canonicalize(value);
        expect(canonicalize(reversed(value))).toBe(text);
        expect(canonicalize(JSON.parse(text))).toBe(text);
      }),
      { numRuns: 500 },
    );
  });
});

function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed);
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).reverse();
  return Object.fromEntries(members.map(([name, member]) => [name, reversed(member)]));
}
