/** `audit export`: part of the ledger as a file with its proofs, or as lines and cells for people. */
import { createWriteStream } from "node:fs";
import { once } from "node:events";
import { open, rename, rm } from "node:fs/promises";
import type { EntryView } from "@countersign/contract";
import { parseCheckpoint } from "@countersign/proof";
import type { Input } from "@countersign/sdk";
import type { Command } from "commander";
import type { Cli } from "../cli.js";
import type { CommandSet } from "../define.js";
import { CliError, exit, type ExitCode } from "../exit.js";
import { csvHead, csvRow } from "../render/entries.js";
import { counted, empty, lines, show, type Shown } from "../text.js";
import { pointInTime } from "../when.js";
import { wholeNumber } from "./changeSet.js";

interface ExportOptions {
  readonly from?: string;
  readonly to?: string;
  readonly since?: string;
  readonly until?: string;
  readonly changeSet?: string;
  readonly actor?: string;
  readonly subject?: string;
  readonly format: string;
  readonly out?: string;
  readonly bodies?: boolean;
  readonly force?: boolean;
}

const formats = ["bundle", "jsonl", "csv"];

export function auditExport(set: CommandSet, group: Command): void {
  const command = set
    .add(group, "export", "part of the ledger as a bundle that verifies offline, or as JSON lines or CSV", [
      "countersign audit export -o ledger.bundle                              all of it",
      "countersign audit export --since 2026-03-01 --until 2026-04-01 -o march.bundle",
      "countersign audit export --change-set CS-2026-1120-001 -o story.bundle",
      "countersign audit export --actor checkout-bot --no-bodies -o actor.bundle",
      "countersign audit export --since 30d --format csv -o ledger.csv",
    ])
    .option("--from <seq>", "first entry; the ledger's first when left out")
    .option("--to <seq>", "last entry; the newest when left out")
    .option("--since <when>", "by time instead of --from: `30d`, `2026-03-01` or RFC 3339")
    .option("--until <when>", "by time instead of --to; exclusive")
    .option("--change-set <id>", "only this change-set, with the keys of its voters")
    .option("--actor <name>", "only the entries of this principal")
    .option("--subject <id>", "only the entries about this id (for a change-set: `--change-set`)")
    .option("--format <format>", "bundle, jsonl or csv; only a bundle proves anything", "bundle")
    .option("--no-bodies", "leave out the texts that people read; the rest still verifies")
    .option("-o, --out <file>", "file to write; the standard output when left out")
    .option("--force", "overwrite the file")
    .addHelpText(
      "after",
      "\nA range (--from, --to, --since, --until) is provably complete. A selection (--change-set, --actor,\n--subject) proves that its entries are in the ledger, and cannot prove that there are no others.",
    );
  set.does<ExportOptions>(command, exporting);
}

async function exporting(cli: Cli, options: ExportOptions): Promise<ExitCode> {
  if (!formats.includes(options.format))
    throw new CliError("usage", `\`--format ${options.format}\`: write ${formats.join(", ")}`);
  const source = cli.client.exportAudit(questionOf(cli, options));
  const written = options.format === "csv" ? csvOf(source) : source;
  if (options.out === undefined) {
    for await (const line of written) await cli.terminal.out(`${line}\n`);
    return exit.ok;
  }
  const seen = new Seen(options.format);
  const { bytes } = await writeWhole({
    path: cli.path(options.out),
    shown: options.out,
    source: seen.through(written),
    force: options.force === true,
  });
  const answer = { file: cli.path(options.out), format: options.format, bytes, ...seen.facts };
  await cli.answer(answer, () => told(cli, options.out ?? "", { ...answer, bytes }));
  return exit.ok;
}

function questionOf(cli: Cli, options: ExportOptions): Input<"exportAudit"> {
  const { nowMs } = cli.terminal;
  const number = (text: string | undefined, name: string) => (text === undefined ? undefined : wholeNumber(text, name));
  const time = (text: string | undefined, name: string) =>
    text === undefined ? undefined : pointInTime(text, name, nowMs());
  const { changeSet, actor, subject } = options;
  const [since, until] = [time(options.since, "--since"), time(options.until, "--until")];
  if (since !== undefined && until !== undefined && Date.parse(since) >= Date.parse(until))
    throw new CliError("usage", "`--since` is not before `--until`: there is nothing between them");
  const asked = {
    from: number(options.from, "--from"),
    to: number(options.to, "--to"),
    ...{ since, until },
    ...{ changeSet, actor, subject },
    bodies: options.bodies !== false,
    format: options.format === "bundle" ? ("bundle" as const) : ("jsonl" as const),
  };
  return Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined)) as Input<"exportAudit">;
}

/** Lines of JSON as lines of CSV, without their line feeds. */
async function* csvOf(source: AsyncIterable<string>): AsyncGenerator<string, void, undefined> {
  yield withoutEnd(csvHead());
  for await (const line of source) yield withoutEnd(csvRow(JSON.parse(line) as EntryView));
}

