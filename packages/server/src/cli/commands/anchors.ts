/** `countersign anchors list`: the size that each anchor has confirmed, and the problems of anchors that lag. */
import type { Command } from "commander";
import { anchorStatus, hasDatabase, type AnchorReport } from "../../ops/index.js";
import type { Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { CliError, exit, type ExitCode } from "../exit.js";
import { table } from "../table.js";
import { empty, lines, show, type Shown } from "../text.js";
import { moment, roughly } from "../when.js";

export function anchorCommands(set: CommandSet, root: Command): void {
  const group = set.group(root, "anchors", "places out of the database's reach that keep checkpoints of the ledger");
  const list = set.addDefault(
    group,
    "list",
    "the standing of each anchor, for each tenant; works with the server away. Exit code 1: an anchor contradicts the ledger",
    ["countersign anchors", "countersign anchors list --json"],
  );
  set.does(list, async (cli) => {
    const { env } = cli.terminal;
    const request = { env, dataDirectory: cli.dataDirectory, doing: "countersign anchors list" };
    if (!hasDatabase(request))
      throw new CliError(
        "database_missing",
        `there is no database on this machine: none is in \`${cli.dataDirectory}\`, and DATABASE_URL is not set`,
        { help: ["export COUNTERSIGN_DATA=…   (where the server keeps it)"] },
      );
    const anchors = await anchorStatus(request);
    await cli.answer({ anchors: anchors.map(document) }, () => listed(cli, anchors));
    return anchors.some(({ standing }) => standing === "contradicts") ? exit.refused : (exit.ok satisfies ExitCode);
  });
}

function document(report: AnchorReport): object {
  const { confirmedMs, checkpointMs, sinceMs, dueMs, everyMs, ...rest } = report;
  const { nextMs: _, wanted: __, ...shown } = rest;
  return {
    ...shown,
    everySeconds: everyMs === null ? null : everyMs / 1_000,
    checkpointAt: iso(checkpointMs),
    confirmedAt: iso(confirmedMs),
    since: iso(sinceMs),
    nextAttemptAt: iso(dueMs),
  };
}

function iso(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}

function listed(cli: Cli, anchors: readonly AnchorReport[]): Shown {
  const { paint } = cli;
  const nowMs = cli.terminal.nowMs();
  const time = (ms: number | null): string => (ms === null ? "" : moment(new Date(ms).toISOString()));
  const ago = (ms: number | null): string => (ms === null ? "" : roughly(new Date(ms).toISOString(), nowMs));
  const next = ({ dueMs, kind }: AnchorReport): string => {
    if (dueMs === null) return kind === null ? "never" : "when there is more";
    return dueMs <= nowMs ? "due" : ago(dueMs);
  };
  const columns = [
    { head: "tenant", cell: (row: AnchorReport) => row.tenant },
    { head: "anchor", cell: (row: AnchorReport) => row.anchor },
    { head: "kind", cell: (row: AnchorReport) => row.kind ?? "not configured" },
    { head: "standing", cell: (row: AnchorReport) => standing(cli, row) },
    { head: "confirmed", cell: (row: AnchorReport) => `${row.confirmed} of ${row.entries}`, right: true as const },
    { head: "behind", cell: (row: AnchorReport) => String(row.behind), right: true as const },
    { head: "signed", cell: (row: AnchorReport) => ago(row.checkpointMs) },
    { head: "next", cell: next },
  ];
  const wrong = anchors.filter(({ lastError }) => lastError !== null);
  return lines(
    table(paint, anchors, columns, "no anchors are configured: docs/anchors.md says what they protect against"),
    ...(wrong.length === 0 ? [] : [empty]),
    ...wrong.map(
      (row) => show`${paint.bold(row.anchor)} of ${row.tenant}, since ${time(row.sinceMs)}: ${row.lastError ?? ""}`,
    ),
  );
}

function standing({ paint }: Cli, { standing: stands }: AnchorReport): Shown {
  if (stands === "ok") return paint.green("ok");
  return stands === "contradicts" ? paint.red("CONTRADICTS") : paint.yellow(stands);
}
