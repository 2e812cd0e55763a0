/**
 * Configuration of a tenant: JSON resources `system.config/<name>` of type SYSTEM_CONFIG in environment `system`, changed
 * by change-sets like everything else. Each document has a schema and a built-in default. The default holds while the
 * resource is absent.
 *
 * INVARIANT: a default never permits more than a document could: without grants agents may do nothing.
 */
import { z } from "zod";
import { categories, priorities, riskLevels } from "./changeSets.js";
import { grantOperations, riskFloorNames } from "./governance.js";
import { environmentName } from "./items.js";
import { limits } from "./limits.js";
import { permissionNames, type Permission } from "./permissions.js";

export const configurationEnvironment = "system";
export const configurationType = "SYSTEM_CONFIG";
export const configurationPrefix = "system.config/";

const shortText = z.string().max(limits.reasonLengthMax);
const percent = z.int().min(0).max(100);

export const ruleId = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/)
  .meta({ description: "Lower-case letters, digits, dots, dashes and underscores.", example: "ui-agents-layouts" });
export const groupName = z
  .string()
  .regex(/^(?:role:)?[a-z][a-z0-9_-]{0,62}$/)
  .meta({ description: "Name of a group, or `role:NAME`.", example: "design" });
export const roleName = z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/);

/** A target pattern; docs/policy.md has the grammar. */
export const targetPattern = z
  .string()
  .min(1)
  .max(limits.targetIdLengthMax)
  .meta({ description: "Target pattern.", example: "file:shop:config/**" });
/** Whom a rule is about; docs/policy.md has the forms. */
export const principalSelector = z
  .string()
  .max(200)
  .regex(
    /^(?:\*|agents|humans|services|type:[A-Z][A-Z0-9_]*|(?:role|group):[a-z][a-z0-9_-]*|(?:agent|human|service):.+)$/s,
  )
  .meta({
    description:
      "`*`, `agents`, `humans`, `services`, `agent:NAME`, `human:NAME`, `service:NAME`, `type:AGENT_TYPE`, `role:NAME`, `group:NAME`.",
    example: "agent:checkout-bot",
  });
const operationSelector = z.enum(["*", ...grantOperations]);

const stage = z
  .strictObject({
    name: z
      .string()
      .min(1)
      .max(60)
      .optional()
      .meta({ description: "Shown to people; the groups' names when left out." }),
    groups: z.array(groupName).min(1).max(20),
    quorum: z.int().min(1).max(20).default(1),
  })
  .meta({ id: "StageConfiguration" });

const scope = {
  principals: z.array(principalSelector).min(1).max(100),
  operations: z.array(operationSelector).min(1).max(12),
  targets: z.array(targetPattern).min(1).max(limits.grantsMax),
  environments: z.array(environmentName).min(1).max(50).optional(),
};

export const grantsConfiguration = z
  .strictObject({
    grants: z.array(z.strictObject({ id: ruleId, description: shortText.optional(), ...scope })).max(limits.grantsMax),
  })
  .meta({
    id: "GrantsConfiguration",
    description: "What agents may read and propose. Nothing is granted that is not written here or in a permit rule.",
  });

export const policyRule = z
  .strictObject({
    id: ruleId,
    description: shortText.optional(),
    effect: z.enum(["permit", "forbid", "require_approval"]),
    principals: scope.principals.default(["*"]),
    operations: scope.operations.default(["*"]),
    targets: scope.targets.default(["*"]),
    environments: scope.environments,
    categories: z.array(z.enum(categories)).min(1).optional(),
    minLevel: z.enum(riskLevels).optional().meta({ description: "The rule holds from this risk level up." }),
    approval: stage.optional().meta({ description: "With require_approval: the stage it adds to the route." }),
  })
  .superRefine((rule, context) => {
    if (rule.effect !== "require_approval" && rule.approval !== undefined)
      context.addIssue({
        code: "custom",
        path: ["approval"],
        message: `\`approval\` goes with effect require_approval, not ${rule.effect}`,
      });
    if (rule.effect === "permit" && rule.minLevel !== undefined)
      context.addIssue({
        code: "custom",
        path: ["minLevel"],
        message: "a permit that holds only from a risk level up is refused; forbid from that level up instead",
      });
  })
  .meta({ id: "PolicyRule" });
