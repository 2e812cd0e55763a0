/** Pruning: archived, recorded, emptied; what is kept, what verifies; steps cut apart; done around us. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, test } from "vitest";
import { isRefusal, type Refusal } from "@countersign/contract";
import { bodyOpener, SubjectKeys } from "../../src/ledger/subjectKeys.js";
import { checkArchive } from "../../src/retention/archives.js";
import {
  archives,
  finishTenant,
  hold,
  previewPruning,
  prune,
  release,
  type RetentionDesk,
  retentionJob,
} from "../../src/retention/commands.js";
import { erase } from "../../src/retention/erase.js";
import { listPrunings } from "../../src/retention/pruning.js";
import { type TenantReport, verifyTenant } from "../../src/verification/index.js";
import { openLog, systemRandom } from "../../src/platform/index.js";
import { committed, heldClock, testSealing } from "../support/ledger.js";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.js";
import { startJobs } from "../support/jobs.js";
import { startProgram } from "../support/processes.js";
import type { PruneMessage } from "../support/pruneProgram.js";
import { retentionDesk } from "../support/retention.js";
import { createWorld, must, resource, type World } from "../support/world.js";

let database: TestDatabase;
let world: World;
let desk: RetentionDesk;
const dayMs = 86_400_000;
const clock = heldClock(Date.now() - 100 * dayMs);

beforeAll(async () => {
  database = await createDatabase();
  world = await createWorld({ storage: database.storage, clock });
  desk = retentionDesk(world.desk, world.changeSets, world.dataDirectory);
});
afterAll(() => world.close());

const refusal = (answer: unknown): Refusal => {
  if (!isRefusal(answer)) throw new Error("it was not refused");
  return answer;
};
const alice = () => world.caller(world.people.alice.id);
const pruneTo = async (upTo: number, archive: string, on: RetentionDesk = desk) =>
  prune(on, await alice(), { upTo, archive }, world.ledger.transact);
const query = async <T extends object>(text: string, values: unknown[] = []): Promise<T[]> =>
  withClient(
    database.superuser,
    async (client) => (await client.query<T & Record<string, unknown>>(text, values)).rows,
  );

let made = 0;
/** A finished change-set, with a use of a counter in it. */
async function history(count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let i = 0; i < count; i++) {
    const { changeSet } = await world.approved(world.builder, {
      title: `change ${(made += 1)}`,
      items: [{ operation: "CREATE", target: resource(`r${made}`), after: { made } as never }],
    });
    must(await world.changeSets.apply(await alice(), { id: changeSet.id }, world.request()));
    ids.push(changeSet.id);
    clock.now += 1_000;
  }
  return ids;
}

async function verified(): Promise<TenantReport> {
  const report = await world.ledger.checkTenant(world.tenant);
  expect(report.findings).toEqual([]);
  expect(report.integrity).toBe("ok");
  return report;
}

async function head(): Promise<number> {
  const [row] = await query<{ seq: string }>("select max(seq) as seq from countersign.entries where tenant_id = $1", [
    world.tenant,
  ]);
  return Number(row?.seq);
}

async function contents(upTo: number): Promise<{ there: number; bodies: number }> {
  const [row] = await query<{ there: string; bodies: string }>(
    `select count(*) filter (where e.content is not null) as there, count(b.entry_id) as bodies
       from countersign.entries as e left join countersign.bodies as b using (tenant_id, entry_id) where e.tenant_id = $1 and e.seq < $2`,
    [world.tenant, upTo],
  );
  return { there: Number(row?.there), bodies: Number(row?.bodies) };
}

