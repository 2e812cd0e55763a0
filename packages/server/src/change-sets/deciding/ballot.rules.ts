/**
 * One vote: whether it may be cast, and what becomes of the change-set with it. INVARIANT: a vote counts only with a signature of the
 * voter's own key, made just now, over exactly this revision, route, risk level and policy outcome.
 */
import { type CheckedInput, isRefusal, type Refusal, refused, type VoteDecision } from "@countersign/contract";
import { verifySignature, voteSigningBytes } from "@countersign/proof";
import { approvedUntilMs, checkVote, type Route, type RouteTally, tally } from "../../governance/index.js";
import type { EntryDraft, Guard, Write } from "../../ledger/index.js";
import type { Caller, People } from "../../tenancy/index.js";
import { type Answered, answered, type At, entry } from "../entries.rules.js";
import { transition } from "../lifecycle.rules.js";
import { approvalContext, authorOf, castVotes, type Loaded } from "../loaded.rules.js";
import {
  type ChangeSetRow,
  insert,
  inserted,
  type NewRow,
  replaced,
  update,
  updated,
  type VoteRow,
  type Whole,
} from "../rows.js";
import { view } from "../view.rules.js";

/** A signature is good this long after it was made: long enough for a slow connection, too short to be kept for later. */
const voteMinutesMax = 10;

/** A vote as it was sent: `decision` is known, the rest may be missing or wrong. */
export interface Ballot extends Pick<
  CheckedInput<"approveChangeSet">,
  "digest" | "keyId" | "atMs" | "signature" | "reason"
> {
  readonly caller: Caller;
  readonly decision: VoteDecision;
}

/** The vote is cast, and approves or rejects the change-set when it was the last that was wanted. */
export function decideVote(loaded: Loaded, ballot: Ballot, context: At): Refusal | Answered {
  const signed = checkBallot(loaded, ballot, context.nowMs);
  if (isRefusal(signed)) return signed;
  const { whole } = loaded;
  const { caller } = ballot;
  const mine = whole.votes.find((one) => one.revision_id === whole.revision.id && one.voter_id === caller.principal.id);
  if (mine !== undefined && mine.digest === signed.digest) {
    if (!mine.dismissed && mine.decision === ballot.decision)
      return { kind: "nothing", result: { changeSet: view(loaded) } };
    if (signed.atMs <= mine.at_ms) return signedBefore(caller);
  }
  const vote = voteRow(loaded, ballot, signed, mine?.id ?? context.uuid());
  const cast = mine === undefined ? inserted<VoteRow>(vote) : updated<VoteRow>(mine, vote);
  const after: Whole = { ...whole, votes: [...whole.votes.filter((one) => one.id !== cast.id), cast] };
  const counted = tally(signed.route, castVotes(loaded, after), approvalContext(loaded, whole));
  const outcome = outcomeOf(loaded, counted.state, context.nowMs);
  const voteWrite = mine === undefined ? insert("votes", vote) : update("votes", mine, vote);
  const changeSetWrite = update("change_sets", whole.changeSet, outcome.changes);
  const entries =
    outcome.action === undefined
      ? [castEntry(loaded, caller, vote, [voteWrite, changeSetWrite])]
      : [
          castEntry(loaded, caller, vote, [voteWrite]),
          outcomeEntry(caller, whole, { outcome, counted, digest: signed.digest, write: changeSetWrite }),
        ];
  const { changes } = outcome;
  return answered(loaded, caller, { entries, after: replaced(after, { changes }), guards: [signed.guard] });
}

// ── Whether it may be cast ───────────────────────────────────────────────────────────────────────────────────────────

/** What of a vote was checked: it is signed by a key of the voter's, over what is to be decided. */
interface Signed {
  readonly route: Route;
  readonly keyId: string;
  readonly digest: string;
  readonly signature: string;
  readonly atMs: number;
  /** The key is as it was when its signature was checked. */
  readonly guard: Guard;
}

