/**
 * `countersign restore`: records, signed, that the database was restored from an older backup, so that publishing goes
 * on.
 */
import type { Command } from "commander";
import { restoreLedgers, type Restored } from "../../ops/index.js";
import type { Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { table } from "../table.js";
import { empty, lines, show, type Shown } from "../text.js";
import { offlineRequest } from "./keys.js";

interface RestoreOptions {
  readonly reason: string;
  readonly asClone?: boolean;
  readonly deployment?: string;
}

export function restoreCommand(set: CommandSet, root: Command): void {
  const command = set
    .add(
      root,
      "restore",
      "record that an older backup was restored, signed, and go on publishing; refuses when nothing was restored",
      [
        'countersign restore --reason "disk of db1 failed, backup of 02:00"',
        'COUNTERSIGN_LOG_KEYS=/srv/staging-keys countersign restore --as-clone --reason "copy for staging"',
      ],
    )
    .requiredOption("--reason <text>", "recorded in every affected ledger")
    .option("--as-clone", "this is a copy: it becomes a deployment of its own, with a new name and key")
    .option("--deployment <name>", "name of the new deployment; random when left out");
  set.does<RestoreOptions>(command, async (cli, { reason, asClone, deployment }) => {
    await cli.sure(
      asClone === true
        ? show`Make this database a deployment of its own, with a new name and key?`
        : show`Record that an older state of this database was restored? Everybody who verifies it will see so.`,
    );
    const done = await restoreLedgers(offlineRequest(cli, "countersign restore"), {
      reason,
      asClone: asClone === true,
      ...(deployment === undefined ? {} : { deployment }),
    });
    await cli.answer(done, () => restoredText(cli, done));
  });
}

function restoredText(cli: Cli, { deployment, previousDeployment, ledgers, missing }: Restored): Shown {
  const { paint } = cli;
  return lines(
    previousDeployment === null
      ? show`recorded in the ledgers of ${paint.bold(deployment)}`
      : show`${paint.bold(deployment)} is a deployment of its own now; it was a copy of ${previousDeployment}`,
    empty,
    table(
      paint,
      ledgers,
      [
        { head: "ledger", cell: (row) => row.tenant },
        { head: "incarnation", cell: (row) => row.incarnation, right: true },
        { head: "kept", cell: (row) => row.keptSize, right: true },
        { head: "had been signed", cell: (row) => row.lostSize ?? "not known", right: true },
      ],
      "no ledger is affected",
    ),
    ...missing.map((tenant) => paint.red(`${tenant} was published, and the database knows nothing of it`)),
  );
}
