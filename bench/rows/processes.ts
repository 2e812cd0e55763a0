/** Two server processes on one tenant against one: they take turns on the tenant's lock row, and neither forks nor loses anything. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type pg from "pg";
import { newId } from "../../packages/server/src/platform/index.js";
import { withClient } from "../postgres.js";
import type { Bench, BenchDatabase, Measured, Row, Sample } from "../row.js";

const roundMs = 1_500;

interface Done {
  readonly rate: number;
  readonly p99Ms: number;
  readonly changes: number;
}

/** Runs workers on a tenant of their own, begun together, and holds the ledger against what they were told. */
async function run(given: {
  worker: string;
  database: BenchDatabase;
  processes: number;
  writers: number;
  groupsInFlight: number;
}): Promise<Sample> {
  const tenant = newId();
  const login: pg.ClientConfig = given.database.app;
  const children: ChildProcess[] = Array.from({ length: given.processes }, () =>
    spawn(
      process.execPath,
      [
        given.worker,
        JSON.stringify(login),
        tenant,
        String(given.writers),
        String(roundMs),
        String(given.groupsInFlight),
      ],
      { stdio: ["pipe", "pipe", "inherit"] },
    ),
  );
  const lines = children.map((child) =>
    createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator](),
  );
  for (const line of lines) if ((await line.next()).value !== "ready") throw new Error("a worker did not start");
  for (const child of children) child.stdin?.write("go\n");
  const told = await Promise.all(lines.map(async (line) => JSON.parse(String((await line.next()).value)) as Done));
  await Promise.all(
    children.map(async (child) => {
      if (child.exitCode === null) await once(child, "exit");
    }),
  );
  await withClient(given.database.superuser, async (client) => {
    const found = await client.query<{ entries: string; last: string }>(
      "select count(*) as entries, max(seq) as last from countersign.entries where tenant_id = $1",
      [tenant],
    );
    const changes = told.reduce((sum, one) => sum + one.changes, 0);
    const [row] = found.rows;
    if (Number(row?.entries) !== changes || Number(row?.last) !== changes - 1)
      throw new Error(`${changes} receipts, ${row?.entries} entries up to ${row?.last}`);
  });
  return { value: told.reduce((sum, one) => sum + one.rate, 0), p99Ms: Math.max(...told.map((one) => one.p99Ms)) };
}

async function measureProcesses(bench: Bench): Promise<Measured> {
  const database = await bench.database();
  const worker = process.env["COUNTERSIGN_BENCH_WORKER"] ?? ""; // made by run.js
  return {
    ours: () => run({ worker, database, processes: 2, writers: 16, groupsInFlight: 1 }),
    reference: () => run({ worker, database, processes: 1, writers: 32, groupsInFlight: 2 }),
    close: () => database.close(),
  };
}

export const processRows: readonly Row[] = [
  {
    name: "append-2p",
    work: "one entry",
    unit: "entries/s",
    conditions: "2 processes of 16 writers on one tenant, one group in flight each; every receipt found in the ledger",
    referenceIs: "1 process of 32 writers, two groups in flight",
    goal: { text: "≥ 0.9×, no fork, no lost receipt", ratioMin: 0.9 },
    prepare: measureProcesses,
  },
];
