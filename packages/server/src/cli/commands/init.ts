/**
 * `countersign init`, in any repository: the first person's key, the workspace, a policy one can read, the tenant's mode, and
 * if wanted a first agent. A step that is done already is skipped, so the command can be run again.
 *
 * The starting policy goes through a governed change-set like every other. It is pushed while the tenant is still solo, so
 * that one person can approve it; only then the mode is raised.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import {
  jsonOf,
  tenantModes,
  type ChangeSetView,
  type ConfigurationName,
  type JsonObject,
  type OperationOutput,
  type TenantMode,
} from "@countersign/contract";
import type { Command } from "commander";
import { escapeName, startingConfiguration } from "../../ops/index.js";
import { next, type Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { enrol, firstCode } from "../enrolment.js";
import { CliError } from "../exit.js";
import { refuseKeysInside } from "../keyFile.js";
import { checkedDigest, proven, signVote } from "../signing.js";
import { empty, lines, show, type Shown } from "../text.js";
import { configItems, type ConfigChange } from "./config.js";
import { agentText, createAgent } from "./people.js";
import { registerWorkspace } from "./targets.js";

interface InitOptions {
  readonly mode?: string;
  readonly name?: string;
  readonly code?: string;
  readonly agent?: string | boolean;
  readonly agentType: string;
  readonly environment: string;
}

type Workspace = OperationOutput<"registerWorkspace">["workspace"];
type Agent = OperationOutput<"createAgent">;

export function initCommand(set: CommandSet, root: Command): void {
  const command = set
    .add(root, "init", "set this repository up: your signing key, the workspace, a starting policy, a first agent", [
      "countersign init                                        asks what it needs",
      "countersign init --mode solo --name shop --agent checkout-bot --yes --passphrase-file ~/.pass",
    ])
    .option("--mode <mode>", `${tenantModes.join(", ")}: how many people must agree`)
    .option("--name <name>", "name of the workspace; the folder's when left out")
    .option(
      "--code <code>",
      "one-time code, if you are not enrolled; the first human's is found on the server's machine",
    )
    .option("--agent <name>", "add this agent and print its key, once")
    .option("--agent-type <type>", "type of that agent", "GENERAL")
    .option("-e, --environment <name>", "environment of the workspace's files", "development");
  set.does<InitOptions>(command, async (cli, options) => {
    // Everything is asked before anything is done.
    const name = await workspaceName(cli, options);
    refuseKeysInside(cli.folder, [cli.terminal.cwd]);
    const mode = await chosenMode(cli, options);
    const agentName = await chosenAgent(cli, options);
    await signIn(cli, options);
    const workspace = await ensureWorkspace(cli, { name, root: cli.terminal.cwd, environment: options.environment });
    const configuration = await ensureConfiguration(cli, mode, workspace.name);
    const tenant = await raiseMode(cli, mode);
    const agent =
      agentName === undefined
        ? undefined
        : await createAgent(cli, { name: agentName, agentType: options.agentType as "GENERAL" });
    const { principal } = await cli.me();
    const answer = {
      tenant,
      principal: { id: principal.id, name: principal.name },
      workspace,
      configuration,
      agent: agent === undefined ? null : { principal: agent.principal, key: agent.key, secret: agent.secret },
    };
    await cli.answer(answer, () => initText(cli, { mode: tenant.mode, workspace, configuration, agent }));
  });
}

async function workspaceName(cli: Cli, options: InitOptions): Promise<string> {
  const plain = basename(cli.terminal.cwd)
    .toLowerCase()
    .replace(/[^a-z0-9._-]+/g, "-");
  const proposed = plain.replace(/^[^a-z0-9]+/, "").slice(0, 63) || "workspace";
  if (options.name !== undefined) return options.name;
  if (cli.options.yes === true) return proposed;
  return cli.ask.text(show`Name of this workspace`, {
    flag: "`--name NAME`, or `--yes` for the folder's name",
    initial: proposed,
  });
}

async function chosenMode(cli: Cli, options: InitOptions): Promise<TenantMode> {
  const given = options.mode;
  if (given !== undefined) {
    if ((tenantModes as readonly string[]).includes(given)) return given as TenantMode;
    throw new CliError("usage", `\`${given}\` is no mode; write ${tenantModes.join(", ")}`);
  }
  const choices = [
    {
      value: "solo",
      label: "solo",
      hint: "you alone; you may approve your own agents' changes, and every receipt says so",
    },
    { value: "team", label: "team", hint: "other people approve, as many as the rules ask for or as there are" },
    {
      value: "organisation",
      label: "organisation",
      hint: "as many approvals as the rules ask for, groups by category",
    },
  ] as const;
  return cli.ask.select<TenantMode>(show`Who approves the changes of agents?`, choices, {
    flag: "`--mode solo`, `team` or `organisation`",
    initial: "solo",
  });
}

async function chosenAgent(cli: Cli, options: InitOptions): Promise<string | undefined> {
  if (typeof options.agent === "string") return options.agent;
  if (cli.options.yes === true || !cli.terminal.interactive || cli.json) return undefined;
  const wanted = await cli.ask.text(show`Name of a first agent (empty: none now)`, {
    flag: "`--agent NAME`",
    hint: "checkout-bot",
  });
  return (wanted ?? "").trim() === "" ? undefined : wanted.trim();
}

/** Enrols unless there is a login already. */
async function signIn(cli: Cli, options: InitOptions): Promise<void> {
  if (cli.profile === undefined && (cli.terminal.env["COUNTERSIGN_KEY"] ?? "") === "") {
    const code =
      options.code ??
      firstCode(cli) ??
      (await cli.ask.text(show`One-time code (an administrator gives it: \`countersign human code NAME\`)`, {
        flag: "`--code CODE`",
      }));
    const enrolled = await enrol(cli, { code: code.trim(), label: hostname() });
    cli.note(
      show`${cli.paint.green("enrolled")} ${enrolled.principal.name}; your key is in ${cli.folder}, encrypted with your passphrase`,
    );
  }
  const { principal } = await cli.me();
  if (principal.kind !== "human")
    throw new CliError("usage", `\`${principal.name}\` is no person; set a repository up as one`, {
      help: ["countersign enrol --profile me", "countersign init --profile me"],
    });
}

