/**
 * Schemas of tenants, principals, their keys and roles, workspaces, and the kill-switch, as they are sent and shown.
 */
import { z } from "zod";
import { agentTypes, principalSummary, receipts, timestamp, uuid } from "./changeSets.js";
import { environmentName } from "./targets/index.js";
import { limits } from "./limits.js";

export const tenantModes = ["solo", "team", "organisation"] as const;
export type TenantMode = (typeof tenantModes)[number];

export const name = z
  .string()
  .min(1)
  .max(limits.principalNameLengthMax)
  .refine((t) => t.trim() === t, "no white space at its ends");

export const tenantView = z
  .object({ id: uuid, name: z.string(), mode: z.enum(tenantModes), createdAt: timestamp })
  .meta({ id: "Tenant" });

export const principalView = principalSummary
  .extend({
    status: z.enum(["ACTIVE", "SUSPENDED"]),
    agentType: z.enum(agentTypes).nullable(),
    answerable: principalSummary.nullable().meta({ description: "The human who accepted to be answerable." }),
    roles: z.array(z.string()),
    groups: z.array(z.string()),
    signingKeys: z.int().meta({ description: "Active signing keys." }),
    createdAt: timestamp,
  })
  .meta({ id: "Principal" });
export type PrincipalView = z.infer<typeof principalView>;

export const apiKeyView = z
  .object({
    id: uuid,
    principal: principalSummary,
    name: z.string(),
    scopes: z.array(z.string()),
    createdAt: timestamp,
    expiresAt: timestamp,
    revokedAt: timestamp.nullable(),
    lastUsedAt: timestamp.nullable(),
  })
  .meta({ id: "ApiKey" });
export type ApiKeyView = z.infer<typeof apiKeyView>;

export const signingKeyView = z
  .object({
    id: uuid,
    principal: principalSummary,
    algorithm: z.literal("Ed25519"),
    publicKey: z.string().meta({ description: "32 bytes, base64url." }),
    label: z.string(),
    status: z.enum(["ACTIVE", "REVOKED"]),
    enrolledAt: timestamp,
    revokedAt: timestamp.nullable(),
  })
  .meta({ id: "SigningKey" });
export type SigningKeyView = z.infer<typeof signingKeyView>;

/**
 * A key proof: it shows that the person unlocked their signing key for this request. Signed bytes:
 * `countersign.proof.v1\n` tenant `\n` operation id `\n` hex SHA-256 of the JCS of the request's input without `proof`
 * `\n` principal `\n` atMs `\n`. Good once, for ten minutes.
 */
export const keyProof = z.strictObject({ keyId: uuid, atMs: z.int().positive(), signature: z.string().max(200) }).meta({
  id: "KeyProof",
  description: "Ed25519 signature by the caller's own key over the request (docs/authentication.md).",
});
export type KeyProof = z.infer<typeof keyProof>;

export const workspaceView = z
  .object({
    id: uuid,
    name: z.string(),
    root: z.string(),
    environment: environmentName,
    status: z.enum(["ACTIVE", "REMOVED"]),
    createdAt: timestamp,
  })
  .meta({ id: "Workspace" });
export type WorkspaceView = z.infer<typeof workspaceView>;

export const killSwitchView = z
  .object({
    id: uuid,
    scope: z.string(),
    status: z.enum(["ENGAGED", "HELD", "RELEASED"]),
    reason: z.string().nullable(),
    engagedBy: principalSummary,
    engagedAt: timestamp,
    holdUntil: timestamp.nullable(),
    releaseVotes: z.int(),
    releaseVotesRequired: z.int(),
    inFlight: z
      .array(uuid)
      .meta({ description: "Applications that had a step under way when the kill-switch was engaged." }),
  })
  .meta({ id: "KillSwitch" });
export type KillSwitchView = z.infer<typeof killSwitchView>;

export const principalAnswer = z.object({ principal: principalView, receipts });
