/** Events by which a ledger speaks of itself: refusals, alerts, what was erased and pruned, restores, keys of the log. */
import { z } from "zod";
import { policyName } from "../operations/retention.js";
import {
  count,
  counted,
  deploymentName,
  errorCode,
  event,
  findingClass,
  id,
  publicKey,
  sha256,
  signature,
  subjectTypes,
  timeMs,
  when,
} from "./event.js";

const seq = count.meta({ description: "Sequence number of an entry." });
const size = count.meta({ description: "Entries of a ledger, from its first." });

export const refusalEvents = {
  "refusal.recorded": event(
    subjectTypes,
    { code: errorCode, count: z.int().positive().meta({ description: "Refusals that this entry stands for." }) },
    {
      tone: "stopped",
      sentence: ({ actor, subject, data }) =>
        `${actor} was refused at ${subject}: ${data.code}${when(data.count > 1, `, ${data.count} times`)}`,
      concerns: ["auditors"],
    },
  ),
};

export const retentionEvents = {
  "subject.erased": event(
    ["change_set", "principal"],
    {
      subjectType: z.enum(["change_set", "principal"]),
      subject: id,
      policy: policyName,
      seqs: z.array(seq).meta({ description: "Entries whose bodies went." }),
    },
    {
      verified: true,
      reported: true,
      sentence: ({ actor, subject, data }) =>
        `${actor} erased the texts of ${subject} in ${counted(data.seqs.length, "entry", "entries")}`,
      concerns: ["principal", "author", "author_humans", "auditors"],
    },
  ),
  "ledger.pruned": event(
    "ledger",
    {
      upTo: seq.meta({ description: "Contents before this entry went." }),
      from: seq,
      head: seq,
      archive: sha256.meta({ description: "Of the file that holds what went." }),
      archiveEntries: count,
      archiveBytes: count,
      emptied: count,
      kept: count,
      counts: z.array(z.tuple([z.string(), z.int()])).meta({ description: "Sums of counters that the contents held." }),
      keptSubjects: z.array(z.string()).meta({ description: "Not finished, or held: their contents stayed." }),
      part: count.meta({ description: "Of one pruning, from 0." }),
    },
    {
      verified: true,
      reported: true,
      sentence: ({ actor, data }) =>
        `${actor} moved the contents of ${counted(data.emptied, "entry", "entries")} before entry ${data.upTo} to an archive`,
      concerns: ["operators", "auditors"],
    },
  ),
  "legal_hold.placed": event(
    "legal_hold",
    { scope: z.enum(["tenant", "subject"]) },
    {
      sentence: ({ actor, subject, data }) =>
        `${actor} placed the legal hold ${subject}${data.scope === "tenant" ? " on everything" : ""}: nothing of it is erased`,
      concerns: ["operators", "auditors"],
    },
  ),
  "legal_hold.released": event(
    "legal_hold",
    {},
    {
      sentence: ({ actor, subject }) => `${actor} released the legal hold ${subject}`,
      concerns: ["operators", "auditors"],
    },
  ),
};

export const logEvents = {
  "ledger.alert_raised": event(
    "tenant",
    {
      findings: count,
      class: findingClass.optional().meta({ description: "Of the first finding." }),
      seq: seq.optional(),
      check: id.optional().meta({ description: "The self-check that found it." }),
      fingerprints: z
        .array(z.string().regex(/^[0-9a-f]{32}$/))
        .optional()
        .meta({ description: "Of the findings, so that each is told once." }),
      by: z.enum(["publisher"]).optional(),
    },
    {
      reported: true,
      tone: "stopped",
      sentence: ({ data }) =>
        `the ledger does not verify: ${counted(data.findings, "finding")}${when(data.class, `, ${data.class}`)}${when(data.seq, ` at entry ${data.seq}`)}`,
      concerns: ["operators", "administrators", "auditors"],
    },
  ),
  "ledger.restored": event(
    "tenant",
    {
      incarnation: count,
      size,
      root: sha256,
      lostSize: size,
      lostRoot: sha256,
      previousOrigin: z.string().min(1).max(400),
      atMs: timeMs,
      key: publicKey,
      signature,
    },
    {
      verified: true,
      reported: true,
      sentence: ({ actor, data }) =>
        `${actor} restored the ledger from a backup with ${counted(data.size, "entry", "entries")}; ${counted(Math.max(0, data.lostSize - data.size), "entry was lost", "entries were lost")}`,
      concerns: ["operators", "administrators", "auditors"],
    },
  ),
  "ledger.heads_recorded": event(
    "tenant",
    { heads: z.array(z.tuple([id, size, sha256])).meta({ description: "Of ledgers that moved: tenant, size, root." }) },
    {
      sentence: ({ actor, data }) =>
        `${actor} recorded how far ${counted(data.heads.length, "ledger is", "ledgers are")}`,
      concerns: ["auditors"],
    },
  ),
  "ledger.checkpoint_superseded": event(
    "tenant",
    { size, key: publicKey.meta({ description: "The revoked key that had signed it." }) },
    {
      sentence: ({ actor, data }) =>
        `${actor} made way for a new checkpoint: the one at ${counted(data.size, "entry", "entries")} was signed by a revoked key`,
      concerns: ["auditors"],
    },
  ),
};

const keyStatement = {
  deployment: deploymentName,
  number: count.meta({ description: "Of the statement, from 0." }),
  previous: sha256.meta({ description: "Of the statement before; zeros for the first." }),
  key: publicKey,
  atMs: timeMs,
  signatures: z
    .array(z.tuple([z.string().regex(/^[0-9a-f]{8}$/), signature]))
    .meta({ description: "Of the statement: the id of the key that signed, and its signature." }),
};
const keepers = ["operators", "auditors"] as const;
const shortKey = ({ key }: { readonly key: string }): string => `${key.slice(0, 8)}…`;

export const deploymentEvents = {
  "log_key.created": event("deployment", keyStatement, {
    verified: true,
    sentence: ({ actor, data }) => `${actor} made ${shortKey(data)} the first log key of ${data.deployment}`,
    concerns: keepers,
  }),
  "log_key.rotated": event("deployment", keyStatement, {
    verified: true,
    sentence: ({ actor, data }) => `${actor} handed the log of ${data.deployment} over to the key ${shortKey(data)}`,
    concerns: keepers,
  }),
  "log_key.revoked": event("deployment", keyStatement, {
    verified: true,
    tone: "stopped",
    sentence: ({ actor, data }) => `${actor} revoked the log key ${shortKey(data)} of ${data.deployment}`,
    concerns: keepers,
  }),
  "deployment.cloned": event(
    "deployment",
    { deployment: deploymentName, previous: deploymentName.nullable() },
    {
      sentence: ({ actor, data }) =>
        `${actor} made a copy of ${data.previous ?? "another deployment"} a deployment of its own: ${data.deployment}`,
      concerns: keepers,
    },
  ),
  "deployment.restored": event(
    "deployment",
    {
      ledgers: z
        .array(z.tuple([id, count, size, size]))
        .meta({ description: "Tenant, incarnation, entries kept, entries there were; the first 200." }),
      total: count,
      missing: z.array(id).meta({ description: "Tenants whose ledger is not there; the first 200." }),
    },
    {
      sentence: ({ actor, data }) =>
        `${actor} restored the database from a backup: ${counted(data.total, "ledger")}${when(data.missing.length > 0, `, ${data.missing.length} missing`)}`,
      concerns: ["operators", "administrators", "auditors"],
    },
  ),
};