export const policyConfiguration = z.strictObject({ rules: z.array(policyRule).max(500) }).meta({
  id: "PolicyConfiguration",
  description: "Rules over all principals: forbid beats require_approval beats permit.",
});

export const routesConfiguration = z
  .strictObject({
    categories: z
      .partialRecord(z.enum(categories), z.array(stage).min(1).max(10))
      .meta({ description: "Stages by category, in order." }),
    otherwise: z.array(stage).min(1).max(10).meta({ description: "Stages of categories not listed." }),
    additional: z
      .array(
        z.strictObject({
          id: ruleId,
          when: z.strictObject({
            minLevel: z.enum(riskLevels).optional(),
            categories: z.array(z.enum(categories)).min(1).optional(),
            environments: z.array(environmentName).min(1).optional(),
            targets: z.array(targetPattern).min(1).max(limits.grantsMax).optional(),
          }),
          stages: z.array(stage).min(1).max(10),
        }),
      )
      .max(100)
      .default([])
      .meta({ description: "Stages added when every condition of `when` holds." }),
    escalation: z
      .array(groupName)
      .max(20)
      .default([])
      .meta({ description: "Groups that stand in for a stage nobody is left in." }),
  })
  .meta({ id: "RoutesConfiguration" });

const steps = z
  .array(z.strictObject({ upTo: z.int().min(1), value: percent }))
  .min(1)
  .max(20)
  .superRefine((rows, context) => {
    for (const [index, row] of rows.entries()) {
      const before = rows[index - 1];
      if (before === undefined) continue;
      if (row.upTo <= before.upTo)
        context.addIssue({ code: "custom", path: [index, "upTo"], message: "steps must ascend" });
      if (row.value < before.value)
        context.addIssue({ code: "custom", path: [index, "value"], message: "more items cannot be less risk" });
    }
  });

export const riskConfiguration = z
  .strictObject({
    weights: z
      .strictObject({ operation: percent, target: percent, agent: percent, scope: percent, quantity: percent })
      .superRefine((w, context) => {
        const sum = w.operation + w.target + w.agent + w.scope + w.quantity;
        if (sum !== 100)
          context.addIssue({ code: "custom", path: [], message: `the weights add up to ${sum}, not 100` });
      }),
    operation: z.strictObject({ destructive: percent, update: percent, other: percent }),
    target: z.strictObject({
      sensitiveTypes: z
        .array(z.string().min(1).max(80))
        .max(100)
        .meta({ description: "Types of targets; `*` stands for any letters." }),
      sensitive: percent,
      protectedNamespaces: z
        .array(z.string().min(1).max(120))
        .max(100)
        .meta({ description: "Beginnings of ids or paths, whatever their case." }),
      protected: percent,
    }),
    agent: z.strictObject({
      types: z.record(z.string().regex(/^[A-Z][A-Z0-9_]*$/), percent),
      otherwise: percent,
      record: z
        .strictObject({
          appliedPerPoint: z
            .int()
            .min(1)
            .max(1000)
            .meta({ description: "Applied change-sets that lower the factor by one." }),
          rejected: percent,
          rolledBack: percent,
          failed: percent,
          lowest: z.int().min(-100).max(0),
          highest: percent,
        })
        .meta({ description: "Points for the outcomes of the author's last 50 finished change-sets." }),
    }),
    scope: z.strictObject({ categories: z.partialRecord(z.enum(categories), percent), otherwise: percent }),
    quantity: z.strictObject({ steps, otherwise: percent }),
    levels: z.strictObject({ CRITICAL: percent, HIGH: percent, MEDIUM: percent }).superRefine((l, context) => {
      if (!(l.CRITICAL > l.HIGH && l.HIGH > l.MEDIUM))
        context.addIssue({ code: "custom", path: [], message: "levels must descend: CRITICAL > HIGH > MEDIUM" });
    }),
    approvals: z
      .strictObject({
        CRITICAL: z.int().min(1).max(20),
        HIGH: z.int().min(1).max(20),
        MEDIUM: z.int().min(1).max(20),
        LOW: z.int().min(0).max(20),
      })
      .superRefine((a, context) => {
        if (!(a.CRITICAL >= a.HIGH && a.HIGH >= a.MEDIUM && a.MEDIUM >= a.LOW))
          context.addIssue({ code: "custom", path: [], message: "a higher level cannot need fewer approvals" });
      }),
    /** A change-set can pass without approval only if each factor is below these. */
    autoBelow: z.strictObject({ operation: percent, target: percent, scope: percent, quantity: percent }),
    floors: z.strictObject(
      Object.fromEntries(riskFloorNames.map((name) => [name, z.enum(riskLevels)])) as Record<
        (typeof riskFloorNames)[number],
        z.ZodEnum<{ LOW: "LOW"; MEDIUM: "MEDIUM"; HIGH: "HIGH"; CRITICAL: "CRITICAL" }>
      >,
    ),
  })
  .meta({ id: "RiskConfiguration" });
