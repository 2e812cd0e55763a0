/** Many at once: exactly one of equals wins, limits are exact, a failing change fails alone, no chain ever forks. */
import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { connect, createServer, type AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { isRefusal, limits, refused, type TenantId } from "@countersign/contract";
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { bundle } from "../../../../scripts/bundle.js";
import { DoorViolation, moveEpoch, type Outcome, type Receipt } from "../../src/ledger/index.js";
import { newId } from "../../src/platform/index.js";
import {
  actor,
  commit,
  committed,
  entry,
  heldClock,
  newTenant,
  openTestLedger,
  type TestLedger,
} from "../support/ledger.js";
import { createDatabase, withClient, type TestDatabase } from "../support/postgres.js";

let database: TestDatabase;
let ledger: TestLedger;

beforeAll(async () => {
  database = await createDatabase();
  ledger = await openTestLedger(database.storage);
});
afterAll(() => ledger.close());

const many = <T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({ length: count }, (_, index) => make(index)));
const kinds = (outcomes: readonly Outcome<unknown>[]): Record<string, number> => {
  const counts: Record<string, number> = {};
  for (const outcome of outcomes) {
    const kind = isRefusal(outcome) ? outcome.code : outcome.kind;
    counts[kind] = (counts[kind] ?? 0) + 1;
  }
  return counts;
};
const rowsOf = async (tenant: TenantId, text: string): Promise<Record<string, unknown>[]> =>
  ledger.snapshot(tenant, (snapshot) =>
    snapshot.query<Record<string, unknown>>({ name: text.slice(0, 50), text, values: [] }),
  );
const entriesOf = async (tenant: TenantId): Promise<number> =>
  Number((await rowsOf(tenant, "select count(*) from countersign.entries"))[0]?.["count"]);

test("50 equal requests with one idempotency key: one effect, and 49 replays", async () => {
  const tenant = newTenant();
  const key = { principal_id: newId(), operation: "vote", key: "k-1" };
  const outcomes = await many(50, () =>
    ledger.transact(
      tenant,
      (snapshot) =>
        snapshot.query<{ response: unknown }>({
          name: "replay",
          text: "select response from countersign.idempotency_keys where tenant_id = $1 and principal_id = $2 and operation = $3 and key = $4",
          values: [tenant, key.principal_id, key.operation, key.key],
        }),
      ([known]) => {
        if (known !== undefined) return { kind: "nothing", result: known.response };
        const row = {
          ...key,
          fingerprint: "f",
          status_code: 200,
          response: { ok: true },
          first_used_ms: 1,
          last_used_ms: 1,
          use_count: 1,
          expires_ms: Number.MAX_SAFE_INTEGER,
        };
        return {
          kind: "change",
          change: {
            guards: [{ kind: "absent", table: "idempotency_keys", key }],
            entries: [entry()],
            attached: [{ verb: "insert", table: "idempotency_keys", row }],
          },
          result: { ok: true },
        };
      },
    ),
  );
  expect(kinds(outcomes)).toEqual({ committed: 1, nothing: 49 });
  expect(outcomes.every((outcome) => !isRefusal(outcome) && JSON.stringify(outcome.result) === '{"ok":true}')).toBe(
    true,
  );
  expect(await entriesOf(tenant)).toBe(1);
});

test("an expired idempotency key counts as absent and is replaced", async () => {
  const tenant = newTenant();
  const clock = heldClock(1_000_000);
  const own = await openTestLedger(database.storage, { clock });
  const key = { principal_id: newId(), operation: "vote", key: "k-1" };
  const use = (): Promise<Outcome<undefined>> => {
    const row = {
      ...key,
      fingerprint: "f",
      status_code: 200,
      first_used_ms: clock.now,
      last_used_ms: clock.now,
      use_count: 1,
      expires_ms: clock.now + 1000,
    };
    return commit(own, tenant, {
      guards: [{ kind: "absent", table: "idempotency_keys", key }],
      attached: [{ verb: "insert", table: "idempotency_keys", row }],
    });
  };
  await committed(use());
  expect(await use()).toMatchObject({ code: "conflict" });
  clock.now += 1000;
  await committed(use());
  expect(await rowsOf(tenant, "select first_used_ms from countersign.idempotency_keys")).toEqual([
    { first_used_ms: String(clock.now) },
  ]);
  await own.close();
});