describe("a pruning", () => {
  it("archives, empties, and everything verifies as before", async () => {
    const ids = await history(4);
    const { changeSet: open } = await world.propose(world.builder, {
      title: "not finished",
      items: [{ operation: "CREATE", target: resource("open"), after: {} as never }],
    });
    await history(2);
    const before = await verified();
    const upTo = (await head()) - 5;
    const was = await contents(upTo);
    const foreseen = must(await previewPruning(desk, await alice(), { upTo }));
    expect(foreseen).toMatchObject({ from: 0, upTo, keptSubjects: 1, checkpoint: null });
    expect(foreseen.emptied).toBeGreaterThan(10);
    expect(foreseen.emptied + foreseen.kept).toBe(was.there);

    const done = must(await pruneTo(upTo, "first.bundle"));
    expect(done.result).toMatchObject({
      upTo,
      from: 0,
      emptied: foreseen.emptied,
      kept: foreseen.kept,
      done: true,
      entries: upTo,
    });
    const is = await contents(upTo);
    expect(is.there).toBe(foreseen.kept);
    expect(is.bodies).toBe(was.bodies - foreseen.bodies);
    expect(is.bodies).toBeLessThan(was.bodies);
    const path = join(world.dataDirectory, "archives", "first.bundle");
    expect(done.result.file).toBe(path);
    expect(createHash("sha256").update(readFileSync(path)).digest("hex")).toBe(done.result.sha256);
    expect(statSync(path).mode & 0o077).toBe(0);

    const after = await verified();
    expect(after.rows).toBe((before.rows ?? 0) + 0);
    expect(after.votes.checked).toBeGreaterThan(0);

    // What is left open goes on; what was applied before is still rolled back.
    must(await world.changeSets.submit(await alice(), { id: open.id }, world.request()));
    const rolled = must(
      await world.changeSets.rollBack(await alice(), { id: ids[0] ?? "", cascade: false }, world.request()),
    );
    expect(rolled.changeSet.status).toBe("ROLLED_BACK");
    await verified();
  });

  it("the log shows that something was there, and by which entry it went", async () => {
    const { entries } = await world.ledger.auditLog(world.tenant, { order: "oldest", limit: 200 });
    const gone = entries.filter((one) => one.contentMissing === true);
    expect(gone.length).toBeGreaterThan(10);
    expect(gone.every(({ body, hash }) => body === null && /^[0-9a-f]{64}$/.test(hash))).toBe(true);
    const [pruned] = await world.ledger.snapshot(world.tenant, listPrunings);
    expect(pruned?.done).toBe(true);
    expect(await archives(desk, await alice())).toHaveLength(1);
  });

  it("the archive is the ledger's, hash for hash; another file is not, nor one byte less", async () => {
    const path = join(world.dataDirectory, "archives", "first.bundle");
    const check = (file: string) => checkArchive(database.app, file, world.tenant);
    const [entry] = await world.ledger.snapshot(world.tenant, listPrunings);
    expect(await check(path)).toMatchObject({ namedBy: entry?.seq, findings: [], entries: entry?.upTo });
    const forged = join(world.dataDirectory, "forged.bundle");
    writeFileSync(forged, readFileSync(path, "utf8").replace("change_set.created", "change_set.forgered"));
    const found = await check(forged);
    expect(found.namedBy).toBeNull();
    expect(found.findings.length).toBeGreaterThan(0);
    writeFileSync(forged, readFileSync(path).subarray(0, 5000));
    expect((await check(forged)).namedBy).toBeNull();
  });

  it("a second one archives only what came since, and counters still add up", async () => {
    await history(3);
    const upTo = (await head()) - 3;
    const [first] = await archives(desk, await alice());
    const done = must(await pruneTo(upTo, "second.bundle"));
    expect(done.result).toMatchObject({ from: first?.upTo, entries: upTo - (first?.upTo ?? 0), done: true });
    await verified();
    const counters = await query("select from countersign.counters where tenant_id = $1 and value > 0", [world.tenant]);
    expect(counters.length).toBeGreaterThan(0);
  });

  it("of a ledger that rests since then leaves the newest entry; before anything happened there is nothing", async () => {
    const at = (ms: number): string => new Date(ms).toISOString();
    const later = await previewPruning(desk, await alice(), { before: at(clock.nowMs() + dayMs) });
    expect(must(later).upTo).toBe(await head());
    expect(refusal(await previewPruning(desk, await alice(), { before: at(0) }))).toMatchObject({
      code: "invalid_request",
      message: expect.stringMatching(/^nothing is left to prune/),
    });
    const other = await createWorld({ storage: database.storage, clock });
    const fresh = retentionDesk(other.desk, other.changeSets, other.dataDirectory);
    const caller = await other.caller(other.people.alice.id);
    expect(refusal(await previewPruning(fresh, caller, { before: at(0) })).message).toContain(
      "no entry before that time",
    );
    await other.close();
  });

  it.each<[string, () => Promise<unknown>, string]>([
    ["nothing is left before", async () => pruneTo(1, "x.bundle"), "invalid_request"],
    ["the ledger is shorter", async () => pruneTo(10_000_000, "x.bundle"), "invalid_request"],
    [
      "neither seq nor time",
      async () => prune(desk, await alice(), { archive: "x.bundle" }, world.ledger.transact),
      "invalid_request",
    ],
    ["a path outside", async () => pruneTo(await head(), "../x.bundle"), "archive_unusable"],
    ["an absolute path elsewhere", async () => pruneTo(await head(), "/tmp/x.bundle"), "archive_unusable"],
    ["a name that hides", async () => pruneTo(await head(), ".ssh"), "archive_unusable"],
    ["a file that is something else", async () => pruneTo(await head(), "first.bundle"), "archive_unusable"],
    ["through a link to a folder elsewhere", async () => pruneTo(await head(), "away/x.bundle"), "archive_unusable"],
    [
      "no signed checkpoint",
      async () => pruneTo(await head(), "x.bundle", { ...desk, checkpointSize: () => Promise.resolve(3) }),
      "checkpoint_missing",
    ],
    [
      "no checkpoint at all",
      async () => pruneTo(await head(), "x.bundle", { ...desk, checkpointSize: () => Promise.resolve(undefined) }),
      "checkpoint_missing",
    ],
  ])("refused: %s", async (name, work, code) => {
    if (name.startsWith("through")) {
      mkdirSync(join(world.dataDirectory, "elsewhere"));
      symlinkSync(join(world.dataDirectory, "elsewhere"), join(world.dataDirectory, "archives", "away"));
    }
    const before = readdirSync(join(world.dataDirectory, "archives"));
    expect(refusal(await work()).code).toBe(code);
    expect(readdirSync(join(world.dataDirectory, "archives"))).toEqual(before);
  });

  it("a hold on the tenant stops it; on a subject, all of it stays", async () => {
    const [id] = await history(1);
    await history(1);
    const whole = must(await hold(desk, await alice(), { subject: null, reason: "x" }, world.ledger.transact)).result;
    expect(refusal(await pruneTo(await head(), "held.bundle")).code).toBe("legal_hold");
    must(await release(desk, await alice(), { id: whole.id, reason: "x" }, world.ledger.transact));
    const one = must(
      await hold(desk, await alice(), { subject: `change_set:${id ?? ""}`, reason: "x" }, world.ledger.transact),
    ).result;
    must(await pruneTo(await head(), "held.bundle"));
    const [row] = await query<{ there: string; bodies: string }>(
      `select count(*) as there, count(b.entry_id) as bodies from countersign.entries as e left join countersign.bodies as b using (tenant_id, entry_id)
        where e.subject_id = $1 and e.content is not null`,
      [id],
    );
    expect(Number(row?.there)).toBeGreaterThan(4);
    expect(Number(row?.bodies)).toBeGreaterThan(0);
    must(await release(desk, await alice(), { id: one.id, reason: "x" }, world.ledger.transact));
    await verified();
  });

  it("erased before and erased after: both verify", async () => {
    const [a, b] = await history(2);
    const eraseIt = (id: string | undefined) =>
      alice().then((by) =>
        erase(desk, by, { subject: `change_set:${id ?? ""}`, reason: "x", policy: "p" }, world.ledger.transact),
      );
    must(await eraseIt(a));
    must(await pruneTo(await head(), "erased.bundle"));
    await verified();
    must(await eraseIt(b));
    await verified();
  });
});

