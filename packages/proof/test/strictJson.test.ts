/** JSON from outside: JSONTestSuite, our own rules, and what hostile sizes do. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalize, isNumberKept, parseStrictJson } from "../src/index.js";

const folder = fileURLToPath(new URL("vectors/json-fuzz/test_parsing/", import.meta.url));
const names = readdirSync(folder);
const parseFile = (name: string) => parseStrictJson(readFileSync(folder + name));
const codesOf = (result: ReturnType<typeof parseStrictJson>): string[] =>
  result.ok ? [] : [...new Set(result.problems.map((problem) => problem.code))];

/** Valid JSON that our rules refuse, by name. */
const refusedValid: Readonly<Record<string, string>> = {
  // Integers beyond 2^53 − 1, written with an exponent.
  "y_number.json": "json_number_unsafe",
  "y_number_real_capital_e.json": "json_number_unsafe",
  "y_number_real_exponent.json": "json_number_unsafe",
  "y_number_real_fraction_exponent.json": "json_number_unsafe",
  "y_object_extreme_numbers.json": "json_number_unsafe",
  "y_object_duplicated_key.json": "json_duplicate_key",
  "y_object_duplicated_key_and_value.json": "json_duplicate_key",
  "y_object_escaped_null_in_key.json": "text_unstorable",
  "y_string_null_escape.json": "text_unstorable",
};
/** What implementations may decide (`i_`), and how it is decided here. */
const decided: Readonly<Record<string, string>> = {
  "i_number_double_huge_neg_exp.json": "json_number_unsafe",
  "i_number_huge_exp.json": "json_number_unsafe",
  "i_number_neg_int_huge_exp.json": "json_number_unsafe",
  "i_number_pos_double_huge_exp.json": "json_number_unsafe",
  "i_number_real_neg_overflow.json": "json_number_unsafe",
  "i_number_real_pos_overflow.json": "json_number_unsafe",
  "i_number_real_underflow.json": "json_number_unsafe",
  "i_number_too_big_neg_int.json": "json_number_unsafe",
  "i_number_too_big_pos_int.json": "json_number_unsafe",
  "i_number_very_big_negative_int.json": "json_number_unsafe",
  "i_object_key_lone_2nd_surrogate.json": "text_unstorable",
  "i_string_1st_surrogate_but_2nd_missing.json": "text_unstorable",
  "i_string_1st_valid_surrogate_2nd_invalid.json": "text_unstorable",
  "i_string_incomplete_surrogate_and_escape_valid.json": "text_unstorable",
  "i_string_incomplete_surrogate_pair.json": "text_unstorable",
  "i_string_incomplete_surrogates_escape_valid.json": "text_unstorable",
  "i_string_invalid_lonely_surrogate.json": "text_unstorable",
  "i_string_invalid_surrogate.json": "text_unstorable",
  "i_string_inverted_surrogates_U+1D11E.json": "text_unstorable",
  "i_string_lone_second_surrogate.json": "text_unstorable",
  "i_structure_500_nested_arrays.json": "json_too_deep",
};

describe("JSONTestSuite", () => {
  it("is there", () => expect(names.length).toBe(318));

  it.each(names.filter((name) => name.startsWith("y_")))("%s", (name) => {
    const result = parseFile(name);
    expect(codesOf(result)).toEqual(name in refusedValid ? [refusedValid[name]] : []);
    if (result.ok) expect(result.value).toEqual(JSON.parse(readFileSync(folder + name, "utf8")));
  });
  it.each(names.filter((name) => name.startsWith("n_")))("%s", (name) => expect(parseFile(name).ok).toBe(false));
  it.each(names.filter((name) => name.startsWith("i_")))("%s", (name) => {
    // What is not listed is not UTF-8, or begins with a byte order mark: both are refused as malformed.
    expect(codesOf(parseFile(name))).toEqual([decided[name] ?? "malformed_json"]);
  });
});

describe("problems", () => {
  const check = (text: string, ...expected: string[]): void => {
    const result = parseStrictJson(text);
    expect(result.ok ? [] : result.problems.map(({ code, pointer }) => `${code} ${pointer}`)).toEqual(expected);
  };

  it("are all named at once, with their pointers", () => {
    check(
      '{"a":1,"a":2,"__proto__":{"x":9007199254740993.0,"y":1e400},"q":"\\u0000","m/n":[0,"\\ud800"],"\\udfff":1}',
      "json_duplicate_key /a",
      "json_number_unsafe /__proto__/x",
      "json_number_unsafe /__proto__/y",
      "text_unstorable /q",
      "text_unstorable /m~1n/1",
      "text_unstorable /\udfff",
    );
  });
  it("duplicates are found however the name is written, at any depth", () => {
    check('{"a":1,"\\u0061":2}', "json_duplicate_key /a");
    check('[[{"x":{"b":1,"c":[],"b":1}}]]', "json_duplicate_key /0/0/x/b");
    check('{"__proto__":1,"__proto__":2}', "json_duplicate_key /__proto__");
  });
  it("a raw lone surrogate in a text is refused like an escaped one", () => check('["\ud800"]', "text_unstorable /0"));
  it("are at most a hundred", () => {
    const result = parseStrictJson(`[${Array.from({ length: 500 }, () => "1e999").join()}]`);
    expect(result.ok ? 0 : result.problems.length).toBe(100);
  });
  it("carry no control characters of the text", () => {
    const result = parseStrictJson("[\u001b[31m");
    expect(JSON.stringify(result)).not.toContain("\\u001b");
  });
});

