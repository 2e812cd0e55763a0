/** The schema as PostgreSQL has it: every table has its class, its tenant and its grants, and no way leads to another tenant. */
import type pg from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { migrateDown, migrateUp, migrationStatus, tableClasses, type TableClass } from "../../src/storage/index.js";
import { commit, committed, newTenant, openTestLedger } from "../support/ledger.js";
import { createDatabase, withClient, type TestDatabase } from "../support/postgres.js";

let database: TestDatabase;
const classes = new Map(Object.entries(tableClasses()));
const names = [...classes.keys()].sort();

beforeAll(async () => {
  database = await createDatabase();
});

async function ask<T extends pg.QueryResultRow>(
  text: string,
  values: unknown[] = [],
  login: pg.ClientConfig = database.owner,
): Promise<T[]> {
  return withClient(login, async (client) => (await client.query<T>(text, values)).rows);
}

test("every table has a class, and every class a table", async () => {
  const rows = await ask<{ name: string }>(
    "select relname::text as name from pg_class where relnamespace = 'countersign'::regnamespace and relkind in ('r', 'p', 'v', 'm') order by 1",
  );
  // The migration runner's own record, which no tenant and no server sees.
  expect(rows.map((row) => row.name).filter((name) => name !== "migrations")).toEqual(names);
});

test("no primary, unique or foreign key leaves the tenant out, and tenant_id comes first", async () => {
  const rows = await ask<{ name: string; columns: string[] }>(`
    select c.relname || ' ' || ic.relname as name,
           array(select a.attname::text from unnest(i.indkey) with ordinality as k (attnum, n) join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum order by k.n) as columns
      from pg_index i join pg_class c on c.oid = i.indrelid join pg_class ic on ic.oid = i.indexrelid
     where c.relnamespace = 'countersign'::regnamespace and i.indisunique and c.relname <> 'migrations'
    union all
    select c.relname || ' ' || k.conname || side.name,
           array(select a.attname::text from unnest(side.keys) with ordinality as x (attnum, n) join pg_attribute a on a.attrelid = side.of and a.attnum = x.attnum order by x.n)
      from pg_constraint k join pg_class c on c.oid = k.conrelid
     cross join lateral (values (' from', k.conrelid, k.conkey), (' to', k.confrelid, k.confkey)) as side (name, of, keys)
     where c.relnamespace = 'countersign'::regnamespace and k.contype = 'f'`);
  expect(rows.length).toBeGreaterThan(names.length);
  expect(rows.filter((row) => row.columns[0] !== "tenant_id")).toEqual([]);
});

test("governed tables: version, salt, and only types that read the same everywhere", async () => {
  const allowed = new Set(["uuid", "text", "integer", "bigint", "boolean", "jsonb", "text[]"]);
  const rows = await ask<{ name: string; column: string; type: string; has_default: boolean }>(`
    select c.relname::text as name, a.attname::text as column, format_type(a.atttypid, a.atttypmod) as type, a.atthasdef as has_default
      from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
     where c.relnamespace = 'countersign'::regnamespace and c.relkind = 'r'`);
  for (const name of names.filter((table) => classes.get(table) === "governed")) {
    const columns = new Map(rows.filter((row) => row.name === name).map((row) => [row.column, row]));
    expect([name, columns.get("version")?.type, columns.get("row_salt")?.type]).toEqual([name, "integer", "bytea"]);
    columns.delete("row_salt");
    expect([name, [...columns.values()].filter((column) => !allowed.has(column.type) || column.has_default)]).toEqual([
      name,
      [],
    ]);
  }
});

test("the comment of a table, by which the door finds it, is its class", async () => {
  const rows = await ask<{ name: string; class: string }>(
    "select relname::text as name, obj_description(oid, 'pg_class') as class from pg_class where relnamespace = 'countersign'::regnamespace and relkind = 'r' and relname <> 'migrations'",
  );
  expect(Object.fromEntries(rows.map((row) => [row.name, row.class]))).toEqual(tableClasses());
});

const verbs = ["select", "insert", "update", "delete", "truncate", "references", "trigger"] as const;
const grantsOf: Readonly<Record<TableClass, readonly string[]>> = {
  governed: ["select", "insert", "update"],
  ledger: ["select"],
  log: ["select", "insert"],
  keys: ["select", "insert"],
  attached: ["select", "insert", "update"],
  content: ["select", "insert", "delete"],
  derived: ["select", "insert", "update", "delete"],
  operational: ["select", "insert", "update", "delete"],
};

