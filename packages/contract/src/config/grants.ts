/** What agents may read and propose. */
import { z } from "zod";
import { limits } from "../limits.js";
import { configurationDocument, ruleId, scope, shortText } from "./parts.js";

export const grantsConfiguration = z
  .strictObject({
    grants: z.array(z.strictObject({ id: ruleId, description: shortText.optional(), ...scope })).max(limits.grantsMax),
  })
  .meta({
    id: "GrantsConfiguration",
    description: "What agents may read and propose. Nothing is granted that is not written here or in a permit rule.",
  });

/** Holds while the document is absent. */
export const grants = configurationDocument(grantsConfiguration, { grants: [] });
