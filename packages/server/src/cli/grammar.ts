/**
 * Parses targets and changes typed on the command line. Documented in docs/cli.md; every form has its JSON in
 * docs/targets.md, which takes what the short forms cannot say (ids with `#`, members with `=`).
 *
 *   TARGET      CONFIG:shop/checkout               resource of type CONFIG in the environment of --environment
 *               production:CONFIG:shop/checkout    … in production; the same with `resource:` before it
 *               file:shop:config/app.json          file below the root of workspace `shop`
 *   --set       TARGET#/pointer=VALUE              VALUE is JSON; what is not JSON is text
 *   --add       TARGET#/pointer=VALUE              a new element (`/list/-`) or member
 *   --unset     TARGET#/pointer
 *   --put       TARGET --from FILE                 the whole document or file: made if absent, else replaced
 *   --file      WORKSPACE:PATH --from FILE         the same for a file
 *   --delete    TARGET
 *   --rename    TARGET --to ID-or-PATH
 */
import { CliError } from "./exit.js";
import { type ItemInput, type JsonValue, parseTargetText, type Target, targetKind } from "@countersign/contract";

export function parseTarget(text: string, environment: string): Target {
  const parsed = parseTargetText(text, environment);
  if ("wrong" in parsed) throw new CliError("usage", parsed.wrong);
  return parsed.target;
}

/** The changes of the options, in the order they were typed. */
export type QuickForm =
  | { readonly form: "set" | "add" | "unset" | "delete"; readonly text: string }
  | { readonly form: "put" | "file" | "rename"; readonly text: string; readonly operand: string | undefined };

/** Collects the options as commander meets them; `--from` and `--to` belong to the form before them. */
export class QuickForms {
  readonly #forms: QuickForm[] = [];
  /** Before it commander met a `--from` or `--to` that belongs to nothing. */
  #stray: string | undefined;

  add(form: QuickForm["form"], text: string): void {
    this.#forms.push(
      form === "put" || form === "file" || form === "rename" ? { form, text, operand: undefined } : { form, text },
    );
  }

  operand(option: "--from" | "--to", value: string): void {
    const last = this.#forms.at(-1);
    const wanted = last === undefined ? undefined : operandOf(last);
    if (last === undefined || wanted !== option || !("operand" in last) || last.operand !== undefined)
      this.#stray ??= option;
    else this.#forms[this.#forms.length - 1] = { ...last, operand: value };
  }

  all(): readonly QuickForm[] {
    if (this.#stray !== undefined)
      throw new CliError(
        "usage",
        `\`${this.#stray}\` stands alone; write it after ${this.#stray === "--to" ? "`--rename`" : "`--put` or `--file`"}`,
      );
    for (const form of this.#forms) {
      if ("operand" in form && form.operand === undefined)
        throw new CliError("usage", `\`--${form.form} ${form.text}\` needs \`${operandOf(form)}\` after it`);
    }
    return this.#forms;
  }
}

function operandOf(form: QuickForm): "--from" | "--to" | undefined {
  if (form.form === "rename") return "--to";
  return form.form === "put" || form.form === "file" ? "--from" : undefined;
}

/** An item, and whether CREATE or UPDATE is for the server's answer to decide. */
export interface DraftItem {
  readonly item: ItemInput;
  readonly createOrUpdate: boolean;
}

/** `read`: the bytes of a local file, or of the standard input for `-`. */
export function draftItem(form: QuickForm, environment: string, read: (path: string) => Buffer): DraftItem {
  switch (form.form) {
    case "set": {
      const { target, pointer, value } = parseAssignment(form.text, "--set", environment);
      return plain({ operation: "CHANGE_PROPERTY", target, pointer, value });
    }
    case "add":
      return plain(addedChild(form.text, environment));
    case "unset": {
      const [target, pointer] = splitPointer(form.text, "--unset", environment);
      return plain({ operation: "REMOVE_CHILD", target, pointer });
    }
    case "delete":
      return plain({ operation: "DELETE", target: parseTarget(form.text, environment) });
    case "rename": {
      const target = parseTarget(form.text, environment);
      const to = form.operand ?? "";
      return plain({ operation: "RENAME", target, to: { [targetKind(target.kind).renamedBy]: to } });
    }
    case "file":
      return wholeItem(parseTarget(`file:${form.text.replace(/^file:/, "")}`, environment), form.operand ?? "", read);
    case "put":
      return wholeItem(parseTarget(form.text, environment), form.operand ?? "", read);
  }
}

