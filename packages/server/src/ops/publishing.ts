/** The log keys and the declaration of a restore, for the command line: beside a running server or in its absence. */
import { join } from "node:path";
import { refused, RefusalError } from "@countersign/contract";
import {
  initKeys,
  ledgerBegun,
  listKeys,
  repairStatements,
  restore,
  restoreAsClone,
  revokeKey,
  rotateKeys,
  type KeyList,
  type Restored,
  type RestoreParts,
} from "../publishing/index.js";
import { openDataDirectory, parseConfig, systemClock } from "../platform/index.js";
import { hasEmbeddedCluster } from "../storage/index.js";
import { deploymentTenant } from "../tenancy/index.js";
import { withLedger, type OfflineRequest, type OpenedLedger } from "./open.js";

export type { KeyList, ListedKey, Restored, RestoredLedger } from "../publishing/index.js";

/** Of the key directory in the data directory, where COUNTERSIGN_LOG_KEYS names no other. */
export const logKeysFolder = "log-keys";

function folderOf(request: OfflineRequest): string {
  const { logKeys } = parseConfig(request.env);
  return logKeys ?? join(openDataDirectory(request.dataDirectory), logKeysFolder);
}

function partsOf(request: OfflineRequest, { storage, ledger, tenants }: OpenedLedger): RestoreParts {
  return {
    ...{ folder: folderOf(request), storage, ledger, deploymentTenant, clock: systemClock },
    actor: { type: "system", id: deploymentTenant, humans: [] },
    tenants: () => Promise.resolve(tenants),
  };
}

/** With a database that the server has set up. */
function withKeys<T>(request: OfflineRequest, work: (parts: RestoreParts) => Promise<T>): Promise<T> {
  return withLedger(request, async (opened) => {
    const parts = partsOf(request, opened);
    if (await ledgerBegun(parts)) return work(parts);
    const message = "no server was ever started on this database; `countersign start` makes its first entries and keys";
    throw new RefusalError(refused("not_published", message));
  });
}

/** Uses the database if the server has set one up; otherwise the keys wait for its first start. */
async function withKeysOrFolder<T>(
  request: OfflineRequest,
  work: (parts: RestoreParts | undefined, folder: string) => Promise<T>,
): Promise<T> {
  const folder = folderOf(request);
  const external = (request.env["DATABASE_URL"] ?? "") !== "";
  if (!external && !hasEmbeddedCluster(request.dataDirectory)) return work(undefined, folder);
  try {
    return await withLedger(request, async (opened) => {
      const parts = partsOf(request, opened);
      return work((await ledgerBegun(parts)) ? parts : undefined, folder);
    });
  } catch (error) {
    if (error instanceof RefusalError && error.refusal.code === "schema_behind") return work(undefined, folder);
    throw error;
  }
}

/** Throws RefusalError, as all of these. */
export function initLogKeys(request: OfflineRequest, deployment: string | undefined): Promise<KeyList> {
  return withKeysOrFolder(request, (parts, folder) => initKeys({ folder, clock: systemClock }, deployment, parts));
}

export function listLogKeys(request: OfflineRequest): Promise<KeyList> {
  return withKeysOrFolder(request, (parts, folder) => listKeys({ folder, clock: systemClock }, parts));
}

export function rotateLogKey(request: OfflineRequest, reason: string): Promise<KeyList> {
  return withKeys(request, (parts) => rotateKeys(parts, { reason }));
}

export function revokeLogKey(
  request: OfflineRequest,
  asked: { readonly key: string; readonly sinceMs: number; readonly reason: string },
): Promise<KeyList> {
  return withKeys(request, (parts) => revokeKey(parts, asked));
}

export function repairLogKeys(request: OfflineRequest): Promise<KeyList> {
  return withKeys(request, (parts) => repairStatements(parts));
}

export function restoreLedgers(
  request: OfflineRequest,
  asked: { readonly reason: string; readonly asClone: boolean; readonly deployment?: string },
): Promise<Restored> {
  const { reason, asClone, deployment } = asked;
  return withKeys(request, (parts) =>
    asClone ? restoreAsClone(parts, { reason, deployment }) : restore(parts, { reason }),
  );
}
