/**
 * Events in the life of a change-set, complete by type: what each makes of its status stands beside the transitions (`lifecycle.ts`).
 * Title, description, reasons, routes and problems are in the bodies.
 */
import { z } from "zod";
import { categories, priorities, riskLevels, voteDecisions } from "../changeSets.js";
import { policyOutcomes } from "../governance.js";
import { changeSetNumberPattern } from "../ids.js";
import { type ChangeSetAction, partialReasons, rejectionReasons } from "../lifecycle.js";
import {
  count,
  counted,
  errorCode,
  event,
  type EventRow,
  id,
  sha256,
  signature,
  status,
  timeMs,
  when,
} from "./event.js";

const category = z.enum(categories);
const risk = z.enum(riskLevels);
const score = count.meta({ description: "Of the risk assessment, 0 to 100." });
const sequence = z.int().positive().meta({ description: "The item's, as its proposer numbered them." });
const revision = sha256.meta({ description: "The revisionDigest: docs/ledger-format.md." });
const approval = sha256.meta({ description: "The approvalDigest: docs/ledger-format.md." });
const application = id.meta({ description: "The run of an apply or a rollback." });
const required = count.meta({ description: "Approvals that the route asks for." });
const votesDismissed = count.meta({ description: "Votes that became void." });

/** A run began: what it is to carry out, and by which authority a rollback needs nobody else. */
const begun = {
  application,
  kind: z.enum(["APPLY", "ROLLBACK"]),
  attempt: count,
  revision,
  items: count,
  as: z.enum(["author_human", "approver", "on_call", "break_glass"]).optional(),
};
/** A run ended. */
const ended = {
  application,
  outcome: z.enum(["SUCCEEDED", "COMPENSATED", "REFUSED", "PARTIAL"]),
  applied: count,
  failed: count,
  reason: z.enum([...partialReasons, "apply_failed"]).optional(),
};
const itemOutcome = {
  application,
  item: sequence,
  outcome: z.enum(["VERIFIED", "NOT_APPLIED", "DIVERGED", "UNKNOWN", "COMPENSATING", "COMPENSATED"]),
  hashes: z
    .array(z.union([sha256, z.literal("absent")]))
    .meta({ description: "Of the states its targets were to have." }),
};
/** What became of an item that was to be undone. */
const undone = z.enum(["COMPENSATED", "DIVERGED", "UNKNOWN"]);
const severalItems = { application, items: z.array(sequence) };

const decisionWords = { APPROVED: "approved", REJECTED: "rejected", ABSTAINED: "abstained from deciding" } as const;
const authorityWords = {
  author_human: "answerable for its author",
  approver: "who had approved it",
  on_call: "who is on call",
  break_glass: "in an emergency",
} as const;

/** Everybody who had to do with it. */
const everybody = ["author", "author_humans", "voters"] as const;
/** Whoever has to look now, because it did not go as decided. */
const alarmed = [...everybody, "operators"] as const;

