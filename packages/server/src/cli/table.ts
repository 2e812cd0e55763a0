/** Tables for people: plain columns, wide characters counted, no lines drawn. */
import Table from "cli-table3";
import { inline, laidOut, type Painter, type Showable, type Shown } from "./text.js";

const none = {
  top: "",
  "top-mid": "",
  "top-left": "",
  "top-right": "",
  bottom: "",
  "bottom-mid": "",
  "bottom-left": "",
  "bottom-right": "",
  left: "",
  "left-mid": "",
  mid: "",
  "mid-mid": "",
  right: "",
  "right-mid": "",
  middle: "  ",
};

export interface TableColumn<Row> {
  readonly head: string;
  readonly cell: (row: Row) => Showable;
  readonly right?: true;
}

/** `rows` as columns, or the sentence for none. */
export function table<Row>(
  paint: Painter,
  rows: readonly Row[],
  columns: readonly TableColumn<Row>[],
  whenEmpty: string,
): Shown {
  if (rows.length === 0) return paint.dim(whenEmpty);
  const head = columns.map((column) => paint.dim(column.head.toUpperCase()));
  const cells = rows.map((row) => columns.map((column) => inline(column.cell(row))));
  return laidOut([head, ...cells], (all) =>
    layOut(
      all,
      columns.map((column) => (column.right === true ? "right" : "left")),
    ),
  );
}

/** Names and values below each other. */
export function facts(paint: Painter, rows: readonly (readonly [name: string, value: Showable | undefined])[]): Shown {
  const there = rows.filter((row): row is readonly [string, Showable] => row[1] !== undefined);
  return laidOut(
    there.map(([name, value]) => [paint.dim(name), inline(value)]),
    (all) => layOut(all, ["left", "left"]),
  );
}

function layOut(cells: readonly (readonly string[])[], aligns: readonly ("left" | "right")[]): string {
  const grid = new Table({
    chars: none,
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
    colAligns: [...aligns],
  });
  for (const row of cells) grid.push([...row]);
  return grid
    .toString()
    .split("\n")
    .map((line) => line.trimEnd())
    .join("\n");
}
