/** Publishers over a test database and a key directory of their own. */
import { cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { isRefusal, RefusalError, type TenantId } from "@countersign/contract";
import type { JsonObject } from "@countersign/proof";
import { afterEach } from "vitest";
import { type Ledger } from "../../src/ledger/index.js";
import {
  openPublishing,
  type Publishing,
  type PublishingOptions,
  type RestoreParts,
} from "../../src/publishing/index.js";
import { systemClock } from "../../src/platform/index.js";
import { deploymentTenant } from "../../src/tenancy/index.js";
import { commit, committed, entry, newTenant, openTestLedger, type TestLedger } from "./ledger.js";
import { createDatabase, temporaryDirectory, withClient, type TestDatabase } from "./postgres.js";

const closers: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close();
});

export interface Bench {
  readonly database: TestDatabase;
  readonly ledger: TestLedger;
  readonly folder: string;
  readonly tenant: TenantId;
  readonly tenants: readonly TenantId[];
  readonly reports: [event: string, details: Readonly<Record<string, unknown>>][];
  /** For the operator's commands. */
  readonly parts: RestoreParts;
  open(options?: Partial<PublishingOptions>): Publishing;
  /** Opened and started. */
  publisher(options?: Partial<PublishingOptions>): Publishing;
  /** Commits entries, in as few groups as may be. */
  fill(count: number, tenant?: TenantId): Promise<void>;
  /** `data` of the entries of an action, oldest first. */
  recorded(tenant: TenantId, action: string): Promise<JsonObject[]>;
  /** As a superuser, with triggers off: what a thief of the database does. */
  tamper(...statements: string[]): Promise<void>;
}

export async function bench(
  given: { database?: TestDatabase; folder?: string; tenants?: readonly TenantId[] } = {},
): Promise<Bench> {
  const database = given.database ?? (await createDatabase());
  const ledger = await openTestLedger(database.storage);
  closers.push(() => ledger.close());
  const folder = given.folder ?? join(temporaryDirectory(), "log-keys");
  const tenant = given.tenants?.[1] ?? newTenant();
  const tenants = given.tenants ?? [deploymentTenant, tenant];
  const reports: Bench["reports"] = [];
  const parts: RestoreParts = {
    ...{ folder, storage: database.storage, ledger, deploymentTenant, clock: systemClock },
    actor: { type: "system", id: deploymentTenant, humans: [] },
    tenants: () => Promise.resolve(tenants),
  };
  const open = (options: Partial<PublishingOptions> = {}): Publishing => {
    const publishing = openPublishing({
      ...{ storage: database.storage, ledger, clock: systemClock, deploymentTenant, folder },
      tenants: () => Promise.resolve(tenants),
      report: (event, details) => reports.push([event, details]),
      ...{ intervalMs: 10, leaseMs: 200, headsEveryMs: 1_000_000 },
      ...options,
    });
    closers.push(() => publishing.stop());
    return publishing;
  };
  return {
    ...{ database, ledger, folder, tenant, tenants, reports, parts, open },
    publisher: (options) => {
      const publishing = open(options);
      publishing.start();
      return publishing;
    },
    fill: (count, of = tenant) => fill(ledger, of, count),
    recorded: (of, action) => recorded(ledger, of, action),
    tamper: (...statements) =>
      withClient(database.superuser, async (client) => {
        await client.query("set session_replication_role = replica");
        for (const statement of statements) await client.query(statement);
      }),
  };
}

const together = 200;

export async function fill(ledger: Ledger, tenant: TenantId, count: number): Promise<void> {
  const groups: Promise<unknown>[] = [];
  for (let left = count; left > 0; left -= together) {
    const entries = Array.from({ length: Math.min(together, left) }, () => entry());
    groups.push(committed(commit(ledger, tenant, { entries })));
  }
  await Promise.all(groups);
}

async function recorded(ledger: Ledger, tenant: TenantId, action: string): Promise<JsonObject[]> {
  const { entries } = await ledger.auditLog(tenant, { actions: [action], order: "oldest", limit: 200 });
  return entries.map(({ data }) => data);
}

/** Another copy of a key directory, as it is now. */
export function copyFolder(folder: string): string {
  const copy = join(temporaryDirectory(), "log-keys");
  mkdirSync(copy, { mode: 0o700 });
  cpSync(folder, copy, { recursive: true });
  return copy;
}

/** The code a promise is refused with, and the message. */
export async function refusal(work: Promise<unknown>): Promise<[code: string, message: string]> {
  const outcome = await work.then(
    (value) => value,
    (error: unknown) => error,
  );
  if (outcome instanceof RefusalError) return [outcome.refusal.code, outcome.refusal.message];
  if (isRefusal(outcome)) return [outcome.code, outcome.message];
  throw new Error(
    `not refused: ${outcome instanceof Error ? (outcome.stack ?? outcome.message) : JSON.stringify(outcome)}`,
  );
}

/** Resolves when `seen` does; looks again after every commit-sized moment. */
export async function until<T>(seen: () => T | undefined | Promise<T | undefined>): Promise<T> {
  for (;;) {
    const found = await seen();
    if (found !== undefined) return found;
    await new Promise((resolve) => setImmediate(resolve));
  }
}