const withoutEnd = (line: string): string => line.replace(/\r?\n$/, "");

interface ProvenFacts {
  readonly entries: number;
  /** Largest checkpoint that it carries; null: nothing ties it to one. */
  readonly checkpoint: { readonly origin: string; readonly size: number; readonly cosignatures: number } | null;
  readonly to: number | null;
  readonly unproven: string | null;
}

/** Facts about the file, learned while it is written. Nothing else of it is kept. */
class Seen {
  readonly #format: string;
  #lines = 0;
  #proofLines = 0;
  #to: number | null = null;
  #unproven: string | null = null;
  #checkpoint: ProvenFacts["checkpoint"] = null;

  constructor(format: string) {
    this.#format = format;
  }

  async *through(source: AsyncIterable<string>): AsyncGenerator<string, void, undefined> {
    for await (const line of source) {
      if (this.#format === "bundle") this.#look(line);
      this.#lines += 1;
      yield line;
    }
  }

  #look(line: string): void {
    if (this.#lines === 0) {
      const { to, about } = JSON.parse(line) as { to?: number; about?: { unproven?: string } };
      this.#to = to ?? null;
      this.#unproven = about?.unproven ?? null;
    }
    // Proofs stand before all entries, and an entry begins with its content, which is canonical.
    if (!/^\{"(edge|keyStatement|checkpoint|consistency)":/.test(line)) return;
    this.#proofLines += 1;
    const note = (JSON.parse(line) as { checkpoint?: string }).checkpoint;
    const parsed = note === undefined ? undefined : parseCheckpoint(note);
    if (parsed?.ok !== true) return;
    const { origin, size, note: signed } = parsed.checkpoint;
    this.#checkpoint = { origin, size, cosignatures: signed.signatures.length - 1 };
  }

  get facts(): ProvenFacts {
    // Of a bundle the first line is the header, the last the digest; of CSV the first names the columns.
    const others = this.#format === "bundle" ? 2 + this.#proofLines : this.#format === "csv" ? 1 : 0;
    const entries = Math.max(0, this.#lines - others);
    return { entries, checkpoint: this.#checkpoint, to: this.#to, unproven: this.#unproven };
  }
}

function told(cli: Cli, file: string, seen: ProvenFacts & { readonly bytes: number; readonly format: string }): Shown {
  const { paint } = cli;
  const wrote = show`wrote ${counted(seen.entries, "entry", "entries")}, ${seen.bytes} bytes to ${file}`;
  if (seen.entries === 0) return lines(wrote, paint.yellow("no entry matches: there is nothing to verify"));
  if (seen.format !== "bundle") return lines(wrote, paint.dim("for reading; it proves nothing"));
  const { checkpoint, to, unproven } = seen;
  const behind = checkpoint !== null && to !== null ? to + 1 - checkpoint.size : 0;
  return lines(
    wrote,
    checkpoint === null
      ? paint.yellow(`without proofs: nothing of this ledger is published${unproven === null ? "" : ` (${unproven})`}`)
      : show`tied to the signed checkpoint of ${counted(checkpoint.size, "entry", "entries")}, ${counted(checkpoint.cosignatures, "cosignature", "cosignatures")}`,
    behind > 0 &&
      paint.yellow(
        `its last ${counted(behind, "entry is", "entries are")} covered by no checkpoint${unproven === null ? "" : ` (${unproven})`}`,
      ),
    empty,
    show`Anybody verifies it with: ${paint.cyan(`countersign-verify ${file} --policy FILE`)}`,
  );
}

/** Beside, then renamed: a file that broke off never looks like a whole one. */
async function writeWhole(given: {
  readonly path: string;
  readonly shown: string;
  readonly source: AsyncIterable<string>;
  readonly force: boolean;
}): Promise<{ bytes: number }> {
  const { path, shown } = given;
  await free(path, shown, given.force);
  const draft = `${path}.${process.pid}.part`;
  const file = createWriteStream(draft, { mode: 0o600, flush: true });
  let bytes = 0;
  try {
    await once(file, "open").catch((cause: Error) => {
      throw new CliError("file_unreadable", `cannot write \`${shown}\`: ${cause.message}`, { cause });
    });
    for await (const line of given.source) {
      const text = `${line}\n`;
      bytes += Buffer.byteLength(text);
      if (!file.write(text)) await once(file, "drain");
    }
    file.end();
    await once(file, "close");
    await rename(draft, path);
    return { bytes };
  } catch (error) {
    file.destroy();
    await rm(draft, { force: true });
    throw error;
  }
}

/** Throws where a file is there that must not be overwritten. */
export async function free(path: string, shown: string, force: boolean): Promise<void> {
  if (force) return;
  const there = await open(path).catch(() => undefined);
  await there?.close();
  if (there !== undefined) throw new CliError("file_exists", `\`${shown}\` exists; \`--force\` overwrites it`);
}
