/** The permissions that roles carry. A role that the configuration does not define permits nothing. */
import type { ConfigurationValue, Permission } from "@countersign/contract";

export function permissionsOf(
  roles: readonly string[],
  configuration: { readonly roles: ConfigurationValue<"roles"> },
): ReadonlySet<Permission> {
  const known = configuration.roles.roles;
  return new Set(roles.flatMap((role) => (Object.hasOwn(known, role) ? (known[role]?.permissions ?? []) : [])));
}
