/** Snapshots: what is read once, what ends when, and how many statements a proposal costs. Counted, never timed. */
import pg from "pg";
import { afterAll, afterEach, beforeAll, expect, test, vi } from "vitest";
import { moveEpoch, type HeldSnapshot } from "../../src/ledger/index.js";
import { mintCredential, parseCredential } from "../../src/tenancy/index.js";
import { committed, commit, entry, newTenant, openTestLedger, type TestLedger } from "../support/ledger.js";
import { createDatabase, type TestDatabase } from "../support/postgres.js";
import { newKey, type Person, startTestServer, type TestServer } from "../support/server.js";

let database: TestDatabase;
let ledger: TestLedger;
let server: TestServer;
let ada: Person;
beforeAll(async () => {
  database = await createDatabase();
  ledger = await openTestLedger(database.storage);
  server = await startTestServer();
  ada = await server.firstPerson();
});
afterAll(async () => {
  await ledger.close();
  await server.close();
});
afterEach(() => vi.restoreAllMocks());

/** Names (or texts) of the statements that this process sends while `work` runs; `tenant`: of that one, for the server asks as well. */
async function statementsOf(work: () => Promise<unknown>, tenant?: string): Promise<string[]> {
  const sent: string[] = [];
  const query = pg.Client.prototype.query as (this: pg.Client, ...given: unknown[]) => unknown;
  vi.spyOn(pg.Client.prototype, "query").mockImplementation(function (this: pg.Client, ...given: unknown[]) {
    const [statement] = given as [string | pg.QueryConfig];
    const values: readonly unknown[] = typeof statement === "string" ? [] : (statement.values ?? []);
    if (tenant === undefined || values.includes(tenant))
      sent.push(typeof statement === "string" ? statement : (statement.name ?? statement.text));
    return query.apply(this, given) as never;
  });
  await work();
  vi.restoreAllMocks();
  return sent;
}

test("epochs and counters that are asked for at once are one statement, and are asked for once", async () => {
  const tenant = newTenant();
  await committed(
    commit(ledger, tenant, {
      guards: [{ kind: "counter", key: "used", add: 3, max: 9 }],
      entries: [entry({ writes: [moveEpoch("config", 0)] })],
    }),
  );
  const sent = await statementsOf(
    () =>
      ledger.snapshot(tenant, async (snapshot) => {
        const both = await Promise.all([snapshot.epoch("config"), snapshot.epochs(["members", "config"])]);
        expect(both).toEqual([1, new Map([["members", 0], ["config", 1]])]); // prettier-ignore
        expect(await Promise.all([snapshot.counter("used"), snapshot.counter("unused")])).toEqual([3, 0]);
        expect(await Promise.all([snapshot.epoch("members"), snapshot.counter("used")])).toEqual([0, 3]);
      }),
    tenant,
  );
  const asked = ["countersign_epochs", "countersign_counters"];
  expect(sent.filter((name) => asked.includes(name))).toEqual(asked);
});

test("a snapshot goes on seeing what it saw, and answers nobody after its end", async () => {
  const tenant = newTenant();
  const held = ledger.holdSnapshot(tenant);
  expect(await held.snapshot.epoch("config")).toBe(0);
  await committed(commit(ledger, tenant, { entries: [entry({ writes: [moveEpoch("config", 0)] })] }));
  expect(await held.snapshot.epochs(["config"])).toEqual(new Map([["config", 0]]));
  expect(await ledger.snapshot(tenant, (snapshot) => snapshot.epoch("config"))).toBe(1);
  await held.end();
  await held.end();
  await expect(held.snapshot.epoch("members")).rejects.toThrow("after its end");
});

test("a decision is loaded in the snapshot that is held, then in one of its own", async () => {
  const tenant = newTenant();
  const held = ledger.holdSnapshot(tenant);
  expect(await held.snapshot.epoch("config")).toBe(0);
  // What the held snapshot does not see: the first decision is refused by the door, whatever it was loaded in.
  await committed(commit(ledger, tenant, { entries: [entry({ writes: [moveEpoch("config", 0)] })] }));
  const seen: number[] = [];
  const { storage } = database;
  const outcome = await ledger.transact(
    tenant,
    async (snapshot) => {
      seen.push(await snapshot.epoch("config"));
      return seen.at(-1) ?? 0;
    },
    (config) => {
      expect(storage.app.idleCount).toBe(storage.app.totalCount); // given back before the door is waited for
      const guards = [{ kind: "epoch", name: "config", value: config }] as const;
      return { kind: "change", change: { guards, entries: [entry()] }, result: config };
    },
    { within: held },
  );
  expect(seen).toEqual([0, 1]);
  expect(outcome).toMatchObject({ kind: "committed", result: 1 });
  await expect(held.snapshot.epoch("config")).resolves.toBe(0); // known already
  await expect(held.snapshot.epoch("policy")).rejects.toThrow("after its end");
});

