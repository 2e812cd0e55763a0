/**
 * A server process that erases and stops after the commit, before anything is removed. Arguments: application URL, tenant,
 * who erases, subject, data directory.
 */
import { asTenantId, isRefusal } from "@countersign/contract";
import { openChangeSets } from "../../src/change-sets/index.js";
import { erase } from "../../src/retention/erase.js";
import { storageOver, type Storage } from "../../src/storage/index.js";
import { callerOf, openDesk } from "./desk.js";
import { retentionDesk } from "./retention.js";

export type EraseMessage = { readonly kind: "committed" } | { readonly kind: "refused"; readonly message: string };

const [url = "", tenantText = "", by = "", subject = "", dataDirectory = ""] = process.argv.slice(2);
const tenant = asTenantId(tenantText);
const say = (message: EraseMessage): void => void process.send?.(message);
const login = { connectionString: url };
const storage = storageOver({ kind: "external", how: "connected", at: "", owner: login, application: login });
const desk = await openDesk(storage, dataDirectory);
const whole = retentionDesk(desk, openChangeSets(desk), dataDirectory);
/** The first thing that is asked of it is to remove bodies. */
const stopping: Pick<Storage, "inTenant"> = {
  inTenant: () => {
    say({ kind: "committed" });
    return new Promise<never>(() => undefined);
  },
};
const caller = await callerOf(desk.ledger, tenant, by);
const asked = { subject, reason: "killed in between", policy: "test" };
const done = await erase({ ...whole, storage: stopping }, caller, asked, desk.ledger.transact);
if (isRefusal(done)) say({ kind: "refused", message: done.message });
