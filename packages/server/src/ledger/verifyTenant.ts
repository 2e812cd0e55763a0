/**
 * Everything that can be said about one tenant's ledger from inside its database: the chain, the columns made from it, the
 * definitions, the state it accounts for. Streaming, constant memory, one snapshot, so it can run beside commits.
 *
 * Promises: what nobody touched gives no finding; a database that cannot be read to the end is `undecided`, never tampered.
 */
import type { TenantId } from "@countersign/contract";
import {
  compareCounters,
  compareStates,
  verifyEntries,
  type CounterState,
  type Finding,
  type JsonObject,
  type RowState,
  rowDigest,
  type VerifyResult,
} from "@countersign/proof";
import type pg from "pg";
import { tables } from "../storage/index.js";
import { withoutNulls } from "./attest.js";
import { copyOut } from "./copyOut.js";
import { checkDefinitions } from "./definitions.js";
import { readHead } from "./export.js";
import { counterSums, counterValues, governedTables, ledgerStates, metaMismatches, rowStates } from "./queries.js";
import { openReading, readEntries, readEntryBytes, type OpenBody, type Reading } from "./reading.js";

export interface VerifyTenantOptions {
  /** First sequence number of the chain to verify. Default 0. From later on the state is not held against the ledger. */
  readonly from?: number;
  /** Last one. Default: the last there is. */
  readonly to?: number;
  /** Other tenants of the deployment: an entry moved from one of them is named as such. */
  readonly otherTenants?: readonly string[];
  /** Opens every body and checks its commitment. Default false. */
  readonly bodies?: boolean;
  /** Columns made from the content, definitions, state and counters. Default: true if the whole chain is. */
  readonly state?: boolean;
  /** Holds every content against the format; some twenty times slower. Default false. */
  readonly thorough?: boolean;
  readonly findingsMax?: number;
  /** Called every 65,536 entries, with what is being done. */
  readonly onProgress?: (progress: VerifyProgress) => void;
}

export interface VerifyProgress {
  readonly step: "chain" | "columns" | "state";
  readonly entries: number;
  /** Entries there are; undefined when unknown. */
  readonly of: number | undefined;
  readonly entriesPerSecond: number;
}

export interface TenantReport extends VerifyResult {
  readonly entriesPerSecond: number;
  /** Governed rows held against the ledger; undefined when the state was not asked for. */
  readonly rows?: number;
}

export interface VerifyParts {
  readonly login: pg.ClientConfig;
  readonly openBody: OpenBody;
}

const clock = (): number => performance.now();

export async function verifyTenant(
  parts: VerifyParts,
  tenant: TenantId,
  options: VerifyTenantOptions = {},
): Promise<TenantReport> {
  const from = options.from ?? 0;
  const startedMs = clock();
  let reading: Reading;
  try {
    reading = await openReading(parts.login, tenant);
  } catch (error) {
    return report(
      await verifyEntries(failing(error), { tenant, from }),
      { findings: [], unreadable: undefined },
      startedMs,
    );
  }
  try {
    const chain = await verifyChain(reading, parts, tenant, { ...options, from });
    const other =
      (options.state ?? (from === 0 && options.to === undefined))
        ? await verifyState(reading, tenant, options)
        : { findings: [], unreadable: undefined };
    return report(chain, other, startedMs);
  } finally {
    await reading.close();
  }
}

async function verifyChain(
  { client }: Reading,
  parts: VerifyParts,
  tenant: TenantId,
  options: VerifyTenantOptions & { from: number },
): Promise<VerifyResult> {
  const startedMs = clock();
  const { from, to, otherTenants, thorough, findingsMax, onProgress } = options;
  const [before, last] = [
    from === 0 ? undefined : await readHead(client, tenant, from - 1),
    await readHead(client, tenant),
  ];
  const tell = (entries: number): void =>
    onProgress?.({
      step: "chain",
      entries,
      of: last === undefined ? 0 : Math.min(last.seq, to ?? last.seq) + 1 - from,
      entriesPerSecond: perSecond(entries, clock() - startedMs),
    });
  return verifyEntries(
    options.bodies === true
      ? readEntries(client, tenant, { from, to }, parts.openBody)
      : readEntryBytes(client, tenant, { from, to }),
    {
      tenant,
      from,
      clock,
      onProgress: tell,
      ...(to === undefined ? {} : { to }),
      ...(before?.seq === from - 1 ? { prevHash: before.hash } : {}),
      ...(otherTenants === undefined ? {} : { otherTenants }),
      ...(thorough === undefined ? {} : { thorough }),
      ...(findingsMax === undefined ? {} : { findingsMax }),
    },
  );
}

