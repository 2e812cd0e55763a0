/**
 * A server process of its own that commits: `node ledgerWorker.mjs URL TENANT WRITERS TURNS NAME`. Every writer moves an epoch of
 * its own and, every fourth turn, one that all writers of all processes share. Prints what it was told as JSON.
 */
import { isRefusal, asTenantId } from "@countersign/contract";
import { newId, sealingWith, systemClock } from "../../src/platform/index.js";
import { storageOver } from "../../src/storage/index.js";
import { type DraftShape, moveEpoch, openLedger, type Receipt } from "../../src/ledger/index.js";

const [url = "", tenantText = "", writers = "1", turns = "1", name = "a"] = process.argv.slice(2);
const tenant = asTenantId(tenantText);
const login = { connectionString: url };
const storage = storageOver({ kind: "external", how: "connected", at: "test", owner: login, application: login });
const ledger = await openLedger<DraftShape>({
  storage,
  sealing: sealingWith([new Uint8Array(32).fill(7)]),
  clock: systemClock,
  groupsInFlight: 1,
});
const actor = { type: "service", id: newId(), humans: [newId()] } as const;
const receipts: Receipt[] = [];
let refused = 0;

async function write(epoch: string): Promise<void> {
  const outcome = await ledger.transact(
    tenant,
    (snapshot) => snapshot.epoch(epoch),
    (value) => ({
      kind: "change",
      change: {
        guards: [],
        entries: [
          { actor, action: "thing.moved", subject: { type: "thing", id: epoch }, writes: [moveEpoch(epoch, value)] },
        ],
      },
      result: undefined,
    }),
  );
  if (isRefusal(outcome)) refused += 1;
  else if (outcome.kind === "committed") receipts.push(...outcome.receipts);
}

await Promise.all(
  Array.from({ length: Number(writers) }, async (_, writer) => {
    for (let turn = 0; turn < Number(turns); turn++)
      await write(turn % 4 === 3 ? "target:shared" : `target:${name}:${writer}`);
  }),
);
const stats = ledger.stats();
await ledger.close();
await storage.close();
console.log(JSON.stringify({ receipts, refused, stats }));