/** Everything that can be wrong with a vote, in the catalogue's order of who, what, when. */
export function checkBallot(loaded: Loaded, ballot: Ballot, nowMs: number): Signed | Refusal {
  const { whole } = loaded;
  const { caller } = ballot;
  const early = mayVoteNow(whole.changeSet, ballot);
  if (early !== undefined) return early;
  const { route } = whole.revision;
  const { approval_digest: wanted } = whole.changeSet;
  if (route === null || wanted === null)
    throw new Error(`change-set ${whole.changeSet.id} is ${whole.changeSet.status} without a route`);
  const parts = checkParts(whole.changeSet, wanted, ballot);
  if (isRefusal(parts)) return parts;
  const signed = checkSignature(loaded, ballot, parts, nowMs);
  if (isRefusal(signed)) return signed;
  const attempt = {
    voter: { id: caller.principal.id, type: caller.principal.kind },
    keyId: parts.keyId,
    decision: ballot.decision,
    ...(ballot.reason === undefined ? {} : { reason: ballot.reason }),
  };
  const refusal = checkVote(attempt, route, castVotes(loaded, whole), approvalContext(loaded, whole));
  return refusal ?? { ...parts, route, guard: signed };
}

function mayVoteNow(changeSet: ChangeSetRow, { caller, decision }: Ballot): Refusal | undefined {
  if (caller.principal.kind !== "human")
    return refused(
      "agents_never_vote",
      `\`${caller.principal.name}\` is ${caller.principal.kind === "agent" ? "an agent" : "a service"}; only people vote`,
    );
  const illegal = transition(changeSet, "vote");
  if (illegal !== undefined || changeSet.status !== "APPROVED" || decision === "REJECTED") return illegal;
  return refused(
    "illegal_transition",
    `\`${changeSet.number}\` is APPROVED already; an approval can only be withdrawn, with REJECTED`,
    { details: { status: changeSet.status, legal: ["apply", "vote", "revise", "cancel"] } },
  );
}

type Parts = Pick<Signed, "keyId" | "digest" | "signature" | "atMs">;

/** The vote says what it is about, and that is what is to be decided. */
function checkParts(changeSet: ChangeSetRow, wanted: string, ballot: Ballot): Parts | Refusal {
  const { digest, signature, keyId, atMs } = ballot;
  const details = { approvalDigest: wanted };
  if (digest === undefined || signature === undefined || keyId === undefined || atMs === undefined) {
    return refused(
      "precondition_required",
      `a vote says what it is about and is signed: send \`digest\`, \`keyId\`, \`atMs\`, \`signature\`; \`countersign change-set approve ${changeSet.number}\` does it`,
      { details },
    );
  }
  if (digest !== wanted) {
    return refused(
      "digest_mismatch",
      `\`${digest.slice(0, 12)}…\` is not what is to be decided: revision \`${changeSet.revision}\` of \`${changeSet.number}\` has \`${wanted.slice(0, 12)}…\`; look at it again`,
      { details },
    );
  }
  return { digest, signature, keyId, atMs };
}

/** Made just now, by an active key of the voter's. The guard holds the key to that until the commit. */
function checkSignature({ whole, people }: Loaded, ballot: Ballot, parts: Parts, nowMs: number): Guard | Refusal {
  if (Math.abs(nowMs - parts.atMs) > voteMinutesMax * 60_000) {
    return refused(
      "signature_invalid",
      `the vote was signed at \`${new Date(parts.atMs).toISOString()}\`; a signature is good for ${voteMinutesMax} minutes, sign again (and look at the clock)`,
    );
  }
  const { caller, decision } = ballot;
  const key = activeKey(people, caller, parts.keyId);
  if (isRefusal(key)) return key;
  const bytes = voteSigningBytes({
    tenant: caller.tenant,
    changeSetId: whole.changeSet.id,
    approvalDigest: parts.digest,
    decision,
    voterId: caller.principal.id,
    atMs: parts.atMs,
  });
  if (verifySignature(key.publicKey, bytes, parts.signature))
    return { kind: "row", table: "signing_keys", id: key.id, version: key.version };
  return refused(
    "signature_invalid",
    `the signature is not by key \`${key.id}\` over this vote; sign the vote bytes of docs/ledger-format.md`,
  );
}

function activeKey(people: People, caller: Caller, keyId: string) {
  const key = people.signingKeys.get(keyId);
  if (key === undefined || key.principalId !== caller.principal.id)
    return refused(
      "signing_key_unknown",
      `\`${keyId}\` is not a signing key of \`${caller.principal.name}\`; \`countersign key list --signing\` shows theirs`,
    );
  if (key.status === "ACTIVE") return key;
  return refused(
    "signing_key_revoked",
    `signing key \`${keyId}\` was revoked; enrol another with \`countersign enrol\``,
  );
}

