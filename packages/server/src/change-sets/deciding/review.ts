/**
 * People decide: a vote that is signed, or sending back with a reason. INVARIANT: a vote counts only with a signature of the voter's own
 * key, made just now, over exactly this revision, route, risk level and policy outcome.
 */
import {
  type ChangeSetAnswer,
  type CheckedInput,
  isRefusal,
  type Refusal,
  refused,
  type VoteDecision,
} from "@countersign/contract";
import { verifySignature, voteSigningBytes } from "@countersign/proof";
import { approvedUntilMs, checkVote, type Route, tally } from "../../governance/index.js";
import type { Snapshot } from "../../ledger/index.js";
import type { Caller } from "../../tenancy/index.js";
import { changeSetMismatch } from "../authority.js";
import {
  type Answered,
  answerOf,
  approvalContext,
  authorOf,
  castVotes,
  type Desk,
  entry,
  guardsOf,
  type Loaded,
  loadForCommand,
  type RequestContext,
  view,
} from "../desk.js";
import { backToDraft, dismissVotes, transition } from "../lifecycle.rules.js";
import { plainCommand } from "../plainCommand.js";
import {
  type ChangeSetAction,
  type ChangeSetRow,
  insert,
  inserted,
  type NewRow,
  replaced,
  update,
  updated,
  type VoteRow,
} from "../rows.js";
import { timely } from "../timely.js";

/** A signature is good this long after it was made: long enough for a slow connection, too short to be kept for later. */
const voteMinutesMax = 10;

type VoteInput = CheckedInput<"approveChangeSet">;

export async function vote(
  desk: Desk,
  caller: Caller,
  input: VoteInput,
  fallback: VoteDecision,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const decision = input.decision ?? fallback;
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, input.id);
    if (isRefusal(loaded) || transition(loaded.whole.changeSet, "vote") !== undefined) return loaded;
    return (await changeSetMismatch(desk, snapshot, loaded)) ?? loaded;
  };
  const outcome = await timely(desk, caller, request, load, (loaded, context): Answered | Refusal => {
    const { whole, people, configuration } = loaded;
    const { changeSet, revision } = whole;
    const signed = checkBallot(loaded, caller, { ...input, decision }, context.nowMs);
    if (isRefusal(signed)) return signed;

    const mine = whole.votes.find((one) => one.revision_id === revision.id && one.voter_id === caller.principal.id);
    if (mine !== undefined && !mine.dismissed && mine.decision === decision && mine.digest === signed.digest) {
      return { kind: "nothing", result: { changeSet: view(loaded) } };
    }
    // A signature is shown to whoever may read: one that was cast before does not bring back a vote that was dismissed or changed.
    if (mine !== undefined && mine.digest === signed.digest && signed.atMs <= mine.at_ms) {
      return refused(
        "signature_invalid",
        `the vote was signed before \`${caller.principal.name}\` last voted on this; sign again`,
      );
    }
    const ballot: NewRow<VoteRow> = {
      id: mine?.id ?? context.uuid(),
      change_set_id: changeSet.id,
      revision_id: revision.id,
      voter_id: caller.principal.id,
      key_id: signed.keyId,
      decision,
      digest: signed.digest,
      signature: signed.signature,
      reason: input.reason ?? null,
      self_approved:
        changeSet.author_humans.includes(caller.principal.id) ||
        authorOf(whole, people).humansNow.includes(caller.principal.id),
      dismissed: false,
      at_ms: signed.atMs,
    };
    const cast = mine === undefined ? inserted<VoteRow>(ballot) : updated<VoteRow>(mine, ballot);
    const votes = [...whole.votes.filter((one) => one.id !== cast.id), cast];
    const state = tally(
      revision.route as unknown as Route,
      castVotes(loaded, { ...whole, votes }),
      approvalContext(loaded, whole),
    );
    const next = afterVote(
      changeSet,
      state.state,
      context.nowMs,
      approvedUntilMs(changeSet.priority, context.nowMs, configuration.approvals),
    );
    const after = replaced({ ...whole, votes }, { changes: next.changes });
    const voteWrite = mine === undefined ? insert("votes", ballot) : update("votes", mine, ballot);
    const changeSetWrite = update("change_sets", changeSet, next.changes);
    return {
      kind: "change",
      change: {
        guards: [
          ...guardsOf(loaded, caller),
          { kind: "row", table: "signing_keys", id: signed.keyId, version: signed.keyVersion },
        ],
        entries: [
          entry(caller.actor, changeSet.id, "change_set.vote_cast", {
            data: {
              revision: revision.digest,
              digest: signed.digest,
              decision,
              voter: caller.principal.id,
              key: signed.keyId,
              atMs: signed.atMs,
              signature: signed.signature,
              selfApproved: ballot.self_approved,
            },
            body: { reason: input.reason ?? "", title: changeSet.title, description: changeSet.description },
            refs: [{ type: "principal", id: caller.principal.id }],
            writes: next.action === undefined ? [voteWrite, changeSetWrite] : [voteWrite],
          }),
          ...(next.action === undefined
            ? []
            : [
                entry(caller.actor, changeSet.id, next.action, {
                  data: {
                    revision: revision.digest,
                    digest: signed.digest,
                    approved: state.approved,
                    required: state.required,
                    ...(next.reason === undefined ? {} : { reason: next.reason }),
                    ...(state.label === undefined ? {} : { selfApproved: true }),
                  },
                  writes: [changeSetWrite],
                }),
              ]),
        ],
      },
      result: { changeSet: view(loaded, after) },
    };
  });
  return answerOf(outcome);
}

