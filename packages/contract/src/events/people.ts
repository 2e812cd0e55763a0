/** Events of tenants, principals and their keys. Names, labels, roles and groups are in the bodies. */
import { z } from "zod";
import { tenantModes } from "../principals.js";
import { agentType, count, counted, event, id, publicKey, scope, timeMs, when } from "./event.js";

const mode = z.enum(tenantModes);
const principalStatus = z.enum(["ACTIVE", "SUSPENDED"]);
const expiresAtMs = timeMs;

export const tenantEvents = {
  "tenant.created": event(
    "tenant",
    { kind: z.enum(["customer", "deployment"]), mode },
    {
      sentence: ({ actor, subject, data }) => `${actor} created the tenant ${subject} in mode ${data.mode}`,
      concerns: ["administrators"],
    },
  ),
  "tenant.listed": event(
    "tenant",
    { mode },
    {
      sentence: ({ actor, subject }) => `${actor} added the tenant ${subject} to the deployment`,
      concerns: ["operators"],
    },
  ),
  "tenant.mode_requested": event(
    "tenant",
    { from: mode, to: mode },
    {
      sentence: ({ actor, data }) => `${actor} asked for mode ${data.to}; another person must agree`,
      concerns: ["administrators"],
    },
  ),
  "tenant.mode_changed": event(
    "tenant",
    { from: mode, to: mode, requestedBy: id.optional() },
    {
      sentence: ({ actor, data }) => `${actor} changed the tenant's mode from ${data.from} to ${data.to}`,
      concerns: ["administrators", "auditors"],
    },
  ),
};

export const principalEvents = {
  "principal.created": event(
    "principal",
    {
      kind: z.enum(["human", "agent", "service"]),
      agentType: agentType.optional(),
      answerable: id.optional().meta({ description: "The person answerable for an agent or a service." }),
    },
    {
      changesAccess: true,
      verified: true,
      sentence: ({ actor, subject, data }) => `${actor} created the ${data.kind} ${subject}`,
      concerns: ["administrators", "answerable"],
    },
  ),
  "principal.suspended": event(
    "principal",
    { from: principalStatus, to: principalStatus },
    {
      changesAccess: true,
      tone: "taken_back",
      sentence: ({ actor, subject }) => `${actor} suspended ${subject}`,
      concerns: ["principal", "answerable", "administrators"],
    },
  ),
  "principal.reinstated": event(
    "principal",
    { from: principalStatus, to: principalStatus },
    {
      changesAccess: true,
      sentence: ({ actor, subject }) => `${actor} reinstated ${subject}`,
      concerns: ["principal", "answerable", "administrators"],
    },
  ),
  "principal.bindings_changed": event(
    "principal",
    { added: count, removed: count },
    {
      changesAccess: true,
      sentence: ({ actor, subject, data }) =>
        `${actor} gave ${subject} ${counted(data.added, "role or group", "roles or groups")} and took ${data.removed}`,
      concerns: ["principal", "administrators"],
    },
  ),
  "principal.answerability_accepted": event(
    "principal",
    { answerable: id, answerableBefore: id.optional() },
    {
      changesAccess: true,
      sentence: ({ actor, subject }) => `${actor} is answerable for ${subject} now`,
      concerns: ["principal", "answerable", "administrators"],
    },
  ),
  "principal.api_key_minted": event(
    "principal",
    { apiKey: id, scopes: z.array(scope), expiresAtMs },
    {
      changesAccess: true,
      sentence: ({ actor, subject }) => `${actor} made an API key for ${subject}`,
      concerns: ["principal", "answerable"],
    },
  ),
  "principal.api_key_revoked": event(
    "principal",
    { apiKey: id },
    {
      changesAccess: true,
      tone: "stopped",
      sentence: ({ actor, subject }) => `${actor} revoked an API key of ${subject}`,
      concerns: ["principal", "answerable"],
    },
  ),
  "principal.code_issued": event(
    "principal",
    { code: id, expiresAtMs },
    {
      changesAccess: true,
      sentence: ({ actor, subject }) => `${actor} issued a code with which ${subject} enrols a key`,
      concerns: ["principal", "administrators"],
    },
  ),
  "principal.key_enrolled": event(
    "principal",
    {
      key: id,
      algorithm: z.literal("Ed25519"),
      publicKey,
      code: id.optional().meta({ description: "The code it was enrolled with." }),
      mintedBy: id.optional().meta({ description: "Who issued that code." }),
    },
    {
      changesAccess: true,
      verified: true,
      sentence: ({ actor, subject, data }) =>
        `${actor} enrolled a signing key${when(actor !== subject, ` of ${subject}`)} (${data.publicKey.slice(0, 8)}…)`,
      concerns: ["principal", "administrators"],
    },
  ),
  "principal.key_revoked": event(
    "principal",
    { key: id },
    {
      changesAccess: true,
      verified: true,
      tone: "stopped",
      sentence: ({ actor, subject }) => `${actor} revoked a signing key of ${subject}`,
      concerns: ["principal", "administrators"],
    },
  ),
};
