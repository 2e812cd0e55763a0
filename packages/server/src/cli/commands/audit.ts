/**
 * `audit log | tail | report | prove | export | policy | verify`: reading, following, reporting, exporting and
 * verifying the ledger.
 */
import type { EntryView } from "@countersign/contract";
import type { Input } from "@countersign/sdk";
import type { Command } from "commander";
import type { Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { csvHead, csvRow, entryTable } from "../render/entries.js";
import { pointInTime } from "../when.js";
import { auditExport } from "./auditExport.js";
import { auditPolicy, auditProve } from "./auditProof.js";
import { auditReport } from "./auditReport.js";
import { auditTail } from "./auditTail.js";
import { auditVerify } from "./auditVerify.js";
import { wholeNumber } from "./changeSet.js";
import { retentionCommands } from "./retention.js";

export function auditCommands(set: CommandSet, root: Command): void {
  const group = set.group(root, "audit", "the ledger: what happened, and whether the record is whole");
  log(set, group);
  auditTail(set, group);
  auditReport(set, group);
  auditVerify(set, group);
  auditProve(set, group);
  auditExport(set, group);
  auditPolicy(set, group);
  retentionCommands(set, group);
}

interface LogOptions {
  readonly actor?: string;
  readonly action?: string;
  readonly subject?: string;
  readonly changeSet?: string;
  readonly since?: string;
  readonly until?: string;
  readonly order: string;
  readonly limit: string;
  readonly csv?: boolean;
}

function log(set: CommandSet, group: Command): void {
  const command = set
    .add(group, "log", "entries of the ledger, the newest first", [
      "countersign audit log --since 7d --actor checkout-bot",
      "countersign audit log --change-set CS-2026-1120-001 --order asc",
      "countersign audit log --action change_set.applied,change_set.rolled_back --csv > changes.csv",
    ])
    .option("--actor <name>", "name or id of who did it")
    .option("--action <action,…>", "such as change_set.approved")
    .option("--subject <id>", "id of what it was done to")
    .option("--change-set <id>", "about this change-set")
    .option("--since <when>", "`7d`, `12h`, `30m`, `2026-11-20` or RFC 3339")
    .option("--until <when>", "the same")
    .option("--order <order>", "asc or desc", "desc")
    .option("--limit <rows>", "entries at most; 0: all", "50")
    .option("--csv", "as CSV; cells that a spreadsheet would run as a formula begin with a quote");
  set.does<LogOptions>(command, async (cli, options) => {
    const { nowMs } = cli.terminal;
    const { actor, action, subject, changeSet, order } = options;
    const since = options.since === undefined ? undefined : pointInTime(options.since, "--since", nowMs());
    const until = options.until === undefined ? undefined : pointInTime(options.until, "--until", nowMs());
    const limit = wholeNumber(options.limit, "--limit") || Number.MAX_SAFE_INTEGER;
    const filters = {
      actor,
      action: action?.split(","),
      subject,
      changeSet,
      since,
      until,
      order,
      limit: Math.min(limit, 200),
    };
    const entries = take(cli.client.all("listAudit", filters as Input<"listAudit">), limit);
    if (options.csv === true) {
      await cli.terminal.out(csvHead());
      for await (const row of entries) await cli.terminal.out(csvRow(row));
      return;
    }
    const rows: EntryView[] = [];
    for await (const row of entries) rows.push(row);
    const labels = cli.json ? new Map<string, string>() : await changeSetNumbers(cli, rows);
    await cli.answer({ rows }, () => entryTable(cli.paint, rows, labels));
  });
}

/** Numbers of recent change-sets by id, because people look for numbers. Older change-sets are shown by id. */
async function changeSetNumbers(cli: Cli, rows: readonly EntryView[]): Promise<ReadonlyMap<string, string>> {
  const unnamed = rows.some((row) => row.subject.type === "change_set" && row.subject.label === null);
  const { permissions } = await cli.me();
  if (!unnamed || !permissions.includes("change_sets.read")) return new Map();
  const page = await cli.client.listChangeSets({ sort: "updated", limit: 200 });
  return new Map(page.rows.map((row) => [row.id, row.number]));
}

async function* take<T>(source: AsyncIterable<T>, count: number): AsyncGenerator<T, void, undefined> {
  let left = count;
  for await (const item of source) {
    if (left-- <= 0) return;
    yield item;
    if (left === 0) return;
  }
}