interface Others {
  readonly findings: readonly Finding[];
  readonly rows?: number;
  readonly unreadable: string | undefined;
}

async function verifyState(reading: Reading, tenant: TenantId, options: VerifyTenantOptions): Promise<Others> {
  const findings: Finding[] = [];
  const findingsMax = options.findingsMax ?? 100;
  let rows = 0;
  try {
    const governed = await governedNames(reading.client);
    findings.push(...(await checkDefinitions(reading.client, governed)));
    options.onProgress?.({ step: "columns", entries: 0, of: undefined, entriesPerSecond: 0 });
    findings.push(...(await checkColumns(reading.client, tenant, findingsMax)));
    options.onProgress?.({ step: "state", entries: 0, of: undefined, entriesPerSecond: 0 });
    findings.push(
      ...compareCounters(
        await readCounters(reading.client, counterSums, tenant),
        await readCounters(reading.client, counterValues, tenant),
      ),
    );
    const other = await reading.another();
    const counted = count(readRowStates(other, tenant, governed), (total) => (rows = total));
    for await (const finding of compareStates(readLedgerStates(reading.client, tenant), counted)) {
      findings.push(finding);
      if (findings.length >= findingsMax) break;
    }
    return { findings, rows, unreadable: undefined };
  } catch (error) {
    return { findings, rows, unreadable: error instanceof Error ? error.message : String(error) };
  }
}

/** What we declare as governed, and whatever else looks it: hiding a table by its comment does not take it out of the check. */
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

async function readCounters(client: pg.Client, statement: string, tenant: TenantId): Promise<CounterState[]> {
  const found = await client.query<{ key: string; value: string }>(statement, [tenant]);
  return found.rows.map(({ key, value }) => ({ key, value: Number(value) }));
}

async function* readLedgerStates(client: pg.Client, tenant: TenantId): AsyncGenerator<RowState, void, undefined> {
  for await (const rows of copyOut(client, ledgerStates(tenant))) {
    while (rows.next()) yield { table: rows.text(), id: rows.text(), version: rows.integer(), digest: rows.text() };
  }
}

/** Every governed row with the digest it has now. Table after table in the order of their names, each in the order of its ids. */
async function* readRowStates(
  client: pg.Client,
  tenant: TenantId,
  names: readonly string[],
): AsyncGenerator<RowState, void, undefined> {
  for (const table of names) {
    const exists = await client.query(
      "select from pg_class where relnamespace = 'countersign'::regnamespace and relname = $1",
      [table],
    );
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

async function* count<T>(source: AsyncIterable<T>, tell: (total: number) => void): AsyncGenerator<T, void, undefined> {
  let total = 0;
  for await (const one of source) {
    tell(++total);
    yield one;
  }
}

async function* failing(error: unknown): AsyncGenerator<never, void, undefined> {
  await Promise.reject(error instanceof Error ? error : new Error(String(error)));
}

function report(chain: VerifyResult, others: Others, startedMs: number): TenantReport {
  const findings = [...chain.findings, ...others.findings];
  const [first] = findings;
  const undecided = chain.undecided ?? others.unreadable;
  const tampered = findings.some((finding) => finding.class !== "MALFORMED");
  const { first: _first, undecided: _undecided, ...rest } = chain;
  return {
    ...rest,
    integrity: tampered ? "tampered" : undecided !== undefined || findings.length > 0 ? "undecided" : "ok",
    findings,
    findingsTotal: chain.findingsTotal + others.findings.length,
    ...(first === undefined ? {} : { first }),
    ...(undecided === undefined ? {} : { undecided }),
    ...(others.rows === undefined ? {} : { rows: others.rows }),
    durationMs: clock() - startedMs,
    entriesPerSecond: perSecond(chain.entries, chain.durationMs),
  };
}

function perSecond(entries: number, ms: number): number {
  return ms <= 0 ? 0 : Math.round((entries * 1000) / ms);
}
