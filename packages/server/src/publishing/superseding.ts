/**
 * A checkpoint by a revoked key counts for nobody until a checkpoint by a key in use covers it. A ledger without new
 * entries would wait for its next entry. So it is given one, and the checkpoint after it is signed as always: no size
 * is signed twice (docs/decisions/0013-one-log-key-many-origins.md).
 *
 * Promises: one entry for a revocation at most, also by several processes and after a kill at any point · none for a ledger
 * that has grown since that checkpoint, and none for one that is not what was signed: who calls this has followed it.
 */
import { isRefusal, RefusalError, type TenantId } from "@countersign/contract";
import { isSignedBy } from "@countersign/proof";
import type { Actor } from "../ledger/index.js";
import type { OpenKeys } from "./keyHistory.js";
import type { Door } from "./ports.js";
import { ledgerSize } from "./queries.js";
import type { StoredCheckpoint } from "./tenantLog.js";

export const supersededAction = "ledger.checkpoint_superseded";

/** Whether a revoked key signed it. From when on the key counts no more decides nothing: when it signed is only its own word. */
export function revokedSigner(stored: StoredCheckpoint, keys: Pick<OpenKeys, "revokedKeys">): string | undefined {
  return keys.revokedKeys.find((key) => isSignedBy(stored.checkpoint, key));
}

/** Appends the entry; false: the ledger goes on behind `size` by itself. */
export async function supersede(
  { ledger, actor }: { readonly ledger: Pick<Door, "transact">; readonly actor: Actor },
  tenant: TenantId,
  { size, key }: { readonly size: number; readonly key: string },
): Promise<boolean> {
  const outcome = await ledger.transact<number, boolean>(
    tenant,
    async (snapshot) => Number((await snapshot.query<{ size: string }>(ledgerSize(tenant)))[0]?.size ?? 0),
    (found) =>
      found !== size
        ? { kind: "nothing", result: false }
        : {
            kind: "change",
            change: {
              // A faster process has appended the same entry, about the same subject.
              guards: [{ kind: "subject", subjectId: tenant, seq: size - 1 }],
              entries: [
                { actor, action: supersededAction, subject: { type: "tenant", id: tenant }, data: { size, key } },
              ],
            },
            result: true,
          },
  );
  if (isRefusal(outcome)) throw new RefusalError(outcome);
  return outcome.result;
}
