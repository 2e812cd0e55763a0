/**
 * Verdicts 1–5, 14, 15, 17 and 18: somebody with all rights changes a real database through SQL, and the verifier says what was
 * done. Each is done to a copy of one honest database, which verifies before and after.
 */
import type { TenantId } from "@countersign/contract";
import { entryHashHex, type Finding } from "@countersign/proof";
import pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { moveEpoch } from "../../src/ledger/index.js";
import { verifyTenant, type TenantReport, type VerifyTenantOptions } from "../../src/verification/index.js";
import { bodyOpener, SubjectKeys } from "../../src/ledger/subjectKeys.js";
import { newId, systemRandom } from "../../src/platform/index.js";
import {
  commit,
  committed,
  entry,
  newTenant,
  openTestLedger,
  testSealing,
  type TestLedger,
} from "../support/ledger.js";
import { createDatabase, withClient, type TestDatabase } from "../support/postgres.js";

let source: TestDatabase;
const tenant = newTenant();
const other = newTenant();
const principals = [newId(), newId(), newId()] as const;
const [first, second] = principals;

beforeAll(async () => {
  source = await createDatabase();
  const ledger = await openTestLedger(source.storage);
  await makeHistory(ledger, tenant);
  await makeHistory(ledger, other);
  await ledger.close();
  // A database that somebody is connected to cannot be copied.
  await source.storage.close();
});

/** Twelve entries: rows made and changed, an epoch, a counter, a body. */
async function makeHistory(ledger: TestLedger, of: TenantId): Promise<void> {
  const person = (id: string, name: string): Record<string, string | number> => ({
    id,
    kind: "human",
    name,
    status: "ACTIVE",
    created_at_ms: 1,
  });
  const about = (id: string): { type: string; id: string } => ({ type: "principal", id });
  for (const [index, id] of principals.entries()) {
    await committed(
      commit(ledger, of, {
        entries: [
          entry({
            subject: about(id),
            writes: [{ verb: "insert", table: "principals", row: person(id, `person ${index}`) }],
          }),
        ],
      }),
    );
  }
  await committed(
    commit(ledger, of, {
      entries: [
        entry({
          subject: about(first),
          writes: [{ verb: "update", table: "principals", row: person(first, "Ada"), from: 1 }],
        }),
      ],
    }),
  );
  await committed(
    commit(ledger, of, { entries: [entry({ action: "policy.changed", writes: [moveEpoch("policy", 0)] })] }),
  );
  await committed(
    commit(ledger, of, {
      guards: [{ kind: "counter", key: "applies", add: 2, max: 5 }],
      entries: [entry({ body: { text: "what people read" } })],
    }),
  );
  for (let i = 0; i < 6; i++) await committed(commit(ledger, of));
}

/** Runs `tamper` as superuser on a copy of the database, and verifies the copy as the server's role. */
async function afterwards(
  tamper: (client: pg.Client) => Promise<void>,
  options: VerifyTenantOptions = {},
): Promise<TenantReport> {
  const name = `${source.name}_${newId().slice(-8)}`;
  await withClient(loginTo(source.superuser, "postgres"), (admin) =>
    admin.query(`create database ${name} template ${source.name}`),
  );
  try {
    await withClient(loginTo(source.superuser, name), async (client) => {
      // Triggers and foreign keys are asleep: against whoever owns the database they are speed bumps.
      await client.query("set session_replication_role = replica");
      await tamper(client);
    });
    const openBody = bodyOpener(new SubjectKeys(testSealing, systemRandom));
    return await verifyTenant({ login: loginTo(source.app, name), openBody }, tenant, { bodies: true, ...options });
  } finally {
    await withClient(loginTo(source.superuser, "postgres"), (admin) =>
      admin.query(`drop database ${name} with (force)`),
    );
  }
}

function loginTo(login: pg.ClientConfig, database: string): pg.ClientConfig {
  if (login.connectionString === undefined) return { ...login, database };
  const url = new URL(login.connectionString);
  url.pathname = `/${database}`;
  return { ...login, connectionString: url.href };
}

