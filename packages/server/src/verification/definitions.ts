/**
 * Checks that the ledger's tables, functions, triggers, policies and constraints are those of our migrations. The
 * expected definitions are in `definitions.generated.ts`, which ships with the program and is out of the database's
 * reach; a test makes it anew from the migrations. Definitions are compared in PostgreSQL's own words, on 15 to 18
 * alike (the query leaves out differences between versions).
 */
import type { Finding } from "@countersign/proof";
import type pg from "pg";
import { expectedDefinitions } from "./definitions.generated.js";
import { doorDefinition, governedDefinitions, ledgerDefinitions } from "./verifyQueries.js";

/** The content of `definitions.generated.ts`. A test compares it with freshly migrated databases. */
export function definitionsSource(definitions: Definitions): string {
  const header =
    "/** Generated from the migrations by `COUNTERSIGN_GENERATE=1 npx vitest run packages/server/test/verification/definitions.test.ts` and formatted. */\n";
  return `${header}export const expectedDefinitions: Readonly<Record<string, string>> = ${JSON.stringify(definitions, null, 2)};\n`;
}

/** "table entries", "function append_entries", … → how it is defined. */
export type Definitions = Readonly<Record<string, string>>;

export async function readDefinitions(client: Pick<pg.ClientBase, "query">): Promise<Definitions> {
  const found = await client.query<{ name: string; definition: string }>(ledgerDefinitions);
  return Object.fromEntries(found.rows.map((row) => [row.name, row.definition]));
}

/**
 * `governed`: tables whose rows are compared with the ledger. A rule or trigger on them, or a missing policy, could
 * make them lie.
 */
export async function checkDefinitions(
  client: Pick<pg.ClientBase, "query">,
  governed: readonly string[],
): Promise<Finding[]> {
  const findings = compareDefinitions(expectedDefinitions, await readDefinitions(client));
  const door = await client.query<{ there: string | null; due: string }>(doorDefinition);
  const [source] = door.rows;
  if (source !== undefined && source.there !== source.due)
    findings.push(mismatch("function commit_group", source.due, source.there ?? "none"));
  const tables = await client.query<{ name: string; definition: string }>(governedDefinitions, [governed]);
  const found = new Map(tables.rows.map((row) => [row.name, row.definition]));
  for (const name of governed) {
    const actual = found.get(name) ?? "none";
    if (actual !== governedTable) findings.push(mismatch(`table ${name}`, governedTable, actual));
  }
  return findings;
}

/** The definition of a table that nobody touched. */
const governedTable = "table, row security forced, policies tenant_rows, no triggers, no rules";

export function compareDefinitions(due: Definitions, there: Definitions): Finding[] {
  const names = [...new Set([...Object.keys(due), ...Object.keys(there)])].sort();
  return names.flatMap((name) =>
    due[name] === there[name] ? [] : [mismatch(name, due[name] ?? "none", there[name] ?? "none")],
  );
}

function mismatch(id: string, due: string, there: string): Finding {
  const [expectedPart, actualPart] = difference(due, there);
  const [kind = "", name = ""] = id.split(" ");
  return {
    class: "DEFINITION_MISMATCH",
    seq: null,
    expected: expectedPart,
    actual: actualPart,
    table: kind,
    id: name,
    detail: id,
  };
}

/** The first line that differs: definitions are long. */
function difference(due: string, there: string): [string, string] {
  const [a, b] = [due.split("\n"), there.split("\n")];
  const at = a.findIndex((line, index) => line !== b[index]);
  const place = at < 0 ? a.length : at;
  return [(a[place] ?? "the end").trim().slice(0, 200), (b[place] ?? "the end").trim().slice(0, 200)];
}