test("commits go on while it prunes, and two at once prune once", async () => {
  await history(4);
  const upTo = (await head()) - 2;
  let writing = true;
  const writers = Array.from({ length: 4 }, async () => {
    while (writing)
      await committed(
        world.ledger.transact(
          world.tenant,
          () => Promise.resolve(undefined),
          () => ({
            kind: "change",
            change: {
              guards: [],
              entries: [
                {
                  actor: { type: "system", id: world.tenant, humans: [] },
                  action: "thing.done",
                  subject: { type: "thing", id: "x" },
                  body: { a: 1 },
                },
              ],
            },
            result: undefined,
          }),
        ),
      );
  });
  const both = await Promise.all([pruneTo(upTo, "both.bundle"), pruneTo(upTo, "both.bundle")]);
  writing = false;
  await Promise.all(writers);
  const won = both.filter((one) => !isRefusal(one));
  expect(won).toHaveLength(1);
  expect(["conflict", "invalid_request"]).toContain(refusal(both.find((one) => isRefusal(one))).code);
  expect((await archives(desk, await alice())).filter((one) => one.upTo === upTo)).toHaveLength(1);
  await verified();
});

describe("killed", () => {
  it.each<PruneMessage["kind"]>(["archived", "recorded"])("when it had %s", async (at) => {
    await history(2);
    const upTo = (await head()) - 1;
    const name = `killed-${at}.bundle`;
    const program = startProgram<PruneMessage>(new URL("../support/pruneProgram.ts", import.meta.url), [
      database.appUrl,
      world.tenant,
      world.people.alice.id,
      String(upTo),
      name,
      world.dataDirectory,
      at,
    ]);
    expect((await program.next()).kind).toBe(at);
    program.kill("SIGKILL");
    await program.ended;
    clock.now = Math.max(clock.now, Date.now()); // the other process has the system's
    await verified();
    const [row] = (await archives(desk, await alice())).filter((one) => one.upTo === upTo);
    if (at === "archived") {
      expect(row).toBeUndefined();
      // The file is there, and is taken: nothing is written twice.
      must(await pruneTo(upTo, name));
    } else {
      expect(row).toMatchObject({ done: false });
      // In between, more is finished: what was decided stays decided.
      await history(1);
      expect(refusal(await pruneTo((await head()) - 1, "early.bundle")).code).toBe("conflict");
      await finishTenant(desk, world.tenant);
    }
    const [done] = (await archives(desk, await alice())).filter((one) => one.upTo === upTo);
    expect(done).toMatchObject({ done: true });
    expect((await contents(upTo)).there).toBe(done?.kept);
    await verified();
  });
});

