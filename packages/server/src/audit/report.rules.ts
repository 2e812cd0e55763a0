/**
 * Reads one change-set's entries for the report of an audit. Pure: it takes entries, and returns the answers that
 * people ask for.
 *
 * INVARIANT: every event in a report comes from an entry; status columns are shown beside it, never instead.
 */
import {
  type Action,
  type ChangeSetAction,
  isIn,
  type JsonObject,
  type JsonValue,
  openStatuses,
  type ReportChangeSet,
  type ReportGap,
  type ReportRun,
  type ReportSummary,
  type ReportVote,
  statusFrom,
} from "@countersign/contract";
import { iso } from "../platform/index.js";

export interface ToldEntry {
  readonly seq: number;
  readonly timeMs: number;
  readonly actor: { readonly id: string; readonly humans: readonly string[] };
  readonly action: string;
  readonly data: JsonObject;
  readonly body: JsonObject | null;
  readonly bodyState: "none" | "present" | "erased" | "unreadable";
  readonly contentMissing?: true;
}

export interface ItemFacts {
  readonly revisionId: string;
  readonly operation: string;
  readonly target: string;
  readonly environment: string;
  readonly keys: readonly string[];
}

export interface StoryFacts {
  readonly id: string;
  readonly entries: readonly ToldEntry[];
  /** The row, compared with the ledger; undefined when it is missing. */
  readonly row:
    | { readonly number: string; readonly title: string; readonly status: string; readonly revisionId: string }
    | undefined;
  readonly items: readonly ItemFacts[];
  /** Is this target asked for? */
  readonly wanted: (key: string) => boolean;
  readonly signature: (seq: number) => Pick<ReportVote, "signature" | "detail" | "fingerprint">;
  readonly name: (id: string) => string | null;
  readonly period: { readonly from: number; readonly to: number };
  /** Entries that a checkpoint covers; undefined when nothing is published. */
  readonly covered: number | undefined;
  /** Disagreements, one line each. */
  readonly mismatches: readonly { readonly seq: number | null; readonly message: string }[];
  /** Whether an entry of the ledger says that this content was pruned or erased. */
  readonly excused: (seq: number) => "content_pruned" | "content_erased" | undefined;
}

const targetsMax = 200;
const seqsMax = 500;
const gapSeqsMax = 100;

/** Authorities that ask nobody else first. */
const emergencies: ReadonlySet<string> = new Set(["on_call", "break_glass"]);

const isOf = ({ action }: ToldEntry, ...wanted: readonly ChangeSetAction[]): boolean =>
  (wanted as readonly string[]).includes(action);
const text = (value: JsonValue | undefined): string | null => (typeof value === "string" ? value : null);
const whole = (value: JsonValue | undefined): number | null =>
  typeof value === "number" && Number.isSafeInteger(value) ? value : null;

export function reportOf(facts: StoryFacts): ReportChangeSet {
  const { entries, period, row } = facts;
  const within = entries.filter(({ seq }) => seq >= period.from && seq <= period.to);
  const created = entries.find((entry) => isOf(entry, "change_set.created"));
  const submitted = entries.findLast(
    (entry) =>
      isOf(entry, "change_set.submitted", "change_set.approved", "change_set.rejected") &&
      text(entry.data["policy"]) !== null,
  );
  const scored = submitted ?? created;
  const denied = entries.some(
    (entry) => isOf(entry, "change_set.rejected") && entry.data["reason"] === "policy_denied",
  );
  const runs = runsOf(facts);
  const level = text(scored?.data["risk"]);
  const status = statusFrom(entries) ?? "UNKNOWN";
  const { shown, others } = targetsOf(facts);
  return {
    kind: "changeSet",
    id: facts.id,
    number: text(created?.data["number"]) ?? row?.number ?? null,
    title: row?.title ?? null,
    author: personOf(facts, created?.actor.id),
    humans: (created?.actor.humans ?? []).map((id) => personOf(facts, id)),
    category: text(created?.data["category"]),
    priority: text(created?.data["priority"]),
    risk: level === null ? null : { level, score: whole(scored?.data["score"]) },
    policy: denied ? "deny" : text(submitted?.data["policy"]),
    requiredApprovals: whole(submitted?.data["required"]),
    targets: shown,
    otherItems: others,
    votes: votesOf(facts),
    approved: approvedOf(facts),
    runs,
    applied: momentOf(
      facts,
      entries.findLast((entry) => isOf(entry, "change_set.applied")),
    ),
    rolledBack: rolledBackOf(facts, runs),
    refusals: entries
      .filter(({ action }) => action === ("refusal.recorded" satisfies Action))
      .map((entry) => ({
        ...placed(facts, entry),
        code: text(entry.data["code"]) ?? "unknown",
        count: whole(entry.data["count"]) ?? 1,
      })),
    halted: runs.some((run) => run.codes.includes("kill_switch_engaged")),
    status,
    statusNow: row?.status ?? "UNKNOWN",
    seqs: within.slice(0, seqsMax).map(({ seq }) => seq),
    entries: within.length,
    missing: gapsOf(facts, status),
  };
}

