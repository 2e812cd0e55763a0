/** What people type on the command line, and what the CLI makes of it. Pure. */
import { describe, expect, test } from "vitest";
import { CliError } from "../../src/cli/exit.js";
import { parseDocument } from "../../src/cli/changesFile.js";
import { draftItem, fileContent, parseTarget, parseValue, QuickForms, type QuickForm } from "../../src/cli/grammar.js";
import { sendItems, titleOf } from "../../src/cli/propose.js";
import { pointInTime, roughly } from "../../src/cli/when.js";
import { CountersignError } from "@countersign/sdk";
import { type ChangeSetAnswer, type ItemInput, shownTarget, targetText } from "@countersign/contract";

const read = (path: string): Buffer =>
  Buffer.from(path === "bin" ? Buffer.from([0xff, 0x00]) : path === "doc.json" ? '{"a":1}' : "text\n");
const refused = (make: () => unknown): string => {
  try {
    make();
  } catch (error) {
    if (error instanceof CliError) return `${error.code}: ${error.message}`;
    throw error;
  }
  throw new Error("nothing was refused");
};

describe("targets", () => {
  const resource = (environment: string, type: string, id: string) => ({ kind: "resource", environment, type, id });
  test.each([
    ["CONFIG:shop/checkout", resource("development", "CONFIG", "shop/checkout")],
    ["production:CONFIG:shop/checkout", resource("production", "CONFIG", "shop/checkout")],
    ["resource:production:CONFIG:shop/checkout", resource("production", "CONFIG", "shop/checkout")],
    ["resource:CONFIG:a", resource("development", "CONFIG", "a")],
    ["CONFIG:a:b::c", resource("development", "CONFIG", "a:b::c")],
    ["eu.staging:API_ENDPOINT:x", resource("eu.staging", "API_ENDPOINT", "x")],
    ["file:shop:config/app.json", { kind: "file", workspace: "shop", path: "config/app.json" }],
    ["file:shop:a:b", { kind: "file", workspace: "shop", path: "a:b" }],
    // Names called like a kind: what stands first is the kind.
    ["resource:file:CONFIG:a", resource("file", "CONFIG", "a")],
    ["resource:resource:CONFIG:a", resource("resource", "CONFIG", "a")],
    ["resource:CONFIG:file:a", resource("development", "CONFIG", "file:a")],
    ["file.eu:CONFIG:a", resource("file.eu", "CONFIG", "a")],
    ["file:CONFIG:a", { kind: "file", workspace: "CONFIG", path: "a" }],
    ["file:resource:CONFIG:a", { kind: "file", workspace: "resource", path: "CONFIG:a" }],
    ["file:file:file", { kind: "file", workspace: "file", path: "file" }],
  ])("%s", (text, target) => {
    expect(parseTarget(text, "development")).toEqual(target);
  });
  test.each([
    "",
    "CONFIG",
    "CONFIG:",
    ":x",
    "config:x",
    "Production:CONFIG:x",
    "file:",
    "file:shop",
    "file:shop:",
    "file::x",
    "a:b:CONFIG:x",
  ])("%j is refused with the forms there are", (text) => {
    expect(refused(() => parseTarget(text, "development"))).toMatch(/^usage: `.*` is no (file )?target; write/);
  });
  test.each([
    "production:CONFIG:shop/checkout",
    "file:shop:a/b.json",
    "resource:file:CONFIG:a",
    "resource:resource:CONFIG:a",
    "file:file:file",
  ])("%s is shown as it is typed", (text) => {
    const target = parseTarget(text, "development");
    expect(targetText(target)).toBe(text);
    const facts = target.kind === "file" ? { environment: "", type: "FILE", id: text.slice("file:".length) } : target;
    expect(shownTarget({ kind: target.kind, ...facts })).toBe(text);
  });
});

describe("values", () => {
  test.each([
    ["30", 30],
    ["-1.5e3", -1500],
    ["true", true],
    ["null", null],
    ['"30"', "30"],
    ["thirty", "thirty"],
    ["", ""],
    ["=x", "=x"],
    ['{"a":[1]}', { a: [1] }],
    ["{broken", "{broken"],
  ])("%s", (text, value) => {
    expect(parseValue(text)).toEqual(value);
  });
});

