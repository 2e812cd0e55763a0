/** Receipts as they are sent; and of entries committed before: a response given again carries the receipts of its first time. */
import { type OperationOutput, proofPath, type Refusal } from "@countersign/contract";
import { entriesById } from "./queries.js";
import type { Outcome, Receipt, Snapshot } from "./types.js";

export type ReceiptView = OperationOutput<"revokeKey">["receipts"][number];

/** Of what was just done; none when there was nothing to do. */
export function receiptsOf(outcome: Exclude<Outcome<unknown>, Refusal>): ReceiptView[] {
  return outcome.kind === "committed" ? receiptViews(outcome.receipts) : [];
}

export function receiptViews(receipts: readonly Receipt[]): ReceiptView[] {
  return receipts.map((receipt) => ({
    seq: receipt.seq,
    entryId: receipt.entryId,
    hash: receipt.hash,
    at: new Date(receipt.timeMs).toISOString(),
    proof: proofPath(receipt.seq),
  }));
}

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
