/**
 * What proposing decides: the rows of a new change-set, and of its next revision. INVARIANT: a revision is immutable. Its items, plan and
 * digest never change; editing makes the next one, and every vote on the one before is void.
 */
import {
  type ChangeSetInput,
  type CheckedInput,
  jsonOf,
  type Refusal,
  refused,
  refusedForProblems,
} from "@countersign/contract";
import { checkPriority, type DerivedCategory, type RiskAssessment } from "../../governance/index.js";
import type { DecideContext, Guard, Write } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { type Answered, answered, entry } from "../entries.rules.js";
import { backToDraft, dismissVotes, mayEdit, transition } from "../lifecycle.rules.js";
import type { Loaded } from "../loaded.rules.js";
import type { Overlap } from "../queries.js";
import {
  type ChangeSetRow,
  insert,
  inserted,
  type ItemRow,
  type ItemTargetRow,
  type NewRow,
  type RevisionRow,
  update,
  updated,
  type Whole,
} from "../rows.js";
import { view } from "../view.rules.js";
import type { Plan } from "./plan.js";
import { digestRevision } from "./plan.rules.js";

/** A plan with what it amounts to: ready to become a revision. */
export interface Proposal {
  readonly plan: Plan;
  readonly category: DerivedCategory;
  readonly risk: RiskAssessment;
  /** Other change-sets under way on its targets. */
  readonly overlaps: readonly Overlap[];
}

// ── Creating ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/** What is known when a new change-set is decided. */
export interface Proposed extends Pick<Loaded, "people" | "configuration" | "configurationEpoch"> {
  readonly proposal: Proposal;
  /** Ids of change-sets. */
  readonly dependsOn: readonly string[];
  /** Its number, which nobody has yet. */
  readonly number: string;
  /** Of the limits that proposing counts against. */
  readonly counters: readonly Guard[];
}

/** Whether it may be proposed at all, asked before it is planned. */
export function checkCreation({ priority }: Pick<ChangeSetInput, "priority">, caller: Caller): Refusal | undefined {
  const problem = checkPriority(priority, caller.principal.kind);
  return problem === undefined ? undefined : refusedForProblems([problem]);
}

/** A draft with its first revision. */
export function decideCreation(
  loaded: Proposed,
  { caller, input }: { readonly caller: Caller; readonly input: Omit<ChangeSetInput, "items" | "dependsOn"> },
  context: DecideContext,
): Answered {
  const { proposal, number } = loaded;
  const id = context.uuid();
  const revisionId = context.uuid();
  const changeSet = newChangeSet(loaded, { id, revisionId, caller, input, nowMs: context.nowMs });
  const rows = revisionRows(proposal, { changeSetId: id, revisionId, number: 1, madeBy: caller.principal.id }, context);
  const created = entry(caller.actor, id, "change_set.created", {
    data: { number, ...revisionData(proposal, rows), priority: changeSet.priority },
    body: { title: changeSet.title, description: changeSet.description },
    writes: [insert("change_sets", changeSet), ...revisionWrites(rows)],
  });
  const row = inserted<ChangeSetRow>(changeSet);
  const whole: Whole = { changeSet: row, ...insertedRows(rows), votes: [], application: null, applicationItems: [] };
  return {
    kind: "change",
    change: { guards: creationGuards(loaded, caller), entries: [created] },
    result: { changeSet: view({ ...loaded, whole, overlaps: proposal.overlaps }) },
  };
}

/** Nobody has the number; people are not guarded, for the guards of the caller name all of them that count. */
function creationGuards({ number, configurationEpoch, counters }: Proposed, caller: Caller): Guard[] {
  return [
    ...caller.guards,
    { kind: "absent", table: "change_sets", key: { number } },
    { kind: "epoch", name: "config", value: configurationEpoch },
    ...counters,
  ];
}

