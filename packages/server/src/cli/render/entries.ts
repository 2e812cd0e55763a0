/** Ledger entries for people. */
import type { EntryView } from "@countersign/contract";
import { csvLine } from "../csv.js";
import { table } from "../table.js";
import { show, shortened, type Painter, type Shown } from "../text.js";
import { moment } from "../when.js";

export function entryTable(
  paint: Painter,
  rows: readonly EntryView[],
  labels: ReadonlyMap<string, string> = new Map(),
): Shown {
  const nameOf = ({ subject }: EntryView): string => subject.label ?? labels.get(subject.id) ?? subject.id;
  return table(
    paint,
    rows,
    [
      { head: "seq", cell: (row) => row.seq, right: true },
      { head: "at", cell: (row) => moment(row.at) },
      { head: "actor", cell: (row) => shortened(row.actor.name ?? row.actor.id, 24) },
      { head: "action", cell: (row) => paintAction(paint, row.action) },
      {
        head: "subject",
        cell: (row) => show`${paint.dim(row.subject.type)} ${shortened(nameOf(row), 48)}`,
      },
      { head: "hash", cell: (row) => paint.dim(row.hash.slice(0, 12)) },
    ],
    "no entries",
  );
}

/** One entry on one line, for a list that grows while a person watches. */
export function entryLine(paint: Painter, row: EntryView): Shown {
  const subject = shortened(row.subject.label ?? row.subject.id, 48);
  return show`${paint.dim(String(row.seq).padStart(6))} ${paint.dim(moment(row.at))} ${shortened(row.actor.name ?? row.actor.id, 24)} ${paintAction(paint, row.action)} ${paint.dim(row.subject.type)} ${subject}`;
}

function paintAction(paint: Painter, action: string): Shown {
  if (/refus|reject|denied|failed|forged|revoked|engaged/.test(action)) return paint.red(action);
  return /rolled_back|rollback|compensated|suspended|dismissed/.test(action)
    ? paint.yellow(action)
    : paint.green(action);
}

/** Stable: columns are added at the end, never moved. */
export const csvColumns = [
  "seq",
  "at",
  "actor_type",
  "actor_id",
  "actor_name",
  "action",
  "subject_type",
  "subject_id",
  "subject_label",
  "change_set",
  "data",
  "hash",
  "body",
] as const;

export function csvHead(): string {
  return csvLine(csvColumns);
}

export function csvRow(row: EntryView): string {
  const changeSet =
    row.subject.type === "change_set"
      ? row.subject.id
      : (row.refs.find((ref) => ref.type === "change_set")?.id ?? null);
  const { actor, subject } = row;
  return csvLine([
    row.seq,
    row.at,
    actor.type,
    actor.id,
    actor.name,
    row.action,
    subject.type,
    subject.id,
    subject.label,
    changeSet,
    JSON.stringify(row.data),
    row.hash,
    row.bodyState,
  ]);
}
