/**
 * The tenant of the deployment itself: its ledger records which tenants were created, and the server's own events. Its
 * id is the same in every deployment, so that processes which start at once need not agree on one.
 */
import { asTenantId, type TenantId } from "@countersign/contract";

export const deploymentTenant: TenantId = asTenantId("00000000-0000-7000-8000-000000000000");
