/** What the CLI prints: tables, diffs, CSV, refusals, exit codes. Nothing foreign steers a terminal. */
import { errorCatalogue, errorCodes, visible } from "@countersign/contract";
import { clientCodes, CountersignError } from "@countersign/sdk";
import { describe, expect, test } from "vitest";
import { csvCell, csvLine } from "../../src/cli/csv.js";
import { CliError, exitCodeOfCode, localCodes } from "../../src/cli/exit.js";
import { failureDocument, failureOf, failureText } from "../../src/cli/failure.js";
import { helpFor, hints, withoutHint } from "../../src/cli/hints.js";
import { jsonDiff, unifiedDiff } from "../../src/cli/render/diff.js";
import { table } from "../../src/cli/table.js";
import { wantsColors } from "../../src/cli/terminal.js";
import { block, painter, show, shortened } from "../../src/cli/text.js";

const plain = painter(false);
const colored = painter(true);
const hostile = "\u001b[2J\u001b]0;owned\u0007a\u202eb\u200bc\nsecond\r\u009b31m";

describe("foreign text", () => {
  const shown = [
    show`title ${hostile}`.text,
    colored.red(hostile).text.replaceAll(/\u001b\[(?:31|39)m/g, ""),
    shortened(hostile, 200).text,
    table(plain, [hostile], [{ head: hostile, cell: (row) => row }], "").text,
    failureText(
      plain,
      failureOf(
        new CliError("usage", hostile, { help: [hostile], problems: [{ pointer: hostile, message: hostile }] }),
        {},
      ),
    ).text,
    failureText(
      plain,
      failureOf(
        new CountersignError({
          code: "drift",
          status: 409,
          title: hostile,
          detail: hostile,
          operation: "x",
          problems: [{ code: "drift", message: hostile, pointer: hostile }],
        }),
        { changeSet: hostile },
      ),
    ).text,
    jsonDiff(plain, [{ op: "replace", path: hostile, value: hostile }], null).text,
    unifiedDiff(plain, `+${hostile}`).text,
  ];
  test.each(shown.map((text, index) => [index, text] as const))(
    "%i has no control, bidirectional or invisible character",
    (_index, text) => {
      // Line feeds are our own, or those of texts of several lines.
      expect(visible(text.replaceAll("\n", " "))).toBe(text.replaceAll("\n", " "));
      expect(text.length).toBeGreaterThan(10);
    },
  );
  test("lines of a text stay lines, everything else is written out", () => {
    expect(block("a\nb\tc\u001b[31m").text).toBe("a\nb\tc\\x1b[31m");
  });
  test("shortening never cuts an escape in two", () => {
    expect(shortened("abcdef", 4).text).toBe("abc…");
    expect(shortened("abc", 4).text).toBe("abc");
  });
});

describe("tables", () => {
  test("columns, numbers to the right, wide characters", () => {
    const rows = [
      { name: "短い", count: 5 },
      { name: "long name", count: 1234 },
    ];
    const text = table(
      plain,
      rows,
      [
        { head: "name", cell: (r) => r.name },
        { head: "count", cell: (r) => r.count, right: true },
      ],
      "none",
    ).text;
    expect(text.split("\n")).toEqual(["NAME       COUNT", "短い           5", "long name   1234"]);
  });
  test("none", () => {
    expect(table(plain, [], [], "nothing here").text).toBe("nothing here");
  });
});

describe("diffs", () => {
  const before = { timeout: 20, list: [1], name: "a" };
  test.each([
    ["replace", [{ op: "replace", path: "/timeout", value: 30 }], "/timeout\n  - 20\n  + 30"],
    ["add", [{ op: "add", path: "/list/-", value: { a: 1 } }], '/list/-\n  + {\n  +   "a": 1\n  + }'],
    ["remove", [{ op: "remove", path: "/name" }], '/name\n  - "a"'],
    ["move", [{ op: "move", from: "/name", path: "/title" }], "/title moved from /name"],
    [
      "whole",
      [{ op: "replace", path: "", value: null }],
      '(whole document)\n  - {\n  -   "timeout": 20,\n  -   "list": [\n  -     1\n  -   ],\n  -   "name": "a"\n  - }\n  + null',
    ],
    ["nothing claimed of what is not there", [{ op: "replace", path: "/gone/x", value: 1 }], "/gone/x\n  + 1"],
    ["none", [], "no difference in content"],
  ])("%s", (_name, patch, text) => {
    expect(jsonDiff(plain, patch, before).text).toBe(text);
  });
  test("colours: minus red, plus green", () => {
    const text = unifiedDiff(colored, "--- a\n+++ b\n@@ -1 +1 @@\n-old\n+new\n").text;
    expect(text).toContain("\u001b[31m-old");
    expect(text).toContain("\u001b[32m+new");
    expect(unifiedDiff(plain, "-old\n+new\n").text).toBe("-old\n+new");
  });
});

describe("CSV", () => {
  test.each([
    ["text", "text"],
    ["=1+2", "'=1+2"],
    ["+1", "'+1"],
    ["-1", "'-1"],
    ["@SUM(A1)", "'@SUM(A1)"],
    ["\t=1", "'\t=1"],
    ["\r=1", '"\'\r=1"'],
    ["a=1", "a=1"],
    ['say "hi", twice', '"say ""hi"", twice"'],
    ["two\nlines", '"two\nlines"'],
    ['=HYPERLINK("x")', '"\'=HYPERLINK(""x"")"'],
    ["", ""],
  ])("%j", (value, cell) => {
    expect(csvCell(value)).toBe(cell);
  });
  test("numbers of ours stay numbers, nothing stays empty, records end as the RFC says", () => {
    expect(csvLine([-1, null, "a"])).toBe("-1,,a\r\n");
  });
});

describe("exit codes", () => {
  test.each([
    ["policy_denied", 403, 1],
    ["illegal_transition", 409, 1],
    ["unauthenticated", 401, 1],
    ["invalid_request", 422, 4],
    ["malformed_json", 400, 4],
    ["database_unavailable", 503, 3],
    ["overloaded", 503, 3],
    ["postgres_start_failed", 500, 3],
    ["schema_behind", 500, 3],
    ["internal", 500, 3],
    ["unreachable", 0, 3],
    ["timed_out", 0, 3],
    ["usage", 0, 64],
    ["not_logged_in", 0, 64],
    ["passphrase_wrong", 0, 1],
    ["file_malformed", 0, 4],
  ])("%s (%i) ends with %i", (code, status, exit) => {
    expect(exitCodeOfCode(code, status)).toBe(exit);
  });
  test("no code of the database's or the machine's own troubles looks like tampering", () => {
    for (const code of errorCodes) {
      if (
        errorCatalogue[code].status < 500 ||
        code === "disk_full" ||
        code === "migration_failed" ||
        code === "down_refused"
      )
        continue;
      expect(exitCodeOfCode(code, errorCatalogue[code].status), code).not.toBe(1);
    }
  });
});

describe("the command that would help", () => {
  test.each([...errorCodes, ...clientCodes])("%s has one, or is known to have none", (code) => {
    const has = helpFor(code, undefined, { changeSet: "CS-2026-1120-001" }).length > 0;
    expect(has).toBe(!withoutHint.includes(code));
  });
  test("no hint without a code", () => {
    expect(Object.keys(hints).filter((code) => !([...errorCodes, ...clientCodes] as string[]).includes(code))).toEqual(
      [],
    );
  });
  test("what is legal is typed out with the change-set's number", () => {
    expect(helpFor("illegal_transition", ["roll_back", "archive"], { changeSet: "CS-1" })).toEqual([
      "countersign undo CS-1   (bring every target back)",
      "countersign change-set archive CS-1   (archive it; its backups are released)",
    ]);
  });
});

describe("refusals", () => {
  const error = new CountersignError({
    code: "item_invalid",
    status: 422,
    title: "",
    detail: "`patch` is missing (and 1 more)",
    operation: "createChangeSet",
    problems: [
      { code: "item_invalid", message: "`patch` is missing", pointer: "/items/0" },
      { code: "no_effect", message: "it changes nothing", pointer: "/items/1" },
    ],
    retryAfterSeconds: 3,
  });
  test("for people: code, message, every pointer, help", () => {
    const lines = failureText(plain, failureOf(error, {})).text.split("\n");
    expect(lines.slice(0, 4)).toEqual([
      "item_invalid: `patch` is missing (and 1 more)",
      "  /items/0 `patch` is missing",
      "  /items/1 no_effect: it changes nothing",
      "  try again in 3 s",
    ]);
    expect(lines[4]).toMatch(/^help: correct the item/);
  });
  test("for machines: the same, stable", () => {
    expect(failureDocument(failureOf(error, {}))).toMatchObject({
      error: {
        code: "item_invalid",
        status: 422,
        exitCode: 1,
        retryAfterSeconds: 3,
        problems: [{ pointer: "/items/0" }, { pointer: "/items/1" }],
      },
    });
  });
  test("a fault of ours says so", () => {
    expect(failureOf(new TypeError("x is not a function"), {})).toMatchObject({ code: "internal", exitCode: 3 });
  });
  test("every local code has an exit code of the documented ones", () => {
    expect(new Set(Object.values(localCodes))).toEqual(new Set([64, 1, 4, 3]));
  });
});

describe("colours", () => {
  test.each([
    [{}, true, true],
    [{}, false, false],
    [{ NO_COLOR: "1" }, true, false],
    [{ NO_COLOR: "" }, true, true],
    [{ FORCE_COLOR: "1" }, false, true],
    [{ NO_COLOR: "1", FORCE_COLOR: "1" }, true, false],
    [{ TERM: "dumb" }, true, false],
  ])("%j on a terminal %s: %s", (env, tty, wanted) => {
    expect(wantsColors(env, tty)).toBe(wanted);
  });
});