interface Ballot {
  readonly keyId: string;
  readonly keyVersion: number;
  readonly digest: string;
  readonly signature: string;
  readonly atMs: number;
}

/** Everything that can be wrong with a vote, in the catalogue's order of who, what, when. */
function checkBallot(
  loaded: Loaded,
  caller: Caller,
  input: VoteInput & { decision: VoteDecision },
  nowMs: number,
): Ballot | Refusal {
  const { whole, people } = loaded;
  const { changeSet, revision } = whole;
  if (caller.principal.kind !== "human")
    return refused(
      "agents_never_vote",
      `\`${caller.principal.name}\` is ${caller.principal.kind === "agent" ? "an agent" : "a service"}; only people vote`,
    );
  const illegal =
    transition(changeSet, "vote") ??
    (changeSet.status === "APPROVED" && input.decision !== "REJECTED" ? alreadyApproved(changeSet) : undefined);
  if (illegal !== undefined) return illegal;
  const route = revision.route as Route | null;
  if (route === null || changeSet.approval_digest === null)
    throw new Error(`change-set ${changeSet.id} is ${changeSet.status} without a route`);

  if (
    input.digest === undefined ||
    input.signature === undefined ||
    input.keyId === undefined ||
    input.atMs === undefined
  ) {
    return refused(
      "precondition_required",
      `a vote says what it is about and is signed: send \`digest\`, \`keyId\`, \`atMs\`, \`signature\`; \`countersign change-set approve ${changeSet.number}\` does it`,
      {
        details: { approvalDigest: changeSet.approval_digest },
      },
    );
  }
  if (input.digest !== changeSet.approval_digest) {
    return refused(
      "digest_mismatch",
      `\`${input.digest.slice(0, 12)}…\` is not what is to be decided: revision \`${changeSet.revision}\` of \`${changeSet.number}\` has \`${changeSet.approval_digest.slice(0, 12)}…\`; look at it again`,
      {
        details: { approvalDigest: changeSet.approval_digest },
      },
    );
  }
  if (Math.abs(nowMs - input.atMs) > voteMinutesMax * 60_000) {
    return refused(
      "signature_invalid",
      `the vote was signed at \`${new Date(input.atMs).toISOString()}\`; a signature is good for ${voteMinutesMax} minutes, sign again (and look at the clock)`,
    );
  }
  const key = people.signingKeys.get(input.keyId);
  if (key === undefined || key.principalId !== caller.principal.id)
    return refused(
      "signing_key_unknown",
      `\`${input.keyId}\` is not a signing key of \`${caller.principal.name}\`; \`countersign key list --signing\` shows theirs`,
    );
  if (key.status !== "ACTIVE")
    return refused(
      "signing_key_revoked",
      `signing key \`${input.keyId}\` was revoked; enrol another with \`countersign enrol\``,
    );
  const bytes = voteSigningBytes({
    tenant: caller.tenant,
    changeSetId: changeSet.id,
    approvalDigest: input.digest,
    decision: input.decision,
    voterId: caller.principal.id,
    atMs: input.atMs,
  });
  if (!verifySignature(key.publicKey, bytes, input.signature))
    return refused(
      "signature_invalid",
      `the signature is not by key \`${input.keyId}\` over this vote; sign the vote bytes of docs/ledger-format.md`,
    );

  const votes = castVotes(loaded, whole);
  const attempt = {
    voter: { id: caller.principal.id, type: caller.principal.kind },
    keyId: key.id,
    decision: input.decision,
    ...(input.reason === undefined ? {} : { reason: input.reason }),
  };
  const refusal = checkVote(attempt, route, votes, approvalContext(loaded, whole));
  return (
    refusal ?? {
      keyId: key.id,
      keyVersion: key.version,
      digest: input.digest,
      signature: input.signature,
      atMs: input.atMs,
    }
  );
}