/** A signature is shown to whoever may read: one that was cast before does not bring back a vote that was dismissed or changed. */
function signedBefore(caller: Caller): Refusal {
  return refused(
    "signature_invalid",
    `the vote was signed before \`${caller.principal.name}\` last voted on this; sign again`,
  );
}

// ── What becomes of the change-set ───────────────────────────────────────────────────────────────────────────────────

/** Without an action it waits for more votes, or stays approved. */
type VoteOutcome = { readonly changes: Partial<ChangeSetRow> } & (
  | { readonly action?: undefined }
  | { readonly action: "change_set.approved" }
  | { readonly action: "change_set.rejected"; readonly reason: "vote" | "route_unsatisfiable" }
);

function outcomeOf({ whole, configuration }: Loaded, state: RouteTally["state"], nowMs: number): VoteOutcome {
  const { status, priority } = whole.changeSet;
  const touched = { updated_at_ms: nowMs };
  if (state === "rejected") return rejectedFor("vote", { ...touched, approved_until_ms: null });
  if (status === "APPROVED" || state === "pending") return { changes: touched };
  if (state === "unsatisfiable") return rejectedFor("route_unsatisfiable", touched);
  const changes: Partial<ChangeSetRow> = {
    ...touched,
    status: "APPROVED",
    status_reason: null,
    deadline_at_ms: null,
    approved_until_ms: approvedUntilMs(priority, nowMs, configuration.approvals),
    attempts: 0,
  };
  return { changes, action: "change_set.approved" };
}

function rejectedFor(reason: "vote" | "route_unsatisfiable", more: Partial<ChangeSetRow>): VoteOutcome {
  const changes = { ...more, status: "REJECTED", status_reason: reason, deadline_at_ms: null } as const;
  return { changes, action: "change_set.rejected", reason };
}

function outcomeEntry(
  { actor }: Caller,
  { changeSet, revision }: Whole,
  of: {
    readonly outcome: Exclude<VoteOutcome, { readonly action?: undefined }>;
    readonly counted: RouteTally;
    /** Approval digest that the vote signed. */
    readonly digest: string;
    readonly write: Write;
  },
): EntryDraft {
  const { outcome, counted, digest } = of;
  const { approved, required, label } = counted;
  const isSelf = label === undefined ? {} : { selfApproved: true as const };
  const data = { revision: revision.digest, digest, approved, required, ...isSelf };
  const writes = [of.write];
  return outcome.action === "change_set.approved"
    ? entry(actor, changeSet.id, outcome.action, { data, writes })
    : entry(actor, changeSet.id, outcome.action, { data: { ...data, reason: outcome.reason }, writes });
}

function voteRow({ whole, people }: Loaded, ballot: Ballot, signed: Parts, id: string): NewRow<VoteRow> {
  const { changeSet, revision } = whole;
  const voter = ballot.caller.principal.id;
  return {
    id,
    change_set_id: changeSet.id,
    revision_id: revision.id,
    voter_id: voter,
    key_id: signed.keyId,
    decision: ballot.decision,
    digest: signed.digest,
    signature: signed.signature,
    reason: ballot.reason ?? null,
    self_approved: changeSet.author_humans.includes(voter) || authorOf(whole, people).humansNow.includes(voter),
    dismissed: false,
    at_ms: signed.atMs,
  };
}

function castEntry({ whole }: Loaded, caller: Caller, vote: NewRow<VoteRow>, writes: readonly Write[]): EntryDraft {
  const { changeSet, revision } = whole;
  return entry(caller.actor, changeSet.id, "change_set.vote_cast", {
    data: {
      revision: revision.digest,
      digest: vote.digest,
      decision: vote.decision,
      voter: vote.voter_id,
      key: vote.key_id,
      atMs: vote.at_ms,
      signature: vote.signature,
      selfApproved: vote.self_approved,
    },
    body: { reason: vote.reason ?? "", title: changeSet.title, description: changeSet.description },
    refs: [{ type: "principal", id: vote.voter_id }],
    writes,
  });
}