test("50 applies of one thing in one tick: one wins, the others say why", async () => {
  const tenant = newTenant();
  await committed(commit(ledger, tenant, { entries: [entry({ writes: [moveEpoch("kill", 0)] })] }));
  const outcomes = await many(50, () =>
    ledger.transact(
      tenant,
      (snapshot) => snapshot.epoch("kill"),
      (value) =>
        value !== 1
          ? refused("illegal_transition", "it is applied already")
          : {
              kind: "change",
              change: { guards: [], entries: [entry({ writes: [moveEpoch("kill", 1)] })] },
              result: undefined,
            },
    ),
  );
  expect(kinds(outcomes)).toEqual({ committed: 1, illegal_transition: 49 });
  expect(await entriesOf(tenant)).toBe(2);
});

test("50 equal inserts without looking first: one wins, the others conflict, none violates the key", async () => {
  const tenant = newTenant();
  const before = ledger.stats();
  const outcomes = await many(50, () =>
    commit(ledger, tenant, {
      guards: [{ kind: "absent", table: "principals", key: { name: "Ada" } }],
      entries: [entry({ writes: [person("Ada")] })],
    }),
  );
  expect(kinds(outcomes)).toEqual({ committed: 1, conflict: 49 });
  // Equal changes never meet in one group, so none had to be told apart by a violation.
  expect(ledger.stats()).toMatchObject({ isolated: before.isolated, violations: before.violations });
});

function person(name: string): { verb: "insert"; table: "principals"; row: Record<string, string | number> } {
  return {
    verb: "insert",
    table: "principals",
    row: { id: newId(), kind: "human", name, status: "ACTIVE", created_at_ms: 1 },
  };
}

test("a moved guard is decided again with what is there now, and gives up after five times", async () => {
  const tenant = newTenant();
  let decided = 0;
  const outcome = await ledger.transact(
    tenant,
    async (snapshot) => {
      const value = await snapshot.epoch("policy");
      // Somebody else is always faster.
      await committed(commit(ledger, tenant, { entries: [entry({ writes: [moveEpoch("policy", value)] })] }));
      return value;
    },
    (value) => {
      decided += 1;
      return {
        kind: "change",
        change: { guards: [{ kind: "epoch", name: "policy", value }], entries: [entry()] },
        result: undefined,
      };
    },
  );
  expect(outcome).toMatchObject({ kind: "refused", code: "conflict" });
  expect(decided).toBe(limits.transactAttemptsMax);
  expect(await entriesOf(tenant)).toBe(5);
});

test("limits are exact: of 50 with room for 10, 10 are let in; a change with two limits uses both or none", async () => {
  const tenant = newTenant();
  const take = (narrow: number): Promise<Outcome<undefined>> =>
    ledger.transact(
      tenant,
      (snapshot) => Promise.all([snapshot.counter("narrow"), snapshot.counter("wide")]),
      ([used]) =>
        used + narrow > 10
          ? refused("limit_exceeded", "ten and no more")
          : {
              kind: "change",
              change: {
                guards: [
                  { kind: "counter", key: "narrow", add: narrow, max: 10 },
                  { kind: "counter", key: "wide", add: 1, max: 1000 },
                ],
                entries: [entry()],
              },
              result: undefined,
            },
    );
  expect(kinds(await many(50, () => take(1)))).toEqual({ committed: 10, limit_exceeded: 40 });
  expect(kinds([await take(-3), await take(4), await take(3), await take(1)])).toEqual({
    committed: 2,
    limit_exceeded: 2,
  });
  expect(
    await ledger.snapshot(tenant, (snapshot) => Promise.all([snapshot.counter("narrow"), snapshot.counter("wide")])),
  ).toEqual([10, 12]);
  expect((await ledger.checkTenant(tenant)).findings).toEqual([]);
});

