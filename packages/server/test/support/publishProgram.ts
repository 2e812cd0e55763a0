/**
 * A process that publishes, and dies where it is told: `remembered` or `stored` of the n-th checkpoint of a tenant, or `superseded`.
 * Says `{ leading }` when it leads, `{ size }` for each new checkpoint of the tenant.
 */
import type { TenantId } from "@countersign/contract";
import { openLedger } from "../../src/ledger/index.js";
import { openPublishing } from "../../src/publishing/index.js";
import { openExternal } from "../../src/storage/external.js";
import { storageOver } from "../../src/storage/index.js";
import { sealingWith, systemClock } from "../../src/platform/index.js";
import { deploymentTenant } from "../../src/tenancy/index.js";

export interface PublishOrder {
  readonly ownerUrl: string;
  readonly appUrl: string;
  readonly folder: string;
  readonly tenant: TenantId;
  readonly dieAt?: "remembered" | "stored" | "superseded";
  /** The n-th time, from 1. */
  readonly nth?: number;
  readonly leaseMs: number;
}
export type PublishMessage = { readonly leading: true } | { readonly size: number };

const order = JSON.parse(process.argv[2] ?? "{}") as PublishOrder;
const { owner, application } = await openExternal(order.ownerUrl, order.appUrl);
const storage = storageOver({ kind: "external", how: "connected", at: "test", owner, application });
const ledger = await openLedger({
  storage,
  sealing: sealingWith([new Uint8Array(32).fill(7)]),
  clock: systemClock,
  groupsInFlight: 1,
});
let seen = 0;
const publishing = openPublishing({
  ...{ storage, ledger, clock: systemClock, deploymentTenant, folder: order.folder },
  tenants: () => Promise.resolve([deploymentTenant, order.tenant]),
  ...{ intervalMs: 10, leaseMs: order.leaseMs },
  report: (event) => event === "publishing.leads" && process.send?.({ leading: true } satisfies PublishMessage),
  atStep: (step, tenant) => {
    if (tenant !== order.tenant) return;
    if (step === order.dieAt && ++seen === (order.nth ?? 1)) process.kill(process.pid, "SIGKILL");
    if (step === "stored") process.send?.({ size: seen } satisfies PublishMessage);
  },
});
publishing.start();
process.on("message", () => void publishing.stop().then(() => process.exit(0)));
