/**
 * The server verifies its own ledgers: new entries every few minutes, everything once a day, and everything on request.
 * A tampered server can be silent about it; but a self-check shows a tampered database.
 *
 * Promises: one check at a time over all processes, and one an interval: whether the next is due follows from what is recorded, by whatever
 * process · half of the time it rests, so requests do not wait for it · a finding is reported once: an entry `ledger.alert_raised`, a line
 * of the log, a metric; not again while it is the same · a process that ends, or is cut off from the database, leaves no check that others
 * wait for.
 */
import type { TenantId, Verification, VerifyReport } from "@countersign/contract";
import { sha256Hex } from "@countersign/proof";
import type { OwnChecks } from "../audit/index.js";
import type { EntryDraft, Ledger, Query } from "../ledger/index.js";
import {
  type DeploymentRecord,
  type KnownTree,
  readDeploymentRecord,
  type TenantReport,
  type Verification as LedgerVerification,
  type VerifyTenantOptions,
  verifyView,
} from "../verification/index.js";
import { type Clock, dayMs, type Job, type Log, minuteMs, type NewId } from "../platform/index.js";
import type { Storage } from "../storage/index.js";
import {
  earlierAlerts,
  forgetChecks,
  insertCheck,
  newestChecks,
  checksOf,
  newestFinished,
  newestOfEach,
  oneCheck,
  openChecks,
  turn,
  updateCheck,
  type CheckRow,
  type NewestRow,
  type StandingRow,
} from "./selfCheckQueries.js";

type Kind = Verification["kind"];
type Progress = NonNullable<Verification["progress"]>;

/** As it lies in the table. */
interface Verdict {
  readonly state: Verification["state"];
  readonly progress?: Progress | null;
  readonly report?: VerifyReport;
}

export interface SelfCheckOptions {
  readonly ledger: Pick<Ledger, "transact">;
  readonly verification: Pick<LedgerVerification, "verifyTenant">;
  readonly storage: Pick<Storage, "applicationLogin" | "inTenant" | "inTenants" | "whileLocked">;
  readonly deploymentTenant: TenantId;
  readonly tenants: () => Promise<readonly TenantId[]>;
  /** Something was asked for: what is due is looked at now. */
  readonly wake?: () => void;
  readonly clock: Clock;
  readonly newId: NewId;
  readonly log: Pick<Log, "error" | "warn" | "info">;
  /** Between two rounds; 0: checks run only on request. */
  readonly everyMinutes: number;
  /** How often a process looks whether something is due; 10,000. */
  readonly lookMs?: number;
  /** Told of every report, for metrics. */
  readonly onReport?: (tenant: TenantId, kind: Kind, report: TenantReport) => void;
}

/** The newest finished check of a kind, by whatever process. */
export interface NewestCheck {
  readonly tenant: TenantId;
  readonly kind: Kind;
  readonly findings: number;
  readonly isUndecided: boolean;
  readonly durationMs: number;
  readonly atMs: number;
}

export interface SelfChecks extends OwnChecks {
  readonly job: Job;
  /** Of every tenant and kind; the oldest first. */
  newest(): Promise<NewestCheck[]>;
}

/** What this process found itself. */
export function checkOf(
  tenant: TenantId,
  kind: Kind,
  { report, atMs }: { readonly report: TenantReport; readonly atMs: number },
): NewestCheck {
  const { findingsTotal: findings, integrity, durationMs } = report;
  return { tenant, kind, findings, isUndecided: integrity === "undecided", durationMs, atMs };
}

const weekMs = 7 * dayMs;
const latestMs = 8.64e15;
const lookMsDefault = 10_000;
/** Between the clocks of two processes. */
const clocksApartMsMax = minuteMs;
const progressMs = 1_000;
/** How old heads may be that a ledger is held against; a round over many tenants reads them once. */
const recordMs = 60_000;
const checksKept = 500;
const alertsRead = 200;
const fingerprintsMax = 100;

