/** A ledger over a test database, and the smallest changes one can make in it. */
import { randomUUID } from "node:crypto";
import { asTenantId, isRefusal, type TenantId } from "@countersign/contract";
import {
  openLedger,
  type Actor,
  type Change,
  type DraftShape,
  type Ledger,
  type LedgerOptions,
  type Outcome,
  type Receipt,
} from "../../src/ledger/index.js";
import { newId, sealingWith, systemClock, type Clock } from "../../src/platform/index.js";
import type { Storage } from "../../src/storage/index.js";
import { openVerification, type Verification, type VerificationOptions } from "../../src/verification/index.js";

export const actor: Actor = {
  type: "human",
  id: "00000000-0000-7000-8000-00000000000a",
  humans: ["00000000-0000-7000-8000-00000000000a"],
};

/** Tells the time it was last given. */
export interface HeldClock extends Clock {
  now: number;
}

export function heldClock(now: number): HeldClock {
  return {
    now,
    nowMs() {
      return this.now;
    },
  };
}

export function newTenant(): TenantId {
  return asTenantId(newId());
}

export const testSealing = sealingWith([new Uint8Array(32).fill(7)]);

/**
 * A ledger that takes any well-formed draft: the door is tested with words of our own (`toyActions`), and with entries that were forged.
 * Modules are handed the same ledger as one for the catalogue's drafts alone.
 */
export type DraftLedger = Ledger<DraftShape>;

/** Such a ledger, and what verifies it. */
export interface TestLedger extends DraftLedger, Verification {}

export async function openTestLedger(
  storage: Storage,
  { references, ...options }: Partial<LedgerOptions> & Pick<VerificationOptions, "references"> = {},
): Promise<TestLedger> {
  const ledger: DraftLedger = await openLedger({ storage, sealing: testSealing, clock: systemClock, ...options });
  const { openBody } = ledger;
  const clock = options.clock ?? systemClock;
  const verification = openVerification({
    storage,
    openBody,
    clock,
    ...(references === undefined ? {} : { references }),
  });
  return { ...ledger, ...verification };
}

/** An entry about a subject; by default a new one. */
export function entry(draft: Partial<DraftShape> = {}): DraftShape {
  return { actor, action: "thing.done", subject: { type: "thing", id: randomUUID() }, ...draft };
}

/** Hands a change to the door as it is: what it depended on is in its guards. */
export function commit(
  ledger: DraftLedger,
  tenant: TenantId,
  change: Partial<Omit<Change<DraftShape>, "tenant">> = {},
): Promise<Outcome<undefined>> {
  return ledger.transact(
    tenant,
    () => Promise.resolve(undefined),
    () => ({ kind: "change", change: { guards: [], entries: [entry()], ...change }, result: undefined }),
  );
}

export async function committed(outcome: Promise<Outcome<unknown>>): Promise<readonly Receipt[]> {
  const found = await outcome;
  if (isRefusal(found)) throw new Error(`refused: ${found.code}: ${found.message}`);
  return found.kind === "committed" ? found.receipts : [];
}