test("what a change says beside its entries is checked before it is sent", async () => {
  const tenant = newTenant();
  const bad: [Parameters<typeof commit>[2], RegExp][] = [
    [{ entries: [] }, /at least one entry/],
    [
      { entries: [entry({ writes: [{ ...person("x"), row: { ...person("x").row, nickname: "y" } }] })] },
      /no column `nickname`/,
    ],
    [{ entries: [entry({ writes: [{ ...person("x"), row: { ...person("x").row, created_at_ms: "1" } }] })] }, /bigint/],
    [
      { entries: [entry({ writes: [{ ...person("x"), row: { ...person("x").row, version: 1 } }] })] },
      /given by the door/,
    ],
    [{ entries: [entry({ writes: [{ ...person("x"), row: { ...person("x").row, name: "a\u0000b" } }] })] }, /U\+0000/],
    [{ entries: [entry({ writes: [{ ...person("x"), row: { ...person("x").row, name: "\ud800" } }] })] }, /surrogate/],
    [
      { entries: [entry({ writes: [{ ...person("x"), table: "entries" as "principals" }] })] },
      /only if it is governed/,
    ],
    [{ entries: [entry({ writes: [moveEpoch("policy", 0)] }), entry({ writes: [moveEpoch("policy", 0)] })] }, /twice/],
    [{ guards: [{ kind: "absent", table: "principals", key: { kind: "human" } }] }, /no unique key/],
  ];
  for (const [change, message] of bad) await expect(commit(ledger, tenant, change)).rejects.toThrow(message);
  expect(await entriesOf(tenant)).toBe(0);
  // A backslash and letters are no U+0000.
  await committed(commit(ledger, tenant, { entries: [entry({ writes: [person("a\\u0000b")] })] }));
});

test("a change that violates a constraint fails alone and leaves nothing behind", async () => {
  const tenant = newTenant();
  await committed(commit(ledger, tenant, { entries: [entry({ writes: [person("Ada")] })] }));
  const before = ledger.stats();
  const results = await Promise.allSettled([
    ...Array.from({ length: 20 }, (_, index) =>
      commit(ledger, tenant, { entries: [entry({ writes: [person(`p${index}`)] })] }),
    ),
    // Nothing was guarded, so nothing says that the name is taken: our bug, which must not take others down.
    commit(ledger, tenant, { entries: [entry(), entry({ writes: [person("Ada")] })] }),
  ]);
  expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(20);
  const [failure] = results.filter((result) => result.status === "rejected");
  expect(failure?.reason).toBeInstanceOf(DoorViolation);
  expect(failure?.reason).toMatchObject({ constraint: "principals_by_name" });
  expect(ledger.stats().violations["principals_by_name"]).toBe((before.violations["principals_by_name"] ?? 0) + 1);
  expect(await entriesOf(tenant)).toBe(21);
  expect((await ledger.checkTenant(tenant)).findings).toEqual([]);
});

test("a tenant whose lock is stuck waits; others do not wait for it", async () => {
  const [stuck, free] = [newTenant(), newTenant()];
  await committed(commit(ledger, stuck));
  await withClient(database.app, async (client) => {
    await client.query("begin");
    await client.query("select set_config('app.tenants', $1, true)", [`{${stuck}}`]);
    await client.query("select from countersign.tenant_locks where tenant_id = $1 for update", [stuck]);
    const waiting = many(8, () => committed(commit(ledger, stuck)));
    for (let turn = 0; turn < 20; turn++) await many(8, () => committed(commit(ledger, free)));
    expect(await entriesOf(stuck)).toBe(1);
    await client.query("rollback");
    expect((await waiting).flat()).toHaveLength(8);
  });
  expect(await entriesOf(free)).toBe(160);
});

test("the queue is bounded, and who does not fit is told when to come back", async () => {
  const tenant = newTenant();
  await committed(commit(ledger, tenant));
  await withClient(database.app, async (client) => {
    await client.query("begin");
    await client.query("select set_config('app.tenants', $1, true)", [`{${tenant}}`]);
    await client.query("select from countersign.tenant_locks where tenant_id = $1 for update", [tenant]);
    const outcomes = many(limits.queueChangesMax + 600, () => commit(ledger, tenant));
    await new Promise((resolve) => setImmediate(resolve));
    await client.query("rollback");
    const counted = kinds(await outcomes);
    expect(counted["overloaded"]).toBeGreaterThan(0);
    expect((counted["committed"] ?? 0) + (counted["overloaded"] ?? 0)).toBe(limits.queueChangesMax + 600);
    expect(await entriesOf(tenant)).toBe((counted["committed"] ?? 0) + 1);
  });
});

