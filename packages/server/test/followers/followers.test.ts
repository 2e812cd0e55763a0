/** Durable followers: at least once, in order, over kills, one tenant by itself. */
import type { TenantId } from "@countersign/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Follower, followerJob, followerLags, wakeOnCommit } from "../../src/followers/index.js";
import type { Ledger } from "../../src/ledger/index.js";
import { startJobs } from "../support/jobs.js";
import { commit, committed, newTenant, openTestLedger } from "../support/ledger.js";
import { createDatabase, type TestDatabase } from "../support/postgres.js";
import { startProgram } from "../support/processes.js";
import type { FollowMessage } from "../support/followProgram.js";

let database: TestDatabase;
let ledger: Ledger;
beforeAll(async () => {
  database = await createDatabase();
  ledger = await openTestLedger(database.storage);
});
afterAll(async () => {
  await ledger.close();
});

/** Commits entries; their ids, in order. */
async function filled(tenant: TenantId, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) ids.push(...(await committed(commit(ledger, tenant))).map(({ entryId }) => entryId));
  return ids;
}

function following(tenants: readonly TenantId[], ...followers: Omit<Follower, "purpose">[]) {
  const parts = { ledger, storage: database.storage, now: () => Date.now() };
  return startJobs({
    storage: database.storage,
    tenants,
    jobs: followers.map((follower) => followerJob({ purpose: "a test", ...follower }, parts)),
  });
}

const lag = async (tenants: readonly TenantId[], name: string): Promise<number[]> =>
  (await followerLags(database.storage, tenants))
    .filter(({ follower }) => follower === name)
    .map(({ entries }) => entries);

test("every entry once and in order, those it does not want left out; a new one may begin behind the newest", async () => {
  const tenant = newTenant();
  const ids = await filled(tenant, 3);
  const done: Record<string, string[]> = { all: [], odd: [], late: [] };
  const note =
    (name: string): Follower["effect"] =>
    async (_tenant, { entryId }) =>
      void done[name]?.push(entryId);
  const jobs = following(
    [tenant],
    { name: "all", from: "first", effect: note("all") },
    { name: "odd", from: "first", wants: ({ seq }) => seq % 2 === 1, effect: note("odd") },
    { name: "late", from: "newest", effect: note("late") },
  );
  await jobs.runDue();
  ids.push(...(await filled(tenant, 2)));
  await jobs.runDue();
  await jobs.stop();
  expect(done).toEqual({ all: ids, odd: [ids[1], ids[3]], late: ids.slice(3) });
  expect(await lag([tenant], "all")).toEqual([0]);
});

test("one that fails is passed by no later entry of its tenant, and holds up no other tenant", async () => {
  const [a, b] = [newTenant(), newTenant()];
  const [first] = await filled(a, 2);
  const others = await filled(b, 2);
  const done: string[] = [];
  let broken = true;
  const jobs = following([a, b], {
    name: "failing",
    from: "first",
    effect: async (tenant, { entryId }) => {
      if (tenant === a && entryId === first && broken) throw new Error("nobody answers");
      done.push(entryId);
    },
  });
  await jobs.runDue();
  expect(done).toEqual(others);
  expect((await lag([a], "failing"))[0]).toBe(2);
  expect(await jobs.failing()).toMatchObject([{ job: "follow:failing", tenant: a }]);
  await jobs.stop();
  broken = false;
  // A start tries at once.
  const again = following([a, b], {
    name: "failing",
    from: "first",
    effect: async (_tenant, { entryId }) => void done.push(entryId),
  });
  // The look of the start itself hands it over: `runDue` waits only for what it put into the queue.
  while ((await lag([a], "failing"))[0] !== 0) await again.runDue();
  await again.stop();
  expect([done.length, await lag([a, b], "failing")]).toEqual([4, [0, 0]]);
});

test("killed between effect and cursor it does that entry again, by the same id, and goes on", async () => {
  const tenant = newTenant();
  const ids = await filled(tenant, 4);
  const program = startProgram<FollowMessage>(new URL("../support/followProgram.ts", import.meta.url), [
    database.appUrl,
    tenant,
    "killed",
    ids[2] ?? "",
  ]);
  const told: string[] = [];
  while (told.at(-1) !== ids[2]) told.push((await program.next()).entryId);
  await program.ended; // by its own hand, before the cursor moved
  const jobs = following([tenant], {
    name: "killed",
    from: "first",
    effect: async (_tenant, { entryId }) => void told.push(entryId),
  });
  while (told.at(-1) !== ids[3]) await jobs.runDue();
  await jobs.stop();
  expect(told).toEqual([ids[0], ids[1], ids[2], ids[2], ids[3]]);
});

test("woken by a commit of this process; a cursor beyond the end was forged, and is put at the end", async () => {
  const tenant = newTenant();
  await filled(tenant, 2);
  let heard = (_id: string): void => undefined;
  const next = (): Promise<string> => new Promise((resolve) => (heard = resolve));
  const follower: Follower = {
    name: "woken",
    purpose: "a test",
    from: "newest",
    effect: async (_tenant, { entryId }) => heard(entryId),
  };
  const jobs = following([tenant], follower);
  await jobs.runDue();
  const unlisten = wakeOnCommit(ledger.onCommitted, [follower], (job, of) => jobs.wake(job, of));
  const first = next();
  const [id] = await filled(tenant, 1);
  expect(await first).toBe(id);
  await jobs.runDue();
  await database.storage.inTenant(tenant, (client) =>
    client.query("update countersign.follower_cursors set after_seq = 1000 where tenant_id = $1", [tenant]),
  );
  await jobs.runDue();
  const second = next();
  const [later] = await filled(tenant, 1);
  expect(await second).toBe(later);
  unlisten();
  await jobs.stop();
});
