import { expect, test } from "vitest";
import { createDatabase } from "./support/postgres.js";

test("smoke", async () => {
  let t = performance.now();
  const lap = (what: string): void => { console.log(what, Math.round(performance.now() - t)); t = performance.now(); };
  const u = await createDatabase({ migrated: false });
  lap("first");
  console.log(await u.storage.describe(), u.appUrl);
  lap("describe");
  const d = await createDatabase(); lap("migrated");
  await createDatabase(); lap("again");
  const r = await d.storage.withSnapshot("00000000-0000-7000-8000-000000000001", async (c) => (await c.query("select current_user, current_setting('app.tenants') t, current_setting('transaction_read_only') ro, count(*) from countersign.entries")).rows);
  expect(r).toEqual([{ current_user: "countersign_app", t: "{00000000-0000-7000-8000-000000000001}", ro: "on", count: "0" }]);
  lap("snapshot");
});
