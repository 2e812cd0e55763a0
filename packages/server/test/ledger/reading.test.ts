/** Reading the ledger: the audit log, bodies, bundles, refusals as entries, attestation of rows. */
import { isRefusal, refused, type TenantId } from "@countersign/contract";
import { verifyBundle } from "@countersign/proof";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { AuditQuery } from "../../src/ledger/index.js";
import { newId, sealingWith } from "../../src/platform/index.js";
import {
  actor,
  commit,
  committed,
  entry,
  heldClock,
  newTenant,
  openTestLedger,
  type HeldClock,
  type TestLedger,
} from "../support/ledger.js";
import { createDatabase, withClient, type TestDatabase } from "../support/postgres.js";
import { forgesEntriesOf } from "../support/eventCatalogue.js";

let database: TestDatabase;
// Short ones, so that a page of them is read at a glance.
forgesEntriesOf("change_set.created", "change_set.approved");

let ledger: TestLedger;
let clock: HeldClock;

beforeAll(async () => {
  database = await createDatabase();
  clock = heldClock(1_000_000);
  ledger = await openTestLedger(database.storage, { clock });
});
afterAll(() => ledger.close());

const eve = { type: "agent", id: newId(), humans: [newId()] } as const;

test("the audit log: by actor, action, subject and time, either way round, page by page", async () => {
  const tenant = newTenant();
  const [one, two] = [newId(), newId()];
  clock.now = 1_000_000;
  for (let i = 0; i < 10; i++) {
    const subject = { type: "change_set", id: i % 2 === 0 ? one : two };
    await committed(
      commit(ledger, tenant, {
        entries: [
          entry({
            actor: i % 5 === 0 ? eve : actor,
            action: i % 3 === 0 ? "change_set.created" : "change_set.approved",
            subject,
            data: { i },
          }),
        ],
      }),
    );
    clock.now += 1000;
  }
  const seqs = async (query: Partial<AuditQuery>): Promise<number[]> => {
    const found: number[] = [];
    let cursor: string | undefined;
    do {
      const page = await ledger.auditLog(tenant, { limit: 3, ...query, ...(cursor === undefined ? {} : { cursor }) });
      expect(page.entries.length).toBeLessThanOrEqual(3);
      found.push(...page.entries.map((shown) => shown.seq));
      cursor = page.next;
    } while (cursor !== undefined);
    return found;
  };
  const table: [Partial<AuditQuery>, number[]][] = [
    [{}, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]],
    [{ order: "oldest" }, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]],
    [{ actorId: eve.id }, [5, 0]],
    [{ actions: ["change_set.created"] }, [9, 6, 3, 0]],
    [{ actions: ["change_set.created", "change_set.approved"], subjectId: one }, [8, 6, 4, 2, 0]],
    [{ subjectId: two, order: "oldest" }, [1, 3, 5, 7, 9]],
    [{ subjectId: two, actorId: eve.id }, [5]],
    [{ fromMs: 1_003_000, toMs: 1_007_000 }, [6, 5, 4, 3]],
    [{ fromMs: 1_003_001, toMs: 1_006_999, order: "oldest" }, [4, 5, 6]],
    [{ fromMs: 2_000_000 }, []],
    [{ toMs: 1 }, []],
    [{ fromMs: 0, toMs: 2_000_000, subjectId: newId() }, []],
    [{ actions: [] }, []],
  ];
  for (const [query, expected] of table) expect([query, await seqs(query)]).toEqual([query, expected]);
  const [shown] = (await ledger.auditLog(tenant, { limit: 1 })).entries;
  expect(shown).toMatchObject({
    seq: 9,
    timeMs: 1_009_000,
    atMs: 1_009_000,
    actor,
    action: "change_set.created",
    subject: { type: "change_set", id: two },
    data: { i: 9 },
    body: null,
  });
});

