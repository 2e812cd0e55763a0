/** Rounds: what a process does again and again. Of jobs, which recur for every tenant: jobs/jobs.test.ts, jobs/recurring.test.ts. */
import { expect, test } from "vitest";
import { startRounds } from "../../src/platform/index.js";

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
