/**
 * The command line's work without a server: verify the ledgers of a database, bring its schema up and down. Opens
 * storage and ledger, beside a running server or in its absence, and only reads; only `migrate` changes anything.
 */
import { accessSync, constants, readFileSync } from "node:fs";
import { asTenantId, isUuid, refused, RefusalError, type TenantId } from "@countersign/contract";
import { exitCodeOf, exitCodes, parseCheckpoint, parseOrigin, type Checkpoint, type Trust } from "@countersign/proof";
import { loadTrust, readKeyStatements, readPolicyFile, type LedgerName } from "@countersign/proof/load";
import { escapeName, startingConfiguration, type StartingDocument } from "../governance/index.js";
import {
  ledgerSize,
  readDeploymentRecord,
  type TenantReport,
  type VerifyProgress,
  type VerifyTenantOptions,
} from "../verification/index.js";
import { systemClock } from "../platform/index.js";
import {
  createMigration,
  hasEmbeddedCluster,
  migrateDown,
  migrateUp,
  migrationStatus,
  type MigrationStatus,
  type Storage,
} from "../storage/index.js";
import { deploymentTenant } from "../tenancy/index.js";
import { type ArchiveCheck, checkArchive } from "../retention/index.js";
import { asOwner, withLedger, withStorage, type OfflineRequest } from "./open.js";

export type { OfflineRequest } from "./open.js";
export { escapeName, startingConfiguration, type StartingDocument };
export { createMigration, type MigrationStatus, type TenantReport, type VerifyProgress };

/** Whether there is a database to open without making one. */
export function hasDatabase(request: Pick<OfflineRequest, "env" | "dataDirectory">): boolean {
  if ((request.env["DATABASE_URL"] ?? "") !== "") return true;
  try {
    accessSync(request.dataDirectory, constants.R_OK | constants.X_OK);
  } catch (error) {
    // If the folder belongs to another user, opening it reports the owner.
    return (error as NodeJS.ErrnoException).code !== "ENOENT";
  }
  return hasEmbeddedCluster(request.dataDirectory);
}

export interface VerifyRequest extends OfflineRequest {
  /** One tenant; when left out, all tenants of the deployment, and those that its ledger knows. */
  readonly tenant?: string | undefined;
  readonly from?: number | undefined;
  readonly to?: number | undefined;
  /** Path of a policy file: keys, anchors, and the demanded quorum. */
  readonly policy?: string | undefined;
  /** The policy's demand must cover the last entry. */
  readonly requireAnchored?: boolean | undefined;
  /** Path of key statements that the verifier kept. */
  readonly keys?: string | undefined;
  /** Reads only the entries after the largest size that anchors of the policy confirm. */
  readonly sinceAnchor?: boolean | undefined;
  /** Verify the ledger at an earlier size: a number, or the path of a checkpoint. */
  readonly asOf?: string | undefined;
  /** Opens every body and checks its commitment. */
  readonly bodies?: boolean | undefined;
  readonly onTenant?: (tenant: string) => void;
  readonly onProgress?: (progress: VerifyProgress) => void;
}

/** Verifies ledgers, reading the database itself. A database that cannot be read is a RefusalError or `undecided`, never tampered. */
export function verifyDatabase(request: VerifyRequest): Promise<TenantReport[]> {
  const brought = whatIsBrought(request);
  return withLedger(request, async ({ verification, tenants: all, storage, config, dataDirectory }) => {
    const record = await readDeploymentRecord(storage.applicationLogin, deploymentTenant);
    // A tenant that the deployment's ledger knows and its directory does not: its ledger went with it.
    const known = new Set<TenantId>([...all, ...[...record.heads.keys()].map(asTenantId)]);
    const asked = request.tenant === undefined ? [...known] : [await tenantAsked(request.tenant, known, storage)];
    const wanted = await ledgersThatReach(asked, brought.range.asOf, (tenant) =>
      ledgerSize(storage.applicationLogin, tenant),
    );
    const forbidden = [dataDirectory, ...(config.logKeys === undefined ? [] : [config.logKeys])];
    const reports: TenantReport[] = [];
    let longest = 0;
    for (const tenant of wanted) {
      request.onTenant?.(tenant);
      // Loaded before the ledger is opened: an anchor read later may know more.
      const trust = brought.trustOf({ tenant, deployment: record.name }, forbidden);
      const otherTenants = all.filter((other) => other !== tenant);
      const { onProgress, from = -1, to = -1 } = request;
      const size = await ledgerSize(storage.applicationLogin, tenant);
      const { to: _, ...open } = brought.range;
      // A number alone is no evidence that there ever were so many entries. So all other evidence is read, to the end.
      const isBeyond = Math.max(from, to) >= size;
      const found = await verification.verifyTenant(tenant, {
        ...{ trust, record, otherTenants },
        ...(isBeyond ? open : brought.range),
        ...(onProgress === undefined ? {} : { onProgress }),
      });
      longest = Math.max(longest, size);
      if (!isBeyond || exitCodeOf(found) !== exitCodes.ok) reports.push(found);
    }
    if (reports.length > 0 || wanted.length === 0) return reports;
    const { from, to } = request;
    throw new RefusalError(
      refused(
        "invalid_request",
        `no ledger asked for has an entry \`${to ?? from ?? 0}\`; the longest has ${longest} entries`,
      ),
    );
  });
}

