/**
 * A server process with one follower, which is killed by its own hand between an effect and the cursor. Arguments: application URL, tenant, the
 * follower's name, the entry of that effect.
 */
import { asTenantId } from "@countersign/contract";
import { followerJob } from "../../src/followers/index.js";
import { storageOver } from "../../src/storage/index.js";
import { startJobs } from "./jobs.js";
import { openTestLedger } from "./ledger.js";

export interface FollowMessage {
  readonly entryId: string;
}

const [url = "", tenantText = "", name = "", last = ""] = process.argv.slice(2);
const login = { connectionString: url };
const storage = storageOver({ kind: "external", how: "connected", at: "", owner: login, application: login });
const ledger = await openTestLedger(storage);
const tell = (message: FollowMessage): Promise<void> =>
  new Promise((resolve) => process.send?.(message, undefined, undefined, () => resolve()));
const follower = {
  name,
  purpose: "to be killed",
  from: "first" as const,
  effect: async (_tenant: string, { entryId }: { readonly entryId: string }): Promise<void> => {
    await tell({ entryId });
    if (entryId === last) process.kill(process.pid, "SIGKILL");
  },
};
startJobs({
  storage,
  tenants: [asTenantId(tenantText)],
  jobs: [followerJob(follower, { ledger, storage, now: () => Date.now() })],
});
