/**
 * Operations that remove texts and contents from the ledger, or forbid it: erasures, legal holds, prunings and their
 * archives.
 */
import { z } from "zod";
import { principalSummary, receipts, timestamp, uuid } from "../changeSets.js";
import { limits } from "../limits.js";
import { keyProof } from "../principals.js";
import { operation } from "./operation.js";
import { digest } from "../ids.js";

const tag = "Retention";
const proof = keyProof.optional();
const seq = z.int().min(0);

/** `change_set:CS-2026-1120-001`, `change_set:<id>`, `principal:<name or id>`. */
export const subjectRef = z
  .string()
  .max(limits.principalNameLengthMax + 20)
  .regex(/^(?:change_set|principal):.+$/s, "`change_set:CS-…` or `principal:NAME`")
  .meta({
    description: "`change_set:CS-…` or `principal:NAME`; ids in place of number and name.",
    example: "change_set:CS-2026-1120-001",
  });
const reason = z.string().min(1).max(limits.reasonLengthMax);
export const policyName = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$/)
  .meta({ description: "Name of the rule that requires it; recorded in the ledger.", example: "gdpr-art-17" });

const subject = z.object({
  type: z.string(),
  id: z.string(),
  label: z.string().nullable().meta({ description: "The name people know it by; null once the name is erased." }),
});

const erasedPart = z.object({
  module: z.string(),
  what: z.string().meta({ description: "In plain words, in the plural: `texts of the ledger`, `items`." }),
  count: z.int(),
});

export const erasureReport = z
  .object({
    subject,
    erased: z.array(erasedPart),
    keys: z.int().meta({ description: "Keys that sealed its texts; the commit deletes them." }),
    notReached: z.array(z.string()).meta({ description: "Places that may still have the same texts, in plain words." }),
    finished: z.boolean().meta({
      description: "False: the sealed texts cannot be read any more, and their bytes are removed as soon as possible.",
    }),
    alreadyBy: seq.nullable().meta({ description: "The earlier entry that erased it; nothing was left to do." }),
  })
  .meta({ id: "ErasureReport" });
export type ErasureReport = z.infer<typeof erasureReport>;

export const legalHoldView = z
  .object({
    id: uuid,
    subject: subject.nullable().meta({ description: "Null: the whole tenant." }),
    reason: z.string(),
    status: z.enum(["HELD", "RELEASED"]),
    placedBy: principalSummary,
    placedAt: timestamp,
    releasedBy: principalSummary.nullable(),
    releasedAt: timestamp.nullable(),
    releaseReason: z.string().nullable(),
  })
  .meta({ id: "LegalHold" });
export type LegalHoldView = z.infer<typeof legalHoldView>;

const pruningRange = {
  upTo: seq.optional().meta({ description: "Entries before this one." }),
  before: timestamp.optional().meta({ description: "Entries before this time." }),
};

export const pruningPreview = z
  .object({
    from: seq.meta({ description: "First entry of the archive: where the last pruning ended." }),
    upTo: seq,
    emptied: z.int().meta({ description: "Entries that lose their content." }),
    kept: z.int().meta({ description: "Entries before `upTo` that keep their content." }),
    bodies: z.int().meta({ description: "Texts that are removed." }),
    keptSubjects: z.int().meta({ description: "Unfinished change-sets and subjects under legal hold." }),
    checkpoint: z
      .int()
      .nullable()
      .meta({ description: "Size of the newest signed checkpoint; null: none is configured." }),
  })
  .meta({ id: "PruningPreview" });
export type PruningPreview = z.infer<typeof pruningPreview>;

export const archiveView = z
  .object({
    seq: seq.meta({ description: "The entry that names it." }),
    at: timestamp,
    upTo: seq,
    from: seq,
    entries: z.int(),
    sha256: digest,
    bytes: z.int(),
    emptied: z.int(),
    kept: z.int(),
    done: z
      .boolean()
      .meta({ description: "False: the entry is recorded, and the entries it names are about to be emptied." }),
    file: z.string().nullable().meta({ description: "Where the server wrote it, if it is still there." }),
  })
  .meta({ id: "Archive" });
export type ArchiveView = z.infer<typeof archiveView>;

