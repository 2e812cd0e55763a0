/**
 * The verifier's own evidence: keys, a policy, and the knowledge of places out of the ledger's reach. A loader makes it
 * (`load.ts`, the page for the browser). It never comes from the data under verification, and the origin of each part
 * is printed.
 */
import type { Checkpoint } from "./checkpoint.js";
import type { Policy } from "./policy.js";

/** A checkpoint as some place holds it. */
export interface AnchoredCheckpoint {
  readonly checkpoint: Checkpoint;
  /** When that place took it, by its own clock; null if it does not say. */
  readonly atMs: number | null;
}

/** What one anchor knows. */
export interface AnchorView {
  /** As in the policy. */
  readonly name: string;
  readonly kind: string;
  readonly location: string;
  /** Of all origins of this ledger (its incarnations), ascending by size within each; at most 10,000: first, last, evenly between. */
  readonly checkpoints: readonly AnchoredCheckpoint[];
  /** Leaf hashes 256 · index …, at most 8192 bytes, of one origin. Must not throw. */
  readonly leafTile?: (index: number, origin: string) => Uint8Array | undefined;
  /** Why nothing could be read. */
  readonly unreadable?: string;
  /** The place lies inside the data under verification, so it proves nothing. */
  readonly sameSource?: boolean;
}

export interface Trust {
  readonly policy?: Policy | undefined;
  /** Path of the policy file, or `none`. */
  readonly policySource: string;
  /** The policy itself lies inside the data under verification. */
  readonly policySameSource?: boolean;
  /** Signed key statements the verifier knows besides those of the ledger. */
  readonly keyStatements: readonly string[];
  readonly anchors: readonly AnchorView[];
  /** The policy's demand must cover the last entry. */
  readonly requireAnchored?: boolean;
}

/** Nothing is trusted, nothing is demanded. */
export const noTrust: Trust = { policySource: "none", keyStatements: [], anchors: [] };
