/**
 * What keeps a run in one pair of hands while a target takes long: the lease, and for acts that must not run twice a lock.
 * The other process is the module loaded a second time, under another host name and with a clock of its own.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { openChangeSets, type ChangeSets, type Desk } from "../../src/change-sets/index.js";
import type { Timers } from "../../src/platform/index.js";
import type { ActContext, CompensatingTargetKind, ConcurrentActs } from "../../src/targets/index.js";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.js";
import { createWorld, file, must, type World } from "../support/world.js";
import { compensatingKind, withKind } from "../support/kinds.js";

interface Signal {
  readonly happened: Promise<void>;
  give(): void;
}
function signal(): Signal {
  let give: () => void = () => undefined;
  const happened = new Promise<void>((resolve) => (give = resolve));
  return { happened, give };
}

/** Files whose acts wait until they are let go; how many there were, how many at once. */
class SlowFiles {
  readonly #concurrentActs: ConcurrentActs;
  /** The first act has looked its target up, and now the outside world takes its time. */
  readonly begun = signal();
  readonly released = signal();
  readonly contexts: ActContext[] = [];
  #atOnce = 0;
  atOnceMost = 0;
  /** Instead of an act: what a process did that died underway. */
  dying: ((act: () => Promise<unknown>) => Promise<void>) | undefined;

  constructor(concurrentActs: ConcurrentActs) {
    this.#concurrentActs = concurrentActs;
  }

  get acts(): number {
    return this.contexts.length;
  }

  wrap(desk: Desk): Desk {
    const files = compensatingKind(desk.targets, "file");
    const act: CompensatingTargetKind["act"] = async (step, context) => {
      this.contexts.push(context);
      this.#atOnce += 1;
      this.atOnceMost = Math.max(this.atOnceMost, this.#atOnce);
      try {
        for (const effect of step.effects) await files.read(effect.target, context);
        this.begun.give();
        await this.released.happened;
        if (this.dying === undefined) return await files.act(step, context);
        await this.dying(() => files.act(step, context));
        throw new Error("died");
      } finally {
        this.#atOnce -= 1;
      }
    };
    const slow: CompensatingTargetKind = { ...files, act, concurrentActs: this.#concurrentActs };
    return { ...desk, targets: withKind(desk.targets, slow) };
  }
}

/** Renewals and limits of leases, when the test says so. */
class HeldTimers implements Timers {
  beat: () => Promise<void> = () => Promise.resolve();
  readonly limits = new Set<() => void>();

  every(_: number, beat: () => Promise<void>): () => void {
    this.beat = beat;
    return () => undefined;
  }

  after(_: number, act: () => void): () => void {
    this.limits.add(act);
    return () => this.limits.delete(act);
  }
}

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});
const worlds: World[] = [];
afterEach(() => {
  vi.doUnmock("node:os");
});
afterAll(() => Promise.all(worlds.map((world) => world.close())));

interface Given {
  readonly world: World;
  readonly slow: SlowFiles;
  readonly id: string;
}

async function given(concurrentActs: ConcurrentActs = "idempotent"): Promise<Given> {
  const slow = new SlowFiles(concurrentActs);
  const world = await createWorld({ storage: database.storage, wrap: (desk) => slow.wrap(desk) });
  worlds.push(world);
  writeFileSync(join(world.root, "a.txt"), "before\n");
  const { changeSet } = await world.approved(world.builder, {
    title: "a long act",
    items: [{ operation: "UPDATE", target: file("a.txt"), content: { text: "after\n" } }],
  });
  return { world, slow, id: changeSet.id };
}

const content = ({ world }: Given): string => readFileSync(join(world.root, "a.txt"), "utf8");

async function applyOf({ world, id }: Given, changeSets: ChangeSets = world.changeSets) {
  return must(await changeSets.apply(await world.caller(world.builder), { id }, world.request()));
}

async function statusOf({ world, id }: Given): Promise<string> {
  return must(await world.changeSets.get(await world.caller(world.builder), { id })).status;
}

/** `recover` of another process: the module anew, another host name, its clock ahead. */
async function recoverElsewhere(world: World, aheadMs: number): Promise<string[]> {
  vi.resetModules();
  vi.doMock("node:os", async (original) => ({
    ...(await original<typeof import("node:os")>()),
    hostname: () => "elsewhere",
  }));
  const elsewhere = await import("../../src/change-sets/index.js");
  const { desk } = world;
  return elsewhere.openChangeSets({ ...desk, now: () => desk.now() + aheadMs }).recover(world.tenant);
}

/** Recovers elsewhere while the first act is under way. Were the other process to act as well, it is let go when it has begun. */
async function recoverMeanwhile({ world, slow }: Given, aheadMs: number): Promise<void> {
  const recovering = recoverElsewhere(world, aheadMs);
  const second = vi.waitUntil(() => slow.acts > 1, { timeout: 20_000, interval: 5 });
  second.catch(() => undefined);
  await Promise.race([recovering, second]);
  slow.released.give();
  await recovering;
}

const leaseOf = (world: World, statement: string): Promise<unknown> =>
  withClient(database.superuser, (client) => client.query(`${statement} where tenant_id = $1`, [world.tenant]));

