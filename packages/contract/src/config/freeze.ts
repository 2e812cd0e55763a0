/** When nothing is applied. */
import { z } from "zod";
import { categories } from "../changeSets.js";
import { limits } from "../limits.js";
import { configurationDocument, ruleId, shortText, targetPattern } from "./parts.js";
import { environmentName } from "../targets/index.js";

const day = z.enum(["mon", "tue", "wed", "thu", "fri", "sat", "sun"]);
const clock = z
  .string()
  .regex(/^(?:[01]\d|2[0-3]):[0-5]\d$|^24:00$/)
  .meta({ description: "UTC, `HH:MM`.", example: "17:00" });
const frozenThings = {
  reason: shortText,
  environments: z.array(environmentName).min(1).optional(),
  categories: z.array(z.enum(categories)).min(1).optional(),
  targets: z.array(targetPattern).min(1).max(limits.grantsMax).optional(),
};
export const freezeConfiguration = z
  .strictObject({
    windows: z
      .array(
        z
          .strictObject({ id: ruleId, from: z.iso.datetime(), until: z.iso.datetime(), ...frozenThings })
          .refine((w) => Date.parse(w.from) < Date.parse(w.until), {
            path: ["until"],
            message: "`until` must be after `from`",
          }),
      )
      .max(200),
    weekly: z
      .array(
        z
          .strictObject({ id: ruleId, days: z.array(day).min(1).max(7), from: clock, until: clock, ...frozenThings })
          .refine((w) => w.from < w.until, {
            path: ["until"],
            message: "`until` must be after `from` on the same day; write two windows across midnight",
          }),
      )
      .max(50),
  })
  .meta({ id: "FreezeConfiguration", description: "Times in which nothing is applied. Rollbacks go on." });

/** Holds while the document is absent. */
export const freeze = configurationDocument(freezeConfiguration, { windows: [], weekly: [] });
