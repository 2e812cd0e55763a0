/** The change that benchmarks commit: one entry of about 800 bytes, and whatever rows it is given. */
import { isRefusal, type TenantId } from "../../packages/contract/src/index.js";
import type { DraftShape, Ledger, Write } from "../../packages/server/src/ledger/index.js";
import { newId } from "../../packages/server/src/platform/index.js";

/** Padded so that content has about 800 bytes. */
export const padding = "0123456789abcdef".repeat(8);

const actor = { type: "agent", id: newId(), humans: [newId()] } as const;

export async function commit(
  ledger: Ledger<DraftShape>,
  tenant: TenantId,
  given: { subject: string; writes: readonly Write[] },
): Promise<void> {
  const { subject, writes } = given;
  const data = { revision: 3, digest: padding, decision: "APPROVED", padding };
  const outcome = await ledger.transact(
    tenant,
    () => Promise.resolve(undefined),
    () => ({
      kind: "change",
      change: {
        guards: [],
        entries: [
          {
            actor,
            action: "change_set.approved",
            subject: { type: "change_set", id: subject },
            data: writes.length > 0 ? data : { ...data, more: padding },
            writes,
          },
        ],
      },
      result: undefined,
    }),
  );
  if (isRefusal(outcome)) throw new Error(`refused: ${outcome.code}: ${outcome.message}`);
}
