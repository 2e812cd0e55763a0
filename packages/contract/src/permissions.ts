/**
 * The permissions that operations may require. Roles are sets of permissions; an API key's scopes narrow them further.
 */
export const permissions = {
  "change_sets.read": "see change-sets, their items, votes and applications",
  "change_sets.propose": "create, revise, submit and cancel change-sets",
  "change_sets.vote": "approve, reject, abstain, request changes",
  "change_sets.apply": "apply and resume approved change-sets",
  "change_sets.roll_back": "roll back applied change-sets",
  "change_sets.archive": "archive finished change-sets",
  "change_sets.resolve": "state, with evidence, the outcome of a partly applied change-set",
  "resources.read": "read the JSON resources Countersign keeps",
  "workspaces.read": "see the registered workspaces",
  "workspaces.manage": "register and remove workspaces",
  "principals.read": "see humans, agents and services",
  "principals.manage": "add, suspend and bind humans, agents and services",
  "keys.read": "see API keys and signing keys (never their secrets)",
  "keys.mint": "mint and revoke API keys, issue enrolment codes, revoke signing keys",
  "audit.read": "read and export the ledger",
  "audit.verify": "verify the ledger",
  "audit.erase": "erase the texts of a finished change-set or a suspended principal",
  "audit.hold": "place and release legal holds",
  "audit.prune": "archive and empty old entries of the ledger",
  "config.read": "read the configuration in force",
  "kill.engage": "engage the kill-switch",
  "kill.release": "release the kill-switch",
  "tenant.manage": "change the tenant's mode",
  "tenants.create": "create tenants (in the deployment tenant)",
} as const;
export type Permission = keyof typeof permissions;
export const permissionNames = Object.keys(permissions) as readonly Permission[];
