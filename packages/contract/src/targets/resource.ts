/** The resource kind: JSON documents that Countersign keeps itself, by environment, type and id. */
import { z } from "zod";
import { jsonValue } from "../json.js";
import { environmentName, type TargetDescriptor, targetId } from "./descriptor.js";

export const resourceTarget = z
  .strictObject({
    kind: z.literal("resource"),
    type: z
      .string()
      .regex(/^[A-Z][A-Z0-9_]{0,62}$/)
      .meta({
        description: "Type of the document, e.g. CONFIG, COMPONENT, LAYOUT, TOKEN, API_ENDPOINT.",
        example: "CONFIG",
      }),
    id: targetId.meta({ example: "shop/checkout" }),
    environment: environmentName.default("development"),
  })
  .meta({ id: "ResourceTarget", description: "A JSON document kept by Countersign." });
export type ResourceTarget = z.infer<typeof resourceTarget>;

const typedType = /^[A-Z][A-Z0-9_]*$/;
const typedEnvironment = /^[a-z][a-z0-9._-]{0,62}$/;

function parse(rest: string, environment: string): ResourceTarget | undefined {
  const parts = rest.split(":");
  const named = typedType.test(parts[0] ?? "") ? undefined : parts.shift();
  const type = parts.shift() ?? "";
  // An id may hold colons: what is left is all of it.
  const id = parts.join(":");
  if (!typedType.test(type) || id === "" || (named !== undefined && !typedEnvironment.test(named))) return undefined;
  return { kind: "resource", environment: named ?? environment, type, id };
}

const text = ({ environment, type, id }: { environment: string; type: string; id: string }): string =>
  `${environment}:${type}:${id}`;

export const resourceDescriptor = {
  schema: resourceTarget,
  imageMembers: { document: jsonValue.optional() },
  noun: "a resource",
  fields: {
    CREATE: { required: ["after"] },
    UPDATE: { forms: [["after"], ["patch"]] },
    DELETE: {},
    RENAME: { required: ["to.id"] },
    MOVE: { forms: [["to.environment"], ["pointer", "to.pointer"]], optional: ["to.id"] },
    CHANGE_PROPERTY: { required: ["pointer", "value"] },
    ADD_CHILD: { required: ["value"], optional: ["pointer", "key"] },
    REMOVE_CHILD: { required: ["pointer"] },
    REORDER: { required: ["order"], optional: ["pointer"] },
  },
  whole: { field: "after", of: "json" },
  renamedBy: "id",
  pattern: {
    parts: [
      { name: "environment", form: "<environment>", segments: "one", isEnvironment: true },
      { name: "type", form: "<TYPE>", segments: "one" },
      { name: "id", form: "<id>", segments: "path" },
    ],
    foldsCase: false,
  },
  typed: {
    forms: ["CONFIG:shop/checkout", "production:CONFIG:shop/checkout"],
    example: "CONFIG:shop/checkout",
    isDefault: true,
  },
  parse,
  text,
  shown: text,
  parts: ({ environment, type, id }) => [environment, type, id],
  localName: ({ id }) => id,
} satisfies TargetDescriptor<ResourceTarget>;
