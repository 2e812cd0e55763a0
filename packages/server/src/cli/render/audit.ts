/** The report of an audit for people. */
import type {
  ReportChangeSet,
  ReportEvent,
  ReportHeader,
  ReportRun,
  ReportSummary,
  ReportVote,
} from "@countersign/contract";
import type { Cli } from "../cli.js";
import { facts } from "../table.js";
import { empty, indent, lines, show, shortened, type Painter, type Shown } from "../text.js";
import { moment } from "../when.js";
import { reportText } from "./report.js";

interface Person {
  readonly id: string;
  readonly name: string | null;
}
const named = ({ id, name }: Person): string => name ?? id;

export function reportHead({ paint }: Cli, head: ReportHeader): Shown {
  const period = `${head.since === null ? "the beginning" : moment(head.since)} to ${head.until === null ? moment(head.generatedAt) : moment(head.until)}`;
  return lines(
    paint.bold(head.target === null ? "All changes" : show`Changes to ${head.target}`),
    facts(paint, [
      ["period", period],
      ["entries", head.to < head.from ? "none" : `${head.from} to ${head.to}`],
      ["targets", head.target === null ? undefined : `${head.targets} match`],
    ]),
  );
}

export function changeSetStory({ paint }: Cli, one: ReportChangeSet): Shown {
  const title = one.title === null ? paint.dim("(title not there any more)") : shortened(one.title, 100);
  return lines(
    empty,
    show`${paint.bold(one.number ?? one.id)} ${title} ${statusIn(paint, one.status)}${one.statusNow === one.status ? "" : paint.dim(` (now ${one.statusNow})`)}`,
    indent(
      facts(paint, [
        ["author", byline(one)],
        [
          "risk",
          one.risk === null ? undefined : `${one.risk.level}${one.risk.score === null ? "" : ` ${one.risk.score}`}`,
        ],
        ["policy", policyOf(one)],
        ...one.targets.map((target): [string, Shown] => [
          "target",
          show`${target.operation} ${target.target} ${paint.dim(target.environment)}`,
        ]),
        ["", one.otherItems === 0 ? undefined : paint.dim(`and ${one.otherItems} items on other targets`)],
        ...one.votes.map((vote): [string, Shown] => ["vote", voteOf(paint, vote)]),
        ["approved", approvedOf(paint, one)],
        ...one.runs.map((run): [string, Shown] => [run.kind === "APPLY" ? "apply" : "rollback", runOf(paint, run)]),
        ...one.refusals.map((refusal): [string, Shown] => [
          "refused",
          show`${paint.yellow(refusal.code)} ${refusal.count === 1 ? "" : `${refusal.count} times `}to ${named(refusal.by)} ${paint.dim(moment(refusal.at))}`,
        ]),
        ...one.missing.map((gap): [string, Shown] => [
          "missing",
          show`${paint.yellow(gap.kind)} ${gap.message}${gap.seqs.length === 0 ? "" : paint.dim(` (entries ${someOf(gap.seqs, gap.count)})`)}`,
        ]),
        ["entries", paint.dim(someOf(one.seqs, one.entries))],
      ]),
    ),
  );
}

function byline({ author, humans }: ReportChangeSet): string {
  const others = humans.filter(({ id }) => id !== author.id);
  return others.length === 0 ? named(author) : `${named(author)}, answerable: ${others.map(named).join(", ")}`;
}

function policyOf({ policy, requiredApprovals }: ReportChangeSet): string | undefined {
  if (policy === null) return undefined;
  return requiredApprovals === null
    ? policy
    : `${policy}, ${requiredApprovals} approval${requiredApprovals === 1 ? "" : "s"} required`;
}

function voteOf(paint: Painter, vote: ReportVote): Shown {
  const proven =
    vote.signature === "verified" ? paint.green("signature verified") : paint.red(`signature ${vote.signature}`);
  const key = vote.fingerprint === null ? vote.key : `SHA-256 ${vote.fingerprint.slice(0, 16)}…`;
  const extra = [
    vote.binding ? "" : "on another revision or route",
    vote.selfApproved ? "self-approved" : "",
    vote.detail ?? "",
    vote.reason === null ? "" : `“${vote.reason}”`,
  ].filter((text) => text !== "");
  return show`${vote.decision} by ${named(vote.voter)} ${paint.dim(moment(vote.at))}, ${proven} ${paint.dim(`(key ${key}, entry ${vote.seq})`)}${extra.length === 0 ? "" : `; ${extra.join("; ")}`}`;
}

