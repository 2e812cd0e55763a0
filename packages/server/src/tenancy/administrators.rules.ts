/** A tenant always keeps a human who can manage it, and who has a signing key to prove their identity. */
import { refused, type Refusal } from "@countersign/contract";
import type { Members } from "./people.js";
import { permissionsOfRoles, type RolesConfiguration } from "./permissions.rules.js";

/** Active humans whose roles manage principals. */
export function administrators(members: Members, roles: RolesConfiguration): string[] {
  return [...members.principals.values()]
    .filter(
      (person) =>
        person.kind === "human" &&
        person.status === "ACTIVE" &&
        permissionsOfRoles(person.boundRoles, roles).has("principals.manage"),
    )
    .map((person) => person.id);
}

/** Refuses a change after which nobody could manage the tenant any more. */
export function checkAdministratorLeft(after: Members, roles: RolesConfiguration): Refusal | undefined {
  if (administrators(after, roles).length > 0) return undefined;
  return refused(
    "last_administrator",
    "nobody could manage the tenant after this; bind another human to `admin` first: `countersign human grant`",
  );
}

/** The same for their signing keys: managing needs one unlocked. */
export function checkSigningAdministratorLeft(
  before: Members,
  after: Members,
  roles: RolesConfiguration,
): Refusal | undefined {
  const signing = (members: Members): boolean => {
    const holders = new Set(
      [...members.signingKeys.values()].filter((key) => key.status === "ACTIVE").map((key) => key.principalId),
    );
    return administrators(members, roles).some((id) => holders.has(id));
  };
  if (!signing(before) || signing(after)) return undefined;
  return refused(
    "last_administrator",
    "no administrator would have a signing key after this; enrol another first: `countersign human code`, `countersign enrol`, then revoke this one",
  );
}
