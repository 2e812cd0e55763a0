/** Operations that read the ledger: entries, exports that verify elsewhere, receipts, reports, live tails. */
import { z } from "zod";
import { changeSetRef, timestamp } from "../changeSets.js";
import { jsonObject } from "../json.js";
import { auditPolicy, entryProof, entryView, quarterPattern, reportLine } from "../ledger.js";
import { limits } from "../limits.js";
import { page, paged, several } from "./changeSets.js";
import { operation } from "./operation.js";

export const auditOperations = {
  listAudit: operation({
    method: "GET",
    path: "/api/ledger/audit/changes",
    summary: "The ledger, newest first: by actor, action, subject, time, change-set.",
    tag: "Audit",
    input: z.strictObject({
      actor: z.string().optional().meta({ description: "Id or name of a principal." }),
      action: several(z.string()),
      subject: z.string().optional().meta({ description: "Id of the subject." }),
      changeSet: changeSetRef.optional(),
      since: timestamp.optional(),
      until: timestamp.optional(),
      order: z.enum(["asc", "desc"]).default("desc"),
      ...page,
    }),
    output: paged(entryView),
    status: 200,
    permission: "audit.read",
    mcp: { class: "READ", tool: "list_audit" },
    errors: [],
    cli: "audit log",
  }),
  exportAudit: operation({
    method: "GET",
    path: "/api/ledger/audit/export",
    summary:
      "Part of the ledger as a bundle that verifies offline (docs/ledger-format.md): a range, which is provably complete, or a selection by change-set, actor or subject; or as lines for people.",
    tag: "Audit",
    input: z.strictObject({
      from: z.coerce.number().int().min(0).optional().meta({ description: "First sequence number; 0 when left out." }),
      to: z.coerce
        .number()
        .int()
        .min(0)
        .optional()
        .meta({ description: "Last sequence number; the head when left out." }),
      since: timestamp.optional().meta({ description: "By time instead of `from`." }),
      until: timestamp.optional().meta({ description: "By time instead of `to`; exclusive." }),
      changeSet: changeSetRef
        .optional()
        .meta({ description: "All entries of this change-set, with the keys of its voters." }),
      actor: z.string().optional().meta({ description: "Id or name of a principal: all entries by it." }),
      subject: z.string().optional().meta({ description: "Id of a subject: all entries about it." }),
      bodies: z.stringbool().default(true).meta({ description: "With the texts people read." }),
      format: z
        .enum(["bundle", "jsonl"])
        .default("bundle")
        .meta({ description: "`jsonl`: entries as people read them, without proofs." }),
    }),
    output: jsonObject,
    status: 200,
    permission: "audit.read",
    mcp: { class: "READ", tool: "export_audit" },
    stream: "application/jsonl",
    errors: ["not_published"],
    cli: "audit export",
  }),
  proveEntry: operation({
    method: "GET",
    path: "/api/ledger/entries/{entry}/proof",
    summary:
      "A receipt: a tlog-proof file that proves that the entry is in the ledger under a signed checkpoint. It verifies offline, without other files.",
    tag: "Audit",
    input: z.strictObject({
      entry: z.string().min(1).max(40).meta({ description: "Sequence number or id of the entry.", example: "4711" }),
      content: z.stringbool().default(false).meta({ description: "With the entry's exact text." }),
    }),
    output: entryProof,
    status: 200,
    permission: "audit.read",
    mcp: { class: "READ", tool: "prove_entry" },
    errors: ["publishing_stopped", "not_published"],
    cli: "audit prove",
  }),
  getAuditPolicy: operation({
    method: "GET",
    path: "/api/ledger/audit/policy",
    summary:
      "A policy file for an auditor to start from: the log's key, the witnesses and anchors configured here, a quorum. It is the server's word until you compare its keys over another channel.",
    tag: "Audit",
    input: z.strictObject({
      anchors: z
        .stringbool()
        .default(false)
        .meta({ description: "With the anchors, which are places on this server's machine." }),
    }),
    output: auditPolicy,
    status: 200,
    permission: "audit.read",
    mcp: { class: "READ", tool: "get_audit_policy" },
    errors: ["not_published"],
    cli: "audit policy",
  }),
  tailAudit: operation({
    method: "GET",
    path: "/api/ledger/audit/tail",
    summary:
      "New entries as they are committed, as server-sent events. An event's `id` is its sequence number: `Last-Event-ID` continues after it, without a gap or a repeat.",
    tag: "Audit",
    input: z.strictObject({
      actor: z.string().optional().meta({ description: "Id or name of a principal." }),
      action: several(z.string()),
      subject: z.string().optional().meta({ description: "Id of the subject." }),
      changeSet: changeSetRef.optional(),
      since: timestamp
        .optional()
        .meta({ description: "Begin with the entries of this time; with the next entry when left out." }),
      after: z.coerce.number().int().min(-1).optional().meta({ description: "Begin after this entry." }),
    }),
    output: entryView,
    status: 200,
    permission: "audit.read",
    mcp: { class: "READ", tool: "tail_audit" },
    stream: "text/event-stream",
    resume: "after",
    errors: [],
    cli: "audit tail",
  }),
  reportAudit: operation({
    method: "GET",
    path: "/api/ledger/audit/report",
    summary:
      "All changes to targets in a period, from the ledger's entries: who approved, what was rolled back, what is missing, and whether the record is whole.",
    tag: "Audit",
    input: z.strictObject({
      target: z
        .string()
        .max(limits.targetIdLengthMax * 2)
        .optional()
        .meta({
          description: "Pattern of targets (docs/policy.md); all when left out.",
          example: "file:shop:config/*.json",
        }),
      quarter: z.string().regex(quarterPattern, "a quarter such as `2026-Q4`").optional().meta({ example: "2026-Q4" }),
      since: timestamp.optional(),
      until: timestamp.optional().meta({ description: "Exclusive." }),
      verify: z.enum(["ledger", "range", "none"]).default("ledger").meta({
        description: "Verify for the verdict: the whole ledger with its state, the period's chain, or nothing.",
      }),
    }),
    output: reportLine,
    status: 200,
    permission: "audit.read",
    mcp: { class: "READ", tool: "report_audit" },
    stream: "application/jsonl",
    errors: [],
    cli: "audit report",
  }),
};
