/**
 * Publishing: signed checkpoints of every tenant's ledger, their tiles and proofs.
 *
 * Promises: no checkpoint is signed that contradicts an earlier one, whatever happens to the database · only stored
 * checkpoints are served · no commit waits for publishing · without usable keys everything can still be read, and
 * `status` says why nothing is signed.
 */
import type { TenantId } from "@countersign/contract";
import { parseOrigin, type Checkpoint, type NoteSigner, type RightEdge, type Tile } from "@countersign/proof";
import type { Clock } from "../platform/index.js";
import type { Storage } from "../storage/index.js";
import type { Door } from "./ports.js";
import type { Anchors, AnchorSource, AnchorStatus } from "./anchors/index.js";
import { failure } from "./failure.js";
import { recordedStatements } from "./keyChanges.js";
import { KeyRing } from "./keys.js";
import { leaseMsDefault } from "./lease.js";
import { Reader, type InclusionProof, type ProofsAt, type Published } from "./proofs.js";
import { Publisher, type PublisherStatus } from "./publisher.js";
import type { Step } from "./tenantLog.js";
import { TileRoots } from "./tree.js";

export {
  type AnchorKind,
  type Anchors,
  anchorsFrom,
  type AnchorSpec,
  anchorSpecs,
  type AnchorStatus,
  openAnchors,
} from "./anchors/index.js";
export { recordedStatements } from "./keyChanges.js";
export { cosigned, type InclusionProof, type ProofsAt, type Published } from "./proofs.js";
export type { PublisherStatus, TenantStatus } from "./publisher.js";
export * from "./custody.js";
export { checkpointSeries, latestCheckpoint, receiptsOfMany, statement, type CheckpointRow } from "./queries.js";
export { parseRow } from "./tenantLog.js";
export { rootOfTile, TileRoots, Tree } from "./tree.js";
export { readStanding, type AnchorReach, type LedgerStanding } from "./standing.js";

export interface PublishingOptions {
  readonly storage: Pick<Storage, "app" | "withSnapshot" | "inTenant">;
  readonly ledger: Door;
  readonly clock: Clock;
  /** The tenant whose ledger is the deployment's own. */
  readonly deploymentTenant: TenantId;
  /** Of the deployment, its own among them. */
  readonly tenants: () => Promise<readonly TenantId[]>;
  /** The key directory. */
  readonly folder: string;
  /** Signs instead of the file `key` there. */
  readonly signer?: NoteSigner | undefined;
  /** Takes checkpoints out of the database's reach. Closed with `stop`. */
  readonly anchors?: ((source: AnchorSource) => Anchors) | undefined;
  readonly report?: (event: string, details: Readonly<Record<string, unknown>>) => void;
  /** Between two checkpoints of a tenant; 1000. */
  readonly intervalMs?: number;
  /** How long others wait for a process that was killed; 10000. */
  readonly leaseMs?: number;
  /** Between two records of all heads in the deployment's ledger; 60000. */
  readonly headsEveryMs?: number;
  /** For tests that kill the process between two steps. */
  readonly atStep?: (step: Step, tenant: TenantId) => void;
}

export interface PublishingStatus extends PublisherStatus {
  /** Name of the deployment; null while no key was ever made. */
  readonly deployment: string | null;
  /** The current key. */
  readonly key: { readonly publicKey: string; readonly number: number } | null;
  readonly anchors: readonly AnchorStatus[];
  /** Too few anchors have confirmed, or one contradicts. */
  readonly anchorsDegraded: boolean;
}

export interface Publishing {
  /** Begins to publish. Does not wait: the first checkpoint follows within a second. */
  start(): void;
  stop(): Promise<void>;
  status(): PublishingStatus;
  /** Name of the deployment, from the key directory or the ledger. Throws `not_published` when there is none yet. */
  deployment(): Promise<string>;
  /**
   * A stored checkpoint that covers every entry there is now; waits for the publisher, of this process or another, to have
   * looked. Throws `publishing_stopped`, `not_published`.
   */
  publish(tenant: TenantId): Promise<Published>;
  /** The newest stored checkpoint, with the cosignatures that are there. */
  latest(tenant: TenantId): Promise<Published | undefined>;
  /** Checkpoints of every incarnation of this deployment, ascending, thinned evenly to `limit`; without cosignatures. */
  checkpoints(tenant: TenantId, limit?: number): Promise<readonly Published[]>;
  /** Undefined: outside of the newest checkpoint's tree. */
  tile(tenant: TenantId, tile: Tile): Promise<Uint8Array | undefined>;
  /** Throws `not_found`, and what `publish` throws while no checkpoint covers the entry. */
  prove(tenant: TenantId, seq: number): Promise<InclusionProof & { readonly checkpoint: Checkpoint }>;
  /** At most 1000, all against one checkpoint. */
  proveMany(tenant: TenantId, seqs: readonly number[]): Promise<ProofsAt>;
  consistency(tenant: TenantId, from: number, to: number): Promise<readonly Uint8Array[]>;
  /** The complete subtrees of the first `size` entries. */
  edge(tenant: TenantId, size: number): Promise<RightEdge>;
  /** Stored tiles of the tree of `size` that disagree with the entries; at most 1000. */
  tileDifferences(tenant: TenantId, size: number): AsyncIterable<{ readonly level: number; readonly index: number }>;
  /** Signed notes, oldest first, from the deployment's ledger. */
  keyStatements(): Promise<readonly string[]>;
}