export function openSelfChecks(options: SelfCheckOptions): SelfChecks {
  const checks = new Checks(options);
  return {
    job: {
      name: "self-check",
      purpose: "ledgers are verified: what is new, everything once a day, and what was asked for",
      lookMs: options.lookMs ?? lookMsDefault,
      atOnce: 1,
      due: (tenants) => checks.due(tenants),
      run: (tenant, signal) => checks.run(tenant, signal),
    },
    newest: () => checks.newest(),
    last: (tenant) => checks.last(tenant),
    tail: (tenant) => checks.tail(tenant),
    request: (tenant) => checks.request(tenant),
    one: async (tenant, id) => (await checks.ask(oneCheck(tenant, id), tenant)).map(viewOf)[0],
    list: async (tenant, limit) => (await checks.ask(newestChecks(tenant, limit), tenant)).map(viewOf),
  };
}

class Checks {
  readonly #options: SelfCheckOptions;
  readonly #startedMs: number;
  /** When this process itself last verified something of a ledger, and when it last began all of it: rows can be forged, this cannot. */
  readonly #ownMs = new Map<TenantId, number>();
  readonly #wholeMs = new Map<TenantId, number>();
  #record: { readonly atMs: number; readonly read: DeploymentRecord } | undefined;

  constructor(options: SelfCheckOptions) {
    this.#options = options;
    this.#startedMs = options.clock.nowMs();
  }

  /** Those that somebody asked for before those whose time has come; of these the one first that waited longest. */
  async due(tenants: readonly TenantId[]): Promise<TenantId[]> {
    const { storage, clock } = this.#options;
    const { name, text, values } = checksOf(tenants, clock.nowMs() + clocksApartMsMax);
    const { rows } = await storage.inTenants(tenants, (client) =>
      client.query<StandingRow>({ name, text, values: [...values] }),
    );
    return rows.filter((row) => row.open || this.#isTime(row)).map(({ tenant }) => tenant);
  }

  #isTime({ tenant, last_ms }: StandingRow): boolean {
    const { clock, everyMinutes } = this.#options;
    if (everyMinutes === 0) return false;
    const everyMs = everyMinutes * minuteMs;
    const nowMs = clock.nowMs();
    // Rows that say that others check all the time may be forged: once a day each process convinces itself.
    const ownMs = this.#ownMs.get(tenant) ?? this.#startedMs;
    return last_ms === null || nowMs - Number(last_ms) >= everyMs || nowMs - ownMs >= Math.max(dayMs, 2 * everyMs);
  }

  /** Whatever is to be done for a tenant, if no other process is at it. */
  async run(tenant: TenantId, signal: AbortSignal): Promise<void> {
    const { storage } = this.#options;
    await storage.whileLocked(turn, (lost) => this.#inTurn(tenant, AbortSignal.any([signal, lost])));
  }

  async #inTurn(tenant: TenantId, signal: AbortSignal): Promise<void> {
    const { clock, tenants } = this.#options;
    // Recorded heads are read before any ledger is.
    const record = await this.#deploymentRecord();
    const others = (await tenants()).filter((other) => other !== tenant);
    const round = { record, others, signal };
    await this.#asked(tenant, round);
    // Asked anew, because another process may have done it since this one looked.
    const [standing] = await this.ask<StandingRow>(checksOf([tenant], clock.nowMs() + clocksApartMsMax), tenant);
    if (!signal.aborted && standing !== undefined && this.#isTime(standing)) await this.#regular(tenant, round);
  }

  /** Heads that are older than they could be are still heads that every ledger must contain. */
  async #deploymentRecord(): Promise<DeploymentRecord> {
    const { storage, deploymentTenant, clock } = this.#options;
    const nowMs = clock.nowMs();
    if (this.#record === undefined || Math.abs(nowMs - this.#record.atMs) >= recordMs)
      this.#record = { atMs: nowMs, read: await readDeploymentRecord(storage.applicationLogin, deploymentTenant) };
    return this.#record.read;
  }

  async ask<R extends object = CheckRow>(query: Query, tenant: TenantId): Promise<R[]> {
    const { rows } = await this.#options.storage.inTenant(tenant, (client) =>
      client.query<R>({ name: query.name, text: query.text, values: [...query.values] }),
    );
    return rows;
  }