describe("an act that takes longer than a lease", () => {
  it("is not done by another process meanwhile, whose clock is ahead", async () => {
    const one = await given();
    const applying = applyOf(one);
    await one.slow.begun.happened;
    await recoverMeanwhile(one, 16_000);
    expect((await applying).changeSet.status).toBe("APPLIED");
    expect([one.slow.atOnceMost, one.slow.acts]).toEqual([1, 1]);
  });

  it("holds no snapshot of the database", async () => {
    const one = await given();
    const applying = applyOf(one);
    await one.slow.begun.happened;
    const open = await withClient(database.superuser, async (client) => {
      const { rows } = await client.query<{ state: string; query: string }>(
        `select state, query from pg_stat_activity where datname = current_database() and state like 'idle in transaction%'`,
      );
      return rows;
    });
    one.slow.released.give();
    await applying;
    expect(open).toEqual([]);
  });

  it("renews its lease meanwhile, also where the row was lost", async () => {
    const one = await given();
    const timers = new HeldTimers();
    const applying = applyOf(one, openChangeSets(one.world.desk, timers));
    await one.slow.begun.happened;
    await leaseOf(one.world, "update countersign.application_leases set expires_at_ms = 0");
    await timers.beat();
    expect(await recoverElsewhere(one.world, 0)).toEqual([]);
    await leaseOf(one.world, "delete from countersign.application_leases");
    await timers.beat();
    expect(await recoverElsewhere(one.world, 0)).toEqual([]);
    one.slow.released.give();
    await applying;
    expect([one.slow.atOnceMost, one.slow.acts]).toEqual([1, 1]);
  });
});

describe("a run that lost its lease", () => {
  const lost: readonly (readonly [string, (world: World, timers: HeldTimers) => Promise<void>])[] = [
    [
      "to another process, as its next renewal finds out",
      async (world, timers) => {
        await leaseOf(world, "update countersign.application_leases set holder = 'another'");
        await timers.beat();
      },
    ],
    [
      "because it could not renew it in time",
      async (_, timers) => {
        for (const limit of timers.limits) limit();
      },
    ],
  ];
  it.each(lost)("%s, stops and records nothing more", async (_, lose) => {
    const one = await given();
    const timers = new HeldTimers();
    const applying = applyOf(one, openChangeSets(one.world.desk, timers));
    await one.slow.begun.happened;
    await lose(one.world, timers);
    expect(one.slow.contexts[0]?.signal.aborted).toBe(true);
    one.slow.released.give();
    expect((await applying).application.items).toMatchObject([{ status: "STARTED" }]);
    expect(content(one)).toBe("before\n");

    await leaseOf(one.world, "delete from countersign.application_leases");
    await openChangeSets(one.world.desk).recover(one.world.tenant);
    expect([await statusOf(one), content(one)]).toEqual(["APPLIED", "after\n"]);
    expect((await one.world.ledger.checkTenant(one.world.tenant)).findings).toEqual([]);
  });
});

describe("an act that must not run twice", () => {
  it("is left alone by a process that has the lease, while the first one acts", async () => {
    const one = await given("exclusive");
    const applying = applyOf(one);
    await one.slow.begun.happened;
    await leaseOf(one.world, "delete from countersign.application_leases");
    await recoverMeanwhile(one, 0);
    expect((await applying).changeSet.status).toBe("APPLIED");
    expect([one.slow.atOnceMost, one.slow.acts]).toEqual([1, 1]);
  });

  it("is told when its lock is lost, and records nothing more", async () => {
    const one = await given("exclusive");
    const applying = applyOf(one);
    await one.slow.begun.happened;
    const told = new Promise<void>((resolve) =>
      one.slow.contexts[0]?.signal.addEventListener("abort", () => resolve()),
    );
    await withClient(database.superuser, (client) =>
      client.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'countersign lock' and datname = current_database()`,
      ),
    );
    await told;
    one.slow.released.give();
    expect((await applying).application.items).toMatchObject([{ status: "STARTED" }]);
    await openChangeSets(one.world.desk).recover(one.world.tenant);
    expect([await statusOf(one), content(one)]).toEqual(["APPLIED", "after\n"]);
  });

  it.each<[string, SlowFiles["dying"], number, string, string]>([
    ["had its effect", async (act) => void (await act()), 1, "APPLIED", "after\n"],
    ["had none", async () => undefined, 2, "APPLIED", "after\n"],
  ])(
    "when an act came to no end and it %s, the target decides whether it is done again",
    async (_, dying, acts, status, text) => {
      const one = await given("exclusive");
      one.slow.dying = dying;
      one.slow.released.give();
      await expect(applyOf(one)).rejects.toThrow("died");
      one.slow.dying = undefined;
      // The same process again: that it began the item itself says nothing any more.
      await one.world.changeSets.recover(one.world.tenant);
      expect([await statusOf(one), content(one), one.slow.acts]).toEqual([status, text, acts]);
    },
  );

  it("when the process died and the target is as neither before nor after, is not done again", async () => {
    const one = await given("exclusive");
    one.slow.dying = async () => undefined;
    one.slow.released.give();
    await expect(applyOf(one)).rejects.toThrow("died");
    writeFileSync(join(one.world.root, "a.txt"), "other\n");
    await openChangeSets(one.world.desk).recover(one.world.tenant);
    expect([await statusOf(one), content(one), one.slow.acts]).toEqual(["PARTIALLY_APPLIED", "other\n", 1]);
  });
});
