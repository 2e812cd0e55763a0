/** Sets up the demo's people, agents and rules, as a user would: by one-time codes, keys and change-sets. */
import { agentTypes, type ConfigurationDocument, type JsonObject } from "@countersign/contract";
import type { Chain } from "./histories.js";
import { addAgent, addPerson, enrolPerson, proven, vote, type Agent, type Person } from "./people.js";
import type { DemoServer } from "./server.js";
import type { Cast } from "./stage.js";

export const workspaceName = "demo";

/** The first human sets up; two more join, then the tenant becomes an organisation: authors' humans do not approve any more. */
export async function gather(server: DemoServer, root: string, chains: readonly Chain[]): Promise<Cast> {
  const { url } = server;
  const first = await enrolPerson(url, server.enrolmentCode);
  await configure(first);
  await first.client.registerWorkspace(proven(first, "registerWorkspace", { name: workspaceName, root }));
  const roles = { roles: ["admin", "on_call"], groups: ["reviewers", "ui", "design", "backend", "integration"] };
  const owner = await addPerson(first, url, "Grace", roles);
  const other = await addPerson(first, url, "Barbara", roles);
  await first.client.setTenantMode(proven(first, "setTenantMode", { mode: "organisation" }));

  const agents = new Map<string, Agent>();
  const authors = [...new Set(chains.flatMap((chain) => chain.edits.map((edit) => edit.author)))];
  for (const [index, author] of authors.entries()) {
    const type = agentTypes[index % agentTypes.length] ?? "GENERAL";
    agents.set(author, await addAgent(owner, url, author, type));
  }
  return { first, owner, approvers: [first, other], agents };
}

const grants: ConfigurationDocument<"grants"> = {
  grants: [
    {
      id: "agents-work",
      description: "Agents work in the workspace and on resources.",
      principals: ["agents"],
      operations: ["*"],
      targets: [`file:${workspaceName}:**`, "resource:development:*:**", "resource:production:*:**"],
    },
    {
      id: "agents-see-the-rules",
      description: "Agents may look at the configuration that governs them.",
      principals: ["agents"],
      operations: ["read"],
      targets: ["resource:system:*:**"],
    },
  ],
};
const policy: ConfigurationDocument<"policy"> = {
  rules: [
    {
      id: "no-secrets",
      description: "Secrets stay with people.",
      effect: "forbid",
      principals: ["agents"],
      targets: ["file:*:**/.env", "file:*:**/secrets/**"],
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
      targets: ["*"],
      environments: ["production"],
    },
  ],
};

/** Configuration is changed like everything else: proposed, signed, applied. The tenant is still solo, so one person does. */
export async function configure(first: Person): Promise<void> {
  const documents: readonly (readonly [string, object])[] = [
    ["grants", grants],
    ["policy", policy],
  ];
  const items = documents.map(([name, after]) => ({
    operation: "CREATE" as const,
    target: { kind: "resource" as const, type: "SYSTEM_CONFIG", id: `system.config/${name}`, environment: "system" },
    after: after as JsonObject,
  }));
  const created = await first.client.createChangeSet({ title: "Starting policy and grants", items });
  let { changeSet } = await first.client.submitChangeSet({ id: created.changeSet.id });
  if (changeSet.status === "PENDING_APPROVAL") changeSet = await vote(first, changeSet, "APPROVED");
  await first.client.applyChangeSet({ id: changeSet.id });
}
