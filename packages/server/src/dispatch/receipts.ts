/** The form of receipts in answers. */
import { type OperationOutput, proofPath } from "@countersign/contract";
import type { Receipt } from "../ledger/index.js";

export type ReceiptView = OperationOutput<"revokeKey">["receipts"][number];

export function receiptViews(receipts: readonly Receipt[]): ReceiptView[] {
  return receipts.map((receipt) => ({
    seq: receipt.seq,
    entryId: receipt.entryId,
    hash: receipt.hash,
    at: new Date(receipt.timeMs).toISOString(),
    proof: proofPath(receipt.seq),
  }));
}