function alreadyApproved(changeSet: ChangeSetRow): Refusal {
  return refused(
    "illegal_transition",
    `\`${changeSet.number}\` is APPROVED already; an approval can only be withdrawn, with REJECTED`,
    { details: { status: changeSet.status, legal: ["apply", "vote", "revise", "cancel"] } },
  );
}

function afterVote(
  changeSet: ChangeSetRow,
  state: string,
  nowMs: number,
  approvedUntil: number,
): { changes: Partial<ChangeSetRow>; action?: ChangeSetAction; reason?: string } {
  const touched = { updated_at_ms: nowMs };
  if (state === "rejected")
    return {
      changes: { ...touched, status: "REJECTED", status_reason: "vote", deadline_at_ms: null, approved_until_ms: null },
      action: "change_set.rejected",
      reason: "vote",
    };
  if (changeSet.status === "APPROVED") return { changes: touched };
  if (state === "satisfied")
    return {
      changes: {
        ...touched,
        status: "APPROVED",
        status_reason: null,
        deadline_at_ms: null,
        approved_until_ms: approvedUntil,
        attempts: 0,
      },
      action: "change_set.approved",
    };
  if (state === "unsatisfiable")
    return {
      changes: { ...touched, status: "REJECTED", status_reason: "route_unsatisfiable", deadline_at_ms: null },
      action: "change_set.rejected",
      reason: "route_unsatisfiable",
    };
  return { changes: touched };
}

export function requestChanges(
  desk: Desk,
  caller: Caller,
  input: CheckedInput<"requestChanges">,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  return plainCommand(desk, caller, input.id, request, (loaded, context) => {
    const { whole } = loaded;
    const illegal = transition(whole.changeSet, "request_changes");
    if (illegal !== undefined) return illegal;
    if (input.reason === undefined || input.reason.trim() === "")
      return refused("reason_required", "say what must change: `--reason`", {
        problems: [{ code: "reason_required", pointer: "/reason", message: "a reason is required" }],
      });
    const attempt = {
      voter: { id: caller.principal.id, type: caller.principal.kind },
      decision: "REJECTED" as const,
      reason: input.reason,
    };
    const refusal = checkVote(attempt, whole.revision.route as unknown as Route, [], approvalContext(loaded, whole));
    if (refusal !== undefined) return refusal;
    const dismissed = dismissVotes(whole);
    const changes: Partial<ChangeSetRow> = {
      ...backToDraft,
      status_reason: "changes_requested",
      updated_at_ms: context.nowMs,
    };
    const after = replaced({ ...whole, votes: dismissed.votes }, { changes });
    return {
      kind: "change",
      change: {
        guards: guardsOf(loaded, caller),
        entries: [
          entry(caller.actor, whole.changeSet.id, "change_set.changes_requested", {
            data: { revision: whole.revision.digest, votesDismissed: dismissed.writes.length },
            body: { reason: input.reason },
            writes: [update("change_sets", whole.changeSet, changes), ...dismissed.writes],
          }),
        ],
      },
      result: { changeSet: view(loaded, after) },
    };
  });
}
