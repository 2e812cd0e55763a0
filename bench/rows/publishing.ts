/**
 * What publishing costs those who commit: the work of `commit-1` with a publisher and a file anchor in the same process,
 * against the same work without. The publisher reads each entry's hash once more, hashes it into the tree, signs once a second
 * and flushes three small files; the anchor writes the leaf tiles.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { asTenantId } from "../../packages/contract/src/index.js";
import { type Ledger, type Write } from "../../packages/server/src/ledger/index.js";
import {
  anchorsFrom,
  openAnchors,
  openPublishing,
  anchorSpecs,
  type Publishing,
} from "../../packages/server/src/publishing/index.js";
import { newId, systemClock } from "../../packages/server/src/platform/index.js";
import { deploymentTenant } from "../../packages/server/src/tenancy/index.js";
import { throughput, type Bench, type Measured, type Row, type Sample } from "../row.js";
import { commit } from "./append.js";
import { openBenchLedger, prepareDatabase } from "./commit.js";

const writers = 32;
const roundMs = 3_000;

interface Side {
  round(): Promise<Sample>;
  close(): Promise<void>;
}

async function side(bench: Bench, folder: string | undefined): Promise<Side> {
  const database = await bench.database();
  await prepareDatabase(database);
  const ledger = await openBenchLedger(database);
  const tenant = asTenantId(newId());
  const rows = Array.from({ length: writers }, () => ({ id: newId(), version: 1 }));
  const table = "bench_rows" as Write["table"];
  const row = (id: string, amount: number): Write["row"] => ({ id, title: `row of ${id}`, amount });
  for (const { id } of rows)
    await commit(ledger, tenant, { subject: id, writes: [{ verb: "insert", table, row: row(id, 0) }] });
  const publishing =
    folder === undefined ? undefined : await publishingOver(database.storage, ledger, { tenant, folder });
  publishing?.start();
  await publishing?.publish(tenant);
  return {
    round: () =>
      throughput(writers, roundMs, async (caller, turn) => {
        const mine = rows[caller] as (typeof rows)[number];
        const write = { verb: "update", table, row: row(mine.id, turn), from: mine.version } as const;
        await commit(ledger, tenant, { subject: mine.id, writes: [write] });
        mine.version += 1;
      }),
    close: async () => {
      const published = await publishing?.publish(tenant);
      if (published !== undefined)
        bench.progress(
          `published ${published.checkpoint.size} entries, anchors ${JSON.stringify(publishing?.status().anchors)}`,
        );
      await publishing?.stop();
      await ledger.close();
      await database.close();
    },
  };
}

async function publishingOver(
  storage: Parameters<typeof openPublishing>[0]["storage"],
  ledger: Ledger,
  { tenant, folder }: { tenant: ReturnType<typeof asTenantId>; folder: string },
): Promise<Publishing> {
  const specs = await anchorSpecs({ dataDirectory: folder, lines: [`disk file:${join(folder, "anchor")}`] });
  return openPublishing({
    ...{ storage, ledger, clock: systemClock, deploymentTenant, folder: join(folder, "log-keys") },
    tenants: () => Promise.resolve([deploymentTenant, tenant]),
    anchors: (source) => openAnchors({ storage, clock: systemClock, source, anchors: anchorsFrom(specs, systemClock) }),
  });
}

async function measure(bench: Bench): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "countersign-bench-log-"));
  const [ours, reference] = [await side(bench, folder), await side(bench, undefined)];
  return {
    ours: () => ours.round(),
    reference: () => reference.round(),
    close: async () => {
      await ours.close();
      await reference.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

export const publishingRows: readonly Row[] = [
  {
    name: "publishing",
    work: "one versioned row update and one entry, published and anchored",
    unit: "commits/s",
    conditions: `${writers} writers, 1 tenant, a checkpoint a second, a file anchor`,
    referenceIs: "the same without a publisher",
    goal: { text: "≥ 0.95×", ratioMin: 0.95 },
    prepare: measure,
  },
];
