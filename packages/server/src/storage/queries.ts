/**
 * All SQL of the tables storage owns: `countersign.migrations`, and the few questions it asks of the catalogue.
 */
import type pg from "pg";

export type Queryable = Pick<pg.ClientBase, "query">;

export interface AppliedMigration {
  readonly number: number;
  readonly name: string;
  readonly checksum: string;
  readonly appliedAtMs: number;
  readonly appVersion: string;
}

/** One runner at a time, per database; held until the session's lock is given back. */
const MIGRATION_LOCK = 7_264_911_023;

export async function lockMigrations(client: Queryable): Promise<void> {
  await client.query("select pg_advisory_lock($1)", [MIGRATION_LOCK]);
}

export async function unlockMigrations(client: Queryable): Promise<void> {
  await client.query("select pg_advisory_unlock($1)", [MIGRATION_LOCK]);
}

/** The runner's own table. Idempotent; not a migration, because it must exist before the first. */
export async function ensureMigrationTable(client: Queryable): Promise<void> {
  await client.query("create schema if not exists countersign");
  await client.query(`
    create table if not exists countersign.migrations (
      number integer not null constraint migrations_number_positive check (number > 0),
      name text not null,
      checksum text not null constraint migrations_checksum_is_sha256 check (checksum ~ '^[0-9a-f]{64}$'),
      applied_at_ms bigint not null,
      app_version text not null,
      constraint migrations_pkey primary key (number)
    )`);
}

/** Applied migrations by number; empty when the runner has never run here. */
export async function readApplied(client: Queryable): Promise<AppliedMigration[]> {
  const exists = await client.query("select 1 where to_regclass('countersign.migrations') is not null");
  if (exists.rowCount === 0) return [];
  const found = await client.query<{
    number: number;
    name: string;
    checksum: string;
    applied_at_ms: string;
    app_version: string;
  }>("select number, name, checksum, applied_at_ms, app_version from countersign.migrations order by number");
  return found.rows.map((row) => ({
    number: row.number,
    name: row.name,
    checksum: row.checksum,
    appliedAtMs: Number(row.applied_at_ms),
    appVersion: row.app_version,
  }));
}

export async function recordApplied(client: Queryable, migration: AppliedMigration): Promise<void> {
  await client.query(
    "insert into countersign.migrations (number, name, checksum, applied_at_ms, app_version) values ($1, $2, $3, $4, $5)",
    [migration.number, migration.name, migration.checksum, migration.appliedAtMs, migration.appVersion],
  );
}

export async function forgetApplied(client: Queryable, number: number): Promise<void> {
  await client.query("delete from countersign.migrations where number = $1", [number]);
}

export async function readTableNames(client: Queryable): Promise<Set<string>> {
  const found = await client.query<{ name: string }>(
    "select relname as name from pg_class where relnamespace = 'countersign'::regnamespace and relkind in ('r', 'p')",
  );
  return new Set(found.rows.map((row) => row.name));
}

/** Whether a function of this name exists in the schema; the ledger's migration makes those the runner calls. */
export async function functionExists(client: Queryable, name: string): Promise<boolean> {
  const found = await client.query(
    "select from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'countersign' and p.proname = $1",
    [name],
  );
  return found.rowCount !== 0;
}

/** Writes the door's static SQL for the tables that exist now. */
export async function rebuildDoor(client: Queryable): Promise<void> {
  await client.query("select countersign.rebuild_door()");
}

/** Gives each table the grants of its class. */
export async function applyGrants(client: Queryable, classes: Readonly<Record<string, string>>): Promise<void> {
  await client.query("select countersign.apply_grants($1::jsonb)", [JSON.stringify(classes)]);
}

/**
 * Entries, contents and bodies of all tenants, added up; 0 without a ledger. Row-level security would hide them from
 * every role that can ask, so it is lifted for this question, inside the caller's transaction.
 */
export async function countLedgerRows(client: Queryable): Promise<number> {
  const there = await client.query(
    "select from pg_class where relnamespace = to_regnamespace('countersign') and relname in ('entries', 'bodies')",
  );
  if (there.rowCount !== 2) return 0;
  await client.query(
    "alter table countersign.entries no force row level security; alter table countersign.bodies no force row level security",
  );
  const found = await client.query<{ rows: string }>(
    "select (select count(*) + count(content) from countersign.entries) + (select count(*) from countersign.bodies) as rows",
  );
  await client.query(
    "alter table countersign.entries force row level security; alter table countersign.bodies force row level security",
  );
  return Number(found.rows[0]?.rows ?? 0);
}

export interface ServerFacts {
  readonly versionNumber: number;
  readonly version: string;
  readonly encoding: string;
  readonly user: string;
  readonly database: string;
}

export async function readServerFacts(client: Queryable): Promise<ServerFacts> {
  const found = await client.query<{
    number: string;
    version: string;
    encoding: string;
    user: string;
    database: string;
  }>(`
    select current_setting('server_version_num') as number,
           current_setting('server_version') as version,
           current_setting('server_encoding') as encoding,
           current_user as user,
           current_database() as database`);
  const row = found.rows[0];
  if (row === undefined) throw new Error("a select without from returned no row");
  return {
    versionNumber: Number(row.number),
    version: row.version,
    encoding: row.encoding,
    user: row.user,
    database: row.database,
  };
}