const run = (...statements: readonly (string | [string, readonly unknown[]])[]) => {
  return async (client: pg.Client): Promise<void> => {
    for (const statement of statements) {
      if (typeof statement === "string") await client.query(statement);
      else await client.query(statement[0], [...statement[1]]);
    }
  };
};
const at = (seq: number): string => `tenant_id = '${tenant}' and seq = ${seq}`;

/** Chains everything from `seq` on again, as one who knows the format would. */
async function rechain(client: pg.Client, seq: number): Promise<void> {
  const found = await client.query<{ seq: string; time_ms: string; content_hash: string; hash: string }>(
    "select seq, time_ms, encode(content_hash, 'hex') as content_hash, encode(hash, 'hex') as hash from countersign.entries where tenant_id = $1 and seq >= $2 order by seq",
    [tenant, seq - 1],
  );
  let prev = found.rows[0]?.hash ?? "";
  for (const row of found.rows.slice(1)) {
    const hash = entryHashHex({
      tenant,
      seq: Number(row.seq),
      timeMs: Number(row.time_ms),
      prev,
      contentHash: row.content_hash,
    });
    await client.query(
      "update countersign.entries set prev = decode($3, 'hex'), hash = decode($4, 'hex') where tenant_id = $1 and seq = $2",
      [tenant, row.seq, prev, hash],
    );
    prev = hash;
  }
}

const editContent = `update countersign.entries set content = replace(content, '"type":"thing"', '"type":"other"') where ${at(7)}`;
const editContentAndHash = `update countersign.entries set content = replace(content, '"type":"thing"', '"type":"other"'),
  content_hash = sha256(convert_to(replace(content, '"type":"thing"', '"type":"other"'), 'UTF8')) where ${at(7)}`;
const swap = (a: number, b: number): string[] => [
  `update countersign.entries set seq = 1000 where ${at(a)}`,
  `update countersign.entries set seq = ${a} where ${at(b)}`,
  `update countersign.entries set seq = ${b} where ${at(1000)}`,
];
const copyOfEntry = (
  seq: number,
  as: number,
): string => `insert into countersign.entries (tenant_id, seq, time_ms, entry_id, prev, content, content_hash, hash, action, actor_id, subject_id)
  select tenant_id, ${as}, time_ms, entry_id, prev, content, content_hash, hash, action, actor_id, subject_id from countersign.entries where ${at(seq)}`;
const freeOfKeys = ["entries_pkey", "entries_prev_key", "entries_entry_id_key"].map(
  (name) => `alter table countersign.entries drop constraint ${name} cascade`,
);
const freeOfColumns = "alter table countersign.entries drop constraint entries_columns_are_in_content";
const lieInMeta = "alter table countersign.entries alter column meta drop expression";

type Row = readonly [
  done: string,
  tamper: (client: pg.Client) => Promise<void>,
  expected: Partial<Finding>,
  options?: VerifyTenantOptions,
];

