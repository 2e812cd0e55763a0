/**
 * What the command line does without a server: verify the ledgers of a database, bring its schema up and down. Opens storage
 * and ledger as they are, beside a running server or in its absence, and reads; only `migrate` changes anything.
 */
import { existsSync } from "node:fs";
import { asTenantId, isUuid, refused, RefusalError, type TenantId } from "@countersign/contract";
import pg from "pg";
import {
  escapeName,
  loadConfiguration,
  startingBindings,
  startingConfiguration,
  type StartingDocument,
} from "../governance/index.js";
import { openLedger, type Snapshot, type TenantReport, type VerifyProgress } from "../ledger/index.js";
import {
  newId,
  openDataDirectory,
  openLog,
  openSealing,
  parseConfig,
  systemClock,
  type ProcessConfig,
} from "../platform/index.js";
import {
  assertSchemaCurrent,
  createMigration,
  migrateDown,
  migrateUp,
  migrationStatus,
  openStorage,
  type MigrationStatus,
  type Storage,
} from "../storage/index.js";
import { openTenancy } from "../tenancy/index.js";

export { escapeName, startingConfiguration, type StartingDocument };
export { createMigration, type MigrationStatus, type TenantReport, type VerifyProgress };

export interface OfflineRequest {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly dataDirectory: string;
  /** Whoever finds the data directory taken is told this. */
  readonly doing: string;
}

/** Whether there is a database to open without making one. */
export function hasDatabase(request: Pick<OfflineRequest, "env" | "dataDirectory">): boolean {
  return (request.env["DATABASE_URL"] ?? "") !== "" || existsSync(request.dataDirectory);
}

/** Runs `work` on the database of this machine and closes it again. Throws RefusalError. */
async function withStorage<T>(
  request: OfflineRequest,
  work: (storage: Storage, config: ProcessConfig, dataDirectory: string) => Promise<T>,
): Promise<T> {
  const config = parseConfig(request.env);
  const dataDirectory = openDataDirectory(request.dataDirectory);
  const { databaseUrl, applicationDatabaseUrl } = config;
  const storage = await openStorage({
    dataDirectory,
    databaseUrl,
    applicationDatabaseUrl,
    doing: request.doing,
    mayJoin: true,
  });
  try {
    return await work(storage, config, dataDirectory);
  } finally {
    await storage.close();
  }
}

export interface VerifyRequest extends OfflineRequest {
  /** One tenant; else all of the deployment. */
  readonly tenant?: string;
  readonly from?: number;
  readonly onTenant?: (tenant: string) => void;
  readonly onProgress?: (progress: VerifyProgress) => void;
}

/** Verifies ledgers, reading the database itself. A database that cannot be read is a RefusalError or `undecided`, never tampered. */
export function verifyDatabase(request: VerifyRequest): Promise<TenantReport[]> {
  if (request.tenant !== undefined && !isUuid(request.tenant))
    throw new RefusalError(refused("invalid_request", `\`${request.tenant}\` is no tenant id`));
  return withStorage(request, async (storage, config, dataDirectory) => {
    await asOwner(storage, assertSchemaCurrent);
    const sealing = openSealing({
      dataDirectory,
      ...(config.sealingKeys === undefined ? {} : { keys: config.sealingKeys }),
    });
    const ledger = await openLedger({ storage, sealing, clock: systemClock });
    const log = openLog({ level: "warn" });
    try {
      const roles = async (snapshot: Snapshot) => (await loadConfiguration(snapshot)).roles;
      const tenancy = openTenancy({ ledger, storage, clock: systemClock, newId, roles, startingBindings, log });
      const all = await tenancy.tenants();
      const wanted: readonly TenantId[] = request.tenant === undefined ? all : [asTenantId(request.tenant)];
      const reports: TenantReport[] = [];
      for (const tenant of wanted) {
        request.onTenant?.(tenant);
        const { from, onProgress } = request;
        reports.push(
          await ledger.verifyTenant(tenant, {
            otherTenants: all.filter((other) => other !== tenant),
            ...(from === undefined ? {} : { from }),
            ...(onProgress === undefined ? {} : { onProgress }),
          }),
        );
      }
      return reports;
    } finally {
      await ledger.close();
    }
  });
}

const runOptions = { appVersion: "0.1.0" };

export function migrate(request: OfflineRequest, direction: "up"): Promise<string[]>;
export function migrate(
  request: OfflineRequest,
  direction: "down",
  steps: number,
  confirmed: boolean,
): Promise<string[]>;
export function migrate(
  request: OfflineRequest,
  direction: "up" | "down",
  steps = 1,
  confirmed = false,
): Promise<string[]> {
  return withStorage(request, (storage) =>
    asOwner(storage, (client) => {
      const options = { ...runOptions, nowMs: () => systemClock.nowMs() };
      return direction === "up" ? migrateUp(client, options) : migrateDown(client, { ...options, steps, confirmed });
    }),
  );
}

export function migrations(request: OfflineRequest): Promise<MigrationStatus> {
  return withStorage(request, (storage) => asOwner(storage, migrationStatus));
}

async function asOwner<T>(storage: Storage, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(storage.ownerLogin);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
