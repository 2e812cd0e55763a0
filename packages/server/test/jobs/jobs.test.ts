/** Jobs: each tenant and job by itself, durable, over several processes, by a clock that is held. */
import { runMigrations } from "graphile-worker";
import type { TenantId } from "@countersign/contract";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Jobs, openJobs, type Ran } from "../../src/jobs/index.js";
import { pauseAfter } from "../../src/jobs/pause.rules.js";
import { lifeOf, queueSchema, releaseTheDead } from "../../src/jobs/queries.js";
import { type Job, type Log, openLog } from "../../src/platform/index.js";
import { type Storage, storageOver } from "../../src/storage/index.js";
import { heldClock, newTenant } from "../support/ledger.js";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.js";
import { startProgram } from "../support/processes.js";
import type { JobMessage } from "../support/jobProgram.js";

const quiet = openLog({ level: "silent" });
const minuteMs = 60_000;
const opened: { readonly jobs: Jobs; readonly storage: Storage }[] = [];
let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});
afterAll(async () => {
  await Promise.all(opened.map(({ jobs }) => jobs.stop()));
  await Promise.all(opened.map(({ storage }) => storage.close()));
});

/** Nothing is looked at by itself: `runDue` does. */
const toy = (given: Partial<Job> & Pick<Job, "name" | "run">): Job => ({
  purpose: "a test",
  lookMs: 3_600_000,
  ...given,
});

function scheduling(
  tenants: readonly TenantId[],
  jobs: readonly Job[],
  clock = heldClock(Date.now()),
  log: Pick<Log, "info" | "warn"> = quiet,
) {
  const ran: Ran[] = [];
  // Connections of its own, as a process has.
  const storage = storageOver({
    kind: "external",
    how: "connected",
    at: "",
    owner: database.owner,
    application: database.app,
  });
  const scheduler = openJobs({
    ...{ storage, jobs, clock, log },
    tenants: () => Promise.resolve(tenants),
    onRan: (one) => ran.push(one),
  });
  opened.push({ jobs: scheduler, storage });
  return { scheduler, clock, ran };
}

/** A promise and what resolves it. */
function signal<T = void>(): { readonly comes: Promise<T>; give(value: T): void } {
  let give = (_value: T): void => undefined;
  const comes = new Promise<T>((resolve) => (give = resolve));
  return { comes, give: (value) => give(value) };
}

test.each([
  { failures: 1, lookMs: 10_000, pauseMs: 10_000 },
  { failures: 2, lookMs: 10_000, pauseMs: 20_000 },
  { failures: 5, lookMs: 10_000, pauseMs: 160_000 },
  { failures: 6, lookMs: 10_000, pauseMs: 300_000 },
  { failures: 1_000_000, lookMs: 1, pauseMs: 300_000 },
])("after $failures failures of a job that is looked at every $lookMs ms: $pauseMs ms", (row) => {
  expect(pauseAfter(row.failures, row.lookMs)).toBe(row.pauseMs);
});