test("by schedule: what is older than configured, once a day, through the same steps", async () => {
  const quiet = openLog({ level: "silent" });
  const job = retentionJob({ ...desk, storage: world.storage }, quiet);
  const jobs = startJobs({ storage: world.storage, tenants: [world.tenant], jobs: [job], clock });
  const round = async (): Promise<void> => {
    clock.now += job.pauseMs ?? 0;
    await jobs.runDue();
  };
  const before = (await archives(desk, await alice())).length;
  await round();
  expect(await archives(desk, await alice())).toHaveLength(before);
  await history(2);
  await world.configure("ledger", { retainDays: 30 });
  clock.now += 31 * dayMs;
  await history(1);
  await round();
  const rows = await archives(desk, await alice());
  expect(rows).toHaveLength(before + 1);
  expect(rows.at(-1)).toMatchObject({ done: true });
  expect(rows.at(-1)?.file).toContain(`${world.tenant}-`);
  await round();
  expect(await archives(desk, await alice())).toHaveLength(before + 1);
  await jobs.stop();
  await verified();
});

describe("done around us", () => {
  const to = (login: TestDatabase["app"], name: string): TestDatabase["app"] => {
    if (login.connectionString === undefined) return { ...login, database: name };
    const url = new URL(login.connectionString);
    url.pathname = `/${name}`;
    return { ...login, connectionString: url.href };
  };
  const endConnections = (): Promise<unknown> =>
    withClient(to(database.superuser, "postgres"), (admin) =>
      admin.query("select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = $1", [database.name]),
    );

  it.each<[string, string, string]>([
    [
      "a content after the pruning taken away",
      "update countersign.entries set content = null, action = null, actor_id = null, subject_id = null where tenant_id = $1 and seq = (select max(seq) - 1 from countersign.entries where tenant_id = $1)",
      "ERASED_WITHOUT_ENTRY",
    ],
    [
      "a newest digest taken away behind the pruning",
      "update countersign.entries set content = null, action = null, actor_id = null, subject_id = null where tenant_id = $1 and seq = (select min(seq) from countersign.entries where tenant_id = $1 and action = 'tenant.created')",
      "STATE_WITHOUT_ENTRY",
    ],
    [
      "the counts in a pruning's place",
      "update countersign.counters set value = value + 1 where tenant_id = $1",
      "STATE_MISMATCH",
    ],
    [
      "rows of the beginning deleted",
      "delete from countersign.entries where tenant_id = $1 and seq < 3",
      "PRUNED_WITHOUT_ENTRY",
    ],
  ])("%s", async (_, statement, found) => {
    const name = `${database.name}_copy`;
    await endConnections();
    await withClient(to(database.superuser, "postgres"), (admin) =>
      admin.query(`create database ${name} template ${database.name}`),
    );
    try {
      await withClient(to(database.superuser, name), async (client) => {
        await client.query("set session_replication_role = replica");
        await client.query(statement, [world.tenant]);
      });
      const report = await verifyTenant(
        { login: to(database.app, name), openBody: bodyOpener(new SubjectKeys(testSealing, systemRandom)) },
        world.tenant,
        { bodies: true },
      );
      expect(report.integrity).toBe("tampered");
      expect(report.findings.map((one) => one.class)).toContain(found);
    } finally {
      await withClient(to(database.superuser, "postgres"), (admin) =>
        admin.query(`drop database ${name} with (force)`),
      );
    }
  });
});