function newChangeSet(
  { proposal, number, dependsOn }: Proposed,
  of: {
    readonly id: string;
    readonly revisionId: string;
    readonly caller: Caller;
    readonly input: Omit<ChangeSetInput, "items" | "dependsOn">;
    readonly nowMs: number;
  },
): NewRow<ChangeSetRow> {
  const { caller, input, nowMs } = of;
  return {
    ...blankChangeSet,
    id: of.id,
    number,
    title: input.title,
    description: input.description,
    author_id: caller.principal.id,
    author_humans: caller.humans,
    agent_type: caller.principal.agentType,
    category: proposal.category.category,
    category_requested: input.category ?? null,
    priority: input.priority,
    apply_mode: input.applyMode,
    tags: input.tags,
    metadata: input.metadata,
    depends_on: dependsOn,
    status: "DRAFT",
    revision: 1,
    revision_id: of.revisionId,
    risk_score: proposal.risk.score,
    risk_level: proposal.risk.level,
    created_at_ms: nowMs,
    updated_at_ms: nowMs,
  };
}

const blankChangeSet = {
  status_reason: null,
  blocked: null,
  approval_digest: null,
  required_approvals: null,
  attempts: 0,
  application_id: null,
  submitted_at_ms: null,
  deadline_at_ms: null,
  approved_until_ms: null,
  applied_at_ms: null,
  undo_until_ms: null,
};

// ── Revising ─────────────────────────────────────────────────────────────────────────────────────────────────────────

type RevisionInput = CheckedInput<"reviseChangeSet">;

/** A change-set with the plan of what is to be its next revision. */
export interface Replanned extends Loaded {
  readonly proposal: Proposal;
  readonly dependsOn: readonly string[];
}

/** Whether it may be revised at all, asked before it is planned. */
export function checkRevision(
  { whole }: Loaded,
  { caller, input }: { readonly caller: Caller; readonly input: Pick<RevisionInput, "revision" | "priority"> },
): Refusal | undefined {
  const refusal =
    transition(whole.changeSet, "revise") ?? mayEdit(caller, whole) ?? sameRevision(whole, input.revision);
  if (refusal !== undefined || input.priority === undefined) return refusal;
  return checkCreation({ priority: input.priority }, caller);
}

function sameRevision({ changeSet }: Whole, revision: number): Refusal | undefined {
  if (changeSet.revision === revision) return undefined;
  return refused(
    "precondition_failed",
    `\`${changeSet.number}\` is at revision \`${changeSet.revision}\`, not \`${revision}\`; read it again and revise that`,
    { details: { revision: changeSet.revision } },
  );
}

/** It cannot come after itself. */
export function checkDependencies({ changeSet }: Whole, dependsOn: readonly string[]): Refusal | undefined {
  if (!dependsOn.includes(changeSet.id)) return undefined;
  const message = `change-set \`${changeSet.number}\` depends on itself`;
  return refusedForProblems([{ code: "dependency_cycle", pointer: "/dependsOn", message }]);
}

/** The category its author asked for, with this revision or before. */
export function categoryAsked({ changeSet }: Whole, input: Pick<RevisionInput, "category">) {
  return input.category ?? changeSet.category_requested ?? undefined;
}

/** A draft again, at its next revision. */
export function decideRevision(
  loaded: Replanned,
  { caller, input }: { readonly caller: Caller; readonly input: Omit<RevisionInput, "id" | "items" | "dependsOn"> },
  context: DecideContext,
): Answered {
  const { whole, proposal } = loaded;
  const before = whole.changeSet;
  const revisionId = context.uuid();
  const number = before.revision + 1;
  const of = { changeSetId: before.id, revisionId, number, madeBy: caller.principal.id };
  const rows = revisionRows(proposal, of, context);
  const changes = revisedChangeSet(loaded, { caller, input, revisionId, nowMs: context.nowMs });
  const dismissed = dismissVotes(whole);
  const changeSet = updated<ChangeSetRow>(before, changes);
  const revised = entry(caller.actor, before.id, "change_set.revised", {
    data: { from: before.status, number, ...revisionData(proposal, rows), votesDismissed: dismissed.writes.length },
    body: { title: changeSet.title, description: changeSet.description },
    writes: [update("change_sets", before, changes), ...revisionWrites(rows), ...dismissed.writes],
  });
  const after: Whole = { ...whole, changeSet, ...insertedRows(rows), votes: dismissed.votes };
  return answered({ ...loaded, overlaps: proposal.overlaps }, caller, { entries: [revised], after });
}

