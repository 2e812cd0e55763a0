/**
 * The standing of each anchor of each tenant, remembered in `anchor_states` and shown. It is only an operational
 * memory: each anchor itself knows its checkpoints. So a lost or forged row delays work, and hides nothing from a
 * verifier that asks the anchors themselves.
 */
import type { AnchorKind } from "./anchor.js";

/** new: nothing confirmed yet · ok · failing: retried · contradicts: an alarm, somebody has to look. */
export type AnchorStanding = "new" | "ok" | "failing" | "contradicts";

/** One row of `anchor_states` (tenant_id, anchor): columns are these, in snake_case; sizes and times bigint, texts text. */
export interface AnchorState {
  readonly anchor: string;
  readonly incarnation: number;
  readonly standing: AnchorStanding;
  /** Size last confirmed, 0: none. */
  readonly size: number;
  readonly confirmedMs: number | null;
  /** Size the publisher offered last. */
  readonly wanted: number;
  /** Submissions ever. */
  readonly attempts: number;
  /** Failed ones since the last confirmed. */
  readonly failures: number;
  /** Since when it has been failing or contradicting. */
  readonly sinceMs: number | null;
  readonly lastError: string | null;
  /** When it is tried again. */
  readonly nextMs: number | null;
}

/** For readiness, metrics and `countersign anchors list`. */
export interface AnchorStatus extends AnchorState {
  readonly tenant: string;
  readonly kind: AnchorKind;
  readonly location: string;
}