test("bodies are sealed in the database, opened for the reader, and said to be unreadable without the key", async () => {
  const tenant = newTenant();
  const body = { title: "Grüße \u{1f44b}", before: { a: [1, 2.5, null, "\\u0000"] } };
  await committed(commit(ledger, tenant, { entries: [entry(), entry({ body })] }));
  const stored = await withClient(
    database.superuser,
    async (client) =>
      (await client.query<{ sealed: Buffer }>("select sealed from countersign.bodies where tenant_id = $1", [tenant]))
        .rows,
  );
  expect(stored).toHaveLength(1);
  expect(stored[0]?.sealed.includes("title")).toBe(false);
  expect((await ledger.auditLog(tenant, { limit: 9 })).entries.map((shown) => shown.body)).toEqual([body, null]);
  const stranger = await openTestLedger(database.storage, {
    clock,
    sealing: sealingWith([new Uint8Array(32).fill(8)]),
  });
  expect((await stranger.auditLog(tenant, { limit: 1 })).entries[0]).toMatchObject({
    body: null,
    bodyState: "unreadable",
  });
  await stranger.close();
  expect(await ledger.checkTenant(tenant)).toMatchObject({ findings: [], bodies: { checked: 1 } });
});

async function exported(
  tenant: TenantId,
  options: Partial<Parameters<TestLedger["exportBundle"]>[1]> = {},
): Promise<Buffer[]> {
  const pieces: Buffer[] = [];
  for await (const piece of ledger.exportBundle(tenant, { deployment: "test", ...options }))
    pieces.push(Buffer.from(piece));
  return pieces;
}

test("a bundle verifies without the database", async () => {
  const tenant = newTenant();
  for (let i = 0; i < 300; i++) await committed(commit(ledger, tenant, { entries: [entry({ body: { i } })] }));
  expect(await verifyBundle(await exported(tenant, { bodies: true }))).toMatchObject({
    integrity: "ok",
    entries: 300,
    findings: [],
    bodies: { checked: 300 },
  });
  expect(await verifyBundle(await exported(tenant, { from: 10, to: 19 }))).toMatchObject({
    integrity: "ok",
    entries: 10,
    findings: [],
    header: { from: 10, to: 19, bodies: "withheld" },
  });
  await expect(exported(tenant, { from: 10, to: 300 })).rejects.toMatchObject({ refusal: { code: "not_found" } });
  expect(await verifyBundle(await exported(newTenant()))).toMatchObject({ entries: 0, findings: [] });
  // Whoever stops reading leaves no connection behind.
  for await (const piece of ledger.exportBundle(tenant, { deployment: "test" })) {
    expect(piece).toContain('"format"');
    break;
  }
});

test("an export asks for the log's keys once its snapshot is taken: none of a checkpoint in it is missing", async () => {
  const tenant = newTenant();
  await committed(commit(ledger, tenant));
  const keyStatements = async (): Promise<readonly string[]> => {
    await committed(commit(ledger, tenant));
    return [];
  };
  expect(await verifyBundle(await exported(tenant, { keyStatements }))).toMatchObject({ integrity: "ok", entries: 1 });
});

test("governed refusals are entries: the first at once, repeats of the minute together", async () => {
  const tenant = newTenant();
  clock.now = 60_000 * 1000;
  const about = { actor: eve, subject: { type: "change_set", id: newId() } } as const;
  const denied = (code: "policy_denied" | "not_found"): Promise<unknown> =>
    ledger.transact(
      tenant,
      () => Promise.resolve(),
      () => refused(code, "no"),
      { refusal: about },
    );
  for (let i = 0; i < 7; i++) expect(isRefusal(await denied("policy_denied"))).toBe(true);
  await denied("not_found");
  ledger.recordRefusal(tenant, { ...about, subject: { type: "change_set", id: newId() }, code: "policy_denied" });
  clock.now += 60_000;
  for (let i = 0; i < 3; i++) await denied("policy_denied");
  const own = ledger;
  ledger = await openTestLedger(database.storage, { clock });
  await own.close();
  const { entries } = await ledger.auditLog(tenant, { actions: ["refusal.recorded"], limit: 99, order: "oldest" });
  expect(entries.map(({ data, subject }) => [data["code"], data["count"], subject.id === about.subject.id])).toEqual([
    ["policy_denied", 1, true],
    ["policy_denied", 1, false],
    ["policy_denied", 6, true],
    ["policy_denied", 1, true],
    ["policy_denied", 2, true],
  ]);
  expect(entries.every((shown) => shown.actor.id === eve.id)).toBe(true);
});