describe("one process", () => {
  test("a tenant that fails delays no other, and is tried again later and later, by the clock", async () => {
    const [a, b] = [newTenant(), newTenant()];
    let broken = true;
    const job = toy({
      name: "failing",
      lookMs: minuteMs,
      run: (tenant) => (tenant === a && broken ? Promise.reject(new Error("broken")) : Promise.resolve()),
    });
    const { scheduler, clock, ran } = scheduling([a, b], [job]);
    scheduler.start();
    const runs = async (): Promise<string[]> => {
      ran.length = 0;
      await scheduler.runDue();
      return ran
        .map(({ tenant, error }) => `${tenant === a ? "a" : "b"}${error === undefined ? "" : " failed"}`)
        .sort();
    };
    while (!ran.some(({ tenant }) => tenant === a)) await scheduler.runDue();
    expect(await scheduler.failing()).toMatchObject([{ job: "failing", tenant: a, sinceMs: clock.now }]);
    expect(await runs()).toEqual(["b"]);
    const sinceMs = clock.now;
    clock.now += minuteMs - 1;
    expect(await runs()).toEqual(["b"]);
    clock.now += 1;
    expect(await runs()).toEqual(["a failed", "b"]);
    clock.now += minuteMs;
    expect(await runs()).toEqual(["b"]);
    clock.now += minuteMs;
    broken = false;
    expect(await scheduler.failing()).toEqual([{ job: "failing", tenant: a, failures: 2, sinceMs }]);
    const without = scheduling([a, b], [toy({ name: "another", run: () => Promise.resolve() })]);
    expect(await without.scheduler.failing()).toEqual([]); // a version in which the job was removed
    expect(await runs()).toEqual(["a", "b"]);
    expect(await scheduler.failing()).toEqual([]);
    await scheduler.stop();
  });

  test("a tenant that hangs delays no other, nor does a kind of which all hang; a stop waits for them", async () => {
    const tenants = Array.from({ length: 9 }, newTenant);
    const gate = signal();
    let hanging = 0;
    const all = signal();
    const hangs = toy({
      name: "hanging",
      run: async () => {
        hanging += 1;
        if (hanging === 4) all.give();
        await gate.comes;
      },
    });
    const served = signal<TenantId>();
    const other = toy({
      name: "other",
      due: ([first]) => Promise.resolve(first === undefined ? [] : [first]),
      run: async (tenant) => served.give(tenant),
    });
    const { scheduler } = scheduling(tenants, [hangs, other]);
    scheduler.start();
    await all.comes;
    expect(await served.comes).toBe(tenants[0]);
    let stopped = false;
    const stop = scheduler.stop().then(() => (stopped = true));
    await database.storage.jobs.query("select 1");
    expect(stopped).toBe(false);
    gate.give();
    await stop;
    expect(hanging).toBe(4);
  });

  test("woken while it runs, it runs once more, and not twice", async () => {
    const tenant = newTenant();
    const gates = [signal(), signal()];
    const begun = [signal(), signal()];
    let runs = 0;
    const job = toy({
      name: "woken",
      due: () => Promise.resolve([]),
      run: async () => {
        const at = runs++;
        begun[at]?.give();
        await gates[at]?.comes;
      },
    });
    const { scheduler, ran } = scheduling([tenant], [job]);
    scheduler.start();
    scheduler.wake("woken", tenant);
    await begun[0]?.comes;
    scheduler.wake("woken", tenant);
    scheduler.wake("woken", tenant);
    gates[0]?.give();
    await begun[1]?.comes;
    gates[1]?.give();
    await scheduler.stop();
    expect([runs, ran.length]).toEqual([2, 1]);
  });

  test("held back after a run that ended well, and by no row that claims a pause beyond all pauses", async () => {
    const tenant = newTenant();
    const { scheduler, clock, ran } = scheduling(
      [tenant],
      [toy({ name: "paced", pauseMs: 10 * minuteMs, run: () => Promise.resolve() })],
    );
    scheduler.start();
    // What the start itself put into the queue has run.
    while (ran.length === 0) await scheduler.runDue();
    const after = async (): Promise<number> => {
      await scheduler.runDue();
      return ran.length;
    };
    const first = ran.length;
    expect(await after()).toBe(first);
    clock.now += 10 * minuteMs;
    expect(await after()).toBe(first + 1);
    await database.storage.inTenant(tenant, (client) =>
      client.query("update countersign.job_states set next_ms = 9000000000000000 where tenant_id = $1", [tenant]),
    );
    expect(await after()).toBe(first + 2);
    await scheduler.stop();
  });

  test("at once no more than it says", async () => {
    const tenants = Array.from({ length: 5 }, newTenant);
    let [now, most] = [0, 0];
    const job = toy({
      name: "single",
      atOnce: 1,
      lookMs: 20,
      due: (all) => Promise.resolve(all.filter((tenant) => !done.has(tenant))),
      run: async (tenant) => {
        now += 1;
        const { rows } = await database.storage.jobs.query<{ taken: number }>(
          "select count(*)::int as taken from countersign_jobs.jobs where task_identifier = 'single'",
        );
        most = Math.max(most, now, rows[0]?.taken ?? 0);
        now -= 1;
        done.add(tenant);
        if (done.size === tenants.length) finished.give();
      },
    });
    const done = new Set<TenantId>();
    const finished = signal();
    const { scheduler } = scheduling(tenants, [job]);
    scheduler.start();
    await finished.comes;
    await scheduler.stop();
    expect(most).toBe(1);
  });

  test("a forged row runs nothing for a tenant that is not there; a locked one is not believed for ever", async () => {
    const tenant = newTenant();
    const { scheduler, ran } = scheduling([tenant], [toy({ name: "forged", run: () => Promise.resolve() })]);
    const add = (payload: object, key: string): Promise<unknown> =>
      database.storage.jobs.query("select countersign_jobs.add_job('forged', $1::json, job_key => $2)", [
        JSON.stringify(payload),
        key,
      ]);
    await add({ tenant: newTenant() }, "forged:nobody");
    await add({ tenant: ["no", "tenant"] }, "forged:nothing");
    await add({ tenant }, `forged:${tenant}`);
    await withClient(database.superuser, (client) =>
      client.query(
        "update countersign_jobs._private_jobs set locked_by = 'pool-of-nobody', locked_at = now() where key = $1",
        [`forged:${tenant}`],
      ),
    );
    // Whoever it is locked by listens: only time says that it hangs.
    await database.storage.whileLocked(lifeOf("pool-of-nobody"), async () => {
      await withClient(database.superuser, (superuser) =>
        superuser.query(
          "update countersign_jobs._private_jobs set locked_at = now() - interval '2 hours' where key = $1",
          [`forged:${tenant}`],
        ),
      );
      scheduler.start();
      await scheduler.runDue();
    });
    expect(new Set(ran.map((one) => one.tenant))).toEqual(new Set([tenant]));
    await scheduler.stop();
  });
});

