/** How much one principal may do. */
import { z } from "zod";
import { configurationDocument } from "./parts.js";

const perHour = z.int().min(1).max(1_000_000);
export const limitsConfiguration = z
  .strictObject({
    perHour: z.strictObject({
      agent: z.strictObject({ changeSets: perHour, items: perHour, submits: perHour, applies: perHour }),
      human: z.strictObject({ changeSets: perHour, items: perHour, submits: perHour, applies: perHour }),
    }),
    holdsPerDay: z
      .int()
      .min(1)
      .max(1000)
      .meta({ description: "Holds of the whole tenant one agent may set in a day." }),
  })
  .meta({ id: "LimitsConfiguration", description: "Exact limits, counted by the ledger. Services count as agents." });

/** Holds while the document is absent. */
export const limits = configurationDocument(limitsConfiguration, {
  perHour: {
    agent: { changeSets: 600, items: 6_000, submits: 600, applies: 600 },
    human: { changeSets: 6_000, items: 60_000, submits: 6_000, applies: 6_000 },
  },
  holdsPerDay: 4,
});
