/**
 * The database roles, and the statements that make them. Names are fixed; several Countersign databases on one cluster
 * share them.
 *
 * owner: runs migrations, owns the schema (embedded: `countersign_owner`; external: the user of DATABASE_URL) ·
 * `countersign_ledger`: nobody logs in as it; owns entries, bodies and the append function ·
 * `countersign_app`: the server's role; its rights follow from the classes of the tables.
 */
import type pg from "pg";

export const OWNER_ROLE = "countersign_owner";
export const LEDGER_ROLE = "countersign_ledger";
export const APPLICATION_ROLE = "countersign_app";

type Queryable = Pick<pg.ClientBase, "query">;

/** The required roles, as statements that an administrator can run. */
export function roleStatements(owner: string): string[] {
  return [
    `create role ${LEDGER_ROLE} nologin;`,
    `create role ${APPLICATION_ROLE} login;`,
    `grant ${LEDGER_ROLE}, ${APPLICATION_ROLE} to ${quoteIdentifier(owner)};`,
  ];
}

/** Embedded: run as superuser at every start, so a lost or restored credentials file and a half-made cluster heal. */
export async function createEmbeddedRoles(
  superuser: Queryable,
  passwords: { owner: string; application: string },
): Promise<void> {
  await ensureRole(superuser, OWNER_ROLE, "login createrole", passwords.owner);
  await ensureRole(superuser, LEDGER_ROLE, "nologin");
  await ensureRole(superuser, APPLICATION_ROLE, "login", passwords.application);
  await superuser.query(`grant ${LEDGER_ROLE}, ${APPLICATION_ROLE} to ${OWNER_ROLE}`);
}

async function ensureRole(client: Queryable, name: string, attributes: string, password?: string): Promise<void> {
  const found = await client.query("select from pg_roles where rolname = $1", [name]);
  if (found.rowCount === 0) await client.query(`create role ${name} ${attributes}`);
  if (password !== undefined) await client.query(`alter role ${name} password '${password.replaceAll("'", "''")}'`);
}

export async function createDatabaseIfAbsent(
  superuser: Queryable,
  name: string,
  template = "template1",
): Promise<void> {
  const found = await superuser.query("select from pg_database where datname = $1", [name]);
  if (found.rowCount === 0) {
    await superuser.query(
      `create database ${quoteIdentifier(name)} owner ${OWNER_ROLE} template ${quoteIdentifier(template)}`,
    );
  }
}

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