const rows: readonly Row[] = [
  ["1 content edited", run(editContent), { class: "CONTENT_MISMATCH", seq: 7 }],
  ["2 content and its hash edited", run(editContentAndHash), { class: "LINK_BROKEN", seq: 8, suspect: 7 }],
  ["3 deleted in the middle", run(`delete from countersign.entries where ${at(7)}`), { class: "GAP", seq: 7 }],
  [
    "3 the first deleted",
    run(`delete from countersign.entries where ${at(0)}`),
    { class: "PRUNED_WITHOUT_ENTRY", seq: 0 },
  ],
  ["4 duplicated", run(...freeOfKeys, copyOfEntry(7, 7)), { class: "DUPLICATE_SEQ", seq: 7 }],
  [
    "4 inserted",
    run(
      ...freeOfKeys,
      `update countersign.entries set seq = seq + 1 where tenant_id = '${tenant}' and seq >= 7`,
      copyOfEntry(6, 7),
    ),
    { class: "LINK_BROKEN", seq: 7 },
  ],
  ["5 two entries swapped", run(...swap(7, 9)), { class: "ORDER_BROKEN", seq: 7 }],
  ["5 two neighbours swapped", run(...swap(7, 8)), { class: "ORDER_BROKEN", seq: 7 }],
  [
    "14 time goes backwards, chained again",
    async (client) => {
      await client.query(`update countersign.entries set time_ms = time_ms - 3600000 where ${at(8)}`);
      await rechain(client, 8);
    },
    { class: "TIME_REGRESSION", seq: 8 },
  ],
  [
    "15 a trigger dropped",
    run("drop trigger entries_append_only on countersign.entries"),
    { class: "DEFINITION_MISMATCH", table: "trigger", id: "entries.entries_append_only" },
  ],
  [
    "15 a trigger asleep",
    run("alter table countersign.entries disable trigger entries_append_only"),
    { class: "DEFINITION_MISMATCH", table: "trigger" },
  ],
  [
    "15 the append function redefined",
    async (client) => {
      const found = await client.query<{ text: string }>(
        "select pg_get_functiondef(oid) as text from pg_proc where proname = 'append_entries'",
      );
      await client.query((found.rows[0]?.text ?? "").replace("behind_ms > 5000", "behind_ms > 5000000"));
    },
    { class: "DEFINITION_MISMATCH", table: "function" },
  ],
  [
    "15 the door redefined",
    async (client) => {
      const found = await client.query<{ text: string }>(
        "select pg_get_functiondef(oid) as text from pg_proc where proname = 'commit_group'",
      );
      await client.query((found.rows[0]?.text ?? "").replace("if moved <> '[]' then", "if false then"));
    },
    { class: "DEFINITION_MISMATCH", table: "function", id: "commit_group" },
  ],
  [
    "15 a policy that shows everything",
    run("alter policy tenant_rows on countersign.entries using (true)"),
    { class: "DEFINITION_MISMATCH", table: "policy", id: "entries.tenant_rows" },
  ],
  [
    "15 row security off for a governed table",
    run("alter table countersign.votes no force row level security"),
    { class: "DEFINITION_MISMATCH", table: "table", id: "votes" },
  ],
  [
    "15 the server may delete entries",
    run("grant delete on countersign.entries to countersign_app"),
    { class: "DEFINITION_MISMATCH", table: "grant" },
  ],
  [
    "15 a constraint dropped",
    run("alter table countersign.entries drop constraint entries_hashes_are_sha256"),
    { class: "DEFINITION_MISMATCH", table: "constraint" },
  ],
  [
    "15 the generated column made to lie: its definition",
    run(lieInMeta),
    { class: "DEFINITION_MISMATCH", table: "column", id: "entries.meta" },
  ],
  [
    "15 the generated column made to lie: its value",
    run(
      lieInMeta,
      freeOfColumns,
      `update countersign.entries set meta = jsonb_set(meta, '{action}', '"thing.gone"') where ${at(7)}`,
    ),
    { class: "COLUMN_MISMATCH", seq: 7 },
  ],
  [
    "15 the subject beside the content, so that an audit of it comes out empty",
    run(freeOfColumns, `update countersign.entries set subject_id = 'nobody' where ${at(7)}`),
    { class: "COLUMN_MISMATCH", seq: 7 },
  ],
  [
    "15 the id beside the content",
    run(
      "alter table countersign.entries drop constraint entries_id_is_in_content",
      `update countersign.entries set entry_id = gen_random_uuid() where ${at(7)}`,
    ),
    { class: "COLUMN_MISMATCH", seq: 7 },
  ],
  [
    "17 a row changed",
    run([`update countersign.principals set name = 'Eve' where tenant_id = $1 and id = $2`, [tenant, second]]),
    { class: "STATE_MISMATCH", table: "principals", id: second },
  ],
  [
    "17 a row's version changed",
    run([`update countersign.principals set version = 7 where tenant_id = $1 and id = $2`, [tenant, second]]),
    { class: "STATE_MISMATCH", table: "principals", id: second },
  ],
  [
    "17 a row's salt changed",
    run([
      `update countersign.principals set row_salt = sha256('x') where tenant_id = $1 and id = $2`,
      [tenant, second],
    ]),
    { class: "STATE_MISMATCH", table: "principals", id: second },
  ],
  [
    "17 a row set back",
    run([
      `update countersign.principals set name = 'person 0', version = 1 where tenant_id = $1 and id = $2`,
      [tenant, first],
    ]),
    { class: "STATE_MISMATCH", table: "principals", id: first },
  ],
  [
    "17 a row removed",
    run([`delete from countersign.principals where tenant_id = $1 and id = $2`, [tenant, second]]),
    { class: "ENTRY_WITHOUT_STATE", table: "principals", id: second },
  ],
  [
    "17 a row added",
    run([
      `insert into countersign.principals (tenant_id, id, version, row_salt, kind, name, status, created_at_ms)
       select tenant_id, gen_random_uuid(), 1, row_salt, kind, 'Mallory', status, created_at_ms from countersign.principals where tenant_id = $1 and id = $2`,
      [tenant, second],
    ]),
    { class: "STATE_WITHOUT_ENTRY", table: "principals" },
  ],
  [
    "17 an epoch moved",
    run([`update countersign.epochs set version = 2 where tenant_id = $1`, [tenant]]),
    { class: "STATE_MISMATCH", table: "epochs", id: "policy" },
  ],
  [
    "17 a counter lowered",
    run([`update countersign.counters set value = 0 where tenant_id = $1`, [tenant]]),
    { class: "STATE_MISMATCH", table: "counters", id: "applies", expected: "2", actual: "0" },
  ],
  [
    "17 a table hidden by its class",
    run("comment on table countersign.principals is 'derived'", [
      `update countersign.principals set name = 'Eve' where tenant_id = $1 and id = $2`,
      [tenant, second],
    ]),
    { class: "STATE_MISMATCH", table: "principals" },
  ],
  [
    "18 an entry moved from another tenant",
    run(
      `delete from countersign.entries where ${at(7)}`,
      `update countersign.entries set tenant_id = '${tenant}' where tenant_id = '${other}' and seq = 7`,
    ),
    { class: "FOREIGN_ENTRY", seq: 7 },
    { otherTenants: [other] },
  ],
];

