/** Roles carry permissions; groups approve. */
import { z } from "zod";
import { permissionNames, type Permission } from "../permissions.js";
import { configurationDocument, roleName, shortText } from "./parts.js";

export const rolesConfiguration = z
  .strictObject({
    roles: z.record(
      roleName,
      z.strictObject({
        description: shortText.default(""),
        permissions: z.array(z.enum(permissionNames as [Permission, ...Permission[]])),
      }),
    ),
    groups: z.record(roleName, z.strictObject({ description: shortText.default("") })),
  })
  .meta({ id: "RolesConfiguration", description: "Roles carry permissions; groups approve." });

const reading: readonly Permission[] = [
  "change_sets.read",
  "resources.read",
  "workspaces.read",
  "principals.read",
  "audit.read",
  "audit.verify",
  "config.read",
];

/** Holds while the document is absent. */
export const roles = configurationDocument(rolesConfiguration, {
  roles: {
    admin: { description: "Everything in the tenant.", permissions: [...permissionNames] },
    operator: {
      description: "Applies, undoes, stops.",
      permissions: [
        ...reading,
        "change_sets.apply",
        "change_sets.roll_back",
        "change_sets.resolve",
        "change_sets.archive",
        "kill.engage",
        "kill.release",
      ],
    },
    on_call: {
      description: "Undoes inside the undo window, stops.",
      permissions: [...reading, "change_sets.roll_back", "kill.engage", "kill.release"],
    },
    member: {
      description: "Proposes and approves.",
      permissions: [
        ...reading,
        "change_sets.propose",
        "change_sets.vote",
        "change_sets.apply",
        "change_sets.roll_back",
        "change_sets.archive",
        "kill.engage",
      ],
    },
    agent: {
      description: "For agents and services; grants say on which targets.",
      permissions: [
        "change_sets.read",
        "change_sets.propose",
        "change_sets.apply",
        "resources.read",
        "workspaces.read",
        "config.read",
        "kill.engage",
      ],
    },
    auditor: { description: "Reads and verifies.", permissions: [...reading, "keys.read"] },
  },
  groups: {
    reviewers: { description: "Approves change-sets whose category names no other group." },
    ui: { description: "User interfaces." },
    design: { description: "The design system." },
    backend: { description: "Services, APIs, infrastructure, security." },
    integration: { description: "Integrations with other systems." },
  },
});