test.each(names)("grants of %s are those of its class", async (name) => {
  const [row] = await ask<Record<string, boolean>>(
    `select ${verbs.map((verb) => `has_table_privilege('countersign_app', 'countersign.${name}', '${verb}') as ${verb}`).join(", ")}`,
  );
  const [expiring] = await ask("select from pg_attribute where attrelid = $1::regclass and attname = 'expires_ms'", [
    `countersign.${name}`,
  ]).then((found) => [found.length > 0]);
  const kind = classes.get(name) as TableClass;
  const due = kind === "attached" && expiring ? [...grantsOf.attached, "delete"] : grantsOf[kind];
  expect(verbs.filter((verb) => row?.[verb] === true)).toEqual(verbs.filter((verb) => due.includes(verb)));
});

test("nobody but the server executes our functions, and those that act with more rights have their search path pinned", async () => {
  const rows = await ask<{ name: string; public: boolean; app: boolean; definer: boolean; config: string[] | null }>(`
    select p.proname::text as name, has_function_privilege('public', p.oid, 'execute') as public, has_function_privilege('countersign_app', p.oid, 'execute') as app,
           p.prosecdef as definer, p.proconfig as config
      from pg_proc p where p.pronamespace = 'countersign'::regnamespace order by 1`);
  expect(rows.filter((row) => row.public).map((row) => row.name)).toEqual([]);
  expect(rows.filter((row) => row.app).map((row) => row.name)).toEqual([
    "append_entries",
    "commit_group",
    "door_source",
    "erase_subject_keys",
    "finish_erasures",
    "prunable_entries",
    "prune_entries",
  ]);
  expect(rows.filter((row) => row.definer).map((row) => row.name)).toEqual([
    "append_entries",
    "erase_subject_keys",
    "finish_erasures",
    "prune_entries",
  ]);
  expect(
    rows.filter((row) => !(row.config ?? []).includes("search_path=pg_catalog, pg_temp")).map((row) => row.name),
  ).toEqual([]);
});

/** Any value of a type: what a tenant may see does not depend on it. Text is JSON too, for what is generated from content. */
const samples: Readonly<Record<string, string>> = {
  uuid: "gen_random_uuid()",
  text: "'{}'",
  integer: "1",
  smallint: "1",
  bigint: "1",
  boolean: "true",
  jsonb: "'{}'",
  "text[]": "'{}'",
  bytea: "sha256('x')",
  "timestamp with time zone": "now()",
};

