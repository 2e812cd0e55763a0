/**
 * The facts learnt while reading, for the code that judges them. Readers (`verdict.ts`, `receipt.ts`) make them from
 * recomputed values. Types only.
 */
import type { Checkpoint } from "./checkpoint.js";
import type { Trust } from "./trust.js";

/** A signed `ledger.restored` entry, its signature not yet checked. */
export interface Restore {
  /** Its entry. */
  readonly by: number;
  /** The incarnation that began. */
  readonly incarnation: number;
  /** Of which ledger it was stated: a statement about another excuses nothing here. */
  readonly previousOrigin: string;
  readonly previousIncarnation: number;
  /** Entries kept, and entries the publisher remembered. */
  readonly size: number;
  readonly root: Uint8Array;
  readonly lostSize: number;
  /** False: the root it names is not that of the entries kept. */
  readonly rootHolds: boolean;
  /** The key (base64url) that is said to have signed it, and whether it did. */
  readonly key: string;
  isSigned(): boolean;
}

/** Everything that was learnt while reading. */
export interface Evidence {
  readonly tenant: string;
  /** Undefined: not known (bundles of version 1). */
  readonly deployment: string | undefined;
  readonly trust: Trust;
  readonly readFrom: "database" | "bundle";
  /** Entries `from` to `size` − 1 were read in order. */
  readonly from: number;
  readonly size: number;
  /** The reading ends where the ledger ends (or claims to): if a place knows more entries, entries were lost. */
  readonly reachesEnd: boolean;
  /** The reading reached its intended end, so proofs from there are meaningful. */
  readonly complete: boolean;
  /** When the bundle was exported: checkpoints that others received later do not count against it. Undefined: now. */
  readonly readAtMs: number | undefined;
  /** A selection: its entries are in this tree. */
  readonly selection: { readonly size: number; readonly root: Uint8Array } | undefined;
  rootAt(size: number): Uint8Array | undefined;
  /** First leaf that is another than in the leaf tiles of `trust.anchors[i]`. */
  firstDifferent(i: number): number | undefined;
  /** From this entry on hashes are already known to be wrong: another root says nothing new. Infinity: nowhere. */
  readonly damagedFrom: number;
  /** Undefined: there is no table of them. */
  readonly own: readonly Checkpoint[] | undefined;
  readonly ownStatements: readonly string[];
  /** By size, for own checkpoints larger than the part that was read: proofs that they continue it. */
  readonly consistency: ReadonlyMap<number, readonly Uint8Array[]>;
  /** The head that the deployment's ledger recorded. */
  readonly recordedHead: { readonly size: number; readonly root: Uint8Array; readonly seq: number } | undefined;
  readonly restores: readonly Restore[];
  /** Everything was read, and nothing was found. */
  readonly holds: boolean;
}
