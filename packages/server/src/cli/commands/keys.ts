/**
 * `countersign keys`: the keys that sign the ledger's checkpoints. Works beside a running server, which takes a new key from
 * its next checkpoint on, or in its absence. (A person's keys are `countersign key`.)
 */
import { join } from "node:path";
import { fingerprintOf, spacedFingerprint } from "@countersign/proof";
import type { Command } from "commander";
import { iso } from "../../platform/index.js";
import {
  initLogKeys,
  type KeyList,
  type ListedKey,
  listLogKeys,
  type OfflineRequest,
  repairLogKeys,
  revokeLogKey,
  rotateLogKey,
} from "../../ops/index.js";
import type { Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { table } from "../table.js";
import { empty, lines, show, type Shown } from "../text.js";
import { moment, pointInTime } from "../when.js";

export function offlineRequest(cli: Cli, doing: string): OfflineRequest {
  return { env: cli.terminal.env, dataDirectory: cli.dataDirectory, doing };
}

export function logKeyCommands(set: CommandSet, root: Command): void {
  const group = set.group(root, "keys", "keys that sign the ledger's checkpoints; works with the server away");
  const init = set
    .add(
      group,
      "init",
      "make the root key of this deployment, for auditors to pin; the first start does it otherwise",
      ["countersign keys init --deployment ledger.example.org/main"],
    )
    .option("--deployment <name>", "name of the deployment, first part of every log's origin; random when left out");
  set.does<{ readonly deployment?: string }>(init, async (cli, { deployment }) => {
    await listed(cli, await initLogKeys(offlineRequest(cli, "countersign keys init"), deployment));
  });

  set.does(
    set.add(group, "list", "every key there ever was, and which one signs; finishes a change that was cut off", [
      "countersign keys list",
    ]),
    async (cli) => listed(cli, await listLogKeys(offlineRequest(cli, "countersign keys list"))),
  );

  const rotate = set
    .add(group, "rotate", "a new key, signed by the old one; it signs from the next checkpoint on", [
      'countersign keys rotate --reason "yearly"',
    ])
    .requiredOption("--reason <text>", "recorded in the deployment's ledger");
  set.does<{ readonly reason: string }>(rotate, async (cli, { reason }) => {
    const list = await rotateLogKey(offlineRequest(cli, "countersign keys rotate"), reason);
    await listed(cli, list);
    cli.note(forWitnesses(list));
  });

  const revoke = set
    .add(group, "revoke <key>", "signatures of an old key do not count from a moment on", [
      'countersign keys revoke 5d1f03aa --since 2026-11-20T12:00Z --reason "laptop lost"',
    ])
    .requiredOption("--since <instant>", "`2026-11-20T12:00Z`, `3d`: the moment from which others may have had the key")
    .requiredOption("--reason <text>", "recorded in the deployment's ledger");
  set.does<{ readonly since: string; readonly reason: string }>(revoke, async (cli, { since, reason }, key = "") => {
    const sinceMs = Date.parse(pointInTime(since, "--since", Date.now()));
    await cli.sure(show`Revoke ${key} from ${moment(new Date(sinceMs).toISOString())} on? It cannot be taken back.`);
    const list = await revokeLogKey(offlineRequest(cli, "countersign keys revoke"), { key, sinceMs, reason });
    await listed(cli, list);
    cli.note(forWitnesses(list));
  });

  set.does(
    set.add(group, "repair", "write the file of key statements anew from the deployment's ledger", [
      "countersign keys repair",
    ]),
    async (cli) => listed(cli, await repairLogKeys(offlineRequest(cli, "countersign keys repair"))),
  );
}

/** They follow the keys by hand, and cosign nothing of a key they do not know. */
function forWitnesses({ folder }: KeyList): Shown {
  return show`If there are witnesses, send their operators ${join(folder, "statements")}: countersign witness add-log --statements FILE`;
}

async function listed(cli: Cli, list: KeyList): Promise<void> {
  const { deployment, folder, recorded } = list;
  await cli.answer({ deployment, folder, recorded, keys: list.keys.map(document) }, () => listText(cli, list));
}

function document({ sinceMs, revokedAtMs, ...key }: ListedKey): object {
  const fingerprint = fingerprintOf(key.publicKey) ?? null;
  return { ...key, fingerprint, since: iso(sinceMs), revokedSince: revokedAtMs === null ? null : iso(revokedAtMs) };
}

function listText(cli: Cli, { deployment, folder, keys, recorded }: KeyList): Shown {
  const { paint } = cli;
  const pinned = keys.find((key) => key.revokedAtMs === null);
  const state = (key: ListedKey): Shown => {
    if (key.revokedAtMs !== null) return paint.red(`revoked since ${moment(iso(key.revokedAtMs))}`);
    return key.current ? paint.green("signs") : show`earlier`;
  };
  return lines(
    show`deployment ${paint.bold(deployment)}, keys in ${folder}`,
    recorded ? undefined : paint.yellow("the server records this in the deployment's ledger when it starts"),
    empty,
    table(
      paint,
      keys,
      [
        { head: "id", cell: (key) => key.verifierKey.split("+")[1] ?? "" },
        { head: "state", cell: state },
        { head: "since", cell: (key) => moment(iso(key.sinceMs)) },
        { head: "fingerprint", cell: (key) => spacedFingerprint(fingerprintOf(key.publicKey) ?? "") },
      ],
      "no keys",
    ),
    empty,
    show`An auditor's policy pins one of these keys; one is enough. Compare its fingerprint over another channel:`,
    pinned !== undefined && show`  log ${pinned.verifierKey}`,
  );
}
