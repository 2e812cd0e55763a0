/**
 * The door against the same work done one by one: a versioned row and an entry, or an entry alone. The reference is what one
 * writes without a ledger: one transaction each, prepared statements, the same role and row-level security, an insert into
 * a plain table that is neither hashed nor chained.
 *
 * Where the time goes (perf, PostgreSQL 18, groups of 64 to 128): of the backend's time 45 % is inserting entries (25 % their six
 * indexes, 12 % generating `meta`), 14 % parsing jsonb, 12 % filling fresh WAL segments with zeros (a new cluster only), 10 % the
 * flush. An entry of 1,060 bytes costs 28 µs to insert: 13 for `meta`, 2 to 3 for each index on it, 3 for each unique key. A group
 * costs about 0.6 ms whatever is in it, so small groups cost most. CPU of both sides together a commit of 16 in a group: 190 to
 * 215 µs, of the reference 350 to 500. The door is one connection: where other programs want the processors too, it gets one
 * share and the reference sixteen, so measure on a machine that does nothing else.
 */
import { randomBytes, randomUUID } from "node:crypto";
import pg from "pg";
import { asTenantId, type TenantId } from "../../packages/contract/src/index.js";
import { openLedger, type Ledger, type Write } from "../../packages/server/src/ledger/index.js";
import { newId, sealingWith, systemClock } from "../../packages/server/src/platform/index.js";
import { tableClasses } from "../../packages/server/src/storage/index.js";
import { withClient } from "../postgres.js";
import { commit, padding } from "./append.js";
import { throughput, type Bench, type BenchDatabase, type Measured, type Row } from "../row.js";

const roundMs = 1_500;
const pool = 16;
export const tables = `
  create table countersign.bench_rows (
    tenant_id uuid not null, id uuid not null, version integer not null, row_salt bytea not null, title text not null, amount integer not null,
    constraint bench_rows_pkey primary key (tenant_id, id));
  create table countersign.bench_plain_rows (
    tenant_id uuid not null, id uuid not null, version integer not null, title text not null, amount integer not null,
    constraint bench_plain_rows_pkey primary key (tenant_id, id));
  create table countersign.bench_plain_entries (
    tenant_id uuid not null, entry_id uuid not null, time_ms bigint not null, content text not null,
    constraint bench_plain_entries_pkey primary key (tenant_id, entry_id));`;

export async function prepareDatabase(database: BenchDatabase): Promise<void> {
  const classes = {
    ...tableClasses(),
    bench_rows: "governed",
    bench_plain_rows: "operational",
    bench_plain_entries: "operational",
  };
  await withClient(database.owner, async (client) => {
    await client.query(tables);
    await client.query("select countersign.apply_grants($1::jsonb)", [JSON.stringify(classes)]);
    await client.query("select countersign.rebuild_door()");
  });
}

export function openBenchLedger(database: BenchDatabase, groupsInFlight?: number): Promise<Ledger> {
  return openLedger({
    storage: database.storage,
    sealing: sealingWith([randomBytes(32)]),
    clock: systemClock,
    ...(groupsInFlight === undefined ? {} : { groupsInFlight }),
  });
}

/** The name is checked by the catalogue the door has read, not by the types of the product's tables. */
const benchRows = "bench_rows" as Write["table"];

function rowOf(id: string, amount: number): Write["row"] {
  return { id, title: `row of ${id}`, amount };
}

