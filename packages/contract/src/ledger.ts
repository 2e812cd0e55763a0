/** Schemas for reading the ledger: audit entries, verification reports. */
import { z } from "zod";
import { timestamp, uuid } from "./changeSets.js";
import { jsonObject, jsonValue } from "./json.js";
import { digest } from "./ids.js";

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
    body: jsonValue
      .nullable()
      .meta({ description: "The texts that people read; null unless `bodyState` is `present`." }),
    bodyState: z
      .enum(["none", "present", "erased", "unreadable"])
      .meta({ description: "`erased`: there was a body; its hash stays. `unreadable`: the server lacks the key." }),
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

/** A verdict of the verifier, on the server or elsewhere. */
export const verifyReport = z
  .object({
    tenant: uuid,
    integrity: z.enum(["ok", "tampered", "undecided"]),
    completeness: z.object({
      status: z.enum(["not_demanded", "shown", "not_shown"]),
      note: z.string(),
      anchored: z.int().nullable().meta({ description: "Entries that anchors and witnesses confirm." }),
      unanchored: z.int(),
      sources: z.array(
        z.object({
          name: z.string(),
          kind: z.string(),
          location: z.string(),
          size: z.int().nullable(),
          at: timestamp.nullable(),
          state: z.enum(["agrees", "contradicts", "unreadable", "untrusted", "nothing"]),
          detail: z.string().nullable(),
        }),
      ),
    }),
    entries: z.int(),
    from: z.int(),
    to: z.int().nullable(),
    head: digest.nullable(),
    root: digest.nullable().meta({ description: "Root of the tree up to the last entry." }),
    base: z.int().nullable().meta({ description: "Entries known from an earlier verification, not read again." }),
    findings: z.array(finding),
    findingsTotal: z.int(),
    notes: z.array(
      z.object({ class: z.string(), seq: z.int().nullable(), by: z.int().nullable(), message: z.string() }),
    ),
    votes: z.object({ checked: z.int(), unchecked: z.int() }),
    bodies: z.object({ checked: z.int(), absent: z.int() }),
    rows: z.int().nullable().meta({ description: "Rows of state compared with the ledger." }),
    undecided: z.string().nullable().meta({ description: "Why the verification could not be decided." }),
    durationMs: z.number(),
    entriesPerSecond: z.number(),
  })
  .meta({ id: "VerifyReport" });
export type VerifyReport = z.infer<typeof verifyReport>;

/** One verification by the server: a regular self-check, or one that somebody asked for. */
export const verification = z
  .object({
    id: uuid,
    kind: z.enum(["incremental", "full", "requested"]),
    state: z
      .enum(["queued", "running", "done", "abandoned"])
      .meta({ description: "`abandoned`: the process that ran it ended." }),
    startedAt: timestamp,
    finishedAt: timestamp.nullable(),
    progress: z
      .object({ step: z.string(), entries: z.int(), of: z.int().nullable(), entriesPerSecond: z.int() })
      .nullable(),
    report: verifyReport.nullable(),
  })
  .meta({ id: "Verification" });
export type Verification = z.infer<typeof verification>;

/** A quarter of a year in UTC. */
export const quarterPattern = /^(\d{4})-?Q([1-4])$/i;

const person = z.object({ id: z.string(), name: z.string().nullable() });
const moment = z.object({ seq: z.int(), at: timestamp, by: person });

/** Facts that a report cannot show, or shows without proof. */
export const reportGap = z
  .object({
    kind: z.enum([
      "body_erased",
      "content_erased",
      "content_pruned",
      "unverifiable",
      "not_covered",
      "still_open",
      "not_listed",
    ]),
    seqs: z.array(z.int()).meta({ description: "Entries concerned, 100 at most." }),
    count: z.int(),
    message: z.string(),
  })
  .meta({ id: "ReportGap" });
export type ReportGap = z.infer<typeof reportGap>;

export const reportVote = z
  .object({
    seq: z.int(),
    at: timestamp,
    voter: person,
    decision: z.string(),
    key: z.string().meta({ description: "Id of the signing key." }),
    fingerprint: z.string().nullable().meta({ description: "SHA-256 of the public key's 32 bytes, hex." }),
    signature: z.enum(["verified", "forged", "unknown_key", "unreadable"]),
    detail: z.string().nullable(),
    selfApproved: z.boolean(),
    digest: digest.nullable().meta({ description: "The approval digest that was signed." }),
    binding: z.boolean().meta({ description: "The vote was cast on the digest that was approved in the end." }),
    reason: z.string().nullable(),
  })
  .meta({ id: "ReportVote" });
export type ReportVote = z.infer<typeof reportVote>;

export const reportRun = z
  .object({
    application: z.string(),
    kind: z.enum(["APPLY", "ROLLBACK"]),
    attempt: z.int().nullable(),
    started: moment,
    ended: z.object({ seq: z.int(), at: timestamp }).nullable(),
    outcome: z.enum(["running", "succeeded", "compensated", "refused", "partial"]),
    codes: z.array(z.string()).meta({ description: "Why the run failed or was halted." }),
    reason: z.string().nullable(),
    as: z
      .string()
      .nullable()
      .meta({ description: "The authority for a rollback: `author_human`, `approver`, `on_call`, a route." }),
  })
  .meta({ id: "ReportRun" });
