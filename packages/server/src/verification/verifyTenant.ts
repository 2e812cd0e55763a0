/**
 * Verifies everything about one tenant's ledger that can be verified from inside its database: the chain, the columns
 * made from it, the definitions, and the state. Streaming, constant memory, one snapshot, so it can run beside commits.
 *
 * Promises: a ledger that nobody touched gives no finding; a database that cannot be read to the end is `undecided`,
 * never tampered.
 */
import { RefusalError, type TenantId } from "@countersign/contract";
import {
  parseOrigin,
  quorumSize,
  RightEdge,
  verifyEntries,
  type Checkpoint,
  type EntryBatch,
  type Finding,
  type Trust,
  type VerifyOptions,
  type VerifyResult,
} from "@countersign/proof";
import { setTimeout as rest } from "node:timers/promises";
import type pg from "pg";
import { readHead } from "./export.js";
import { openReading, readEntries, readEntryBytes, type OpenBody, type Reading } from "../ledger/index.js";
import {
  checkOwnLog,
  findBase,
  readDeploymentRecord,
  readKeyRecord,
  readOwnCheckpoints,
  type Base,
  type DeploymentRecord,
  type KnownTree,
} from "./verifyLog.js";
import { nothingToSay, verifyState, type ReferenceCheck, type StateVerdict } from "./verifyState.js";

export interface VerifyTenantOptions {
  /**
   * First sequence number of the chain to verify. Default 0. With a later start the state is not compared with the
   * ledger.
   */
  readonly from?: number;
  /** Last one. Default: the last there is. */
  readonly to?: number;
  /** Other tenants of the deployment: an entry moved from one of them is named as such. */
  readonly otherTenants?: readonly string[];
  /** Opens every body and checks its commitment. Default false. */
  readonly bodies?: boolean;
  /** Keys and anchors from elsewhere. They are loaded before: one read later may know more than the ledger did. */
  readonly trust?: Trust;
  /**
   * The statements of the deployment's ledger. Read here if they are not given and the parts name the deployment's
   * tenant.
   */
  readonly record?: DeploymentRecord;
  /**
   * Verify only the entries after a known size: the tree up to there must have the known root. `anchor`: the largest
   * size that anchors of `trust` confirm. If the root does not fit, or is not there, everything is read, and `base` is
   * missing.
   */
  readonly since?: KnownTree | "anchor";
  /**
   * Verify the ledger at this size: no entry after it is read, and a given checkpoint must have the root at this size.
   */
  readonly asOf?: number | Checkpoint;
  /** Columns made from the content, definitions, state and counters. Default: true if the whole chain is. */
  readonly state?: boolean;
  /** Holds every content against the format; some twenty times slower. Default false. */
  readonly thorough?: boolean;
  readonly findingsMax?: number;
  /** Rests as long as it works, so that others on this machine hardly notice. */
  readonly gentle?: boolean;
  /** Gives up; the report is `undecided`. */
  readonly signal?: AbortSignal;
  /** Called every 65,536 entries, with the present step. */
  readonly onProgress?: (progress: VerifyProgress) => void;
}

export interface VerifyProgress {
  readonly step: "chain" | "log" | "columns" | "state" | "references";
  readonly entries: number;
  /** Entries there are; undefined when unknown. */
  readonly of: number | undefined;
  readonly entriesPerSecond: number;
}

export interface TenantReport extends VerifyResult {
  readonly entriesPerSecond: number;
  /** Number of governed rows compared with the ledger; undefined when the state was not asked for. */
  readonly rows?: number;
  /** Entries that were not read, because the tree up to there has a root that is known. */
  readonly base?: { readonly size: number };
  /** Root of the tree up to the last entry; undefined for a range. */
  readonly root?: string;
}

export interface VerifyParts {
  readonly login: pg.ClientConfig;
  readonly openBody: OpenBody;
  /** Whose ledger records key statements and heads. */
  readonly deploymentTenant?: TenantId | undefined;
  readonly references?: ReferenceCheck | undefined;
}

const clock = (): number => performance.now();
const workMs = 10;