describe("numbers", () => {
  const rows: readonly [string, boolean][] = [
    ["0", true],
    ["-0", true],
    ["9007199254740991", true],
    ["-9007199254740991", true],
    ["9007199254740992", false],
    ["9007199254740993", false],
    ["9007199254740993.0", false],
    ["9007199254740990.9", false], // its double is an integer: the fraction is lost
    ["1e400", false],
    ["1E-400", false],
    ["1e21", false],
    ["1.50e1", true],
    ["100e-2", true],
    ["1e-2", true],
    ["0.1", true],
    ["0e999999999999", true],
    ["0.0000000000000000000000000000001", true],
    ["1".repeat(2_000), false],
    [`0.${"0".repeat(1_000_000)}1`, false],
  ];
  it.each(rows.map(([literal, kept]) => [literal.slice(0, 40), literal, kept] as const))("%s", (_, literal, kept) => {
    expect(isNumberKept(literal)).toBe(kept);
    expect(parseStrictJson(literal).ok).toBe(kept);
  });
});

describe("sizes", () => {
  it.each<[string, string | Uint8Array, string]>([
    ["100,000 brackets", "[".repeat(100_000), "json_too_deep"],
    ["depth 65", "[".repeat(65) + "]".repeat(65), "json_too_deep"],
    ["a million nested objects", '{"a":'.repeat(1_000_000), "json_too_deep"],
    [
      "a million members",
      `{${Array.from({ length: 1_000_000 }, (_, i) => `"k${i}":0`).join()}}`.slice(0, 8_000_000),
      "json_too_large",
    ],
    ["three million items", `[${"1,".repeat(3_000_000)}1]`, "json_too_large"],
    ["eight million digits", "1".repeat(8_000_000), "json_number_unsafe"],
    ["eight million minus signs", "-".repeat(8_000_000), "malformed_json"],
    ["an endless string", `"${"a".repeat(8_000_000)}`, "malformed_json"],
    ["eight million escapes and a NUL", `"${"\\n".repeat(3_900_000)}\\u0000"`, "text_unstorable"],
    ["nine million bytes", Buffer.alloc(9_000_000, 0x20), "body_too_large"],
    ["nothing", "", "malformed_json"],
  ])("%s", (_, text, code) => expect(codesOf(parseStrictJson(text))).toEqual([code]));

  it("the limits themselves are inside", () => {
    expect(parseStrictJson("[".repeat(64) + "]".repeat(64)).ok).toBe(true);
    expect(parseStrictJson(`[${"1,".repeat(199_998)}1]`).ok).toBe(true);
    expect(parseStrictJson(`[${"[],".repeat(199_998)}[]]`).ok).toBe(true);
    expect(parseStrictJson("[1,2,3]", { valuesMax: 3 }).ok).toBe(false);
    expect(parseStrictJson('"ää"', { bytesMax: 6 }).ok).toBe(true);
    expect(parseStrictJson('"ää"', { bytesMax: 5 }).ok).toBe(false);
  });
});

describe("good text", () => {
  it("is read as JSON.parse reads it, from text and from bytes", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 5 }), fc.constantFrom(undefined, 2), (value, indent) => {
        const kept = isAllKept(value);
        const text = JSON.stringify(value, null, indent);
        for (const input of [text, Buffer.from(text, "utf8")]) {
          const result = parseStrictJson(input);
          expect(result.ok).toBe(kept);
          if (result.ok) expect(canonicalize(result.value)).toBe(canonicalize(value));
        }
      }),
      { numRuns: 500 },
    );
  });
  it("has __proto__ as a member", () => {
    const result = parseStrictJson('{"__proto__":{"polluted":"\\u00e9"}}');
    expect(result.ok && Object.keys(result.value as object)).toEqual(["__proto__"]);
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });
});

function isAllKept(value: unknown): boolean {
  if (typeof value === "string") return !value.includes("\u0000");
  if (typeof value === "number") return isNumberKept(JSON.stringify(value));
  if (typeof value !== "object" || value === null) return true;
  return Object.entries(value).every(([name, member]) => !name.includes("\u0000") && isAllKept(member));
}
