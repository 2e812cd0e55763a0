/** `audit erase | hold | release | holds | prune | archives`: erasing texts, holding and pruning. */
import type { ArchiveView, ErasureReport, LegalHoldView, PruningPreview } from "@countersign/contract";
import type { Command } from "commander";
import type { Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { CliError } from "../exit.js";
import { proven } from "../signing.js";
import { facts, table } from "../table.js";
import { empty, indent, lines, show, type Shown } from "../text.js";
import { moment, pointInTime } from "../when.js";
import { wholeNumber } from "./changeSet.js";

export function retentionCommands(set: CommandSet, group: Command): void {
  eraseCommand(set, group);
  holdCommands(set, group);
  pruneCommand(set, group);
  archivesCommand(set, group);
}

interface EraseOptions {
  readonly subject: string;
  readonly reason?: string;
  readonly policy?: string;
  readonly dryRun?: boolean;
}

function eraseCommand(set: CommandSet, group: Command): void {
  const command = set
    .add(
      group,
      "erase",
      "erase the texts of a finished change-set or a suspended principal; hashes and signatures stay",
      [
        "countersign audit erase --subject change_set:CS-2026-1120-001 --dry-run",
        "countersign audit erase --subject change_set:CS-2026-1120-001 --policy gdpr-art-17 --reason 'request of 3 November'",
        "countersign audit erase --subject principal:bob --policy gdpr-art-17 --reason 'left the company'",
      ],
    )
    .requiredOption("--subject <type:name>", "`change_set:CS-…` or `principal:NAME`; ids will do")
    .option("--reason <text>", "the reason; it is recorded, and stays")
    .option("--policy <name>", "the rule that requires it; it is recorded, and stays")
    .option("--dry-run", "only show which texts would go, and which would stay");
  set.does<EraseOptions>(command, async (cli, options) => {
    const { subject, reason, policy } = options;
    const foreseen = await cli.client.previewErasure({ subject });
    if (options.dryRun === true) return cli.answer(foreseen, () => erasureText(cli, foreseen, "would be erased"));
    if (reason === undefined || policy === undefined)
      throw new CliError("usage", "`--reason` and `--policy` are needed: both are recorded", {
        help: ["countersign audit erase --help"],
      });
    cli.note(erasureText(cli, foreseen, "will be erased"));
    await cli.sure(show`Erase it? Nothing brings it back`);
    const done = await cli.client.eraseSubject(
      await proven(cli, "eraseSubject", { subject, reason, policy }, "erase it"),
    );
    await cli.answer(done, () =>
      lines(
        erasureText(cli, { ...done, subject: { ...done.subject, label: foreseen.subject.label } }, "erased"),
        done.receipts.length > 0 && show`recorded as entry ${done.receipts[0]?.seq ?? ""}`,
        !done.finished &&
          show`nobody can read it any more; its bytes are removed once nothing is being applied, within minutes`,
      ),
    );
  });
}

function erasureText(cli: Cli, report: ErasureReport, verb: string): Shown {
  const { paint } = cli;
  const { type, id, label } = report.subject;
  const name = show`${type} ${paint.bold(label ?? id)}`;
  if (report.alreadyBy !== null && report.erased.length === 0)
    return show`${name} was erased before, by entry ${report.alreadyBy}; nothing is left to take away`;
  const parts = report.erased.map((part) => show`${part.count} ${part.what} ${paint.dim(`(${part.module})`)}`);
  const keys =
    report.keys === 0 ? [] : [show`${report.keys} ${report.keys === 1 ? "key" : "keys"} its texts were sealed with`];
  const stays = report.notReached.map((text) => show`${text}`);
  return lines(
    show`${name}: ${verb}`,
    [...parts, ...keys].map((line) => indent(line)),
    stays.length > 0 && verb !== "erased" && show`${paint.yellow("Not reached:")}`,
    verb === "erased" ? [] : stays.map((line) => indent(line)),
  );
}

function holdCommands(set: CommandSet, group: Command): void {
  const place = set
    .add(group, "hold", "place a legal hold: its subject is neither erased nor pruned", [
      "countersign audit hold --subject change_set:CS-2026-1120-001 --reason 'case 12/2026'",
      "countersign audit hold --all --reason 'audit of the year'",
    ])
    .option("--subject <type:name>", "`change_set:CS-…` or `principal:NAME`")
    .option("--all", "the whole tenant")
    .requiredOption("--reason <text>", "why");
  set.does<{ readonly subject?: string; readonly all?: boolean; readonly reason: string }>(
    place,
    async (cli, { subject, all, reason }) => {
      if ((subject === undefined) === (all !== true))
        throw new CliError("usage", "say either `--subject TYPE:NAME` or `--all`", {
          help: ["countersign audit hold --help"],
        });
      const done = await cli.client.placeLegalHold({ subject: subject ?? null, reason });
      await cli.answer(done, () => holdText(cli, done.hold));
    },
  );
  const release = set
    .add(group, "release <hold>", "end a legal hold, with your signing key", [
      "countersign audit release 0199c000-0000-7000-8000-000000000001 --reason 'case closed'",
    ])
    .requiredOption("--reason <text>", "why");
  set.does<{ readonly reason: string }>(release, async (cli, { reason }, id) => {
    const done = await cli.client.releaseLegalHold(
      await proven(cli, "releaseLegalHold", { id: id ?? "", reason }, "release the legal hold"),
    );
    await cli.answer(done, () => holdText(cli, done.hold));
  });
  const list = set.add(group, "holds", "legal holds in force").option("--released", "released ones too");
  set.does<{ readonly released?: boolean }>(list, async (cli, { released }) => {
    const answer = await cli.client.listLegalHolds({ released: released === true ? "true" : "false" });
    await cli.answer(answer, () =>
      table(
        cli.paint,
        answer.rows,
        [
          { head: "id", cell: (row) => row.id },
          { head: "holds", cell: (row) => heldThing(row) },
          { head: "status", cell: (row) => row.status },
          { head: "by", cell: (row) => row.placedBy.name },
          { head: "since", cell: (row) => moment(row.placedAt) },
          { head: "reason", cell: (row) => row.reason },
        ],
        "no legal hold",
      ),
    );
  });
}

const heldThing = ({ subject }: LegalHoldView): string =>
  subject === null ? "everything" : `${subject.type}:${subject.label ?? subject.id}`;

function holdText(cli: Cli, hold: LegalHoldView): Shown {
  return facts(cli.paint, [
    ["hold", hold.id],
    ["holds", heldThing(hold)],
    ["status", hold.status],
    ["reason", hold.reason],
    ["placed", show`${moment(hold.placedAt)} by ${hold.placedBy.name}`],
    [
      "released",
      hold.releasedAt === null
        ? undefined
        : show`${moment(hold.releasedAt)} by ${hold.releasedBy?.name ?? "?"}: ${hold.releaseReason ?? ""}`,
    ],
  ]);
}

interface PruneOptions {
  readonly before?: string;
  readonly upTo?: string;
  readonly archive?: string;
  readonly dryRun?: boolean;
}

function pruneCommand(set: CommandSet, group: Command): void {
  const command = set
    .add(
      group,
      "prune",
      "archive old entries, verify the archive, then empty the entries; hashes stay, and with them every proof",
      [
        "countersign audit prune --before 365d --dry-run",
        "countersign audit prune --before 2026-01-01 --archive ledger-2025.bundle",
        "countersign audit prune --up-to 100000 --archive first.bundle",
      ],
    )
    .option("--before <when>", "entries before this time: `365d`, `2026-01-01` or RFC 3339")
    .option("--up-to <seq>", "entries before this one")
    .option("--archive <file>", "file below the server's archive directory (COUNTERSIGN_ARCHIVES)")
    .option("--dry-run", "only say what would go");
  set.does<PruneOptions>(command, async (cli, options) => {
    if ((options.before === undefined) === (options.upTo === undefined))
      throw new CliError("usage", "say either `--before WHEN` or `--up-to SEQ`", {
        help: ["countersign audit prune --help"],
      });
    const range =
      options.before === undefined
        ? { upTo: wholeNumber(options.upTo ?? "", "--up-to") }
        : { before: pointInTime(options.before, "--before", cli.terminal.nowMs()) };
    const foreseen = await cli.client.previewPruning(range);
    if (options.dryRun === true) return cli.answer(foreseen, () => pruningText(cli, foreseen));
    const { archive } = options;
    if (archive === undefined)
      throw new CliError("usage", "`--archive FILE` is needed: only archived entries are emptied", {
        help: ["countersign audit prune --help"],
      });
    cli.note(pruningText(cli, foreseen));
    await cli.sure(show`Archive and empty these entries?`);
    // Exactly the shown entries are pruned, even if they were chosen by time.
    const done = await cli.client.pruneLedger(
      await proven(cli, "pruneLedger", { upTo: foreseen.upTo, archive }, "prune the ledger"),
    );
    await cli.answer(done, () =>
      lines(
        archiveText(cli, done.archive),
        empty,
        show`Keep the archive: nothing else has the removed contents. To compare it with the ledger:`,
        show`  ${cli.paint.cyan(`countersign audit verify --archive ${done.archive.file ?? "FILE"}`)}`,
      ),
    );
  });
}

function pruningText(cli: Cli, plan: PruningPreview): Shown {
  return facts(cli.paint, [
    ["archived", show`entries ${plan.from} to ${plan.upTo - 1}`],
    ["emptied", show`${plan.emptied} entries, ${plan.bodies} texts`],
    [
      "kept",
      show`${plan.kept} entries: keys, the newest entry about each row, unfinished and held subjects (${plan.keptSubjects})`,
    ],
    ["checkpoint", plan.checkpoint === null ? "none is configured" : show`covers ${plan.checkpoint} entries`],
  ]);
}

function archiveText(cli: Cli, archive: ArchiveView): Shown {
  return facts(cli.paint, [
    ["archive", archive.file ?? "no longer where it was written"],
    ["sha-256", archive.sha256],
    ["entries", show`${archive.from} to ${archive.upTo - 1}, ${archive.bytes} bytes`],
    ["emptied", show`${archive.emptied}, kept ${archive.kept}${archive.done ? "" : " (under way)"}`],
    ["recorded", show`as entry ${archive.seq}, ${moment(archive.at)}`],
  ]);
}

function archivesCommand(set: CommandSet, group: Command): void {
  const list = set.add(group, "archives", "prunings, and the archives that hold the removed contents");
  set.does(list, async (cli) => {
    const answer = await cli.client.listArchives({});
    await cli.answer(answer, () =>
      table(
        cli.paint,
        answer.rows,
        [
          { head: "entry", cell: (row) => row.seq, right: true },
          { head: "at", cell: (row) => moment(row.at) },
          { head: "archived", cell: (row) => show`${row.from} to ${row.upTo - 1}` },
          { head: "emptied", cell: (row) => row.emptied, right: true },
          { head: "sha-256", cell: (row) => row.sha256 },
          { head: "file", cell: (row) => row.file ?? "moved or gone" },
        ],
        "nothing was pruned",
      ),
    );
  });
}
