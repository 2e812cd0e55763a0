/** Publishing, on a real PostgreSQL and a real key directory: what is signed, what is refused, what comes back after each fault. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RefusalError, type TenantId } from "@countersign/contract";
import {
  isSignedBy,
  leafHashHex,
  parseOrigin,
  readKeyHistory,
  RightEdge,
  verifyInclusion,
  type Checkpoint,
} from "@countersign/proof";
import { afterEach, describe, expect, test } from "vitest";
import type { Ledger } from "../src/ledger/index.js";
import { openPublishing, type Publishing, type PublishingOptions } from "../src/ledger/publishing/index.js";
import { systemClock } from "../src/platform/index.js";
import { deploymentTenant } from "../src/tenancy/index.js";
import { commit, committed, entry, newTenant, openTestLedger } from "./support/ledger.js";
import { createDatabase, temporaryDirectory, type TestDatabase } from "./support/postgres.js";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close();
});

interface Bench {
  readonly database: TestDatabase;
  readonly ledger: Ledger;
  readonly folder: string;
  readonly tenants: TenantId[];
  readonly reports: [event: string, details: Readonly<Record<string, unknown>>][];
  open(options?: Partial<PublishingOptions>): Publishing;
}

async function bench(given: { database?: TestDatabase; folder?: string; tenants?: TenantId[] } = {}): Promise<Bench> {
  const database = given.database ?? (await createDatabase());
  const ledger = await openTestLedger(database.storage);
  closers.push(() => ledger.close());
  const folder = given.folder ?? join(temporaryDirectory(), "log-keys");
  const tenants = given.tenants ?? [deploymentTenant, newTenant()];
  const reports: Bench["reports"] = [];
  return {
    ...{ database, ledger, folder, tenants, reports },
    open: (options = {}) => {
      const publishing = openPublishing({
        ...{ storage: database.storage, ledger, clock: systemClock, deploymentTenant, folder },
        tenants: () => Promise.resolve(tenants),
        report: (event, details) => reports.push([event, details]),
        ...{ intervalMs: 20, leaseMs: 300, headsEveryMs: 1_000_000 },
        ...options,
      });
      closers.push(() => publishing.stop());
      return publishing;
    },
  };
}

async function started(on: Bench, options: Partial<PublishingOptions> = {}): Promise<Publishing> {
  const publishing = on.open(options);
  publishing.start();
  return publishing;
}

const fill = async (on: Bench, tenant: TenantId, count: number): Promise<void> => {
  for (let done = 0; done < count; done += 200)
    await committed(
      commit(on.ledger, tenant, { entries: Array.from({ length: Math.min(200, count - done) }, () => entry()) }),
    );
};

test("a checkpoint is signed with the deployment's key, of the tree of the entries", async () => {
  const on = await bench();
  const tenant = on.tenants[1] as TenantId;
  await fill(on, tenant, 300);
  const publishing = await started(on);
  const { checkpoint, incarnation } = await publishing.publish(tenant);
  expect(incarnation).toBe(0);
  expect(checkpoint.size).toBe(300);
  expect(parseOrigin(checkpoint.origin)).toEqual({ deployment: await publishing.deployment(), tenant, incarnation: 0 });
  expect(isSignedBy(checkpoint, publishing.status().key?.publicKey ?? "")).toBe(true);
  const edge = new RightEdge();
  const { proofs } = await publishing.proveMany(tenant, [...Array(300).keys()]);
  for (const { leaf } of proofs) edge.append(Buffer.from(leafHashHex(leaf), "hex"));
  expect(Buffer.from(edge.root()).toString("hex")).toBe(Buffer.from(checkpoint.root).toString("hex"));
});