export const changeSetEvents = {
  "change_set.created": event(
    "change_set",
    {
      number: z.string().regex(changeSetNumberPattern),
      revision,
      items: count,
      category,
      priority: z.enum(priorities),
      risk,
      score,
    },
    {
      verified: true,
      sentence: ({ actor, subject, data }) =>
        `${actor} proposed ${subject} with ${counted(data.items, "item")}, at risk ${data.risk}`,
      concerns: ["author_humans"],
    },
  ),
  "change_set.revised": event(
    "change_set",
    { from: status, number: count, revision, items: count, category, risk, score, votesDismissed },
    {
      sentence: ({ actor, subject, data }) =>
        `${actor} made revision ${data.number} of ${subject}${when(data.votesDismissed > 0, `; ${counted(data.votesDismissed, "vote")} became void`)}`,
      concerns: everybody,
    },
  ),
  "change_set.submitted": event(
    "change_set",
    { revision, digest: approval, risk, score, required, auto: z.boolean(), policy: z.enum(policyOutcomes) },
    {
      sentence: ({ actor, subject, data }) =>
        `${actor} submitted ${subject}; it needs ${counted(data.required, "approval")}`,
      concerns: ["may_vote", "author_humans"],
    },
  ),
  "change_set.approved": event(
    "change_set",
    {
      revision,
      digest: approval,
      required,
      /** By people, with the last vote that was needed. */
      approved: count.optional().meta({ description: "Approvals given, when people approved it." }),
      selfApproved: z.literal(true).optional().meta({ description: "By somebody answerable for its author." }),
      /** By policy alone, when it was submitted. */
      auto: z.boolean().optional().meta({ description: "True: policy approved it, nobody was asked." }),
      policy: z.enum(policyOutcomes).optional(),
      risk: risk.optional(),
      score: score.optional(),
    },
    {
      sentence: ({ actor, subject, data }) =>
        data.auto === true
          ? `${actor} submitted ${subject}, and policy approved it`
          : `${actor} gave ${subject} the last approval it needed${when(data.selfApproved, ", being answerable for its author")}`,
      concerns: everybody,
    },
  ),
  "change_set.rejected": event(
    "change_set",
    {
      reason: z.enum(rejectionReasons),
      revision,
      denied: z.array(sequence).optional().meta({ description: "Items that policy denies." }),
      digest: approval.optional(),
      approved: count.optional(),
      required: required.optional(),
      selfApproved: z.literal(true).optional(),
    },
    {
      tone: "stopped",
      sentence: ({ actor, subject, data }) =>
        data.reason === "policy_denied"
          ? `${actor} submitted ${subject}, and policy denied it`
          : data.reason === "route_unsatisfiable"
            ? `${actor} voted on ${subject}, and nobody is left who could approve it`
            : `${actor} rejected ${subject}`,
      concerns: everybody,
    },
  ),
  "change_set.vote_cast": event(
    "change_set",
    {
      revision,
      digest: approval,
      decision: z.enum(voteDecisions),
      voter: id,
      key: id.meta({ description: "Of the voter's signing key." }),
      atMs: timeMs,
      signature,
      selfApproved: z.boolean().optional().meta({ description: "The voter is answerable for its author." }),
    },
    {
      verified: true,
      sentence: ({ actor, subject, data }) =>
        `${actor} ${decisionWords[data.decision]} ${subject}, signed${when(data.selfApproved, "; they are answerable for its author")}`,
      concerns: ["author", "author_humans", "may_vote"],
    },
  ),
  "change_set.changes_requested": event(
    "change_set",
    { revision, votesDismissed },
    {
      sentence: ({ actor, subject }) => `${actor} sent ${subject} back to its author`,
      concerns: everybody,
    },
  ),
  "change_set.cancelled": event(
    "change_set",
    { from: status, revision },
    { sentence: ({ actor, subject }) => `${actor} cancelled ${subject}`, concerns: everybody },
  ),
  "change_set.archived": event(
    "change_set",
    { from: status, backupsReleased: count },
    {
      sentence: ({ actor, subject, data }) =>
        `${actor} archived ${subject}${when(data.backupsReleased > 0, `; ${counted(data.backupsReleased, "backup")} went`)}`,
      concerns: ["author", "author_humans"],
    },
  ),
  "change_set.resolved": event(
    "change_set",
    { from: status, revision, as: z.enum(["applied", "not_applied"]) },
    {
      sentence: ({ actor, subject, data }) =>
        `${actor} said what became of ${subject}: ${data.as === "applied" ? "it is applied" : "it is rolled back"}`,
      concerns: alarmed,
    },
  ),
  "change_set.expired": event(
    "change_set",
    { from: status, what: z.enum(["deadline", "approval"]), revision },
    {
      tone: "stopped",
      sentence: ({ subject, data }) =>
        data.what === "deadline"
          ? `${subject} was not decided in time and is rejected`
          : `${subject} was not applied in time; its approval is over`,
      concerns: everybody,
    },
  ),
  "change_set.blocked": event(
    "change_set",
    { reason: z.enum(["drift"]), revision },
    {
      tone: "stopped",
      sentence: ({ subject }) => `${subject} cannot be applied: its targets changed since it was planned`,
      concerns: alarmed,
    },
  ),
  "change_set.rerouted": event(
    "change_set",
    { from: status, revision, digest: approval, required, votesDismissed },
    {
      sentence: ({ subject, data }) => `${subject} needs ${counted(data.required, "approval")} now and waits for them`,
      concerns: [...everybody, "may_vote"],
    },
  ),
  "change_set.apply_started": event("change_set", begun, {
    verified: true,
    sentence: ({ actor, subject, data }) => `${actor} began to apply ${subject}${attempted(data.attempt)}`,
    concerns: everybody,
  }),
  "change_set.apply_resumed": event("change_set", begun, {
    sentence: ({ actor, subject }) => `${actor} went on applying ${subject}`,
    concerns: alarmed,
  }),
  "change_set.rollback_started": event("change_set", begun, {
    verified: true,
    tone: "taken_back",
    sentence: ({ actor, subject, data }) =>
      `${actor}${data.as === undefined ? "" : `, ${authorityWords[data.as]},`} began to roll back ${subject}`,
    concerns: alarmed,
  }),
  "change_set.item_started": event(
    "change_set",
    { application, item: sequence, backups: count },
    {
      sentence: ({ actor, subject, data }) => `${actor} began item ${data.item} of ${subject}`,
      concerns: ["auditors"],
    },
  ),
  "change_set.item_verified": event("change_set", itemOutcome, {
    sentence: ({ actor, subject, data }) => `${actor} carried out item ${data.item} of ${subject}, read back`,
    concerns: ["auditors"],
  }),
  "change_set.item_failed": event("change_set", itemOutcome, {
    tone: "stopped",
    sentence: ({ actor, subject, data }) =>
      `item ${data.item} of ${subject}, begun by ${actor}, failed: its target is ${data.outcome}`,
    concerns: alarmed,
  }),
  "change_set.item_compensated": event(
    "change_set",
    { application, item: sequence, outcome: undone },
    {
      tone: "taken_back",
      sentence: ({ actor, subject, data }) => `${actor} undid item ${data.item} of ${subject}`,
      concerns: ["auditors"],
    },
  ),
  "change_set.items_applied": event("change_set", severalItems, {
    sentence: ({ actor, subject, data }) => `${actor} carried out ${itemsOf(data.items)} of ${subject}`,
    concerns: ["auditors"],
  }),
  "change_set.items_compensated": event("change_set", severalItems, {
    tone: "taken_back",
    sentence: ({ actor, subject, data }) => `${actor} undid ${itemsOf(data.items)} of ${subject}`,
    concerns: ["auditors"],
  }),
  "change_set.compensation_failed": event(
    "change_set",
    {
      application,
      item: sequence.optional().meta({ description: "Of a target outside the database, one at a time." }),
      items: z.array(sequence).optional().meta({ description: "Of targets inside the database, together." }),
      outcome: undone.optional(),
    },
    {
      tone: "stopped",
      sentence: ({ subject, data }) =>
        `${itemsOf(data.items ?? (data.item === undefined ? [] : [data.item]))} of ${subject} could not be undone`,
      concerns: alarmed,
    },
  ),
  "change_set.apply_failed": event(
    "change_set",
    { application, code: errorCode },
    {
      tone: "stopped",
      sentence: ({ subject, data }) => `applying ${subject} failed (${data.code}); what was done is undone`,
      concerns: alarmed,
    },
  ),
  "change_set.rollback_failed": event(
    "change_set",
    { application, code: errorCode },
    {
      tone: "stopped",
      sentence: ({ subject, data }) => `rolling back ${subject} failed (${data.code}); what was undone is done again`,
      concerns: alarmed,
    },
  ),
  "change_set.applied": event("change_set", ended, {
    verified: true,
    sentence: ({ actor, subject, data }) => `${actor} applied ${subject}: ${counted(data.applied, "item")}`,
    concerns: everybody,
  }),
  "change_set.partially_applied": event("change_set", ended, {
    tone: "stopped",
    sentence: ({ subject, data }) =>
      `${subject} ended partly${when(data.reason, ` (${data.reason})`)}: a person must say how to go on`,
    concerns: alarmed,
  }),
  "change_set.rolled_back": event("change_set", ended, {
    verified: true,
    tone: "taken_back",
    sentence: ({ actor, subject, data }) => `${actor} rolled back ${subject}: ${counted(data.applied, "item")}`,
    concerns: alarmed,
  }),
  "change_set.rollback_refused": event("change_set", ended, {
    tone: "stopped",
    sentence: ({ subject }) => `${subject} was not rolled back; it is applied as before`,
    concerns: alarmed,
  }),
  "change_set.apply_compensated": event("change_set", ended, {
    tone: "taken_back",
    sentence: ({ subject }) => `${subject} was not applied: everything it had done is undone`,
    concerns: alarmed,
  }),
} as const satisfies Record<ChangeSetAction, Pick<EventRow<"change_set">, "subjects">>;

function attempted(attempt: number): string {
  return attempt > 1 ? `, attempt ${attempt}` : "";
}

function itemsOf(sequences: readonly number[]): string {
  if (sequences.length === 0) return "an item";
  if (sequences.length > 12) return counted(sequences.length, "item");
  return `${sequences.length === 1 ? "item" : "items"} ${sequences.join(", ")}`;
}
