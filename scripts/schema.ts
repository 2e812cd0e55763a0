/**
 * Writes packages/server/schema.sql from a throw-away migrated database; with `--check` only compares, and exits 1 where they differ.
 * Run by `npm run schema`.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { openDataDirectory } from "../packages/server/src/platform/index.js";
import { startEmbedded } from "../packages/server/src/storage/embedded.js";
import { dumpSchema, migrateUp } from "../packages/server/src/storage/index.js";

const file = fileURLToPath(new URL("../packages/server/schema.sql", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "cs-schema-"));
const embedded = await startEmbedded(openDataDirectory(scratch), { settings: ["fsync=off"] });
try {
  const client = new pg.Client(embedded.owner);
  await client.connect();
  await migrateUp(client, { appVersion: "schema", nowMs: Date.now });
  const schema = await dumpSchema(client);
  await client.end();
  if (!process.argv.includes("--check")) writeFileSync(file, schema);
  else if (readFileSync(file, "utf8") !== schema) {
    console.error(
      "`packages/server/schema.sql` does not show what the migrations make; run `npm run schema` and commit it",
    );
    process.exitCode = 1;
  }
} finally {
  await embedded.stop();
  rmSync(scratch, { recursive: true, force: true });
}
