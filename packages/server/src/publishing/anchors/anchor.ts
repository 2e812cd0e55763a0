/**
 * The interface of anchors: places out of the database's reach that keep the state of a tenant's ledger.
 *
 * An anchor promises to keep a confirmed checkpoint, whatever happens to the database or to the anchor's own process.
 * And it never confirms two states of one log unless one continues the other. Every kind passes `exerciseAnchor`
 * (test/support/exercise-anchor.ts).
 */
import type { Checkpoint, Tile } from "@countersign/proof";

export const anchorKinds = ["file", "git", "witness"] as const;
export type AnchorKind = (typeof anchorKinds)[number];

/** A tile of leaf hashes: `bytes` are 32 for each of its `tile.width` leaves. */
export interface LeafTile {
  readonly tile: Tile;
  readonly bytes: Uint8Array;
}

export interface Submission {
  /** The log's name, first line of the checkpoint. */
  readonly origin: string;
  readonly checkpoint: Checkpoint;
  /** The size that the anchor confirmed last, as the submitter remembers it; 0: none. The anchor's own memory decides. */
  readonly anchored: number;
  /** RFC 6962 §2.1.2, from a smaller size to the checkpoint's. */
  consistency(from: number): Promise<readonly Uint8Array[]>;
  /**
   * The leaf tiles that hold leaves fromSize…toSize-1, in their order, each as wide as it is at `toSize`: only the last one can be
   * partial. The first one may begin before `fromSize`.
   */
  leafTiles(fromSize: number, toSize: number): AsyncIterable<LeafTile>;
}

export interface AnchorReceipt {
  /** The size of the anchor's newest checkpoint. */
  readonly size: number;
  /** The time, by the clock of the anchor that gave the receipt. */
  readonly atMs: number;
  /**
   * The receipt. A witness gives one or more signature lines of the note (they begin with `— ` and end with a newline).
   * A file or git anchor gives a line that says where the checkpoint is kept.
   */
  readonly receipt: string;
}

export interface Anchor {
  readonly name: string;
  readonly kind: AnchorKind;
  /** A path or an address, for people. Never holds a secret. */
  readonly location: string;
  /** At most one submission of a log in this time; absent: each checkpoint as it comes. */
  readonly everyMs?: number;
  /** Cuts off a submission under way: it fails like in an outage. */
  close?(): void;
  /**
   * Resolves when the checkpoint is kept for good. Submitting the same one again gives a receipt again.
   * Throws `AnchorContradiction` when this checkpoint does not continue the anchor's state. Any other error is an
   * outage: the checkpoint may or may not have been kept.
   */
  submit(submission: Submission): Promise<AnchorReceipt>;
}

/**
 * The anchor's state and the submitted checkpoint cannot both be true. A person must investigate: trying again does not
 * help.
 */
export class AnchorContradiction extends Error {
  override readonly name = "AnchorContradiction";
  readonly how: "smaller" | "other_root" | "inconsistent" | "rewritten";
  /** The size the anchor holds, where it could be learned. */
  readonly holds: number | undefined;
  constructor(how: AnchorContradiction["how"], holds: number | undefined, message: string) {
    super(message);
    this.how = how;
    this.holds = holds;
  }
}
