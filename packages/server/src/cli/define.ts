/** Declares commands: a summary, options, examples, and the function that runs with a `Cli`. */
import { Command } from "commander";
import { Cli, type GlobalOptions } from "./cli.js";
import type { ExitCode } from "./exit.js";
import type { HintContext } from "./hints.js";
import type { Terminal } from "./terminal.js";

/** State of one run: commander's actions end here. */
export class Run {
  readonly terminal: Terminal;
  exitCode: ExitCode = 0;
  cli: Cli | undefined;
  context: HintContext = {};
  constructor(terminal: Terminal) {
    this.terminal = terminal;
  }
}

export type Handler<O> = (cli: Cli, options: O & GlobalOptions, ...names: string[]) => Promise<void | ExitCode>;

export class CommandSet {
  readonly run: Run;
  constructor(run: Run) {
    this.run = run;
  }

  /** A command below `parent`, with lines of examples (`command   what it does`). */
  add(parent: Command, usage: string, summary: string, examples: readonly string[] = []): Command {
    return this.#describe(parent.command(usage), summary, examples);
  }

  #describe(command: Command, summary: string, examples: readonly string[]): Command {
    command.description(summary);
    if (examples.length > 0)
      command.addHelpText("after", `\nExamples:\n${examples.map((line) => `  ${line}`).join("\n")}`);
    return command;
  }

  /** Like `add`; the group runs this command when none is named. */
  addDefault(parent: Command, usage: string, summary: string, examples: readonly string[] = []): Command {
    return this.#describe(parent.command(usage, { isDefault: true }), summary, examples);
  }

  group(parent: Command, name: string, summary: string): Command {
    return parent.command(name).description(summary);
  }

  /** Sets the function that runs the command. Missing optional names arrive as empty texts. */
  does<O = object>(command: Command, handler: Handler<O>): void {
    command.action(async (...given: unknown[]) => {
      const { run } = this;
      const options = command.optsWithGlobals<O & GlobalOptions>();
      const names = given.slice(0, -2).map((value) => (typeof value === "string" ? value : ""));
      const cli = new Cli(run.terminal, options);
      run.cli = cli;
      const aboutChangeSet = command.parent?.name() === "change-set" || command.name() === "undo";
      run.context = {
        url: cli.options.url ?? "the usual one",
        ...(command.parent === null ? {} : { group: command.parent.name() }),
        ...(aboutChangeSet && names[0] !== undefined && names[0] !== "" ? { changeSet: names[0] } : {}),
      };
      run.exitCode = (await handler(cli, options, ...names)) ?? 0;
    });
  }
}
