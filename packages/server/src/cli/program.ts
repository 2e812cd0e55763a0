/** The tree of commands. docs/cli.md is generated from it. */
import { Command } from "commander";
import { anchorCommands } from "./commands/anchors.js";
import { auditCommands } from "./commands/audit.js";
import { changeSetCommands, undoCommand } from "./commands/changeSet.js";
import { configCommands } from "./commands/config.js";
import { demoCommand } from "./commands/demo.js";
import { initCommand } from "./commands/init.js";
import { logKeyCommands } from "./commands/keys.js";
import { migrateCommands } from "./commands/offline.js";
import { peopleCommands } from "./commands/people.js";
import { restoreCommand } from "./commands/restore.js";
import { sessionCommands } from "./commands/session.js";
import { startCommand } from "./commands/start.js";
import { targetCommands } from "./commands/targets.js";
import { witnessCommands } from "./commands/witness.js";
import { CommandSet, type Run } from "./define.js";

export const version = "0.1.0";

const firstSteps = `
First steps (one terminal for the server, one for you):
  countersign start                      the server, with a database of its own
  countersign init                       in a repository: your signing key, the workspace, a policy, an agent
  countersign change-set create --set 'file:WORKSPACE:app.json#/timeout=30' --submit
  countersign change-set list --pending --mine
  countersign change-set approve ID      signed with your key
  countersign change-set apply ID
  countersign audit log                  what happened
  countersign undo                       restores every byte
  countersign audit verify               the record is whole

Every command takes --json. Exit codes: 0 done, 1 refused (or tampered), 2 completeness not shown,
3 could not reach or decide, 4 malformed input, 64 usage. docs/getting-started.md goes on from here.`;

export function buildProgram(run: Run): Command {
  const root = new Command("countersign");
  root
    .description("Every change an AI agent makes gets a countersignature.")
    .version(version, "-V, --version", "print the version")
    .helpOption("-h, --help", "print help")
    .helpCommand("help [command]", "print help of a command")
    .option("--json", "answer with JSON, refusals too (on the error output)")
    .option("--url <url>", "address of the server (COUNTERSIGN_URL)")
    .option("--profile <name>", "which login to use (COUNTERSIGN_PROFILE)")
    .option("-y, --yes", "answer yes to questions")
    .option(
      "--passphrase-file <file>",
      "file whose first line is the passphrase of your signing key (COUNTERSIGN_PASSPHRASE_FILE, COUNTERSIGN_PASSPHRASE)",
    )
    .option("--no-color", "no colours (NO_COLOR)")
    .configureHelp({ showGlobalOptions: false, sortSubcommands: false })
    .addHelpText("after", firstSteps)
    .showHelpAfterError(false)
    .exitOverride();
  const set = new CommandSet(run);
  startCommand(set, root);
  initCommand(set, root);
  demoCommand(set, root);
  sessionCommands(set, root);
  changeSetCommands(set, root);
  undoCommand(set, root);
  targetCommands(set, root);
  configCommands(set, root);
  peopleCommands(set, root);
  auditCommands(set, root);
  logKeyCommands(set, root);
  restoreCommand(set, root);
  anchorCommands(set, root);
  witnessCommands(set, root);
  migrateCommands(set, root);
  return root;
}
