/** What every command on a change-set works with: the modules below, and one loaded picture of the change-set and its people. */
import {
  type ChangeSetAnswer,
  type ChangeSetView,
  type Permission,
  type Refusal,
  refused,
  type TenantId,
} from "@countersign/contract";
import {
  type ApprovalContext,
  type AuthorFacts,
  type CastVote,
  checkLimits,
  type Configuration,
  type LimitedCommand,
  limitGuards,
  loadConfiguration,
  permissionsOf,
  type PolicyPrincipal,
  type Route,
  type RouteTally,
  tally,
} from "../governance/index.js";
import type { Actor, Decided, EntryDraft, Guard, Ledger, Snapshot, Write } from "../ledger/index.js";
import type { Log } from "../platform/index.js";
import type { Storage } from "../storage/index.js";
import type { Blobs, TargetContext, Targets } from "../targets/index.js";
import type { Caller, People, Tenancy } from "../tenancy/index.js";
import { due, overdue } from "./lifecycle.rules.js";
import { type Overlap, readOverlaps, readWhole } from "./queries.js";
import { type ChangeSetAction, keysOf, type Whole } from "./rows.js";
import { type Approvals, type Names, receiptsOf, viewOf } from "./view.rules.js";

export type Transact = Ledger["transact"];

export interface Desk {
  readonly ledger: Ledger;
  readonly storage: Storage;
  readonly tenancy: Pick<Tenancy, "loadPeople" | "principalNames" | "systemCaller">;
  readonly targets: Targets;
  readonly blobs: (tenant: TenantId) => Blobs;
  readonly now: () => number;
  readonly log: Log;
}

/** A request as the edge hands it down: `transact` replays the answer when the idempotency key was seen before. */
export interface RequestContext {
  readonly transact: Transact;
  readonly nowMs: number;
  readonly requestId: string;
  /** The person's own key was unlocked for this request, and is used up with its first commit. */
  readonly proven?: boolean;
}

export interface Loaded {
  readonly whole: Whole;
  readonly people: People;
  readonly configuration: Configuration;
  readonly configurationEpoch: number;
  readonly overlaps: readonly Overlap[];
}

/** What a command decided, and the change-set as its answer shows it. */
export type Answered = Decided<{ changeSet: ChangeSetView }>;

/** What a target kind works with, in one snapshot. */
export function targetContext(desk: Pick<Desk, "blobs">, snapshot: Snapshot): TargetContext {
  return { tenant: snapshot.tenant, snapshot, blobs: desk.blobs(snapshot.tenant) };
}

const openStatuses = ["DRAFT", "PENDING_APPROVAL", "APPROVED", "APPLYING", "PARTIALLY_APPLIED", "ROLLING_BACK"];

/** The change-set as it is; `expired` when a deadline passed that nobody has acted on yet (`timely` does). */
export async function loadForCommand(desk: Desk, snapshot: Snapshot, ref: string): Promise<Loaded | Refusal> {
  const whole = await readWhole(snapshot, ref);
  if (whole === undefined) return notFound(ref);
  const late = due(whole.changeSet, desk.now());
  if (late !== undefined) return overdue(whole.changeSet, late);
  const [people, configuration, configurationEpoch, overlaps] = await Promise.all([
    desk.tenancy.loadPeople(snapshot),
    loadConfiguration(snapshot),
    snapshot.epoch("config"),
    overlapsOf(snapshot, whole),
  ]);
  return { whole, people, configuration, configurationEpoch, overlaps };
}

/** Other open change-sets on the targets of this one; a draft counts only once it is submitted. */
export function overlapsOf(snapshot: Snapshot, whole: Whole): Promise<Overlap[]> {
  const keys = [...new Set(whole.items.flatMap(keysOf))];
  return readOverlaps(snapshot, { changeSetId: whole.changeSet.id, keys, statuses: openStatuses.slice(1) });
}

export function notFound(ref: string): Refusal {
  return refused("not_found", `there is no change-set \`${ref}\`; \`countersign change-set list\` shows them`);
}

/** What a decision about this change-set depended on besides what it writes. */
export function guardsOf(loaded: Loaded, caller: Caller): Guard[] {
  return [
    ...caller.guards,
    { kind: "row", table: "change_sets", id: loaded.whole.changeSet.id, version: loaded.whole.changeSet.version },
    { kind: "epoch", name: "config", value: loaded.configurationEpoch },
    { kind: "epoch", name: "members", value: loaded.people.epoch },
  ];
}

export function authorOf(whole: Whole, people: People): AuthorFacts {
  const { author_id: id, author_humans: humansAtProposal } = whole.changeSet;
  return { id, humansAtProposal: [...humansAtProposal], humansNow: [...people.humansOf(id)] };
}

