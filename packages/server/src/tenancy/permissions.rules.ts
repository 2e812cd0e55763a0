/**
 * The permissions of a caller: roles carry permissions, and an API key's scopes narrow them. An unknown role permits
 * nothing.
 */
import {
  type ConfigurationValue,
  type Permission,
  permissionNames,
  refused,
  type Refusal,
} from "@countersign/contract";

export type RolesConfiguration = ConfigurationValue<"roles">;

/** Scope of a key that may do all its principal may. */
export const everyScope = "*";
/** The role of agents and services. */
export const agentRole = "agent";
/** The role of a human when the request names none. */
export const memberRole = "member";

export function permissionsOfRoles(
  roles: readonly string[],
  configuration: RolesConfiguration,
): ReadonlySet<Permission> {
  return new Set(
    roles.flatMap((role) =>
      Object.hasOwn(configuration.roles, role) ? (configuration.roles[role]?.permissions ?? []) : [],
    ),
  );
}

export function narrow(permissions: ReadonlySet<Permission>, scopes: readonly string[]): ReadonlySet<Permission> {
  if (scopes.includes(everyScope)) return permissions;
  return new Set([...permissions].filter((permission) => scopes.includes(permission)));
}

export const allPermissions: ReadonlySet<Permission> = new Set(permissionNames);

/** `forbidden` or `scope_missing` unless the caller may. */
export function checkPermission(
  caller: {
    readonly permissions: ReadonlySet<Permission>;
    readonly rolePermissions: ReadonlySet<Permission>;
    readonly principal: { readonly name: string };
  },
  permission: Permission,
): Refusal | undefined {
  if (caller.permissions.has(permission)) return undefined;
  if (caller.rolePermissions.has(permission)) {
    return refused(
      "scope_missing",
      `the API key has no scope \`${permission}\`; mint one that has it: \`countersign key create --scope ${permission}\``,
      { details: { permission } },
    );
  }
  return refused(
    "forbidden",
    `\`${caller.principal.name}\` lacks \`${permission}\`; an administrator can bind a role that carries it: \`countersign human grant\``,
    { details: { permission } },
  );
}

/** Roles that no configuration knows, with their place in the list. */
export function unknownRoles(
  roles: readonly string[],
  configuration: RolesConfiguration,
): { readonly index: number; readonly role: string }[] {
  return roles.map((role, index) => ({ role, index })).filter(({ role }) => !Object.hasOwn(configuration.roles, role));
}
