/** The modes of a tenant from the least to the most protection. Downward two people must agree. */
import { tenantModes, type TenantMode } from "@countersign/contract";
import type { MemberVoter } from "./people.js";

export function isDownward(from: TenantMode, to: TenantMode): boolean {
  return tenantModes.indexOf(to) < tenantModes.indexOf(from);
}

/**
 * Whether one of two people may be acting as the other: they issued the code with which a later key of the other was
 * enrolled, and the holder of the code holds the key. Where two people must agree, such a pair counts as one.
 */
export function mayBeOne(voters: readonly MemberVoter[], a: string, b: string): boolean {
  const reset = (whose: string, by: string): boolean =>
    voters.find((voter) => voter.id === whose)?.keys.some((key) => !key.first && key.mintedBy.includes(by)) === true;
  return a === b || reset(a, b) || reset(b, a);
}

/** How long the first person's half waits for the second. */
export const modeRequestHours = 24;