export type RiskProfile = z.infer<typeof riskConfiguration>;

export const rolesConfiguration = z
  .strictObject({
    roles: z.record(
      roleName,
      z.strictObject({
        description: shortText.default(""),
        permissions: z.array(z.enum(permissionNames as [Permission, ...Permission[]])),
      }),
    ),
    groups: z.record(roleName, z.strictObject({ description: shortText.default("") })),
  })
  .meta({ id: "RolesConfiguration", description: "Roles carry permissions; groups approve." });

export const approvalsConfiguration = z
  .strictObject({
    deadlineHours: z
      .strictObject(
        Object.fromEntries(priorities.map((name) => [name, z.int().min(1).max(48)])) as Record<
          (typeof priorities)[number],
          z.ZodInt
        >,
      )
      .meta({ description: "Hours to decide, by priority." }),
    undoWindowHours: z
      .int()
      .min(1)
      .max(24 * 365)
      .meta({ description: "Hours after an application in which it can be undone at once." }),
    auto: z.boolean().meta({ description: "Low risk that policy allows needs nobody's approval." }),
    mintedKeys: z.enum(["by_mode", "exclude", "exclude_resets"]).meta({
      description:
        "Whether a vote counts if its signing key was enrolled with a code from the author's human: never (exclude), or only if it is the voter's first key (exclude_resets). by_mode: organisation exclude, team exclude_resets.",
    }),
    onCallRole: roleName.meta({
      description: "The role that may roll back inside the undo window, besides the author's human and the approvers.",
    }),
  })
  .meta({ id: "ApprovalsConfiguration" });

const day = z.enum(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]);
const clock = z
  .string()
  .regex(/^(?:[01]\d|2[0-3]):[0-5]\d$|^24:00$/)
  .meta({ description: "UTC, `HH:MM`.", example: "17:00" });
const frozenThings = {
  reason: shortText,
  environments: z.array(environmentName).min(1).optional(),
  categories: z.array(z.enum(categories)).min(1).optional(),
  targets: z.array(targetPattern).min(1).max(limits.grantsMax).optional(),
};
export const freezeConfiguration = z
  .strictObject({
    windows: z
      .array(
        z
          .strictObject({ id: ruleId, from: z.iso.datetime(), until: z.iso.datetime(), ...frozenThings })
          .refine((w) => Date.parse(w.from) < Date.parse(w.until), {
            path: ["until"],
            message: "`until` must be after `from`",
          }),
      )
      .max(200),
    weekly: z
      .array(
        z
          .strictObject({ id: ruleId, days: z.array(day).min(1).max(7), from: clock, until: clock, ...frozenThings })
          .refine((w) => w.from < w.until, {
            path: ["until"],
            message: "`until` must be after `from` on the same day; write two windows across midnight",
          }),
      )
      .max(50),
  })
  .meta({ id: "FreezeConfiguration", description: "Times in which nothing is applied. Rollbacks go on." });

