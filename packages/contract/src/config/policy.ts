/** Rules over all principals: forbid beats require_approval beats permit. */
import { z } from "zod";
import { categories, riskLevels } from "../changeSets.js";
import { configurationDocument, ruleId, scope, shortText, stage } from "./parts.js";

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

/** Holds while the document is absent. */
export const policy = configurationDocument(policyConfiguration, { rules: [] });