function personOf({ name }: StoryFacts, id: string | undefined): { id: string; name: string | null } {
  return id === undefined ? { id: "unknown", name: null } : { id, name: name(id) };
}

function placed(facts: StoryFacts, entry: ToldEntry) {
  return { seq: entry.seq, at: iso(entry.timeMs), by: personOf(facts, entry.actor.id) };
}

function momentOf(facts: StoryFacts, entry: ToldEntry | undefined) {
  return entry === undefined ? null : placed(facts, entry);
}

function targetsOf({ items, wanted, row }: StoryFacts): { shown: ReportChangeSet["targets"]; others: number } {
  const now = items.filter((item) => item.revisionId === row?.revisionId);
  const about = (some: readonly ItemFacts[]): ItemFacts[] => some.filter((item) => item.keys.some(wanted));
  // Perhaps only an earlier revision was about the target: then that revision is shown.
  const [those, of] = about(now).length > 0 ? [about(now), now] : [about(items), items];
  const shown = those.slice(0, targetsMax);
  return {
    shown: shown.map(({ operation, target, environment }) => ({ operation, target, environment })),
    others: of.length - shown.length,
  };
}

function votesOf(facts: StoryFacts): ReportVote[] {
  const approved = facts.entries.findLast((entry) => isOf(entry, "change_set.approved"));
  const final = text(approved?.data["digest"]);
  return facts.entries
    .filter((entry) => isOf(entry, "change_set.vote_cast"))
    .map((entry) => {
      const digest = text(entry.data["digest"]);
      return {
        seq: entry.seq,
        at: iso(entry.timeMs),
        voter: personOf(facts, text(entry.data["voter"]) ?? entry.actor.id),
        decision: text(entry.data["decision"]) ?? "unknown",
        key: text(entry.data["key"]) ?? "unknown",
        ...facts.signature(entry.seq),
        selfApproved: entry.data["selfApproved"] === true,
        digest: digest !== null && /^[0-9a-f]{64}$/.test(digest) ? digest : null,
        binding: digest !== null && digest === final,
        reason: text(entry.body?.["reason"]) === "" ? null : text(entry.body?.["reason"]),
      };
    });
}

function approvedOf(facts: StoryFacts): ReportChangeSet["approved"] {
  const entry = facts.entries.findLast((one) => isOf(one, "change_set.approved"));
  if (entry === undefined) return null;
  return {
    ...placed(facts, entry),
    automatic: entry.data["auto"] === true,
    selfApproved: entry.data["selfApproved"] === true,
  };
}

const begins: Partial<Record<string, ReportRun["kind"]>> = {
  "change_set.apply_started": "APPLY",
  "change_set.apply_resumed": "APPLY",
  "change_set.rollback_started": "ROLLBACK",
} satisfies Partial<Record<ChangeSetAction, ReportRun["kind"]>>;
const outcomes: Partial<Record<string, ReportRun["outcome"]>> = {
  "change_set.applied": "succeeded",
  "change_set.rolled_back": "succeeded",
  "change_set.apply_compensated": "compensated",
  "change_set.rollback_refused": "refused",
  "change_set.partially_applied": "partial",
} satisfies Partial<Record<ChangeSetAction, ReportRun["outcome"]>>;

/** Runs in their order: a run begins with an intent and ends with an outcome; failures between them are the reason. */
function runsOf(facts: StoryFacts): ReportRun[] {
  const runs = new Map<string, ReportRun>();
  for (const entry of facts.entries) {
    const application = text(entry.data["application"]);
    if (application === null) continue;
    const kind = begins[entry.action];
    if (kind !== undefined) {
      runs.set(application, {
        application,
        kind,
        attempt: whole(entry.data["attempt"]),
        started: placed(facts, entry),
        ended: null,
        outcome: "running",
        codes: [],
        reason: text(entry.body?.["reason"]),
        as: text(entry.data["as"]),
      });
      continue;
    }
    const run = runs.get(application);
    if (run === undefined) continue;
    const code = text(entry.data["code"]);
    const outcome = outcomes[entry.action];
    runs.set(application, {
      ...run,
      codes: code === null || run.codes.includes(code) ? run.codes : [...run.codes, code],
      ...(outcome === undefined ? {} : { outcome, ended: { seq: entry.seq, at: iso(entry.timeMs) } }),
    });
  }
  return [...runs.values()];
}

