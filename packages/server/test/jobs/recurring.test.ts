/** What recurs for every tenant, as the jobs of a server: one that cannot be served keeps no other waiting. */
import { asTenantId, type TenantId } from "@countersign/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openChangeSets } from "../../src/change-sets/index.js";
import { sweepJob } from "../../src/dispatch/index.js";
import { openSelfChecks } from "../../src/ops/index.js";
import { retentionJob } from "../../src/retention/index.js";
import { newId, openLog } from "../../src/platform/index.js";
import type { Storage } from "../../src/storage/index.js";
import { startJobs } from "../support/jobs.js";
import { heldClock, newTenant } from "../support/ledger.js";
import { createDatabase, type TestDatabase } from "../support/postgres.js";
import { retentionDesk } from "../support/retention.js";
import { createWorld, must, resource, type World } from "../support/world.js";

const quiet = openLog({ level: "silent" });
const [a, b, c] = [newTenant(), newTenant(), newTenant()];
const dayMs = 86_400_000;

let database: TestDatabase;
let world: World;
beforeAll(async () => {
  database = await createDatabase();
  world = await createWorld({ storage: database.storage });
});
afterAll(() => world.close());

/** Resolves once every one of `wanted` was named. */
function naming(wanted: readonly TenantId[]): { name(tenant: TenantId): void; readonly all: Promise<void> } {
  const left = new Set(wanted);
  let resolve = (): void => undefined;
  const all = new Promise<void>((done) => (resolve = done));
  return {
    name: (tenant) => {
      left.delete(tenant);
      if (left.size === 0) resolve();
    },
    all,
  };
}

test("recovery: b and c are asked in the look in which a cannot be recovered", async () => {
  const asked = naming([a, b, c]);
  const { ledger } = world.desk;
  const changeSets = openChangeSets({
    ...world.desk,
    ledger: {
      ...ledger,
      snapshot: (tenant, read) => {
        asked.name(tenant);
        return tenant === a ? Promise.reject(new Error("its target is broken")) : ledger.snapshot(tenant, read);
      },
    },
  });
  const recovery = changeSets.jobs.filter(({ name }) => name === "recovery");
  const all = { due: (tenants: readonly TenantId[]) => Promise.resolve(tenants) };
  const jobs = startJobs({
    storage: world.storage,
    tenants: [a, b, c],
    jobs: recovery.map((job) => ({ ...job, ...all })),
  });
  await asked.all;
  await jobs.stop();
});

test("retention: b and c are kept in the look in which a cannot be", async () => {
  const desk = retentionDesk(world.desk, world.changeSets, world.dataDirectory);
  const asked = naming([a, b, c]);
  const broken = {
    ...desk,
    storage: world.storage,
    finishers: [],
    ledger: {
      ...desk.ledger,
      snapshot: ((tenant, read) => {
        asked.name(tenant);
        return tenant === a ? Promise.reject(new Error("it cannot be read")) : desk.ledger.snapshot(tenant, read);
      }) as typeof desk.ledger.snapshot,
    },
  };
  const job = { ...retentionJob(broken, quiet), due: (tenants: readonly TenantId[]) => Promise.resolve(tenants) };
  const jobs = startJobs({ storage: world.storage, tenants: [a, b, c], jobs: [job] });
  await asked.all;
  await jobs.stop();
});

test("self-checks: b and c are checked though a cannot be, also when one is asked for", async () => {
  const { storage, ledger } = world;
  const inTenant: Storage["inTenant"] = (tenant, work) =>
    tenant === a ? Promise.reject(new Error("its rows cannot be read")) : storage.inTenant(tenant, work);
  const checked = naming([b, c]);
  const requested = naming([b]);
  const clock = heldClock(Date.now());
  const checks = openSelfChecks({
    ...{
      ledger,
      verification: ledger,
      newId,
      clock,
      everyMinutes: 15,
      deploymentTenant: newTenant(),
      lookMs: 20,
      log: quiet,
    },
    tenants: () => Promise.resolve([a, b, c]),
    storage: { ...storage, inTenant },
    wake: () => jobs.wake("self-check"),
    onReport: (tenant, kind) => (kind === "requested" ? requested : checked).name(tenant),
  });
  const jobs = startJobs({ storage, tenants: [a, b, c], jobs: [checks.job], clock, byThemselves: true });
  await checked.all;
  await checks.request(b);
  await requested.all;
  await jobs.stop();
});

test("a deadline that passed rejects though nobody looks, by the entry that a look would make, once", async () => {
  const clock = heldClock(Date.now());
  const own = await createWorld({ storage: database.storage, clock });
  const { changeSet } = await own.propose(own.builder, {
    title: "late",
    items: [{ operation: "CREATE", target: resource("late"), after: { a: 1 } }],
  });
  must(await own.changeSets.submit(await own.caller(own.builder), { id: changeSet.id }, own.request()));
  const jobs = startJobs({ storage: own.storage, tenants: [own.tenant], jobs: own.changeSets.jobs, clock });
  const expired = async () =>
    (await own.ledger.auditLog(own.tenant, { actions: ["change_set.expired"], limit: 10 })).entries;
  await jobs.runDue();
  expect(await expired()).toEqual([]);
  clock.now += 400 * dayMs;
  await jobs.runDue();
  await jobs.runDue();
  const [entry, ...more] = await expired();
  expect([entry?.subject.id, entry?.actor.type, entry?.data["what"], more]).toEqual([
    changeSet.id,
    "system",
    "deadline",
    [],
  ]);
  expect(must(await own.changeSets.get(await own.caller(own.builder), { id: changeSet.id }))).toMatchObject({
    status: "REJECTED",
    statusReason: "expired",
  });
  await jobs.stop();
  await own.close();
});

test("responses and proofs that expired are swept, of every tenant that has some, however many", async () => {
  const clock = heldClock(Date.now());
  const [many, none] = [newTenant(), newTenant()];
  const fill = (tenant: TenantId, expiresMs: number, count: number): Promise<unknown> =>
    world.storage.inTenant(tenant, (client) =>
      client.query(
        `insert into countersign.used_proofs (tenant_id, digest, expires_ms)
         select $1, encode(sha256(n::text::bytea), 'hex'), $2 from generate_series($3::int, $3::int + $4::int - 1) as n`,
        [tenant, expiresMs, expiresMs % 1000 === 0 ? 0 : 1_000_000, count],
      ),
    );
  const left = async (tenant: TenantId): Promise<number> =>
    (
      await world.storage.inTenant(tenant, (client) =>
        client.query("select from countersign.used_proofs where tenant_id = $1", [tenant]),
      )
    ).rowCount ?? 0;
  clock.now = Math.floor(clock.now / 1000) * 1000;
  await fill(many, clock.now, 2_500);
  await fill(many, clock.now + 1, 3);
  await fill(none, clock.now + 1, 3);
  const ran: string[] = [];
  const jobs = startJobs({
    storage: world.storage,
    tenants: [many, none, asTenantId(world.tenant)],
    jobs: [sweepJob(world.storage, () => clock.now)],
    clock,
    onRan: ({ tenant }) => ran.push(tenant),
  });
  await jobs.runDue();
  await jobs.stop();
  expect([await left(many), await left(none), new Set(ran)]).toEqual([3, 3, new Set([many])]);
});
