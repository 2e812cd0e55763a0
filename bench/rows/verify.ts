/**
 * Verifying a chain in the database, against the least that reading it can cost (its rows by COPY, thrown away) and against the
 * least that checking it can cost (the hash of the same bytes, in memory).
 */
import { hash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { asTenantId, type TenantId } from "../../packages/contract/src/index.js";
import { entryContentText } from "../../packages/proof/src/index.js";
import { openPublishing } from "../../packages/server/src/publishing/index.js";
import { verifyTenant } from "../../packages/server/src/verification/index.js";
import { newId, systemClock, systemRandom } from "../../packages/server/src/platform/index.js";
import { deploymentTenant } from "../../packages/server/src/tenancy/index.js";
import { withClient } from "../postgres.js";
import type { Bench, BenchDatabase, Measured, Row, Sample } from "../row.js";
import { openBenchLedger } from "./commit.js";

const entriesMax = Number(process.env["COUNTERSIGN_BENCH_ENTRIES"] ?? 1_000_000);
const batch = 5_000;

let filled: Promise<{ database: BenchDatabase; tenant: TenantId; bytes: number }> | undefined;

/** A ledger appended by the database's own function, 5,000 entries at a time; made once, for all rows of this file. */
async function fill(bench: Bench): Promise<{ database: BenchDatabase; tenant: TenantId; bytes: number }> {
  const database = await bench.database();
  const tenant = asTenantId(newId());
  let bytes = 0;
  const actor = { type: "agent", id: newId(), humans: [newId()] } as const;
  await withClient(database.app, async (client) => {
    await client.query("select set_config('app.tenants', $1, false)", [`{${tenant}}`]);
    for (let done = 0; done < entriesMax; done += batch) {
      const [ids, contents]: [string[], string[]] = [[], []];
      for (let i = 0; i < batch; i++) {
        const id = newId();
        const nonce = Buffer.from(systemRandom(16)).toString("hex");
        const data = { revision: 3, digest: nonce.repeat(2), decision: "APPROVED", padding: nonce.repeat(8) };
        const text = entryContentText({
          id,
          nonce,
          at: 1,
          actor,
          action: "change_set.approved",
          subject: { type: "change_set", id },
          data,
        });
        bytes += text.length;
        ids.push(id);
        contents.push(text);
      }
      await client.query(
        `select countersign.append_entries($1, $2, array_fill(1, array[$5::integer]), $3, $4,
           array_fill('change_set.approved'::text, array[$5::integer]), array_fill($6::text, array[$5::integer]), $3::uuid[]::text[], '{}', '{}', '{}')`,
        [Date.now(), [tenant], ids, contents, batch, actor.id],
      );
      if (done % 100_000 === 0) bench.progress(`filling: ${done} of ${entriesMax}`);
    }
  });
  await withClient(database.superuser, (client) => client.query("vacuum analyze countersign.entries"));
  return { database, tenant, bytes };
}

/** The database is for all rows of this file; it goes with the cluster. */
const stays = (): Promise<void> => Promise.resolve();

const openBody = (): never => {
  throw new Error("there are no bodies here");
};

async function verified(database: BenchDatabase, tenant: TenantId): Promise<Sample> {
  const before = process.memoryUsage().rss;
  const begin = performance.now();
  const report = await verifyTenant({ login: database.app, openBody }, tenant, { state: false });
  const ms = performance.now() - begin;
  if (report.integrity !== "ok" || report.entries !== entriesMax)
    throw new Error(`not verified: ${JSON.stringify(report.findings)}`);
  // Constant memory: what a million entries need more than a thousand is buffers, not entries.
  const grownMb = (process.memoryUsage().rss - before) / 1e6;
  if (grownMb > 200) throw new Error(`memory grew by ${grownMb.toFixed(0)} MB`);
  return { value: (report.entries * 1000) / ms };
}

async function copied(database: BenchDatabase, tenant: TenantId): Promise<Sample> {
  const statement = `select seq, time_ms, entry_id, prev, content, content_hash, hash from countersign.entries where tenant_id = '${tenant}' order by seq`;
  return withClient(database.app, async (client) => {
    await client.query("select set_config('app.tenants', $1, false)", [`{${tenant}}`]);
    const begin = performance.now();
    await discard(client, `copy (${statement}) to stdout (format binary)`);
    return { value: (entriesMax * 1000) / (performance.now() - begin) };
  });
}

/** Reads a copy and looks at nothing. */
async function discard(client: pg.Client, text: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const nothing = (): void => undefined;
    const query = {
      submit: (connection: { query(text: string): void }): void => connection.query(text),
      handleCopyData: nothing,
      handleCommandComplete: nothing,
      handleRowDescription: nothing,
      handleDataRow: nothing,
      handleEmptyQuery: nothing,
      handleReadyForQuery: resolve,
      handleError: reject,
    };
    client.query(query as unknown as pg.Submittable);
  });
}

async function measureAgainstCopy(bench: Bench): Promise<Measured> {
  const { database, tenant } = await (filled ??= fill(bench));
  return { ours: () => verified(database, tenant), reference: () => copied(database, tenant), close: stays };
}

