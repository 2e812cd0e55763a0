/**
 * A change-set as it was loaded for a command, with its people and the configuration: whose votes count, how they stand against the
 * route, and who its author is to policy and to approvals. All of it is worked out from what was loaded.
 */
import type { Permission } from "@countersign/contract";
import {
  type ApprovalContext,
  type AuthorFacts,
  type CastVote,
  type Configuration,
  permissionsOf,
  type PolicyPrincipal,
  type RouteTally,
  tally,
} from "../governance/index.js";
import type { People } from "../tenancy/index.js";
import type { Overlap } from "./queries.js";
import type { Whole } from "./rows.js";

/** Everything is of one snapshot. */
export interface Loaded {
  readonly whole: Whole;
  readonly people: People;
  readonly configuration: Configuration;
  readonly configurationEpoch: number;
  /** Other open change-sets on the targets of this one. */
  readonly overlaps: readonly Overlap[];
}

// ── Votes ────────────────────────────────────────────────────────────────────────────────────────────────────────────

/** How the votes on the present revision stand against its route; null before a route exists. */
export function tallyOf(loaded: Loaded, whole: Whole = loaded.whole): RouteTally | null {
  const { route } = whole.revision;
  if (route === null || route === undefined) return null;
  return tally(route, castVotes(loaded, whole), approvalContext(loaded, whole));
}

/** Votes on the present revision that nothing made void. */
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

// ── People ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Whom approving is about, now. */
export function approvalContext(
  { people, configuration }: Pick<Loaded, "people" | "configuration">,
  whole: Whole,
): ApprovalContext {
  return { mode: people.mode, voters: people.voters, author: authorOf(whole, people), configuration };
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
