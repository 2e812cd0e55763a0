/** How long an approval may take, what needs none, and who may undo. */
import { z } from "zod";
import { priorities } from "../changeSets.js";
import { limits } from "../limits.js";
import { configurationDocument, roleName } from "./parts.js";

export const approvalsConfiguration = z
  .strictObject({
    deadlineHours: z
      .strictObject(
        Object.fromEntries(priorities.map((name) => [name, z.int().min(1).max(48)])) as Record<
          (typeof priorities)[number],
          z.ZodInt
        >,
      )
      .meta({ description: "Hours to decide, by priority." }),
    undoWindowHours: z
      .int()
      .min(1)
      .max(24 * 365)
      .meta({ description: "Hours after an application in which it can be undone at once." }),
    auto: z.boolean().meta({ description: "Low risk that policy allows needs nobody's approval." }),
    mintedKeys: z.enum(["by_mode", "exclude", "exclude_resets"]).meta({
      description:
        "Whether a vote counts if its signing key was enrolled with a code from the author's human: never (exclude), or only if it is the voter's first key (exclude_resets). by_mode: organisation exclude, team exclude_resets.",
    }),
    onCallRole: roleName.meta({
      description: "The role that may roll back inside the undo window, besides the author's human and the approvers.",
    }),
  })
  .meta({ id: "ApprovalsConfiguration" });

/** Holds while the document is absent. */
export const approvals = configurationDocument(approvalsConfiguration, {
  deadlineHours: { LOW: 48, NORMAL: 24, HIGH: 8, CRITICAL: 2 },
  undoWindowHours: limits.undoWindowHoursDefault,
  auto: true,
  mintedKeys: "by_mode",
  onCallRole: "on_call",
});