  async last(tenant: TenantId): Promise<Verification | undefined> {
    const found = (await this.ask(newestFinished(tenant, this.#options.clock.nowMs()), tenant)).map(viewOf);
    return found.sort((a, b) => (a.startedAt < b.startedAt ? 1 : -1))[0];
  }

  async newest(): Promise<NewestCheck[]> {
    const { storage, tenants, clock } = this.#options;
    const all = await tenants();
    const nowMs = clock.nowMs();
    const { name, text, values } = newestOfEach(all, nowMs);
    const { rows } = await storage.inTenants(all, (client) =>
      client.query<NewestRow>({ name, text, values: [...values] }),
    );
    return rows.map(({ tenant, kind, started_ms, finished_ms, integrity, findings }) => {
      // A row that was forged with an end in the future ended now.
      const atMs = Math.min(nowMs, Number(finished_ms));
      return {
        ...{ tenant, kind, atMs },
        findings: typeof findings === "number" ? findings : 0,
        isUndecided: integrity === "undecided",
        durationMs: Math.max(0, atMs - Number(started_ms)),
      };
    });
  }

  async tail(tenant: TenantId): Promise<{ report: TenantReport; check: Verification | undefined }> {
    const check = await this.last(tenant);
    const since = knownFrom(check);
    const report = await this.#options.verification.verifyTenant(
      tenant,
      since === undefined ? { bodies: true } : { since },
    );
    return { report, check: report.base === undefined ? undefined : check };
  }

  async request(tenant: TenantId): Promise<Verification> {
    const open = (await this.ask(openChecks(tenant), tenant)).filter((row) => row.kind === "requested").map(viewOf);
    const waiting = open.find(({ state }) => state === "queued") ?? open.find(({ state }) => state === "running");
    const made = waiting ?? (await this.#insert(tenant, "requested", { state: "queued" }));
    this.#options.wake?.();
    return made;
  }

  async #insert(tenant: TenantId, kind: Kind, verdict: Verdict): Promise<Verification> {
    const [id, atMs] = [this.#options.newId(), this.#options.clock.nowMs()];
    await this.ask(insertCheck(tenant, { id, kind, atMs, verdict }), tenant);
    return viewOf({ id, kind, started_ms: String(atMs), finished_ms: null, verdict });
  }

  /** Whoever has the turn runs what waits, and ends what nobody runs any more. */
  async #asked(tenant: TenantId, round: Round): Promise<void> {
    for (const row of await this.ask(openChecks(tenant), tenant)) {
      if (round.signal.aborted) return;
      const { state } = viewOf(row);
      if (state === "queued") await this.#run(tenant, { id: row.id, kind: row.kind, round });
      else await this.#finish(tenant, row.id, { state: "abandoned" });
    }
  }

  async #regular(tenant: TenantId, round: Round): Promise<void> {
    const { clock } = this.#options;
    const nowMs = clock.nowMs();
    const finished = (await this.ask(newestFinished(tenant, nowMs), tenant)).map(viewOf);
    const whole = finished.filter(({ kind }) => kind !== "incremental").map(({ startedAt }) => Date.parse(startedAt));
    // Rows can be forged, again every day; what this process has seen itself cannot.
    const seenMs = this.#wholeMs.get(tenant) ?? this.#startedMs;
    const isDue = nowMs - Math.max(0, ...whole) >= dayMs || nowMs - seenMs >= weekMs;
    if (isDue) this.#wholeMs.set(tenant, nowMs);
    const last = finished.sort((a, b) => (a.startedAt < b.startedAt ? 1 : -1))[0];
    const since = isDue ? undefined : knownFrom(last);
    const kind: Kind = since === undefined ? "full" : "incremental";
    const { id } = await this.#insert(tenant, kind, { state: "running" });
    await this.#run(tenant, { id, kind, round, ...(since === undefined ? {} : { since }) });
    await this.ask(forgetChecks(tenant, checksKept), tenant);
  }

  async #run(tenant: TenantId, check: Check): Promise<void> {
    const { verification, onReport, clock } = this.#options;
    const { id, kind, since, round } = check;
    const told = { atMs: -Infinity, writing: Promise.resolve() };
    const onProgress: VerifyTenantOptions["onProgress"] = ({ step, entries, of, entriesPerSecond }) => {
      if (clock.nowMs() - told.atMs < progressMs) return;
      told.atMs = clock.nowMs();
      const progress = { step, entries, of: of ?? null, entriesPerSecond };
      const query = updateCheck(tenant, id, { verdict: { state: "running", progress } satisfies Verdict });
      told.writing = told.writing.then(() => this.ask(query, tenant)).then(nothing, nothing); // only for who watches
    };
    const report = await verification.verifyTenant(tenant, {
      record: round.record,
      otherTenants: round.others,
      gentle: true,
      signal: round.signal,
      onProgress,
      ...(since === undefined ? { bodies: kind === "requested" } : { since }),
    });
    await told.writing;
    if (round.signal.aborted) return this.#finish(tenant, id, { state: "abandoned" });
    this.#ownMs.set(tenant, clock.nowMs());
    await this.#finish(tenant, id, { state: "done", report: verifyView(report) }, report);
    onReport?.(tenant, kind, report);
    await this.#raise(tenant, { id, report });
  }

