/** How risk is weighed, and what a level asks for. */
import { z } from "zod";
import { categories, riskLevels } from "../changeSets.js";
import { riskFloorNames } from "../governance.js";
import { configurationDocument, percent } from "./parts.js";

const steps = z
  .array(z.strictObject({ upTo: z.int().min(1), value: percent }))
  .min(1)
  .max(20)
  .superRefine((rows, context) => {
    for (const [index, row] of rows.entries()) {
      const before = rows[index - 1];
      if (before === undefined) continue;
      if (row.upTo <= before.upTo)
        context.addIssue({ code: "custom", path: [index, "upTo"], message: "steps must ascend" });
      if (row.value < before.value)
        context.addIssue({ code: "custom", path: [index, "value"], message: "more items cannot be less risk" });
    }
  });

export const riskConfiguration = z
  .strictObject({
    weights: z
      .strictObject({ operation: percent, target: percent, agent: percent, scope: percent, quantity: percent })
      .superRefine((w, context) => {
        const sum = w.operation + w.target + w.agent + w.scope + w.quantity;
        if (sum !== 100)
          context.addIssue({ code: "custom", path: [], message: `the weights add up to ${sum}, not 100` });
      }),
    operation: z.strictObject({ destructive: percent, update: percent, other: percent }),
    target: z.strictObject({
      sensitiveTypes: z
        .array(z.string().min(1).max(80))
        .max(100)
        .meta({ description: "Types of targets; `*` stands for any letters." }),
      sensitive: percent,
      protectedNamespaces: z
        .array(z.string().min(1).max(120))
        .max(100)
        .meta({ description: "Beginnings of ids or paths, whatever their case." }),
      protected: percent,
    }),
    agent: z.strictObject({
      types: z.record(z.string().regex(/^[A-Z][A-Z0-9_]*$/), percent),
      otherwise: percent,
      record: z
        .strictObject({
          appliedPerPoint: z
            .int()
            .min(1)
            .max(1000)
            .meta({ description: "Applied change-sets that lower the factor by one." }),
          rejected: percent,
          rolledBack: percent,
          failed: percent,
          lowest: z.int().min(-100).max(0),
          highest: percent,
        })
        .meta({ description: "Points for the outcomes of the author's last 50 finished change-sets." }),
    }),
    scope: z.strictObject({ categories: z.partialRecord(z.enum(categories), percent), otherwise: percent }),
    quantity: z.strictObject({ steps, otherwise: percent }),
    levels: z.strictObject({ CRITICAL: percent, HIGH: percent, MEDIUM: percent }).superRefine((l, context) => {
      if (!(l.CRITICAL > l.HIGH && l.HIGH > l.MEDIUM))
        context.addIssue({ code: "custom", path: [], message: "levels must descend: CRITICAL > HIGH > MEDIUM" });
    }),
    approvals: z
      .strictObject({
        CRITICAL: z.int().min(1).max(20),
        HIGH: z.int().min(1).max(20),
        MEDIUM: z.int().min(1).max(20),
        LOW: z.int().min(0).max(20),
      })
      .superRefine((a, context) => {
        if (!(a.CRITICAL >= a.HIGH && a.HIGH >= a.MEDIUM && a.MEDIUM >= a.LOW))
          context.addIssue({ code: "custom", path: [], message: "a higher level cannot need fewer approvals" });
      }),
    /** Each factor must be below these for a change-set nobody is asked about. */
    autoBelow: z.strictObject({ operation: percent, target: percent, scope: percent, quantity: percent }),
    floors: z.strictObject(
      Object.fromEntries(riskFloorNames.map((name) => [name, z.enum(riskLevels)])) as Record<
        (typeof riskFloorNames)[number],
        z.ZodEnum<{ LOW: "LOW"; MEDIUM: "MEDIUM"; HIGH: "HIGH"; CRITICAL: "CRITICAL" }>
      >,
    ),
  })
  .meta({ id: "RiskConfiguration" });
export type RiskProfile = z.infer<typeof riskConfiguration>;

/** Holds while the document is absent. */
export const risk = configurationDocument(riskConfiguration, {
  weights: { operation: 30, target: 35, agent: 15, scope: 15, quantity: 5 },
  operation: { destructive: 30, update: 10, other: 5 },
  target: {
    sensitiveTypes: ["SYSTEM", "SYSTEM_*", "SECURITY", "SECURITY_*", "*_SECURITY", "POLICY", "POLICY_*", "*_POLICY"],
    sensitive: 40,
    protectedNamespaces: ["system.", "security.", "admin."],
    protected: 35,
  },
  agent: {
    types: { UI_VELOCITY: 15, DESIGN_SYSTEM: 20, BACKEND_SERVICES: 35, INTEGRATION: 25 },
    otherwise: 30,
    record: { appliedPerPoint: 5, rejected: 3, rolledBack: 5, failed: 5, lowest: -10, highest: 30 },
  },
  scope: {
    categories: {
      UI_LAYOUT: 15,
      DESIGN_SYSTEM: 20,
      CONFIG_UPDATE: 25,
      API_CHANGE: 35,
      INFRASTRUCTURE: 60,
      COMPLIANCE: 70,
      SECURITY: 80,
    },
    otherwise: 30,
  },
  quantity: {
    steps: [
      { upTo: 5, value: 5 },
      { upTo: 10, value: 15 },
      { upTo: 20, value: 25 },
      { upTo: 50, value: 40 },
    ],
    otherwise: 50,
  },
  levels: { CRITICAL: 70, HIGH: 50, MEDIUM: 30 },
  approvals: { CRITICAL: 3, HIGH: 2, MEDIUM: 1, LOW: 0 },
  autoBelow: { operation: 20, target: 15, scope: 25, quantity: 10 },
  floors: {
    irreversible: "HIGH",
    destructive: "MEDIUM",
    delete_sensitive: "HIGH",
    protected_target: "HIGH",
    code_bearing: "HIGH",
    production: "MEDIUM",
    moves_referenced: "MEDIUM",
    security: "HIGH",
    infrastructure: "HIGH",
    compliance: "HIGH",
    new_agent: "MEDIUM",
  },
});
