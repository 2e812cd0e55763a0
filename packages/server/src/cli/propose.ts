/** From files and quick forms to a change-set on the server: shared by `change-set create`, `revise` and `config push`. */
import { type ChangeSetAnswer, type ItemInput, targetText } from "@countersign/contract";
import { isCountersignError, type Input } from "@countersign/sdk";
import type { Command } from "commander";
import { parseDocument, readBytes } from "./changesFile.js";
import type { Cli } from "./cli.js";
import { CliError } from "./exit.js";
import { draftItem, QuickForms, type DraftItem } from "./grammar.js";

export type Proposal = Partial<Input<"createChangeSet">>;

export interface ProposalOptions {
  readonly changes?: string;
  readonly title?: string;
  readonly description?: string;
  readonly category?: string;
  readonly priority?: string;
  readonly applyMode?: string;
  readonly tag?: readonly string[];
  readonly dependsOn?: readonly string[];
  readonly environment: string;
}

/** Options of commands that take items. The forms keep the order they were typed in. */
export function proposalOptions(command: Command): QuickForms {
  const forms = new QuickForms();
  const collect =
    (form: Parameters<QuickForms["add"]>[0]) =>
    (text: string): string => {
      forms.add(form, text);
      return text;
    };
  const operand =
    (option: "--from" | "--to") =>
    (text: string): string => {
      forms.operand(option, text);
      return text;
    };
  command
    .option(
      "-f, --changes <file>",
      "change-set or list of items as JSON (comments allowed); `-` reads the standard input",
    )
    .option("-t, --title <text>", "title; made from the first item when left out")
    .option("-d, --description <text>", "why")
    .option("--set <target#/pointer=value>", "set a property: VALUE is JSON, what is not JSON is text", collect("set"))
    .option("--add <target#/pointer=value>", "add a member, or an element (`/list/-` appends)", collect("add"))
    .option("--unset <target#/pointer>", "remove a member or element", collect("unset"))
    .option("--put <target>", "write the whole document or file; its content is the `--from` after it", collect("put"))
    .option("--file <workspace:path>", "write a whole file; its content is the `--from` after it", collect("file"))
    .option(
      "--from <file>",
      "local file for the `--put` or `--file` before it; `-` is the standard input",
      operand("--from"),
    )
    .option("--delete <target>", "delete a document or file", collect("delete"))
    .option("--rename <target>", "give the target another id or path, the `--to` after it", collect("rename"))
    .option("--to <id-or-path>", "new id or path for the `--rename` before it", operand("--to"))
    .option("-e, --environment <name>", "environment of resources that name none", "development")
    .option("--category <name>", "raise the category derived from the targets")
    .option("--priority <level>", "LOW, NORMAL, HIGH or CRITICAL: sets the deadline")
    .option("--apply-mode <mode>", "AUTO: applied by the engine as soon as it is approved; MANUAL")
    .option("--tag <text>", "tag it; may be repeated", collectTexts)
    .option("--depends-on <number>", "change-set that must be applied first; may be repeated", collectTexts);
  return forms;
}

export function collectTexts(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, text];
}

export interface Draft {
  readonly fields: Proposal;
  readonly items: readonly DraftItem[];
}

/** The change-set of the command line. `items` is empty when no option names an item. */
export async function readDraft(cli: Cli, options: ProposalOptions, forms: QuickForms): Promise<Draft> {
  const quick = forms.all();
  // The standard input can be read once; two forms that ask for it get the same bytes.
  const wantsStdin = options.changes === "-" || quick.some((form) => "operand" in form && form.operand === "-");
  const stdin = wantsStdin ? await cli.terminal.readStdin() : Buffer.alloc(0);
  const read = (path: string): Buffer => (path === "-" ? stdin : readBytes(cli.path(path), path));
  const file =
    options.changes === undefined
      ? {}
      : changesOf(parseDocument(read(options.changes), options.changes), options.changes);
  const fromFile = (file.items ?? []).map((item) => ({ item: item as ItemInput, createOrUpdate: false }));
  const items = [...fromFile, ...quick.map((form) => draftItem(form, options.environment, read))];
  const { title, description, category, priority, applyMode, tag, dependsOn } = options;
  const typed = { title, description, category, priority, applyMode, tags: tag, dependsOn };
  const given = Object.fromEntries(Object.entries(typed).filter(([, value]) => value !== undefined));
  return { fields: { ...file, ...given } as Proposal, items };
}

/** A whole change-set, a list of items, or one item. The server checks their content, all at once. */
function changesOf(value: unknown, shown: string): Proposal {
  if (Array.isArray(value)) return { items: value as ItemInput[] };
  if (typeof value !== "object" || value === null)
    throw new CliError("file_malformed", `\`${shown}\` is neither a change-set nor a list of items`);
  if ("operation" in value && "target" in value) return { items: [value as ItemInput] };
  return value as Proposal;
}

export function titleOf(draft: Draft): string {
  const given = draft.fields.title;
  if (typeof given === "string" && given.trim() !== "") return given;
  const { item: first, createOrUpdate } = draft.items[0] ?? {};
  if (first === undefined) return "";
  const more = draft.items.length === 1 ? "" : ` and ${draft.items.length - 1} more`;
  const target = first.target as Parameters<typeof targetText>[0] | undefined;
  return `${createOrUpdate === true ? "WRITE" : first.operation} ${target === undefined ? "" : targetText(target)}${first.pointer ?? ""}${more}`.slice(
    0,
    200,
  );
}

/**
 * Sends the items; where a whole document or file was given, the server's answer says whether it is there: it becomes
 * CREATE or UPDATE accordingly. Nothing is changed by proposing, so asking twice is safe.
 */
export async function sendItems(
  items: readonly DraftItem[],
  send: (items: ItemInput[]) => Promise<ChangeSetAnswer>,
): Promise<ChangeSetAnswer> {
  try {
    return await send(items.map((draft) => draft.item));
  } catch (error) {
    const other = otherWay(items, error);
    if (other === undefined) throw error;
    return send(other);
  }
}

function otherWay(items: readonly DraftItem[], error: unknown): ItemInput[] | undefined {
  if (!isCountersignError(error)) return undefined;
  const absent = new Set(
    error.problems
      .filter((problem) => problem.code === "target_not_found")
      .map((problem) => /^\/items\/(\d+)/.exec(problem.pointer ?? "")?.[1]),
  );
  const switched = items.map(({ item, createOrUpdate }, index) =>
    createOrUpdate && absent.has(String(index)) ? { ...item, operation: "CREATE" as const } : item,
  );
  return switched.some((item, index) => item !== items[index]?.item) ? switched : undefined;
}
