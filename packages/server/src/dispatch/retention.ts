/** Erasures, legal holds and prunings over the interfaces: `ops` does the work, and receipts are added here. */
import { type CheckedInput, isRefusal, type OperationOutput, type Refusal } from "@countersign/contract";
import type { FinishErasures, Ledger } from "../ledger/index.js";
import {
  archives,
  erase,
  hold,
  holds,
  previewErasure,
  previewPruning,
  prune,
  release,
  type RetentionDesk,
} from "../ops/index.js";
import type { Storage } from "../storage/index.js";
import type { Caller } from "../tenancy/index.js";
import { forgetErasedResponses } from "./queries.js";
import { receiptViews } from "./receipts.js";

export type { RetentionDesk };
type Transact = Ledger["transact"];

export const preview = (desk: RetentionDesk, caller: Caller, input: CheckedInput<"previewErasure">) =>
  previewErasure(desk, caller, input.subject);

export async function eraseSubject(
  desk: RetentionDesk,
  caller: Caller,
  input: CheckedInput<"eraseSubject">,
  transact: Transact,
): Promise<OperationOutput<"eraseSubject"> | Refusal> {
  const done = await erase(desk, caller, input, transact);
  if (isRefusal(done)) return done;
  const { report, outcome } = done;
  return { ...report, receipts: outcome.kind === "committed" ? receiptViews(outcome.receipts) : [] };
}

export async function listLegalHolds(
  desk: RetentionDesk,
  caller: Caller,
  input: CheckedInput<"listLegalHolds">,
): Promise<OperationOutput<"listLegalHolds">> {
  return { rows: await holds(desk, caller, input.released) };
}

export async function placeLegalHold(
  desk: RetentionDesk,
  caller: Caller,
  input: CheckedInput<"placeLegalHold">,
  transact: Transact,
): Promise<OperationOutput<"placeLegalHold"> | Refusal> {
  const done = await hold(desk, caller, input, transact);
  if (isRefusal(done)) return done;
  return { hold: done.result, receipts: done.kind === "committed" ? receiptViews(done.receipts) : [] };
}

export async function releaseLegalHold(
  desk: RetentionDesk,
  caller: Caller,
  input: CheckedInput<"releaseLegalHold">,
  transact: Transact,
): Promise<OperationOutput<"releaseLegalHold"> | Refusal> {
  const done = await release(desk, caller, input, transact);
  if (isRefusal(done)) return done;
  return { hold: done.result, receipts: done.kind === "committed" ? receiptViews(done.receipts) : [] };
}

export const previewPrune = (desk: RetentionDesk, caller: Caller, input: CheckedInput<"previewPruning">) =>
  previewPruning(desk, caller, input);

export async function pruneLedger(
  desk: RetentionDesk,
  caller: Caller,
  input: CheckedInput<"pruneLedger">,
  transact: Transact,
): Promise<OperationOutput<"pruneLedger"> | Refusal> {
  const done = await prune(desk, caller, input, transact);
  if (isRefusal(done)) return done;
  return { archive: done.result, receipts: done.kind === "committed" ? receiptViews(done.receipts) : [] };
}

export async function listArchives(desk: RetentionDesk, caller: Caller): Promise<OperationOutput<"listArchives">> {
  return { rows: await archives(desk, caller) };
}

/**
 * Stored responses may quote erased texts. A repeat of such a request is answered that they were erased, and is not
 * carried out again.
 */
export function responsesEraser(storage: Pick<Storage, "inTenant">): FinishErasures {
  return async (tenant) => {
    const { rows } = await storage.inTenant(tenant, (client) =>
      client.query<{ count: number }>(forgetErasedResponses, [tenant]),
    );
    return rows[0]?.count ?? 0;
  };
}
