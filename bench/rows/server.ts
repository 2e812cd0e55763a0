/**
 * A whole server over HTTP, as agents and people meet it: creating, the life of a change-set, rolling back, starting.
 * Callers, server and PostgreSQL share the machine; the reference of `create` is the same arrangement without any of what
 * a change-set is: a Fastify route that checks nothing and inserts the body.
 */
import { spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import Fastify from "fastify";
import type { ChangeSetView, ItemInput } from "../../packages/contract/src/index.js";
import { addAgent, enrolPerson, vote, type Agent, type Person } from "../../packages/server/src/cli/demo/people.js";
import { configure } from "../../packages/server/src/cli/demo/setting.js";
import { openLog } from "../../packages/server/src/platform/index.js";
import { startServer, type RunningServer } from "../../packages/server/src/server.js";
import { median, throughput, type Bench, type Measured, type Row, type Sample } from "../row.js";

const roundMs = 3_000;
const connections = 32;

interface World {
  readonly server: RunningServer;
  readonly person: Person;
  readonly agents: readonly Agent[];
  close(): Promise<void>;
}

function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "countersign-bench-"));
  chmodSync(folder, 0o711);
  return folder;
}

/** A server with one person (mode solo: they may approve) and an agent a connection. */
async function openWorld(): Promise<World> {
  const folder = temporaryFolder();
  const server = await startServer({
    dataDirectory: join(folder, "data"),
    port: 0,
    firstHuman: "Ada",
    log: openLog({ level: "error" }),
  });
  const person = await enrolPerson(server.url, server.firstCode?.text ?? "");
  await configure(person);
  const agents: Agent[] = [];
  for (let index = 0; index < connections; index++)
    agents.push(await addAgent(person, server.url, `agent ${index}`, "GENERAL"));
  const close = async (): Promise<void> => {
    await server.close();
    rmSync(folder, { recursive: true, force: true });
  };
  return { server, person, agents, close };
}

let numbers = 0;
/** `count` documents of about 300 bytes that nobody else has. */
function items(count: number): ItemInput[] {
  return Array.from({ length: count }, () => {
    numbers += 1;
    const after = {
      name: `service ${numbers}`,
      timeoutSeconds: 30,
      retries: 3,
      regions: ["eu-west", "us-east", "ap-south"],
      features: { search: true, checkout: false, recommendations: { enabled: true, percent: 25 } },
      text: "x".repeat(120),
    };
    return {
      operation: "CREATE",
      target: { kind: "resource", type: "CONFIG", id: `bench/${numbers}`, environment: "development" },
      after,
    };
  });
}

async function measureCreate(bench: Bench): Promise<Measured> {
  const world = await openWorld();
  const database = await bench.database({ empty: true });
  await database.storage.owner.query(
    "create table public.plain_requests (id bigint generated always as identity primary key, body jsonb not null)",
  );
  const fastify = Fastify();
  fastify.post("/plain", async (request) => {
    const { rows } = await database.storage.owner.query<{ id: string }>({
      name: "plain",
      text: "insert into public.plain_requests (body) values ($1) returning id",
      values: [JSON.stringify(request.body)],
    });
    return { id: rows[0]?.id };
  });
  const url = await fastify.listen({ host: "127.0.0.1", port: 0 });
  return {
    ours: () =>
      counted(bench, world, () =>
        throughput(connections, roundMs, (caller) =>
          (world.agents[caller] as Agent).client.createChangeSet({ title: "bench", items: items(3) }),
        ),
      ),
    reference: () =>
      throughput(connections, roundMs, async () => {
        const response = await fetch(`${url}/plain`, {
          method: "POST",
          headers: { "content-type": "application/json" },
          body: JSON.stringify({ title: "bench", items: items(3) }),
        });
        if (!response.ok) throw new Error(`the reference answered ${response.status}`);
        await response.json();
      }),
    close: async () => {
      await fastify.close();
      await database.close();
      await world.close();
    },
  };
}

async function approved({ person }: World, agent: Agent, count: number): Promise<ChangeSetView> {
  const set = await agent.client.propose({ title: "bench", items: items(count) });
  return set.status === "PENDING_APPROVAL" ? vote(person, set, "APPROVED") : set;
}

async function applied(world: World, agent: Agent, count: number): Promise<string> {
  const { id } = await approved(world, agent, count);
  const { changeSet } = await agent.client.applyChangeSet({ id });
  if (changeSet.status !== "APPLIED") throw new Error(`${changeSet.number} is ${changeSet.status}`);
  return id;
}

async function rolledBack(world: World, id: string): Promise<void> {
  const { changeSet } = await world.person.client.rollbackChangeSet({ id });
  if (changeSet.status !== "ROLLED_BACK") throw new Error(`${changeSet.number} is ${changeSet.status}`);
}