async function measureAgainstHash(bench: Bench): Promise<Measured> {
  const { database, tenant, bytes } = await (filled ??= fill(bench));
  const piece = Buffer.alloc(Math.round(bytes / entriesMax), "x");
  const link = Buffer.alloc(200, "y");
  const hashed = (): Sample => {
    const begin = performance.now();
    for (let i = 0; i < entriesMax; i++) {
      hash("sha256", piece, "hex");
      hash("sha256", link, "hex");
    }
    return { value: (entriesMax * 1000) / (performance.now() - begin) };
  };
  return { ours: () => verified(database, tenant), reference: () => Promise.resolve(hashed()), close: stays };
}

/** The longest beginning of the chain that is verified within 200 ms, found by trying. */
async function measureIn200ms(bench: Bench): Promise<Measured> {
  const { database, tenant } = await (filled ??= fill(bench));
  const ours = async (): Promise<Sample> => {
    let [entries, longest] = [Math.min(80_000, entriesMax), 0];
    for (let tries = 0; tries < 5; tries++) {
      const begin = performance.now();
      const report = await verifyTenant({ login: database.app, openBody }, tenant, { to: entries - 1, state: false });
      const ms = performance.now() - begin;
      if (report.integrity !== "ok" || report.entries !== entries) throw new Error("not verified");
      if (ms <= 200) longest = Math.max(longest, entries);
      entries = Math.min(entriesMax, Math.max(1_000, Math.floor((entries * 195) / ms)));
    }
    return { value: longest };
  };
  return { ours, close: stays };
}

let published: Promise<(size: number) => Promise<Uint8Array>> | undefined;

/** Publishes the filled ledger, so that tiles are stored as in use. Gives the root of its tree at a size. */
async function publish(bench: Bench): Promise<(size: number) => Promise<Uint8Array>> {
  const { database, tenant } = await (filled ??= fill(bench));
  const folder = mkdtempSync(join(tmpdir(), "countersign-bench-log-"));
  const ledger = await openBenchLedger(database);
  const publishing = openPublishing({
    ...{ storage: database.storage, ledger, clock: systemClock, deploymentTenant, folder },
    tenants: () => Promise.resolve([deploymentTenant, tenant]),
  });
  publishing.start();
  // So many entries at once take longer than a caller is kept waiting.
  for (let tries = 1; !(await publishing.publish(tenant).then(() => true, triedBefore(tries))); tries++);
  await publishing.stop();
  await ledger.close();
  rmSync(folder, { recursive: true });
  await withClient(database.superuser, (client) => client.query("vacuum analyze"));
  return async (size) => (await publishing.edge(tenant, size)).root();
}

/** Not yet; or, tried often enough, why. */
function triedBefore(tries: number): (cause: Error) => false {
  return (cause) => {
    if (tries >= 60) throw cause;
    return false;
  };
}

/** From a checkpoint that somebody kept: only what came after it is read, and the tree before it is shown by its tiles. */
async function measureSince(bench: Bench, after: number): Promise<Measured> {
  const { database, tenant } = await (filled ??= fill(bench));
  const size = Math.max(1, entriesMax - after);
  const root = await (await (published ??= publish(bench)))(size);
  const ours = async (): Promise<Sample> => {
    const begin = performance.now();
    const report = await verifyTenant({ login: database.app, openBody }, tenant, {
      since: { size, root },
      state: false,
    });
    const value = performance.now() - begin;
    if (report.integrity !== "ok" || report.base?.size !== size || report.entries !== entriesMax - size)
      throw new Error(`not verified: ${JSON.stringify(report.findings)} ${report.undecided ?? ""}`);
    return { value };
  };
  return { ours, close: stays };
}

const since = (after: number): Row => ({
  name: `verify-since-${after}`,
  work: `verified from a checkpoint ${after.toLocaleString("en")} entries ago, connection included`,
  unit: "ms",
  conditions: `${entriesMax.toLocaleString("en")} entries of about 800 bytes, one tenant, published`,
  referenceIs: "",
  goal: { text: "≤ 200 ms", valueMax: 200 },
  prepare: (bench) => measureSince(bench, after),
});

const conditions = `${entriesMax.toLocaleString("en")} entries of about 800 bytes, one tenant, one connection, chain only`;

export const verifyRows: readonly Row[] = [
  {
    name: "verify-db",
    work: "the chain verified from the database",
    unit: "entries/s",
    conditions,
    referenceIs: "COPY of the same columns, thrown away",
    goal: { text: "≥ 0.9×, constant memory", ratioMin: 0.9 },
    prepare: measureAgainstCopy,
  },
  {
    name: "verify-db-hash",
    work: "the chain verified from the database",
    unit: "entries/s",
    conditions,
    referenceIs: "crypto.hash of the same bytes in memory",
    goal: { text: "≥ 0.3×", ratioMin: 0.3 },
    prepare: measureAgainstHash,
  },
  {
    name: "verify-200ms",
    work: "entries verified within 200 ms, connection included",
    unit: "entries",
    conditions,
    referenceIs: "",
    goal: { text: "≥ 80,000", valueMin: 80_000 },
    prepare: measureIn200ms,
  },
  since(100),
  since(10_000),
];
