/** `countersign start`: the server in the foreground, until it is told to stop. */
import type { Command } from "commander";
import { openLog, parseConfig } from "../../platform/index.js";
import { next, type Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { CliError } from "../exit.js";
import { empty, lines, show, type Shown } from "../text.js";
import { moment } from "../when.js";
import { wholeNumber } from "./changeSet.js";

interface StartOptions {
  readonly port?: string;
  readonly host?: string;
  readonly data?: string;
  readonly human?: string;
}

interface Started {
  readonly url: string;
  readonly dataDirectory: string;
  readonly firstCode?: {
    readonly text: string;
    readonly expiresAt: string;
    readonly human: string;
    readonly file: string;
  };
}

export function startCommand(set: CommandSet, root: Command): void {
  const command = set
    .add(root, "start", "run the server in the foreground; without DATABASE_URL it brings its own PostgreSQL", [
      "countersign start",
      "countersign start --port 8080 --data ~/countersign-data",
      "DATABASE_URL=postgres://me@db/countersign countersign start",
    ])
    .option("--port <port>", "port to listen on; 0 lets the system choose (COUNTERSIGN_PORT)")
    .option("--host <address>", "address to listen on (COUNTERSIGN_HOST)")
    .option("--data <folder>", "folder of the database, keys and backups (COUNTERSIGN_DATA)")
    .option("--human <name>", "name of the first human, at the first start; your user name when left out");
  set.does<StartOptions>(command, async (cli, options) => {
    const config = parseConfig(cli.terminal.env);
    if (config.unknownVariables.length > 0)
      cli.note(cli.paint.yellow(show`unknown variables, ignored: ${config.unknownVariables.join(", ")}`));
    const port = options.port === undefined ? config.port : portOf(options.port);
    const dataDirectory = options.data === undefined ? cli.dataDirectory : cli.path(options.data);
    // Loaded when asked for: the other commands start in a fraction of a second.
    const { startServer } = await import("../../server.js");
    const {
      databaseUrl,
      applicationDatabaseUrl,
      sealingKeys,
      workspaceRoots,
      archives,
      logKeys,
      anchors,
      anchorsRequired,
      selfCheckMinutes,
      metricsToken,
    } = config;
    const server = await startServer({
      dataDirectory,
      host: options.host ?? config.host,
      port,
      log: openLog({ level: quietly(cli) ? "warn" : config.logLevel }),
      ...(databaseUrl === undefined ? {} : { databaseUrl }),
      ...(applicationDatabaseUrl === undefined ? {} : { applicationDatabaseUrl }),
      ...(sealingKeys === undefined ? {} : { sealingKeys }),
      ...(workspaceRoots === undefined ? {} : { workspaceRoots }),
      ...(archives === undefined ? {} : { archives }),
      ...(logKeys === undefined ? {} : { logKeys }),
      ...(anchors === undefined ? {} : { anchors }),
      anchorsRequired,
      selfCheckMinutes,
      ...(metricsToken === undefined ? {} : { metricsToken }),
      ...(options.human === undefined ? {} : { firstHuman: options.human }),
    });
    const signal = stopSignal();
    const { url, firstCode } = server;
    await cli.answer(
      { url, dataDirectory: server.dataDirectory, firstEnrolmentCodeFile: firstCode?.file ?? null },
      () => startedText(cli, server),
    );
    cli.note(
      cli.paint.dim(
        show`${await signal}: letting requests finish and applications reach a safe point; again: stop at once`,
      ),
    );
    await server.close();
  });
}

function portOf(text: string): number {
  const port = wholeNumber(text, "--port");
  if (port > 65_535) throw new CliError("usage", `\`${text}\` is no port; write a number from 0 to 65535`);
  return port;
}

/** At a terminal people read the lines below; the log of each request would bury them. COUNTERSIGN_LOG says otherwise. */
function quietly(cli: Cli): boolean {
  return cli.terminal.interactive && (cli.terminal.env["COUNTERSIGN_LOG"] ?? "") === "";
}

function startedText(cli: Cli, server: Started): Shown {
  const { paint } = cli;
  const { firstCode } = server;
  const elsewhere = server.dataDirectory === cli.dataDirectory ? "" : `COUNTERSIGN_DATA=${server.dataDirectory} `;
  return lines(
    show`${paint.green("countersign")} listens on ${paint.bold(server.url)}, data in ${server.dataDirectory}`,
    ...(firstCode === undefined
      ? []
      : [
          empty,
          show`Nobody has signed in yet. One-time code of ${paint.bold(firstCode.human)}, good until ${moment(firstCode.expiresAt)}:`,
          show`  ${paint.bold(firstCode.text)}   ${paint.dim(`(also in ${firstCode.file})`)}`,
        ]),
    empty,
    next(paint, [
      [
        `${elsewhere}countersign init`,
        firstCode === undefined
          ? "in a repository, in another terminal"
          : "in a repository, in another terminal on this machine: it finds the code",
      ],
      [`${elsewhere}countersign status`, "how things stand"],
    ]),
    empty,
    paint.dim("Ctrl-C stops it."),
  );
}

/** The first SIGINT or SIGTERM; a second one ends the process at once: the next start recovers. */
function stopSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ["SIGINT", "SIGTERM"] as const) {
      process.once(name, () => {
        process.once(name, () => process.exit(130));
        resolve(name);
      });
    }
  });
}
