/** `countersign demo`: its options; what it does is in cli/demo.ts, loaded only when it is asked for. */
import type { Command } from "commander";
import type { CommandSet } from "../define.js";
import type { DemoOptions } from "../demo.js";

export function demoCommand(set: CommandSet, root: Command): void {
  const command = set
    .add(root, "demo", "replay recorded histories on a server of its own: propose, approve, apply, roll back, verify", [
      "countersign demo",
      "countersign demo --json | jq .verify",
    ])
    .option("--histories <folder>", "other histories of the same form")
    .option("--limit <count>", "only the first so many of each")
    .option("--keep", "leave the temporary server's folder in place");
  set.does<DemoOptions>(command, async (cli, options) => (await import("../demo.js")).demo(cli, options));
}
