/**
 * Verification: a tenant's ledger held against itself, against what was published of it and against the rows it accounts for;
 * and what a stranger verifies it by: bundles and receipts.
 *
 * Promises: it reads and changes nothing · it trusts neither the database nor this process's memory of it · what nobody
 * touched gives no finding, and what cannot be read is `undecided`, never tampered.
 */
import type { TenantId } from "@countersign/contract";
import type { OpenBody, Snapshot } from "../ledger/index.js";
import type { Clock } from "../platform/index.js";
import type { Storage } from "../storage/index.js";
import { entryReceipt, exportBundle, findEntry, type EntryReceipt, type ExportOptions, type Place } from "./export.js";
import type { ReferenceCheck } from "./verifyState.js";
import { verifyTenant, type TenantReport, type VerifyTenantOptions } from "./verifyTenant.js";

export type { EntryReceipt, ExportOptions, Place, Selection } from "./export.js";
export { readDeploymentRecord, type DeploymentRecord, type KnownTree } from "./verifyLog.js";
export type { ReferenceCheck } from "./verifyState.js";
export { verifyView } from "./view.js";
export {
  ledgerSize,
  verifyTenant,
  type TenantReport,
  type VerifyProgress,
  type VerifyTenantOptions,
} from "./verifyTenant.js";

export interface VerificationOptions {
  readonly storage: Pick<Storage, "applicationLogin">;
  /** The ledger's: bodies are sealed with its keys. */
  readonly openBody: OpenBody;
  readonly clock: Clock;
  /** Its ledger records the keys of the log and the heads of all others: it is asked for them. */
  readonly deploymentTenant?: TenantId;
  /** Finds what rows cite and is something else now. */
  readonly references?: ReferenceCheck;
}

export interface Verification {
  /** A range or a selection as a bundle, in pieces. Throws RefusalError `not_found`, `database_unavailable`. */
  exportBundle(tenant: TenantId, options: ExportOptions): AsyncIterable<string>;
  /** Where an entry is, by its number or id; undefined when there is none. */
  findEntry(snapshot: Snapshot, name: string): Promise<Place | undefined>;
  /** What shows that an entry is in the ledger; undefined while no checkpoint covers it. */
  receiptOf(snapshot: Snapshot, place: Place, keyStatements: readonly string[]): Promise<EntryReceipt | undefined>;
  /** Verifies a tenant's chain and, from 0 on, definitions, columns, counters and state. Never throws: what cannot be read is `undecided`. */
  verifyTenant(tenant: TenantId, options?: VerifyTenantOptions): Promise<TenantReport>;
  /** `verifyTenant` with everything, bodies and format included. For tests: `findings` is empty. */
  checkTenant(tenant: TenantId): Promise<TenantReport>;
}

export function openVerification(options: VerificationOptions): Verification {
  const { storage, openBody, clock, deploymentTenant, references } = options;
  const login = storage.applicationLogin;
  const parts = { login, openBody, deploymentTenant, references };
  return {
    exportBundle: (tenant, given) => exportBundle({ login, nowMs: clock.nowMs(), openBody }, tenant, given),
    findEntry: (read, name) => findEntry(read.query, read.tenant, name),
    receiptOf: (read, place, keyStatements) => entryReceipt(read.query, read.tenant, place, keyStatements),
    verifyTenant: (tenant, given) => verifyTenant(parts, tenant, given),
    checkTenant: (tenant) => verifyTenant(parts, tenant, { bodies: true, thorough: true }),
  };
}