async function transactions({ server }: World): Promise<number> {
  const { rows } = await server.storage.owner.query<{ n: string }>(
    "select xact_commit + xact_rollback as n from pg_stat_database where datname = current_database()",
  );
  return Number(rows[0]?.n);
}

/** Tells how many transactions of the database one piece of work took. */
async function counted(bench: Bench, world: World, work: () => Promise<Sample>): Promise<Sample> {
  const before = await transactions(world);
  const began = performance.now();
  const sample = await work();
  const done = (sample.value * (performance.now() - began)) / 1000;
  bench.progress(`about ${(((await transactions(world)) - before) / done).toFixed(1)} database transactions each`);
  return sample;
}

async function measureLifecycle(bench: Bench): Promise<Measured> {
  const world = await openWorld();
  return {
    ours: () =>
      counted(bench, world, () =>
        throughput(connections, roundMs, async (caller) =>
          rolledBack(world, await applied(world, world.agents[caller] as Agent, 1)),
        ),
      ),
    close: world.close,
  };
}

async function measureRollback(): Promise<Measured> {
  const world = await openWorld();
  const agent = world.agents[0] as Agent;
  return {
    ours: async (): Promise<Sample> => {
      const durations: number[] = [];
      for (let turn = 0; turn < 15; turn++) {
        const id = await applied(world, agent, 10);
        const begin = performance.now();
        await rolledBack(world, id);
        durations.push(performance.now() - begin);
      }
      return { value: median(durations), p99Ms: Math.max(...durations) };
    },
    close: world.close,
  };
}

// From where the bundle lies: packages/server/node_modules/.countersign/.
const program = fileURLToPath(new URL("../../bin/countersign.js", import.meta.url));

/** Milliseconds until a new server process answers; it is stopped before this returns. */
async function startOnce(data: string): Promise<number> {
  const begin = performance.now();
  const child = spawn(process.execPath, [program, "start", "--port", "0", "--data", data], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  try {
    for (;;) {
      if (child.exitCode !== null) throw new Error(`the server did not start: ${said}`);
      const url = addressIn(data);
      if (url !== undefined && (await isReady(url))) return performance.now() - begin;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
}

function addressIn(data: string): string | undefined {
  try {
    return (JSON.parse(readFileSync(join(data, "server.json"), "utf8")) as { url: string }).url;
  } catch {
    // It is written when the server listens.
    return undefined;
  }
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`)).ok;
  } catch {
    // It is not listening any more, or not yet.
    return false;
  }
}

async function measureStart({ first }: { readonly first: boolean }): Promise<Measured> {
  const kept = temporaryFolder();
  if (!first) await startOnce(join(kept, "data"));
  return {
    ours: async () => {
      if (!first) return { value: await startOnce(join(kept, "data")) };
      const folder = temporaryFolder();
      try {
        return { value: await startOnce(join(folder, "data")) };
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    },
    close: async () => rmSync(kept, { recursive: true, force: true }),
  };
}

export const serverRows: readonly Row[] = [
  {
    name: "create",
    work: "POST /api/ledger/changesets: plan, risk and entry",
    unit: "requests/s",
    conditions: `3 JSON items, ${connections} connections over HTTP, an agent each`,
    referenceIs: "Fastify and one insert of the body, the same connections",
    goal: { text: "≥ 0.5×, p99 < 25 ms", ratioMin: 0.5, p99MsMax: 25 },
    prepare: measureCreate,
  },
  {
    name: "lifecycle",
    work: "create, submit, approve by signature, apply, roll back",
    unit: "change-sets/s",
    conditions: `1 JSON item, ${connections} agents over HTTP, one approver`,
    referenceIs: "",
    goal: { text: "reported" },
    prepare: measureLifecycle,
  },
  {
    name: "rollback",
    work: "roll back one change-set of 10 JSON items",
    unit: "ms",
    conditions: "over HTTP, one at a time, median of 15",
    referenceIs: "",
    goal: { text: "< 50 ms", valueMax: 50 },
    prepare: measureRollback,
  },
  {
    name: "start-first",
    work: "process start until ready, embedded, first time",
    unit: "ms",
    conditions: "initdb, migrations, first tenant",
    referenceIs: "",
    goal: { text: "< 4 s", valueMax: 4_000 },
    prepare: () => measureStart({ first: true }),
  },
  {
    name: "start",
    work: "process start until ready, embedded, later",
    unit: "ms",
    conditions: "a data directory that was used before",
    referenceIs: "",
    goal: { text: "< 1.5 s", valueMax: 1_500 },
    prepare: () => measureStart({ first: false }),
  },
];
