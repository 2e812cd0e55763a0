/** What happened in the entries that were verified: who approved what with which key, and what was out of the ordinary. */
import { summaryMax, type Approval, type Listed, type SummaryResult } from "@countersign/proof";
import { h } from "./dom.js";
import { counted, formatCount, formatTime, grouped, visible } from "./visible.js";

interface Happening {
  readonly title: string;
  readonly count: string | undefined;
  readonly body: readonly HTMLElement[];
}

type Happened = SummaryResult["applied"]["rows"][number];
/** `beneath`: an id that belongs to it, in small print. */
type Cell = readonly [kind: "number" | "when" | "text" | "key", text: string, beneath?: string];
interface Column<T> {
  readonly title: string;
  readonly cell: (row: T) => Cell;
}

/** Rows shown before somebody asks for more. */
const rowsShown = 12;

export function happeningsOf(summary: SummaryResult): Happening[] {
  const { approvals, selfApprovals, breakGlass, stops, applied, rollbacks, erasures, restored, keyChanges } = summary;
  const approved =
    approvals.total === 0 ? [] : [table("Who approved what, with which key", approvals, approvalColumns)];
  for (const shown of approved) shown.open = true;
  const unusual = [
    table("Approved by somebody answerable for the author", selfApprovals, approvalColumns),
    table("Applied or rolled back in an emergency, asking nobody first", breakGlass, [
      ...happenedColumns,
      text("as", (row) => row.as),
    ]),
    table("Kill-switch", stops, happenedColumns),
    table("Erased or moved to an archive", erasures, [
      ...happenedColumns,
      text("entries", (row) => (row.entries === null ? "" : formatCount(row.entries))),
    ]),
    table("Restored from a backup", restored, happenedColumns),
    table("Keys enrolled, handed over, revoked", keyChanges, [
      ...happenedColumns,
      inDigits("fingerprint", ({ key, fingerprint }) =>
        fingerprint === undefined ? (key ?? "") : grouped(fingerprint),
      ),
    ]),
  ];
  const done = [table("Applied", applied, happenedColumns), table("Rolled back", rollbacks, happenedColumns)].filter(
    isAny,
  );
  const nothing = h("p", {}, "Nothing was applied or rolled back in these entries.");
  const unusualNone = [selfApprovals, breakGlass, stops, erasures, restored, rollbacks].every(
    ({ total }) => total === 0,
  );
  const calm = h("p", {}, "No self-approval, no emergency, no kill-switch, no rollback, no erasure, no restore.");
  return [
    {
      title: "Who agreed",
      count: counted(approvals.total, "vote"),
      body: approved.length > 0 ? approved : [h("p", {}, "There are no votes in these entries.")],
    },
    {
      title: "Out of the ordinary",
      count: undefined,
      body: [...(unusualNone ? [calm] : []), ...unusual.filter(isAny)],
    },
    { title: "What was done", count: undefined, body: done.length > 0 ? done : [nothing] },
  ];
}

const isAny = (one: HTMLElement): boolean => one.dataset["total"] !== "0";

const seqColumn: Column<{ seq: number }> = { title: "entry", cell: ({ seq }) => ["number", formatCount(seq)] };
const timeColumn: Column<{ atMs: number }> = { title: "when", cell: ({ atMs }) => ["when", formatTime(atMs)] };

const approvalColumns: readonly Column<Approval>[] = [
  seqColumn,
  timeColumn,
  {
    title: "decision",
    cell: ({ decision, self }) => ["text", `${visible(decision, 20).toLowerCase()}${self ? ", own" : ""}`],
  },
  {
    title: "by",
    cell: ({ voter, voterName }) => ["text", visible(voterName ?? "", 60), visible(voter, 60)],
  },
  { title: "of change-set", cell: ({ changeSet }) => ["key", visible(changeSet, 60)] },
  {
    title: "with key",
    cell: ({ key, fingerprint }) => [
      "key",
      fingerprint === undefined ? visible(key, 60) : grouped(fingerprint.slice(0, 16)),
    ],
  },
];

const happenedColumns: readonly Column<Happened>[] = [
  seqColumn,
  timeColumn,
  { title: "what", cell: ({ action }) => ["text", visible(action, 60)] },
  { title: "by", cell: ({ actor }) => ["text", visible(actor.name ?? actor.type, 60), visible(actor.id, 60)] },
  {
    title: "of",
    cell: ({ subject }) => ["text", visible(subject.type, 40).replaceAll("_", "-"), visible(subject.id, 60)],
  },
];

function text<T>(title: string, of: (row: T) => string): Column<T> {
  return { title, cell: (row) => ["text", visible(of(row), 80)] };
}

function inDigits<T>(title: string, of: (row: T) => string): Column<T> {
  return { title, cell: (row) => ["key", visible(of(row), 80)] };
}

/** A closed table that grows by rows when asked: a page with thousands of rows at once helps nobody. */
function table<T>(title: string, { total, rows }: Listed<T>, columns: readonly Column<T>[]): HTMLDetailsElement {
  const body = h("tbody");
  const more = h("button", { type: "button" });
  const grow = (to: number): void => {
    body.append(...rows.slice(body.rows.length, to).map((row) => rowOf(row, columns)));
    more.hidden = body.rows.length >= rows.length;
    more.textContent = `Show more (${formatCount(rows.length - body.rows.length)} left)`;
  };
  grow(rowsShown);
  more.addEventListener("click", () => grow(body.rows.length + 200));
  const head = h("tr", {}, ...columns.map((column) => h("th", { scope: "col" }, column.title)));
  const clipped =
    total > rows.length
      ? h("p", { class: "aside" }, `The first ${formatCount(summaryMax)} of ${formatCount(total)}.`)
      : undefined;
  const scroll = h(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": title },
    h("table", {}, h("thead", {}, head), body),
  );
  const details = h(
    "details",
    {},
    h("summary", {}, `${title} `, h("span", { class: "total" }, formatCount(total))),
    ...(total === 0 ? [] : [scroll, more]),
    clipped,
  );
  details.dataset["total"] = String(total);
  return details;
}

function rowOf<T>(row: T, columns: readonly Column<T>[]): HTMLTableRowElement {
  return h(
    "tr",
    {},
    ...columns.map((column) => {
      const [kind, content, beneath] = column.cell(row);
      return h(
        "td",
        { class: kind, "data-title": column.title },
        kind === "text" || kind === "key" ? h("bdi", {}, content) : content,
        beneath === undefined ? undefined : h("small", {}, h("bdi", {}, beneath)),
      );
    }),
  );
}
