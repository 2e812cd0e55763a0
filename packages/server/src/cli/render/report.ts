/** Verdicts of the verifier, wherever it ran, for people and for machines. */
import type { VerifyReport } from "@countersign/contract";
import type { Cli } from "../cli.js";
import { exit, type ExitCode } from "../exit.js";
import { facts } from "../table.js";
import { block, lines, show, type Shown } from "../text.js";

export function exitOf(report: VerifyReport): ExitCode {
  if (report.integrity === "tampered") return exit.refused;
  if (report.findings.some((finding) => finding.class === "MALFORMED")) return exit.malformed;
  if (report.integrity !== "ok") return exit.unreachable;
  return report.completeness.status === "not_shown" ? exit.incomplete : exit.ok;
}

export function reportText(cli: Cli, report: VerifyReport): Shown {
  const { paint } = cli;
  const verdict = { ok: paint.green("ok"), tampered: paint.red("TAMPERED"), undecided: paint.yellow("undecided") }[
    report.integrity
  ];
  const findings = report.findings
    .slice(0, 20)
    .map(
      (finding) =>
        show`  ${paint.red(finding.class)}${finding.seq === null ? "" : ` at entry ${finding.seq}`}${finding.table === null ? "" : ` ${finding.table} ${finding.id ?? ""}`}: ${block(finding.message)}`,
    );
  const more = report.findings.length - findings.length;
  return lines(
    facts(paint, [
      ["tenant", report.tenant],
      ["integrity", verdict],
      ["completeness", completenessText(cli, report)],
      ...report.completeness.sources.map((source): [string, Shown] => ["", sourceText(cli, source)]),
      ["entries", show`${report.entries}${paint.dim(rangeText(report))}`],
      ["state", report.rows === null ? undefined : paint.dim(`${report.rows} rows compared with it`)],
      ["votes", report.votes.checked === 0 && report.votes.unchecked === 0 ? undefined : votesText(report)],
      ["head", report.head === null ? undefined : paint.dim(report.head)],
      ["took", show`${Math.round(report.durationMs)} ms, ${Math.round(report.entriesPerSecond)} entries/s`],
    ]),
    findings.length > 0 &&
      show`${paint.red("first bad entry")}: ${report.findings.find((finding) => finding.seq !== null)?.seq ?? "none; the finding is not about an entry"}`,
    ...findings,
    ...report.notes.slice(0, 20).map((note) => show`  ${paint.dim("note")} ${note.class}: ${block(note.message)}`),
    report.undecided !== null && show`undecided: ${report.undecided}`,
    more > 0 && show`  … and ${more} more (--json shows them)`,
  );
}

function rangeText({ entries, from, to, base }: VerifyReport): string {
  const known = base === null ? "" : `; the ${base} before were known`;
  if (entries === 0) return known === "" && from === 0 ? ", there is nothing to verify" : known;
  return to === null ? known : ` from ${from} to ${to}${known}`;
}

function completenessText({ paint }: Cli, { completeness: { status, note } }: VerifyReport): Shown {
  const word = {
    not_demanded: paint.dim("not demanded"),
    shown: paint.green("shown"),
    not_shown: paint.red("NOT SHOWN"),
  };
  return show`${word[status]}: ${paint.dim(note)}`;
}

function sourceText({ paint }: Cli, source: VerifyReport["completeness"]["sources"][number]): Shown {
  const { name, kind, location, size, state, detail } = source;
  const good =
    state === "agrees" ? paint.green(state) : state === "contradicts" ? paint.red(state) : paint.yellow(state);
  const who =
    kind === "own"
      ? show`the ${location}'s own checkpoints`
      : name === "as-of"
        ? show`the checkpoint of --as-of`
        : show`${kind} ${name} ${paint.dim(location)}`;
  return show`${who}: ${good}${size === null ? "" : ` up to ${size} entries`}${detail === null ? "" : ` (${detail})`}`;
}

function votesText({ votes: { checked, unchecked } }: VerifyReport): Shown {
  return show`${checked} checked${unchecked === 0 ? "" : `, ${unchecked} of keys enrolled before the range`}`;
}

/** A line on stderr that is written over; nothing where nobody watches. */
export function progress(cli: Cli): (entries: number) => void {
  if (!cli.terminal.interactive || cli.json) return () => undefined;
  const startMs = performance.now();
  return (entries) => {
    const perSecond = Math.round((entries * 1000) / Math.max(1, performance.now() - startMs));
    cli.terminal.err(`\r${entries} entries, ${perSecond}/s `);
  };
}