test("a held snapshot ends when the loading throws, and is of no use to another tenant", async () => {
  const tenant = newTenant();
  const broken = ledger.holdSnapshot(tenant);
  const nothing = () => ({ kind: "nothing", result: 0 }) as const;
  const load = async (held: HeldSnapshot): Promise<unknown> =>
    ledger.transact(tenant, (snapshot) => snapshot.query({ name: "", text: "select nonsense", values: [] }), nothing, {
      within: held,
    });
  await expect(load(broken)).rejects.toThrow("nonsense");
  await expect(broken.snapshot.epoch("config")).rejects.toThrow("after its end");
  const other = ledger.holdSnapshot(newTenant());
  await expect(load(other)).rejects.toThrow("its own tenant");
  await other.end();
});

test("a connection that is lost in the middle of a snapshot is the database away, to everybody who asks", async () => {
  const tenant = newTenant();
  const { storage, superuser } = database;
  const lose = async (pid: number): Promise<void> => {
    const killer = new pg.Client(superuser);
    await killer.connect();
    await killer.query("select pg_terminate_backend($1, 5000)", [pid]);
    await killer.end();
  };
  const pidIn = async ({ query }: HeldSnapshot["snapshot"]): Promise<number> =>
    (await query<{ pid: number }>({ name: "", text: "select pg_backend_pid() as pid", values: [] }))[0]?.pid ?? 0;
  const away = { refusal: { code: "database_unavailable", retryAfterSeconds: 2 } };
  const reading = ledger.snapshot(tenant, async (snapshot) => {
    await lose(await pidIn(snapshot));
    return snapshot.epoch("config");
  });
  await expect(reading).rejects.toMatchObject(away);

  const held = ledger.holdSnapshot(tenant);
  await lose(await pidIn(held.snapshot));
  const both = await Promise.allSettled([held.snapshot.epoch("config"), held.snapshot.counter("used")]);
  expect(both).toMatchObject([{ reason: away }, { reason: away }]);
  await held.end();
  expect(await ledger.snapshot(tenant, (snapshot) => snapshot.epoch("config"))).toBe(0);
  expect(storage.app.idleCount).toBe(storage.app.totalCount);
});

const document = (id: string) =>
  ({
    operation: "CREATE",
    target: { kind: "resource", type: "CONFIG", id, environment: "development" },
    after: { replicas: 2 },
  }) as const;

test("proposing reads the caller once, and the targets of all items together", async () => {
  const propose = (name: string) =>
    ada.call(
      "createChangeSet",
      { title: name, items: [1, 2, 3].map((item) => document(`${name}/${item}`)) },
      { idempotencyKey: newKey() },
    );
  await propose("first"); // reserves numbers, reads people
  let status = 0;
  const sent = await statementsOf(async () => (status = (await propose("second")).status));
  expect(status).toBe(201);
  // Those that nobody else in the process sends.
  const once = [
    "tenancy_api_key",
    "dispatch_response_stored_for",
    "targets_resources_by_name",
    "change_sets_on_targets",
  ];
  const never = ["dispatch_stored_response", "targets_resource_by_name"];
  expect(sent.filter((name) => once.includes(name)).sort()).toEqual([...once].sort());
  expect(sent.filter((name) => never.includes(name))).toEqual([]);
});

test("what is stored under an idempotency key is told to whoever authenticates, and to nobody else", async () => {
  const idempotencyKey = newKey();
  const input = { title: "told once", items: [document("told/once")] };
  const first = await ada.call("createChangeSet", input, { idempotencyKey });
  // The same id of a key, another secret: the id finds the response before the secret is compared.
  const guessed = mintCredential(
    "csk",
    server.tenant,
    parseCredential("csk", ada.apiKey)?.id ?? "",
    (count) => new Uint8Array(count),
  ).text;
  const stranger = await ada.call("createChangeSet", input, { idempotencyKey, apiKey: guessed });
  expect(stranger.status).toBe(401);
  expect(JSON.stringify(stranger.body)).not.toContain(first.body.changeSet.id);
  const again = await ada.call("createChangeSet", input, { idempotencyKey });
  expect(again.headers.get("idempotency-replayed")).toBe("true");
  expect(again.body.changeSet.id).toBe(first.body.changeSet.id);
  const other = await ada.call("createChangeSet", { ...input, title: "another" }, { idempotencyKey });
  expect(other.body).toMatchObject({ code: "idempotency_key_reused" });
});

test("40 proposals at once on fewer connections: nobody waits for a connection that nobody gives back", async () => {
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, n) =>
      ada.call("createChangeSet", { title: `${n}`, items: [document(`crowd/${n}`)] }, { idempotencyKey: newKey() }),
    ),
  );
  expect(answers.map((answer) => answer.status)).toEqual(Array.from({ length: 40 }, () => 201));
  const refused = await ada.call("createChangeSet", { title: "", items: [] }, { idempotencyKey: newKey() });
  expect(refused.status).toBe(422);
  expect(server.storage.app.waitingCount).toBe(0);
});