test("rows that a decision stands on are held against the ledger", async () => {
  const tenant = newTenant();
  const ids = [newId(), newId(), newId()] as const;
  const [ada] = ids;
  const row = (id: string, name: string): Record<string, string | number> => ({
    id,
    kind: "human",
    name,
    status: "ACTIVE",
    created_at_ms: 1,
  });
  for (const id of ids)
    await committed(
      commit(ledger, tenant, {
        entries: [
          entry({
            subject: { type: "principal", id },
            writes: [{ verb: "insert", table: "principals", row: row(id, id) }],
          }),
        ],
      }),
    );
  await committed(
    commit(ledger, tenant, {
      entries: [
        entry({
          subject: { type: "principal", id: ada },
          writes: [{ verb: "update", table: "principals", row: row(ada, "Ada"), from: 1 }],
        }),
      ],
    }),
  );
  const attested = (subjectId: string, rows: string[] = []) =>
    ledger.snapshot(tenant, (snapshot) =>
      ledger.attest(snapshot, { subjectId, rows: rows.map((id) => ({ table: "principals", id })) }),
    );
  const tamper = (text: string): Promise<unknown> =>
    withClient(database.superuser, async (client) => {
      await client.query("set session_replication_role = replica");
      return client.query(text);
    });
  const honest = await attested(ada, [ada]);
  expect(honest.mismatches).toEqual([]);
  expect(honest.entries.map(({ seq, content }) => [seq, content.state.map(([, , version]) => version)])).toEqual([
    [0, [1]],
    [3, [2]],
  ]);

  const where = `tenant_id = '${tenant}'`;
  const table: [string, string, object][] = [
    [
      `update countersign.principals set name = 'Eve' where ${where} and id = '${ada}'`,
      `update countersign.principals set name = 'Ada' where ${where} and id = '${ada}'`,
      { class: "STATE_MISMATCH", id: ada },
    ],
    [
      `update countersign.entries set content = replace(content, '"type":"principal"', '"type":"agent"') where ${where} and seq = 3`,
      `update countersign.entries set content = replace(content, '"type":"agent"', '"type":"principal"') where ${where} and seq = 3`,
      { class: "CONTENT_MISMATCH", seq: 3 },
    ],
    [
      `update countersign.entries set time_ms = time_ms + 1 where ${where} and seq = 3`,
      `update countersign.entries set time_ms = time_ms - 1 where ${where} and seq = 3`,
      { class: "LINK_BROKEN", seq: 3 },
    ],
    [
      `update countersign.entries set prev = sha256(prev) where ${where} and seq = 1`,
      `update countersign.entries set prev = (select hash from countersign.entries where ${where} and seq = 0) where ${where} and seq = 1`,
      { class: "LINK_BROKEN", seq: 0 },
    ],
  ];
  for (const [wrong, right, expected] of table) {
    await tamper(wrong);
    expect((await attested(ada, [ada])).mismatches).toContainEqual(expect.objectContaining(expected));
    await tamper(right);
    expect((await attested(ada, [ada])).mismatches).toEqual([]);
  }
  // A row that no entry of the subject wrote, asked for by the decision.
  expect((await attested(ada, [ids[1]])).mismatches).toContainEqual(
    expect.objectContaining({ class: "STATE_WITHOUT_ENTRY", id: ids[1] }),
  );
  await tamper(`delete from countersign.principals where ${where} and id = '${ada}'`);
  expect((await attested(ada)).mismatches).toContainEqual(
    expect.objectContaining({ class: "ENTRY_WITHOUT_STATE", id: ada }),
  );
});
