/** A verification that is given up ends, whatever it is just doing: a stop of the server waits for it. */
import type { TenantId } from "@countersign/contract";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { verifyTenant } from "../../src/verification/index.js";
import { checkReferences } from "../../src/change-sets/index.js";
import { commit, committed, newTenant, openTestLedger, type TestLedger } from "../support/ledger.js";
import { lineTo, type Line } from "../support/line.js";
import { createDatabase, type TestDatabase } from "../support/postgres.js";

let database: TestDatabase;
let ledger: TestLedger;
let tenant: TenantId;
let line: Line;

beforeAll(async () => {
  database = await createDatabase();
  ledger = await openTestLedger(database.storage);
  tenant = newTenant();
  for (let n = 0; n < 3; n++) await committed(commit(ledger, tenant));
  line = await lineTo(database.app);
});
afterAll(async () => {
  line.close();
  await ledger.close();
});

const openBody = (): never => {
  throw new Error("there are no bodies here");
};

describe("given up while a connection is being made", () => {
  const verify = (signal?: AbortSignal) =>
    verifyTenant(
      { login: line.login, openBody, references: checkReferences },
      tenant,
      signal === undefined ? {} : { signal },
    );
  let needed = 0;

  it("a whole verification takes some connections", async () => {
    line.began = (connection) => {
      needed = connection;
      return false;
    };
    expect(await verify()).toMatchObject({ integrity: "ok", entries: 3 });
    expect(needed).toBe(3);
  });

  it.each([1, 2, 3])("connection %i", async (which) => {
    const controller = new AbortController();
    line.began = (connection) => {
      if (connection === which) controller.abort(new Error("the server is stopping"));
      return connection === which;
    };
    expect(await verify(controller.signal)).toMatchObject({ integrity: "undecided", findings: [] });
  });
});
