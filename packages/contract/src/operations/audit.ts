/** Reading the ledger as people ask about it: what was recorded, exports that verify elsewhere. */
import { z } from "zod";
import { changeSetRef, timestamp } from "../changeSets.js";
import { jsonObject } from "../items.js";
import { entryView } from "../ledger.js";
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
};