  async #finish(tenant: TenantId, id: string, verdict: Verdict, report?: TenantReport): Promise<void> {
    const place = report === undefined ? {} : { from: report.from, to: report.head?.seq ?? null };
    await this.ask(updateCheck(tenant, id, { verdict, finishedMs: this.#options.clock.nowMs(), ...place }), tenant);
  }

  async #raise(tenant: TenantId, { id, report }: { id: string; report: TenantReport }): Promise<void> {
    const { log, ledger } = this.#options;
    if (report.integrity === "undecided" && report.findings.length === 0)
      log.warn({ tenant, check: id, why: report.undecided }, "a self-check could not decide");
    if (report.findings.length === 0) return;
    const found = report.findings.slice(0, fingerprintsMax).map(fingerprintOfFinding);
    const earlier = await this.ask<{ fingerprints: unknown }>(earlierAlerts(tenant, alertsRead), tenant);
    const known = new Set(
      earlier.flatMap(({ fingerprints }) => (Array.isArray(fingerprints) ? (fingerprints as unknown[]) : [])),
    );
    const fresh = found.filter((fingerprint) => !known.has(fingerprint));
    if (fresh.length === 0) return;
    const [first] = report.findings;
    log.error(
      { tenant, check: id, findings: report.findingsTotal, first: first?.class, seq: first?.seq },
      "the ledger does not verify; docs/forensics.md says what to do",
    );
    const data = {
      ...{ check: id, findings: report.findingsTotal, fingerprints: fresh },
      ...(first === undefined ? {} : { class: first.class, ...(first.seq === null ? {} : { seq: first.seq }) }),
    };
    const entry: EntryDraft = {
      actor: { type: "system", id: tenant, humans: [] },
      ...({ action: "ledger.alert_raised", subject: { type: "tenant", id: tenant }, data } as const),
    };
    await ledger.transact(tenant, nothing, () => ({
      kind: "change",
      change: { guards: [], entries: [entry] },
      result: undefined,
    }));
  }
}

interface Round {
  readonly record: DeploymentRecord;
  readonly others: readonly TenantId[];
  readonly signal: AbortSignal;
}
interface Check {
  readonly id: string;
  readonly kind: Kind;
  readonly round: Round;
  readonly since?: KnownTree;
}

const nothing = (): Promise<undefined> => Promise.resolve(undefined);

/** The result of a check without findings, on which the next check builds. */
function knownFrom(check: Verification | undefined): KnownTree | undefined {
  const { integrity, to, root } = check?.report ?? {};
  if (integrity !== "ok" || to == null || root == null) return undefined;
  return { size: to + 1, root: Buffer.from(root, "hex") };
}

/** A repeated finding has the same digest. The finding's text comes from the database: it does not go into an entry. */
function fingerprintOfFinding({ class: name, seq, table, id, detail }: TenantReport["findings"][number]): string {
  return sha256Hex(JSON.stringify([name, seq, table ?? null, id ?? null, detail ?? null])).slice(0, 32);
}

function viewOf({ id, kind, started_ms, finished_ms, verdict }: CheckRow): Verification {
  const { state = "abandoned", progress = null, report = null } = (verdict ?? {}) as Partial<Verdict>;
  // A row that was forged with a time beyond all calendars must not end the checks of all tenants.
  const iso = (ms: string): string => new Date(Math.max(-latestMs, Math.min(latestMs, Number(ms)))).toISOString();
  return {
    ...{ id, kind, state, progress, report },
    startedAt: iso(started_ms),
    finishedAt: finished_ms === null ? null : iso(finished_ms),
  };
}
