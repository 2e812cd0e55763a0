/**
 * Proposing: create and revise. A revision is immutable: its items, plan and digest never change; editing makes the next one.
 */
import {
  type Category,
  type ChangeSetAnswer,
  type ChangeSetInput,
  type CheckedInput,
  isRefusal,
  type JsonObject,
  type ItemInput,
  type Refusal,
  refused,
  refusedForProblems,
} from "@countersign/contract";
import {
  assessRisk,
  checkPriority,
  type Configuration,
  deriveCategory,
  type DerivedCategory,
  loadConfiguration,
  type RiskAssessment,
} from "../../governance/index.js";
import type { DecideContext, Guard, Snapshot } from "../../ledger/index.js";
import type { CheckedItem } from "../../targets/index.js";
import type { Caller, People } from "../../tenancy/index.js";
import {
  answerOf,
  countersFor,
  type Desk,
  entry,
  guardsOf,
  loadForCommand,
  policyPrincipal,
  type RequestContext,
  view,
} from "../desk.js";
import { backToDraft, dismissVotes, mayEdit, transition } from "../lifecycle.rules.js";
import type { NumberBlocks } from "./numbers.js";
import { type Plan, planItems } from "./plan.js";
import { changeSetNumber, dayPrefix, digestRevision } from "./plan.rules.js";
import { type AuthorHistory, type Overlap, readAuthorHistory, readByRefs, readOverlaps } from "../queries.js";
import { timely } from "../timely.js";
import {
  type ChangeSetRow,
  insert,
  inserted,
  type ItemRow,
  type NewRow,
  type RevisionRow,
  update,
  updated,
  type Whole,
} from "../rows.js";

/** A plan with what it amounts to: ready to become a revision. */
interface Proposal {
  readonly plan: Plan;
  readonly category: DerivedCategory;
  readonly risk: RiskAssessment;
  /** Other change-sets under way on its targets. */
  readonly overlaps: readonly Overlap[];
}

const underWay = ["PENDING_APPROVAL", "APPROVED", "APPLYING", "PARTIALLY_APPLIED", "ROLLING_BACK"];

export async function create(
  desk: Desk,
  numbers: NumberBlocks,
  caller: Caller,
  input: ChangeSetInput,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const load = async (snapshot: Snapshot) => {
    const early = checkPriority(input.priority, caller.principal.kind);
    if (early !== undefined) return refusedForProblems([early]);
    const [people, configuration, configurationEpoch] = await Promise.all([
      desk.tenancy.loadPeople(snapshot),
      loadConfiguration(snapshot),
      snapshot.epoch("config"),
    ]);
    const [counters, dependsOn, proposal] = await Promise.all([
      countersFor(desk, snapshot, {
        command: "propose",
        by: caller.principal,
        items: input.items.length,
        configuration,
      }),
      resolveDependencies(snapshot, input.dependsOn),
      propose(desk, snapshot, {
        changeSetId: "00000000-0000-0000-0000-000000000000",
        items: input.items,
        category: input.category,
        people,
        configuration,
        authorId: caller.principal.id,
      }),
    ]);
    if (isRefusal(counters)) return counters;
    if (isRefusal(dependsOn)) return dependsOn;
    if (isRefusal(proposal)) return proposal;
    const day = dayPrefix(request.nowMs);
    const number = changeSetNumber(day, await numbers.next(snapshot, day));
    return { people, configuration, configurationEpoch, dependsOn, proposal, number, counters };
  };

  const outcome = await request.transact(caller.tenant, load, (loaded, context) => {
    if (isRefusal(loaded)) return loaded;
    const { proposal, number } = loaded;
    const id = context.uuid();
    const revisionId = context.uuid();
    const changeSet: NewRow<ChangeSetRow> = {
      ...blankChangeSet,
      id,
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
      depends_on: loaded.dependsOn,
      status: "DRAFT",
      revision: 1,
      revision_id: revisionId,
      risk_score: proposal.risk.score,
      risk_level: proposal.risk.level,
      created_at_ms: context.nowMs,
      updated_at_ms: context.nowMs,
    };
    const rows = revisionRows(
      proposal,
      { changeSetId: id, revisionId, number: 1, madeBy: caller.principal.id },
      context,
    );
    const guards: Guard[] = [
      ...caller.guards,
      { kind: "absent", table: "change_sets", key: { number } },
      { kind: "epoch", name: "config", value: loaded.configurationEpoch },
      ...loaded.counters,
    ];
    const whole: Whole = {
      changeSet: inserted(changeSet),
      revision: inserted(rows.revision),
      items: rows.items.map((row) => inserted<ItemRow>(row)),
      votes: [],
      application: null,
      applicationItems: [],
    };
    return {
      kind: "change",
      change: {
        guards,
        entries: [
          entry(caller.actor, id, "change_set.created", {
            data: {
              number,
              revision: rows.revision.digest,
              items: rows.items.length,
              category: changeSet.category,
              priority: changeSet.priority,
              risk: proposal.risk.level,
              score: proposal.risk.score,
            },
            body: { title: changeSet.title, description: changeSet.description },
            writes: [
              insert("change_sets", changeSet),
              insert("revisions", rows.revision),
              ...rows.items.map((row) => insert("items", row)),
            ],
          }),
        ],
      },
      result: {
        changeSet: view({
          whole,
          people: loaded.people,
          configuration: loaded.configuration,
          configurationEpoch: loaded.configurationEpoch,
          overlaps: proposal.overlaps,
        }),
      },
    };
  });
  return answerOf(outcome);
}

