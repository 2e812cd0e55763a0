/** `resource` and `workspace`: the targets that can be changed. */
import { resolve } from "node:path";
import type { Command } from "commander";
import type { Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { CliError } from "../exit.js";
import { parseTarget } from "../grammar.js";
import { refuseKeysInside } from "../keyFile.js";
import { workspaceTable } from "../render/people.js";
import { proven } from "../signing.js";
import { table } from "../table.js";
import { block, lines, show } from "../text.js";
import { moment } from "../when.js";
import { wholeNumber } from "./changeSet.js";
import { type ResourceTarget, targetKind } from "@countersign/contract";

export function targetCommands(set: CommandSet, root: Command): void {
  resourceCommands(set, root);
  workspaceCommands(set, root);
}

interface ResourceOptions {
  readonly environment: string;
  readonly revision?: string;
  readonly type?: string;
  readonly prefix?: string;
  readonly deleted?: boolean;
  readonly limit: string;
}

function resourceOf(text: string, environment: string): { environment: string; type: string; id: string } {
  const target = parseTarget(text, environment);
  const { noun, readElsewhere } = targetKind(target.kind);
  if (readElsewhere !== undefined)
    throw new CliError("usage", `\`${text}\` is ${noun}; ${readElsewhere.how}`, { help: [readElsewhere.command] });
  const { environment: named, type, id } = target as ResourceTarget;
  return { environment: named, type, id };
}

function resourceCommands(set: CommandSet, root: Command): void {
  const group = set.group(root, "resource", "the JSON documents Countersign keeps");
  const list = set
    .add(group, "list", "resources, without their documents", [
      "countersign resource list --type CONFIG --prefix shop/",
    ])
    .alias("ls")
    .option("-e, --environment <name>", "of this environment")
    .option("--type <TYPE>", "of this type")
    .option("--prefix <text>", "whose ids begin so")
    .option("--deleted", "deleted ones too")
    .option("--limit <rows>", "rows at most", "50");
  set.does<Partial<ResourceOptions> & { readonly limit: string }>(list, async (cli, options) => {
    const { environment, type, prefix } = options;
    const filters = Object.fromEntries(
      Object.entries({ environment, type, prefix }).filter(([, value]) => value !== undefined),
    );
    const page = await cli.client.listResources({
      ...filters,
      deleted: options.deleted === true,
      limit: wholeNumber(options.limit, "--limit"),
    });
    await cli.answer(page, () =>
      table(
        cli.paint,
        page.rows,
        [
          { head: "resource", cell: (row) => `${row.environment}:${row.type}:${row.id}` },
          { head: "revision", cell: (row) => row.revision, right: true },
          {
            head: "hash",
            cell: (row) => (row.deleted ? cli.paint.red("deleted") : cli.paint.dim((row.hash ?? "").slice(0, 12))),
          },
        ],
        "no resources; make one with `countersign change-set create --put TYPE:ID --from FILE --submit`",
      ),
    );
  });
  const read = set
    .add(group, "show <target>", "the document as JSON", [
      "countersign resource show CONFIG:shop/checkout",
      "countersign resource show production:CONFIG:shop/checkout --revision 3",
    ])
    .option("-e, --environment <name>", "environment of a target that names none", "development")
    .option("--revision <number>", "the document at this revision");
  set.does<ResourceOptions>(read, async (cli, options, target) => {
    const revision = options.revision === undefined ? {} : { revision: wholeNumber(options.revision, "--revision") };
    const view = await cli.client.getResource({ ...resourceOf(target, options.environment), ...revision });
    // The document alone, so that it can be piped on; --json has its revision and hash too.
    await cli.answer(view, () =>
      view.deleted
        ? cli.paint.red(show`deleted at revision ${view.revision}`)
        : block(JSON.stringify(view.document, null, 2)),
    );
  });
  const history = set
    .add(group, "history <target>", "its revisions and the change-sets that made them")
    .option("-e, --environment <name>", "environment of a target that names none", "development")
    .option("--limit <rows>", "rows at most", "50");
  set.does<ResourceOptions>(history, async (cli, options, target) => {
    const page = await cli.client.getResourceHistory({
      ...resourceOf(target, options.environment),
      limit: wholeNumber(options.limit, "--limit"),
    });
    await cli.answer(page, () =>
      table(
        cli.paint,
        page.rows,
        [
          { head: "revision", cell: (row) => row.revision, right: true },
          { head: "at", cell: (row) => moment(row.at) },
          { head: "change-set", cell: (row) => row.changeSetNumber ?? "" },
          {
            head: "hash",
            cell: (row) => (row.deleted ? cli.paint.red("deleted") : cli.paint.dim((row.hash ?? "").slice(0, 12))),
          },
        ],
        "no revisions",
      ),
    );
  });
}

function workspaceCommands(set: CommandSet, root: Command): void {
  const group = set.group(root, "workspace", "folders whose files may be changed through change-sets");
  const add = set
    .add(group, "add <name> [folder]", "register a folder of the server's machine (the present one when left out)", [
      "countersign workspace add shop ~/src/shop",
      "countersign workspace add shop-live /srv/shop --environment production",
    ])
    .option("-e, --environment <name>", "environment of its files: `production` raises risk", "development");
  set.does<{ readonly environment: string }>(add, async (cli, options, name, folder) => {
    const answer = await registerWorkspace(cli, {
      name,
      root: resolve(cli.terminal.cwd, folder ?? ""),
      environment: options.environment,
    });
    await cli.answer(answer, () =>
      lines(
        show`${cli.paint.green("registered")} ${answer.workspace.name}`,
        workspaceTable(cli.paint, [answer.workspace]),
      ),
    );
  });
  set.does(set.add(group, "list", "registered workspaces").alias("ls"), async (cli) => {
    const answer = await cli.client.listWorkspaces();
    await cli.answer(answer, () => workspaceTable(cli.paint, answer.rows));
  });
  set.does(
    set.add(group, "remove <name>", "remove a workspace from the register; its files stay unchanged"),
    async (cli, _options, name) => {
      const { rows } = await cli.client.listWorkspaces();
      const row = rows.find(
        (workspace) => workspace.id === name || (workspace.name === name && workspace.status === "ACTIVE"),
      );
      if (row === undefined)
        throw new CliError("not_found_here", `there is no workspace \`${name}\``, {
          help: ["countersign workspace list"],
        });
      const answer = await cli.client.removeWorkspace({ id: row.id });
      await cli.answer(answer, () => show`${answer.workspace.name} is no workspace any more`);
    },
  );
}

export async function registerWorkspace(cli: Cli, input: { name: string; root: string; environment: string }) {
  refuseKeysInside(cli.folder, [input.root]);
  return cli.client.registerWorkspace(
    await proven(cli, "registerWorkspace", input, `register the workspace ${input.name}`),
  );
}