test("the time of entries never decreases; a clock far behind stops commits and says so", async () => {
  const tenant = newTenant();
  const clock = heldClock(1_700_000_000_000);
  const own = await openTestLedger(database.storage, { clock });
  const [one] = await committed(commit(own, tenant));
  clock.now -= 5_000;
  const [two] = await committed(commit(own, tenant));
  expect([one?.timeMs, two?.timeMs]).toEqual([1_700_000_000_000, 1_700_000_000_000]);
  clock.now -= 1;
  const [behind, elsewhere] = await Promise.all([commit(own, tenant), commit(own, newTenant())]);
  expect(behind).toMatchObject({ kind: "refused", code: "clock_behind", retryAfterSeconds: 5 });
  expect(isRefusal(elsewhere)).toBe(false);
  await own.close();
});

test("losing every operational row changes nothing that was decided", async () => {
  const tenant = newTenant();
  const first = await ledger.reserveNumbers(tenant, { series: "CS-2026-1120", count: 20, atLeast: 1 });
  const writing = many(64, (index) => commit(ledger, tenant, { entries: [entry({ writes: [person(`p${index}`)] })] }));
  await withClient(database.superuser, (client) =>
    client.query("truncate countersign.tenant_locks, countersign.number_series"),
  );
  expect(kinds(await writing)).toEqual({ committed: 64 });
  expect(kinds(await many(64, () => commit(ledger, tenant)))).toEqual({ committed: 64 });
  expect(first).toEqual({ first: 1, last: 20 });
  expect(await ledger.reserveNumbers(tenant, { series: "CS-2026-1120", count: 5, atLeast: 21 })).toEqual({
    first: 21,
    last: 25,
  });
  expect(await ledger.reserveNumbers(tenant, { series: "CS-2026-1120", count: 1, atLeast: 1 })).toEqual({
    first: 26,
    last: 26,
  });
  expect((await ledger.checkTenant(tenant)).findings).toEqual([]);
});

test("two processes of 64 writers on one tenant: no fork, no lost receipt", async () => {
  const tenant = newTenant();
  const worker = await bundle(fileURLToPath(new URL("../support/ledgerWorker.ts", import.meta.url)), "ledger-worker");
  const run = async (name: string): Promise<{ receipts: Receipt[]; refused: number }> => {
    const { stdout } = await promisify(execFile)(process.execPath, [worker, database.appUrl, tenant, "64", "8", name], {
      maxBuffer: 1 << 26,
    });
    return JSON.parse(stdout) as { receipts: Receipt[]; refused: number };
  };
  const told = await Promise.all([run("a"), run("b")]);
  rmSync(worker, { force: true });
  const receipts = told.flatMap((one) => one.receipts).sort((a, b) => a.seq - b.seq);
  expect(told.map((one) => one.receipts.length + one.refused)).toEqual([512, 512]);
  // Every receipt is an entry and every entry has its receipt.
  expect(receipts.map((receipt) => receipt.seq)).toEqual(receipts.map((_, index) => index));
  const stored = await rowsOf(
    tenant,
    "select entry_id, encode(hash, 'hex') as hash from countersign.entries order by seq",
  );
  expect(stored).toEqual(receipts.map(({ entryId, hash }) => ({ entry_id: entryId, hash })));
  const shared = await ledger.snapshot(tenant, (snapshot) => snapshot.epoch("target:shared"));
  expect(shared).toBe(receipts.length - 2 * 64 * 6);
  expect((await ledger.checkTenant(tenant)).findings).toEqual([]);
});

