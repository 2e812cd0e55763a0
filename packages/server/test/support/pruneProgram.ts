/**
 * A server process that prunes and stops after a step. Arguments: application URL, tenant, who prunes, up to, archive, data
 * directory, `archived` (before anything is recorded) or `recorded` (before anything is emptied).
 */
import { asTenantId, isRefusal } from "@countersign/contract";
import { openChangeSets } from "../../src/change-sets/index.js";
import type { Ledger } from "../../src/ledger/index.js";
import { prune } from "../../src/retention/commands.js";
import { storageOver } from "../../src/storage/index.js";
import { callerOf, openDesk } from "./desk.js";
import { retentionDesk } from "./retention.js";

export interface PruneMessage {
  readonly kind: "archived" | "recorded" | "refused";
  readonly message?: string;
}

const [url = "", tenantText = "", by = "", upTo = "", archive = "", dataDirectory = "", at = ""] =
  process.argv.slice(2);
const tenant = asTenantId(tenantText);
const say = (message: PruneMessage): void => void process.send?.(message);
const login = { connectionString: url };
const storage = storageOver({ kind: "external", how: "connected", at: "", owner: login, application: login });
const desk = await openDesk(storage, dataDirectory);
const whole = retentionDesk(desk, openChangeSets(desk), dataDirectory);
const caller = await callerOf(desk.ledger, tenant, by);
const forEver = new Promise<never>(() => undefined);
const transact: Ledger["transact"] = (of, load, decide, options) => {
  if (at !== "archived") return desk.ledger.transact(of, load, decide, options);
  say({ kind: "archived" });
  return forEver;
};
const stopping = {
  inTenant: () => {
    say({ kind: "recorded" });
    return forEver;
  },
};
const done = await prune({ ...whole, storage: stopping }, caller, { upTo: Number(upTo), archive }, transact);
if (isRefusal(done)) say({ kind: "refused", message: done.message });
