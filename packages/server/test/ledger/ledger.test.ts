/** The door: what goes through it is there, once, chained; what does not leaves nothing. */
import { isRefusal } from "@countersign/contract";
import { contentHashHex, entryHashHex, zeroHash } from "@countersign/proof";
import { afterAll, beforeAll, expect, test } from "vitest";
import { moveEpoch } from "../../src/ledger/index.js";
import { commit, committed, entry, newTenant, openTestLedger, type TestLedger } from "../support/ledger.js";
import { createDatabase, type TestDatabase } from "../support/postgres.js";

let database: TestDatabase;
let ledger: TestLedger;

beforeAll(async () => {
  database = await createDatabase();
  ledger = await openTestLedger(database.storage);
});
afterAll(() => ledger.close());

interface Stored {
  seq: string;
  time_ms: string;
  prev: string;
  content: string;
  content_hash: string;
  hash: string;
}

async function stored(tenant: string): Promise<Stored[]> {
  return database.storage.withSnapshot(tenant, async (client) => {
    const text =
      "select seq, time_ms, encode(prev, 'hex') as prev, content, encode(content_hash, 'hex') as content_hash, encode(hash, 'hex') as hash from countersign.entries order by seq";
    return (await client.query<Stored & Record<string, unknown>>(text)).rows;
  });
}

test("entries are chained by the database as the format says", async () => {
  const tenant = newTenant();
  const receipts = await committed(
    commit(ledger, tenant, { entries: [entry(), entry({ body: { title: "Grüße \u{1f44b}" } }), entry()] }),
  );
  const rows = await stored(tenant);
  expect(rows.map((row) => row.hash)).toEqual(receipts.map((receipt) => receipt.hash));
  let prev = zeroHash;
  for (const [index, row] of rows.entries()) {
    expect(row.seq).toBe(String(index));
    expect(row.prev).toBe(prev);
    expect(row.content_hash).toBe(contentHashHex(row.content));
    prev = entryHashHex({ tenant, seq: index, timeMs: Number(row.time_ms), prev, contentHash: row.content_hash });
    expect(row.hash).toBe(prev);
  }
});

test("an epoch moves once, and whoever decided by its old value is told", async () => {
  const tenant = newTenant();
  await committed(commit(ledger, tenant, { entries: [entry({ writes: [moveEpoch("policy", 0)] })] }));
  const outcome = await commit(ledger, tenant, { guards: [{ kind: "epoch", name: "policy", value: 0 }] });
  expect(isRefusal(outcome) && outcome.code).toBe("conflict");
  await committed(
    commit(ledger, tenant, {
      guards: [{ kind: "epoch", name: "policy", value: 1 }],
      entries: [entry({ writes: [moveEpoch("policy", 1)] })],
    }),
  );
  expect(await ledger.snapshot(tenant, (snapshot) => snapshot.epoch("policy"))).toBe(2);
  expect(await stored(tenant)).toHaveLength(2);
});