const perHour = z.int().min(1).max(1_000_000);
export const limitsConfiguration = z
  .strictObject({
    perHour: z.strictObject({
      agent: z.strictObject({ changeSets: perHour, items: perHour, submits: perHour, applies: perHour }),
      human: z.strictObject({ changeSets: perHour, items: perHour, submits: perHour, applies: perHour }),
    }),
    holdsPerDay: z
      .int()
      .min(1)
      .max(1000)
      .meta({ description: "Holds of the whole tenant one agent may set in a day." }),
  })
  .meta({ id: "LimitsConfiguration", description: "Exact limits, counted by the ledger. Services count as agents." });

export const categoriesConfiguration = z
  .strictObject({
    rules: z
      .array(
        z.strictObject({ category: z.enum(categories), targets: z.array(targetPattern).min(1).max(limits.grantsMax) }),
      )
      .max(100),
  })
  .meta({
    id: "CategoriesConfiguration",
    description: "Read from the top; the first rule that matches a target gives its category, none: OTHER.",
  });

export const ledgerConfiguration = z
  .strictObject({
    public: z.boolean().default(false).meta({
      description:
        "True: anybody may read the checkpoints and the tree of hashes at `/ledger/<tenant>/…`. They hold hashes and times, no content.",
    }),
    retainDays: z.int().min(1).max(36_500).optional().meta({
      description:
        "Entries older than this are archived and pruned once a day (docs/retention.md); when left out, nothing is pruned by itself.",
    }),
  })
  .meta({ id: "LedgerConfiguration", description: "What is shown of the tenant's ledger." });

export const configurationSchemas = {
  policy: policyConfiguration,
  grants: grantsConfiguration,
  routes: routesConfiguration,
  risk: riskConfiguration,
  roles: rolesConfiguration,
  approvals: approvalsConfiguration,
  freeze: freezeConfiguration,
  limits: limitsConfiguration,
  categories: categoriesConfiguration,
  ledger: ledgerConfiguration,
} as const;
export type ConfigurationName = keyof typeof configurationSchemas;
export const configurationNames = Object.keys(configurationSchemas) as readonly ConfigurationName[];
/** A checked document of that name. Defaults of its members are filled in. */
export type ConfigurationValue<N extends ConfigurationName> = z.output<(typeof configurationSchemas)[N]>;
/** A document as a person may write it. */
export type ConfigurationDocument<N extends ConfigurationName> = z.input<(typeof configurationSchemas)[N]>;
export type PolicyRule = z.output<typeof policyRule>;
export type Grant = ConfigurationValue<"grants">["grants"][number];
export type StageConfiguration = z.output<typeof stage>;
export type FreezeWindow = ConfigurationValue<"freeze">["windows"][number];
export type WeeklyFreeze = ConfigurationValue<"freeze">["weekly"][number];

export function configurationId(name: ConfigurationName): string {
  return `${configurationPrefix}${name}`;
}

const reading: readonly Permission[] = [
  "change_sets.read",
  "resources.read",
  "workspaces.read",
  "principals.read",
  "audit.read",
  "audit.verify",
  "config.read",
];

