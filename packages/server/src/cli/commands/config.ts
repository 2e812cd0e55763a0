/**
 * `config pull | diff | push`: the configuration as a folder of JSON files, one for each document, with the document's
 * name. A push becomes one change-set, governed like any other. An absent file changes nothing: defaults stay defaults.
 */
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  configurationEnvironment,
  configurationId,
  configurationNames,
  configurationType,
  type ConfigurationName,
  type ItemInput,
  type JsonObject,
} from "@countersign/contract";
import { canonicalize, type JsonValue as ProofValue } from "@countersign/proof";
import { createTwoFilesPatch } from "diff";
import type { Command } from "commander";
import { next, type Cli } from "../cli.js";
import { parseDocument, readBytes } from "../changesFile.js";
import type { CommandSet } from "../define.js";
import { CliError, exit } from "../exit.js";
import { unifiedDiff } from "../render/diff.js";
import { empty, lines, show } from "../text.js";
import { finish, type Steps } from "./changeSet.js";

export interface ConfigChange {
  readonly name: ConfigurationName;
  readonly operation: "CREATE" | "UPDATE" | "DELETE";
  readonly before: JsonObject;
  readonly after: JsonObject | null;
}

export function configCommands(set: CommandSet, root: Command): void {
  const group = set.group(root, "config", "policies, grants, routes, limits: as files, changed by change-sets");
  const pull = set
    .add(group, "pull <folder>", "write the configuration in force into a folder, one JSON file for each document", [
      "countersign config pull .countersign/config",
      "countersign config pull defaults --all",
    ])
    .option("--all", "the built-in defaults too, to read or to change")
    .option("--force", "overwrite files that differ");
  set.does<{ readonly all?: boolean; readonly force?: boolean }>(pull, async (cli, options, folder) => {
    const { rows } = await cli.client.getConfiguration();
    const wanted = rows.filter((row) => options.all === true || row.source === "resource");
    const files = wanted.map((row) => ({
      name: row.name,
      path: join(cli.path(folder), `${row.name}.json`),
      text: pretty(row.document),
    }));
    const different = files.filter(
      (file) =>
        existsSync(file.path) &&
        canonicalize(parseDocument(readBytes(file.path), file.path) as ProofValue) !==
          canonicalize(JSON.parse(file.text) as ProofValue),
    );
    if (different.length > 0 && options.force !== true) {
      throw new CliError(
        "file_unreadable",
        `\`${different.map((file) => file.path).join("`, `")}\` differ from the configuration in force; \`--force\` overwrites them`,
        { help: [`countersign config diff ${folder}`] },
      );
    }
    mkdirSync(cli.path(folder), { recursive: true });
    for (const file of files) writeFileSync(file.path, file.text);
    await cli.answer({ folder: cli.path(folder), files: files.map((file) => `${file.name}.json`) }, () =>
      lines(
        files.length === 0
          ? show`nothing is configured: the built-in defaults hold (--all writes them)`
          : show`wrote ${files.map((file) => `${file.name}.json`).join(", ")} to ${folder}`,
      ),
    );
  });
  const diff = set
    .add(group, "diff <folder>", "how a folder differs from the configuration in force")
    .option("--exit-code", "end with 1 when something differs");
  set.does<{ readonly exitCode?: boolean }>(diff, async (cli, options, folder) => {
    const changes = await configChanges(cli, folder, false);
    await cli.answer({ changes }, () => changesText(cli, changes));
    return options.exitCode === true && changes.length > 0 ? exit.refused : exit.ok;
  });
  const push = set
    .add(group, "push <folder>", "propose the folder's documents as one change-set", [
      "countersign config push .countersign/config --submit",
      "countersign config push .countersign/config --delete-missing",
    ])
    .option("-t, --title <text>", "title of the change-set")
    .option("--submit", "ask for approval at once")
    .option("--apply", "submit, and apply if nobody has to approve")
    .option("--delete-missing", "documents without a file go back to the built-in default");
  set.does<Steps & { readonly title?: string; readonly deleteMissing?: boolean }>(
    push,
    async (cli, options, folder) => {
      const changes = await configChanges(cli, folder, options.deleteMissing === true);
      if (changes.length === 0)
        return cli.answer({ changes: [] }, () => show`nothing to push: the folder equals the configuration in force`);
      const created = await cli.client.createChangeSet({
        title: options.title ?? `Configuration: ${changes.map((change) => change.name).join(", ")}`,
        items: configItems(changes),
      });
      return finish(cli, created, options);
    },
  );
}

