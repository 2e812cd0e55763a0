/**
 * Verification by the server. The verdict is only the server's word; for your own, use bundles and `countersign audit
 * verify`.
 */
import { z } from "zod";
import { uuid } from "../changeSets.js";
import { verification, verifyReport } from "../ledger.js";
import { operation } from "./operation.js";

export const verificationOperations = {
  verifyChain: operation({
    method: "GET",
    path: "/api/ledger/chain/verify",
    summary:
      "The result of the server's last self-check of the tenant's ledger; newer entries are verified now. `full`: verify everything, as a job (202 with its address). For a verdict that does not trust the server: `countersign audit verify`, or a bundle.",
    tag: "Audit",
    input: z.strictObject({
      from: z.coerce.number().int().min(0).optional().meta({ description: "The chain alone, from this entry on." }),
      full: z.stringbool().default(false).meta({ description: "Verify everything, bodies and state too." }),
    }),
    output: z.discriminatedUnion("kind", [
      z.object({
        kind: z.literal("report"),
        ...verifyReport.shape,
        selfCheck: verification
          .omit({ report: true, progress: true })
          .nullable()
          .meta({ description: "The earlier check that this one continues; null: everything was verified now." }),
      }),
      z.object({ kind: z.literal("job"), verification }),
    ]),
    status: 200,
    permission: "audit.verify",
    mcp: { class: "READ", tool: "verify_chain" },
    errors: [],
    cli: "audit verify",
    job: (answer) => (answer.kind === "job" ? `/api/ledger/chain/verifications/${answer.verification.id}` : undefined),
  }),
  getVerification: operation({
    method: "GET",
    path: "/api/ledger/chain/verifications/{id}",
    summary: "One verification: its state, its progress and its findings.",
    tag: "Audit",
    input: z.strictObject({ id: uuid }),
    output: verification,
    status: 200,
    permission: "audit.verify",
    mcp: { class: "READ", tool: "get_verification" },
    errors: [],
    cli: "audit verify",
  }),
  listVerifications: operation({
    method: "GET",
    path: "/api/ledger/chain/verifications",
    summary: "The server's verifications, newest first, without their findings.",
    tag: "Audit",
    input: z.strictObject({ limit: z.coerce.number().int().min(1).max(200).default(50) }),
    output: z.object({
      rows: z.array(
        verification.omit({ report: true }).extend({ integrity: z.string().nullable(), findings: z.int() }),
      ),
    }),
    status: 200,
    permission: "audit.verify",
    mcp: { class: "READ", tool: "list_verifications" },
    errors: [],
    cli: "audit verify",
  }),
};
