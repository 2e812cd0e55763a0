/** What recurs for every tenant: one tenant that cannot be served keeps no other waiting. */
import type { TenantId } from "@countersign/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startRecovery } from "../src/change-sets/index.js";
import { openSelfChecks, startKeeper } from "../src/ops/index.js";
import { newId, openLog, startRounds } from "../src/platform/index.js";
import type { Storage } from "../src/storage/index.js";
import { retentionDesk } from "./support/retention.js";
import { newTenant } from "./support/ledger.js";
import { createWorld, type World } from "./support/world.js";

/** Much longer than a round. */
const patienceMs = 20_000;
const quiet = openLog({ level: "silent" });
const [a, b, c] = [newTenant(), newTenant(), newTenant()];
const tenants = (): Promise<TenantId[]> => Promise.resolve([a, b, c]);

let world: World;
beforeAll(async () => {
  world = await createWorld();
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

test(
  "recovery: b and c are asked in the round in which a cannot be recovered",
  async () => {
    const asked = naming([a, b, c]);
    const recover = (tenant: TenantId): Promise<string[]> => {
      asked.name(tenant);
      return tenant === a ? Promise.reject(new Error("its target is broken")) : Promise.resolve([]);
    };
    const recovery = startRecovery({ tenants, recover, log: quiet });
    await asked.all;
    await recovery.stop();
  },
  patienceMs,
);

test(
  "retention: b and c are kept in the round in which a cannot be",
  async () => {
    const desk = retentionDesk(world.desk, world.changeSets, world.dataDirectory);
    const asked = naming([a, b, c]);
    const broken = {
      ...desk.ledger,
      snapshot: ((tenant, read) => {
        asked.name(tenant);
        return tenant === a ? Promise.reject(new Error("it cannot be read")) : desk.ledger.snapshot(tenant, read);
      }) as typeof desk.ledger.snapshot,
    };
    const keeper = startKeeper({ ...desk, ledger: broken, finishers: [] }, { tenants, log: quiet });
    await asked.all;
    await keeper.stop();
  },
  patienceMs,
);

test(
  "self-checks: b and c are checked in the round in which a cannot be, also when one is asked for",
  async () => {
    const { storage, ledger } = world;
    const inTenant: Storage["inTenant"] = (tenant, work) =>
      tenant === a ? Promise.reject(new Error("its rows cannot be read")) : storage.inTenant(tenant, work);
    const checked = naming([b, c]);
    const requested = naming([b]);
    const checks = openSelfChecks({
      ...{ ledger, tenants, newId, everyMinutes: 15, deploymentTenant: newTenant(), lookMs: 20 },
      storage: { applicationLogin: storage.applicationLogin, inTenant },
      clock: { nowMs: () => 1_800_000_000_000 },
      log: quiet,
      onReport: (tenant, kind) => (kind === "requested" ? requested : checked).name(tenant),
    });
    checks.start();
    await checked.all;
    await checks.request(b);
    await requested.all;
    await checks.stop();
  },
  patienceMs,
);

test("rounds: none overlaps another, a failing one is followed by the next, and a stop waits for the one under way", async () => {
  const told: string[] = [];
  const gates: ((how: "ends" | "fails") => void)[] = [];
  const began: (() => void)[] = [];
  const nextBegins = (): Promise<void> => new Promise((resolve) => began.push(resolve));
  const first = nextBegins();
  const rounds = startRounds({
    pauseMs: 3_600_000,
    round: () =>
      new Promise((resolve, reject) => {
        told.push("begins");
        gates.push((how) => (how === "ends" ? resolve() : reject(new Error("it fails"))));
        began.shift()?.();
      }),
    failed: (error) => told.push((error as Error).message),
  });
  await first;
  const second = nextBegins();
  rounds.soon();
  rounds.soon();
  expect(told).toEqual(["begins"]);
  gates[0]?.("fails");
  await second;
  let stopped = false;
  const stop = rounds.stop().then(() => (stopped = true));
  await new Promise((resolve) => setImmediate(resolve));
  expect([told, stopped]).toEqual([["begins", "it fails", "begins"], false]);
  gates[1]?.("ends");
  await stop;
  rounds.soon();
  await rounds.next();
  expect(told).toEqual(["begins", "it fails", "begins"]);
});
