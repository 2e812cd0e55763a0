/**
 * A toy target kind, as CONTRIBUTING tells how to make one: values by store, environment and key. It shows that a kind needs nothing
 * outside its two folders (this one and `../server`) but its line in the two lists of kinds.
 */
import { z } from "zod";
// As a kind in the contract does: from its neighbours, not from the index, which is made of the kinds.
import { jsonValue } from "../../../../contract/src/json.js";
import { environmentName, type TargetDescriptor } from "../../../../contract/src/targets/descriptor.js";

export const kvTarget = z
  .strictObject({
    kind: z.literal("kv"),
    store: z.string().regex(/^[a-z]{1,20}$/),
    key: z.string().min(1).max(200),
    environment: environmentName.default("development"),
  })
  .meta({ id: "KvTarget", description: "A value in a store." });
export type KvTarget = z.infer<typeof kvTarget>;

export const kvDescriptor = {
  schema: kvTarget,
  imageMembers: { value: jsonValue.optional() },
  noun: "a value",
  // A key that ends with `/` is a group: CREATE makes a value of every member of `after`.
  fields: {
    CREATE: { required: ["after"] },
    UPDATE: { required: ["after"] },
    DELETE: {},
    RENAME: { required: ["to.id"] },
  },
  whole: { field: "after", of: "json" },
  renamedBy: "id",
  pattern: {
    parts: [
      { name: "environment", form: "<environment>", segments: "one", isEnvironment: true },
      { name: "store", form: "<store>", segments: "one" },
      { name: "key", form: "<key>", segments: "path" },
    ],
    foldsCase: false,
  },
  typed: { forms: ["kv:STORE:KEY"], example: "kv:flags:checkout/new" },
  parse: (rest, environment) => {
    const [store = "", ...key] = rest.split(":");
    return store === "" || key.length === 0 ? undefined : { kind: "kv", store, key: key.join(":"), environment };
  },
  text: ({ store, key }) => `kv:${store}:${key}`,
  shown: ({ id }) => `kv:${id}`,
  parts: ({ environment, id }) => [environment, id.slice(0, id.indexOf(":")), id.slice(id.indexOf(":") + 1)],
  localName: ({ id }) => id.slice(id.indexOf(":") + 1),
} satisfies TargetDescriptor<KvTarget>;
