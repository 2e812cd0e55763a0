/**
 * Items, as an agent writes them. An item is one operation on one target. Each target kind decides which fields an
 * operation takes; `docs/targets.md` has the tables.
 */
import { z } from "zod";
import { limits } from "./limits.js";

export const itemOperations = [
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
] as const;
export type ItemOperation = (typeof itemOperations)[number];

export const targetKinds = ["resource", "file"] as const;
export type TargetKindName = (typeof targetKinds)[number];

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

export const jsonValue: z.ZodType<JsonValue> = z.json() as z.ZodType<JsonValue>;
export const jsonObject = z.record(z.string(), jsonValue).meta({ description: "A JSON object." });

const targetId = z.string().min(1).max(limits.targetIdLengthMax);

/** A name made of segments such as `development` or `eu.staging`. */
export const environmentName = z
  .string()
  .regex(/^[a-z][a-z0-9._-]{0,62}$/)
  .meta({
    description: "Environment of a target, e.g. `development`, `staging`, `production`.",
    example: "development",
  });

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

export const fileTarget = z
  .strictObject({
    kind: z.literal("file"),
    workspace: z.string().min(1).max(120).meta({ description: "Name of a registered workspace.", example: "shop" }),
    path: z
      .string()
      .min(1)
      .max(limits.pathLengthMax)
      .meta({ description: "Path below the workspace root, with `/`.", example: "config/app.json" }),
  })
  .meta({ id: "FileTarget", description: "A file below a registered workspace root." });

export const target = z.discriminatedUnion("kind", [resourceTarget, fileTarget]);
export type Target = z.infer<typeof target>;

export const patchOperation = z
  .looseObject({ op: z.enum(["add", "remove", "replace", "move", "copy", "test"]), path: z.string() })
  .meta({ id: "JsonPatchOperation", description: "One operation of a JSON Patch (RFC 6902)." });

export const itemInput = z
  .strictObject({
    operation: z.enum(itemOperations),
    target,
    after: jsonValue
      .optional()
      .meta({ description: "The whole document after the operation (CREATE, UPDATE of JSON)." }),
    patch: z
      .array(patchOperation)
      .min(1)
      .max(limits.patchOperationsMax)
      .optional()
      .meta({ description: "JSON Patch (RFC 6902) against the document as it is." }),
    content: z
      .strictObject({ text: z.string().optional(), base64: z.base64().optional() })
      .optional()
      .meta({ description: "The whole file after the operation: exactly one of `text` (UTF-8) and `base64`." }),
    mode: z
      .string()
      .regex(/^0?[0-7]{3}$/)
      .optional()
      .meta({ description: "File mode in octal for CREATE, e.g. `644`.", example: "644" }),
    pointer: z
      .string()
      .max(limits.pathLengthMax)
      .optional()
      .meta({ description: "JSON pointer (RFC 6901) to the property, parent or child." }),
    value: jsonValue.optional().meta({ description: "The value for CHANGE_PROPERTY or ADD_CHILD." }),
    key: z
      .union([z.string(), z.int().min(0)])
      .optional()
      .meta({ description: "Member name or array index of a child (ADD_CHILD)." }),
    order: z
      .array(z.union([z.string(), z.int().min(0)]))
      .optional()
      .meta({ description: "REORDER: the present indices in their new order." }),
    to: z
      .strictObject({
        id: targetId.optional(),
        path: z.string().min(1).max(limits.pathLengthMax).optional(),
        environment: environmentName.optional(),
        pointer: z.string().optional(),
      })
      .optional()
      .meta({ description: "Where to: the new id or path (MOVE, RENAME), or the pointer to move a value to." }),
    dependsOn: z
      .array(z.int().min(1))
      .max(limits.itemsMax)
      .optional()
      .meta({ description: "Sequence numbers (from 1) of items that must come first." }),
    metadata: jsonObject.optional(),
  })
  .meta({ id: "ItemInput", description: "One operation on one target." });
export type ItemInput = z.infer<typeof itemInput>;

/** How an item can be undone: bytes exactly; by another action; not at all. */
export const reversibilities = ["exact", "compensating", "irreversible"] as const;
export type Reversibility = (typeof reversibilities)[number];

/** Effects of an item beyond its diff. Each one sets or raises a risk factor. */
export const effectFlags = ["destructive", "protected_path", "code_bearing", "production", "moves_referenced"] as const;
export type EffectFlag = (typeof effectFlags)[number];