test("a reply that was lost is looked up: nothing acknowledged is lost, nothing is done twice", async () => {
  const tenants = [newTenant(), newTenant()];
  const own = await openTestLedger(database.storage);
  const receipts: Receipt[] = [];
  let writing = true;
  const writers = many(32, async (index) => {
    const tenant = tenants[index % 2] as TenantId;
    for (let turn = 0; writing || turn < 10; turn++) {
      const outcome = await own.transact(
        tenant,
        (snapshot) => snapshot.epoch(`target:${index}`),
        (value) => ({
          kind: "change",
          change: {
            guards: [],
            entries: [
              {
                actor,
                action: "thing.moved",
                subject: { type: "thing", id: String(index) },
                writes: [moveEpoch(`target:${index}`, value)],
              },
            ],
          },
          result: undefined,
        }),
      );
      if (!isRefusal(outcome) && outcome.kind === "committed") receipts.push(...outcome.receipts);
    }
  });
  await withClient(database.superuser, async (client: pg.Client) => {
    // The door's connection is ended in the middle of whatever it is doing, again and again.
    for (let kills = 0; kills < 25;) {
      const ended = await client.query(
        `select pg_terminate_backend(pid) from pg_stat_activity where application_name like 'countersign door%' and datname = current_database() and state = 'active'`,
      );
      kills += ended.rowCount ?? 0;
    }
  });
  writing = false;
  await writers;
  const { uncertainCommitted, uncertainRepeated, connectionsLost } = own.stats();
  expect(connectionsLost).toBeGreaterThan(0);
  expect(uncertainCommitted + uncertainRepeated).toBeGreaterThan(0);
  for (const tenant of tenants) {
    const mine = receipts.filter((receipt) => receipt.tenant === tenant).sort((a, b) => a.seq - b.seq);
    const stored = await rowsOf(
      tenant,
      "select entry_id, encode(hash, 'hex') as hash from countersign.entries order by seq",
    );
    expect(stored).toEqual(mine.map(({ entryId, hash }) => ({ entry_id: entryId, hash })));
    expect((await ledger.checkTenant(tenant)).findings).toEqual([]);
  }
  await own.close();
});

/** Between the door and the database: when armed, it swallows the next reply of a commit and cuts the line. */
async function lossyLine(
  to: pg.ClientConfig,
): Promise<{ login: pg.ClientConfig; loseReplies(count: number): void; lost(): number; close(): void }> {
  let [due, lost] = [0, 0];
  const target = new pg.Client(to);
  const path = target.host.startsWith("/")
    ? { path: `${target.host}/.s.PGSQL.${target.port}` }
    : { host: target.host, port: target.port };
  const server = createServer((near) => {
    const far = connect(path);
    let committing = false;
    near.on("data", (bytes) => {
      committing ||= bytes.includes("countersign_commit_group");
      far.write(bytes);
    });
    far.on("data", (bytes) => {
      if (!committing || due === 0) return void near.write(bytes);
      due -= 1;
      lost += 1;
      near.destroy();
      far.destroy();
    });
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const)
      one.on("close", () => other.destroy()).on("error", () => other.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const { user, password, database: name } = target;
  const login: pg.ClientConfig = {
    host: "127.0.0.1",
    port,
    ...(user === undefined ? {} : { user }),
    ...(name === undefined ? {} : { database: name }),
    ...(typeof password === "string" ? { password } : {}),
  };
  return { login, loseReplies: (count) => (due = count), lost: () => lost, close: () => server.close() };
}

test.skipIf((process.env["COUNTERSIGN_TEST_DATABASE_URL"] ?? "") !== "")(
  "the reply to a commit is lost after it happened: it is found, answered with its receipt, and not done again",
  async () => {
    const tenant = newTenant();
    const line = await lossyLine(database.app);
    const own = await openTestLedger({ ...database.storage, applicationLogin: line.login });
    await committed(commit(own, tenant, { entries: [entry({ writes: [moveEpoch("policy", 0)] })] }));
    for (let round = 1; round <= 5; round++) {
      line.loseReplies(1);
      const told = await Promise.all([
        committed(commit(own, tenant, { entries: [entry({ writes: [moveEpoch("policy", round)] })] })),
        committed(commit(own, tenant, { entries: [entry(), entry()] })),
      ]);
      expect(told.map((receipts) => receipts.length)).toEqual([1, 2]);
      const stored = await rowsOf(
        tenant,
        "select seq, entry_id, encode(hash, 'hex') as hash from countersign.entries order by seq",
      );
      for (const { seq, entryId, hash } of told.flat())
        expect(stored[seq]).toEqual({ seq: String(seq), entry_id: entryId, hash });
      expect(stored).toHaveLength(1 + 3 * round);
    }
    expect(line.lost()).toBe(5);
    expect(own.stats().uncertainCommitted).toBeGreaterThanOrEqual(5);
    await own.close();
    line.close();
    expect((await ledger.checkTenant(tenant)).findings).toEqual([]);
  },
);