test("what nobody touched verifies", async () => {
  const report = await afterwards(() => Promise.resolve(), { thorough: true, otherTenants: [other] });
  expect(report).toMatchObject({ integrity: "ok", findings: [], entries: 12, rows: 4, bodies: { checked: 1 } });
});

describe("verdicts", () => {
  test.each(rows.map(([done, tamper, expected, options]) => ({ done, tamper, expected, options })))(
    "$done",
    async ({ tamper, expected, options }) => {
      const report = await afterwards(tamper, options);
      expect(report.integrity).toBe("tampered");
      expect(report.findings).toContainEqual(expect.objectContaining(expected));
      expect(report.undecided).toBeUndefined();
    },
  );
});

test("it still verifies", async () => {
  expect((await afterwards(() => Promise.resolve())).findings).toEqual([]);
});

test("a range verifies from the hash before it", async () => {
  const report = await afterwards(() => Promise.resolve(), { from: 5 });
  expect(report).toMatchObject({ integrity: "ok", findings: [], entries: 7, from: 5 });
  const edited = await afterwards(run(editContentAndHash), { from: 5 });
  expect(edited.first).toMatchObject({ class: "LINK_BROKEN", seq: 8 });
});

test("a database that does not answer is undecided, not tampered", async () => {
  const login = { ...loginTo(source.app, `${source.name}_gone`), connectionTimeoutMillis: 1000 };
  const report = await verifyTenant({ login, openBody: (_of, _id, { sealed }) => sealed }, tenant);
  expect(report).toMatchObject({ integrity: "undecided", findings: [] });
  expect(report.undecided).toContain("does not exist");
});