export async function verifyTenant(
  parts: VerifyParts,
  tenant: TenantId,
  options: VerifyTenantOptions = {},
): Promise<TenantReport> {
  const startedMs = clock();
  const from = options.from ?? 0;
  const to = lastOf(options);
  let reading: Reading | undefined;
  const giveUp = (): void => void reading?.close();
  try {
    // Read before the snapshot, because heads recorded later may be ahead of it.
    const heads = options.record ?? (await readRecord(parts));
    reading = await openReading(parts.login, tenant);
    options.signal?.addEventListener("abort", giveUp);
    options.signal?.throwIfAborted();
    const own = await readOwnCheckpoints(reading.client, tenant);
    const record = await withKeysOf(parts, heads);
    const given = { ...options, from, to, record, own };
    const found = await baseOf(reading.client, tenant, given);
    const tail = await verifyChain(reading, parts, { ...given, tenant, base: found });
    const base = isVouchedFor(found, tail, options) ? found : undefined;
    const chain = base === found ? tail : await verifyChain(reading, parts, { ...given, tenant, base });
    const whole = from === 0 && to === undefined && base === undefined;
    const log =
      whole && options.state !== false ? await verifyOwnLog(reading.client, tenant, { chain, options }) : nothingToSay;
    const other =
      (options.state ?? whole) ? await verifyState(reading, tenant, stateOptions(parts, options)) : nothingToSay;
    const root = rootOf(chain, base);
    const past = wasSo(options.asOf, chain, root);
    return {
      ...report(chain, [past, log, other], startedMs),
      ...(base === undefined ? {} : { base: { size: base.size } }),
      ...(root === undefined ? {} : { root }),
    };
  } catch (error) {
    return report(await verifyEntries(failing(error), { tenant, from, clock }), [], startedMs);
  } finally {
    options.signal?.removeEventListener("abort", giveUp);
    await reading?.close();
  }
}

/** Entries there are now. */
export async function ledgerSize(login: pg.ClientConfig, tenant: TenantId): Promise<number> {
  const reading = await openReading(login, tenant);
  try {
    return ((await readHead(reading.client, tenant))?.seq ?? -1) + 1;
  } finally {
    await reading.close();
  }
}

function lastOf({ to, asOf }: VerifyTenantOptions): number | undefined {
  return asOf === undefined ? to : (typeof asOf === "number" ? asOf : asOf.size) - 1;
}

async function readRecord({ login, deploymentTenant }: VerifyParts): Promise<DeploymentRecord | undefined> {
  return deploymentTenant === undefined ? undefined : readDeploymentRecord(login, deploymentTenant);
}

/**
 * Keys after the snapshot, where heads are from before it: a checkpoint in it may be signed by a key that was made since the heads were
 * read, which for a deployment of many ledgers may be hours.
 */
async function withKeysOf(
  { login, deploymentTenant }: VerifyParts,
  record: DeploymentRecord | undefined,
): Promise<DeploymentRecord | undefined> {
  if (record === undefined || deploymentTenant === undefined) return record;
  return { ...record, ...(await readKeyRecord(login, deploymentTenant)) };
}

/** A place that anybody could write to may hold a checkpoint nobody signed: a beginning counts once the policy confirms it. */
function isVouchedFor(base: Base | undefined, { completeness }: VerifyResult, options: VerifyTenantOptions): boolean {
  if (base === undefined || options.since !== "anchor" || options.trust?.policy === undefined) return true;
  return (completeness.anchored ?? 0) >= base.size;
}

interface Given extends Omit<VerifyTenantOptions, "from" | "to" | "record"> {
  readonly from: number;
  readonly to: number | undefined;
  readonly record: DeploymentRecord | undefined;
  readonly own: readonly Checkpoint[];
}

async function baseOf(client: pg.Client, tenant: TenantId, given: Given): Promise<Base | undefined> {
  const { since, trust, from } = given;
  if (since === undefined || from > 0) return undefined;
  const known = since === "anchor" ? (trust === undefined ? undefined : anchoredTree(trust, tenant)) : since;
  return known === undefined ? undefined : findBase(client, tenant, known);
}