function approvedOf(paint: Painter, { approved }: ReportChangeSet): Shown | undefined {
  if (approved === null) return undefined;
  const how = approved.automatic ? ", by policy, nobody was asked" : approved.selfApproved ? ", self-approved" : "";
  return show`${moment(approved.at)}${approved.automatic || approved.selfApproved ? paint.yellow(how) : ""} ${paint.dim(`(entry ${approved.seq})`)}`;
}

function runOf(paint: Painter, run: ReportRun): Shown {
  const ended = run.ended === null ? "" : moment(run.ended.at);
  const outcome = run.outcome === "succeeded" ? paint.green(run.outcome) : paint.red(run.outcome);
  const why = [
    ...run.codes,
    ...(run.as === null ? [] : [`as ${run.as}`]),
    ...(run.reason === null ? [] : [`“${run.reason}”`]),
  ];
  return show`${outcome} ${ended} ${paint.dim(`by ${named(run.started.by)}${run.attempt === null || run.attempt < 2 ? "" : `, attempt ${run.attempt}`}`)}${why.length === 0 ? "" : ` ${why.join("; ")}`}`;
}

function statusIn(paint: Painter, status: string): Shown {
  if (status === "APPLIED" || status === "ARCHIVED") return paint.green(status);
  return status === "REJECTED" || status === "PARTIALLY_APPLIED" ? paint.red(status) : paint.yellow(status);
}

function someOf(seqs: readonly number[], count: number): string {
  const few = seqs.slice(0, 12);
  return `${few.join(" ")}${count > few.length ? ` … ${count} in all` : ""}`;
}

export function eventStory({ paint }: Cli, { entry, reason }: ReportEvent): Shown {
  return lines(
    empty,
    show`${paint.yellow(entry.action)} ${entry.subject.type} ${entry.subject.label ?? entry.subject.id} by ${named(entry.actor)} ${paint.dim(`${moment(entry.at)} (entry ${entry.seq})`)}${reason === null ? "" : ` “${reason}”`}`,
  );
}

export function reportEnd(cli: Cli, end: ReportSummary, head: ReportHeader | undefined): Shown {
  const { paint } = cli;
  const { counts, checkpoint, verdict } = end;
  const more: readonly (readonly [string, number])[] = [
    ["applied", counts.applied],
    ["rolled back", counts.rolledBack],
    ["failed", counts.failed],
    ["halted", counts.halted],
    ["rejected", counts.rejected],
    ["refusals", counts.refusals],
    ["approved by policy alone", counts.automatic],
    ["self-approved", counts.selfApproved],
    ["rolled back by the on-call role", counts.emergency],
    ["still open", counts.open],
  ];
  return lines(
    empty,
    paint.bold(`${counts.changeSets} change-set${counts.changeSets === 1 ? "" : "s"}`),
    indent(
      facts(
        paint,
        more.filter(([, count]) => count > 0).map(([name, count]) => [name, count]),
      ),
    ),
    counts.forgedVotes > 0 && paint.red(`${counts.forgedVotes} votes whose signature does not verify`),
    empty,
    paint.bold("Missing"),
    end.missing.length === 0 && show`  nothing`,
    ...end.missing.map(
      ({ kind, count, message, seqs }) =>
        show`  ${paint.yellow(kind)} ${count}: ${message}${seqs.length === 0 ? "" : paint.dim(` (entries ${someOf(seqs, count)})`)}`,
    ),
    show`  ${paint.dim(checkpoint === null ? "no checkpoint covers the entries: nothing is published" : `a signed checkpoint covers entries 0 to ${checkpoint.size - 1}`)}`,
    empty,
    paint.bold("Verdict"),
    verdict === null
      ? show`  ${head !== undefined && head.to < head.from ? "there is nothing to verify in this period" : "not asked for"}`
      : indent(reportText(cli, verdict)),
    paint.dim(
      head === undefined || head.to < head.from
        ? "as the server says"
        : `this is the server's verdict; for your own: countersign audit export --from ${head.from} --to ${head.to} -o period.bundle`,
    ),
  );
}
