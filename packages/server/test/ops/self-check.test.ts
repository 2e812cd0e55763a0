/** The server verifies itself: regularly, when asked, over processes; tells what it found once; and metrics of it. */
import type { TenantId } from "@countersign/contract";
import { Registry } from "prom-client";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TenantReport } from "../../src/verification/index.js";
import { openSelfChecks, type SelfChecks } from "../../src/ops/index.js";
import { newId, openLog } from "../../src/platform/index.js";
import { commit, committed, entry, heldClock, newTenant, openTestLedger, type TestLedger } from "../support/ledger.js";
import type { Jobs } from "../../src/jobs/index.js";
import { startJobs } from "../support/jobs.js";
import { createDatabase, withClient, type TestDatabase } from "../support/postgres.js";
import { startTestServer } from "../support/server.js";

let database: TestDatabase;
let ledger: TestLedger;
const deployment = newTenant();

beforeAll(async () => {
  database = await createDatabase();
  ledger = await openTestLedger(database.storage);
});
afterAll(async () => {
  await ledger.close();
  await database.close();
});

/** What two processes share, or what is otherwise in one. */
interface World {
  readonly clock: ReturnType<typeof heldClock>;
  readonly verifyTenant: TestLedger["verifyTenant"];
}

interface Checked {
  readonly tenant: TenantId;
  readonly kind: string;
  readonly report: TenantReport;
}

/** Checks over some tenants; `next` resolves with the next report, whatever it is. */
function checking(
  tenants: readonly TenantId[],
  everyMinutes = 15,
  { clock = heldClock(Date.parse("2026-11-21T12:00:00Z")), verifyTenant = ledger.verifyTenant }: Partial<World> = {},
) {
  const reports: Checked[] = [];
  const waiting: ((one: Checked) => void)[] = [];
  const started = { jobs: undefined as Jobs | undefined };
  const checks = openSelfChecks({
    wake: () => start().wake("self-check"),
    ...{ ledger, verification: { verifyTenant }, storage: database.storage, deploymentTenant: deployment },
    ...{ clock, newId, everyMinutes },
    log: openLog({ level: "silent" }),
    lookMs: 50,
    tenants: () => Promise.resolve(tenants),
    onReport: (tenant, kind, report) => {
      const one = { tenant, kind, report };
      const taker = waiting.shift();
      if (taker === undefined) reports.push(one);
      else taker(one);
    },
  });
  const next = (): Promise<Checked> => {
    const there = reports.shift();
    return there === undefined ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(there);
  };
  const start = (): Jobs =>
    (started.jobs ??= startJobs({
      storage: database.storage,
      ...{ tenants, clock, jobs: [checks.job], byThemselves: true },
    }));
  return { checks, clock, next, start, stop: async () => started.jobs?.stop() };
}

async function filled(entries: number): Promise<TenantId> {
  const tenant = newTenant();
  for (let i = 0; i < entries; i++) await committed(commit(ledger, tenant, { entries: [entry({ body: { i } })] }));
  return tenant;
}

/** Written by hand, as another process would have: a check that ended. */
async function forgedCheck(
  tenant: TenantId,
  { startedMs, finishedMs, findings = 0 }: { startedMs: string; finishedMs: string | null; findings?: number },
  storage = database.storage,
): Promise<void> {
  const report = { integrity: findings === 0 ? "ok" : "tampered", findingsTotal: findings, to: 1, root: "00" };
  await storage.inTenant(tenant, (client) =>
    client.query(
      "insert into countersign.self_checks (tenant_id, id, kind, started_ms, finished_ms, from_seq, verdict) values ($1, $2, 'full', $3, $4, 0, $5)",
      [tenant, newId(), startedMs, finishedMs, JSON.stringify({ state: "done", report })],
    ),
  );
}

