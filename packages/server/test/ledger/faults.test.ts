/** PostgreSQL is stopped at once, under load, again and again. What was acknowledged is there, whole, once; then all goes on. */
import { isRefusal, type TenantId } from "@countersign/contract";
import { afterAll, beforeAll, expect, test } from "vitest";
import { moveEpoch, type Outcome, type Receipt } from "../../src/ledger/index.js";
import { startEmbedded, type Embedded } from "../../src/storage/embedded.js";
import { actor, commit, committed, entry, newTenant, openTestLedger, type TestLedger } from "../support/ledger.js";
import { startTestPostgres, testSettings, type TestDatabase, type TestPostgres } from "../support/postgres.js";

// A server of somebody else's is not ours to kill.
const external = (process.env["COUNTERSIGN_TEST_DATABASE_URL"] ?? "") !== "";
let postgres: TestPostgres;
let running: Embedded | undefined;
let database: TestDatabase;
let ledger: TestLedger;

beforeAll(async () => {
  if (external) return;
  postgres = await startTestPostgres();
  running = postgres.embedded;
  database = await postgres.createDatabase();
  ledger = await openTestLedger(database.storage);
});
afterAll(async () => {
  if (external) return;
  await ledger.close();
  await running?.stop();
  await postgres.close();
});

async function restart(): Promise<void> {
  running = await startEmbedded(postgres.dataDirectory ?? "", { settings: testSettings });
}

function stopAtOnce(signal: NodeJS.Signals): void {
  process.kill(running?.cluster.pid ?? NaN, signal);
}

/** Moves a writer's own epoch, and says in a second entry that it did: half of it must never be there. */
function move(tenant: TenantId, name: string): Promise<Outcome<undefined>> {
  const about = { actor, subject: { type: "thing", id: name } };
  return ledger.transact(
    tenant,
    (snapshot) => snapshot.epoch(name),
    (value) => ({
      kind: "change",
      change: {
        guards: [],
        entries: [
          { ...about, action: "thing.moved", writes: [moveEpoch(name, value)] },
          { ...about, action: "thing.announced", data: { value: value + 1 } },
        ],
      },
      result: undefined,
    }),
  );
}

test.skipIf(external).each(["SIGQUIT", "SIGKILL", "SIGQUIT"] as const)("stopped by %s under load", async (signal) => {
  const tenants = [newTenant(), newTenant(), newTenant()];
  const receipts: Receipt[] = [];
  const codes = new Set<string>();
  let [acknowledged, phase]: [number, "before" | "stopped" | "after"] = [0, "before"];
  let enough: () => void = () => undefined;
  const loaded = new Promise<void>((resolve) => (enough = resolve));
  const writers = Array.from({ length: 32 }, async (_, index) => {
    const tenant = tenants[index % 3] as TenantId;
    // Until this writer was served again after the restart.
    for (let served = false; !served;) {
      const asked = phase;
      const outcome = await move(tenant, `target:${index}`);
      if (isRefusal(outcome)) {
        codes.add(outcome.code);
        expect(outcome).toMatchObject({ code: "database_unavailable", retryAfterSeconds: 2 });
        await new Promise((resolve) => setTimeout(resolve, 20));
      } else if (outcome.kind === "committed") {
        receipts.push(...outcome.receipts);
        served = asked === "after";
        if (++acknowledged === 300) enough();
      }
    }
  });
  await loaded;
  stopAtOnce(signal);
  phase = "stopped";
  await restart();
  phase = "after";
  await Promise.all(writers);
  expect([...codes]).toEqual(codes.size === 0 ? [] : ["database_unavailable"]);
  for (const tenant of tenants) {
    const mine = receipts.filter((receipt) => receipt.tenant === tenant).sort((a, b) => a.seq - b.seq);
    const stored = await ledger.snapshot(tenant, (snapshot) =>
      snapshot.query<Record<string, string>>({
        name: "all",
        text: "select entry_id, encode(hash, 'hex') as hash, meta ->> 'action' as action from countersign.entries order by seq",
        values: [],
      }),
    );
    // Nothing acknowledged is lost; and as every caller was answered truly, nothing is there that was not acknowledged.
    expect(stored.map(({ entry_id, hash }) => [entry_id, hash])).toEqual(
      mine.map(({ entryId, hash }) => [entryId, hash]),
    );
    expect(stored.filter(({ action }) => action === "thing.moved")).toHaveLength(stored.length / 2);
    expect((await ledger.checkTenant(tenant)).findings).toEqual([]);
  }
});

test.skipIf(external)(
  "away for longer: refused with a time to come back, undecided for the verifier, and then all goes on",
  async () => {
    const tenant = newTenant();
    await committed(commit(ledger, tenant));
    await running?.stop();
    const outcome = await move(tenant, "policy");
    expect(outcome).toMatchObject({ kind: "refused", code: "database_unavailable", retryAfterSeconds: 2 });
    // Without anything to load it waits at the door, not long.
    expect(await commit(ledger, tenant)).toMatchObject({ code: "database_unavailable", retryAfterSeconds: 2 });
    expect(await commit(ledger, tenant, { entries: [entry()] })).toMatchObject({ code: "database_unavailable" });
    await expect(ledger.auditLog(tenant, { limit: 1 })).rejects.toMatchObject({
      refusal: { code: "database_unavailable" },
    });
    expect(await ledger.verifyTenant(tenant)).toMatchObject({ integrity: "undecided", findings: [] });
    await restart();
    await committed(commit(ledger, tenant));
    await committed(move(tenant, "policy"));
    expect(await ledger.checkTenant(tenant)).toMatchObject({ findings: [], entries: 4 });
  },
);
