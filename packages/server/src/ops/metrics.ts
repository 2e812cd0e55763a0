/**
 * Metrics for a monitoring system, in the text format of Prometheus. They are read on request: nothing is counted
 * twice, and nothing is computed between requests.
 *
 * Promises: bounded, whatever tenants and callers there are: the 100 largest tenants have a label of their own, the others are
 * `other` together; codes and routes are those of the contract · no name, title or text of anybody appears.
 */
import { timingSafeEqual } from "node:crypto";
import { isRefusal, refused, type Refusal, type TenantId } from "@countersign/contract";
import { collectDefaultMetrics, Counter, Gauge, Histogram, type Registry } from "prom-client";
import type { Ledger } from "../ledger/index.js";
import type { PublishingStatus } from "../publishing/index.js";
import type { TenantReport } from "../verification/index.js";
import type { Storage } from "../storage/index.js";
import { type Caller, checkPermission, deploymentTenant, type Tenancy } from "../tenancy/index.js";
import { followerLags, type Lag } from "../followers/index.js";
import type { Failing, Jobs, Ran } from "../jobs/index.js";
import { checkOf, type NewestCheck, type SelfChecks } from "./selfCheck.js";

export interface MetricsOptions {
  readonly registry: Registry;
  readonly ledger: Pick<Ledger, "stats">;
  readonly storage: Pick<Storage, "inTenant" | "inTenants">;
  readonly jobs: Pick<Jobs, "failing" | "waiting" | "works">;
  readonly tenants: () => Promise<readonly TenantId[]>;
  readonly selfChecks: Pick<SelfChecks, "newest">;
  readonly publishing: () => PublishingStatus;
  readonly now: () => number;
  /** A request with it may read; without it only keys of the deployment's tenant may. */
  readonly token?: string | undefined;
  readonly tenancy: Pick<Tenancy, "authenticate">;
}

export interface Answered {
  readonly method: string;
  /** As declared, with its parameters unfilled; null: there is nothing. */
  readonly route: string | null;
  readonly status: number;
  readonly code: string | undefined;
  readonly ms: number;
}

export interface Metrics {
  /** The text, or why it is not given. */
  read(credential: string | undefined): Promise<{ readonly type: string; readonly text: string } | Refusal>;
  answered(what: Answered): void;
  checked(tenant: TenantId, kind: NewestCheck["kind"], report: TenantReport): void;
  ran(run: Ran): void;
}

const tenantsMax = 100;
const other = "other";

export function openMetrics(options: MetricsOptions): Metrics {
  const { registry, now } = options;
  collectDefaultMetrics({ register: registry });
  const names = new TenantNames();
  const door = doorGauges(registry, options.ledger);
  const sizes = sizeGauges(registry);
  const published = publishingGauges(registry);
  const checks = checkGauges(registry);
  const requests = requestMetrics(registry);
  const jobs = jobMetrics(registry);
  const read = async (): Promise<{ type: string; text: string }> => {
    const entries = await readSizes(options);
    names.choose(entries);
    sizes(entries, names);
    published(options.publishing(), { entries, names, nowMs: now() });
    for (const check of await options.selfChecks.newest()) checks.take(check);
    checks.ages(now(), names);
    jobs.scraped(await readJobs(options), { names, nowMs: now() });
    door();
    return { type: registry.contentType, text: await registry.metrics() };
  };
  return {
    read: async (credential) => (await refusalOf(options, credential)) ?? (await read()),
    answered: requests,
    ran: jobs.ran,
    checked: (tenant, kind, report) => checks.take(checkOf(tenant, kind, { report, atMs: now() })),
  };
}

async function refusalOf(
  { token, tenancy }: MetricsOptions,
  credential: string | undefined,
): Promise<Refusal | undefined> {
  if (token !== undefined && credential !== undefined && sameText(token, credential)) return undefined;
  const caller: Caller | Refusal = await tenancy.authenticate(credential);
  if (isRefusal(caller)) return caller;
  if (caller.tenant !== deploymentTenant)
    return refused(
      "forbidden",
      "metrics are of all tenants; use a key of the deployment's tenant, or `COUNTERSIGN_METRICS_TOKEN`",
    );
  return checkPermission(caller, "audit.read");
}

function sameText(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}

/** Which tenants have a label of their own: once they do, they keep it while there is room. */
class TenantNames {
  #named: ReadonlySet<string> = new Set();

  choose(entries: ReadonlyMap<string, number>): void {
    const largest = [...entries].sort((a, b) => b[1] - a[1]).slice(0, tenantsMax);
    this.#named = new Set(largest.map(([tenant]) => tenant));
  }

  of(tenant: string): string {
    return this.#named.has(tenant) ? tenant : other;
  }
}

