/** `countersign demo`. */
import type { Command } from "commander";
import type { CommandSet } from "../define.js";
import type { DemoOptions } from "../demo.js";

export function demoCommand(set: CommandSet, root: Command): void {
  const command = set
    .add(root, "demo", "replay recorded histories of real files: propose, decide, sign, apply, verify, roll back", [
      "countersign demo                      about half a minute, on a server of its own that goes away",
      "countersign demo --json               the same for a machine",
      "countersign demo --limit 40 --keep    fewer edits, and the data stays for you to look at",
    ])
    .option("--histories <folder>", "other histories of the form of examples/histories (.jsonl, .jsonl.gz, .jsonl.br)")
    .option("--limit <edits>", "replay this many edits, an equal share of each history")
    .option("--keep", "keep the data directory, and say how to look around in it");
  // Loaded when asked for: it brings the whole server with it.
  set.does<DemoOptions>(command, async (cli, options) => (await import("../demo.js")).demo(cli, options));
}
