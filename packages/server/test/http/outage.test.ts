/** The database away and back, and the server told to stop: nothing acknowledged is lost, nobody is left without an answer. */
import { existsSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { startEmbedded } from "../../src/storage/embedded.js";
import {
  startTestPostgres,
  testSettings,
  type TestDatabase,
  type TestPostgres,
  withClient,
} from "../support/postgres.js";
import {
  addAgent,
  type Agent,
  call,
  newKey,
  type Person,
  startTestServer,
  type TestServer,
} from "../support/server.js";

const embedded = (process.env["COUNTERSIGN_TEST_DATABASE_URL"] ?? "") === "";
const codeOf = (answer: { body: unknown }): string => (answer.body as { code: string }).code;

describe.runIf(embedded)("the database is away for a while", () => {
  let postgres: TestPostgres;
  let database: TestDatabase;
  let server: TestServer;
  let ada: Person;
  let agent: Agent;
  beforeAll(async () => {
    postgres = await startTestPostgres();
    database = await postgres.createDatabase();
    server = await startTestServer({ database });
    ada = await server.firstPerson();
    agent = await addAgent(ada, "agent");
  });
  afterAll(async () => {
    await server.close();
    await postgres.close();
  });

  test("503 with Retry-After while it is away; then everything goes on, and nothing acknowledged is lost", async () => {
    const acknowledged: string[] = [];
    const make = async (name: string): Promise<number> => {
      const answer = await ada.call("createAgent", { name }, { idempotencyKey: newKey() });
      if (answer.status === 201) acknowledged.push(name);
      return answer.status;
    };
    // Under load: some are on their way when it goes.
    const underWay = Promise.all(Array.from({ length: 12 }, (_, n) => make(`before ${n}`)));
    await postgres.embedded?.stop();
    const statuses = await underWay;
    expect(statuses.filter((status) => status !== 201 && status !== 503)).toEqual([]);

    const away = await agent.call("whoAmI", {});
    expect([away.status, codeOf(away), away.headers.get("retry-after")]).toEqual([503, "database_unavailable", "2"]);
    expect(JSON.stringify(away.body)).not.toMatch(/postgres:|password|\.s\.PGSQL/);
    expect(await make("while away")).toBe(503);
    expect((await fetch(`${server.url}/healthz`)).status).toBe(200);
    const notReady = await fetch(`${server.url}/readyz`);
    expect([notReady.status, await notReady.json()]).toMatchObject([
      503,
      {
        status: "not_ready",
        checks: [
          { name: "database", ok: false },
          { name: "migrations", ok: false },
          { name: "door", ok: true },
          { name: "publishing", ok: true },
          { name: "jobs", ok: false },
        ],
      },
    ]);

    const again = await startEmbedded(postgres.dataDirectory ?? "", { settings: testSettings });
    expect((await agent.call("whoAmI", {})).status).toBe(200);
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200);
    expect(await make("after")).toBe(201);
    const names = (await ada.call("listPrincipals", { kind: "agent", limit: 200 })).body.rows.map((row) => row.name);
    expect(names).toEqual(expect.arrayContaining(acknowledged));
    expect(names).not.toContain("while away");
    expect((await server.verification.checkTenant(server.tenant)).findings).toEqual([]);
    await server.close();
    await again.stop();
  });
});

