/** `audit tail`: the ledger as it grows, until the person has seen enough. */
import type { Input } from "@countersign/sdk";
import type { Command } from "commander";
import type { Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { exit, type ExitCode } from "../exit.js";
import { entryLine } from "../render/entries.js";
import { show } from "../text.js";
import { pointInTime } from "../when.js";
import { wholeNumber } from "./changeSet.js";

interface TailOptions {
  readonly actor?: string;
  readonly action?: string;
  readonly subject?: string;
  readonly changeSet?: string;
  readonly since?: string;
  readonly after?: string;
  readonly count?: string;
}

export function auditTail(set: CommandSet, group: Command): void {
  const command = set
    .add(group, "tail", "new entries as they are committed; Ctrl-C ends it", [
      "countersign audit tail",
      "countersign audit tail --since 10m --actor checkout-bot",
      "countersign audit tail --action change_set.applied,change_set.rolled_back --json | jq .subject.label",
    ])
    .option("--actor <name>", "name or id of who did it")
    .option("--action <action,…>", "such as change_set.approved")
    .option("--subject <id>", "id of what it was done to")
    .option("--change-set <id>", "about this change-set")
    .option("--since <when>", "begin with the entries since this time; with the next entry when left out")
    .option("--after <seq>", "begin after this entry, the last one you have seen")
    .option("--count <entries>", "end after so many entries")
    .addHelpText(
      "after",
      "\nWith --json, one entry on each line. After a lost connection the command connects again; no entry is left out or shown twice.",
    );
  set.does<TailOptions>(command, tail);
}

async function tail(cli: Cli, options: TailOptions): Promise<ExitCode> {
  const { actor, action, subject, changeSet } = options;
  const input: Record<string, unknown> = { actor, action: action?.split(","), subject, changeSet };
  if (options.since !== undefined) input["since"] = pointInTime(options.since, "--since", cli.terminal.nowMs());
  if (options.after !== undefined) input["after"] = wholeNumber(options.after, "--after");
  let left = options.count === undefined ? Infinity : wholeNumber(options.count, "--count");
  const stop = new AbortController();
  const end = (): void => stop.abort();
  process.once("SIGINT", end).once("SIGTERM", end);
  try {
    if (left === 0) return exit.ok;
    const entries = cli.client.follow(input as Input<"tailAudit">, {
      signal: stop.signal,
      onConnection: (state) => told(cli, state),
    });
    for await (const entry of entries) {
      await cli.terminal.out(cli.json ? `${JSON.stringify(entry)}\n` : `${entryLine(cli.paint, entry).text}\n`);
      if (--left === 0) break;
    }
    return exit.ok;
  } catch (error) {
    if (stop.signal.aborted) return exit.ok; // the person has seen enough
    throw error;
  } finally {
    process.off("SIGINT", end).off("SIGTERM", end);
  }
}

const connections = new WeakMap<Cli, "connected" | "lost">();

/** The first connection goes without saying. */
function told(cli: Cli, state: "connected" | "lost"): void {
  const before = connections.get(cli);
  connections.set(cli, state);
  if (state === "lost") cli.note(show`the connection is lost; trying again`);
  else if (before === "lost") cli.note(show`connected again`);
}