/** Entries of every tenant; by entries_pkey, one probe a tenant. */
async function readSizes({ storage, tenants }: MetricsOptions): Promise<Map<string, number>> {
  const all = await tenants();
  const { rows } = await storage.inTenant(deploymentTenant, async (client) => {
    await client.query("select set_config('app.tenants', $1, true)", [`{${all.join(",")}}`]);
    return client.query<{ tenant: string; size: string }>({
      name: "countersign_metrics_sizes",
      text: `select t.id as tenant, head.seq + 1 as size from unnest($1::uuid[]) as t (id)
 cross join lateral (select seq from countersign.entries where tenant_id = t.id order by seq desc limit 1) as head`,
      values: [all],
    });
  });
  return new Map(rows.map(({ tenant, size }) => [tenant, Number(size)]));
}

// ── What is told ─────────────────────────────────────────────────────────────────────────────────────────────────────

function gauge<L extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly L[] = [],
): Gauge<L> {
  return new Gauge({ name: `countersign_${name}`, help, labelNames: [...labelNames], registers: [registry] });
}

function counter<L extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly L[] = [],
): Counter<L> {
  return new Counter({ name: `countersign_${name}_total`, help, labelNames: [...labelNames], registers: [registry] });
}

/** The door counts by itself: the metric's counters are set to its values. */
function doorGauges(registry: Registry, ledger: Pick<Ledger, "stats">): () => void {
  const waiting = gauge(registry, "door_waiting", "Changes waiting to be committed");
  const counted = {
    changes: counter(registry, "door_changes", "Changes committed by this process"),
    groups: counter(registry, "door_groups", "Groups of changes committed by this process"),
    moved: counter(registry, "door_moved", "Changes decided again because a guard had moved"),
    lockTimeouts: counter(registry, "door_lock_timeouts", "Groups that did not get a tenant's lock in time"),
    connectionsLost: counter(registry, "door_connections_lost", "Connections of the door that were lost"),
  };
  const violations = counter(registry, "door_violations", "Changes that violated a constraint: each is a bug", [
    "constraint",
  ]);
  return () => {
    const stats = ledger.stats();
    waiting.set(stats.waiting);
    for (const name of Object.keys(counted) as (keyof typeof counted)[]) {
      counted[name].reset();
      counted[name].inc(stats[name]);
    }
    violations.reset();
    for (const [constraint, times] of Object.entries(stats.violations)) violations.inc({ constraint }, times);
  };
}

function sizeGauges(registry: Registry): (entries: ReadonlyMap<string, number>, names: TenantNames) => void {
  const sizes = gauge(registry, "ledger_entries", "Entries of a tenant's ledger", ["tenant"]);
  const count = gauge(registry, "tenants", "Tenants of the deployment");
  return (entries, names) => {
    sizes.reset();
    count.set(entries.size);
    for (const [tenant, size] of entries) sizes.inc({ tenant: names.of(tenant) }, size);
  };
}

interface Scrape {
  readonly entries: ReadonlyMap<string, number>;
  readonly names: TenantNames;
  readonly nowMs: number;
}

function publishingGauges(registry: Registry): (status: PublishingStatus, scrape: Scrape) => void {
  const state = gauge(registry, "publishing_state", "1 for the state the publisher of this process is in", ["state"]);
  const stopped = gauge(registry, "publishing_stopped", "Ledgers whose publishing stopped and waits for somebody", [
    "tenant",
  ]);
  const age = gauge(registry, "checkpoint_age_seconds", "Age of the newest signed checkpoint; the largest of `other`", [
    "tenant",
  ]);
  const lag = gauge(registry, "checkpoint_lag_entries", "Entries the newest signed checkpoint does not cover", [
    "tenant",
  ]);
  const degraded = gauge(registry, "anchors_degraded", "1: fewer anchors confirm than required, or one contradicts");
  const anchors = gauge(registry, "anchor_standing", "Ledgers an anchor stands so with", ["anchor", "standing"]);
  const anchorLag = gauge(
    registry,
    "anchor_lag_entries",
    "Entries published and not confirmed by the anchor; the largest",
    ["anchor"],
  );
  const anchorAge = gauge(registry, "anchor_failing_seconds", "How long the anchor has been failing; the longest", [
    "anchor",
  ]);
  return (status, { entries, names, nowMs }) => {
    for (const one of [state, stopped, age, lag, anchors, anchorLag, anchorAge]) one.reset();
    for (const name of ["starting", "leading", "following", "stopped"])
      state.set({ state: name }, name === status.state ? 1 : 0);
    const most = new Most();
    for (const { tenant, signedMs, size, state: standing } of status.tenants) {
      const label = { tenant: names.of(tenant) };
      stopped.inc(label, standing === "stopped" ? 1 : 0);
      lag.inc(label, Math.max(0, (entries.get(tenant) ?? 0) - size));
      if (signedMs !== null) most.set(age, label, Math.max(0, nowMs - signedMs) / 1000);
    }
    degraded.set(status.anchorsDegraded ? 1 : 0);
    for (const { anchor, standing, wanted, size, sinceMs } of status.anchors) {
      anchors.inc({ anchor, standing });
      most.set(anchorLag, { anchor }, Math.max(0, wanted - size));
      most.set(anchorAge, { anchor }, sinceMs === null ? 0 : Math.max(0, nowMs - sinceMs) / 1000);
    }
  };
}