export type ReportRun = z.infer<typeof reportRun>;

export const reportChangeSet = z
  .object({
    kind: z.literal("changeSet"),
    id: uuid,
    number: z.string().nullable(),
    title: z.string().nullable(),
    author: person,
    humans: z.array(person).meta({ description: "The humans answerable for the author." }),
    category: z.string().nullable(),
    priority: z.string().nullable(),
    risk: z.object({ level: z.string(), score: z.number().nullable() }).nullable(),
    policy: z.string().nullable(),
    requiredApprovals: z.int().nullable(),
    targets: z.array(z.object({ operation: z.string(), target: z.string(), environment: z.string() })),
    otherItems: z.int().meta({ description: "Items on other targets, and those beyond 200." }),
    votes: z.array(reportVote),
    approved: moment.extend({ automatic: z.boolean(), selfApproved: z.boolean() }).nullable(),
    runs: z.array(reportRun),
    applied: moment.nullable(),
    rolledBack: moment.extend({ reason: z.string().nullable() }).nullable(),
    refusals: z.array(moment.extend({ code: z.string(), count: z.int() })),
    halted: z.boolean().meta({ description: "The kill-switch stopped a run." }),
    status: z.string().meta({ description: "The status at the end of the period, by the entries." }),
    statusNow: z.string(),
    seqs: z.array(z.int()).meta({ description: "Its entries within the period, 500 at most." }),
    entries: z.int(),
    missing: z.array(reportGap),
  })
  .meta({ id: "ReportChangeSet" });
export type ReportChangeSet = z.infer<typeof reportChangeSet>;

export const reportHeader = z
  .object({
    kind: z.literal("report"),
    tenant: uuid,
    target: z.string().nullable(),
    since: timestamp.nullable(),
    until: timestamp.nullable(),
    from: z.int().meta({ description: "First entry of the period." }),
    to: z.int().meta({ description: "Its last entry; `from` - 1 when there is none." }),
    generatedAt: timestamp,
    targets: z.int().meta({ description: "Targets that match, in any period." }),
  })
  .meta({ id: "ReportHeader" });
export type ReportHeader = z.infer<typeof reportHeader>;

/** Events that concern the whole tenant, not one change-set: stops, erasures, restores, alerts. */
export const reportEvent = z
  .object({
    kind: z.literal("event"),
    entry: entryView.omit({ body: true, bodyState: true }),
    reason: z.string().nullable(),
  })
  .meta({ id: "ReportEvent" });
export type ReportEvent = z.infer<typeof reportEvent>;

export const reportSummary = z
  .object({
    kind: z.literal("summary"),
    counts: z.object({
      changeSets: z.int(),
      applied: z.int(),
      rolledBack: z.int(),
      failed: z.int(),
      halted: z.int(),
      rejected: z.int(),
      refusals: z.int(),
      automatic: z.int(),
      selfApproved: z.int(),
      emergency: z.int().meta({ description: "Rollbacks on the authority of the on-call role." }),
      open: z.int(),
      forgedVotes: z.int(),
    }),
    missing: z.array(reportGap),
    checkpoint: z.object({ size: z.int(), origin: z.string() }).nullable(),
    verdict: verifyReport.nullable().meta({ description: "Null when no verdict was asked for." }),
  })
  .meta({ id: "ReportSummary" });
export type ReportSummary = z.infer<typeof reportSummary>;

/** One line of a report: a header, change-sets in the order they were created, events, a summary. */
export const reportLine = z.discriminatedUnion("kind", [reportHeader, reportChangeSet, reportEvent, reportSummary]);
export type ReportLine = z.infer<typeof reportLine>;

export const entryProof = z
  .object({
    seq: z.int(),
    entryId: uuid,
    at: timestamp,
    hash: digest,
    origin: z.string(),
    size: z.int().meta({ description: "Entries that the checkpoint covers." }),
    cosignatures: z.int().meta({ description: "Signatures beside the log's own." }),
    anchors: z
      .array(z.string())
      .meta({ description: "Anchors and witnesses that confirmed this checkpoint, as configured here." }),
    proof: z.string().meta({
      description:
        "A tlog-proof file; it carries the entry's link and the deployment's key statements, and verifies alone.",
    }),
    keyStatements: z.int().nullable().meta({
      description:
        "Key statements in it; 0 while the log has its first key. Null: there are more than fit, and an auditor who pinned an earlier key needs them from `listLogKeys`.",
    }),
    link: z.string().meta({
      description: "The leaf: the bytes that are hashed into the tree. Its last line is the content's SHA-256.",
    }),
    content: z.string().nullable().meta({ description: "The entry's exact text, if asked for and not erased." }),
  })
  .meta({ id: "EntryProof" });
export type EntryProof = z.infer<typeof entryProof>;

export const auditPolicy = z
  .object({
    policy: z.string().meta({ description: "A tlog-policy file, with our `anchor` lines." }),
    deployment: z.string(),
    keys: z.array(
      z.object({
        name: z.string(),
        kind: z.enum(["log", "witness"]),
        vkey: z.string(),
        fingerprint: digest.meta({ description: "SHA-256 of the public key's 32 bytes." }),
      }),
    ),
  })
  .meta({ id: "AuditPolicy" });
export type AuditPolicy = z.infer<typeof auditPolicy>;