async function ensureWorkspace(
  cli: Cli,
  wanted: { readonly name: string; readonly root: string; readonly environment: string },
): Promise<Workspace> {
  const { rows } = await cli.client.listWorkspaces();
  const there = rows.find((row) => row.status === "ACTIVE" && row.root === wanted.root);
  if (there !== undefined) return there;
  return (await registerWorkspace(cli, wanted)).workspace;
}

interface ConfigurationResult {
  /** Null: everything was there already. */
  readonly changeSet: { readonly id: string; readonly number: string; readonly status: string } | null;
  readonly documents: readonly ConfigurationName[];
  readonly folder: string;
}

const folderName = join(".countersign", "config");

/** The starting documents that are missing, and the grant of this workspace, by one change-set; then all of them as files. */
async function ensureConfiguration(cli: Cli, mode: TenantMode, workspace: string): Promise<ConfigurationResult> {
  const { rows } = await cli.client.getConfiguration();
  const there = new Map(rows.filter((row) => row.source === "resource").map((row) => [row.name, row.document]));
  const missing = startingConfiguration(mode, { workspace })
    .filter((document) => !there.has(document.name))
    .map((document) => ({
      name: document.name,
      operation: "CREATE" as const,
      after: jsonOf(document.document),
    }));
  const changes = [...missing, ...grantOf(there.get("grants"), workspace)];
  const set = changes.length === 0 ? undefined : await governed(cli, `Starting policy of ${workspace}`, changes);
  writeFiles(cli, (await cli.client.getConfiguration()).rows);
  return {
    changeSet: set === undefined ? null : { id: set.id, number: set.number, status: set.status },
    documents: changes.map((change) => change.name),
    folder: folderName,
  };
}

