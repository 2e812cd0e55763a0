/**
 * `npm run bench [-- NAME…] [--json]`: every row, or those named, as a table or as JSON.
 * A row is one object in `rows/`; add it to the list below.
 */
import { cpus } from "node:os";
import { startBenchPostgres } from "./postgres.js";
import { median, type Bench, type Result, type Row, type Sample } from "./row.js";
import { bundleRows } from "./rows/bundle.js";
import { commitRows } from "./rows/commit.js";
import { proofRows } from "./rows/proof.js";
import { processRows } from "./rows/processes.js";
import { publishingRows } from "./rows/publishing.js";
import { verifyRows } from "./rows/verify.js";
import { serverRows } from "./rows/server.js";

const rows: readonly Row[] = [
  ...commitRows,
  ...processRows,
  ...verifyRows,
  ...bundleRows,
  ...proofRows,
  ...publishingRows,
  ...serverRows,
];

const roundsDefault = 5;

async function measure(row: Row, bench: Bench): Promise<Result> {
  const measured = await row.prepare(bench);
  const [ours, reference]: [Sample[], Sample[]] = [[], []];
  const rounds = row.rounds ?? roundsDefault;
  try {
    // One round unmeasured: plans, caches and the JIT are warm when it counts.
    for (let round = -1; round < rounds; round++) {
      const theirs = await measured.reference?.(round);
      const mine = await measured.ours(round);
      bench.progress(
        `${row.name} ${round + 1}/${rounds}: ${mine.value.toFixed(0)}${theirs === undefined ? "" : ` against ${theirs.value.toFixed(0)}`}`,
      );
      if (round < 0) continue;
      ours.push(mine);
      if (theirs !== undefined) reference.push(theirs);
    }
  } finally {
    await measured.close();
  }
  return resultOf(row, ours, reference);
}

function resultOf(row: Row, ours: readonly Sample[], reference: readonly Sample[]): Result {
  const values = ours.map((sample) => sample.value);
  const mine = median(values);
  const theirs = reference.length === 0 ? null : median(reference.map((sample) => sample.value));
  const ratio = theirs === null ? null : mine / theirs;
  const compared =
    theirs === null ? values : ours.map((sample, index) => sample.value / (reference[index]?.value ?? NaN));
  const spread = (Math.max(...compared) - Math.min(...compared)) / 2 / median(compared);
  const [p99, p99Reference] = [
    median(ours.map((sample) => sample.p99Ms ?? NaN)),
    median(reference.map((sample) => sample.p99Ms ?? NaN)),
  ];
  const { ratioMin, valueMin, valueMax, p99AtMostReference, p99MsMax, text } = row.goal;
  const met =
    (ratioMin === undefined || (ratio !== null && ratio >= ratioMin)) &&
    (valueMin === undefined || mine >= valueMin) &&
    (valueMax === undefined || mine <= valueMax) &&
    (p99AtMostReference !== true || p99 <= p99Reference) &&
    (p99MsMax === undefined || p99 <= p99MsMax);
  const waits = Number.isNaN(p99)
    ? ""
    : `; p99 ${p99.toFixed(1)} ms${Number.isNaN(p99Reference) ? "" : ` against ${p99Reference.toFixed(1)}`}`;
  const against = row.referenceIs === "" ? "" : `; against ${row.referenceIs}`;
  return {
    name: row.name,
    unit: row.unit,
    ours: mine,
    reference: theirs,
    ratio,
    goal: text,
    met,
    spread,
    conditions: `${row.conditions}${against}${waits}`,
  };
}

function print(results: readonly Result[]): void {
  const lines = results.map((result) => [
    result.name,
    format(result.ours),
    result.reference === null ? "–" : format(result.reference),
    result.ratio === null ? "–" : `${result.ratio.toFixed(2)}×`,
    `${result.goal} ${result.met ? "✓" : "✗"}`,
    `±${(result.spread * 100).toFixed(0)} %`,
    result.unit,
    result.conditions,
  ]);
  const table = [["name", "ours", "reference", "ratio", "goal", "spread", "unit", "conditions"], ...lines];
  const widths = (table[0] ?? []).map((_, column) => Math.max(...table.map((line) => (line[column] ?? "").length)));
  for (const line of table)
    console.log(
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join("  ")
        .trimEnd(),
    );
}

function format(value: number): string {
  return value >= 100 ? Math.round(value).toLocaleString("en") : value.toPrecision(3);
}

const [words, options] = [process.argv.slice(2), ["--json", "--help"]];
const json = words.includes("--json");
const names = words.filter((word) => !options.includes(word));
if (words.includes("--help")) {
  console.log("npm run bench [-- NAME… --json]: all rows take about a quarter of an hour\n");
  for (const { name, work } of rows) console.log(`  ${name.padEnd(20)}${work}`);
  process.exit();
}
const unknown = names.filter((name) => !rows.some((row) => row.name === name));
if (unknown.length > 0) {
  console.error(`no row \`${unknown.join("`, `")}\`; there are ${rows.map((row) => row.name).join(", ")}`);
  process.exit(64);
}
const progress = (text: string): void => console.error(text);
const postgres = await startBenchPostgres();
try {
  progress(`PostgreSQL ${postgres.version}, Node ${process.version}, ${cpus().length} × ${cpus()[0]?.model ?? "?"}`);
  const results: Result[] = [];
  for (const row of rows) {
    if (names.length > 0 && !names.includes(row.name)) continue;
    results.push(await measure(row, { database: postgres.database, progress }));
  }
  if (json) console.log(JSON.stringify(results, null, 2));
  else print(results);
} finally {
  await postgres.close();
}
