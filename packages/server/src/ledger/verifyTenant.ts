/**
 * Everything that can be said about one tenant's ledger from inside its database: the chain, the columns made from it, the
 * definitions, the state it accounts for. Streaming, constant memory, one snapshot, so it can run beside commits.
 *
 * Promises: what nobody touched gives no finding; a database that cannot be read to the end is `undecided`, never tampered.
 */
import type { TenantId } from "@countersign/contract";
import { verifyEntries, type VerifyResult } from "@countersign/proof";
import type pg from "pg";
import { readHead } from "./export.js";
import { openReading, readEntries, readEntryBytes, type OpenBody, type Reading } from "./reading.js";
import { nothingToSay, verifyState, type ReferenceCheck, type StateVerdict } from "./verifyState.js";

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
  readonly step: "chain" | "columns" | "state" | "references";
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
  readonly references?: ReferenceCheck | undefined;
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
    return report(await verifyEntries(failing(error), { tenant, from }), nothingToSay, startedMs);
  }
  try {
    const chain = await verifyChain(reading, parts, tenant, { ...options, from });
    const other =
      (options.state ?? (from === 0 && options.to === undefined))
        ? await verifyState(reading, tenant, stateOptions(parts, options))
        : nothingToSay;
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

function stateOptions({ references }: VerifyParts, options: VerifyTenantOptions): Parameters<typeof verifyState>[2] {
  const { findingsMax, bodies, onProgress } = options;
  return {
    onStep: (step) => onProgress?.({ step, entries: 0, of: undefined, entriesPerSecond: 0 }),
    ...(references === undefined ? {} : { references }),
    ...(bodies === undefined ? {} : { bodies }),
    ...(findingsMax === undefined ? {} : { findingsMax }),
  };
}

async function* failing(error: unknown): AsyncGenerator<never, void, undefined> {
  await Promise.reject(error instanceof Error ? error : new Error(String(error)));
}

function report(chain: VerifyResult, others: StateVerdict, startedMs: number): TenantReport {
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
    notes: [...chain.notes, ...others.notes],
    notesTotal: chain.notesTotal + others.notes.length,
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
