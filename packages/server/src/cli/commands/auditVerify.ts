/** `audit verify`: verifies the database on this machine, a bundle, or the ledger through the server. */
import { createReadStream, existsSync } from "node:fs";
import { open } from "node:fs/promises";
import { setTimeout as pause } from "node:timers/promises";
import type { VerifyReport } from "@countersign/contract";
import { exitCodeOf, verifyBundle } from "@countersign/proof";
import { loadTrust, readKeyStatements, readPolicyFile } from "@countersign/proof/load";
import type { Command } from "commander";
import { verifyView } from "../../ops/index.js";
import type { Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { CliError, exit, type ExitCode } from "../exit.js";
import { exitOf, progress, reportText } from "../render/report.js";
import { lines, show } from "../text.js";
import { wholeNumber } from "./changeSet.js";
import { verifyArchiveLocally, verifyLocally } from "./offline.js";

interface VerifyOptions {
  readonly tenant?: string;
  readonly from?: string;
  readonly to?: string;
  readonly policy?: string;
  readonly keys?: string;
  readonly requireAnchored?: boolean;
  readonly sinceAnchor?: boolean;
  readonly asOf?: string;
  readonly bodies?: boolean;
  readonly archive?: string;
  readonly remote?: boolean;
  readonly full?: boolean;
}

export function auditVerify(set: CommandSet, group: Command): void {
  const command = set
    .add(
      group,
      "verify [bundle]",
      "verify the ledger: in the database on this machine, in a bundle, or through the server",
      [
        "countersign audit verify                                  reads the database itself; works with the server away",
        "countersign audit verify --policy auditor.policy          also whether it is whole, by your own keys and anchors",
        "countersign audit verify --policy auditor.policy --since-anchor    only the entries after the last anchor",
        "countersign audit verify ledger.bundle                    needs nothing but the file",
        "countersign audit verify --remote --full                  asks the server; the verdict is the server's own",
      ],
    )
    .option(
      "--policy <file>",
      "your keys and anchors, and the quorum you demand; without it no completeness is demanded (docs/auditors.md)",
    )
    .option("--require-anchored", "the policy's quorum must cover the last entry")
    .option("--keys <file>", "key statements that you kept")
    .option("--since-anchor", "read only the entries after the largest size that the policy's anchors confirm")
    .option(
      "--as-of <size|checkpoint>",
      "verify the ledger at an earlier size: a number of entries, or a checkpoint's file, whose root it must have",
    )
    .option("--bodies", "open every text and check it too; slower")
    .option(
      "--archive <file>",
      "check an archive of `audit prune`: it must be the one the ledger names, entry for entry",
    )
    .option("--tenant <id>", "only this tenant; all tenants when left out")
    .option("--from <seq>", "begin with this entry; earlier entries are not verified")
    .option("--to <seq>", "end with this entry")
    .option("--remote", "let the server verify your tenant")
    .option("--full", "with --remote: everything, not only what came since the server's last check")
    .addHelpText(
      "after",
      "\nExit codes: 0 whole, 1 tampered, 2 completeness demanded and not shown, 3 could not decide (database away), 4 malformed, 64 usage.",
    );
  set.does<VerifyOptions>(command, async (cli, options, bundle) => {
    for (const file of [options.policy, options.keys, isSize(options.asOf) ? undefined : options.asOf])
      if (file !== undefined && !existsSync(cli.path(file)))
        throw new CliError("file_unreadable", `cannot read \`${file}\`: there is no such file`);
    if (options.archive !== undefined) return verifyArchiveLocally(cli, options.archive, options.tenant);
    const range = rangeOf(options);
    if (bundle !== "" && (options.asOf ?? options.sinceAnchor ?? options.from ?? options.to) !== undefined)
      throw new CliError(
        "usage",
        "a bundle is verified whole: `--as-of`, `--since-anchor`, `--from` and `--to` are for the database",
      );
    if (bundle !== "") return verifyFile(cli, bundle, options);
    if (options.remote === true) return verifyRemotely(cli, range.from, options.full === true);
    const { policy, keys, asOf, requireAnchored, sinceAnchor, tenant, bodies } = options;
    return verifyLocally(cli, {
      ...range,
      ...{ requireAnchored, sinceAnchor, tenant, bodies },
      policy: policy === undefined ? undefined : cli.path(policy),
      keys: keys === undefined ? undefined : cli.path(keys),
      asOf: asOf === undefined || isSize(asOf) ? asOf : cli.path(asOf),
    });
  });
}

function isSize(asOf: string | undefined): boolean {
  return /^\d+$/.test(asOf ?? "");
}

/** Contradicting options are refused before anything is opened. */
function rangeOf({ from, to, sinceAnchor, asOf, remote, full, policy, keys, requireAnchored }: VerifyOptions): {
  from?: number;
  to?: number;
} {
  const begin = from !== undefined || to !== undefined;
  if (sinceAnchor === true && begin)
    throw new CliError("usage", "`--since-anchor` chooses where to begin; leave out `--from` and `--to`");
  if (asOf !== undefined && to !== undefined) throw new CliError("usage", "`--as-of` and `--to` both say where to end");
  if (full === true && remote !== true)
    throw new CliError("usage", "`--full` belongs to `--remote`; without it everything is verified anyway");
  if (remote === true && [policy, keys, requireAnchored, sinceAnchor, asOf, to].some((given) => given !== undefined))
    throw new CliError(
      "usage",
      "`--remote` is the server's own word: policy, keys, anchors, `--as-of` and `--to` are for a bundle or the database on this machine",
      { help: ["countersign audit export -o ledger.bundle", "countersign audit verify ledger.bundle --policy FILE"] },
    );
  const range = {
    ...(from === undefined ? {} : { from: wholeNumber(from, "--from") }),
    ...(to === undefined ? {} : { to: wholeNumber(to, "--to") }),
  };
  if ((range.from ?? 0) > (range.to ?? Infinity))
    throw new CliError("usage", "`--from` is behind `--to`: there is nothing between them");
  return range;
}

async function verifyRemotely(cli: Cli, from: number | undefined, full: boolean): Promise<ExitCode> {
  const answer = await cli.client.verifyChain({
    ...(from === undefined ? {} : { from }),
    full: full ? "true" : "false",
  });
  const report = answer.kind === "report" ? answer : await followed(cli, answer.verification.id);
  if (report === null) {
    await cli.answer(
      { integrity: "undecided" },
      () => show`the server gave the verification up; run the command again`,
    );
    return exit.unreachable;
  }
  await cli.answer(report, () =>
    lines(
      reportText(cli, report),
      cli.paint.dim(
        "this is the server's verdict; for your own: `countersign audit export -o FILE`, then `audit verify FILE`",
      ),
    ),
  );
  return exitOf(report);
}

const askAgainMs = 500;

/** Until the server has done it; with how far it is, where somebody watches. */
async function followed(cli: Cli, id: string): Promise<VerifyReport | null> {
  const watched = cli.terminal.interactive && !cli.json;
  for (;;) {
    const now = await cli.client.getVerification({ id });
    if (now.state === "done") return now.report;
    if (now.state === "abandoned") return null;
    const { step = now.state, entries = 0, of = null, entriesPerSecond = 0 } = now.progress ?? {};
    if (watched)
      cli.terminal.err(`\r${step}: ${entries}${of === null ? "" : ` of ${of}`} entries, ${entriesPerSecond}/s `);
    await pause(askAgainMs);
  }
}

async function verifyFile(cli: Cli, bundle: string, options: VerifyOptions): Promise<ExitCode> {
  const { tenant, policy, keys, requireAnchored } = options;
  const path = cli.path(bundle);
  const file = await open(path).catch((cause: Error) => {
    throw new CliError("file_unreadable", `cannot read \`${bundle}\`: ${cause.message}`, { cause });
  });
  await file.close();
  const [policyPath, keysPath] = [policy, keys].map((given) => (given === undefined ? undefined : cli.path(given)));
  const keyStatements = keysPath === undefined ? [] : given(keysPath, () => readKeyStatements(keysPath));
  if (policyPath !== undefined) given(policyPath, () => readPolicyFile(policyPath));
  const result = await verifyBundle(createReadStream(path, { highWaterMark: 1 << 20 }), {
    ...(tenant === undefined ? {} : { tenant }),
    trust: (ledger) =>
      loadTrust({ policyPath, ledger, keyStatements, ...(requireAnchored === undefined ? {} : { requireAnchored }) }),
    clock: () => performance.now(),
    onProgress: progress(cli),
  });
  const report = verifyView(result);
  await cli.answer({ ...report, header: result.header ?? null }, () => reportText(cli, report));
  return exitCodeOf(result) as ExitCode;
}

function given<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new CliError("file_malformed", why.includes(path) ? why : `\`${path}\`: ${why}`, { cause });
  }
}
