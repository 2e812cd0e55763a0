/** Reading the ledger as people ask about it: what was recorded, exports that verify elsewhere. */
import { z } from "zod";
import { changeSetRef, timestamp } from "../changeSets.js";
import { jsonObject } from "../items.js";
import { entryView, quarterPattern, reportLine } from "../ledger.js";
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
    errors: [],
    cli: "audit log",
  }),
  exportAudit: operation({
    method: "GET",
    path: "/api/ledger/audit/export",
    summary: "A range of the ledger as a bundle that verifies offline (docs/ledger-format.md).",
    tag: "Audit",
    input: z.strictObject({
      from: z.coerce.number().int().min(0).default(0),
      to: z.coerce
        .number()
        .int()
        .min(0)
        .optional()
        .meta({ description: "Last sequence number; the head when left out." }),
      bodies: z.stringbool().default(true),
    }),
    output: jsonObject,
    status: 200,
    permission: "audit.read",
    stream: "application/jsonl",
    errors: [],
    cli: "audit export",
  }),
  tailAudit: operation({
    method: "GET",
    path: "/api/ledger/audit/tail",
    summary:
      "New entries as they are committed, as server-sent events. An event's `id` is its sequence number: `Last-Event-ID` goes on after it, without a gap or a repeat.",
    tag: "Audit",
    input: z.strictObject({
      actor: z.string().optional().meta({ description: "Id or name of a principal." }),
      action: several(z.string()),
      subject: z.string().optional().meta({ description: "Id of the subject." }),
      changeSet: changeSetRef.optional(),
      since: timestamp.optional().meta({ description: "Begin with the entries of this time; else with the next one." }),
      after: z.coerce.number().int().min(-1).optional().meta({ description: "Begin after this entry." }),
    }),
    output: entryView,
    status: 200,
    permission: "audit.read",
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
      verify: z
        .enum(["ledger", "range", "none"])
        .default("ledger")
        .meta({
          description:
            "What is verified for the verdict: the whole ledger with its state, the period's chain, nothing.",
        }),
    }),
    output: reportLine,
    status: 200,
    permission: "audit.read",
    stream: "application/jsonl",
    errors: [],
    cli: "audit report",
  }),
};
