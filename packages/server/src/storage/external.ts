/**
 * A PostgreSQL of the operator's own, by DATABASE_URL.
 *
 * The URL's user becomes the owner: it owns the schema and runs migrations. It needs `create` on the database, and
 * either `createrole` or an administrator who runs the three statements that the refusal names. The server works as
 * `countersign_app`: the same login that switches to that role when a connection opens, or, if APP_DATABASE_URL gives
 * one, a login of its own (then a stolen server connection cannot switch back).
 *
 * Promises: versions below PostgreSQL 15, and encodings other than UTF8, are refused before anything is written.
 */
import pg from "pg";
import { connectionLost, unavailable } from "./connections.js";
import { failure } from "./failure.js";
import { readServerFacts, type Queryable, type ServerFacts } from "./queries.js";
import { APPLICATION_ROLE, LEDGER_ROLE, roleStatements } from "./roles.js";

export interface External {
  readonly owner: pg.ClientConfig;
  readonly application: pg.ClientConfig;
  readonly facts: ServerFacts;
}

const VERSION_MIN = 150_000;

export async function openExternal(databaseUrl: string, applicationUrl?: string): Promise<External> {
  const client = new pg.Client({
    connectionString: databaseUrl,
    connectionTimeoutMillis: 10_000,
    application_name: "countersign start",
  });
  client.on("error", () => undefined); // reported by the query that meets it
  try {
    await client.connect();
    const facts = await readServerFacts(client);
    refuseUnsuitable(facts);
    await ensureRoles(client, facts);
    await refuseWithoutCreate(client, facts);
    return {
      facts,
      owner: { connectionString: databaseUrl },
      application: { connectionString: applicationUrl ?? switchingUrl(databaseUrl) },
    };
  } catch (error) {
    throw connectionLost(error) ? unavailable(error) : error;
  } finally {
    await client.end().catch(() => undefined); // never connected: nothing to end
  }
}

export function refuseUnsuitable(
  facts: Pick<ServerFacts, "versionNumber" | "version" | "encoding" | "database">,
): void {
  if (facts.versionNumber < VERSION_MIN) {
    throw failure(
      "postgres_unsupported",
      `the server of DATABASE_URL is PostgreSQL \`${facts.version}\`; 15 or newer is needed: upgrade it, or unset DATABASE_URL to use the embedded one`,
    );
  }
  if (facts.encoding !== "UTF8") {
    throw failure(
      "postgres_unsupported",
      `the database \`${facts.database}\` has the encoding \`${facts.encoding}\`; create one with \`create database ${facts.database}_utf8 encoding 'UTF8' template template0\` and name it in DATABASE_URL`,
    );
  }
}

/** The same login, working as the application's role from the first statement on. */
export function switchingUrl(databaseUrl: string): string {
  // libpq allows an empty host beside ?host=/socket; a URL parser does not, and the parameter wins over a host.
  const url = new URL(databaseUrl.replace("@/", "@localhost/"));
  const options = [url.searchParams.get("options"), `-c role=${APPLICATION_ROLE}`]
    .filter((part) => part !== null)
    .join(" ");
  url.searchParams.set("options", options);
  // URLSearchParams writes a space as +, which libpq takes for a plus.
  return url.href.replace(url.search, url.search.replaceAll("+", "%20"));
}

async function ensureRoles(client: Queryable, facts: ServerFacts): Promise<void> {
  try {
    for (const [role, kind] of [
      [LEDGER_ROLE, "nologin"],
      [APPLICATION_ROLE, "login"],
    ] as const) {
      const found = await client.query("select from pg_roles where rolname = $1", [role]);
      if (found.rowCount === 0) await createRole(client, role, kind);
      if (!(await maySwitchTo(client, role, facts))) await client.query(`grant ${role} to current_user`);
    }
  } catch (error) {
    if ((error as { code?: string }).code !== "42501") throw error;
    throw failure(
      "postgres_unsupported",
      `the user \`${facts.user}\` of DATABASE_URL may not create or grant the roles Countersign needs; have an administrator run (leave out what exists): ${roleStatements(facts.user).join(" ")}`,
      { cause: error },
    );
  }
}

async function createRole(client: Queryable, role: string, kind: string): Promise<void> {
  try {
    await client.query(`create role ${role} ${kind}`);
  } catch (error) {
    // 42710, 23505: another Countersign on this cluster was first. Roles are shared by its databases.
    const { code } = error as { code?: string };
    if (code !== "42710" && code !== "23505") throw error;
  }
}

async function maySwitchTo(client: Queryable, role: string, facts: ServerFacts): Promise<boolean> {
  // Since PostgreSQL 16 membership alone does not allow `set role`.
  const privilege = facts.versionNumber >= 160_000 ? "set" : "member";
  const found = await client.query<{ may: boolean }>("select pg_has_role(current_user, $1, $2) as may", [
    role,
    privilege,
  ]);
  return found.rows[0]?.may === true;
}

async function refuseWithoutCreate(client: Queryable, facts: ServerFacts): Promise<void> {
  const found = await client.query<{ may: boolean }>(`
    select has_database_privilege(current_database(), 'create')
        or exists (select from pg_namespace where nspname = 'countersign' and pg_has_role(nspowner, 'usage')) as may`);
  if (found.rows[0]?.may === true) return;
  throw failure(
    "postgres_unsupported",
    `the user \`${facts.user}\` may not create a schema in \`${facts.database}\`; have an administrator run: grant create on database "${facts.database}" to "${facts.user}";`,
  );
}
