/** A ledger over a test database, and the smallest changes one can make in it. */
import { randomBytes, randomUUID } from "node:crypto";
import { asTenantId, isRefusal, type TenantId } from "@countersign/contract";
import { openLedger, type Actor, type Change, type EntryDraft, type Ledger, type LedgerOptions, type Outcome, type Receipt } from "../../src/ledger/index.js";
import type { Storage } from "../../src/storage/index.js";

export const actor: Actor = { type: "human", id: "00000000-0000-7000-8000-00000000000a", humans: ["00000000-0000-7000-8000-00000000000a"] };

export function newTenant(): TenantId {
  return asTenantId(uuid7());
}

/** UUIDv7 of now. */
export function uuid7(): string {
  const bytes = randomBytes(16);
  bytes.writeUIntBE(Date.now(), 0, 6);
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x70, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  const hex = bytes.toString("hex");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}

/** Not encryption: tests of sealing are elsewhere. What is sealed here can be told apart from what is not. */
export const reversingSealing: LedgerOptions["sealing"] = {
  seal: (plain) => Uint8Array.from(plain).reverse(),
  open: (sealed) => Uint8Array.from(sealed).reverse(),
};

export function openTestLedger(storage: Storage, options: Partial<LedgerOptions> = {}): Promise<Ledger> {
  return openLedger({ storage, sealing: reversingSealing, nowMs: Date.now, uuid: uuid7, ...options });
}

/** An entry about a subject; by default a new one. */
export function entry(draft: Partial<EntryDraft> = {}): EntryDraft {
  return { actor, action: "thing.done", subject: { type: "thing", id: randomUUID() }, ...draft };
}

/** Hands a change to the door as it is: what it depended on is in its guards. */
export function commit(ledger: Ledger, tenant: TenantId, change: Partial<Omit<Change, "tenant">> = {}): Promise<Outcome<undefined>> {
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
