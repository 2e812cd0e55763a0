/**
 * Anchoring: takes the publisher's checkpoints to every configured anchor, each on its own, again and again until it has them.
 * Promises: a failing anchor is visible and never skipped; after an outage the newest checkpoint and every leaf tile since the
 * last confirmed one arrive; a contradiction is an alarm, not retried quietly; one slow anchor delays no other and no commit.
 */
import type { TenantId } from "@countersign/contract";
import type { Checkpoint } from "@countersign/proof";
import type { Clock } from "../../platform/index.js";
import type { Storage } from "../../storage/index.js";
import type { Anchor, LeafTile } from "./anchor.js";
import type { AnchorStatus } from "./states.js";

export * from "./anchor.js";
export type { AnchorStanding, AnchorState, AnchorStatus } from "./states.js";

/** Where the anchors get what they take away: the publisher. */
export interface AnchorSource {
  /** The newest stored checkpoint of a tenant, read from the database, not from memory. */
  latest(tenant: TenantId): Promise<{ readonly incarnation: number; readonly checkpoint: Checkpoint } | undefined>;
  consistency(tenant: TenantId, from: number, to: number): Promise<readonly Uint8Array[]>;
  /** As `Submission.leafTiles`. */
  leafTiles(tenant: TenantId, fromSize: number, toSize: number): AsyncIterable<LeafTile>;
}

export interface AnchorsOptions {
  readonly storage: Pick<Storage, "app" | "inTenant">;
  readonly clock: Clock;
  readonly anchors: readonly Anchor[];
  readonly source: AnchorSource;
  /** How many must have confirmed before `degraded` is false. */
  readonly required?: number;
  readonly report?: (event: string, details: Readonly<Record<string, unknown>>) => void;
}

export interface Anchors {
  /** A checkpoint was stored. Returns at once; each anchor takes the newest one when it is its turn. */
  offer(tenant: TenantId, stored: { readonly incarnation: number; readonly checkpoint: Checkpoint }): void;
  /** Another process publishes for this tenant from now on: nothing more is submitted for it from here. */
  release(tenant: TenantId): void;
  /** Of the tenants this process publishes for. */
  status(): readonly AnchorStatus[];
  /** True when, for some tenant, fewer anchors than required stand at `ok`, or any contradicts. */
  degraded(): boolean;
  /** Resolves when nothing is under way and nothing is due. */
  settled(): Promise<void>;
  /** Ends: what is under way is finished or cut off within seconds. */
  close(): Promise<void>;
}