export async function revise(
  desk: Desk,
  caller: Caller,
  input: CheckedInput<"reviseChangeSet">,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, input.id);
    if (isRefusal(loaded)) return loaded;
    const { whole, people, configuration } = loaded;
    const refusal =
      transition(whole.changeSet, "revise") ?? mayEdit(caller, whole) ?? sameRevision(whole, input.revision);
    if (refusal !== undefined) return refusal;
    const early = input.priority === undefined ? undefined : checkPriority(input.priority, caller.principal.kind);
    if (early !== undefined) return refusedForProblems([early]);
    const dependsOn =
      input.dependsOn === undefined ? whole.changeSet.depends_on : await resolveDependencies(snapshot, input.dependsOn);
    if (isRefusal(dependsOn)) return dependsOn;
    if (dependsOn.includes(whole.changeSet.id)) {
      return refusedForProblems([
        {
          code: "dependency_cycle",
          pointer: "/dependsOn",
          message: `change-set \`${whole.changeSet.number}\` depends on itself`,
        },
      ]);
    }
    const items = input.items ?? whole.items.map((item) => item.input);
    const requested = input.category ?? whole.changeSet.category_requested ?? undefined;
    const proposal = await propose(desk, snapshot, {
      changeSetId: whole.changeSet.id,
      items,
      category: requested,
      people,
      configuration,
      authorId: whole.changeSet.author_id,
    });
    if (isRefusal(proposal)) return proposal;
    return { ...loaded, dependsOn, proposal, overlaps: proposal.overlaps, requested };
  };

  const outcome = await timely(desk, caller, request, load, (loaded, context) => {
    const { whole, proposal, requested } = loaded;
    const before = whole.changeSet;
    const revisionId = context.uuid();
    const number = before.revision + 1;
    const rows = revisionRows(
      proposal,
      { changeSetId: before.id, revisionId, number, madeBy: caller.principal.id },
      context,
    );
    const changes: Partial<ChangeSetRow> = {
      title: input.title ?? before.title,
      description: input.description ?? before.description,
      // Both the humans behind the author when it was first proposed and those behind it now are excluded from voting.
      author_humans: [...new Set([...before.author_humans, ...caller.humans])],
      category: proposal.category.category,
      category_requested: requested ?? null,
      priority: input.priority ?? before.priority,
      apply_mode: input.applyMode ?? before.apply_mode,
      tags: input.tags ?? before.tags,
      metadata: input.metadata ?? before.metadata,
      depends_on: loaded.dependsOn,
      ...backToDraft,
      attempts: 0,
      revision: number,
      revision_id: revisionId,
      risk_score: proposal.risk.score,
      risk_level: proposal.risk.level,
      updated_at_ms: context.nowMs,
    };
    const dismissed = dismissVotes(whole);
    const changeSet = updated<ChangeSetRow>(before, changes);
    const after: Whole = {
      ...whole,
      changeSet,
      revision: inserted(rows.revision),
      items: rows.items.map((row) => inserted<ItemRow>(row)),
      votes: dismissed.votes,
    };
    return {
      kind: "change",
      change: {
        guards: guardsOf(loaded, caller),
        entries: [
          entry(caller.actor, before.id, "change_set.revised", {
            data: {
              from: before.status,
              number,
              revision: rows.revision.digest,
              items: rows.items.length,
              category: changeSet.category,
              risk: proposal.risk.level,
              score: proposal.risk.score,
              votesDismissed: dismissed.writes.length,
            },
            body: { title: changeSet.title, description: changeSet.description },
            writes: [
              update("change_sets", before, changes),
              insert("revisions", rows.revision),
              ...rows.items.map((row) => insert("items", row)),
              ...dismissed.writes,
            ],
          }),
        ],
      },
      result: { changeSet: view(loaded, after) },
    };
  });
  return answerOf(outcome);
}

