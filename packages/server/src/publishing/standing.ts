/**
 * The size up to which a ledger is signed, and the size that each anchor has confirmed. Read from stored rows, beside a
 * publisher or in its absence. The anchors themselves are not asked.
 */
import { reachOf, readAnchorStates, type AnchorState, type Reach } from "./anchors/index.js";
import type { Snapshot } from "../ledger/index.js";
import { latestCheckpoint, ledgerSize, signedTimes, type CheckpointRow } from "./queries.js";

export interface AnchorReach extends AnchorState, Reach {
  /** When the checkpoint was signed that it confirmed last; null: none. */
  readonly checkpointMs: number | null;
}

export interface LedgerStanding {
  readonly entries: number;
  /** The newest; null: nothing was ever signed. */
  readonly checkpoint: { readonly incarnation: number; readonly size: number; readonly signedMs: number } | null;
  /** Those named, and others of which something is noted. */
  readonly anchors: readonly AnchorReach[];
}

export async function readStanding(
  snapshot: Snapshot,
  names: readonly string[],
  nowMs: number,
): Promise<LedgerStanding> {
  const { tenant } = snapshot;
  const entries = Number((await snapshot.query<{ size: string }>(ledgerSize(tenant)))[0]?.size ?? 0);
  const [newest] = await snapshot.query<CheckpointRow>(latestCheckpoint(tenant));
  const states = await readAnchorStates(snapshot, names);
  const times = await signedAt(snapshot, states);
  const incarnation = newest?.incarnation;
  return {
    entries,
    checkpoint:
      newest === undefined
        ? null
        : { incarnation: newest.incarnation, size: Number(newest.size), signedMs: Number(newest.signed_ms) },
    anchors: states.map((state) => ({
      ...state,
      ...reachOf(state, { incarnation, entries, nowMs }),
      checkpointMs: times.get(placeOf(state)) ?? null,
    })),
  };
}

async function signedAt(snapshot: Snapshot, states: readonly AnchorState[]): Promise<ReadonlyMap<string, number>> {
  const rows = await snapshot.query<{ incarnation: number; size: string; signed_ms: string }>(
    signedTimes(snapshot.tenant, {
      incarnations: states.map(({ incarnation }) => incarnation),
      sizes: states.map(({ size }) => size),
    }),
  );
  return new Map(rows.map((row) => [placeOf(row), Number(row.signed_ms)]));
}

const placeOf = ({ incarnation, size }: { readonly incarnation: number; readonly size: number | string }): string =>
  `${incarnation}/${size}`;
