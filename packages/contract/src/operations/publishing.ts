/**
 * Operations that read a ledger's checkpoints, keys and publishing state. The tree itself is at `/ledger/<tenant>/…`,
 * as tlog-tiles has it (docs/ledger-format.md).
 */
import { z } from "zod";
import { timestamp } from "../changeSets.js";
import { operation } from "./operation.js";
import { digest } from "../ids.js";

export const publishingOperations = {
  getCheckpoint: operation({
    method: "GET",
    path: "/api/ledger/checkpoint",
    summary:
      "The newest signed checkpoint of the tenant's ledger, with its cosignatures, and whether the server will sign more.",
    tag: "Audit",
    input: z.strictObject({}),
    output: z
      .object({
        note: z.string().meta({ description: "Signed note (C2SP tlog-checkpoint)." }),
        origin: z.string(),
        size: z.int().meta({ description: "Entries it covers." }),
        root: digest,
        incarnation: z.int().meta({ description: "0; one more after every restore." }),
        signedAt: timestamp,
        state: z.enum(["published", "waiting", "stopped", "elsewhere"]).meta({
          description: "`stopped`: nothing more is signed until somebody acts; `elsewhere`: another process signs.",
        }),
        reason: z.string().nullable(),
      })
      .meta({ id: "Checkpoint" }),
    status: 200,
    permission: "audit.read",
    mcp: { class: "READ", tool: "get_checkpoint" },
    errors: ["not_published"],
    cli: null,
  }),
  getPublishing: operation({
    method: "GET",
    path: "/api/ledger/publishing",
    summary: "Whether the tenant's ledger is signed as it grows, and the size that each anchor has confirmed.",
    tag: "Audit",
    input: z.strictObject({}),
    output: z
      .object({
        state: z.enum(["published", "waiting", "stopped", "starting", "elsewhere"]).meta({
          description: "`stopped`: nothing more is signed until somebody acts; `elsewhere`: another process signs.",
        }),
        reason: z.string().nullable().meta({ description: "Why signing waits or is stopped, and the way out." }),
        entries: z.int().meta({ description: "Entries in the ledger, signed or not." }),
        checkpoint: z
          .object({ size: z.int(), signedAt: timestamp, incarnation: z.int() })
          .nullable()
          .meta({ description: "The newest checkpoint; null: none was ever signed." }),
        anchorsDegraded: z
          .boolean()
          .meta({ description: "Fewer anchors confirm than are required, or one contradicts." }),
        anchors: z.array(
          z.object({
            name: z.string(),
            kind: z.enum(["file", "git", "witness"]),
            standing: z.enum(["new", "ok", "failing", "contradicts"]),
            confirmed: z.int().meta({ description: "Entries it has confirmed." }),
            behind: z.int().meta({ description: "Entries it has not." }),
            checkpointAt: timestamp
              .nullable()
              .meta({ description: "When the checkpoint that the anchor has was signed." }),
            nextAttemptAt: timestamp.nullable().meta({ description: "Null: as soon as there is a new checkpoint." }),
            since: timestamp.nullable().meta({ description: "The time since which the anchor fails or contradicts." }),
            lastError: z.string().nullable(),
          }),
        ),
      })
      .meta({ id: "Publishing" }),
    status: 200,
    permission: "audit.read",
    mcp: { class: "READ", tool: "get_publishing" },
    errors: [],
    cli: null,
  }),
  listLogKeys: operation({
    method: "GET",
    path: "/api/ledger/log-keys",
    summary: "The keys that sign the deployment's checkpoints, and the signed statements that made and revoked them.",
    tag: "Audit",
    input: z.strictObject({}),
    output: z.object({
      deployment: z.string(),
      rows: z.array(
        z.object({
          publicKey: z.string(),
          verifierKey: z.string().meta({ description: "As a policy file pins it: `log NAME+ID+KEY`." }),
          number: z.int(),
          since: timestamp,
          revokedSince: timestamp.nullable(),
          current: z.boolean(),
        }),
      ),
      statements: z.array(z.string()).meta({ description: "Signed notes, oldest first." }),
    }),
    status: 200,
    permission: "audit.read",
    mcp: { class: "READ", tool: "list_log_keys" },
    errors: ["not_published"],
    cli: null,
  }),
};
