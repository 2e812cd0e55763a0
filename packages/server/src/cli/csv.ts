/**
 * CSV (RFC 4180) for spreadsheets. A cell that a spreadsheet would run as a formula is defused: a cell that begins with
 * `=`, `+`, `-`, `@`, a tab or a carriage return gets a single quote before it. Numbers of ours are written as they
 * are.
 */
const runs = /^[=+\-@\t\r]/;
const special = /[",\r\n]/;

export function csvCell(value: string | number | null): string {
  if (value === null) return "";
  if (typeof value === "number") return String(value);
  const defused = runs.test(value) ? `'${value}` : value;
  return special.test(defused) ? `"${defused.replaceAll('"', '""')}"` : defused;
}

/** One record, with the line end the RFC asks for. */
export function csvLine(cells: readonly (string | number | null)[]): string {
  return `${cells.map(csvCell).join(",")}\r\n`;
}
