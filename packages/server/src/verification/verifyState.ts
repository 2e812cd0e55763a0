/**
 * Compares everything beside the chain with the chain: definitions, columns made from contents, counters, every
 * governed row and the history of its versions, missing bodies, and the rows that change-sets cite. Runs in the
 * snapshot in which the chain is read.
 */
import type { TenantId } from "@countersign/contract";
import {
  compareCounters,
  compareStates,
  Excuses,
  parseEntryContent,
  rowDigest,
  type CounterState,
  type Finding,
  type JsonObject,
  type VerifyNote,
  type RowState,
} from "@countersign/proof";
import type pg from "pg";
import { tables } from "../storage/index.js";
import { copyOut, type Reading, withoutNulls } from "../ledger/index.js";
import { checkDefinitions } from "./definitions.js";
import {
  bodiesGone,
  counterSums,
  counterValues,
  entriesOfActions,
  governedTables,
  metaMismatches,
  rowHistories,
  rowStates,
  tableExists,
} from "./verifyQueries.js";

export interface StateOptions {
  readonly findingsMax?: number;
  readonly onStep?: (step: "columns" | "state" | "references") => void;
  /** Bodies were read with the entries, so the verifier has already judged the missing ones. */
  readonly bodies?: boolean;
  /** The citations of rows. The module that writes the rows knows them. */
  readonly references?: ReferenceCheck;
}

/** Finds cited values that are different now. `query` sees one tenant in one snapshot. */
export type ReferenceCheck = (
  query: <T>(statement: { readonly text: string; readonly values: readonly unknown[] }) => AsyncIterable<T>,
) => AsyncIterable<Finding>;

export interface StateVerdict {
  readonly findings: readonly Finding[];
  readonly notes: readonly VerifyNote[];
  readonly rows?: number;
  readonly unreadable: string | undefined;
}

export const nothingToSay: StateVerdict = { findings: [], notes: [], unreadable: undefined };

export async function verifyState(reading: Reading, tenant: TenantId, options: StateOptions): Promise<StateVerdict> {
  const findings: Finding[] = [];
  const notes: VerifyNote[] = [];
  const findingsMax = options.findingsMax ?? 100;
  const count = { rows: 0 };
  try {
    const { client } = reading;
    const governed = await governedNames(client);
    findings.push(...(await checkDefinitions(client, governed)));
    options.onStep?.("columns");
    findings.push(...(await checkColumns(client, tenant, findingsMax)));
    const retention = await readRetention(client, tenant);
    if (options.bodies !== true) {
      const settled = await settleBodies(client, tenant, retention);
      findings.push(...settled.findings.slice(0, findingsMax));
      notes.push(...settled.notes);
    }
    options.onStep?.("state");
    findings.push(...(await checkCounters(client, tenant)));
    for await (const finding of checkRows(reading, tenant, { governed, prunedUpTo: retention.prunedUpTo, count })) {
      findings.push(finding);
      if (findings.length >= findingsMax) return { findings, notes, rows: count.rows, unreadable: undefined };
    }
    if (options.references !== undefined) {
      options.onStep?.("references");
      for await (const finding of options.references(streamOf(await reading.another()))) {
        findings.push(finding);
        if (findings.length >= findingsMax) break;
      }
    }
    return { findings, notes, rows: count.rows, unreadable: undefined };
  } catch (error) {
    return { findings, notes, rows: count.rows, unreadable: error instanceof Error ? error.message : String(error) };
  }
}

/**
 * The tables that we declare as governed, and all tables that look governed: nobody can hide a table from the check by
 * changing its comment.
 */
async function governedNames(client: pg.Client): Promise<string[]> {
  const found = await client.query<{ name: string }>(governedTables);
  const declared = Object.entries(tables).flatMap(([name, { class: kind }]) => (kind === "governed" ? [name] : []));
  return [...new Set([...declared, ...found.rows.map((row) => row.name)])].sort((a, b) => (a < b ? -1 : 1));
}

async function checkColumns(client: pg.Client, tenant: TenantId, findingsMax: number): Promise<Finding[]> {
  const found = await client.query<{ seq: string; expected: string; actual: string }>(metaMismatches, [
    tenant,
    findingsMax,
  ]);
  return found.rows.map(({ seq, expected, actual }) => ({
    class: "COLUMN_MISMATCH",
    seq: Number(seq),
    expected: expected.slice(0, 200),
    actual: actual.slice(0, 200),
    detail: "meta",
  }));
}

// ── What erasing and pruning took away ───────────────────────────────────────────────────────────────────────────────

interface Retention {
  /** Contents of entries before this one may be gone. 0: nothing was pruned. */
  readonly prunedUpTo: number;
  readonly excuses: Excuses;
  /** The entries themselves, in order. */
  readonly entries: readonly { readonly seq: number; readonly content: string }[];
}

async function readRetention(client: pg.Client, tenant: TenantId): Promise<Retention> {
  const found = await client.query<{ seq: string; content: string }>(entriesOfActions, [
    tenant,
    ["subject.erased", "ledger.pruned"],
  ]);
  const entries = found.rows.map(({ seq, content }) => ({ seq: Number(seq), content }));
  let prunedUpTo = 0;
  for (const { content } of entries) {
    const parsed = parseEntryContent(content);
    if (!parsed.ok || parsed.content.action !== "ledger.pruned") continue; // malformed: the chain's check says so
    const { upTo } = parsed.content.data;
    if (typeof upTo === "number") prunedUpTo = Math.max(prunedUpTo, upTo);
  }
  return {
    prunedUpTo,
    excuses: new Excuses(),
    entries,
  };
}

