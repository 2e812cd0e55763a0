/** The ledger as it is read: audit entries, verification reports. */
import { z } from "zod";
import { digest, timestamp, uuid } from "./changeSets.js";
import { jsonObject, jsonValue } from "./items.js";

export const entryView = z
  .object({
    seq: z.int(),
    at: timestamp,
    entryId: uuid,
    actor: z.object({ type: z.string(), id: z.string(), name: z.string().nullable(), humans: z.array(z.string()) }),
    action: z.string(),
    subject: z.object({ type: z.string(), id: z.string(), label: z.string().nullable() }),
    refs: z.array(z.object({ type: z.string(), id: z.string() })),
    data: jsonObject,
    body: jsonValue.nullable().meta({ description: "What people read; null when there is none or it was erased." }),
    hash: digest,
  })
  .meta({ id: "Entry" });
export type EntryView = z.infer<typeof entryView>;

export const finding = z
  .object({
    class: z.string(),
    seq: z.int().nullable(),
    table: z.string().nullable().meta({ description: "With `id`: the row it is about." }),
    id: z.string().nullable(),
    message: z.string(),
    expected: z.string().nullable(),
    actual: z.string().nullable(),
  })
  .meta({ id: "Finding" });

export const verifyReport = z
  .object({
    tenant: uuid,
    integrity: z.enum(["ok", "tampered", "undecided"]),
    completeness: z.object({ status: z.string(), note: z.string() }),
    entries: z.int(),
    from: z.int(),
    to: z.int().nullable(),
    head: digest.nullable(),
    findings: z.array(finding),
    durationMs: z.number(),
    entriesPerSecond: z.number(),
  })
  .meta({ id: "VerifyReport" });
export type VerifyReport = z.infer<typeof verifyReport>;
