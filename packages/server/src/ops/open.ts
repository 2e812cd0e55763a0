/**
 * Opens this machine's storage for a command that works beside a running server or in its absence, and closes it again.
 */
import type { TenantId } from "@countersign/contract";
import pg from "pg";
import { checkReferences } from "../change-sets/index.js";
import { loadConfiguration, startingBindings } from "../governance/index.js";
import { openLedger, type Ledger, type Snapshot } from "../ledger/index.js";
import {
  newId,
  openDataDirectory,
  openLog,
  openSealing,
  parseConfig,
  systemClock,
  type ProcessConfig,
} from "../platform/index.js";
import { assertSchemaCurrent, openStorage, type Storage } from "../storage/index.js";
import { deploymentTenant, openTenancy } from "../tenancy/index.js";
import { openVerification, type Verification } from "../verification/index.js";

export interface OfflineRequest {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly dataDirectory: string;
  /** Shown to another process that finds the data directory in use. */
  readonly doing: string;
}

/** Runs `work` on the database of this machine and closes it again. Throws RefusalError. */
export async function withStorage<T>(
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

export interface OpenedLedger {
  readonly storage: Storage;
  readonly config: ProcessConfig;
  readonly dataDirectory: string;
  readonly ledger: Ledger;
  readonly verification: Verification;
  /** All of the deployment, its own among them. */
  readonly tenants: readonly TenantId[];
}

/** As `withStorage`, with the ledger. Throws RefusalError `schema_behind` before anything is read. */
export function withLedger<T>(request: OfflineRequest, work: (opened: OpenedLedger) => Promise<T>): Promise<T> {
  return withStorage(request, async (storage, config, dataDirectory) => {
    await asOwner(storage, assertSchemaCurrent);
    const sealing = openSealing({
      dataDirectory,
      ...(config.sealingKeys === undefined ? {} : { keys: config.sealingKeys }),
    });
    const ledger = await openLedger({ storage, sealing, clock: systemClock });
    const verification = openVerification({
      ...{ storage, openBody: ledger.openBody, clock: systemClock },
      ...{ deploymentTenant, references: checkReferences },
    });
    const log = openLog({ level: "warn" });
    try {
      const roles = async (snapshot: Snapshot) => (await loadConfiguration(snapshot)).roles;
      const tenancy = openTenancy({ ledger, storage, clock: systemClock, newId, roles, startingBindings, log });
      return await work({ storage, config, dataDirectory, ledger, verification, tenants: await tenancy.tenants() });
    } finally {
      await ledger.close();
    }
  });
}

export async function asOwner<T>(storage: Storage, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client(storage.ownerLogin);
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
