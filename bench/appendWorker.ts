/** A server process that appends: `node appendWorker.mjs LOGIN TENANT WRITERS MS GROUPS_IN_FLIGHT`. Waits for a line on standard input, prints what it did. */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import type pg from "pg";
import { asTenantId } from "../packages/contract/src/index.js";
import { openLedger } from "../packages/server/src/ledger/index.js";
import { sealingWith, systemClock } from "../packages/server/src/platform/index.js";
import { storageOver } from "../packages/server/src/storage/index.js";
import { throughput } from "./row.js";
import { commit } from "./rows/append.js";

const [loginText = "{}", tenantText = "", writers = "1", ms = "1000", groupsInFlight = "1"] = process.argv.slice(2);
const login = JSON.parse(loginText) as pg.ClientConfig;
const tenant = asTenantId(tenantText);
const storage = storageOver({ kind: "external", how: "connected", at: "bench", owner: login, application: login });
const ledger = await openLedger({
  storage,
  sealing: sealingWith([randomBytes(32)]),
  clock: systemClock,
  groupsInFlight: Number(groupsInFlight),
});
const append = (): Promise<void> => commit(ledger, tenant, { subject: "bench", writes: [] });
// Warm: plans and connections are there when it counts. Then together with the others.
await throughput(Number(writers), 300, append);
console.log("ready");
await once(process.stdin, "data");
const before = ledger.stats().changes;
const sample = await throughput(Number(writers), Number(ms), append);
const after = ledger.stats();
await ledger.close();
await storage.close();
console.log(
  JSON.stringify({ rate: sample.value, p99Ms: sample.p99Ms, changes: after.changes, measured: after.changes - before }),
);
process.exit(0);
