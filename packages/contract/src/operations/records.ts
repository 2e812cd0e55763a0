import { z } from "zod";
import { timestamp, uuid } from "../changeSets.js";
import { jsonObject, jsonValue } from "../json.js";
import { environmentName } from "../targets/index.js";
import { operation } from "./operation.js";
import { page, paged } from "./changeSets.js";
import { digest } from "../ids.js";

const resourceName = {
  environment: environmentName.default("development"),
  type: z.string().min(1),
  id: z.string().min(1),
};
const resourceView = z
  .object({
    uuid,
    environment: z.string(),
    type: z.string(),
    id: z.string(),
    revision: z.int(),
    deleted: z.boolean(),
    hash: digest.nullable(),
    document: jsonValue.nullable(),
  })
  .meta({ id: "Resource" });
export type ResourceView = z.infer<typeof resourceView>;

export const recordOperations = {
  listResources: operation({
    method: "GET",
    path: "/api/ledger/resources",
    summary: "JSON resources, without their documents.",
    tag: "Targets",
    input: z.strictObject({
      environment: z.string().optional(),
      type: z.string().optional(),
      prefix: z.string().optional(),
      deleted: z.stringbool().default(false),
      ...page,
    }),
    output: paged(resourceView.omit({ document: true })),
    status: 200,
    permission: "resources.read",
    mcp: { class: "READ", tool: "list_resources" },
    errors: ["read_not_granted"],
    cli: "resource list",
  }),
  getResource: operation({
    method: "GET",
    path: "/api/ledger/resource",
    summary: "One JSON resource in its present state, or at a revision.",
    tag: "Targets",
    input: z.strictObject({ ...resourceName, revision: z.coerce.number().int().min(1).optional() }),
    output: resourceView,
    status: 200,
    permission: "resources.read",
    mcp: { class: "READ", tool: "get_resource" },
    errors: ["read_not_granted"],
    cli: "resource show",
  }),
  getResourceHistory: operation({
    method: "GET",
    path: "/api/ledger/resource/history",
    summary: "The revisions of a resource and the change-sets that made them.",
    tag: "Targets",
    input: z.strictObject({ ...resourceName, ...page }),
    output: paged(
      z.object({
        revision: z.int(),
        hash: digest.nullable(),
        deleted: z.boolean(),
        changeSetId: uuid.nullable(),
        changeSetNumber: z.string().nullable(),
        at: timestamp,
      }),
    ),
    status: 200,
    permission: "resources.read",
    mcp: { class: "READ", tool: "get_resource_history" },
    errors: ["read_not_granted"],
    cli: "resource history",
  }),
  getConfiguration: operation({
    method: "GET",
    path: "/api/ledger/config",
    summary: "The configuration in force: each document, and whether it is the built-in default.",
    tag: "Configuration",
    input: z.strictObject({}),
    output: z.object({
      rows: z.array(
        z.object({
          name: z.string(),
          document: jsonObject,
          source: z.enum(["default", "resource"]),
          revision: z.int().nullable(),
        }),
      ),
    }),
    status: 200,
    permission: "config.read",
    mcp: { class: "READ", tool: "get_configuration" },
    errors: [],
    cli: "config pull",
  }),
};
