/** Commands that work with the server away: `migrate …`, and `audit verify` of the database on this machine. */
import { existsSync } from "node:fs";
import { exitCodeOf } from "@countersign/proof";
import type { Command } from "commander";
import {
  createMigration,
  hasDatabase,
  migrate,
  migrations,
  verifyArchive,
  verifyDatabase,
  verifyView,
  type OfflineRequest,
  type TenantReport,
  type VerifyRequest,
} from "../../ops/index.js";
import type { Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { CliError, exit, type ExitCode } from "../exit.js";
import { progress, reportText } from "../render/report.js";
import { table } from "../table.js";
import { empty, lines, show } from "../text.js";
import { wholeNumber } from "./changeSet.js";

function request(cli: Cli, doing: string): OfflineRequest {
  return { env: cli.terminal.env, dataDirectory: cli.dataDirectory, doing };
}

/** Verifies every tenant of the database, or one. */
export async function verifyLocally(
  cli: Cli,
  options: Omit<VerifyRequest, keyof OfflineRequest | "onTenant" | "onProgress">,
): Promise<ExitCode> {
  const asked = request(cli, "countersign audit verify");
  if (!hasDatabase(asked)) {
    throw new CliError(
      "database_missing",
      `there is no database on this machine: none is in \`${cli.dataDirectory}\`, and DATABASE_URL is not set`,
      {
        help: [
          "countersign audit verify --remote",
          "countersign audit verify BUNDLE",
          "export COUNTERSIGN_DATA=…   (where the server keeps it)",
        ],
      },
    );
  }
  const tell = progress(cli);
  const found = await verifyDatabase({ ...asked, ...options, onProgress: (now) => tell(now.entries) });
  if (cli.terminal.interactive) cli.note(empty);
  const reports = found.map(verifyView);
  await cli.answer({ integrity: worst(found), completeness: leastShown(found), reports }, () =>
    lines(...reports.flatMap((report, index) => [...(index === 0 ? [] : [empty]), reportText(cli, report)])),
  );
  return exitOfAll(found);
}

/** An archive of a pruning: whether the ledger names it, and whether each of its entries is the ledger's. */
export async function verifyArchiveLocally(cli: Cli, file: string, tenant: string | undefined): Promise<ExitCode> {
  const path = cli.path(file);
  const asked = request(cli, "countersign audit verify --archive");
  if (!existsSync(path)) throw new CliError("file_unreadable", `cannot read \`${file}\`: there is no such file`);
  if (!hasDatabase(asked))
    throw new CliError(
      "database_missing",
      "an archive is compared with the ledger, and there is no database on this machine",
      {
        help: ["countersign audit verify ARCHIVE   (verifies the archive alone: it is a bundle)"],
      },
    );
  const found = await verifyArchive(asked, { path, tenant });
  const malformed = found.findings.some((finding) => finding.class === "MALFORMED");
  const fine = found.namedBy !== null && found.findings.length === 0;
  await cli.answer(found, () =>
    lines(
      fine
        ? show`${cli.paint.green("ok")}: ${found.entries} entries, named by entry ${found.namedBy ?? ""}, each equal to the ledger's`
        : show`${cli.paint.red("not the pruned entries")}: ${found.undecided ?? (found.namedBy === null ? "no entry of the ledger names this file" : "its entries differ")}`,
      show`sha-256 ${found.sha256}`,
      found.findings
        .slice(0, 20)
        .map((finding) => show`  ${finding.class} at entry ${finding.seq ?? "?"}: ${finding.detail ?? ""}`),
    ),
  );
  if (fine) return exit.ok;
  return malformed ? exit.malformed : found.undecided !== undefined ? exit.unreachable : exit.refused;
}

function worst(reports: readonly TenantReport[]): TenantReport["integrity"] {
  const order = ["tampered", "undecided", "ok"] as const;
  return order.find((integrity) => reports.some((report) => report.integrity === integrity)) ?? "undecided";
}

function leastShown(reports: readonly TenantReport[]): TenantReport["completeness"]["status"] {
  const order = ["not_shown", "shown", "not_demanded"] as const;
  return order.find((status) => reports.some(({ completeness }) => completeness.status === status)) ?? "not_demanded";
}

/**
 * Tampering outweighs everything; then malformed input; then unreadable input; then completeness that was not shown.
 */
export function exitOfAll(reports: readonly Parameters<typeof exitCodeOf>[0][]): ExitCode {
  const codes = reports.map((report) => exitCodeOf(report) as ExitCode);
  const order = [exit.refused, exit.malformed, exit.unreachable, exit.incomplete, exit.ok];
  return order.find((code) => codes.includes(code)) ?? exit.unreachable;
}

export function migrateCommands(set: CommandSet, root: Command): void {
  const group = set.group(
    root,
    "migrate",
    "the database's schema; works with the server away (DATABASE_URL, else the embedded database)",
  );
  set.does(set.add(group, "status", "which migrations are applied"), async (cli) => {
    const status = await migrations(request(cli, "countersign migrate status"));
    const rows = [
      ...status.applied.map((row) => ({ name: row.name, state: "applied" })),
      ...status.pending.map((row) => ({ name: row.name, state: "pending" })),
    ];
    await cli.answer(status, () =>
      table(
        cli.paint,
        rows,
        [
          { head: "migration", cell: (row) => row.name },
          {
            head: "state",
            cell: (row) => (row.state === "applied" ? cli.paint.green(row.state) : cli.paint.yellow(row.state)),
          },
        ],
        "no migrations",
      ),
    );
  });
  set.does(set.add(group, "up", "apply every pending migration"), async (cli) => {
    const applied = await migrate(request(cli, "countersign migrate up"), "up");
    await cli.answer({ applied }, () =>
      lines(
        applied.length === 0 ? show`nothing to do: the schema is current` : undefined,
        ...applied.map((name) => show`${cli.paint.green("applied")} ${name}`),
      ),
    );
  });
  const down = set
    .add(group, "down", "undo the newest migrations; their tables are dropped, with all rows", [
      "countersign migrate down --steps 1 --yes",
    ])
    .option("--steps <number>", "how many", "1");
  set.does<{ readonly steps: string }>(down, async (cli, options) => {
    const steps = wholeNumber(options.steps, "--steps");
    if (steps < 1) throw new CliError("usage", "`--steps` is at least 1");
    await cli.sure(show`Undo ${steps} migration(s)? The rows in their tables are lost.`);
    const undone = await migrate(request(cli, "countersign migrate down"), "down", steps, true);
    await cli.answer({ undone }, () => lines(...undone.map((name) => show`${cli.paint.yellow("taken back")} ${name}`)));
  });
  set.does(
    set.add(group, "create <name>", "write an empty pair of migration files with the next number (in a checkout)"),
    async (cli, _options, name) => {
      const files = createMigration(name);
      await cli.answer({ files }, () => lines(...files));
    },
  );
}
