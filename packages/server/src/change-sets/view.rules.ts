/** What callers see of a change-set: made from its rows alone, so the answer can be stored in the commit that makes it true. */
import {
  type ApplicationView,
  type ChangeSetAnswer,
  type ChangeSetSummary,
  type ChangeSetView,
  type ItemView,
  legalCommands,
  type JsonObject,
  proofPath,
} from "@countersign/contract";
import type { Receipt } from "../ledger/index.js";
import type { Overlap, ApplicationWhole } from "./queries.js";
import { type ChangeSetRow, type ItemRow, keysOf, type VoteRow, type Whole } from "./rows.js";
import { reversibilityOf } from "./lifecycle.rules.js";

/** Names for ids; an id nobody knows is shown as itself. */
export interface Names {
  get(id: string): { readonly kind: "human" | "agent" | "service" | "system"; readonly name: string } | undefined;
}

export function at(ms: number): string;
export function at(ms: number | null): string | null;
export function at(ms: number | null): string | null {
  return ms === null || ms === undefined ? null : new Date(ms).toISOString();
}

export function nameOf(
  names: Names,
  id: string,
): { id: string; kind: "human" | "agent" | "service" | "system"; name: string } {
  const known = names.get(id);
  return { id, kind: known?.kind ?? "system", name: known?.name ?? "countersign" };
}

export function summaryOf(row: ChangeSetRow, names: Names): ChangeSetSummary {
  return {
    id: row.id,
    number: row.number,
    title: row.title,
    author: nameOf(names, row.author_id),
    agentType: (row.agent_type ?? null) as ChangeSetSummary["agentType"],
    category: row.category,
    priority: row.priority,
    applyMode: row.apply_mode,
    status: row.status,
    statusReason: row.status_reason ?? null,
    blocked: row.blocked ?? null,
    revision: row.revision,
    riskScore: row.risk_score ?? null,
    riskLevel: row.risk_level ?? null,
    requiredApprovals: row.required_approvals ?? null,
    tags: [...row.tags],
    createdAt: at(row.created_at_ms),
    updatedAt: at(row.updated_at_ms),
    deadlineAt: at(row.deadline_at_ms ?? null),
  };
}

export interface Approvals {
  readonly received: number;
  readonly required: number;
  readonly waitingFor: readonly string[];
}

export function viewOf(
  whole: Whole,
  extra: { names: Names; conflicts: readonly Overlap[]; approvals: Approvals | null },
): ChangeSetView {
  const { changeSet, revision, items, votes } = whole;
  const erasedAt = at(changeSet.erased_at_ms ?? null);
  return {
    ...summaryOf(changeSet, extra.names),
    description: changeSet.description,
    metadata: changeSet.metadata,
    dependsOn: [...changeSet.depends_on],
    revisionDigest: revision.digest,
    revisionNonce: revision.nonce,
    approvalDigest: changeSet.approval_digest ?? null,
    risk: revision.risk,
    policy: revision.policy ?? null,
    route: revision.route ?? null,
    approvals: extra.approvals === null ? null : { ...extra.approvals, waitingFor: [...extra.approvals.waitingFor] },
    votes: votes.map((vote) => voteOf(vote, extra.names)),
    items: items.map((item) => itemOf(item, whole)),
    conflicts: extra.conflicts.map((c) => ({
      changeSetId: c.id,
      number: c.number,
      title: c.title,
      status: c.status,
      target: c.target,
    })),
    reversibility: reversibilityOf(items),
    attempts: changeSet.attempts,
    applicationId: changeSet.application_id ?? null,
    legalCommands: erasedAt === null ? legalCommands(changeSet.status) : [],
    submittedAt: at(changeSet.submitted_at_ms ?? null),
    approvedUntil: at(changeSet.approved_until_ms ?? null),
    appliedAt: at(changeSet.applied_at_ms ?? null),
    undoUntil: at(changeSet.undo_until_ms ?? null),
    erasedAt,
  };
}

function voteOf(vote: VoteRow, names: Names): ChangeSetView["votes"][number] {
  return {
    id: vote.id,
    voter: nameOf(names, vote.voter_id),
    keyId: vote.key_id,
    decision: vote.decision,
    digest: vote.digest,
    signature: vote.signature,
    reason: vote.reason ?? null,
    selfApproved: vote.self_approved,
    dismissed: vote.dismissed,
    at: at(vote.at_ms),
  };
}

export function itemOf(item: ItemRow, whole: Pick<Whole, "application" | "applicationItems">): ItemView {
  const result = whole.applicationItems.find((entry) => entry.sequence === item.sequence);
  return {
    id: item.id,
    sequence: item.sequence,
    position: item.position,
    operation: item.operation,
    target: {
      kind: item.target_kind,
      type: item.target_type,
      id: item.target_id,
      environment: item.target_environment,
      keys: keysOf(item),
    },
    input: item.input,
    effects: item.effects.map((effect) => ({
      target: { ...effect.target },
      before: { ...effect.before },
      after: { ...effect.after },
    })),
    diff: item.diff,
    reversibility: item.reversibility,
    flags: [...item.flags],
    policy: item.policy ?? null,
    result:
      result === undefined
        ? null
        : { applicationId: result.application_id, status: result.status, problem: result.problem ?? null },
  };
}

export function applicationOf({ application, items, backups }: ApplicationWhole, names: Names): ApplicationView {
  const ended = application.ended_at_ms ?? null;
  return {
    id: application.id,
    changeSetId: application.change_set_id,
    kind: application.kind,
    mode: application.mode,
    attempt: application.attempt,
    status: application.status,
    startedBy: nameOf(names, application.started_by),
    reason: application.reason ?? null,
    appliedItems: application.applied_items,
    failedItems: application.failed_items,
    errors: application.errors.map((error) => ({ ...error })),
    items: items.map((item) => ({
      sequence: item.sequence,
      status: item.status,
      problem: (item.problem ?? null) as JsonObject | null,
    })),
    backups,
    startedAt: at(application.started_at_ms),
    endedAt: at(ended),
    durationMs: ended === null ? null : ended - application.started_at_ms,
  };
}

export function receiptsOf(receipts: readonly Receipt[]): ChangeSetAnswer["receipts"] {
  return receipts.map((receipt) => ({
    seq: receipt.seq,
    entryId: receipt.entryId,
    hash: receipt.hash,
    at: at(receipt.timeMs),
    proof: proofPath(receipt.seq),
  }));
}