test("a start warns of nothing", async () => {
  const warned: unknown[] = [];
  const log = { info: () => undefined, warn: (...line: unknown[]) => void warned.push(line) };
  const job = toy({ name: "silent", run: () => Promise.resolve() });
  const { scheduler, ran } = scheduling([newTenant()], [job], heldClock(Date.now()), log);
  scheduler.start();
  await scheduler.runDue();
  await scheduler.stop();
  expect([ran.length > 0, warned]).toEqual([true, []]);
});

describe("the sign of life of a pool of hands", () => {
  /** Locks of sessions in this database: nothing but pools takes any here. */
  const locks = async (): Promise<number> => {
    const { rows } = await database.storage.owner.query<{ locks: number }>(
      "select count(*)::int as locks from pg_locks where locktype = 'advisory' and database = (select oid from pg_database where datname = current_database())",
    );
    return rows[0]?.locks ?? 0;
  };
  const holding = async (name: string) => {
    const [gate, begun] = [signal(), signal()];
    const run = async (): Promise<void> => {
      begun.give();
      await gate.comes;
    };
    const { scheduler } = scheduling([newTenant()], [toy({ name, run })]);
    scheduler.start();
    await begun.comes;
    return { scheduler, letGo: () => gate.give() };
  };

  test("ends with it, though the connections that it used stay open", async () => {
    const { scheduler, letGo } = await holding("mortal");
    expect(await locks()).toBe(1);
    letGo();
    await scheduler.stop();
    expect(await locks()).toBe(0);
  });

  test("does not end before it: what a stop waits for is nobody else's", async () => {
    const { scheduler, letGo } = await holding("waited-for");
    const stopping = scheduler.stop();
    // The library gives its connections back first.
    while ((await listening()) > 0);
    const { rows } = await database.storage.jobs.query(releaseTheDead);
    expect(rows).toMatchObject([{ unlocked: "0" }]);
    letGo();
    await stopping;
  });

  test("is given anew when its session was lost, and hands take something again", async () => {
    const [tenant, job] = [newTenant(), toy({ name: "reborn", run: () => Promise.resolve() })];
    const { scheduler, ran } = scheduling([tenant], [job]);
    scheduler.start();
    await scheduler.runDue();
    const end =
      "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'countersign lock' and datname = current_database()";
    await withClient(database.superuser, (client) => client.query(end));
    const before = ran.length;
    await scheduler.runDue();
    expect([ran.length > before, await locks(), scheduler.works]).toEqual([true, 1, true]);
    await scheduler.stop();
  });

  const listening = async (): Promise<number> => {
    const { rows } = await database.storage.owner.query<{ now: number }>(
      `select count(*)::int as now from pg_stat_activity where datname = current_database() and query like 'LISTEN %'`,
    );
    return rows[0]?.now ?? 0;
  };
});

