/** Proposing: create and revise. What is proposed is planned on its targets as they are; `revision.rules.ts` decides. */
import {
  type Category,
  type ChangeSetAnswer,
  type ChangeSetInput,
  type CheckedInput,
  isRefusal,
  type ItemInput,
  type Refusal,
  refusedForProblems,
  underWayStatuses,
} from "@countersign/contract";
import { type Configuration, loadConfiguration } from "../../governance/index.js";
import type { Snapshot } from "../../ledger/index.js";
import type { Caller, People } from "../../tenancy/index.js";
import { answerOf, command } from "../command.js";
import type { Desk, RequestContext } from "../desk.js";
import { countersFor, isStopped, loadForCommand, type Stopped } from "../load.js";
import { policyPrincipal } from "../loaded.rules.js";
import { type Overlap, readAuthorHistory, readByRefs, readOverlaps } from "../queries.js";
import { assess } from "./judgement.rules.js";
import type { NumberBlocks } from "./numbers.js";
import { type Plan, planItems } from "./plan.js";
import { changeSetNumber, dayPrefix } from "./plan.rules.js";
import {
  categoryAsked,
  checkCreation,
  checkDependencies,
  checkRevision,
  decideCreation,
  decideRevision,
  type Proposal,
  type Proposed,
  type Replanned,
} from "./revision.rules.js";

export async function create(
  desk: Desk,
  numbers: NumberBlocks,
  caller: Caller,
  input: ChangeSetInput,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const load = (snapshot: Snapshot) => loadProposed(desk, snapshot, { numbers, caller, input, nowMs: request.nowMs });
  const outcome = await request.transact(caller.tenant, load, (loaded, context) =>
    isRefusal(loaded) ? loaded : decideCreation(loaded, { caller, input }, context),
  );
  return answerOf(outcome);
}

/** A change-set that does not exist yet is planned under an id that none has. */
const noChangeSet = "00000000-0000-0000-0000-000000000000";

async function loadProposed(
  desk: Desk,
  snapshot: Snapshot,
  of: { numbers: NumberBlocks; caller: Caller; input: ChangeSetInput; nowMs: number },
): Promise<Proposed | Refusal> {
  const { caller, input } = of;
  const early = checkCreation(input, caller);
  if (early !== undefined) return early;
  const [people, configuration, configurationEpoch] = await Promise.all([
    desk.tenancy.loadPeople(snapshot),
    loadConfiguration(snapshot),
    snapshot.epoch("config"),
  ]);
  const { items, category } = input;
  const limited = { command: "propose", by: caller.principal, items: items.length, configuration } as const;
  const [counters, dependsOn, proposal] = await Promise.all([
    countersFor(desk, snapshot, limited),
    resolveDependencies(snapshot, input.dependsOn),
    propose(desk, snapshot, {
      changeSetId: noChangeSet,
      items,
      category,
      people,
      configuration,
      authorId: caller.principal.id,
    }),
  ]);
  if (isRefusal(counters)) return counters;
  if (isRefusal(dependsOn)) return dependsOn;
  if (isRefusal(proposal)) return proposal;
  const day = dayPrefix(of.nowMs);
  const number = changeSetNumber(day, await of.numbers.next(snapshot, day));
  return { people, configuration, configurationEpoch, dependsOn, proposal, number, counters };
}

export function revise(
  desk: Desk,
  caller: Caller,
  input: CheckedInput<"reviseChangeSet">,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const load = (snapshot: Snapshot) => loadReplanned(desk, snapshot, caller, input);
  return command(desk, caller, request, load, (loaded, context) => decideRevision(loaded, { caller, input }, context));
}

async function loadReplanned(
  desk: Desk,
  snapshot: Snapshot,
  caller: Caller,
  input: CheckedInput<"reviseChangeSet">,
): Promise<Replanned | Stopped> {
  const loaded = await loadForCommand(desk, snapshot, input.id);
  if (isStopped(loaded)) return loaded;
  const { whole, people, configuration } = loaded;
  const { changeSet } = whole;
  const refusal = checkRevision(loaded, { caller, input });
  if (refusal !== undefined) return refusal;
  const dependsOn =
    input.dependsOn === undefined ? changeSet.depends_on : await resolveDependencies(snapshot, input.dependsOn);
  if (isRefusal(dependsOn)) return dependsOn;
  const cycle = checkDependencies(whole, dependsOn);
  if (cycle !== undefined) return cycle;
  const proposal = await propose(desk, snapshot, {
    changeSetId: changeSet.id,
    items: input.items ?? whole.items.map((item) => item.input),
    category: categoryAsked(whole, input),
    people,
    configuration,
    authorId: changeSet.author_id,
  });
  return isRefusal(proposal) ? proposal : { ...loaded, dependsOn, proposal };
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
    readOverlaps(snapshot, { changeSetId: of.changeSetId, keys, statuses: underWayStatuses });
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
