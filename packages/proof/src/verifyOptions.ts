/**
 * The verifier's input: the entries that must be there, facts about them from elsewhere, and the entries themselves.
 * Types only, shared by the readers of databases, bundles and receipts.
 *
 * INVARIANT: no option asserts that a check holds. A given fact is compared with the entries; if it is not given, the
 * result says which check could not be made.
 */
import type { Checkpoint } from "./checkpoint.js";
import type { EntryRows } from "./entryBytes.js";
import type { StoredEntry } from "./storedEntry.js";
import type { Summary } from "./summary.js";
import type { Trust } from "./trust.js";

export interface VerifyOptions {
  readonly tenant: string;
  /** First sequence number that must be there. Default 0. */
  readonly from?: number;
  /** Hash of entry `from - 1`, if known: otherwise the first link of a range cannot be checked. */
  readonly prevHash?: string;
  /** Last sequence number that must be there, if known. */
  readonly to?: number;
  /** Hash that entry `to` must have, if known. */
  readonly headHash?: string;
  /** Other tenants of the deployment: an entry whose hash fits one of them is named as moved. */
  readonly otherTenants?: readonly string[];
  /** Parses every content and holds it against the format, about twenty times slower. Default: votes and keys only. */
  readonly thorough?: boolean;
  /** Counts commitments whose body is not at hand. Default: false. */
  readonly countBodies?: boolean;
  /** Every body that was not erased is at hand: a missing body needs an entry that excuses it. Default: false. */
  readonly bodiesExpected?: boolean;
  /** Entries whose computed hashes are wanted, ascending: `hashes` of the result. */
  readonly hashesAt?: readonly number[];
  /** Told of every entry whose content holds. */
  readonly summary?: Summary;

  /** Keys and anchors, from elsewhere. Default: none. Load them before the ledger is opened: an anchor read later may know more. */
  readonly trust?: Trust;
  /** Name of the deployment: with the tenant, the origin of its checkpoints. */
  readonly deployment?: string;
  /** The ledger's own checkpoints, in any order; undefined where there is no place for them. At most some thousands. */
  readonly ownCheckpoints?: readonly Checkpoint[];
  /** The ledger's own key statements, in their order. */
  readonly ownKeyStatements?: readonly string[];
  /** By size: proofs that own checkpoints larger than the part to read continue it. */
  readonly consistency?: ReadonlyMap<number, readonly Uint8Array[]>;
  /** The head of this tenant that the deployment's ledger recorded last, in its entry `seq`. */
  readonly recordedHead?: { readonly size: number; readonly root: Uint8Array; readonly seq: number };
  /** The right edge of the tree of size `from`: without it a later range cannot be compared with checkpoints. */
  readonly leftEdge?: readonly Uint8Array[];
  /**
   * Follows the tree even if there is nothing to compare it with: then `head.root` is there. Default false: some 0.7 µs
   * an entry.
   */
  readonly withRoot?: boolean;
  /** Default `database`. */
  readonly readFrom?: "database" | "bundle";
  /** The last entry read is the ledger's last, or is claimed to be. Default: if `to` is not given. */
  readonly reachesEnd?: boolean;
  /** When the bundle was exported: checkpoints that anchors received later do not count against it. */
  readonly readAtMs?: number;
  /** Not a range: some entries, each with its proof to this tree. */
  readonly selection?: { readonly size: number; readonly root: Uint8Array };
  readonly findingsMax?: number;
  /** Milliseconds from any fixed point; default: durations are 0. */
  readonly clock?: () => number;
  /** Called every 65,536 entries. */
  readonly onProgress?: (entries: number, bytes: number) => void;
}

/** One entry, several, or several in the memory they arrived in, which is fastest. */
export type EntryBatch = StoredEntry | readonly StoredEntry[] | EntryRows;
/** Source of entries: one by one or in batches, at once or as they arrive. */
export type EntrySource = AsyncIterable<EntryBatch> | Iterable<EntryBatch>;