async function measureCommits(
  bench: Bench,
  given: { writers: number; tenants: number; update: boolean },
): Promise<Measured> {
  const { writers, update } = given;
  const database = await bench.database();
  await prepareDatabase(database);
  const ledger = await openBenchLedger(database);
  const tenants = Array.from({ length: given.tenants }, () => asTenantId(newId()));
  const rows = Array.from({ length: writers }, (_, index) => ({
    id: newId(),
    tenant: tenants[index % tenants.length] as TenantId,
    version: 1,
    plain: 1,
  }));
  for (const row of rows)
    if (update)
      await commit(ledger, row.tenant, {
        subject: row.id,
        writes: [{ verb: "insert", table: benchRows, row: rowOf(row.id, 0) }],
      });
  const plain = new pg.Pool({ ...database.app, max: pool });
  plain.on("error", () => undefined); // Its database is dropped at the end.
  for (const row of rows) {
    if (update)
      await inTransaction(plain, row.tenant, [
        {
          name: "i",
          text: "insert into countersign.bench_plain_rows values ($1, $2, 1, $3, 0)",
          values: [row.tenant, row.id, `row of ${row.id}`],
        },
      ]);
  }
  const content = JSON.stringify({
    action: "change_set.approved",
    subject: newId(),
    data: padding.repeat(2),
    more: padding.slice(0, 200),
  });
  return {
    ours: () =>
      throughput(writers, roundMs, async (caller, turn) => {
        const row = rows[caller] as (typeof rows)[number];
        await commit(ledger, row.tenant, {
          subject: row.id,
          writes: update ? [{ verb: "update", table: benchRows, row: rowOf(row.id, turn), from: row.version }] : [],
        });
        row.version += 1;
      }),
    reference: () =>
      throughput(writers, roundMs, async (caller, turn) => {
        const row = rows[caller] as (typeof rows)[number];
        const insert = {
          name: "e",
          text: "insert into countersign.bench_plain_entries values ($1, $2, $3, $4)",
          values: [row.tenant, randomUUID(), Date.now(), content],
        };
        const change = {
          name: "u",
          text: "update countersign.bench_plain_rows set version = version + 1, title = $4, amount = $5 where tenant_id = $1 and id = $2 and version = $3",
          values: [row.tenant, row.id, row.plain, `row of ${row.id}`, turn],
        };
        await inTransaction(plain, row.tenant, update ? [change, insert] : [insert]);
        row.plain += 1;
      }),
    close: async () => {
      bench.progress(JSON.stringify(ledger.stats()));
      await ledger.close();
      await plain.end();
      await database.close();
    },
  };
}

async function inTransaction(plain: pg.Pool, tenant: TenantId, statements: readonly pg.QueryConfig[]): Promise<void> {
  const client = await plain.connect();
  try {
    await client.query(`begin; select set_config('app.tenants', '{${tenant}}', true)`);
    for (const statement of statements) {
      const done = await client.query(statement);
      if (done.rowCount !== 1) throw new Error("the reference lost an update");
    }
    await client.query("commit");
  } finally {
    client.release();
  }
}

const oneByOne = `one transaction each, pool of ${pool}, same role and row-level security`;

export const commitRows: readonly Row[] = [
  {
    name: "commit-1",
    work: "one versioned row update and one entry",
    unit: "commits/s",
    conditions: "32 writers, 1 tenant, entries of about 800 bytes",
    referenceIs: `the same update and an unchained insert, ${oneByOne}`,
    goal: { text: "≥ 4×, p99 ≤ reference", ratioMin: 4, p99AtMostReference: true },
    prepare: (bench) => measureCommits(bench, { writers: 32, tenants: 1, update: true }),
  },
  {
    name: "commit-32",
    work: "one versioned row update and one entry",
    unit: "commits/s",
    conditions: "32 writers, 32 tenants, entries of about 800 bytes",
    referenceIs: `the same update and an unchained insert, ${oneByOne}`,
    goal: { text: "≥ 3×, p99 ≤ reference", ratioMin: 3, p99AtMostReference: true },
    prepare: (bench) => measureCommits(bench, { writers: 32, tenants: 32, update: true }),
  },
  {
    name: "append-32",
    work: "one entry",
    unit: "entries/s",
    conditions: "32 writers, 1 tenant, entries of about 800 bytes",
    referenceIs: `an unchained insert, ${oneByOne}`,
    goal: { text: "≥ 3×", ratioMin: 3 },
    prepare: (bench) => measureCommits(bench, { writers: 32, tenants: 1, update: false }),
  },
  {
    name: "append-128",
    work: "one entry",
    unit: "entries/s",
    conditions: "128 writers, 1 tenant, entries of about 800 bytes",
    referenceIs: `an unchained insert, ${oneByOne}`,
    goal: { text: "≥ 5×", ratioMin: 5 },
    prepare: (bench) => measureCommits(bench, { writers: 128, tenants: 1, update: false }),
  },
];
