/** `countersign`: runs one command and ends with its exit code. */
import { CommanderError } from "commander";
import { Run } from "./define.js";
import { CliError, exit } from "./exit.js";
import { failureDocument, failureOf, failureText } from "./failure.js";
import { buildProgram } from "./program.js";
import { processTerminal, type Terminal } from "./terminal.js";
import { painter } from "./text.js";

export async function runCli(argv: readonly string[], terminal: Terminal): Promise<number> {
  const run = new Run(terminal);
  const program = buildProgram(run);
  // Commander's complaint about a mistyped command line, kept until the form of the output is known.
  let complaint = "";
  const shown: Promise<void>[] = [];
  const output = {
    writeOut: (text: string) => void shown.push(terminal.out(text)),
    writeErr: (text: string) => void (complaint += text),
  };
  for (const command of withAll(program)) command.configureOutput(output).exitOverride();
  try {
    if (argv.length === 0) program.help();
    await program.parseAsync([...argv], { from: "user" });
    return run.exitCode;
  } catch (error) {
    await Promise.all(shown);
    if (error instanceof CommanderError && error.exitCode === 0) return exit.ok;
    const cause = error instanceof CommanderError ? usageError(error, complaint, program.name()) : error;
    return report(cause, { run, terminal, json: argv.includes("--json") });
  }
}

function* withAll(command: ReturnType<typeof buildProgram>): Generator<ReturnType<typeof buildProgram>> {
  yield command;
  for (const child of command.commands) yield* withAll(child);
}

function usageError(error: CommanderError, complaint: string, name: string): CliError {
  // A group without a command prints its help: that is the answer, as a complaint.
  if (error.code === "commander.help")
    return new CliError(
      "usage",
      complaint.trimEnd() === "" ? "a command is missing" : `a command is missing\n\n${complaint.trimEnd()}`,
    );
  return new CliError("usage", (complaint.trim() || error.message).replace(/^error: /, ""), {
    help: [`${name} --help`],
  });
}

function report(
  error: unknown,
  { run, terminal, json }: { readonly run: Run; readonly terminal: Terminal; readonly json: boolean },
): number {
  const named = (error as { changeSet?: unknown } | null)?.changeSet;
  const failure = failureOf(error, typeof named === "string" ? { ...run.context, changeSet: named } : run.context);
  const paint = run.cli?.paint ?? painter(terminal.colors);
  terminal.err(
    json ? `${JSON.stringify(failureDocument(failure), null, 2)}\n` : `${failureText(paint, failure).text}\n`,
  );
  if ((terminal.env["COUNTERSIGN_DEBUG"] ?? "") !== "" && error instanceof Error)
    terminal.err(`${error.stack ?? ""}\n`);
  return failure.exitCode;
}

/** The program itself; tests import `runCli`. */
export async function main(): Promise<void> {
  endOnSignals();
  process.exitCode = await runCli(process.argv.slice(2), processTerminal());
}

/**
 * A signal that no command answers ends the process in order, not at once: a PostgreSQL that was begun for the command has a session
 * of its own, does not hear of it, and would go on for ever.
 */
function endOnSignals(): void {
  const end = (name: "SIGINT" | "SIGTERM", code: number): void => {
    process.on(name, () => {
      if (process.listenerCount(name) === 1) process.exit(code);
    });
  };
  end("SIGINT", 130);
  end("SIGTERM", 143);
}
