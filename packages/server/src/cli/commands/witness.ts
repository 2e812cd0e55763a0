/** `countersign witness …`: a program of its own, for a machine out of reach of those whose ledgers it watches. */
import { readFileSync } from "node:fs";
import { fingerprintOf, parseVerifierKey, spacedFingerprint } from "@countersign/proof";
import type { Command } from "commander";
import { isIP } from "node:net";
import { openLog, systemClock } from "../../platform/index.js";
import { addLog, followStatements, initWitness, openWitness, runWitness } from "../../witness/index.js";
import { next, type Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { CliError } from "../exit.js";
import { table } from "../table.js";
import { counted, empty, lines, show } from "../text.js";
import { moment } from "../when.js";
import { wholeNumber } from "./changeSet.js";

interface WitnessOptions {
  readonly dir?: string;
}

function directoryOf(cli: Cli, options: WitnessOptions): string {
  return options.dir === undefined ? `${cli.dataDirectory}-witness` : cli.path(options.dir);
}

const dirOption = [
  "--dir <folder>",
  "folder of its key and memory; the data folder's name with `-witness` when left out",
] as const;

export function witnessCommands(set: CommandSet, root: Command): void {
  const group = set.group(root, "witness", "cosign other people's ledgers, on a machine that they cannot reach");
  initCommand(set, group);
  addLogCommand(set, group);
  runCommand(set, group);
  listCommand(set, group);
}

function initCommand(set: CommandSet, group: Command): void {
  const command = set
    .add(group, "init", "make a witness: its key and its memory", [
      "countersign witness init --name witness.example.org/w1",
    ])
    .requiredOption("--name <name>", "the witness's name in its signatures, best its address; it can never be changed")
    .option(...dirOption);
  set.does<WitnessOptions & { readonly name: string }>(command, async (cli, options) => {
    const made = await initWitness({ directory: directoryOf(cli, options), name: options.name });
    await cli.answer(made, () =>
      lines(
        show`${cli.paint.green("made")} the witness ${cli.paint.bold(made.name)} in ${made.directory}`,
        empty,
        show`Its verifier key, for the logs it cosigns and for auditors:`,
        show`  ${cli.paint.bold(made.vkey)}`,
        empty,
        next(cli.paint, [
          [
            `countersign witness add-log VKEY${where(options)}`,
            "the key of a log, which `countersign keys list` prints on its server",
          ],
          [`countersign witness run${where(options)}`, "answer its requests"],
        ]),
      ),
    );
  });
}

/** For the commands that come next: the folder, where it is not the usual one. */
function where({ dir }: WitnessOptions): string {
  return dir === undefined ? "" : ` --dir ${dir}`;
}

function addLogCommand(set: CommandSet, group: Command): void {
  const command = set
    .add(group, "add-log [vkey]", "cosign for a log: a deployment with all of its tenants, or one origin", [
      "countersign witness add-log example.org/ledger+90b3a1c2+AQ…",
      "countersign witness add-log --statements statements   after a rotation: follow the log's signed key statements",
    ])
    .option(
      "--statements <file>",
      "the log's key statements; its new keys are trusted if they descend from a key added before",
    )
    .option(...dirOption);
  set.does<WitnessOptions & { readonly statements?: string }>(command, async (cli, options, vkey) => {
    const directory = directoryOf(cli, options);
    if ((vkey === "" || vkey === undefined) === (options.statements === undefined))
      throw new CliError("usage", "give a verifier key, or `--statements FILE`");
    await openWitness({ directory, clock: systemClock });
    const log =
      options.statements === undefined
        ? await addLog(directory, vkey ?? "")
        : await followStatements(directory, readStatements(cli.path(options.statements)));
    await cli.answer(log, () =>
      lines(
        show`${cli.paint.green("known")}: ${cli.paint.bold(log.name)} and all origins below it`,
        show`  ${counted(log.trusted.length, "trusted key", "trusted keys")}${log.revoked.length === 0 ? "" : `, ${log.revoked.length} revoked`}`,
      ),
    );
  });
}

function readStatements(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (cause) {
    throw new CliError("file_unreadable", `\`${path}\` cannot be read`, { cause });
  }
}

interface RunOptions extends WitnessOptions {
  readonly host?: string;
  readonly port?: string;
}

function runCommand(set: CommandSet, group: Command): void {
  const command = set
    .add(group, "run", "answer requests in the foreground, over plain HTTP; use a proxy for TLS", [
      "countersign witness run",
      "countersign witness run --host 0.0.0.0 --port 7118",
    ])
    .option("--host <address>", "address to listen on", "127.0.0.1")
    .option("--port <port>", "port to listen on; 0 lets the system choose", "7118")
    .option(...dirOption);
  set.does<RunOptions>(command, async (cli, options) => {
    const host = options.host ?? "127.0.0.1";
    if (isIP(host) === 0 && host !== "localhost") throw new CliError("usage", `\`${host}\` is no address`);
    const port = wholeNumber(options.port ?? "7118", "--port");
    if (port > 65_535) throw new CliError("usage", `\`${port}\` is no port; write a number from 0 to 65535`);
    const log = openLog({ level: "info" });
    const witness = await openWitness({ directory: directoryOf(cli, options), clock: systemClock });
    const running = await runWitness({ witness, host, port, report: (event, details) => log.error(details, event) });
    const stopped = stopSignal();
    await cli.answer({ url: running.url, name: witness.name, vkey: witness.vkey }, () =>
      lines(
        show`the witness ${cli.paint.bold(witness.name)} listens on ${cli.paint.bold(running.url)}`,
        show`  ${witness.vkey}`,
        cli.paint.dim("Ctrl-C stops it."),
      ),
    );
    await stopped;
    await running.close();
  });
}

function stopSignal(): Promise<void> {
  return new Promise((resolve) => {
    for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => resolve());
  });
}

function listCommand(set: CommandSet, group: Command): void {
  const command = set
    .add(group, "list", "the witness's key, its logs, and the checkpoint it cosigned last for each")
    .option(...dirOption);
  set.does<WitnessOptions>(command, async (cli, options) => {
    const witness = await openWitness({ directory: directoryOf(cli, options), clock: systemClock });
    const [logs, cosigned] = [await witness.logs(), await witness.cosigned()];
    const { name, vkey, directory } = witness;
    const key = parseVerifierKey(vkey);
    const fingerprint = key === undefined ? undefined : fingerprintOf(key.publicKey);
    const rows = cosigned.map((one) => ({ ...one, at: new Date(one.atSeconds * 1_000).toISOString() }));
    await cli.answer({ name, vkey, directory, logs, cosigned: rows }, () =>
      lines(
        show`${cli.paint.bold(name)}  ${vkey}`,
        fingerprint !== undefined && show`fingerprint  ${spacedFingerprint(fingerprint)}`,
        empty,
        table(
          cli.paint,
          logs,
          [
            { head: "log", cell: (log) => log.name },
            { head: "trusted keys", cell: (log) => String(log.trusted.length), right: true },
            { head: "revoked", cell: (log) => String(log.revoked.length), right: true },
          ],
          "no logs; add one with `countersign witness add-log VKEY`",
        ),
        empty,
        table(
          cli.paint,
          rows,
          [
            { head: "origin", cell: (row) => row.origin },
            { head: "size", cell: (row) => String(row.size), right: true },
            { head: "cosigned", cell: (row) => moment(row.at) },
          ],
          "nothing cosigned yet",
        ),
      ),
    );
  });
}
