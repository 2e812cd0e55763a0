/** Who approves what. */
import { z } from "zod";
import { categories, riskLevels } from "../changeSets.js";
import { limits } from "../limits.js";
import { configurationDocument, groupName, ruleId, stage, targetPattern } from "./parts.js";
import { environmentName } from "../targets/index.js";

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

/** Holds while the document is absent. */
export const routes = configurationDocument(routesConfiguration, {
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
});
