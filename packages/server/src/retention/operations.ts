/** Erasures, legal holds and prunings as they are asked for over the interfaces: the commands, with receipts. */
import { type CheckedInput, isRefusal, type OperationOutput, type Refusal } from "@countersign/contract";
import { type Ledger, receiptsOf } from "../ledger/index.js";
import type { Caller } from "../tenancy/index.js";
import { archives, hold, holds, previewPruning, prune, release, type RetentionDesk } from "./commands.js";
import { erase, previewErasure } from "./erase.js";

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
  return { ...report, receipts: receiptsOf(outcome) };
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
  return { hold: done.result, receipts: receiptsOf(done) };
}

export async function releaseLegalHold(
  desk: RetentionDesk,
  caller: Caller,
  input: CheckedInput<"releaseLegalHold">,
  transact: Transact,
): Promise<OperationOutput<"releaseLegalHold"> | Refusal> {
  const done = await release(desk, caller, input, transact);
  if (isRefusal(done)) return done;
  return { hold: done.result, receipts: receiptsOf(done) };
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
  return { archive: done.result, receipts: receiptsOf(done) };
}

export async function listArchives(desk: RetentionDesk, caller: Caller): Promise<OperationOutput<"listArchives">> {
  return { rows: await archives(desk, caller) };
}
