/**
 * Configuration of a tenant: JSON resources `system.config/<name>` of type SYSTEM_CONFIG in environment `system`, changed
 * by change-sets like everything else. Each is a file here: its schema and a built-in default, which holds while the resource is absent.
 *
 * INVARIANT: a default never permits more than a document could: without grants agents may do nothing.
 */
import type { z } from "zod";
import { approvals } from "./approvals.js";
import { categories } from "./categories.js";
import { freeze } from "./freeze.js";
import { grants } from "./grants.js";
import { ledger } from "./ledger.js";
import { limits } from "./limits.js";
import { policy, type policyRule } from "./policy.js";
import { risk } from "./risk.js";
import { roles } from "./roles.js";
import { routes } from "./routes.js";
import type { stage } from "./parts.js";

export { markedMembers, type Mark, type MarkedMember } from "./marks.js";
export { groupName, principalSelector, roleName, ruleId, targetPattern } from "./parts.js";
export { riskConfiguration } from "./risk.js";

export const configurationEnvironment = "system";
export const configurationType = "SYSTEM_CONFIG";
export const configurationPrefix = "system.config/";

export const configurationSchemas = {
  policy: policy.schema,
  grants: grants.schema,
  routes: routes.schema,
  risk: risk.schema,
  roles: roles.schema,
  approvals: approvals.schema,
  freeze: freeze.schema,
  limits: limits.schema,
  categories: categories.schema,
  ledger: ledger.schema,
} as const;
export type ConfigurationName = keyof typeof configurationSchemas;
export const configurationNames = Object.keys(configurationSchemas) as readonly ConfigurationName[];
/** A checked document of that name, defaults of its members filled in. */
export type ConfigurationValue<N extends ConfigurationName> = z.output<(typeof configurationSchemas)[N]>;
/** A document as one may write it. */
export type ConfigurationDocument<N extends ConfigurationName> = z.input<(typeof configurationSchemas)[N]>;
export type PolicyRule = z.output<typeof policyRule>;
export type Grant = ConfigurationValue<"grants">["grants"][number];
export type StageConfiguration = z.output<typeof stage>;
export type RiskProfile = ConfigurationValue<"risk">;
export type FreezeWindow = ConfigurationValue<"freeze">["windows"][number];
export type WeeklyFreeze = ConfigurationValue<"freeze">["weekly"][number];

export function configurationId(name: ConfigurationName): string {
  return `${configurationPrefix}${name}`;
}

/** What holds while a document is absent. */
export const configurationDefaults: { readonly [N in ConfigurationName]: ConfigurationDocument<N> } = {
  policy: policy.builtIn,
  grants: grants.builtIn,
  routes: routes.builtIn,
  risk: risk.builtIn,
  roles: roles.builtIn,
  approvals: approvals.builtIn,
  freeze: freeze.builtIn,
  limits: limits.builtIn,
  categories: categories.builtIn,
  ledger: ledger.builtIn,
};
