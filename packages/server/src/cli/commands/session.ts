/** `enrol`, `login`, `logout`, `whoami`, `status`: the caller's identity and an overview. */
import { hostname } from "node:os";
import { beingCarriedOutStatuses } from "@countersign/contract";
import { Countersign } from "@countersign/sdk";
import type { Command } from "commander";
import { next, type Cli } from "../cli.js";
import { readProfiles, writeProfile } from "../credentials.js";
import type { CommandSet } from "../define.js";
import { enrol, firstCode } from "../enrolment.js";
import { CliError } from "../exit.js";
import { refuseKeysInside } from "../keyFile.js";
import { changeSetTable } from "../render/changeSet.js";
import { killTable, whoText } from "../render/people.js";
import { publishingText } from "../render/publishing.js";
import { empty, lines, show, type Shown } from "../text.js";

export function sessionCommands(set: CommandSet, root: Command): void {
  enrolCommand(set, root);
  loginCommands(set, root);
  whoCommands(set, root);
}

function enrolCommand(set: CommandSet, root: Command): void {
  const command = set
    .add(root, "enrol [code]", "make your signing key on this machine and log in, with a one-time code", [
      "countersign enrol                       (the server's first human: the code is found on this machine)",
      "countersign enrol --url http://10.0.0.5:7117   (asks for the code an administrator gave you)",
    ])
    .option("--label <text>", "name of the key, for people; this machine's when left out");
  set.does<{ readonly label?: string }>(command, async (cli, options, given) => {
    const code =
      given !== ""
        ? given
        : (firstCode(cli) ?? (await cli.ask.text(show`One-time code`, { flag: "the code as an argument" })));
    const enrolled = await enrol(cli, { code: code.trim(), label: options.label ?? hostname() });
    const { rows } = await cli.client.listWorkspaces();
    refuseKeysInside(
      cli.folder,
      rows.filter((row) => row.status === "ACTIVE").map((row) => row.root),
    );
    // The secret is in the credentials file; printing it once more would only spread it.
    const { secret: _secret, ...shown } = enrolled;
    await cli.answer(shown, () =>
      lines(
        show`${cli.paint.green("enrolled")} ${cli.paint.bold(enrolled.principal.name)} of tenant ${enrolled.tenant.name} with signing key ${cli.paint.dim(enrolled.signingKey.id)}`,
        show`Your key is in ${cli.folder}, encrypted with your passphrase: there is no other copy, and nobody can reset it.`,
        empty,
        next(cli.paint, [
          ["countersign init", "in a repository: workspace, policy, first agent"],
          ["countersign change-set create --help", "propose a change"],
        ]),
      ),
    );
  });
}

function loginCommands(set: CommandSet, root: Command): void {
  const login = set.add(root, "login", "log in with an API key (asked for, or read from the standard input)", [
    "countersign login --url http://127.0.0.1:7117",
    "countersign login --profile ci < key.txt",
  ]);
  set.does(login, async (cli) => {
    const url = cli.url;
    const key = (
      cli.terminal.interactive
        ? await cli.ask.secret(show`API key (csk_…)`, "the key on the standard input")
        : (await cli.terminal.readStdin()).toString("utf8")
    ).trim();
    if (key === "") throw new CliError("usage", "no API key was given; write it to the standard input");
    const me = await new Countersign({ url, key, retries: 1 }).whoAmI();
    const before = readProfiles(cli.folder)[cli.profileName];
    const signingKey = before?.principal === me.principal.id ? before.signingKey : undefined;
    writeProfile(cli.folder, cli.profileName, {
      url,
      key,
      tenant: me.tenant.id,
      principal: me.principal.id,
      name: me.principal.name,
      ...(signingKey === undefined ? {} : { signingKey }),
    });
    await cli.answer(me, () =>
      lines(show`${cli.paint.green("logged in")} as profile ${cli.profileName}`, whoText(cli.paint, me, url)),
    );
  });
  const logout = set
    .add(root, "logout", "forget the API key on this machine; signing keys stay")
    .option("--revoke", "revoke the key on the server too");
  set.does<{ readonly revoke?: boolean }>(logout, async (cli, options) => {
    const profile = cli.profile;
    if (profile === undefined) throw new CliError("not_logged_in", `there is no login \`${cli.profileName}\``);
    if (options.revoke === true) await cli.client.revokeKey({ id: keyIdOf(profile.key) });
    writeProfile(cli.folder, cli.profileName, undefined);
    await cli.answer(
      { profile: cli.profileName, loggedOut: true },
      () => show`logged out of profile ${cli.profileName}`,
    );
  });
}

/** An API key is `csk_` + base64url(tenant uuid ‖ key uuid) + `_` + secret: the middle names the key. */
export function keyIdOf(key: string): string {
  const middle = /^csk_([A-Za-z0-9_-]{43})_/.exec(key)?.[1];
  const hex = middle === undefined ? "" : Buffer.from(middle, "base64url").subarray(16, 32).toString("hex");
  if (hex.length !== 32)
    throw new CliError(
      "credentials_damaged",
      "the stored API key has no id; revoke it with `countersign key revoke ID`",
      { help: ["countersign key list"] },
    );
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

function whoCommands(set: CommandSet, root: Command): void {
  set.does(set.add(root, "whoami", "your name, tenant, roles and permissions on the server"), async (cli) => {
    const me = await cli.me();
    await cli.answer(me, () => whoText(cli.paint, me, cli.url));
  });
  set.does(
    set.add(root, "status", "overview: you, the change-sets that wait for you or are stuck, kill-switches, the ledger"),
    async (cli) => {
      const status = await readStatus(cli);
      await cli.answer(status, () => statusText(cli, status));
    },
  );
}

async function readStatus(cli: Cli) {
  const me = await cli.me();
  const { client } = cli;
  const mayRead = me.permissions.includes("audit.read");
  const [waiting, moving, kill, ledger] = await Promise.all([
    client.listPendingApprovals({ mine: true, limit: 20 }),
    client.listChangeSets({
      status: [...beingCarriedOutStatuses],
      sort: "updated",
      limit: 20,
    }),
    client.listKillSwitches(),
    mayRead ? client.getPublishing() : null,
  ]);
  const { tenant, principal } = me;
  return {
    url: cli.url,
    tenant,
    principal: { id: principal.id, kind: principal.kind, name: principal.name },
    waitingForYou: waiting.rows,
    underWay: moving.rows,
    killSwitches: kill.rows,
    /** Null: not for this caller to see. */
    ledger,
  };
}

function statusText(cli: Cli, status: Awaited<ReturnType<typeof readStatus>>): Shown {
  const { paint } = cli;
  const nowMs = cli.terminal.nowMs();
  const width = Math.max(24, cli.terminal.columns - 90);
  return lines(
    show`${paint.bold(status.principal.name)} on ${status.url}, tenant ${status.tenant.name}, mode ${status.tenant.mode}`,
    killTable(paint, status.killSwitches, nowMs),
    status.ledger === null ? undefined : publishingText(paint, status.ledger, nowMs),
    empty,
    paint.bold("Waiting for your vote"),
    status.waitingForYou.length === 0
      ? paint.dim("nothing")
      : changeSetTable(paint, status.waitingForYou, nowMs, width),
    empty,
    paint.bold("Approved, under way or stuck"),
    status.underWay.length === 0 ? paint.dim("nothing") : changeSetTable(paint, status.underWay, nowMs, width),
  );
}