/** The largest value of each label. */
class Most {
  readonly #seen = new Map<object, Map<string, number>>();

  set<L extends string>(of: Gauge<L>, labels: Record<L, string>, value: number): void {
    const seen = this.#seen.get(of) ?? new Map<string, number>();
    this.#seen.set(of, seen);
    const key = JSON.stringify(labels);
    if (value < (seen.get(key) ?? -Infinity)) return;
    seen.set(key, value);
    of.set(labels, value);
  }
}

function checkGauges(registry: Registry) {
  const findings = gauge(
    registry,
    "self_check_findings",
    "Findings of the newest self-check: anything but 0 is an alarm",
    ["tenant"],
  );
  const undecided = gauge(registry, "self_check_undecided", "1: the newest self-check could not decide", ["tenant"]);
  const age = gauge(registry, "self_check_age_seconds", "Time since a self-check ended; the longest of `other`", [
    "tenant",
    "kind",
  ]);
  const duration = gauge(registry, "self_check_duration_seconds", "How long the newest self-check took", ["kind"]);
  const newest = new Map<TenantId, { findings: number; undecided: boolean; at: Map<string, number> }>();
  return {
    /** What this process found itself, and what is recorded: a record that was deleted or is older changes nothing. */
    take: ({ tenant, kind, atMs, ...found }: NewestCheck): void => {
      const at = newest.get(tenant)?.at ?? new Map<string, number>();
      if ((at.get(kind) ?? -Infinity) >= atMs) return;
      const isNewest = Math.max(-Infinity, ...at.values()) <= atMs;
      at.set(kind, atMs);
      if (isNewest) newest.set(tenant, { findings: found.findings, undecided: found.isUndecided, at });
      duration.set({ kind }, found.durationMs / 1000);
    },
    ages: (nowMs: number, names: TenantNames): void => {
      for (const one of [findings, undecided, age]) one.reset();
      const most = new Most();
      for (const [tenant, last] of newest) {
        const label = { tenant: names.of(tenant) };
        findings.inc(label, last.findings);
        undecided.inc(label, last.undecided ? 1 : 0);
        for (const [kind, atMs] of last.at) most.set(age, { ...label, kind }, Math.max(0, nowMs - atMs) / 1000);
      }
    },
  };
}

interface JobsFound {
  readonly works: boolean;
  readonly failing: readonly Failing[];
  readonly waiting: ReadonlyMap<string, number>;
  readonly lags: readonly Lag[];
}

async function readJobs({ jobs, storage, tenants }: MetricsOptions): Promise<JobsFound> {
  const [failing, waiting, lags] = await Promise.all([
    jobs.failing(),
    jobs.waiting(),
    tenants().then((all) => followerLags(storage, all)),
  ]);
  return { works: jobs.works, failing, waiting, lags };
}

function jobMetrics(registry: Registry) {
  const working = gauge(registry, "jobs_working", "1: this process takes jobs out of the queue");
  const waiting = gauge(registry, "jobs_waiting", "Jobs that wait or run, in any process", ["job"]);
  const failing = gauge(registry, "job_failing_seconds", "How long a job has been failing; the longest of `other`", [
    "job",
    "tenant",
  ]);
  const lag = gauge(registry, "follower_lag_entries", "Entries a follower has not done; the most of `other`", [
    "follower",
    "tenant",
  ]);
  const runs = counter(registry, "job_runs", "Runs of jobs in this process", ["job", "outcome"]);
  return {
    ran: ({ job, error }: Ran): void => runs.inc({ job, outcome: error === undefined ? "done" : "failed" }),
    scraped: (found: JobsFound, { names, nowMs }: { names: TenantNames; nowMs: number }): void => {
      for (const one of [waiting, failing, lag]) one.reset();
      working.set(found.works ? 1 : 0);
      for (const [job, count] of found.waiting) waiting.set({ job }, count);
      const most = new Most();
      for (const { job, tenant, sinceMs } of found.failing)
        most.set(failing, { job, tenant: names.of(tenant) }, Math.max(0, nowMs - sinceMs) / 1000);
      for (const { follower, tenant, entries } of found.lags)
        most.set(lag, { follower, tenant: names.of(tenant) }, entries);
    },
  };
}

function requestMetrics(registry: Registry): (what: Answered) => void {
  const seconds = new Histogram({
    name: "countersign_http_request_seconds",
    help: "Time until a request was answered",
    labelNames: ["method", "route", "status"],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
    registers: [registry],
  });
  const refusals = counter(registry, "refused", "Requests refused, by code", ["code"]);
  return ({ method, route, status, code, ms }) => {
    seconds.observe({ method, route: route ?? "none", status: `${Math.floor(status / 100)}xx` }, ms / 1000);
    if (code !== undefined) refusals.inc({ code });
  };
}
