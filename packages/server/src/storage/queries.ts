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
  const found = await client.query<{ number: number; name: string; checksum: string; applied_at_ms: string; app_version: string }>(
    "select number, name, checksum, applied_at_ms, app_version from countersign.migrations order by number",
  );
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
  const found = await client.query<{ name: string }>("select relname as name from pg_class where relnamespace = 'countersign'::regnamespace and relkind in ('r', 'p')");
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
 * Bytes the ledger occupies; 0 without one. A size and not a count, because row-level security hides the rows from every
 * role that can ask here.
 */
export async function ledgerBytes(client: Queryable): Promise<number> {
  const found = await client.query<{ bytes: string }>(
    "select coalesce(sum(pg_relation_size(c.oid)), 0) as bytes from pg_class c where c.relnamespace = to_regnamespace('countersign') and c.relname in ('entries', 'bodies') and c.relkind = 'r'",
  );
  return Number(found.rows[0]?.bytes ?? 0);
}

export interface ServerFacts {
  readonly versionNumber: number;
  readonly version: string;
  readonly encoding: string;
  readonly user: string;
  readonly database: string;
}

export async function readServerFacts(client: Queryable): Promise<ServerFacts> {
  const found = await client.query<{ number: string; version: string; encoding: string; user: string; database: string }>(`
    select current_setting('server_version_num') as number,
           current_setting('server_version') as version,
           current_setting('server_encoding') as encoding,
           current_user as user,
           current_database() as database`);
  const row = found.rows[0];
  if (row === undefined) throw new Error("a select without from returned no row");
  return { versionNumber: Number(row.number), version: row.version, encoding: row.encoding, user: row.user, database: row.database };
}