const checkpointsDefault = 10_000;

export function openPublishing(options: PublishingOptions): Publishing {
  const { storage, ledger, clock, deploymentTenant, tenants, folder, signer } = options;
  const report = options.report ?? (() => undefined);
  const roots = new TileRoots();
  const reader = new Reader({ storage, roots, report });
  const anchors = options.anchors?.(reader.source());
  const actor = { type: "system", id: deploymentTenant, humans: [] } as const;
  const keys = new KeyRing({ folder, signer, storage, ledger, deploymentTenant, actor, clock });
  const publisher = new Publisher({
    ...{ storage, ledger, keys, roots, clock, deploymentTenant, tenants, anchors, actor, report },
    intervalMs: options.intervalMs ?? 1_000,
    leaseMs: options.leaseMs ?? leaseMsDefault,
    headsEveryMs: options.headsEveryMs ?? 60_000,
    atStep: options.atStep,
  });

  const deploymentOrNone = async (): Promise<string | undefined> =>
    keys.known?.deployment ?? (await recordedStatements({ storage, deploymentTenant })).deployment;
  const deployment = async (): Promise<string> => {
    const name = await deploymentOrNone();
    if (name !== undefined) return name;
    throw failure("not_published", "this deployment has no log key yet; the server makes one when it starts");
  };
  const proveMany = async (tenant: TenantId, seqs: readonly number[]): Promise<ProofsAt> => {
    const size = await reader.size(tenant);
    const missing = seqs.find((seq) => !Number.isSafeInteger(seq) || seq < 0 || seq >= size);
    if (missing !== undefined)
      throw failure("not_found", `there is no entry \`${missing}\`; the ledger has ${size} entries, from 0 on`);
    return publisher.until(tenant, () => reader.proveMany(tenant, seqs));
  };
  return {
    start: () => publisher.start(),
    stop: async () => {
      await publisher.stop();
      await anchors?.close();
    },
    status: () => {
      const { known } = keys;
      return {
        ...publisher.status(),
        deployment: known?.deployment ?? null,
        key: known === undefined ? null : { publicKey: known.signer.publicKey, number: known.number },
        anchors: anchors?.status() ?? [],
        anchorsDegraded: anchors?.degraded() ?? false,
      };
    },
    deployment,
    publish: async (tenant) => {
      const size = await reader.size(tenant);
      if (size === 0) throw failure("not_published", "the ledger has no entries");
      const covering = async (): Promise<Published | undefined> => {
        const newest = await reader.latest(tenant);
        // Larger than the ledger: it was cut, and the next round says so.
        const covers = newest !== undefined && newest.checkpoint.size >= size;
        return covers && newest.checkpoint.size <= (await reader.size(tenant)) ? newest : undefined;
      };
      return publisher.until(tenant, covering, "looked");
    },
    latest: (tenant) => reader.latest(tenant),
    checkpoints: async (tenant, limit = checkpointsDefault) => {
      // In a copied database the keys of the original deployment lie beside its own.
      const name = await deploymentOrNone();
      const all = await reader.series(tenant, limit);
      return all.filter(({ checkpoint }) => parseOrigin(checkpoint.origin)?.deployment === name);
    },
    tile: (tenant, tile) => reader.tile(tenant, tile),
    prove: async (tenant, seq) => {
      const { checkpoint, proofs } = await proveMany(tenant, [seq]);
      const [proof] = proofs;
      if (proof === undefined) throw new Error("one entry was asked for, and no proof came");
      return { ...proof, checkpoint };
    },
    proveMany,
    consistency: (tenant, from, to) => reader.consistency(tenant, from, to),
    edge: (tenant, size) => reader.edge(tenant, size),
    tileDifferences: (tenant, size) => reader.tileDifferences(tenant, size),
    keyStatements: async () => (await recordedStatements({ storage, deploymentTenant })).statements,
  };
}