/** The largest tree of the tenant that the policy's quorum has confirmed; without a quorum, that any anchor holds. */
function anchoredTree({ anchors, policy }: Trust, tenant: TenantId): KnownTree | undefined {
  const trees = anchors
    .filter((anchor) => anchor.sameSource !== true)
    .map(({ name, checkpoints }) => ({
      name,
      known: checkpoints
        .map(({ checkpoint }) => checkpoint)
        .filter(({ origin }) => parseOrigin(origin)?.tenant === tenant),
    }));
  const confirmed = new Map(trees.map(({ name, known }) => [name, Math.max(0, ...known.map(({ size }) => size))]));
  const most = policy?.quorum == null ? Math.max(0, ...confirmed.values()) : (quorumSize(policy, confirmed) ?? 0);
  const candidates = trees.flatMap(({ known }) => known).filter(({ size }) => size <= most);
  return candidates.sort((a, b) => b.size - a.size)[0];
}

interface Chain extends Given {
  readonly tenant: TenantId;
  readonly base: Base | undefined;
}

async function verifyChain(reading: Reading, parts: VerifyParts, given: Chain): Promise<VerifyResult> {
  const { client } = reading;
  const { tenant, base, to } = given;
  const from = base?.size ?? given.from;
  const last = await readHead(client, tenant);
  const before = base !== undefined || from === 0 ? undefined : await readHead(client, tenant, from - 1);
  const prevHash = base?.prevHash ?? (before?.seq === from - 1 ? before.hash : undefined);
  const source =
    given.bodies === true
      ? readEntries(client, tenant, { from, to }, openingOf(parts.openBody))
      : readEntryBytes(client, tenant, { from, to });
  return verifyEntries(given.gentle === true ? gently<EntryBatch>(source) : source, {
    tenant,
    from,
    clock,
    onProgress: tellerOf(given, from, last?.seq),
    ownCheckpoints: given.own,
    reachesEnd: to === undefined,
    withRoot: from === 0,
    ...(given.bodies === true ? { countBodies: true, bodiesExpected: true } : {}),
    ...(base === undefined ? {} : { leftEdge: base.edge }),
    ...(prevHash === undefined ? {} : { prevHash }),
    ...(to === undefined ? {} : { to }),
    ...trustOf(given, tenant),
    ...passedOn(given),
  });
}

/**
 * If the key of a body is there and the body does not open, the body was altered or put in another's place: that is a
 * finding. If the key is not known, this server's configuration may be the cause, and nothing can be decided.
 */
function openingOf(openBody: OpenBody): OpenBody {
  return (tenant, entryId, body) => {
    try {
      return openBody(tenant, entryId, body);
    } catch (error) {
      if (error instanceof RefusalError && error.refusal.code === "sealed_unreadable" && error.cause !== undefined)
        return new Uint8Array();
      throw error;
    }
  };
}

/** Works for some milliseconds, then rests as long. */
async function* gently<T>(source: AsyncIterable<T>): AsyncGenerator<T, void, undefined> {
  let begunMs = clock();
  for await (const batch of source) {
    yield batch;
    const workedMs = clock() - begunMs;
    if (workedMs < workMs) continue;
    await rest(workedMs);
    begunMs = clock();
  }
}

function tellerOf({ onProgress, to }: Given, from: number, last: number | undefined): (entries: number) => void {
  const startedMs = clock();
  const of = last === undefined ? 0 : Math.min(last, to ?? last) + 1 - from;
  return (entries) =>
    onProgress?.({ step: "chain", entries, of, entriesPerSecond: perSecond(entries, clock() - startedMs) });
}

/** The evidence for this ledger: the verifier's own, and the deployment's records. */
function trustOf({ trust, record, asOf }: Given, tenant: TenantId): Partial<VerifyOptions> {
  const head = record?.heads.get(tenant);
  const witness = asOf === undefined || typeof asOf === "number" ? undefined : asOf;
  const base = trust ?? (witness === undefined ? undefined : { policySource: "none", keyStatements: [], anchors: [] });
  const asked = witness && {
    name: "as-of",
    kind: "file",
    location: "--as-of",
    checkpoints: [{ checkpoint: witness, atMs: null }],
  };
  return {
    ...(base === undefined ? {} : { trust: asked ? { ...base, anchors: [...base.anchors, asked] } : base }),
    ...(record?.name === undefined ? {} : { deployment: record.name, ownKeyStatements: record.keyStatements }),
    ...(head === undefined ? {} : { recordedHead: head }),
  };
}