/** The documents that hold while a resource is absent. Shown by `countersign config pull` like a written one. */
export const configurationDefaults: { readonly [N in ConfigurationName]: ConfigurationDocument<N> } = {
  policy: { rules: [] },
  grants: { grants: [] },
  routes: {
    categories: {
      UI_LAYOUT: [{ groups: ["design", "ui"] }],
      DESIGN_SYSTEM: [{ groups: ["design"] }],
      API_CHANGE: [{ groups: ["backend"] }],
      INTEGRATION: [{ groups: ["integration"] }],
      INFRASTRUCTURE: [{ groups: ["backend"] }, { groups: ["integration"] }],
      SECURITY: [{ groups: ["backend"] }],
    },
    otherwise: [{ groups: ["reviewers"] }],
    additional: [],
    escalation: ["role:admin"],
  },
  risk: {
    weights: { operation: 30, target: 35, agent: 15, scope: 15, quantity: 5 },
    operation: { destructive: 30, update: 10, other: 5 },
    target: {
      sensitiveTypes: ["SYSTEM", "SYSTEM_*", "SECURITY", "SECURITY_*", "*_SECURITY", "POLICY", "POLICY_*", "*_POLICY"],
      sensitive: 40,
      protectedNamespaces: ["system.", "security.", "admin."],
      protected: 35,
    },
    agent: {
      types: { UI_VELOCITY: 15, DESIGN_SYSTEM: 20, BACKEND_SERVICES: 35, INTEGRATION: 25 },
      otherwise: 30,
      record: { appliedPerPoint: 5, rejected: 3, rolledBack: 5, failed: 5, lowest: -10, highest: 30 },
    },
    scope: {
      categories: {
        UI_LAYOUT: 15,
        DESIGN_SYSTEM: 20,
        CONFIG_UPDATE: 25,
        API_CHANGE: 35,
        INFRASTRUCTURE: 60,
        COMPLIANCE: 70,
        SECURITY: 80,
      },
      otherwise: 30,
    },
    quantity: {
      steps: [
        { upTo: 5, value: 5 },
        { upTo: 10, value: 15 },
        { upTo: 20, value: 25 },
        { upTo: 50, value: 40 },
      ],
      otherwise: 50,
    },
    levels: { CRITICAL: 70, HIGH: 50, MEDIUM: 30 },
    approvals: { CRITICAL: 3, HIGH: 2, MEDIUM: 1, LOW: 0 },
    autoBelow: { operation: 20, target: 15, scope: 25, quantity: 10 },
    floors: {
      irreversible: "HIGH",
      destructive: "MEDIUM",
      delete_sensitive: "HIGH",
      protected_target: "HIGH",
      code_bearing: "HIGH",
      production: "MEDIUM",
      moves_referenced: "MEDIUM",
      security: "HIGH",
      infrastructure: "HIGH",
      compliance: "HIGH",
      new_agent: "MEDIUM",
    },
  },
  roles: {
    roles: {
      admin: { description: "Everything in the tenant.", permissions: [...permissionNames] },
      operator: {
        description: "Applies, undoes, stops.",
        permissions: [
          ...reading,
          "change_sets.apply",
          "change_sets.roll_back",
          "change_sets.resolve",
          "change_sets.archive",
          "kill.engage",
          "kill.release",
        ],
      },
      on_call: {
        description: "Undoes inside the undo window, stops.",
        permissions: [...reading, "change_sets.roll_back", "kill.engage", "kill.release"],
      },
      member: {
        description: "Proposes and approves.",
        permissions: [
          ...reading,
          "change_sets.propose",
          "change_sets.vote",
          "change_sets.apply",
          "change_sets.roll_back",
          "change_sets.archive",
          "kill.engage",
        ],
      },
      agent: {
        description: "For agents and services; grants say on which targets.",
        permissions: [
          "change_sets.read",
          "change_sets.propose",
          "change_sets.apply",
          "resources.read",
          "workspaces.read",
          "config.read",
          "kill.engage",
        ],
      },
      auditor: { description: "Reads and verifies.", permissions: [...reading, "keys.read"] },
    },
    groups: {
      reviewers: { description: "Approves change-sets whose category names no other group." },
      ui: { description: "User interfaces." },
      design: { description: "The design system." },
      backend: { description: "Services, APIs, infrastructure, security." },
      integration: { description: "Integrations with other systems." },
    },
  },
  approvals: {
    deadlineHours: { LOW: 48, NORMAL: 24, HIGH: 8, CRITICAL: 2 },
    undoWindowHours: limits.undoWindowHoursDefault,
    auto: true,
    mintedKeys: "by_mode",
    onCallRole: "on_call",
  },
  freeze: { windows: [], weekly: [] },
  limits: {
    perHour: {
      agent: { changeSets: 600, items: 6_000, submits: 600, applies: 600 },
      human: { changeSets: 6_000, items: 60_000, submits: 6_000, applies: 6_000 },
    },
    holdsPerDay: 4,
  },
  categories: {
    rules: [
      {
        category: "SECURITY",
        targets: [
          "resource:*:SECURITY*:**",
          "resource:*:*POLICY*:**",
          "resource:*:ROLE*:**",
          "file:*:**/.env",
          "file:*:**/.env.*",
          "file:*:**/*.pem",
          "file:*:**/*.key",
          "file:*:**/secrets/**",
          "file:*:**/security/**",
          "file:*:**/CODEOWNERS",
        ],
      },
      {
        category: "COMPLIANCE",
        targets: [
          "resource:*:COMPLIANCE*:**",
          "resource:*:AUDIT*:**",
          "resource:*:RETENTION*:**",
          "file:*:**/compliance/**",
        ],
      },
      {
        category: "INFRASTRUCTURE",
        targets: [
          "resource:*:INFRA*:**",
          "resource:*:DEPLOYMENT*:**",
          "resource:*:SYSTEM*:**",
          "file:*:.github/**",
          "file:*:.gitlab-ci.yml",
          "file:*:.circleci/**",
          "file:*:**/Jenkinsfile",
          "file:*:**/Dockerfile*",
          "file:*:**/docker-compose*",
          "file:*:**/compose.y*ml",
          "file:*:**/*.tf",
          "file:*:**/*.tfvars",
          "file:*:**/terraform/**",
          "file:*:**/k8s/**",
          "file:*:**/helm/**",
          "file:*:**/infra/**",
        ],
      },
      {
        category: "INTEGRATION",
        targets: [
          "resource:*:INTEGRATION*:**",
          "resource:*:WEBHOOK*:**",
          "resource:*:CONNECTOR*:**",
          "file:*:**/integrations/**",
          "file:*:**/webhooks/**",
        ],
      },
      {
        category: "API_CHANGE",
        targets: [
          "resource:*:API*:**",
          "resource:*:*ENDPOINT*:**",
          "resource:*:SCHEMA*:**",
          "file:*:**/openapi*",
          "file:*:**/*.graphql",
          "file:*:**/*.proto",
          "file:*:**/api/**",
          "file:*:**/migrations/**",
          "file:*:**/*.sql",
        ],
      },
      {
        category: "DESIGN_SYSTEM",
        targets: [
          "resource:*:*TOKEN*:**",
          "resource:*:DESIGN*:**",
          "resource:*:THEME*:**",
          "file:*:**/tokens/**",
          "file:*:**/design-system/**",
          "file:*:**/themes/**",
        ],
      },
      {
        category: "UI_LAYOUT",
        targets: [
          "resource:*:COMPONENT*:**",
          "resource:*:*LAYOUT*:**",
          "resource:*:PAGE*:**",
          "resource:*:SCENE*:**",
          "resource:*:UI*:**",
          "file:*:**/components/**",
          "file:*:**/layouts/**",
          "file:*:**/pages/**",
          "file:*:**/*.css",
          "file:*:**/*.scss",
          "file:*:**/*.html",
          "file:*:**/*.vue",
          "file:*:**/*.svelte",
          "file:*:**/*.tsx",
          "file:*:**/*.jsx",
        ],
      },
      {
        category: "CONFIG_UPDATE",
        targets: [
          "resource:*:*CONFIG*:**",
          "resource:*:SETTING*:**",
          "resource:*:FEATURE*:**",
          "file:*:**/config/**",
          "file:*:**/*.json",
          "file:*:**/*.jsonc",
          "file:*:**/*.yaml",
          "file:*:**/*.yml",
          "file:*:**/*.toml",
          "file:*:**/*.ini",
        ],
      },
    ],
  },
  ledger: { public: false },
};