/** A second workspace is added to the grants that are there. */
function grantOf(
  grants: JsonObject | undefined,
  workspace: string,
): Pick<ConfigChange, "name" | "operation" | "after">[] {
  const list = grants?.["grants"];
  const target = `file:${escapeName(workspace)}:**`;
  if (!Array.isArray(list) || JSON.stringify(list).includes(JSON.stringify(target))) return [];
  const id = `agents-${workspace.replace(/[^a-z0-9._-]/g, "-")}`.slice(0, 63);
  const grant = {
    id,
    description: `Agents may look at and propose changes to the workspace ${workspace}.`,
    principals: ["agents"],
    operations: ["*"],
    targets: [target],
  };
  return [{ name: "grants", operation: "UPDATE", after: { ...grants, grants: [...(list as JsonObject[]), grant] } }];
}

/** Proposed, approved by signature where this person may, applied. Where others must agree it is left to them. */
async function governed(
  cli: Cli,
  title: string,
  changes: readonly Pick<ConfigChange, "name" | "operation" | "after">[],
): Promise<ChangeSetView> {
  const { client } = cli;
  const description = "Written by countersign init: what agents may read and propose, and who approves.";
  const created = await client.createChangeSet({ title, description, items: configItems(changes) });
  let set = (await client.submitChangeSet({ id: created.changeSet.id })).changeSet;
  const { tenant } = await cli.me();
  if (set.status === "PENDING_APPROVAL" && tenant.mode === "solo") {
    const vote = await signVote(cli, set, checkedDigest(set), "APPROVED");
    set = (await client.approveChangeSet({ id: set.id, ...vote, reason: "starting policy" })).changeSet;
  }
  return set.status === "APPROVED" ? (await client.applyChangeSet({ id: set.id })).changeSet : set;
}

function writeFiles(cli: Cli, rows: OperationOutput<"getConfiguration">["rows"]): void {
  const folder = join(cli.terminal.cwd, folderName);
  mkdirSync(folder, { recursive: true });
  for (const row of rows)
    if (row.source === "resource")
      writeFileSync(join(folder, `${row.name}.json`), `${JSON.stringify(row.document, null, 2)}\n`);
}

/** Upward only: downward is a decision of two people, made with `countersign tenant mode`. */
async function raiseMode(cli: Cli, mode: TenantMode): Promise<OperationOutput<"getTenant">> {
  const { tenant } = await cli.me();
  if (tenantModes.indexOf(mode) <= tenantModes.indexOf(tenant.mode)) return tenant;
  const answer = await cli.client.setTenantMode(
    await proven(cli, "setTenantMode", { mode }, `raise the mode to ${mode}`),
  );
  cli.forget();
  return answer.tenant;
}

function initText(
  cli: Cli,
  done: {
    readonly mode: TenantMode;
    readonly workspace: Workspace;
    readonly configuration: ConfigurationResult;
    readonly agent: Agent | undefined;
  },
): Shown {
  const { paint } = cli;
  const { changeSet, folder, documents } = done.configuration;
  const { workspace } = done;
  return lines(
    show`${paint.green("workspace")}  ${workspace.name} ${paint.dim(workspace.root)}`,
    changeSet === null
      ? show`${paint.green("policy")}     in force already`
      : show`${changeSet.status === "APPLIED" ? paint.green("policy") : paint.yellow("policy")}     ${documents.join(", ")} by ${changeSet.number}, ${changeSet.status}`,
    show`           to read and to change: ${folder}${paint.dim("/*.json, then `countersign config push`")}`,
    show`${paint.green("mode")}       ${done.mode}`,
    ...(done.agent === undefined ? [] : [empty, agentText(cli, done.agent)]),
    empty,
    next(paint, [
      ...(done.agent === undefined ? [["countersign agent create NAME", "an agent and its key"] as const] : []),
      [
        `countersign change-set create --set 'file:${workspace.name}:FILE.json#/member=VALUE' --submit`,
        "propose a change to a JSON file of yours",
      ],
      ["countersign status", "what waits for you"],
    ]),
  );
}
