/**
 * The schema in readable form, made from the catalogue of a migrated database (the embedded PostgreSQL ships no
 * pg_dump). `schema.sql` is this text; a check compares them, so the file always shows the schema that the migrations
 * make.
 */
import * as queries from "./queries.js";

const header = "-- Made by `npm run schema` from a migrated database. Do not edit: write a migration.\n";

export async function dumpSchema(client: queries.Queryable): Promise<string> {
  // Names are written in full, whatever the session's search path.
  await client.query("set search_path to ''");
  try {
    const statements = await queries.readSchemaStatements(client);
    return `${header}\n${statements.join("\n\n")}\n`;
  } finally {
    await client.query("reset search_path");
  }
}
