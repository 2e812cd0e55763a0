/**
 * What a verifier brings along: keys, a policy, and what places out of the ledger's reach know of it. Made by a loader
 * (`load.ts`, the page for the browser), never taken from what is verified; where each part came from is printed.
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
  /** It lies inside what is verified, so it proves nothing. */
  readonly sameSource?: boolean;
}

export interface Trust {
  readonly policy?: Policy | undefined;
  /** Path of the policy file, or `none`. */
  readonly policySource: string;
  /** The policy itself lies inside what is verified. */
  readonly policySameSource?: boolean;
  /** Signed key statements the verifier knows besides those of the ledger. */
  readonly keyStatements: readonly string[];
  readonly anchors: readonly AnchorView[];
  /** The policy's demand must cover the last entry. */
  readonly requireAnchored?: boolean;
}

/** Nothing is trusted, nothing is demanded. */
export const noTrust: Trust = { policySource: "none", keyStatements: [], anchors: [] };
