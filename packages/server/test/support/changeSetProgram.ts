/**
 * Applies or rolls back one change-set in a process that ends itself by SIGKILL at a given point: before or after its n-th
 * commit or its n-th act on a file. Arguments: owner URL, application URL, data directory, tenant, principal, change-set,
 * `apply` or `rollback`, the number of the point (from 0), and a file that a stranger removes before the second act.
 */
import { rmSync } from "node:fs";
import { asTenantId, isRefusal } from "@countersign/contract";
import { openChangeSets, type Desk } from "../../src/change-sets/index.js";
import { openStorage } from "../../src/storage/index.js";
import { callerOf, openDesk } from "./desk.js";
import { compensatingKind, withKind } from "./kinds.js";

export type ChangeSetMessage = { readonly kind: "ended"; readonly points: number; readonly status: string };

const [
  ownerUrl = "",
  appUrl = "",
  dataDirectory = "",
  tenantText = "",
  principal = "",
  id = "",
  verb = "",
  at = "0",
  removed = "",
] = process.argv.slice(2);
const tenant = asTenantId(tenantText);
const dieAt = Number(at);
let points = 0;
let acts = 0;

function point(): void {
  if (points === dieAt) process.kill(process.pid, "SIGKILL");
  points += 1;
}

/** The same parts, with a point before and after everything that lasts. */
function counted(desk: Desk): Desk {
  const file = compensatingKind(desk.targets, "file");
  const act: typeof file.act = async (step, context) => {
    point();
    acts += 1;
    if (removed !== "" && acts === 2) rmSync(removed);
    const outcome = await file.act(step, context);
    point();
    return outcome;
  };
  const counting = { ...file, act };
  return {
    ...desk,
    ledger: {
      ...desk.ledger,
      transact: async (...given) => {
        point();
        const outcome = await desk.ledger.transact(...given);
        point();
        return outcome;
      },
    },
    targets: withKind(desk.targets, counting),
  };
}

const storage = await openStorage({
  dataDirectory,
  databaseUrl: ownerUrl,
  applicationDatabaseUrl: appUrl,
  doing: "a test",
});
const desk = counted(await openDesk(storage, dataDirectory));
const changeSets = openChangeSets(desk);
const caller = await callerOf(desk.ledger, tenant, principal);
const request = { transact: desk.ledger.transact, nowMs: Date.now(), requestId: "test" };
const answer =
  verb === "apply"
    ? await changeSets.apply(caller, { id }, request)
    : await changeSets.rollBack(caller, { id, cascade: false }, request);
process.send?.({
  kind: "ended",
  points,
  status: isRefusal(answer) ? answer.code : answer.changeSet.status,
} satisfies ChangeSetMessage);
await desk.ledger.close();
await storage.close();
process.disconnect();