/** The statements that make each object of the schema, in an order that depends on names alone. Made for PostgreSQL 18. */
export async function readSchemaStatements(client: Queryable): Promise<string[]> {
  const found = await client.query<{ statement: string }>(`
    with
    ours as (select 'countersign'::regnamespace::oid as schema, (select nspowner from pg_namespace where nspname = 'countersign') as owner),
    tables as (
      select c.oid, c.relname::text as name, c.relowner, c.relrowsecurity, c.relforcerowsecurity, c.relacl, obj_description(c.oid, 'pg_class') as class
        from pg_class c, ours where c.relnamespace = ours.schema and c.relkind in ('r', 'p')
    ),
    lines as (
      select t.name, 1 as section, a.attnum::integer as position,
             '  ' || quote_ident(a.attname) || ' ' || format_type(a.atttypid, a.atttypmod)
             || case when a.attgenerated = 's' then ' generated always as (' || pg_get_expr(d.adbin, d.adrelid) || ') stored'
                     when d.adbin is not null then ' default ' || pg_get_expr(d.adbin, d.adrelid) else '' end
             || case when a.attnotnull then ' not null' else '' end as line
        from tables t
        join pg_attribute a on a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped
        left join pg_attrdef d on d.adrelid = t.oid and d.adnum = a.attnum
      union all
      select t.name, 2, row_number() over (partition by t.name order by array_position('{p,u,f,c}', x.contype::text), x.conname)::integer,
             '  constraint ' || quote_ident(x.conname) || ' ' || pg_get_constraintdef(x.oid, true)
        from tables t join pg_constraint x on x.conrelid = t.oid and x.contype in ('p', 'u', 'f', 'c')
    ),
    granted as (
      select case when acl.grantee = 0 then 'public' when acl.grantee = ours.owner then '' else acl.grantee::regrole::text end as grantee,
             acl.privilege_type as privilege, acl.what, acl.owned
        from ours, (
          select (aclexplode(relacl)).grantee, (aclexplode(relacl)).privilege_type, 'table countersign.' || name as what, relowner as owned from tables
          union all
          select (aclexplode(proacl)).grantee, (aclexplode(proacl)).privilege_type, 'function ' || p.oid::regprocedure::text, p.proowner
            from pg_proc p, ours where p.pronamespace = ours.schema
          union all
          select (aclexplode(nspacl)).grantee, (aclexplode(nspacl)).privilege_type, 'schema countersign', nspowner from pg_namespace where nspname = 'countersign'
        ) acl
       where acl.grantee <> acl.owned and acl.grantee <> ours.owner
    ),
    statements as (
      select 1 as section, name, E'create table countersign.' || quote_ident(name) || E' (\\n' || string_agg(line, E',\\n' order by section, position) || E'\\n);' as statement
        from lines group by name
      union all
      select 1, name || ' 1', format('comment on table countersign.%I is %L;', name, class) from tables where class is not null
      union all
      select 1, name || ' 2', format('alter table countersign.%I enable row level security;', name) from tables where relrowsecurity
      union all
      select 1, name || ' 3', format('alter table countersign.%I force row level security;', name) from tables where relforcerowsecurity
      union all
      select 1, name || ' 4', format('alter table countersign.%I owner to %I;', name, relowner::regrole::text) from tables, ours where relowner <> ours.owner
      union all
      select 1, t.name || ' 5 ' || p.polname, format('create policy %I on countersign.%I for %s using (%s) with check (%s);', p.polname, t.name,
             case p.polcmd when '*' then 'all' else p.polcmd::text end, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
        from tables t join pg_policy p on p.polrelid = t.oid
      union all
      select 1, t.name || ' 6 ' || i.relname, pg_get_indexdef(x.indexrelid) || ';'
        from tables t join pg_index x on x.indrelid = t.oid join pg_class i on i.oid = x.indexrelid
       where not exists (select from pg_constraint k where k.conindid = x.indexrelid and k.contype in ('p', 'u'))
      union all
      select 1, t.name || ' 7 ' || g.tgname, pg_get_triggerdef(g.oid, true) || ';'
        from tables t join pg_trigger g on g.tgrelid = t.oid and not g.tgisinternal
      union all
      select 1, c.relname || ' 8', format('create %s countersign.%I;', case c.relkind when 'S' then 'sequence' when 'v' then 'view' else c.relkind::text end, c.relname)
        from pg_class c, ours where c.relnamespace = ours.schema and c.relkind in ('S', 'v', 'm', 'f')
      union all
      select 2, p.oid::regprocedure::text,
             -- rebuild_door makes it from the tables above; a thousand lines more would hide what changed.
             case when p.proname = 'commit_group' then '-- function ' || p.oid::regprocedure::text || ': made by countersign.rebuild_door()'
                  else rtrim(pg_get_functiondef(p.oid), E'\\n') || ';' end
        from pg_proc p, ours where p.pronamespace = ours.schema
      union all
      select 2, p.oid::regprocedure::text || ' owner', format('alter function %s owner to %I;', p.oid::regprocedure, p.proowner::regrole::text)
        from pg_proc p, ours where p.pronamespace = ours.schema and p.proowner <> ours.owner
      union all
      select 3, what || ' ' || grantee, format('grant %s on %s to %s;', string_agg(lower(privilege), ', ' order by privilege), what, grantee)
        from granted group by what, grantee
    )
    select statement from statements order by section, name collate "C"`);
  return found.rows.map((row) => row.statement);
}
