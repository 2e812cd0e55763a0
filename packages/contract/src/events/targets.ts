/** Events of what change-sets change: JSON resources, and the workspaces of files. Names and roots are in the bodies. */
import { z } from "zod";
import { event, sha256 } from "./event.js";

const revision = z.int().positive().meta({ description: "Of the resource, from 1." });
const state = {
  revision,
  before: sha256.optional().meta({ description: "Of the state before; left out where there was none." }),
  after: sha256.optional().meta({ description: "Of the state after; left out where there is none." }),
};
/** A change-set did it, which tells whoever it concerns itself. */
const concerns = ["auditors"] as const;

export const targetEvents = {
  "resource.created": event("resource", state, {
    sentence: ({ actor, subject }) => `${actor} created the resource ${subject}`,
    concerns,
  }),
  "resource.updated": event("resource", state, {
    sentence: ({ actor, subject, data }) => `${actor} made revision ${data.revision} of the resource ${subject}`,
    concerns,
  }),
  "resource.deleted": event("resource", state, {
    sentence: ({ actor, subject }) => `${actor} deleted the resource ${subject}`,
    concerns,
  }),
  "resource.moved": event("resource", state, {
    sentence: ({ actor, subject }) => `${actor} moved the resource ${subject} to another place`,
    concerns,
  }),
  "resource.revisions_erased": event(
    "resource",
    { revisions: z.array(revision) },
    {
      sentence: ({ actor, subject, data }) =>
        `${actor} erased what revisions ${data.revisions.join(", ")} of the resource ${subject} held`,
      concerns,
    },
  ),
  "workspace.registered": event(
    "workspace",
    {},
    { sentence: ({ actor, subject }) => `${actor} registered the workspace ${subject}`, concerns: ["operators"] },
  ),
  "workspace.removed": event(
    "workspace",
    {},
    {
      sentence: ({ actor, subject }) => `${actor} took the workspace ${subject} from the register`,
      concerns: ["operators"],
    },
  ),
};
