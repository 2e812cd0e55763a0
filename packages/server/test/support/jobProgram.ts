/** A server process with one job that never ends, for tests that kill it. Arguments: application URL, the job's name, a tenant. */
import { asTenantId, type TenantId } from "@countersign/contract";
import { openJobs } from "../../src/jobs/index.js";
import { openLog, systemClock } from "../../src/platform/index.js";
import { storageOver } from "../../src/storage/index.js";

export interface JobMessage {
  readonly kind: "runs";
  readonly tenant: TenantId;
}

const [url = "", name = "", tenantText = ""] = process.argv.slice(2);
const tenant = asTenantId(tenantText);
const login = { connectionString: url };
openJobs({
  storage: storageOver({ kind: "external", how: "connected", at: "", owner: login, application: login }),
  tenants: () => Promise.resolve([tenant]),
  clock: systemClock,
  log: openLog({ level: "silent" }),
  jobs: [
    {
      name,
      purpose: "to be killed",
      lookMs: 3_600_000,
      run: (of) => {
        process.send?.({ kind: "runs", tenant: of } satisfies JobMessage);
        return new Promise<never>(() => undefined);
      },
    },
  ],
}).start();