const plain = (item: ItemInput): DraftItem => ({ item, createOrUpdate: false });

function wholeItem(target: Target, path: string, read: (path: string) => Buffer): DraftItem {
  const bytes = read(path);
  const { whole } = targetKind(target.kind);
  const state = whole.of === "bytes" ? { content: fileContent(bytes) } : { after: wholeDocument(bytes, path) };
  return { item: { operation: "UPDATE", target, ...state }, createOrUpdate: true };
}

/** UTF-8 goes as text, so that people see a diff; everything else as base64. */
export function fileContent(bytes: Buffer): { text: string } | { base64: string } {
  const text = bytes.toString("utf8");
  const same = !text.includes("\u0000") && Buffer.from(text, "utf8").equals(bytes);
  return same ? { text } : { base64: bytes.toString("base64") };
}

function wholeDocument(bytes: Buffer, path: string): JsonValue {
  try {
    return JSON.parse(bytes.toString("utf8")) as JsonValue;
  } catch (cause) {
    throw new CliError(
      "file_malformed",
      `\`${path}\` is not JSON (${(cause as Error).message}); a resource is a JSON document`,
      { cause },
    );
  }
}

function splitPointer(text: string, option: string, environment: string): readonly [target: Target, pointer: string] {
  const hash = text.indexOf("#");
  const pointer = text.slice(hash + 1);
  if (hash < 1 || !pointer.startsWith("/"))
    throw new CliError(
      "usage",
      `\`${text}\` names no place in a document; write \`${option} TARGET#/member\`, e.g. \`${option} CONFIG:shop/checkout#/timeout${option === "--unset" ? "" : "=30"}\``,
    );
  return [parseTarget(text.slice(0, hash), environment), pointer];
}

function parseAssignment(
  text: string,
  option: string,
  environment: string,
): { target: Target; pointer: string; value: JsonValue } {
  const hash = text.indexOf("#");
  const equals = text.indexOf("=", hash + 1);
  if (hash < 1 || equals < 0)
    throw new CliError(
      "usage",
      `\`${text}\` assigns nothing; write \`${option} TARGET#/member=VALUE\`, e.g. \`${option} CONFIG:shop/checkout#/timeout=30\``,
    );
  const [target, pointer] = splitPointer(text.slice(0, equals), option, environment);
  return { target, pointer, value: parseValue(text.slice(equals + 1)) };
}

/** JSON if it is JSON, else text: `30` is a number, `"30"` and `thirty` are texts. */
export function parseValue(text: string): JsonValue {
  try {
    return JSON.parse(text) as JsonValue;
  } catch {
    // Not JSON is the way to write a text without quotes.
    return text;
  }
}

/** `/list/-` and `/list/3` are elements, everything else a member: the server says so when the parent is another. */
function addedChild(text: string, environment: string): ItemInput {
  const { target, pointer, value } = parseAssignment(text, "--add", environment);
  const slash = pointer.lastIndexOf("/");
  const parent = pointer.slice(0, slash);
  const name = pointer
    .slice(slash + 1)
    .replaceAll("~1", "/")
    .replaceAll("~0", "~");
  const base = { operation: "ADD_CHILD", target, pointer: parent, value } as const;
  if (name === "-") return base;
  return { ...base, key: /^(?:0|[1-9]\d{0,8})$/.test(name) ? Number(name) : name };
}
