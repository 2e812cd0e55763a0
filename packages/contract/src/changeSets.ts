/** Schemas of change-sets, as the REST API, the SDK and the CLI send and show them. */
import { z } from "zod";
import { changeSetNumberPattern, digest, uuidPattern } from "./ids.js";
import { effectFlags, itemInput, reversibilities } from "./items.js";
import { jsonObject, jsonValue } from "./json.js";
import { commands, statuses } from "./lifecycle.js";
import { limits } from "./limits.js";
import { itemOperations, stateImage, targetKinds } from "./targets/index.js";

export const uuid = z
  .string()
  .regex(uuidPattern, "a UUID in lower case")
  .meta({ description: "UUID, lower case.", example: "01936b0e-7a3c-7def-8123-456789abcdef" });
/** A change-set is named by its UUID or its number. */
export const changeSetRef = z
  .string()
  .refine(
    (text) => uuidPattern.test(text) || changeSetNumberPattern.test(text),
    "a UUID or a number such as `CS-2026-1120-001`",
  )
  .meta({ description: "UUID or number such as `CS-2026-1120-001`.", example: "CS-2026-1120-001" });
export const timestamp = z.iso
  .datetime()
  .meta({ description: "RFC 3339, UTC, milliseconds.", example: "2026-11-20T12:00:00.000Z" });

export const agentTypes = ["UI_VELOCITY", "DESIGN_SYSTEM", "BACKEND_SERVICES", "INTEGRATION", "GENERAL"] as const;
export type AgentType = (typeof agentTypes)[number];
export const priorities = ["LOW", "NORMAL", "HIGH", "CRITICAL"] as const;
export type Priority = (typeof priorities)[number];
/** Lowest first. A change-set has the highest category of its items. */
export const categories = [
  "UI_LAYOUT",
  "DESIGN_SYSTEM",
  "CONFIG_UPDATE",
  "OTHER",
  "INTEGRATION",
  "API_CHANGE",
  "INFRASTRUCTURE",
  "COMPLIANCE",
  "SECURITY",
] as const;
export type Category = (typeof categories)[number];
export const riskLevels = ["LOW", "MEDIUM", "HIGH", "CRITICAL"] as const;
export type RiskLevel = (typeof riskLevels)[number];
export const applyModes = ["AUTO", "MANUAL"] as const;
export type ApplyMode = (typeof applyModes)[number];
export const voteDecisions = ["APPROVED", "REJECTED", "ABSTAINED"] as const;
export type VoteDecision = (typeof voteDecisions)[number];

const text = (max: number) => z.string().max(max);

export const changeSetFields = {
  title: text(limits.titleLengthMax).refine((t) => t.trim().length > 0, "a title is required"),
  description: text(limits.descriptionLengthMax).default(""),
  /** Derived from the targets when left out. A given category may raise the derived one, but never lower it. */
  category: z.enum(categories).optional(),
  priority: z.enum(priorities).default("NORMAL"),
  applyMode: z
    .enum(applyModes)
    .default("MANUAL")
    .meta({ description: "AUTO: applied by the engine as soon as it is approved." }),
  tags: z.array(text(limits.tagLengthMax).min(1)).max(limits.tagsMax).default([]),
  metadata: jsonObject.default({}),
  dependsOn: z
    .array(changeSetRef)
    .max(limits.dependsOnMax)
    .default([])
    .meta({ description: "Change-sets that must be applied first." }),
  items: z.array(itemInput).min(1).max(limits.itemsMax),
};
export const changeSetInput = z.strictObject(changeSetFields).meta({ id: "ChangeSetInput" });
export type ChangeSetInput = z.infer<typeof changeSetInput>;
export type ChangeSetInputLoose = z.input<typeof changeSetInput>;

export const principalSummary = z
  .object({ id: uuid, kind: z.enum(["human", "agent", "service", "system"]), name: z.string() })
  .meta({ id: "PrincipalSummary" });

export const itemView = z
  .object({
    id: uuid,
    sequence: z.int(),
    position: z.int().meta({ description: "Place in the order of execution, from 1." }),
    operation: z.enum(itemOperations),
    target: z.object({
      kind: z.enum(targetKinds),
      type: z.string(),
      id: z.string(),
      environment: z.string(),
      keys: z.array(z.string()),
    }),
    input: itemInput,
    effects: z.array(
      z.object({
        target: z
          .object({ kind: z.string(), type: z.string(), id: z.string(), environment: z.string(), key: z.string() })
          .loose(),
        before: stateImage,
        after: stateImage,
      }),
    ),
    diff: jsonValue,
    reversibility: z.enum(reversibilities),
    flags: z.array(z.enum(effectFlags)),
    policy: jsonValue.nullable(),
    result: z.object({ applicationId: uuid, status: z.string(), problem: jsonValue.nullable() }).nullable(),
  })
  .meta({ id: "Item" });
export type ItemView = z.infer<typeof itemView>;

export const voteView = z
  .object({
    id: uuid,
    voter: principalSummary,
    keyId: uuid,
    decision: z.enum(voteDecisions),
    digest,
    signature: z.string(),
    reason: z.string().nullable(),
    selfApproved: z.boolean(),
    dismissed: z.boolean(),
    at: timestamp,
  })
  .meta({ id: "Vote" });

