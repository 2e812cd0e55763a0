/** The modes of a tenant from the least to the most protection. Downward two people must agree. */
import { tenantModes, type TenantMode } from "@countersign/contract";

export function isDownward(from: TenantMode, to: TenantMode): boolean {
  return tenantModes.indexOf(to) < tenantModes.indexOf(from);
}

/** How long the first person's half waits for the second. */
export const modeRequestHours = 24;
