/** Pools and snapshots, on a real PostgreSQL that is stopped, killed and started again under them. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { RefusalError } from "@countersign/contract";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connectionLost, openPool } from "../../src/storage/connections.js";
import { ask, connect, withSnapshot, writeOperational, type Storage } from "../../src/storage/index.js";
import { startEmbedded } from "../../src/storage/embedded.js";
import {
  startTestPostgres,
  testSettings,
  withClient,
  type TestDatabase,
  type TestPostgres,
} from "../support/postgres.js";

const [ada, bob] = ["00000000-0000-7000-8000-00000000000a", "00000000-0000-7000-8000-00000000000b"];
let postgres: TestPostgres;
let database: TestDatabase;
let storage: Storage;

beforeAll(async () => {
  postgres = await startTestPostgres();
  database = await postgres.createDatabase();
  storage = database.storage;
  await withClient(database.superuser, (client) =>
    client.query(
      "insert into countersign.number_series (tenant_id, series, next) values ($1, 'CHG', 1), ($2, 'CHG', 2)",
      [ada, bob],
    ),
  );
});
afterAll(() => postgres.close());

const readSeries = {
  name: "read_series",
  text: "select next::integer as next from countersign.number_series",
  values: [],
};

describe("a snapshot", () => {
  test("sees its tenant and no other, as the application's role", async () => {
    for (const [tenant, next] of [
      [ada, 1],
      [bob, 2],
    ] as const) {
      const found = await storage.withSnapshot(tenant, async (client) => [
        (
          await client.query(
            "select current_user as user, current_setting('transaction_isolation') as isolation, current_setting('transaction_read_only') as read_only",
          )
        ).rows,
        (await client.query(readSeries)).rows,
      ]);
      expect(found).toEqual([[{ user: "countersign_app", isolation: "repeatable read", read_only: "on" }], [{ next }]]);
    }
  });

  test("without a tenant nothing is seen, and the tenant does not outlive the snapshot", async () => {
    await storage.withSnapshot(ada, (client) => client.query(readSeries));
    for (let index = 0; index < 20; index += 1) expect((await ask(storage.app, readSeries.text)).rows).toEqual([]);
  });

  test("stays what it was while others write", async () => {
    const seen = await storage.withSnapshot(ada, async (client) => {
      const before = (await client.query(readSeries)).rows;
      await withClient(database.superuser, (other) =>
        other.query("update countersign.number_series set next = 7 where tenant_id = $1", [ada]),
      );
      const after = (await client.query(readSeries)).rows;
      await withClient(database.superuser, (other) =>
        other.query("update countersign.number_series set next = 1 where tenant_id = $1", [ada]),
      );
      return [before, after];
    });
    expect(seen).toEqual([[{ next: 1 }], [{ next: 1 }]]);
  });

  test("cannot write", async () => {
    const writing = storage.withSnapshot(ada, (client) =>
      client.query("update countersign.number_series set next = 9"),
    );
    await expect(writing).rejects.toMatchObject({ code: "25006" });
  });

  test.each(["", "x", "{a}", `${ada}'`, ada.toUpperCase()])(
    "of `%s` is refused before anything is asked",
    async (tenant) => {
      await expect(storage.withSnapshot(tenant, () => Promise.resolve(1))).rejects.toThrow(/is not a tenant id/);
    },
  );

  test("costs two round trips around nothing, and one more than its queries otherwise", async () => {
    const sent: number[] = [];
    const pool = new pg.Pool({ ...database.app, max: 1, pipeline: true });
    const client = await pool.connect();
    const { stream } = (
      client as unknown as {
        connection: { stream: { write(chunk: Uint8Array): boolean; on(event: "data", listener: () => void): void } };
      }
    ).connection;
    const write = stream.write.bind(stream);
    let waiting = false;
    // A round trip begins with the first bytes sent after bytes came back.
    stream.write = (chunk) => {
      if (!waiting) sent.push(sent.length);
      waiting = true;
      return write(chunk);
    };
    stream.on("data", () => (waiting = false));
    client.release();
    await withSnapshot(pool, ada, (snapshot) => snapshot.query("select 1"));
    await pool.end();
    // begin + setting + query; commit (nobody waits for it); the last belongs to the end of the connection.
    expect(sent.length).toBeLessThanOrEqual(3);
  });

  test("an error in it, of the database or not, leaves a usable connection", async () => {
    const narrow = new pg.Pool({ ...database.app, max: 1, pipeline: true });
    try {
      for (const fail of [
        () => withSnapshot(narrow, ada, (client) => client.query("select 1 / 0")),
        () => withSnapshot(narrow, ada, () => Promise.reject(new Error("mine"))),
        () =>
          withSnapshot(
            narrow,
            ada,
            async (client) => void (await Promise.all([client.query("select nothing"), client.query("select 1")])),
          ),
      ]) {
        await expect(fail()).rejects.toThrow(/division by zero|mine|column "nothing" does not exist/);
        expect(await withSnapshot(narrow, bob, async (client) => (await client.query(readSeries)).rows)).toEqual([
          { next: 2 },
        ]);
        expect(narrow.totalCount).toBe(1);
      }
    } finally {
      await narrow.end();
    }
  });

  test("two hundred at once over sixteen connections each see their own tenant", async () => {
    const seen = await Promise.all(
      Array.from({ length: 200 }, (_, index) => {
        const [tenant, next] = index % 2 === 0 ? ([ada, 1] as const) : ([bob, 2] as const);
        return storage.withSnapshot(
          tenant,
          async (client) => (await client.query<{ next: number }>(readSeries)).rows[0]?.next === next,
        );
      }),
    );
    expect(seen.every(Boolean)).toBe(true);
  });
});

describe("a transaction of a tenant", () => {
  const next = (tenant: string): Promise<unknown> =>
    storage.withSnapshot(tenant, async (client) => (await client.query(readSeries)).rows);
  const add = {
    name: "add",
    text: "update countersign.number_series set next = next + $1::bigint where series = 'CHG'",
    values: [10],
  };

  test("writes rows of its tenant and of no other", async () => {
    expect(await writeOperational(storage.app, ada, add)).toBe(1);
    expect([await next(ada), await next(bob)]).toEqual([[{ next: 11 }], [{ next: 2 }]]);
    await storage.inTenant(ada, (client) => client.query(add.text, [-10]));
    expect(await next(ada)).toEqual([{ next: 1 }]);
    const foreign = {
      ...add,
      name: "foreign",
      text: "insert into countersign.number_series values ($1, 'CHG', 5)",
      values: [bob],
    };
    await expect(writeOperational(storage.app, ada, foreign)).rejects.toMatchObject({ code: "42501" });
  });

  test("that fails leaves nothing of itself", async () => {
    const failing = storage.inTenant(ada, async (client) => {
      await client.query(add.text, [10]);
      throw new Error("mine");
    });
    await expect(failing).rejects.toThrow("mine");
    expect(await next(ada)).toEqual([{ next: 1 }]);
  });
});

describe("the database away", () => {
  const away = (work: Promise<unknown>): Promise<unknown> =>
    work.then(
      () => "no refusal",
      (error: unknown) =>
        error instanceof RefusalError ? [error.refusal.code, error.refusal.retryAfterSeconds] : error,
    );

  test("is also one that takes connections and never says a word", async () => {
    const mute = createServer().listen(0, "127.0.0.1");
    await once(mute, "listening");
    const { port } = mute.address() as AddressInfo;
    const login = { host: "127.0.0.1", port, user: "u", password: "p", database: "d", connectionTimeoutMillis: 50 };
    const lost = await new pg.Client(login).connect().then(() => undefined, connectionLost);
    expect(lost).toBe(true);
    const pool = openPool(login, "mute", { connectionsMax: 1, waitMs: 50 });
    // Said once, however many transactions of others it passes on its way.
    for (const within of [storage.inTenant, storage.withSnapshot]) {
      const said = await within(ada, () => connect(pool)).then(
        () => "",
        (error: unknown) => (error as Error).message,
      );
      expect(said.match(/the database does not answer/g)).toHaveLength(1);
    }
    const both = Promise.all([connect(pool), connect(pool)].map(away));
    expect(await both).toEqual([1, 2].map(() => ["database_unavailable", 2]));
    await pool.end();
    mute.close();
  });

  // Its own cluster is needed: one cannot stop somebody else's PostgreSQL.
  test.skipIf(process.env["COUNTERSIGN_TEST_DATABASE_URL"])(
    "is 503 with a time to try again; idle, busy and waiting connections recover by themselves",
    async () => {
      const { embedded, dataDirectory } = postgres;
      if (embedded === undefined || dataDirectory === undefined) throw new Error("an embedded cluster was expected");
      await Promise.all(
        Array.from({ length: 16 }, () => storage.withSnapshot(ada, (client) => client.query(readSeries))),
      );
      let inside: (() => void) | undefined;
      const begun = new Promise<void>((resolve) => (inside = resolve));
      const busy = away(
        storage.withSnapshot(ada, async (client) => {
          await client.query(readSeries);
          inside?.();
          return client.query("select count(*) from generate_series(1, 1000000000)");
        }),
      );
      await begun;
      process.kill(embedded.cluster.pid, "SIGQUIT");
      expect(await busy).toEqual(["database_unavailable", 2]);
      await embedded.stop();
      for (let index = 0; index < 20; index += 1) {
        expect(await away(storage.withSnapshot(ada, (client) => client.query(readSeries)))).toEqual([
          "database_unavailable",
          2,
        ]);
      }
      expect(await away(ask(storage.app, "select 1"))).toEqual(["database_unavailable", 2]);
      expect(await away(connect(storage.owner))).toEqual(["database_unavailable", 2]);

      const again = await startEmbedded(dataDirectory, { settings: testSettings });
      expect(again.cluster.how).toBe("started");
      const rows = await Promise.all(
        Array.from({ length: 32 }, () =>
          storage.withSnapshot(bob, async (client) => (await client.query(readSeries)).rows),
        ),
      );
      expect(rows.every((row) => JSON.stringify(row) === '[{"next":2}]')).toBe(true);
      await storage.close();
      await again.stop();
    },
  );
});