export const conflictView = z
  .object({ changeSetId: uuid, number: z.string(), title: z.string(), status: z.enum(statuses), target: z.string() })
  .meta({ id: "Conflict", description: "Another open change-set on one of the targets." });

export const changeSetSummary = z
  .object({
    id: uuid,
    number: z.string(),
    title: z.string(),
    author: principalSummary,
    agentType: z.enum(agentTypes).nullable(),
    category: z.enum(categories),
    priority: z.enum(priorities),
    applyMode: z.enum(applyModes),
    status: z.enum(statuses),
    statusReason: z.string().nullable(),
    blocked: z.string().nullable(),
    revision: z.int(),
    riskScore: z.int().nullable(),
    riskLevel: z.enum(riskLevels).nullable(),
    requiredApprovals: z.int().nullable(),
    tags: z.array(z.string()),
    createdAt: timestamp,
    updatedAt: timestamp,
    deadlineAt: timestamp.nullable(),
  })
  .meta({ id: "ChangeSetSummary" });
export type ChangeSetSummary = z.infer<typeof changeSetSummary>;

export const changeSetView = changeSetSummary
  .extend({
    description: z.string(),
    metadata: jsonObject,
    dependsOn: z.array(uuid),
    revisionDigest: digest,
    revisionNonce: z
      .string()
      .meta({ description: "With the items it makes the revision digest again (docs/ledger-format.md)." }),
    approvalDigest: digest.nullable(),
    risk: jsonValue,
    policy: jsonValue.nullable(),
    route: jsonValue.nullable(),
    approvals: z.object({ received: z.int(), required: z.int(), waitingFor: z.array(z.string()) }).nullable(),
    votes: z.array(voteView),
    items: z.array(itemView),
    conflicts: z.array(conflictView),
    reversibility: z.enum(reversibilities),
    attempts: z.int(),
    applicationId: uuid.nullable(),
    legalCommands: z.array(z.enum(commands)),
    submittedAt: timestamp.nullable(),
    approvedUntil: timestamp.nullable(),
    appliedAt: timestamp.nullable(),
    undoUntil: timestamp.nullable(),
    erasedAt: timestamp.nullable().meta({ description: "Its texts were erased; the rest is shown." }),
  })
  .meta({ id: "ChangeSet" });
export type ChangeSetView = z.infer<typeof changeSetView>;

export const receiptView = z
  .object({
    seq: z.int(),
    entryId: uuid,
    hash: digest,
    at: timestamp,
    proof: z.string().meta({ description: "Address of its proof: a file that verifies without the server." }),
  })
  .meta({ id: "Receipt", description: "The place of an entry in the tenant's ledger." });
export const receipts = z.array(receiptView);
/** Path of the operation `proveEntry`. */
export const proofPath = (seq: number): string => `/api/ledger/entries/${seq}/proof`;

/** The answer of every command on a change-set. */
export const changeSetAnswer = z.object({ changeSet: changeSetView, receipts }).meta({ id: "ChangeSetAnswer" });
export type ChangeSetAnswer = z.infer<typeof changeSetAnswer>;

export const applicationView = z
  .object({
    id: uuid,
    changeSetId: uuid,
    kind: z.enum(["APPLY", "ROLLBACK"]),
    mode: z.string(),
    attempt: z.int(),
    status: z.enum(["RUNNING", "SUCCEEDED", "COMPENSATED", "REFUSED", "PARTIAL"]),
    startedBy: principalSummary,
    reason: z.string().nullable(),
    appliedItems: z.int(),
    failedItems: z.int(),
    errors: z.array(z.object({ sequence: z.int().optional(), code: z.string(), message: z.string() })),
    items: z.array(z.object({ sequence: z.int(), status: z.string(), problem: jsonValue.nullable() })),
    backups: z.int(),
    startedAt: timestamp,
    endedAt: timestamp.nullable(),
    durationMs: z.int().nullable(),
  })
  .meta({ id: "Application" });
export type ApplicationView = z.infer<typeof applicationView>;
export const applicationAnswer = z
  .object({ changeSet: changeSetView, application: applicationView, receipts })
  .meta({ id: "ApplicationAnswer" });
export type ApplicationAnswer = z.infer<typeof applicationAnswer>;

export const voteInput = z
  .strictObject({
    digest: digest.optional().meta({ description: "The `approvalDigest` that was shown and signed." }),
    decision: z.enum(voteDecisions).optional(),
    keyId: uuid.optional(),
    atMs: z
      .int()
      .positive()
      .optional()
      .meta({ description: "When it was signed, milliseconds since the epoch; at most 10 minutes old." }),
    signature: z
      .string()
      .max(200)
      .optional()
      .meta({ description: "Ed25519 over the vote bytes (docs/ledger-format.md), base64url." }),
    reason: text(limits.reasonLengthMax).optional(),
  })
  .meta({
    id: "VoteInput",
    description: "A vote is a signature by the voter's own key. Without `digest` and `signature`: 428.",
  });
export type VoteInput = z.infer<typeof voteInput>;

export const reasonInput = z
  .strictObject({ reason: text(limits.reasonLengthMax).optional() })
  .meta({ id: "ReasonInput" });