/** A principal as policy sees it: with what it may now, not with what a key of it may. */
export function policyPrincipal(people: People, id: string, configuration: Configuration): PolicyPrincipal {
  const person = people.principals.get(id);
  if (person === undefined) throw new Error(`principal ${id} is referenced but missing`);
  const suspended = person.status === "SUSPENDED";
  const base = {
    id,
    name: person.name,
    type: person.kind,
    roles: suspended ? [] : [...person.boundRoles],
    groups: suspended ? [] : [...person.groups],
    permissions: suspended ? new Set<Permission>() : permissionsOf(person.boundRoles, configuration),
  };
  return person.agentType === null ? base : { ...base, agentType: person.agentType };
}

/** How the votes on the present revision stand against its route; null before a route exists. */
export function standing(loaded: Loaded, whole: Whole = loaded.whole): RouteTally | null {
  const route = whole.revision.route as Route | null;
  if (route === null || route === undefined) return null;
  return tally(route, castVotes(loaded, whole), approvalContext(loaded, whole));
}

/** Whom approving is about, now. */
export function approvalContext(
  { people, configuration }: Pick<Loaded, "people" | "configuration">,
  whole: Whole,
): ApprovalContext {
  return { mode: people.mode, voters: people.voters, author: authorOf(whole, people), configuration };
}

/** The counters a command counts against, or which limit is used up. The guards keep it exact at the commit. */
export async function countersFor(
  desk: Desk,
  snapshot: Snapshot,
  of: {
    command: LimitedCommand;
    by: Pick<Caller["principal"], "id" | "kind">;
    items: number;
    configuration: Configuration;
  },
): Promise<Guard[] | Refusal> {
  const { by, configuration } = of;
  const nowMs = desk.now();
  const { guards } = limitGuards(
    of.command,
    { principal: by.id, type: by.kind, nowMs, items: of.items },
    configuration.limits,
  );
  const used = await Promise.all(guards.map(async (guard) => [guard.key, await snapshot.counter(guard.key)] as const));
  return checkLimits(guards, new Map(used), nowMs) ?? [...guards];
}

export function liveVotes(whole: Whole): Whole["votes"] {
  return whole.votes.filter((vote) => vote.revision_id === whole.revision.id && !vote.dismissed);
}

/** Votes that are counted: one whose key was revoked since is not, for whoever had the key may have cast it. */
export function castVotes({ people }: Pick<Loaded, "people">, whole: Whole): CastVote[] {
  const stands = (vote: Whole["votes"][number]): boolean => people.signingKeys.get(vote.key_id)?.status === "ACTIVE";
  return liveVotes(whole)
    .filter(stands)
    .map((vote) => ({ voter: vote.voter_id, decision: vote.decision, atMs: vote.at_ms }));
}

export function view(loaded: Loaded, whole: Whole = loaded.whole): ChangeSetView {
  const state = standing(loaded, whole);
  const approvals: Approvals | null =
    state === null ? null : { received: state.approved, required: state.required, waitingFor: waitingFor(state) };
  return viewOf(whole, { names: namesOf(loaded.people), conflicts: loaded.overlaps, approvals });
}

function waitingFor(state: RouteTally): string[] {
  if (state.state !== "pending") return [];
  return state.stages.filter((stage) => stage.state !== "satisfied").map((stage) => stage.name);
}

export function namesOf(people: People): Names {
  return { get: (id) => people.principals.get(id) };
}

/** An entry about this change-set. `data`: ids, enums, integers, digests; texts go to `body`. */
export function entry(
  actor: Actor,
  changeSetId: string,
  action: ChangeSetAction,
  more: {
    data?: EntryDraft["data"];
    body?: EntryDraft["body"];
    refs?: EntryDraft["refs"];
    writes?: readonly Write[];
  } = {},
): EntryDraft {
  return {
    actor,
    action,
    subject: { type: "change_set", id: changeSetId },
    ...(more.data === undefined ? {} : { data: more.data }),
    ...(more.body === undefined ? {} : { body: more.body }),
    ...(more.refs === undefined ? {} : { refs: more.refs }),
    ...(more.writes === undefined ? {} : { writes: more.writes }),
  };
}

/** The stored answer with its receipts, or the refusal. */
export function answerOf(outcome: Awaited<ReturnType<RequestContext["transact"]>>): ChangeSetAnswer | Refusal {
  if (outcome.kind === "refused") return outcome;
  const { changeSet } = outcome.result as { changeSet: ChangeSetView };
  return { changeSet, receipts: outcome.kind === "committed" ? receiptsOf(outcome.receipts) : [] };
}