describe("quick forms", () => {
  const target = { kind: "resource", environment: "development", type: "CONFIG", id: "a" } as const;
  const file = { kind: "file", workspace: "shop", path: "x.md" } as const;
  const rows: readonly (readonly [QuickForm, ItemInput])[] = [
    [
      { form: "set", text: "CONFIG:a#/b/c=30" },
      { operation: "CHANGE_PROPERTY", target, pointer: "/b/c", value: 30 },
    ],
    [
      { form: "set", text: "CONFIG:a#/b=x=y" },
      { operation: "CHANGE_PROPERTY", target, pointer: "/b", value: "x=y" },
    ],
    [
      { form: "set", text: "file:shop:x.md#/b=1" },
      { operation: "CHANGE_PROPERTY", target: file, pointer: "/b", value: 1 },
    ],
    [
      { form: "add", text: "CONFIG:a#/list/-=1" },
      { operation: "ADD_CHILD", target, pointer: "/list", value: 1 },
    ],
    [
      { form: "add", text: "CONFIG:a#/list/0=1" },
      { operation: "ADD_CHILD", target, pointer: "/list", key: 0, value: 1 },
    ],
    [
      { form: "add", text: "CONFIG:a#/b~1c=1" },
      { operation: "ADD_CHILD", target, pointer: "", key: "b/c", value: 1 },
    ],
    [
      { form: "unset", text: "CONFIG:a#/b" },
      { operation: "REMOVE_CHILD", target, pointer: "/b" },
    ],
    [
      { form: "delete", text: "CONFIG:a" },
      { operation: "DELETE", target },
    ],
    [
      { form: "rename", text: "CONFIG:a", operand: "b" },
      { operation: "RENAME", target, to: { id: "b" } },
    ],
    [
      { form: "rename", text: "file:shop:x.md", operand: "y.md" },
      { operation: "RENAME", target: file, to: { path: "y.md" } },
    ],
    [
      { form: "put", text: "CONFIG:a", operand: "doc.json" },
      { operation: "UPDATE", target, after: { a: 1 } },
    ],
    [
      { form: "file", text: "shop:x.md", operand: "x.md" },
      { operation: "UPDATE", target: file, content: { text: "text\n" } },
    ],
    [
      { form: "file", text: "shop:x.md", operand: "bin" },
      { operation: "UPDATE", target: file, content: { base64: "/wA=" } },
    ],
  ];
  test.each(rows)("%j", (form, item) => {
    const draft = draftItem(form, "development", read);
    expect(draft.item).toEqual(item);
    expect(draft.createOrUpdate).toBe(form.form === "put" || form.form === "file");
  });
  test.each([
    ["set", "CONFIG:a=3"],
    ["set", "CONFIG:a#/b"],
    ["set", "CONFIG:a#b=3"],
    ["set", "#/b=3"],
    ["add", "CONFIG:a#/b"],
    ["unset", "CONFIG:a"],
    ["delete", "nothing"],
  ] as const)("--%s %s is refused with an example", (form, text) => {
    expect(refused(() => draftItem({ form, text }, "development", read))).toMatch(/^usage: .*; write/);
  });
  test("a document that is not JSON is named", () => {
    expect(refused(() => draftItem({ form: "put", text: "CONFIG:a", operand: "x.md" }, "development", read))).toMatch(
      /^file_malformed: `x.md` is not JSON/,
    );
  });

  test("keep their order, and their operands", () => {
    const forms = new QuickForms();
    forms.add("set", "A:a#/x=1");
    forms.add("put", "A:b");
    forms.operand("--from", "b.json");
    forms.add("rename", "A:c");
    forms.operand("--to", "d");
    expect(forms.all()).toEqual([
      { form: "set", text: "A:a#/x=1" },
      { form: "put", text: "A:b", operand: "b.json" },
      { form: "rename", text: "A:c", operand: "d" },
    ]);
  });
  test.each([
    ["--from before anything", (f: QuickForms) => f.operand("--from", "x"), "`--from` stands alone"],
    [
      "--from twice",
      (f: QuickForms) => (f.add("put", "A:b"), f.operand("--from", "x"), f.operand("--from", "y")),
      "`--from` stands alone",
    ],
    ["--to after --put", (f: QuickForms) => (f.add("put", "A:b"), f.operand("--to", "x")), "`--to` stands alone"],
    ["--put alone", (f: QuickForms) => f.add("put", "A:b"), "needs `--from`"],
    ["--rename alone", (f: QuickForms) => f.add("rename", "A:b"), "needs `--to`"],
  ])("%s", (_name, act, message) => {
    const forms = new QuickForms();
    act(forms);
    expect(refused(() => forms.all())).toContain(message);
  });

  test.each([
    [Buffer.from("ä\n"), { text: "ä\n" }],
    [Buffer.from(""), { text: "" }],
    [Buffer.from([0xc3]), { base64: "ww==" }],
    [Buffer.from("a\u0000b"), { base64: "YQBi" }],
    [Buffer.from("\uFEFFx"), { text: "\uFEFFx" }],
  ])("bytes %j", (bytes, content) => {
    expect(fileContent(bytes)).toEqual(content);
  });

  test("a title is made of the first item", () => {
    const items = [draftItem({ form: "set", text: "CONFIG:a#/b=1" }, "development", read)];
    expect(titleOf({ fields: {}, items })).toBe("CHANGE_PROPERTY development:CONFIG:a/b");
    expect(titleOf({ fields: { title: "mine" }, items })).toBe("mine");
    expect(titleOf({ fields: {}, items: [...items, ...items, ...items] })).toBe(
      "CHANGE_PROPERTY development:CONFIG:a/b and 2 more",
    );
  });
});