describe("several processes", () => {
  test("what two see due runs once while it waits or runs", async () => {
    const tenant = newTenant();
    const gate = signal();
    const begun = signal();
    let runs = 0;
    const job = toy({
      name: "seen-twice",
      run: async () => {
        runs += 1;
        begun.give();
        await gate.comes;
      },
    });
    const one = scheduling([tenant], [job]);
    one.scheduler.start();
    await begun.comes;
    const two = scheduling([tenant], [job]);
    two.scheduler.start();
    const seen = "select revision from countersign_jobs.jobs where task_identifier = 'seen-twice'";
    const revisions = async (): Promise<number[]> =>
      (await database.storage.owner.query<{ revision: number }>(seen)).rows.map(({ revision }) => revision);
    while (!(await revisions()).includes(1)); // two has found it there
    expect(await revisions()).toEqual([1]);
    await two.scheduler.stop();
    gate.give();
    await one.scheduler.stop();
    expect(runs).toBe(1);
  });

  test("what a killed process held is taken over, and what waited there is run", async () => {
    const [held, left] = [newTenant(), newTenant()];
    const program = startProgram<JobMessage>(new URL("../support/jobProgram.ts", import.meta.url), [
      database.appUrl,
      "taken-over",
      held,
    ]);
    expect(await program.next()).toEqual({ kind: "runs", tenant: held });
    program.kill("SIGKILL");
    await program.ended;
    // Only now: the process knows no such tenant, and while it lived it would take this job for a forged one and be done with it.
    await database.storage.jobs.query(
      "select countersign_jobs.add_job('taken-over', json_build_object('tenant', $1::text))",
      [left],
    );
    const seen = new Set<TenantId>();
    const both = signal();
    const job = toy({
      name: "taken-over",
      due: () => Promise.resolve([]),
      run: async (tenant) => {
        seen.add(tenant);
        if (seen.size === 2) both.give();
      },
    });
    const { scheduler } = scheduling([held, left], [job]);
    scheduler.start();
    await both.comes;
    await scheduler.stop();
    const { rows } = await database.storage.jobs.query(
      "select from countersign_jobs.jobs where task_identifier = 'taken-over'",
    );
    expect(rows).toEqual([]);
  });
});

describe("the queue's schema", () => {
  /** Every object of the schema as PostgreSQL says it, but for comments in functions. */
  const definitions = (of: TestDatabase): Promise<string[]> =>
    withClient(of.owner, async (client) => {
      await client.query("set search_path to ''");
      const { rows } = await client.query<{ definition: string }>(`
        with ours as (select to_regnamespace('${queueSchema}') as schema)
        select 'column ' || c.relname || '.' || a.attname || ' ' || format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' '
               || a.attidentity::text || a.attgenerated::text || ' ' || coalesce(pg_get_expr(d.adbin, d.adrelid), '') as definition
          from pg_class c join ours on c.relnamespace = ours.schema join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
          left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum where c.relkind in ('r', 'c')
        union all select 'relation ' || c.relname || ' ' || c.relkind::text || ' ' || c.relrowsecurity from pg_class c, ours where c.relnamespace = ours.schema
        union all select 'constraint ' || x.conrelid::regclass || ' ' || pg_get_constraintdef(x.oid) || case when x.contype = 'n' then '' else x.conname end
          from pg_constraint x, ours where x.connamespace = ours.schema
        union all select 'index ' || pg_get_indexdef(i.indexrelid) from pg_index i join pg_class c on c.oid = i.indrelid join ours on c.relnamespace = ours.schema
        union all select 'view ' || pg_get_viewdef(c.oid) from pg_class c, ours where c.relnamespace = ours.schema and c.relkind = 'v'
        union all select 'trigger ' || pg_get_triggerdef(t.oid) from pg_trigger t join pg_class c on c.oid = t.tgrelid join ours on c.relnamespace = ours.schema where not t.tgisinternal
        union all select regexp_replace(pg_get_functiondef(p.oid), '\\n *--[^\\n]*', '', 'g') from pg_proc p, ours where p.pronamespace = ours.schema
        union all select 'migration ' || id || ' ' || breaking from ${queueSchema}.migrations
        order by 1`);
      return rows.map((row) => row.definition);
    });

  test("is what graphile-worker makes: a newer library that makes another needs a migration of ours", async () => {
    const bare = await createDatabase({ migrated: false });
    await runMigrations({ pgPool: bare.storage.owner, schema: queueSchema });
    expect(await definitions(database)).toEqual(await definitions(bare));
    await bare.close();
  });

  test("the server may use it, makes nothing in it, and nobody else may look", async () => {
    const may = (role: string, what: string): Promise<boolean> =>
      withClient(database.superuser, async (client) => {
        const { rows } = await client.query<{ may: boolean }>(`select ${what} as may`.replaceAll("ROLE", role));
        return rows[0]?.may === true;
      });
    const rights = ["usage", "create"].map((right) => `has_schema_privilege('ROLE', '${queueSchema}', '${right}')`);
    expect(await Promise.all(rights.map((right) => may("countersign_app", right)))).toEqual([true, false]);
    expect(await Promise.all(rights.map((right) => may("public", right)))).toEqual([false, false]);
  });
});