function revisedChangeSet(
  { whole, proposal, dependsOn }: Replanned,
  of: {
    readonly caller: Caller;
    readonly input: Omit<RevisionInput, "id" | "items" | "dependsOn">;
    readonly revisionId: string;
    readonly nowMs: number;
  },
): Partial<ChangeSetRow> {
  const { changeSet } = whole;
  return {
    ...revisedTexts(changeSet, of.input),
    ...backToDraft,
    // Both the humans behind the author when it was first proposed and those behind it now are excluded from voting.
    author_humans: [...new Set([...changeSet.author_humans, ...of.caller.humans])],
    category: proposal.category.category,
    category_requested: categoryAsked(whole, of.input) ?? null,
    depends_on: dependsOn,
    attempts: 0,
    revision: changeSet.revision + 1,
    revision_id: of.revisionId,
    risk_score: proposal.risk.score,
    risk_level: proposal.risk.level,
    updated_at_ms: of.nowMs,
  };
}

/** What its author may set, as it was where nothing new is said. */
function revisedTexts(before: ChangeSetRow, input: Omit<RevisionInput, "id">): Partial<ChangeSetRow> {
  return {
    title: input.title ?? before.title,
    description: input.description ?? before.description,
    priority: input.priority ?? before.priority,
    apply_mode: input.applyMode ?? before.apply_mode,
    tags: input.tags ?? before.tags,
    metadata: input.metadata ?? before.metadata,
  };
}

// ── A revision ───────────────────────────────────────────────────────────────────────────────────────────────────────

interface RevisionRows {
  readonly revision: NewRow<RevisionRow>;
  readonly items: readonly NewRow<ItemRow>[];
  readonly itemTargets: readonly NewRow<ItemTargetRow>[];
}

function revisionData({ category, risk }: Proposal, { revision, items }: RevisionRows) {
  return {
    revision: revision.digest,
    items: items.length,
    category: category.category,
    risk: risk.level,
    score: risk.score,
  };
}

function revisionWrites({ revision, items, itemTargets }: RevisionRows): Write[] {
  return [
    insert("revisions", revision),
    ...items.map((row) => insert("items", row)),
    ...itemTargets.map((row) => insert("item_targets", row)),
  ];
}

function insertedRows({ revision, items }: RevisionRows): Pick<Whole, "revision" | "items"> {
  return { revision: inserted<RevisionRow>(revision), items: items.map((row) => inserted<ItemRow>(row)) };
}

function revisionRows(
  proposal: Proposal,
  of: { changeSetId: string; revisionId: string; number: number; madeBy: string },
  context: DecideContext,
): RevisionRows {
  const nonce = Buffer.from(context.randomBytes(32)).toString("hex");
  const { plan } = proposal;
  const bySequence = [...plan.items].sort((a, b) => a.sequence - b.sequence);
  const items = bySequence.map(({ sequence, position, input, planned }): NewRow<ItemRow> => {
    const about = plan.checked[sequence - 1]?.targets[0];
    if (about === undefined || planned.effects.length === 0) throw new Error(`item ${sequence} touches no target`);
    return {
      id: context.uuid(),
      change_set_id: of.changeSetId,
      revision_id: of.revisionId,
      sequence,
      position,
      operation: input.operation,
      target_kind: about.kind,
      target_type: about.type,
      target_id: about.id,
      target_environment: about.environment,
      target_key: about.key,
      input: jsonOf(input),
      effects: planned.effects,
      diff: planned.diff,
      reversibility: planned.reversibility,
      flags: planned.flags,
      policy: null,
    };
  });
  const revision: NewRow<RevisionRow> = {
    id: of.revisionId,
    change_set_id: of.changeSetId,
    number: of.number,
    nonce,
    digest: digestRevision(nonce, plan.items),
    made_by: of.madeBy,
    item_count: items.length,
    category: proposal.category.category,
    risk: proposal.risk,
    policy: null,
    route: null,
    approval_digest: null,
    created_at_ms: context.nowMs,
  };
  return { revision, items, itemTargets: items.flatMap((item) => furtherTargets(item, context)) };
}

/** The targets of an item beyond the one it is about, each once. */
function furtherTargets(item: NewRow<ItemRow>, context: DecideContext): NewRow<ItemTargetRow>[] {
  const targets = new Map(item.effects.map(({ target }) => [target.key, target]));
  targets.delete(item.target_key);
  return [...targets.values()].map((target) => ({
    id: context.uuid(),
    change_set_id: item.change_set_id,
    revision_id: item.revision_id,
    item_id: item.id,
    target_key: target.key,
    target_id: target.id,
  }));
}