/** Bodies that entries are committed to and that are not there, against the entries that say why. */
async function settleBodies(
  client: pg.Client,
  tenant: TenantId,
  { excuses, entries }: Retention,
): Promise<{ readonly findings: readonly Finding[]; readonly notes: readonly VerifyNote[] }> {
  for await (const rows of copyOut(client, bodiesGone(tenant)))
    while (rows.next()) excuses.gone(rows.integer(), "body");
  for (const { seq, content } of entries) {
    const parsed = parseEntryContent(content);
    if (parsed.ok) excuses.take(seq, parsed.content);
  }
  const { findings, notes, undecided } = excuses.settle();
  if (undecided !== undefined) throw new Error(undecided);
  return { findings, notes: notes.filter((note) => note.class === "ERASED") };
}

// ── Counters and rows ────────────────────────────────────────────────────────────────────────────────────────────────

async function checkCounters(client: pg.Client, tenant: TenantId): Promise<Finding[]> {
  return compareCounters(
    await readCounters(client, counterSums, tenant),
    await readCounters(client, counterValues, tenant),
  );
}

async function readCounters(client: pg.Client, statement: string, tenant: TenantId): Promise<CounterState[]> {
  const found = await client.query<{ key: string; value: string }>(statement, [tenant]);
  return found.rows.map(({ key, value }) => ({ key, value: Number(value) }));
}

interface RowsToCheck {
  readonly governed: readonly string[];
  readonly prunedUpTo: number;
  readonly count: { rows: number };
}

async function* checkRows(
  reading: Reading,
  tenant: TenantId,
  { governed, prunedUpTo, count }: RowsToCheck,
): AsyncGenerator<Finding, void, undefined> {
  const odd: Finding[] = [];
  const stored = counted(readRowStates(await reading.another(), tenant, governed), count);
  const said = readHistories(reading.client, tenant, prunedUpTo, (finding) => odd.push(finding));
  for await (const finding of compareStates(said, stored)) {
    yield* odd.splice(0);
    yield finding;
  }
  yield* odd;
}

/** The newest digest of every row the ledger knows. Told of versions that no entry wrote, or two did. */
async function* readHistories(
  client: pg.Client,
  tenant: TenantId,
  prunedUpTo: number,
  tell: (finding: Finding) => void,
): AsyncGenerator<RowState, void, undefined> {
  for await (const rows of copyOut(client, rowHistories(tenant))) {
    while (rows.next()) {
      const [table, id, version, digest] = [rows.text(), rows.text(), rows.integer(), rows.text()];
      const [seq, isNewest, before, beforeSeq] = [rows.integer(), rows.integer(), rows.integer(), rows.integer()];
      const finding = oddVersion({ version, seq, before, beforeSeq }, prunedUpTo);
      if (finding !== undefined) tell({ class: "STATE_MISMATCH", seq, table, id, ...finding });
      if (isNewest === 1) yield { table, id, version, digest };
    }
  }
}

interface VersionStep {
  readonly version: number;
  readonly seq: number;
  /** The version before, and the entry that wrote it; 0 and −1 for the first. */
  readonly before: number;
  readonly beforeSeq: number;
}

/** Pruning removed some versions; all versions from there on must be complete. */
function oddVersion(
  { version, seq, before, beforeSeq }: VersionStep,
  prunedUpTo: number,
): Pick<Finding, "expected" | "actual" | "detail"> | undefined {
  if (version === before + 1) return beforeSeq < seq ? undefined : outOfOrder(version, seq, beforeSeq);
  const [expected, actual] = [`version ${before + 1}`, `version ${version}`];
  if (version <= before) return { expected, actual, detail: `version ${version} is written twice` };
  if (beforeSeq < prunedUpTo) return undefined;
  return { expected, actual, detail: `version ${before + 1} is missing` };
}

function outOfOrder(version: number, seq: number, beforeSeq: number): Pick<Finding, "expected" | "actual" | "detail"> {
  const detail = `version ${version} is written before version ${version - 1}`;
  return { expected: `after entry ${beforeSeq}`, actual: `entry ${seq}`, detail };
}

/** Every governed row with the digest it has now. Table after table in the order of their names, each in the order of its ids. */
async function* readRowStates(
  client: pg.Client,
  tenant: TenantId,
  names: readonly string[],
): AsyncGenerator<RowState, void, undefined> {
  for (const table of names) {
    const exists = await client.query(tableExists, [table]);
    if (exists.rowCount === 0) continue;
    for await (const rows of copyOut(client, rowStates(tenant, table))) {
      while (rows.next()) {
        const [id, version, salt, row] = [rows.text(), rows.integer(), rows.bytes(), rows.text()];
        const digest = salt?.length === 32 ? rowDigest(salt, withoutNulls(JSON.parse(row) as JsonObject)) : "no salt";
        yield { table, id, version, digest };
      }
    }
  }
}

async function* counted<T>(source: AsyncIterable<T>, count: { rows: number }): AsyncGenerator<T, void, undefined> {
  for await (const one of source) {
    count.rows++;
    yield one;
  }
}

/** Rows of a statement, some hundred at a time. */
function streamOf(client: pg.Client): Parameters<ReferenceCheck>[0] {
  let cursors = 0;
  return async function* <T>({ text, values }: { readonly text: string; readonly values: readonly unknown[] }) {
    const cursor = `references_${++cursors}`;
    await client.query(`declare ${cursor} no scroll cursor for ${text}`, [...values]);
    for (;;) {
      const { rows } = await client.query(`fetch 200 from ${cursor}`);
      if (rows.length === 0) break;
      yield* rows as T[];
    }
    await client.query(`close ${cursor}`);
  };
}
