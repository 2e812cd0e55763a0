/**
 * A second server process that starts items as fast as it can, each guarded by the epoch of the kill-switch, as applying
 * does. Arguments: application URL of the database, tenant. Says `started` for each, and `stopped` when it is refused.
 */
import { asTenantId, isRefusal } from "@countersign/contract";
import { checkKill, loadKill } from "../../src/governance/index.js";
import { type DraftShape, openLedger } from "../../src/ledger/index.js";
import { newId, sealingWith, systemClock } from "../../src/platform/index.js";
import { storageOver } from "../../src/storage/index.js";

export type KillMessage =
  | { readonly kind: "started"; readonly count: number }
  | { readonly kind: "stopped"; readonly code: string; readonly count: number };

const [url = "", tenantText = "", lanes = "4"] = process.argv.slice(2);
const tenant = asTenantId(tenantText);
const say = (message: KillMessage): void => void process.send?.(message);

const login = { connectionString: url };
const storage = storageOver({ kind: "external", how: "connected", at: "", owner: login, application: login });
const ledger = await openLedger<DraftShape>({
  storage,
  sealing: sealingWith([new Uint8Array(32).fill(7)]),
  clock: systemClock,
  groupsInFlight: 1,
});
let count = 0;

async function lane(): Promise<string> {
  for (;;) {
    const outcome = await ledger.transact(tenant, loadKill, (kill, { nowMs }) => {
      const refusal = checkKill(kill.rows, nowMs);
      if (refusal !== undefined) return refusal;
      const entry = {
        actor: { type: "system", id: tenant, humans: [] },
        action: "item.started",
        subject: { type: "change_set", id: newId() },
      } as const;
      return {
        kind: "change",
        change: { guards: [{ kind: "epoch", name: "kill", value: kill.epoch }], entries: [entry] },
        result: undefined,
      };
    });
    // Beaten to it too often: an engagement and a release in a row look like this. It tries again.
    if (isRefusal(outcome) && outcome.code === "conflict") continue;
    if (isRefusal(outcome)) return outcome.code;
    count += 1;
    say({ kind: "started", count });
  }
}

const codes = await Promise.all(Array.from({ length: Number(lanes) }, lane));
say({ kind: "stopped", code: codes.join(), count });
await ledger.close();
await storage.close();
process.disconnect();