export const retentionOperations = {
  previewErasure: operation({
    method: "GET",
    path: "/api/ledger/retention/erasures/preview",
    summary: "The texts that erasing a subject would remove, and the copies it would not reach.",
    tag,
    input: z.strictObject({ subject: subjectRef }),
    output: erasureReport,
    status: 200,
    permission: "audit.erase",
    mcp: { class: "ADMIN", tool: null },
    errors: ["not_found", "illegal_transition", "legal_hold", "ledger_mismatch"],
    cli: "audit erase",
  }),
  eraseSubject: operation({
    method: "POST",
    path: "/api/ledger/retention/erasures",
    summary: "Erase the texts of a finished change-set or a suspended principal. Hashes, ids and signatures stay.",
    tag,
    input: z.strictObject({ subject: subjectRef, reason, policy: policyName, proof }),
    output: erasureReport.extend({ receipts }),
    status: 200,
    permission: "audit.erase",
    mcp: { class: "ADMIN", tool: null },
    idempotent: true,
    proof: true,
    errors: [
      "not_found",
      "illegal_transition",
      "legal_hold",
      "ledger_mismatch",
      "conflict",
      "precondition_required",
      "signature_invalid",
    ],
    cli: "audit erase",
  }),
  listLegalHolds: operation({
    method: "GET",
    path: "/api/ledger/retention/holds",
    summary: "Legal holds: their subjects are neither erased nor pruned.",
    tag,
    input: z.strictObject({ released: z.stringbool().default(false).meta({ description: "Released ones too." }) }),
    output: z.object({ rows: z.array(legalHoldView) }),
    status: 200,
    permission: "audit.read",
    mcp: { class: "READ", tool: "list_legal_holds" },
    errors: [],
    cli: "audit holds",
  }),
  placeLegalHold: operation({
    method: "POST",
    path: "/api/ledger/retention/holds",
    summary: "Hold a subject, or the whole tenant: nothing of it is erased or pruned until the hold is released.",
    tag,
    input: z.strictObject({ subject: subjectRef.nullable().default(null), reason }),
    output: z.object({ hold: legalHoldView, receipts }),
    status: 201,
    permission: "audit.hold",
    mcp: { class: "ADMIN", tool: null },
    idempotent: true,
    errors: ["not_found", "limit_exceeded"],
    cli: "audit hold",
  }),
  releaseLegalHold: operation({
    method: "POST",
    path: "/api/ledger/retention/holds/{id}/release",
    summary: "Release a legal hold.",
    tag,
    input: z.strictObject({ id: uuid, reason, proof }),
    output: z.object({ hold: legalHoldView, receipts }),
    status: 200,
    permission: "audit.hold",
    mcp: { class: "ADMIN", tool: null },
    idempotent: true,
    proof: true,
    errors: ["not_found", "precondition_required", "signature_invalid"],
    cli: "audit release",
  }),
  previewPruning: operation({
    method: "GET",
    path: "/api/ledger/retention/prunings/preview",
    summary: "The entries that pruning would empty.",
    tag,
    input: z.strictObject({
      upTo: z.coerce.number().int().min(0).optional(),
      before: pruningRange.before,
    }),
    output: pruningPreview,
    status: 200,
    permission: "audit.prune",
    mcp: { class: "ADMIN", tool: null },
    errors: ["invalid_request", "legal_hold", "checkpoint_missing"],
    cli: "audit prune",
  }),
  pruneLedger: operation({
    method: "POST",
    path: "/api/ledger/retention/prunings",
    summary:
      "Write the ledger's beginning to an archive, then empty its old entries. Hashes stay, and with them every proof.",
    tag,
    input: z.strictObject({
      ...pruningRange,
      archive: z
        .string()
        .min(1)
        .max(limits.pathLengthMax)
        .meta({ description: "File below the server's archive directory (docs/retention.md)." }),
      proof,
    }),
    output: z.object({ archive: archiveView, receipts }),
    status: 200,
    permission: "audit.prune",
    mcp: { class: "ADMIN", tool: null },
    idempotent: true,
    proof: true,
    errors: [
      "invalid_request",
      "legal_hold",
      "checkpoint_missing",
      "archive_unusable",
      "limit_exceeded",
      "conflict",
      "precondition_required",
      "signature_invalid",
    ],
    cli: "audit prune",
  }),
  listArchives: operation({
    method: "GET",
    path: "/api/ledger/retention/archives",
    summary: "Prunings, and the archives that hold the removed contents.",
    tag,
    input: z.strictObject({}),
    output: z.object({ rows: z.array(archiveView) }),
    status: 200,
    permission: "audit.read",
    mcp: { class: "READ", tool: "list_archives" },
    errors: [],
    cli: "audit archives",
  }),
};
