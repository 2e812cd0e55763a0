/**
 * Parts that configuration documents are made of.
 *
 * What a member means beyond its form is marked here, once, on the part itself: governance checks what is marked, whatever the
 * member is called and wherever it stands. A new document is held to a rule because it uses a part, never because of a name.
 */
import { z } from "zod";
import { grantOperations } from "../governance.js";
import { limits } from "../limits.js";
import { mark } from "./marks.js";
import { environmentName } from "../targets/index.js";

/** A document: its schema, and what holds while it is absent. Shown by `countersign config pull` like a written one. */
export function configurationDocument<S extends z.ZodType>(
  schema: S,
  builtIn: z.input<S>,
): { readonly schema: S; readonly builtIn: z.input<S> } {
  return { schema, builtIn };
}

export const shortText = z.string().max(limits.reasonLengthMax);
export const percent = z.int().min(0).max(100);

/** Names a rule in every decision it makes: given once in a document. */
export const ruleId = mark(
  "ruleId",
  z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/)
    .meta({ description: "Lower-case letters, digits, dots, dashes and underscores.", example: "ui-agents-layouts" }),
);
/** A group or role that is asked; one that nobody defined is probably not meant. */
export const groupName = mark(
  "group",
  z
    .string()
    .regex(/^(?:role:)?[a-z][a-z0-9_-]{0,62}$/)
    .meta({ description: "Name of a group, or `role:NAME`.", example: "design" }),
);
export const roleName = z.string().regex(/^[a-z][a-z0-9_-]{0,62}$/);

/** A target pattern; docs/policy.md has the grammar. */
export const targetPattern = mark(
  "pattern",
  z
    .string()
    .min(1)
    .max(limits.targetIdLengthMax)
    .meta({ description: "Target pattern.", example: "file:shop:config/**" }),
);
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

export const stage = z
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

export const scope = {
  principals: z.array(principalSelector).min(1).max(100),
  operations: z.array(operationSelector).min(1).max(12),
  targets: z.array(targetPattern).min(1).max(limits.grantsMax),
  environments: z.array(environmentName).min(1).max(50).optional(),
};
