/**
 * Items, as an agent writes them. An item is one operation on one target. Each target kind decides which fields an
 * operation takes; `docs/targets.md` has the tables.
 */
import { z } from "zod";
import { jsonObject, jsonValue } from "./json.js";
import { limits } from "./limits.js";
import { environmentName, itemOperations, target, targetId } from "./targets/index.js";

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