async function done(checks: SelfChecks, tenant: TenantId, id: string) {
  for (;;) {
    const one = await checks.one(tenant, id);
    if (one?.state === "done" || one?.state === "abandoned") return one;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function alerts(tenant: TenantId) {
  const page = await ledger.auditLog(tenant, { actions: ["ledger.alert_raised"], limit: 10 });
  return page.entries;
}

describe("self-check", () => {
  test("everything first, then what is new; the tail says the same as everything", async () => {
    const tenant = await filled(5);
    const { checks, clock, next, start, stop } = checking([tenant]);
    start();
    expect(await next()).toMatchObject({ kind: "full", report: { integrity: "ok", entries: 5 } });
    for (let i = 0; i < 3; i++) await committed(commit(ledger, tenant));
    const { report, check } = await checks.tail(tenant);
    expect(report).toMatchObject({ integrity: "ok", entries: 3, base: { size: 5 } });
    expect(check?.kind).toBe("full");
    clock.now += 16 * 60_000;
    expect(await next()).toMatchObject({ kind: "incremental", report: { entries: 3, base: { size: 5 } } });
    const whole = await ledger.verifyTenant(tenant);
    expect((await checks.tail(tenant)).report.root).toBe(whole.root);
    await stop();
  });

  test("a requested one has everything, and is not asked for twice", async () => {
    const tenant = await filled(4);
    const { checks, stop } = checking([tenant], 0);
    const [one, two] = [await checks.request(tenant), await checks.request(tenant)];
    expect(two.id).toBe(one.id);
    const end = await done(checks, tenant, one.id);
    expect(end).toMatchObject({
      kind: "requested",
      state: "done",
      report: { integrity: "ok", bodies: { checked: 4 } },
    });
    await stop();
  });

  test("what a process left behind is abandoned by the next one", async () => {
    const tenant = await filled(1);
    const id = newId();
    await database.storage.inTenant(tenant, (client) =>
      client.query(
        "insert into countersign.self_checks (tenant_id, id, kind, started_ms, from_seq, verdict) values ($1, $2, 'full', 1, 0, '{\"state\":\"running\"}')",
        [tenant, id],
      ),
    );
    const { checks, stop } = checking([tenant], 0);
    await checks.request(tenant);
    expect(await done(checks, tenant, id)).toMatchObject({ state: "abandoned" });
    await stop();
  });

  test("a forged check of the future, or of no time at all, puts nothing off", async () => {
    const tenant = await filled(2);
    const forged = (startedMs: string, finished: boolean) =>
      forgedCheck(tenant, { startedMs, finishedMs: finished ? startedMs : null });
    await forged(String(Date.parse("2226-11-21T12:00:00Z")), true);
    await forged("9000000000000000000", true);
    await forged("9000000000000000000", false);
    const { checks, clock, next, start, stop } = checking([tenant]);
    start();
    expect(await next()).toMatchObject({ kind: "full", report: { integrity: "ok", entries: 2 } });
    expect((await checks.list(tenant, 10)).length).toBe(4);
    // Forged anew each day: what the process has seen itself counts.
    clock.now += 7 * 86_400_000;
    await forged(String(clock.now - 1000), true);
    expect(await next()).toMatchObject({ kind: "full" });
    await stop();
  });

  test("two processes take turns", async () => {
    const tenant = await filled(3);
    const [a, b] = [checking([tenant], 0), checking([tenant], 0)];
    const asked = await Promise.all([a.checks.request(tenant), b.checks.request(tenant)]);
    for (const { id } of asked) expect(await done(a.checks, tenant, id)).toMatchObject({ state: "done" });
    await Promise.all([a.stop(), b.stop()]);
  });

  describe("is due by what is recorded", () => {
    const { signal } = new AbortController();
    const minutes = 60_000;
    /** Processes without a scheduler: each looks, and runs, when the test says so. */
    const processes = (tenants: readonly TenantId[]) => {
      const clock = heldClock(Date.parse("2026-11-21T12:00:00Z"));
      const one = () => {
        const { checks } = checking(tenants, 15, { clock });
        const due = async (): Promise<readonly TenantId[]> => (await checks.job.due?.(tenants)) ?? [];
        const run = (tenant: TenantId): Promise<void> => checks.job.run(tenant, signal);
        return {
          due,
          run,
          kinds: async (tenant: TenantId) => (await checks.list(tenant, 100)).map(({ kind }) => kind),
        };
      };
      return { clock, one };
    };

    test("several processes check together once an interval", async () => {
      const tenant = await filled(2);
      const { clock, one } = processes([tenant]);
      const [a, b] = [one(), one()];
      expect([await a.due(), await b.due()]).toEqual([[tenant], [tenant]]);
      await a.run(tenant);
      expect([await a.due(), await b.due()]).toEqual([[], []]);
      // It had looked before the other was done.
      await b.run(tenant);
      expect(await b.kinds(tenant)).toEqual(["full"]);
      clock.now += 15 * minutes - 1;
      expect([await a.due(), await b.due()]).toEqual([[], []]);
      clock.now += 1;
      expect([await a.due(), await b.due()]).toEqual([[tenant], [tenant]]);
      await b.run(tenant);
      await a.run(tenant);
      expect(await a.kinds(tenant)).toEqual(["incremental", "full"]);
      // A process that starts does not check everything anew.
      expect(await one().due()).toEqual([]);
    });

    test("those that somebody asked for first, then those that waited longest", async () => {
      const [asked, never, long, short] = [await filled(1), await filled(1), await filled(1), await filled(1)];
      const tenants = [short, long, never, asked];
      const { clock, one } = processes(tenants);
      const a = one();
      await a.run(long);
      clock.now += 1;
      await a.run(short);
      clock.now += 15 * minutes;
      await a.run(asked);
      await forgedCheck(asked, { startedMs: String(clock.now), finishedMs: null });
      expect(await a.due()).toEqual([asked, never, long, short]);
      // Only on request: nothing but that.
      expect(await checking(tenants, 0, { clock }).checks.job.due?.(tenants)).toEqual([asked]);
    });

    test("rows that say that another process checks all the time put off none for longer than a day", async () => {
      const tenant = await filled(2);
      const { clock, one } = processes([tenant]);
      const [a, b] = [one(), one()];
      await a.run(tenant);
      const passed = async (ms: number): Promise<void> => {
        clock.now += ms;
        await forgedCheck(tenant, { startedMs: String(clock.now - 1000), finishedMs: String(clock.now) });
      };
      await passed(24 * 60 * minutes - 1);
      expect([await a.due(), await b.due()]).toEqual([[], []]);
      await passed(1);
      expect([await a.due(), await b.due()]).toEqual([[tenant], [tenant]]);
      await a.run(tenant);
      expect([await a.due(), await b.due()]).toEqual([[], [tenant]]);
    });

    test("another process whose clock is a little ahead has checked; one of the far future has not", async () => {
      const tenant = await filled(1);
      const { clock, one } = processes([tenant]);
      const ahead = String(clock.now + 2_000);
      await forgedCheck(tenant, { startedMs: String(clock.now + 2 * minutes), finishedMs: ahead });
      expect(await one().due()).toEqual([tenant]);
      await forgedCheck(tenant, { startedMs: ahead, finishedMs: ahead });
      expect(await one().due()).toEqual([]);
    });
  });

  test("whose turn was lost is abandoned, because another process may begin", async () => {
    const tenant = await filled(2);
    const { checks } = checking([tenant], 15, {
      verifyTenant: async (of, options) => {
        const lost = new Promise<void>((resolve) => options?.signal?.addEventListener("abort", () => resolve()));
        await withClient(database.superuser, (client) =>
          client.query(
            "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'countersign lock' and datname = current_database()",
          ),
        );
        await lost;
        return ledger.verifyTenant(of, options);
      },
    });
    await checks.job.run(tenant, new AbortController().signal);
    expect(await checks.list(tenant, 10)).toMatchObject([{ state: "abandoned" }]);
    expect(await checks.job.due?.([tenant])).toEqual([tenant]);
  });

  test("a finding is told once, by an entry", async () => {
    const tenant = await filled(4);
    const { checks, stop } = checking([tenant], 0);
    await withClient(database.superuser, async (client) => {
      await client.query("set session_replication_role = replica");
      await client.query(
        `update countersign.entries set content = replace(content, '"refs":[]', '"refs":[] ') where tenant_id = $1 and seq = 2`,
        [tenant],
      );
    });
    for (let i = 0; i < 2; i++) {
      const { id } = await checks.request(tenant);
      const end = await done(checks, tenant, id);
      expect(end.report).toMatchObject({ integrity: "tampered", findings: [{ class: "CONTENT_MISMATCH", seq: 2 }] });
    }
    await stop();
    const told = await alerts(tenant);
    expect(told).toHaveLength(1);
    expect(told[0]?.data).toMatchObject({ class: "CONTENT_MISMATCH", seq: 2 });
  });
});

describe("over HTTP", () => {
  test("the last check and the tail; everything as a job; metrics for whoever may", async () => {
    const server = await startTestServer({
      metricsToken: "a token of sixteen".replaceAll(" ", "-"),
      metricsRegistry: new Registry(),
    });
    try {
      const ada = await server.firstPerson();
      const { body: answer } = await ada.call("verifyChain", {});
      expect(answer).toMatchObject({ kind: "report", integrity: "ok", findings: [] });
      expect((await ada.call("verifyChain", { from: 1 })).body).toMatchObject({ kind: "report", integrity: "ok" });
      const beyond = await ada.call("verifyChain", { from: 1_000_000 });
      expect([beyond.status, beyond.body]).toMatchObject([422, { code: "invalid_request" }]);
      const { status, headers, body: asked } = await ada.call("verifyChain", { full: "true" });
      if (asked.kind !== "job") throw new Error("not a job");
      const { id } = asked.verification;
      expect([status, headers.get("location")]).toEqual([202, `/api/ledger/chain/verifications/${id}`]);
      let state: string = asked.verification.state;
      while (state !== "done") ({ state } = (await ada.call("getVerification", { id })).body);
      expect((await ada.call("listVerifications", {})).body.rows.map((row) => row.id)).toContain(id);
      expect((await ada.call("getVerification", { id: newId() })).status).toBe(404);
      const read = (token?: string) =>
        fetch(`${server.url}/metrics`, token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } });
      expect((await read()).status).toBe(401);
      const good = await read("a-token-of-sixteen");
      const text = await good.text();
      expect(good.status).toBe(200);
      for (const name of [
        "ledger_entries",
        "checkpoint_age_seconds",
        "self_check_findings",
        "door_changes_total",
        "http_request_seconds_count",
      ])
        expect(text).toContain(`countersign_${name}`);
      const found = async (): Promise<string | undefined> => {
        const label = `countersign_self_check_findings{tenant="${server.tenant}"} `;
        const lines = (await (await read("a-token-of-sixteen")).text()).split("\n");
        return lines.find((line) => line.startsWith(label))?.slice(label.length);
      };
      expect(await found()).toBe("0");
      // What another process found is told here too; what was taken out of the table again is not forgotten.
      const at = String(Date.now() + 1);
      await forgedCheck(server.tenant, { startedMs: at, finishedMs: at, findings: 2 }, server.storage);
      while ((await found()) === "0");
      expect(await found()).toBe("2");
      await server.storage.inTenant(server.tenant, (client) => client.query("delete from countersign.self_checks"));
      expect(await found()).toBe("2");
    } finally {
      await server.close();
    }
  });
});