describe("create or update is for the server to say", () => {
  const draft = draftItem({ form: "put", text: "CONFIG:a", operand: "doc.json" }, "development", read);
  const set = draftItem({ form: "set", text: "CONFIG:b#/x=1" }, "development", read);
  const absent = (pointer: string): CountersignError =>
    new CountersignError({
      code: "target_not_found",
      status: 422,
      title: "",
      detail: "",
      operation: "createChangeSet",
      problems: [{ code: "target_not_found", message: "", pointer }],
    });
  const answer = {} as ChangeSetAnswer;

  test("absent: it is created", async () => {
    const sent: string[][] = [];
    const send = async (items: ItemInput[]): Promise<ChangeSetAnswer> => {
      sent.push(items.map((item) => item.operation));
      if (sent.length === 1) throw absent("/items/1/target");
      return answer;
    };
    await sendItems([set, draft], send);
    expect(sent).toEqual([
      ["CHANGE_PROPERTY", "UPDATE"],
      ["CHANGE_PROPERTY", "CREATE"],
    ]);
  });
  test("what was typed as it is stays a refusal", async () => {
    await expect(sendItems([set], () => Promise.reject(absent("/items/0/target")))).rejects.toMatchObject({
      code: "target_not_found",
    });
  });
  test("any other refusal too", async () => {
    const error = new CountersignError({ code: "no_effect", status: 422, title: "", detail: "", operation: "x" });
    await expect(sendItems([draft], () => Promise.reject(error))).rejects.toBe(error);
  });
});

describe("JSON with comments", () => {
  test.each([
    ["plain", '{"a":1}', { a: 1 }],
    ["comments and trailing commas", '// head\n{ "a": [1, 2,], /* b */ "c": "//no", }', { a: [1, 2], c: "//no" }],
    ["comment marks and commas in texts", '{"u":"http://x/*y*/","v":",]"}', { u: "http://x/*y*/", v: ",]" }],
    ["byte order mark", "\uFEFF[]", []],
  ])("%s", (_name, text, value) => {
    expect(parseDocument(Buffer.from(text), "f.json")).toEqual(value);
  });
  test.each([
    ["a member twice", '{"a":1,"a":2}', "/a"],
    ["a number that would be rounded", '{"a":9007199254740993}', "/a"],
    ["no value", "[,]", undefined],
    ["an open comment", "[] /*", undefined],
    ["two commas", "[1,,]", undefined],
  ])("%s is refused", (_name, text, pointer) => {
    const error = (() => {
      try {
        return parseDocument(Buffer.from(text), "f.json");
      } catch (thrown) {
        return thrown;
      }
    })();
    expect(error).toBeInstanceOf(CliError);
    expect(error).toMatchObject({ code: "file_malformed" });
    if (pointer !== undefined) expect((error as CliError).problems[0]?.pointer).toBe(pointer);
  });
});

describe("points in time", () => {
  const now = Date.parse("2026-11-20T12:00:00.000Z");
  test.each([
    ["7d", "2026-11-13T12:00:00.000Z"],
    ["90m", "2026-11-20T10:30:00.000Z"],
    ["2w", "2026-11-06T12:00:00.000Z"],
    ["2026-11-20", "2026-11-20T00:00:00.000Z"],
    ["2026-11-20T12:00Z", "2026-11-20T12:00:00.000Z"],
    ["2026-11-20T12:00:05.5+02:00", "2026-11-20T10:00:05.500Z"],
  ])("%s", (text, iso) => {
    expect(pointInTime(text, "--since", now)).toBe(iso);
  });
  test.each(["yesterday", "7", "7y", "2026-13-01", "2026-11-20T12:00", "-7d", ""])("%j is refused", (text) => {
    expect(refused(() => pointInTime(text, "--since", now))).toMatch(/^usage: .* for --since; write `7d`/);
  });
  test.each([
    ["2026-11-20T12:00:30Z", "in 30 s"],
    ["2026-11-20T11:00:00Z", "60 min ago"],
    ["2026-11-21T12:00:00Z", "in 24 h"],
    ["2026-11-13T12:00:00Z", "7 d ago"],
  ])("%s is %s", (iso, text) => {
    expect(roughly(iso, now)).toBe(text);
  });
});