/** Tenants that a message names at most. */
const namedMax = 10;

/** One that is known, or of which there are entries all the same. Throws RefusalError: of any other nothing could be said. */
async function tenantAsked(
  asked: string,
  known: ReadonlySet<TenantId>,
  { applicationLogin }: Pick<Storage, "applicationLogin">,
): Promise<TenantId> {
  const tenant = isUuid(asked) ? asTenantId(asked) : undefined;
  if (tenant !== undefined && (known.has(tenant) || (await ledgerSize(applicationLogin, tenant)) > 0)) return tenant;
  const some = [...known].slice(0, namedMax).map((one) => `\`${one}\``);
  const others = known.size > some.length ? ` and ${known.size - some.length} more` : "";
  const there = `this database has ${some.join(", ")}${others}`;
  throw new RefusalError(
    tenant === undefined
      ? refused("invalid_request", `\`${asked}\` is no tenant id, which is a UUID; ${there}`)
      : refused("not_found", `there is no tenant \`${asked}\`; ${there}`),
  );
}

/**
 * A checkpoint is of one ledger, and nothing is said of the others. A number alone is no evidence that there ever were so many
 * entries: ledgers that have fewer are left out, never called cut off. Throws RefusalError if none is left.
 */
async function ledgersThatReach(
  tenants: readonly TenantId[],
  asOf: number | Checkpoint | undefined,
  sizeOf: (tenant: TenantId) => Promise<number>,
): Promise<readonly TenantId[]> {
  if (asOf === undefined) return tenants;
  if (typeof asOf !== "number") {
    const tenant = parseOrigin(asOf.origin)?.tenant;
    const its = tenants.filter((one) => one === tenant);
    if (its.length > 0) return its;
    throw new RefusalError(
      refused("invalid_request", `the checkpoint is of \`${asOf.origin}\`, which is not among the ledgers asked for`),
    );
  }
  const reached: TenantId[] = [];
  let most = 0;
  for (const tenant of tenants) {
    const size = await sizeOf(tenant);
    most = Math.max(most, size);
    if (size >= asOf) reached.push(tenant);
  }
  if (reached.length > 0) return reached;
  throw new RefusalError(
    refused("invalid_request", `no ledger asked for has ${asOf} entries; the longest has ${most}`),
  );
}

interface Brought {
  readonly trustOf: (ledger: LedgerName, forbidden: readonly string[]) => Trust;
  readonly range: Pick<VerifyTenantOptions, "from" | "to" | "since" | "asOf" | "bodies">;
}

/** Checked before anything is opened, so a mistyped path is reported at once. */
function whatIsBrought({ policy, keys, requireAnchored, ...request }: VerifyRequest): Brought {
  const keyStatements = keys === undefined ? [] : usable(keys, () => readKeyStatements(keys));
  if (policy !== undefined) usable(policy, () => readPolicyFile(policy));
  const { from, to, sinceAnchor, asOf, bodies } = request;
  return {
    trustOf: (ledger, forbidden) =>
      loadTrust({
        ...{ policyPath: policy, ledger, forbidden, keyStatements },
        ...(requireAnchored === undefined ? {} : { requireAnchored }),
      }),
    range: {
      ...(from === undefined ? {} : { from }),
      ...(to === undefined ? {} : { to }),
      ...(bodies === undefined ? {} : { bodies }),
      ...(sinceAnchor === true ? { since: "anchor" as const } : {}),
      ...(asOf === undefined ? {} : { asOf: readAsOf(asOf) }),
    },
  };
}

function readAsOf(asOf: string): number | Checkpoint {
  if (/^\d{1,16}$/.test(asOf)) return Number(asOf);
  const parsed = parseCheckpoint(usable(asOf, () => readFileSync(asOf)));
  if (parsed.ok) return parsed.checkpoint;
  throw new RefusalError(
    refused("invalid_request", `\`${asOf}\` is neither a size nor a checkpoint: ${parsed.problem}`),
  );
}

function usable<T>(path: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new RefusalError(refused("invalid_request", why.includes(path) ? why : `\`${path}\`: ${why}`), { cause });
  }
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

/** An archive's file against the ledger of this machine's database. */
export function verifyArchive(
  request: OfflineRequest,
  asked: { readonly path: string; readonly tenant?: string | undefined },
): Promise<ArchiveCheck> {
  if (asked.tenant !== undefined && !isUuid(asked.tenant))
    throw new RefusalError(refused("invalid_request", `\`${asked.tenant}\` is no tenant id`));
  const tenant = asked.tenant === undefined ? undefined : asTenantId(asked.tenant);
  return withStorage(request, (storage) => checkArchive(storage.applicationLogin, asked.path, tenant));
}
