/** What the verifier expects of the ledger's definitions is what the migrations make, whatever the version of PostgreSQL. */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { expectedDefinitions } from "../../src/verification/definitions.generated.js";
import { definitionsSource, readDefinitions } from "../../src/verification/definitions.js";
import { createDatabase, withClient } from "../support/postgres.js";

const file = fileURLToPath(new URL("../../src/verification/definitions.generated.ts", import.meta.url));

test("definitions.generated.ts is what the migrations make", async () => {
  const database = await createDatabase();
  const made = await withClient(database.app, readDefinitions);
  if (process.env["COUNTERSIGN_GENERATE"] === "1") writeFileSync(file, definitionsSource(made));
  else expect(expectedDefinitions).toEqual(made);
});