describe("a server that is told to stop", () => {
  test("answers what is in flight, refuses what comes later, and ends", async () => {
    const server = await startTestServer();
    const ada = await server.firstPerson();
    expect(JSON.parse(readFileSync(join(server.dataDirectory, "server.json"), "utf8"))).toEqual({
      url: server.url,
      pid: process.pid,
    });
    // Kept open by a client: it must not hold up the stop.
    const idle = connect(Number(new URL(server.url).port), "127.0.0.1");
    idle.on("error", () => undefined); // it is ended by the server
    await once(idle, "connect");

    const inFlight = Array.from({ length: 20 }, (_, n) => ada.call("createAgent", { name: `late ${n}` }));
    await inFlight[0];
    const closing = server.close();
    const answers = await Promise.allSettled(inFlight);
    // Each is done, or told that the server is stopping, or could not connect any more; none hangs or is half done.
    for (const answer of answers) {
      if (answer.status === "fulfilled") expect([201, 503]).toContain(answer.value.status);
    }
    await closing;
    await expect(fetch(`${server.url}/healthz`)).rejects.toThrow();
    expect(existsSync(join(server.dataDirectory, "server.json"))).toBe(false);
  });

  test("lets a long answer come to its end", async () => {
    const server = await startTestServer();
    const ada = await server.firstPerson();
    for (let n = 0; n < 30; n++) await ada.call("engageKillSwitch", { reason: "x" });
    const response = await fetch(`${server.url}/api/ledger/audit/export`, {
      headers: { authorization: `Bearer ${ada.apiKey}` },
    });
    const closing = server.close();
    const lines = (await response.text()).trimEnd().split("\n");
    await closing;
    expect(lines.length).toBeGreaterThan(5);
    for (const line of lines) JSON.parse(line);
  });
});

describe("an export", () => {
  test("is streamed: a slow reader holds it back, and one that goes away ends it", async () => {
    const server = await startTestServer({ timeouts: { stalledReader: 500 } });
    const ada = await server.firstPerson();
    // Bodies of 2,000 characters each: more than fits into the buffers on the way.
    const kill = (n: number) =>
      ada
        .call("engageKillSwitch", { reason: String(n).padEnd(2_000, "x") })
        .then(() => ada.call("releaseKillSwitch", {}));
    for (let n = 0; n < 20; n++) await kill(n);
    const { port, hostname } = new URL(server.url);
    const many = Array.from({ length: 40 }, () => {
      const socket = connect(Number(port), hostname);
      socket.on("error", () => undefined); // the server cuts it off
      socket.write(
        `GET /api/ledger/audit/export HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer ${ada.apiKey}\r\n\r\n`,
      );
      return socket;
    });
    await Promise.all(many.map((socket) => once(socket, "readable")));
    for (const socket of many) socket.destroy();
    for (let n = 0; n < 20; n++)
      expect(
        (
          await fetch(`${server.url}/api/ledger/audit/export`, {
            method: "HEAD",
            headers: { authorization: `Bearer ${ada.apiKey}` },
          })
        ).status,
      ).toBe(200);
    // The connections to the database are given back.
    await expect.poll(() => readingConnections(server), { timeout: 20_000 }).toBe(0);
    expect((await ada.call("whoAmI", {})).status).toBe(200);
    const whole = await fetch(`${server.url}/api/ledger/audit/export`, {
      headers: { authorization: `Bearer ${ada.apiKey}` },
    });
    expect(whole.headers.get("content-type")).toContain("application/jsonl");
    expect((await whole.text()).length).toBeGreaterThan(40_000);
    const refused = await fetch(`${server.url}/api/ledger/audit/export?from=1000000`, {
      headers: { authorization: `Bearer ${ada.apiKey}` },
    });
    expect([refused.status, refused.headers.get("content-type")]).toEqual([404, "application/problem+json"]);
    await server.close();
  });
});

/** Connections that an export reads with. */
async function readingConnections(server: TestServer): Promise<number> {
  return withClient(server.database.superuser, async (client) => {
    const found = await client.query<{ count: string }>(
      "select count(*) from pg_stat_activity where application_name = 'countersign reading' and datname = current_database()",
    );
    return Number(found.rows[0]?.count);
  });
}

test("nothing but the code's owner can read what lies in the data directory", async () => {
  const server = await startTestServer();
  const { statSync } = await import("node:fs");
  const file = server.firstCode?.file ?? "";
  expect((statSync(file).mode & 0o777).toString(8)).toBe("600");
  expect((statSync(join(server.dataDirectory, "server.json")).mode & 0o777).toString(8)).toBe("600");
  expect(readFileSync(file, "utf8").split("\n")[0]).toBe(server.firstCode?.text);
  expect((await call(server.url, "whoAmI", {}, { apiKey: server.firstCode?.text ?? "" })).status).toBe(401);
  await server.close();
});
