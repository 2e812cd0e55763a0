/** Receipts of entries that were committed before: a response that is given again carries the receipts of its first time. */
import { entriesById } from "./queries.js";
import type { Receipt, Snapshot } from "./types.js";

interface Found {
  readonly seq: string;
  readonly time_ms: string;
  readonly entry_id: string;
  readonly hash: string;
}

/** In the order of the ledger; missing entries are left out. */
export async function readReceipts(snapshot: Snapshot, entryIds: readonly string[]): Promise<Receipt[]> {
  const rows = await snapshot.query<Found>({
    name: "countersign_receipts",
    text: entriesById,
    values: [[snapshot.tenant], entryIds],
  });
  return rows
    .map((row) => ({
      tenant: snapshot.tenant,
      seq: Number(row.seq),
      entryId: row.entry_id,
      hash: row.hash,
      timeMs: Number(row.time_ms),
    }))
    .sort((a, b) => a.seq - b.seq);
}