function passedOn({ otherTenants, thorough, findingsMax }: Given): Partial<VerifyOptions> {
  return {
    ...(otherTenants === undefined ? {} : { otherTenants }),
    ...(thorough === undefined ? {} : { thorough }),
    ...(findingsMax === undefined ? {} : { findingsMax }),
  };
}

async function verifyOwnLog(
  client: pg.Client,
  tenant: TenantId,
  { chain, options }: { readonly chain: VerifyResult; readonly options: VerifyTenantOptions },
): Promise<StateVerdict> {
  const findings: Finding[] = [];
  options.onProgress?.({ step: "log", entries: 0, of: undefined, entriesPerSecond: 0 });
  try {
    for await (const finding of checkOwnLog(client, tenant, (chain.head?.seq ?? -1) + 1)) {
      findings.push(finding);
      if (findings.length >= (options.findingsMax ?? 100)) break;
    }
    return { ...nothingToSay, findings };
  } catch (error) {
    return { ...nothingToSay, findings, unreadable: error instanceof Error ? error.message : String(error) };
  }
}

/** The given checkpoint must have the root that the entries give, whatever its signatures. */
function wasSo(asOf: number | Checkpoint | undefined, chain: VerifyResult, root: string | undefined): StateVerdict {
  if (asOf === undefined || typeof asOf === "number" || chain.integrity !== "ok") return nothingToSay;
  const expected = Buffer.from(asOf.root).toString("hex");
  const isThere = (chain.head?.seq ?? -1) + 1 === asOf.size;
  if (isThere && root === expected) return nothingToSay;
  const finding: Finding = isThere
    ? {
        class: "HISTORY_REWRITTEN",
        seq: null,
        expected,
        actual: root ?? "none",
        detail: "the ledger was another at this size",
      }
    : {
        class: "TRUNCATED",
        seq: null,
        expected: `${asOf.size} entries`,
        actual: `${chain.entries}`,
        have: chain.entries,
        anchored: asOf.size,
      };
  return { ...nothingToSay, findings: [finding] };
}

function rootOf(chain: VerifyResult, base: Base | undefined): string | undefined {
  if (chain.head !== undefined) return chain.head.root;
  const nothingNew = base !== undefined && chain.integrity === "ok";
  return nothingNew ? Buffer.from(new RightEdge(base.size, base.edge).root()).toString("hex") : undefined;
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

function report(chain: VerifyResult, others: readonly StateVerdict[], startedMs: number): TenantReport {
  const findings = [...chain.findings, ...others.flatMap((other) => other.findings)];
  const notes = others.flatMap((other) => other.notes);
  const [first] = findings;
  const undecided = chain.undecided ?? others.find((other) => other.unreadable !== undefined)?.unreadable;
  const tampered = findings.some((finding) => finding.class !== "MALFORMED");
  const rows = others.find((other) => other.rows !== undefined)?.rows;
  const { first: _first, undecided: _undecided, ...rest } = chain;
  return {
    ...rest,
    integrity: tampered ? "tampered" : undecided !== undefined || findings.length > 0 ? "undecided" : "ok",
    findings,
    findingsTotal: chain.findingsTotal + findings.length - chain.findings.length,
    notes: [...chain.notes, ...notes],
    notesTotal: chain.notesTotal + notes.length,
    ...(first === undefined ? {} : { first }),
    ...(undecided === undefined ? {} : { undecided }),
    ...(rows === undefined ? {} : { rows }),
    durationMs: clock() - startedMs,
    entriesPerSecond: perSecond(chain.entries, chain.durationMs),
  };
}

function perSecond(entries: number, ms: number): number {
  return ms <= 0 ? 0 : Math.round((entries * 1000) / ms);
}