/** Plans the items and scores them; the bytes the plan needs later are kept. */
async function propose(
  desk: Desk,
  snapshot: Snapshot,
  of: {
    changeSetId: string;
    items: readonly ItemInput[];
    category: Category | undefined;
    people: People;
    configuration: Configuration;
    authorId: string;
  },
): Promise<Proposal | Refusal> {
  const principal = policyPrincipal(of.people, of.authorId, of.configuration);
  const blobs = desk.blobs(snapshot.tenant);
  const overlapsOn = (keys: readonly string[]): Promise<Overlap[]> =>
    readOverlaps(snapshot, { changeSetId: of.changeSetId, keys, statuses: underWay });
  let asked: { readonly keys: readonly string[]; readonly overlaps: Promise<Overlap[]> } | undefined;
  const planning = planItems(of.items, {
    targets: desk.targets,
    blobs,
    snapshot,
    configuration: of.configuration,
    principal,
    alongside: (keys) => {
      asked = { keys, overlaps: overlapsOn(keys) };
      asked.overlaps.catch(() => undefined); // Told below, unless there is no plan.
    },
  });
  const [plan, history] = await Promise.all([planning, readAuthorHistory(snapshot, of.authorId)]);
  if (isRefusal(plan)) return plan;
  const assessed = assess(plan, { ...of, history });
  if (isRefusal(assessed)) return assessed;
  for (const item of plan.items) for (const bytes of item.planned.blobs.values()) await blobs.put(bytes);
  // Asked with the targets of the items, in the round trip that reads them: those are the targets of the effects.
  const keys = keysOf(plan);
  const same = asked?.keys.length === keys.length && keys.every((key) => asked?.keys.includes(key));
  const overlaps = await (same && asked !== undefined ? asked.overlaps : overlapsOn(keys));
  return { plan, ...assessed, overlaps };
}

/** Category and risk of a plan by its author's record. */
export function assess(
  plan: Plan,
  of: {
    category?: Category | undefined;
    people: People;
    configuration: Configuration;
    authorId: string;
    history: AuthorHistory;
  },
): { category: DerivedCategory; risk: RiskAssessment } | Refusal {
  const category = deriveCategory(plan.checked, of.configuration.categories, of.category);
  if ("code" in category) return refusedForProblems([category]);
  const author = of.people.principals.get(of.authorId);
  const checked: readonly CheckedItem[] = plan.checked;
  const bySequence = [...plan.items].sort((a, b) => a.sequence - b.sequence);
  const risk = assessRisk(
    {
      author:
        author?.agentType == null
          ? { type: author?.kind ?? "agent" }
          : { type: author.kind, agentType: author.agentType },
      category: category.category,
      itemCategories: category.items,
      items: bySequence.map(({ sequence, input, planned }) => ({
        operation: input.operation,
        targets: checked[sequence - 1]?.targets ?? [],
        flags: planned.flags,
        reversibility: planned.reversibility,
      })),
    },
    of.history,
    of.configuration.risk,
  );
  return { category, risk };
}

function revisionRows(
  proposal: Proposal,
  of: { changeSetId: string; revisionId: string; number: number; madeBy: string },
  context: DecideContext,
): { revision: NewRow<RevisionRow>; items: NewRow<ItemRow>[] } {
  const nonce = Buffer.from(context.randomBytes(32)).toString("hex");
  const { plan } = proposal;
  const bySequence = [...plan.items].sort((a, b) => a.sequence - b.sequence);
  const items = bySequence.map(({ sequence, position, input, planned }): NewRow<ItemRow> => {
    const about = plan.checked[sequence - 1]?.targets[0];
    const [key, otherKey, ...more] = new Set(planned.effects.map((effect) => effect.target.key));
    if (about === undefined || key === undefined || more.length > 0)
      throw new Error(`item ${sequence} touches no target, or more than two`);
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
      target_key: key,
      other_target_key: otherKey ?? null,
      input,
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
    risk: proposal.risk as unknown as JsonObject,
    policy: null,
    route: null,
    approval_digest: null,
    created_at_ms: context.nowMs,
  };
  return { revision, items };
}

async function resolveDependencies(snapshot: Snapshot, refs: readonly string[]): Promise<string[] | Refusal> {
  const rows = await readByRefs(snapshot, refs);
  const problems = refs
    .map((ref, index) => ({ ref, index, row: rows.find((row) => row.id === ref || row.number === ref) }))
    .filter(({ row }) => row === undefined)
    .map(({ ref, index }) => ({
      code: "not_found" as const,
      pointer: `/dependsOn/${index}`,
      message: `there is no change-set \`${ref}\``,
    }));
  if (problems.length > 0) return refusedForProblems(problems);
  return [...new Set(rows.map((row) => row.id))].sort();
}

function keysOf(plan: Plan): string[] {
  return [...new Set(plan.items.flatMap((item) => item.planned.effects.map((effect) => effect.target.key)))];
}

function sameRevision(whole: Whole, revision: number): Refusal | undefined {
  if (whole.changeSet.revision === revision) return undefined;
  return refused(
    "precondition_failed",
    `\`${whole.changeSet.number}\` is at revision \`${whole.changeSet.revision}\`, not \`${revision}\`; read it again and revise that`,
    {
      details: { revision: whole.changeSet.revision },
    },
  );
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
