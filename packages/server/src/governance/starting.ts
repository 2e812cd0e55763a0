/**
 * The configuration `countersign init` writes: short documents that a person can read and change. All other documents
 * keep their built-in defaults.
 */
import {
  configurationId,
  type ConfigurationDocument,
  type ConfigurationName,
  type TenantMode,
} from "@countersign/contract";

export interface StartingDocument {
  readonly name: ConfigurationName;
  /** Id of the resource. */
  readonly id: string;
  readonly document: ConfigurationDocument<ConfigurationName>;
}

/** The roles and groups of the first human. */
export function startingBindings(mode: TenantMode): {
  readonly roles: readonly string[];
  readonly groups: readonly string[];
} {
  return {
    roles: mode === "solo" ? ["admin", "on_call"] : ["admin"],
    groups: ["reviewers", "ui", "design", "backend", "integration"],
  };
}

/** Agents may read and propose in the workspace and in development; secrets are out of reach; people keep the rules. */
export function startingConfiguration(
  mode: TenantMode,
  options: { readonly workspace?: string } = {},
): StartingDocument[] {
  const documents: { [N in ConfigurationName]?: ConfigurationDocument<N> } = {
    grants: startingGrants(options.workspace),
    policy: startingPolicy,
    // Small teams review everything together; an organisation keeps the built-in table of groups by category.
    ...(mode === "organisation"
      ? {}
      : {
          routes: {
            categories: {},
            otherwise: [{ name: "review", groups: ["reviewers"], quorum: 1 }],
            escalation: ["role:admin"],
          },
        }),
  };
  return (Object.keys(documents) as ConfigurationName[]).map((name) => ({
    name,
    id: configurationId(name),
    document: documents[name] as ConfigurationDocument<ConfigurationName>,
  }));
}

function startingGrants(workspace: string | undefined): ConfigurationDocument<"grants"> {
  const files = workspace === undefined ? [] : [`file:${escapeName(workspace)}:**`];
  return {
    grants: [
      {
        id: "agents-workspace",
        description: "Agents may look at and propose changes to the workspace and to resources outside production.",
        principals: ["agents"],
        operations: ["*"],
        targets: [...files, "resource:development:*:**", "resource:staging:*:**"],
      },
      {
        id: "agents-read-production",
        description: "Agents may look at production.",
        principals: ["agents"],
        operations: ["read"],
        targets: ["resource:production:*:**"],
      },
    ],
  };
}

/** A workspace's name as a literal in a pattern. */
export function escapeName(name: string): string {
  return name.replace(/[\\*:]/g, (char) => `\\${char}`);
}

const startingPolicy: ConfigurationDocument<"policy"> = {
  rules: [
    {
      id: "no-secrets",
      description: "Secrets stay with people: agents neither read nor change them.",
      effect: "forbid",
      principals: ["agents", "services"],
      operations: ["*"],
      targets: [
        "file:*:**/.env",
        "file:*:**/.env.*",
        "file:*:**/*.pem",
        "file:*:**/*.key",
        "file:*:**/secrets/**",
        "file:*:**/.ssh/**",
      ],
    },
    {
      id: "people-keep-the-rules",
      description: "Agents do not change the configuration that governs them.",
      effect: "forbid",
      principals: ["agents", "services"],
      operations: [
        "CREATE",
        "UPDATE",
        "DELETE",
        "MOVE",
        "RESIZE",
        "RENAME",
        "REORDER",
        "CHANGE_PROPERTY",
        "ADD_CHILD",
        "REMOVE_CHILD",
      ],
      targets: ["resource:system:*:**"],
    },
    {
      id: "production-needs-a-person",
      description: "Nothing reaches production without somebody's approval.",
      effect: "require_approval",
      principals: ["*"],
      targets: ["*"],
      environments: ["production"],
    },
  ],
};