function rolledBackOf(facts: StoryFacts, runs: readonly ReportRun[]): ReportChangeSet["rolledBack"] {
  const entry = facts.entries.findLast((one) => isOf(one, "change_set.rolled_back"));
  if (entry === undefined) return null;
  const run = runs.find(({ application }) => application === entry.data["application"]);
  // The actor of the first entry requested the run; the end may be written by another process.
  return {
    ...placed(facts, entry),
    by: run?.started.by ?? personOf(facts, entry.actor.id),
    reason: run?.reason ?? null,
  };
}

function gapsOf(facts: StoryFacts, status: string): ReportGap[] {
  const { entries, covered, excused, period } = facts;
  const gone = entries.filter(({ contentMissing }) => contentMissing === true).map(({ seq }) => seq);
  const uncovered =
    covered === undefined
      ? []
      : entries.filter(({ seq }) => seq >= covered && seq >= period.from).map(({ seq }) => seq);
  const real = facts.mismatches.filter(({ seq }) => seq === null || excused(seq) === undefined);
  return [
    gap(
      "body_erased",
      entries.filter((entry) => entry.bodyState === "erased").map(({ seq }) => seq),
      "texts were erased",
    ),
    gap(
      "content_pruned",
      gone.filter((seq) => excused(seq) === "content_pruned"),
      "contents were pruned; the archive has them",
    ),
    gap(
      "content_erased",
      gone.filter((seq) => excused(seq) === "content_erased"),
      "contents were erased",
    ),
    ...(real.length === 0
      ? []
      : [
          {
            kind: "unverifiable" as const,
            seqs: real.flatMap(({ seq }) => (seq === null ? [] : [seq])).slice(0, gapSeqsMax),
            count: real.length,
            message: real
              .slice(0, 5)
              .map(({ message }) => message)
              .join("; "),
          },
        ]),
    gap("not_covered", uncovered, "entries that no checkpoint covers yet"),
    ...(isIn(openStatuses, status)
      ? [{ kind: "still_open" as const, seqs: [], count: 1, message: `it is ${status} at the end of the period` }]
      : []),
  ].filter((one) => one.count > 0);
}

export function gap(kind: ReportGap["kind"], seqs: readonly number[], message: string): ReportGap {
  return { kind, seqs: seqs.slice(0, gapSeqsMax), count: seqs.length, message };
}

/** The totals of a report's lines. */
export class ReportTally {
  readonly #counts = {
    changeSets: 0,
    applied: 0,
    rolledBack: 0,
    failed: 0,
    halted: 0,
    rejected: 0,
    refusals: 0,
    automatic: 0,
    selfApproved: 0,
    emergency: 0,
    open: 0,
    forgedVotes: 0,
  };
  readonly #gaps = new Map<ReportGap["kind"], { seqs: number[]; count: number; message: string }>();

  /** Counts events within the period: a change-set may have been applied before it and rolled back in it. */
  take(line: ReportChangeSet, { from, to }: { readonly from: number; readonly to: number }): void {
    const counts = this.#counts;
    const within = (one: { readonly seq: number } | null): number =>
      one !== null && one.seq >= from && one.seq <= to ? 1 : 0;
    const runs = line.runs.filter((run) => within(run.ended) === 1);
    counts.changeSets += 1;
    counts.applied += within(line.applied);
    counts.rolledBack += within(line.rolledBack);
    counts.failed += runs.filter((run) => run.outcome !== "succeeded").length;
    counts.halted += line.halted ? 1 : 0;
    counts.rejected += line.status === "REJECTED" ? 1 : 0;
    counts.refusals += line.refusals.reduce((sum, one) => sum + within(one) * one.count, 0);
    counts.automatic += line.approved?.automatic === true ? within(line.approved) : 0;
    counts.selfApproved += line.approved?.selfApproved === true ? within(line.approved) : 0;
    counts.emergency += line.runs.filter((run) => emergencies.has(run.as ?? "") && within(run.started) === 1).length;
    counts.open += line.missing.some((one) => one.kind === "still_open") ? 1 : 0;
    counts.forgedVotes += line.votes.filter((vote) => vote.signature === "forged").length;
    for (const one of line.missing) this.#miss(one);
  }

  #miss({ kind, seqs, count, message }: ReportGap): void {
    if (kind === "still_open") return; // counted above
    const known = this.#gaps.get(kind) ?? { seqs: [], count: 0, message };
    known.count += count;
    known.seqs.push(...seqs.slice(0, gapSeqsMax - known.seqs.length));
    this.#gaps.set(kind, known);
  }

  summary(): Pick<ReportSummary, "counts" | "missing"> {
    return {
      counts: { ...this.#counts },
      missing: [...this.#gaps].map(([kind, known]) => ({ kind, ...known })),
    };
  }
}
