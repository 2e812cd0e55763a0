/** The options that open anchoring: the source of checkpoints, and the places of the anchors. */
import type { TenantId } from "@countersign/contract";
import type { Checkpoint } from "@countersign/proof";
import type { Clock } from "../../platform/index.js";
import type { Storage } from "../../storage/index.js";
import type { Anchor, LeafTile } from "./anchor.js";

export interface StoredCheckpoint {
  readonly incarnation: number;
  readonly checkpoint: Checkpoint;
}

/** The source of checkpoints and tiles for the anchors: the publisher. */
export interface AnchorSource {
  /** The newest stored checkpoint of a tenant, read from the database, not from memory. */
  latest(tenant: TenantId): Promise<StoredCheckpoint | undefined>;
  consistency(tenant: TenantId, from: number, to: number): Promise<readonly Uint8Array[]>;
  /** As `Submission.leafTiles`. */
  leafTiles(tenant: TenantId, fromSize: number, toSize: number): AsyncIterable<LeafTile>;
}

export interface AnchorsOptions {
  readonly storage: Pick<Storage, "inTenant">;
  readonly clock: Clock;
  readonly anchors: readonly Anchor[];
  readonly source: AnchorSource;
  /** How many must have confirmed before `degraded` is false. */
  readonly required?: number;
  /**
   * `anchor.failing`, `anchor.contradicts` (an alarm), `anchor.confirms_again`: with tenant, anchor, and the problem.
   */
  readonly report?: (event: string, details: Readonly<Record<string, unknown>>) => void;
  /** Runs something later; returns how to call it off. Tests hold the time. */
  readonly after?: (ms: number, run: () => void) => () => void;
  /** From 0 up to 1, for the pauses. */
  readonly chance?: () => number;
}