describe("row-level security", () => {
  const [mine, theirs] = [newTenant(), newTenant()];
  const insert = async (client: pg.Client, name: string, tenant: string): Promise<void> => {
    const found = await client.query<{ column: string; type: string }>(
      "select attname::text as column, format_type(atttypid, atttypmod) as type from pg_attribute where attrelid = $1::regclass and attnum > 0 and not attisdropped and attgenerated = ''",
      [`countersign.${name}`],
    );
    const values = found.rows.map(({ column, type }) =>
      column === "tenant_id" ? `'${tenant}'` : (samples[type] ?? "null"),
    );
    await client.query(
      `insert into countersign.${name} (${found.rows.map((row) => row.column).join(", ")}) values (${values.join(", ")})`,
    );
  };

  beforeAll(async () => {
    database = await createDatabase();
    await withClient(database.superuser, async (client) => {
      // Row-level security does not depend on what the rows say: without constraints any row will do.
      await client.query("set session_replication_role = replica");
      const checks = await client.query<{ statement: string }>(
        `select format('alter table %s drop constraint %I', conrelid::regclass, conname) as statement from pg_constraint where connamespace = 'countersign'::regnamespace and contype = 'c'`,
      );
      for (const { statement } of checks.rows) await client.query(statement);
      for (const name of names) for (const tenant of [mine, theirs]) await insert(client, name, tenant);
    });
  });

  const asServer = async (tenants: string | undefined, work: (client: pg.Client) => Promise<void>): Promise<void> => {
    await withClient(database.app, async (client) => {
      await client.query("begin");
      if (tenants !== undefined) await client.query("select set_config('app.tenants', $1, true)", [tenants]);
      await work(client);
      await client.query("rollback");
    });
  };
  /** What happened, or the SQLSTATE of the refusal. */
  const attempt = async (client: pg.Client, statement: () => Promise<unknown>): Promise<unknown> => {
    await client.query("savepoint here");
    try {
      return await statement();
    } catch (error) {
      await client.query("rollback to here");
      return (error as pg.DatabaseError).code;
    }
  };
  const forbidden = "42501"; // insufficient_privilege: no grant, or a row-level security policy

  test.each(names)("%s: one tenant sees and writes its own rows and no others", async (name) => {
    await asServer(`{${mine}}`, async (client) => {
      const seen = await client.query<{ tenant_id: string }>(`select tenant_id from countersign.${name}`);
      expect(seen.rows.map((row) => row.tenant_id)).toEqual([mine]);
      for (const statement of [
        `update countersign.${name} set tenant_id = tenant_id where tenant_id = '${theirs}'`,
        `delete from countersign.${name} where tenant_id = '${theirs}'`,
      ]) {
        const done = await attempt(client, async () => (await client.query(statement)).rowCount);
        expect([0, forbidden]).toContain(done);
      }
      expect(await attempt(client, () => insert(client, name, theirs))).toBe(forbidden);
      // A row may not be given to another tenant either.
      expect(await attempt(client, () => client.query(`update countersign.${name} set tenant_id = '${theirs}'`))).toBe(
        forbidden,
      );
    });
  });

  test.each(names)("%s: without a tenant there is nothing", async (name) => {
    for (const unset of [undefined, "", "{}"]) {
      await asServer(unset, async (client) => {
        expect((await client.query(`select from countersign.${name}`)).rowCount).toBe(0);
        expect(await attempt(client, () => insert(client, name, mine))).toBe(forbidden);
      });
    }
  });

  test.each(names)("%s: the owner of the tables is held by it too", async (name) => {
    if (database.owner.connectionString !== undefined) return; // a superuser's database: nothing holds that
    const seen = await ask(`select from countersign.${name}`, [], database.owner);
    expect(seen).toEqual([]);
  });
});

test.each(["entries", "bodies", "subject_keys", "checkpoints", "tiles", "anchor_receipts"])(
  "%s: nobody updates, deletes or truncates",
  async (name) => {
    const own = await createDatabase();
    for (const login of [own.superuser, own.app]) {
      await withClient(login, async (client) => {
        for (const statement of [
          `update countersign.${name} set tenant_id = tenant_id`,
          `delete from countersign.${name}`,
          `truncate countersign.${name} cascade`,
        ]) {
          await expect(client.query(statement)).rejects.toMatchObject({
            code: login === own.superuser ? "CS003" : "42501",
          });
        }
      });
    }
  },
);

test("the server cannot append but through the function, nor make it append for a tenant that is not its own", async () => {
  await withClient(database.app, async (client) => {
    await expect(
      client.query("insert into countersign.entries (tenant_id) values (gen_random_uuid())"),
    ).rejects.toMatchObject({ code: "42501" });
    const forged =
      "select countersign.append_entries(1, array[gen_random_uuid()], '{1}', array[gen_random_uuid()], array['{}'], '{}', '{}', '{}', '{}', '{}', '{}')";
    await expect(client.query(forged)).rejects.toMatchObject({ code: "42501" });
  });
});

test("migrations go down and up again on an empty ledger, and refuse to take entries with them", async () => {
  const own = await createDatabase();
  const run = { appVersion: "test", nowMs: Date.now };
  await withClient(own.owner, async (client) => {
    const { applied } = await migrationStatus(client);
    await migrateDown(client, { ...run, steps: applied.length, confirmed: true });
    await migrateUp(client, run);
  });
  const ledger = await openTestLedger(own.storage);
  await committed(commit(ledger, newTenant()));
  await ledger.close();
  await withClient(own.owner, async (client) => {
    const { applied } = await migrationStatus(client);
    const down = migrateDown(client, { ...run, steps: applied.length, confirmed: true });
    await expect(down).rejects.toThrow(/entries/);
  });
  expect(await ask("select from pg_class where oid = to_regclass('countersign.entries')", [], own.owner)).toHaveLength(
    1,
  );
});
