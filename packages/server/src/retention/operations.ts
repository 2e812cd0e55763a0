/** Erasures, legal holds and prunings as they are asked for over the interfaces: the commands, with receipts. */
import { type CheckedInput, isRefusal, type OperationOutput, type Refusal } from "@countersign/contract";
import { type Ledger, receiptsOf } from "../ledger/index.js";
import type { Caller, Handlers } from "../tenancy/index.js";
import { archives, hold, holds, previewPruning, prune, release, type RetentionDesk } from "./commands.js";
import { erase, previewErasure } from "./erase.js";

type Transact = Ledger["transact"];

const preview = (desk: RetentionDesk, caller: Caller, input: CheckedInput<"previewErasure">) =>
  previewErasure(desk, caller, input.subject);

async function eraseSubject(
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

async function listLegalHolds(
  desk: RetentionDesk,
  caller: Caller,
  input: CheckedInput<"listLegalHolds">,
): Promise<OperationOutput<"listLegalHolds">> {
  return { rows: await holds(desk, caller, input.released) };
}

async function placeLegalHold(
  desk: RetentionDesk,
  caller: Caller,
  input: CheckedInput<"placeLegalHold">,
  transact: Transact,
): Promise<OperationOutput<"placeLegalHold"> | Refusal> {
  const done = await hold(desk, caller, input, transact);
  if (isRefusal(done)) return done;
  return { hold: done.result, receipts: receiptsOf(done) };
}

async function releaseLegalHold(
  desk: RetentionDesk,
  caller: Caller,
  input: CheckedInput<"releaseLegalHold">,
  transact: Transact,
): Promise<OperationOutput<"releaseLegalHold"> | Refusal> {
  const done = await release(desk, caller, input, transact);
  if (isRefusal(done)) return done;
  return { hold: done.result, receipts: receiptsOf(done) };
}

const previewPrune = (desk: RetentionDesk, caller: Caller, input: CheckedInput<"previewPruning">) =>
  previewPruning(desk, caller, input);

async function pruneLedger(
  desk: RetentionDesk,
  caller: Caller,
  input: CheckedInput<"pruneLedger">,
  transact: Transact,
): Promise<OperationOutput<"pruneLedger"> | Refusal> {
  const done = await prune(desk, caller, input, transact);
  if (isRefusal(done)) return done;
  return { archive: done.result, receipts: receiptsOf(done) };
}

async function listArchives(desk: RetentionDesk, caller: Caller): Promise<OperationOutput<"listArchives">> {
  return { rows: await archives(desk, caller) };
}

export function retentionHandlers(desk: RetentionDesk) {
  return {
    previewErasure: ({ caller, input }) => preview(desk, caller, input),
    eraseSubject: ({ caller, input, request }) => eraseSubject(desk, caller, input, request.transact),
    listLegalHolds: ({ caller, input }) => listLegalHolds(desk, caller, input),
    placeLegalHold: ({ caller, input, request }) => placeLegalHold(desk, caller, input, request.transact),
    releaseLegalHold: ({ caller, input, request }) => releaseLegalHold(desk, caller, input, request.transact),
    previewPruning: ({ caller, input }) => previewPrune(desk, caller, input),
    pruneLedger: ({ caller, input, request }) => pruneLedger(desk, caller, input, request.transact),
    listArchives: ({ caller }) => listArchives(desk, caller),
  } satisfies Partial<Handlers>;
}
