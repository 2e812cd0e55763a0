/** Erasing and pruning over the parts of a test world, as `server.ts` puts them together. */
import { join } from "node:path";
import type { ChangeSets, Desk } from "../../src/change-sets/index.js";
import { responsesEraser } from "../../src/dispatch/index.js";
import { eraseSubject as eraseOfGovernance } from "../../src/governance/index.js";
import type { RetentionDesk } from "../../src/retention/commands.js";
import { eraseSubject as eraseOfTargets } from "../../src/targets/index.js";
import { eraseSubject as eraseOfTenancy } from "../../src/tenancy/erase.js";
import { openVerification } from "../../src/verification/index.js";

export function retentionDesk(
  { ledger, storage, now }: Pick<Desk, "ledger" | "storage" | "now">,
  changeSets: ChangeSets,
  dataDirectory: string,
): RetentionDesk {
  return {
    ledger,
    verification: openVerification({ storage, openBody: ledger.openBody, clock: { nowMs: now } }),
    storage,
    erasers: [
      { module: "change-sets", erase: changeSets.eraseSubject },
      { module: "targets", erase: (snapshot, subject, by) => eraseOfTargets(ledger, snapshot, subject, by) },
      { module: "tenancy", erase: (snapshot, subject, by) => eraseOfTenancy(ledger, snapshot, subject, by) },
      { module: "governance", erase: eraseOfGovernance },
    ],
    finishers: [changeSets.finishErasures, responsesEraser(storage)],
    changeSetId: changeSets.idOf,
    changeSetNumbers: changeSets.numbersOf,
    unfinished: changeSets.unfinished,
    archiveFolder: join(dataDirectory, "archives"),
    deployment: () => Promise.resolve("test.example"),
    now,
  };
}
