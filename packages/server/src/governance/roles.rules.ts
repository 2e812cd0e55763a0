/** What roles let one do. A role that configuration does not know permits nothing. */
import type { ConfigurationValue, Permission } from "@countersign/contract";

export function permissionsOf(roles: readonly string[], configuration: ConfigurationValue<"roles">): ReadonlySet<Permission> {
  return new Set(roles.flatMap((role) => (Object.hasOwn(configuration.roles, role) ? (configuration.roles[role]?.permissions ?? []) : [])));
}
