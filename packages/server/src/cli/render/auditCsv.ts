/** The report of an audit as CSV: one change-set a row. */
import type { ReportChangeSet } from "@countersign/contract";
import { csvLine } from "../csv.js";

/** Stable: columns are added at the end, never moved. */
const columns = [
  "number",
  "id",
  "title",
  "author",
  "answerable",
  "category",
  "risk_level",
  "risk_score",
  "policy",
  "required_approvals",
  "approvals",
  "approved_at",
  "automatic",
  "self_approved",
  "applied_at",
  "rolled_back_at",
  "rolled_back_by",
  "failures",
  "halted",
  "refusals",
  "status",
  "targets",
  "missing",
  "first_seq",
  "last_seq",
] as const;

export function reportCsvHead(): string {
  return csvLine(columns);
}

export function reportCsvRow(row: ReportChangeSet): string {
  const nameOf = ({ id, name }: { readonly id: string; readonly name: string | null }): string => name ?? id;
  const yes = (value: boolean | undefined): string => (value === true ? "yes" : "");
  return csvLine([
    row.number,
    row.id,
    row.title,
    nameOf(row.author),
    row.humans.map(nameOf).join("; "),
    row.category,
    row.risk?.level ?? null,
    row.risk?.score ?? null,
    row.policy,
    row.requiredApprovals,
    row.votes
      .map(
        (vote) =>
          `${nameOf(vote.voter)} ${vote.decision} ${vote.at} key ${vote.fingerprint ?? vote.key} ${vote.signature}`,
      )
      .join("; "),
    row.approved?.at ?? null,
    yes(row.approved?.automatic),
    yes(row.approved?.selfApproved),
    row.applied?.at ?? null,
    row.rolledBack?.at ?? null,
    row.rolledBack === null ? null : nameOf(row.rolledBack.by),
    row.runs
      .filter(({ outcome }) => outcome !== "succeeded")
      .map((run) => `${run.kind} ${run.outcome}${run.codes.length === 0 ? "" : ` (${run.codes.join(" ")})`}`)
      .join("; "),
    yes(row.halted),
    row.refusals.map(({ code, count }) => `${code} ${count}`).join("; "),
    row.status,
    row.targets.map(({ operation, target }) => `${operation} ${target}`).join("; "),
    row.missing.map(({ kind, count }) => `${kind} ${count}`).join("; "),
    row.seqs[0] ?? null,
    row.seqs.at(-1) ?? null,
  ]);
}