const pretty = (document: unknown): string => `${JSON.stringify(document, null, 2)}\n`;

export async function configChanges(cli: Cli, folder: string, deleteMissing: boolean): Promise<ConfigChange[]> {
  const { rows } = await cli.client.getConfiguration();
  const files = readConfigFolder(cli, folder);
  const inForce = new Map(rows.map((row) => [row.name, row]));
  const written = [...files].flatMap(([name, after]): ConfigChange[] => {
    const row = inForce.get(name);
    const before = row?.document ?? {};
    if (canonicalize(before as ProofValue) === canonicalize(after as ProofValue)) return [];
    return [{ name, operation: row?.source === "resource" ? "UPDATE" : "CREATE", before, after }];
  });
  const missing = rows.filter(
    (row) => deleteMissing && row.source === "resource" && !files.has(row.name as ConfigurationName),
  );
  return [
    ...written,
    ...missing.map((row): ConfigChange => ({
      name: row.name as ConfigurationName,
      operation: "DELETE",
      before: row.document,
      after: null,
    })),
  ];
}

function readConfigFolder(cli: Cli, folder: string): Map<ConfigurationName, JsonObject> {
  const path = cli.path(folder);
  if (!existsSync(path))
    throw new CliError("file_unreadable", `there is no folder \`${folder}\``, {
      help: [`countersign config pull ${folder}`],
    });
  const names = readdirSync(path).filter((name) => /\.jsonc?$/.test(name));
  const unknown = names.filter((name) => !isConfigurationName(name.replace(/\.jsonc?$/, "")));
  if (unknown.length > 0)
    throw new CliError(
      "file_malformed",
      `\`${unknown.join("`, `")}\` in \`${folder}\` is no configuration; known: ${configurationNames.join(", ")}`,
    );
  return new Map(
    names.map((name) => {
      const value = parseDocument(readBytes(join(path, name)), join(folder, name));
      if (typeof value !== "object" || value === null || Array.isArray(value))
        throw new CliError("file_malformed", `\`${join(folder, name)}\` is no JSON object`);
      return [name.replace(/\.jsonc?$/, "") as ConfigurationName, value as JsonObject];
    }),
  );
}

function isConfigurationName(name: string): name is ConfigurationName {
  return (configurationNames as readonly string[]).includes(name);
}

export function configItems(changes: readonly Pick<ConfigChange, "name" | "operation" | "after">[]): ItemInput[] {
  return changes.map(({ name, operation, after }) => {
    const target = {
      kind: "resource",
      environment: configurationEnvironment,
      type: configurationType,
      id: configurationId(name),
    } as const;
    return after === null ? { operation, target } : { operation, target, after };
  });
}

function changesText(cli: Cli, changes: readonly ConfigChange[]) {
  if (changes.length === 0) return cli.paint.green("the folder equals the configuration in force");
  const texts = changes.map(({ name, before, after }) =>
    unifiedDiff(
      cli.paint,
      createTwoFilesPatch(
        `${name} in force`,
        `${name} in the folder`,
        pretty(before),
        after === null ? "" : pretty(after),
      ).replace(/^=+\n/, ""),
    ),
  );
  return lines(
    ...texts,
    empty,
    next(cli.paint, [["countersign config push FOLDER --submit", "propose it as a change-set"]]),
  );
}
