/** `audit prove` and `audit policy`: a receipt for one entry, and the policy file that an auditor needs to judge it. */
import { writeFile } from "node:fs/promises";
import type { AuditPolicy, EntryProof } from "@countersign/contract";
import type { Command } from "commander";
import type { Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { CliError } from "../exit.js";
import { facts } from "../table.js";
import { counted, empty, lines, show, type Shown } from "../text.js";
import { moment } from "../when.js";
import { free } from "./auditExport.js";

interface ProveOptions {
  readonly out?: string;
  readonly withContent?: boolean;
  readonly force?: boolean;
}

export function auditProve(set: CommandSet, group: Command): void {
  const command = set
    .add(group, "prove <entry>", "a receipt: a file that shows that an entry is in the ledger", [
      "countersign audit prove 4711 --out entry.tlog-proof",
      "countersign audit prove 4711 --out entry.tlog-proof --with-content     the entry itself beside it",
      "countersign-verify entry.tlog-proof --policy my-policy --content entry.tlog-proof.content",
    ])
    .option("-o, --out <file>", "file to write; the standard output when left out")
    .option("--with-content", "with --out: the entry's exact text too, in FILE.content")
    .option("--force", "overwrite the files")
    .addHelpText(
      "after",
      "\nName the entry by its sequence number or its id, as receipts and `audit log` show them. A receipt (C2SP tlog-proof) proves that the entry is under a signed checkpoint. It has the signatures of witnesses, and the statements that rotated the log's key, so a policy that pins an earlier key still verifies it. It needs neither server nor database.",
    );
  set.does<ProveOptions>(command, prove);
}

async function prove(cli: Cli, options: ProveOptions, entry: string): Promise<void> {
  if (options.withContent === true && options.out === undefined)
    throw new CliError("usage", "`--with-content` needs `--out FILE`: the text is written beside the receipt");
  const receipt = await cli.client.proveEntry({ entry, content: options.withContent === true });
  if (options.out === undefined) {
    await (cli.json ? cli.answer(receipt, () => empty) : cli.terminal.out(receipt.proof));
    return;
  }
  const files = [await written(cli, options.out, receipt.proof, options.force)];
  if (receipt.content !== null)
    files.push(await written(cli, `${options.out}.content`, receipt.content, options.force));
  await cli.answer({ ...receipt, files }, () => receiptText(cli, receipt, options));
}

async function written(cli: Cli, shown: string, text: string, force?: boolean): Promise<string> {
  const path = cli.path(shown);
  await free(path, shown, force === true);
  await writeFile(path, text, { mode: 0o600 }).catch((cause: Error) => {
    throw new CliError("file_unreadable", `cannot write \`${shown}\`: ${cause.message}`, { cause });
  });
  return path;
}

function receiptText({ paint }: Cli, receipt: EntryProof, { out = "", withContent }: ProveOptions): Shown {
  const confirmed =
    receipt.anchors.length === 0 ? "no anchor has confirmed it yet" : `confirmed by ${receipt.anchors.join(", ")}`;
  return lines(
    show`wrote ${out}: entry ${receipt.seq} is in the ledger of ${receipt.size} entries`,
    facts(paint, [
      ["log", receipt.origin],
      ["at", moment(receipt.at)],
      ["hash", paint.dim(receipt.hash)],
      [
        "checkpoint",
        show`${counted(receipt.size, "entry", "entries")}, ${counted(receipt.cosignatures, "cosignature", "cosignatures")} ${paint.dim(confirmed)}`,
      ],
      ["keys", keysTold(receipt)],
      [
        "content",
        withContent !== true
          ? undefined
          : receipt.content === null
            ? paint.yellow("erased; its SHA-256 stays")
            : `${out}.content`,
      ],
    ]),
    empty,
    show`Anybody verifies it with: ${paint.cyan(`countersign-verify ${out} --policy FILE${receipt.content === null ? "" : ` --content ${out}.content`}`)}`,
  );
}

/** Nothing to say of a log that has its first key. */
function keysTold({ keyStatements }: EntryProof): string | undefined {
  if (keyStatements === 0) return undefined;
  if (keyStatements === null)
    return "too many statements to fit: judging it by an earlier key needs them with `--keys FILE`";
  return `${keyStatements} statements: an auditor who pinned an earlier key can verify it`;
}

interface PolicyOptions {
  readonly anchors?: boolean;
  readonly out?: string;
  readonly force?: boolean;
}

export function auditPolicy(set: CommandSet, group: Command): void {
  const command = set
    .add(
      group,
      "policy",
      "a policy file for an auditor to begin with; its keys must be compared over another channel",
      [
        "countersign audit policy -o my-policy",
        "countersign audit policy --anchors                       with the places this server anchors to",
      ],
    )
    .option("--anchors", "with the file and git anchors of this server, which prove something only out of its reach")
    .option("-o, --out <file>", "file to write; the standard output when left out")
    .option("--force", "overwrite the file");
  set.does<PolicyOptions>(command, async (cli, options) => {
    const answer = await cli.client.getAuditPolicy({ anchors: options.anchors === true });
    if (options.out === undefined) {
      await (cli.json ? cli.answer(answer, () => empty) : cli.terminal.out(answer.policy));
      return;
    }
    const file = await written(cli, options.out, answer.policy, options.force);
    await cli.answer({ ...answer, file }, () => policyTold(cli, options.out ?? "", answer));
  });
}

function policyTold({ paint }: Cli, out: string, { keys }: AuditPolicy): Shown {
  return lines(
    show`wrote ${out}`,
    paint.yellow(
      "This policy is the word of the server that is to be verified. Compare the fingerprints with the keys' owners over another channel:",
    ),
    facts(
      paint,
      keys.map(({ kind, name, fingerprint }) => [`${kind} ${name}`, fingerprint]),
    ),
  );
}
