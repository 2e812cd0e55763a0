/** `audit report`: all changes to some targets in a period, with the approvals, the rollbacks and the gaps. */
import type { ReportChangeSet, ReportEvent, ReportHeader, ReportLine, ReportSummary } from "@countersign/contract";
import type { Input } from "@countersign/sdk";
import type { Command } from "commander";
import type { Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { CliError, exit, type ExitCode } from "../exit.js";
import { changeSetStory, eventStory, reportEnd, reportHead } from "../render/audit.js";
import { reportCsvHead, reportCsvRow } from "../render/auditCsv.js";
import { exitOf } from "../render/report.js";
import { pointInTime } from "../when.js";

interface ReportOptions {
  readonly target?: string;
  readonly resource?: string;
  readonly path?: string;
  readonly quarter?: string;
  readonly since?: string;
  readonly until?: string;
  readonly verify?: string;
  readonly csv?: boolean;
}

export function auditReport(set: CommandSet, group: Command): void {
  const command = set
    .add(group, "report", "all changes to a target in a period: who approved, what was rolled back, what is missing", [
      "countersign audit report --path 'config/*.json' --quarter 2026-Q4",
      "countersign audit report --resource CONFIG/shop/checkout --since 30d",
      "countersign audit report --target 'resource:production:*:**' --since 2026-10-01 --until 2026-11-01 --csv > october.csv",
      "countersign audit report --since 7d                    everything",
    ])
    .option("--path <glob>", "files whose path matches; `WORKSPACE:GLOB` for one workspace")
    .option("--resource <type/id>", "a JSON resource, in every environment")
    .option("--target <pattern>", "any targets, as a pattern of docs/policy.md")
    .option("--quarter <quarter>", "such as 2026-Q4, in UTC")
    .option("--since <when>", "`7d`, `2026-10-01` or RFC 3339; the beginning when left out")
    .option("--until <when>", "the same, exclusive; now when left out")
    .option(
      "--verify <what>",
      "what to verify for the verdict: `ledger` (the whole ledger, with the state), `range` (the period), `none`",
      "ledger",
    )
    .option("--csv", "one change-set a row; cells that a spreadsheet would run as a formula begin with a quote")
    .addHelpText(
      "after",
      "\nThe verdict at the end is the server's own. For a verdict of your own, export the period and verify it yourself:\n  countersign audit export --since … --until … -o period.bundle\n  countersign-verify period.bundle --policy my-policy\n\nExit codes: 0 reported, 1 the ledger does not verify or a vote is forged, 2 more change-sets than are listed, 3 could not decide, 4 malformed, 64 usage.",
    );
  set.does<ReportOptions>(command, async (cli, options) => {
    const lines = cli.client.report(questionOf(cli, options));
    if (cli.json) return asJson(cli, lines);
    return options.csv === true ? asCsv(cli, lines) : forPeople(cli, lines);
  });
}

function questionOf(cli: Cli, options: ReportOptions): Input<"reportAudit"> {
  const { nowMs } = cli.terminal;
  const { quarter, verify } = options;
  const target = patternOf(options);
  const since = options.since === undefined ? undefined : pointInTime(options.since, "--since", nowMs());
  const until = options.until === undefined ? undefined : pointInTime(options.until, "--until", nowMs());
  return Object.fromEntries(
    Object.entries({ target, quarter, since, until, verify }).filter(([, value]) => value !== undefined),
  );
}

function patternOf({ target, resource, path }: ReportOptions): string | undefined {
  if ([target, resource, path].filter((one) => one !== undefined).length > 1)
    throw new CliError("usage", "`--target`, `--resource` and `--path` exclude each other");
  if (resource !== undefined) {
    const cut = resource.indexOf("/");
    if (cut < 1 || cut === resource.length - 1)
      throw new CliError(
        "usage",
        `\`${resource}\` is no resource; write \`TYPE/ID\`, such as \`CONFIG/shop/checkout\``,
      );
    return `resource:*:${escaped(resource.slice(0, cut))}:${escaped(resource.slice(cut + 1))}`;
  }
  if (path === undefined) return target;
  return /^[^/*:]+:/.test(path) ? `file:${path}` : `file:*:${path}`;
}

/** A name in a pattern stands for itself. */
function escaped(name: string): string {
  return name.replaceAll(/[\\*:]/g, "\\$&");
}

async function forPeople(cli: Cli, lines: AsyncIterable<ReportLine>): Promise<ExitCode> {
  let end: ReportSummary | undefined;
  let head: ReportHeader | undefined;
  for await (const line of lines) {
    if (line.kind === "report") head = line;
    if (line.kind === "summary") end = line;
    const shown =
      line.kind === "report"
        ? reportHead(cli, line)
        : line.kind === "changeSet"
          ? changeSetStory(cli, line)
          : line.kind === "event"
            ? eventStory(cli, line)
            : reportEnd(cli, line, head);
    await cli.terminal.out(`${shown.text}\n`);
  }
  return exitOfReport(end);
}

async function asCsv(cli: Cli, lines: AsyncIterable<ReportLine>): Promise<ExitCode> {
  let end: ReportSummary | undefined;
  await cli.terminal.out(reportCsvHead());
  for await (const line of lines) {
    if (line.kind === "changeSet") await cli.terminal.out(reportCsvRow(line));
    if (line.kind === "summary") end = line;
  }
  // The rows alone would not say whether they can be believed, nor that there are more.
  const doubted = end?.verdict !== undefined && end.verdict !== null && end.verdict.integrity !== "ok";
  if (end !== undefined && (doubted || isCutShort(end))) cli.terminal.err(`${reportEnd(cli, end, undefined).text}\n`);
  return exitOfReport(end);
}

/** One document, written as it comes. */
async function asJson(cli: Cli, lines: AsyncIterable<ReportLine>): Promise<ExitCode> {
  let end: ReportSummary | undefined;
  const events: ReportEvent[] = [];
  let separator = "";
  for await (const line of lines) {
    if (line.kind === "report") await cli.terminal.out(`{"report":${JSON.stringify(line)},"changeSets":[`);
    if (line.kind === "changeSet") await changeSetAsJson(cli, line, separator);
    if (line.kind === "changeSet") separator = ",";
    if (line.kind === "event") events.push(line);
    if (line.kind === "summary") end = line;
  }
  await cli.terminal.out(`\n],"events":${JSON.stringify(events)},"summary":${JSON.stringify(end)}}\n`);
  return exitOfReport(end);
}

async function changeSetAsJson(cli: Cli, line: ReportChangeSet, separator: string): Promise<void> {
  await cli.terminal.out(`${separator}\n${JSON.stringify(line)}`);
}

function exitOfReport(end: ReportSummary | undefined): ExitCode {
  if (end === undefined) return exit.unreachable;
  if (end.counts.forgedVotes > 0 || end.missing.some(({ kind }) => kind === "unverifiable")) return exit.refused;
  const code = end.verdict === null ? exit.ok : exitOf(end.verdict);
  return code === exit.ok && isCutShort(end) ? exit.incomplete : code;
}

/** There were more change-sets than are listed. */
function isCutShort({ missing }: ReportSummary): boolean {
  return missing.some(({ kind }) => kind === "not_listed");
}
