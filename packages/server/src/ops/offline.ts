/**
 * What the command line does without a server: verify the ledgers of a database, bring its schema up and down. Opens storage
 * and ledger as they are, beside a running server or in its absence, and reads; only `migrate` changes anything.
 */
import { existsSync } from "node:fs";
import { asTenantId, isUuid, refused, RefusalError, type TenantId } from "@countersign/contract";
import { escapeName, startingConfiguration, type StartingDocument } from "../governance/index.js";
import type { TenantReport, VerifyProgress } from "../ledger/index.js";
import { systemClock } from "../platform/index.js";
import { createMigration, migrateDown, migrateUp, migrationStatus, type MigrationStatus } from "../storage/index.js";
import { asOwner, withLedger, withStorage, type OfflineRequest } from "./open.js";

export type { OfflineRequest } from "./open.js";
export { escapeName, startingConfiguration, type StartingDocument };
export { createMigration, type MigrationStatus, type TenantReport, type VerifyProgress };

/** Whether there is a database to open without making one. */
export function hasDatabase(request: Pick<OfflineRequest, "env" | "dataDirectory">): boolean {
  return (request.env["DATABASE_URL"] ?? "") !== "" || existsSync(request.dataDirectory);
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
  return withLedger(request, async ({ ledger, tenants: all }) => {
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
