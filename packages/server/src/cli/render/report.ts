/** Verdicts of the verifier, wherever it ran, for people and for machines. */
import type { VerifyReport } from "@countersign/contract";
import type { VerifyResult } from "@countersign/proof";
import type { Cli } from "../cli.js";
import { exit, type ExitCode } from "../exit.js";
import { facts } from "../table.js";
import { block, lines, show, type Shown } from "../text.js";

export function exitOf(report: VerifyReport): ExitCode {
  if (report.integrity === "tampered") return exit.refused;
  if (report.findings.some((finding) => finding.class === "MALFORMED")) return exit.malformed;
  return report.integrity === "ok" ? exit.ok : exit.unreachable;
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
      ["completeness", show`${report.completeness.status} ${paint.dim(report.completeness.note)}`],
      [
        "entries",
        show`${report.entries} ${paint.dim(`from ${report.from}${report.to === null ? "" : ` to ${report.to}`}`)}`,
      ],
      ["head", report.head === null ? undefined : paint.dim(report.head)],
      ["took", show`${Math.round(report.durationMs)} ms, ${Math.round(report.entriesPerSecond)} entries/s`],
    ]),
    findings.length > 0 &&
      show`${paint.red("first bad entry")}: ${report.findings.find((finding) => finding.seq !== null)?.seq ?? "none; it is not about an entry"}`,
    ...findings,
    more > 0 && show`  … and ${more} more (--json shows them)`,
  );
}

/** The verifier's result in the shape the server answers in. */
export function bundleReport(result: VerifyResult): VerifyReport {
  const durationMs = result.durationMs;
  return {
    tenant: result.tenant,
    integrity: result.integrity,
    completeness: { status: result.completeness.status, note: result.completeness.statement },
    entries: result.entries,
    from: result.from,
    to: result.head?.seq ?? null,
    head: result.head?.hash ?? null,
    findings: result.findings.map((finding) => ({
      class: finding.class,
      seq: finding.seq,
      table: finding.table ?? null,
      id: finding.id ?? null,
      message: [
        finding.detail ?? "",
        finding.suspect === undefined ? "" : `probably entry ${finding.suspect} was altered`,
        `expected ${finding.expected}, found ${finding.actual}`,
      ]
        .filter((part) => part !== "")
        .join("; "),
      expected: finding.expected,
      actual: finding.actual,
    })),
    durationMs,
    entriesPerSecond: durationMs > 0 ? (result.entries * 1000) / durationMs : 0,
  };
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
