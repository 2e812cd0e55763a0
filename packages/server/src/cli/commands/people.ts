/**
 * `agent`, `human`, `key`, `tenant`, `kill`: the principals of a tenant, their keys, and the switch that stops
 * everything.
 */
import { isUuid, type ApiKeyView, type OperationOutput, type PrincipalView } from "@countersign/contract";
import type { Input } from "@countersign/sdk";
import type { Command } from "commander";
import { next, type Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { CliError } from "../exit.js";
import { apiKeyTable, killTable, killText, principalTable, signingKeyTable } from "../render/people.js";
import { proven } from "../signing.js";
import { collectTexts } from "../propose.js";
import { facts } from "../table.js";
import { empty, lines, show, type Shown } from "../text.js";
import { moment } from "../when.js";
import { wholeNumber } from "./changeSet.js";

export function peopleCommands(set: CommandSet, root: Command): void {
  agentCommands(set, root);
  humanCommands(set, root);
  keyCommands(set, root);
  tenantCommands(set, root);
  killCommands(set, root);
}

type Kind = PrincipalView["kind"];

/** A principal by id or name. */
export async function findPrincipal(cli: Cli, text: string, kinds: readonly Kind[]): Promise<PrincipalView> {
  for await (const row of cli.client.all("listPrincipals", { limit: 200 })) {
    if (kinds.includes(row.kind) && (row.id === text || row.name === text)) return row;
  }
  const what = kinds[0] === "human" ? "human" : "agent";
  throw new CliError("not_found_here", `there is no ${kinds.join(" or ")} \`${text}\``, {
    help: [`countersign ${what} list`],
  });
}

async function listed(cli: Cli, kinds: readonly Kind[], whenEmpty: string): Promise<void> {
  const rows: PrincipalView[] = [];
  for await (const row of cli.client.all("listPrincipals", { limit: 200 }))
    if (kinds.includes(row.kind)) rows.push(row);
  await cli.answer({ rows }, () => principalTable(cli.paint, rows, whenEmpty));
}

interface AgentOptions {
  readonly type: string;
  readonly service?: boolean;
  readonly days: string;
  readonly scope?: readonly string[];
  readonly role?: readonly string[];
  readonly group?: readonly string[];
}
const agents: readonly Kind[] = ["agent", "service"];

function agentCommands(set: CommandSet, root: Command): void {
  const group = set.group(root, "agent", "agents and services, and who is answerable for them");
  const create = set
    .add(group, "create <name>", "add an agent that you are answerable for; prints its first API key, once", [
      "countersign agent create checkout-bot --type BACKEND_SERVICES",
      "countersign agent create deployer --service --scope change_sets.propose --scope change_sets.read",
    ])
    .option(
      "--type <type>",
      "UI_VELOCITY, DESIGN_SYSTEM, BACKEND_SERVICES, INTEGRATION or GENERAL: counts in the risk score",
      "GENERAL",
    )
    .option("--service", "a service: a program without a model behind it")
    .option("--days <days>", "days until its key expires", "90")
    .option("--scope <permission>", "narrow the key to this permission; may be repeated", collectTexts);
  set.does<AgentOptions>(create, async (cli, options, name) => {
    const created = await createAgent(cli, {
      name,
      kind: options.service === true ? "service" : "agent",
      agentType: options.type as "GENERAL",
      keyDays: wholeNumber(options.days, "--days"),
      ...(options.scope === undefined ? {} : { scopes: [...options.scope] }),
    });
    await cli.answer(created, () => agentText(cli, created));
  });
  set.does(set.add(group, "list", "agents and services").alias("ls"), (cli) =>
    listed(cli, agents, "no agents; add one with `countersign agent create NAME`"),
  );
  statusCommand(set, group, "suspend", "SUSPENDED", "stop it at once: none of its keys is accepted any more", agents);
  statusCommand(set, group, "activate", "ACTIVE", "let it act again", agents);
  set.does(
    set.add(group, "accept <name>", "be answerable for it from now on, in place of its present human"),
    async (cli, _options, name) => {
      const { id } = await findPrincipal(cli, name, agents);
      const answer = await cli.client.acceptAgent(await proven(cli, "acceptAgent", { id }, `answer for ${name}`));
      await principalAnswer(cli, answer);
    },
  );
  grantCommand(set, group, agents);
}

export async function createAgent(cli: Cli, input: Input<"createAgent">): Promise<OperationOutput<"createAgent">> {
  return cli.client.createAgent(await proven(cli, "createAgent", input, `add the agent ${input.name}`));
}

export function agentText(cli: Cli, created: OperationOutput<"createAgent">): Shown {
  const { paint } = cli;
  return lines(
    show`${paint.green("added")} ${created.principal.kind} ${paint.bold(created.principal.name)}; answerable: ${created.principal.answerable?.name ?? "you"}`,
    empty,
    show`Its API key, shown this once (good until ${moment(created.key.expiresAt)}):`,
    empty,
    show`  ${paint.bold(created.secret)}`,
    empty,
    next(paint, [
      [`export COUNTERSIGN_URL=${cli.url} COUNTERSIGN_KEY=…`, "in the agent's environment"],
      [
        "countersign change-set create --put CONFIG:shop/checkout --from checkout.json --submit",
        "as the agent: propose",
      ],
      ["countersign change-set list --pending --mine", "as yourself: the change-sets that wait for you"],
    ]),
  );
}

function statusCommand(
  set: CommandSet,
  group: Command,
  verb: string,
  status: "ACTIVE" | "SUSPENDED",
  summary: string,
  kinds: readonly Kind[],
): void {
  set.does(set.add(group, `${verb} <name>`, summary), async (cli, _options, name) => {
    const { id } = await findPrincipal(cli, name, kinds);
    await principalAnswer(
      cli,
      await cli.client.setPrincipalStatus(await proven(cli, "setPrincipalStatus", { id, status }, `${verb} ${name}`)),
    );
  });
}

async function principalAnswer(cli: Cli, answer: OperationOutput<"setBindings">): Promise<void> {
  await cli.answer(answer, () => principalTable(cli.paint, [answer.principal], ""));
}

/** Roles and groups are set as a whole on the server; the command adds and removes. */
function grantCommand(set: CommandSet, group: Command, kinds: readonly Kind[]): void {
  const command = set
    .add(group, "grant <name>", "give and take roles and groups", [
      `countersign ${group.name()} grant NAME --role member --group backend`,
      `countersign ${group.name()} grant NAME --remove backend`,
    ])
    .option("--role <name>", "give this role; may be repeated", collectTexts)
    .option("--group <name>", "put into this group; may be repeated", collectTexts)
    .option("--remove <name>", "take this role or group away; may be repeated", collectTexts);
  set.does<AgentOptions & { readonly remove?: readonly string[] }>(command, async (cli, options, name) => {
    const taken = options.remove ?? [];
    const before = await findPrincipal(cli, name, kinds);
    const merged = (now: readonly string[], given: readonly string[] = []): string[] =>
      [...new Set([...now, ...given])].filter((entry) => !taken.includes(entry));
    const input = {
      id: before.id,
      roles: merged(before.roles, options.role),
      groups: merged(before.groups, options.group),
    };
    await principalAnswer(
      cli,
      await cli.client.setBindings(await proven(cli, "setBindings", input, `change the roles of ${name}`)),
    );
  });
}

function humanCommands(set: CommandSet, root: Command): void {
  const group = set.group(root, "human", "people: they enrol their own signing keys, and vote");
  const create = set
    .add(group, "create <name>", "add a person; prints the one-time code with which they enrol", [
      "countersign human create 'Ada Lovelace' --role member --group reviewers",
    ])
    .option("--role <name>", "role; may be repeated", collectTexts)
    .option("--group <name>", "approval group; may be repeated", collectTexts);
  set.does<AgentOptions>(create, async (cli, options, name) => {
    const input = { name, roles: [...(options.role ?? [])], groups: [...(options.group ?? [])] };
    const created = await cli.client.createHuman(await proven(cli, "createHuman", input, `add ${name}`));
    await cli.answer(created, () =>
      lines(show`${cli.paint.green("added")} ${cli.paint.bold(created.principal.name)}`, codeText(cli, created)),
    );
  });
  set.does(set.add(group, "list", "people").alias("ls"), (cli) => listed(cli, ["human"], "no people"));
  set.does(
    set.add(group, "code <name>", "another one-time code: a new machine, a lost key"),
    async (cli, _options, name) => {
      const { id } = await findPrincipal(cli, name, ["human"]);
      const issued = await cli.client.issueEnrolmentCode(
        await proven(cli, "issueEnrolmentCode", { id }, `issue a code to ${name}`),
      );
      await cli.answer(issued, () => codeText(cli, issued));
    },
  );
  statusCommand(set, group, "suspend", "SUSPENDED", "stop them at once; their votes stay verifiable", ["human"]);
  statusCommand(set, group, "activate", "ACTIVE", "let them act again", ["human"]);
  grantCommand(set, group, ["human"]);
}

function codeText(cli: Cli, issued: { readonly enrolmentCode: string; readonly expiresAt: string }): Shown {
  return lines(
    show`One-time code, shown this once (good until ${moment(issued.expiresAt)}):`,
    empty,
    show`  ${cli.paint.bold(issued.enrolmentCode)}`,
    empty,
    show`They run, on their own machine: ${cli.paint.cyan(`countersign enrol --url ${cli.url}`)}`,
  );
}

interface KeyOptions {
  readonly signing?: boolean;
  readonly of?: string;
  readonly name: string;
  readonly days: string;
  readonly scope?: readonly string[];
}

function keyCommands(set: CommandSet, root: Command): void {
  const group = set.group(root, "key", "API keys and signing keys");
  const list = set
    .add(group, "list", "API keys, never their secrets")
    .alias("ls")
    .option("--signing", "people's public keys, which verify their votes")
    .option("--of <name>", "of this principal");
  set.does<KeyOptions>(list, async (cli, options) => {
    const of =
      options.of === undefined
        ? {}
        : { principal: (await findPrincipal(cli, options.of, ["human", "agent", "service"])).id };
    if (options.signing === true) {
      const answer = await cli.client.listSigningKeys(of);
      return cli.answer(answer, () => signingKeyTable(cli.paint, answer.rows));
    }
    const rows: ApiKeyView[] = [];
    for await (const row of cli.client.all("listKeys", { ...of, limit: 200 })) rows.push(row);
    await cli.answer({ rows }, () => apiKeyTable(cli.paint, rows, cli.terminal.nowMs()));
  });
  const create = set
    .add(group, "create <principal>", "mint an API key for an agent, service or yourself; prints it once", [
      "countersign key create checkout-bot --name ci --days 30",
    ])
    .option("--name <text>", "name of the key", "key")
    .option("--days <days>", "days until it expires", "90")
    .option("--scope <permission>", "narrow it to this permission; may be repeated", collectTexts);
  set.does<KeyOptions>(create, async (cli, options, principal) => {
    const { id } = await findPrincipal(cli, principal, ["human", "agent", "service"]);
    const input = {
      principal: id,
      name: options.name,
      days: wholeNumber(options.days, "--days"),
      ...(options.scope === undefined ? {} : { scopes: [...options.scope] }),
    };
    const minted = await cli.client.mintKey(
      await proven(cli, "mintKey", input as Input<"mintKey">, `mint a key of ${principal}`),
    );
    await cli.answer(minted, () =>
      lines(
        show`API key of ${minted.key.principal.name}, shown this once (good until ${moment(minted.key.expiresAt)}):`,
        empty,
        show`  ${cli.paint.bold(minted.secret)}`,
      ),
    );
  });
  const revoke = set
    .add(group, "revoke <id>", "revoke an API key: no process accepts it from now on")
    .option("--signing", "it is a signing key; votes it signed before stay verifiable");
  set.does<KeyOptions>(revoke, async (cli, options, id) => {
    if (!isUuid(id)) throw new CliError("usage", `\`${id}\` is no key id`, { help: ["countersign key list"] });
    if (options.signing === true) {
      const answer = await cli.client.revokeSigningKey({ id });
      return cli.answer(answer, () => signingKeyTable(cli.paint, [answer.signingKey]));
    }
    const answer = await cli.client.revokeKey({ id });
    await cli.answer(answer, () => apiKeyTable(cli.paint, [answer.key], cli.terminal.nowMs()));
  });
}

function tenantText(cli: Cli, tenant: OperationOutput<"getTenant">): Shown {
  const meaning = {
    solo: "one person; may approve their own agents' changes, every receipt says so",
    team: "approvals capped at the number of people",
    organisation: "as many approvals as the rules ask for",
  }[tenant.mode];
  return facts(cli.paint, [
    ["tenant", cli.paint.bold(tenant.name)],
    ["mode", show`${tenant.mode} ${cli.paint.dim(meaning)}`],
    ["created", moment(tenant.createdAt)],
    ["id", cli.paint.dim(tenant.id)],
  ]);
}

function tenantCommands(set: CommandSet, root: Command): void {
  const group = set.group(root, "tenant", "the tenant and its mode");
  set.does(set.add(group, "show", "your tenant"), async (cli) => {
    const tenant = await cli.client.getTenant();
    await cli.answer(tenant, () => tenantText(cli, tenant));
  });
  const mode = set.add(
    group,
    "mode <mode>",
    "change the mode: solo, team, organisation; downward two people must agree",
    ["countersign tenant mode team"],
  );
  set.does(mode, async (cli, _options, wanted) => {
    const answer = await cli.client.setTenantMode(
      await proven(cli, "setTenantMode", { mode: wanted as "solo" }, `change the mode to ${wanted}`),
    );
    await cli.answer(answer, () =>
      lines(
        tenantText(cli, answer.tenant),
        answer.waitingForSecondPerson &&
          show`waiting for a second person: ${cli.paint.cyan(`countersign tenant mode ${wanted}`)}`,
      ),
    );
  });
  const create = set
    .add(group, "create <name>", "create a tenant with its first human (in the deployment tenant)", [
      "countersign tenant create acme --human 'Ada Lovelace' --mode team",
    ])
    .requiredOption("--human <name>", "its first human")
    .option("--mode <mode>", "solo, team or organisation", "team");
  set.does<{ readonly human: string; readonly mode: "team" }>(create, async (cli, options, name) => {
    const created = await cli.client.createTenant({ name, human: options.human, mode: options.mode });
    await cli.answer(created, () => lines(tenantText(cli, created.tenant), empty, codeText(cli, created)));
  });
}

function killCommands(set: CommandSet, root: Command): void {
  const group = set.group(root, "kill", "the kill-switch: stops every apply of the tenant at once");
  const engage = set
    .add(group, "engage", "stop: no item starts after this", [
      "countersign kill engage --reason 'agents rewrite production'",
    ])
    .requiredOption("--reason <text>", "why");
  set.does<{ readonly reason: string }>(engage, async (cli, options) => {
    const answer = await cli.client.engageKillSwitch({ reason: options.reason });
    await cli.answer(answer, () =>
      lines(
        killText(cli.paint, answer.killSwitch, cli.terminal.nowMs()),
        empty,
        next(cli.paint, [["countersign kill release", "release it, with your signing key"]]),
      ),
    );
  });
  set.does(
    set.add(group, "release", "release the kill-switch: two people, each with their signing key (solo: the one)"),
    async (cli) => {
      const answer = await cli.client.releaseKillSwitch(
        await proven(cli, "releaseKillSwitch", {}, "release the kill-switch"),
      );
      await cli.answer(answer, () => killText(cli.paint, answer.killSwitch, cli.terminal.nowMs()));
    },
  );
  set.does(set.add(group, "status", "engaged kill-switches"), async (cli) => {
    const answer = await cli.client.listKillSwitches();
    await cli.answer(answer, () => killTable(cli.paint, answer.rows, cli.terminal.nowMs()));
  });
}
