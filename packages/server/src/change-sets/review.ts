/**
 * Deciding: submit, vote, request changes, cancel, and what time does by itself. People sign the approval digest; policy
 * and routes are decided on the plan as the targets are now.
 */
import {
  type ChangeSetAnswer,
  type CheckedInput,
  isRefusal,
  type JsonObject,
  type Refusal,
  refused,
  type VoteDecision,
} from "@countersign/contract";
import { approvalDigest, verifySignature, voteSigningBytes } from "@countersign/proof";
import {
  approvedUntilMs,
  checkSatisfiable,
  checkVote,
  deadlineMs,
  decidePolicy,
  makeRoute,
  type PolicyDecision,
  policyOutcome,
  policySet,
  type RiskAssessment,
  type Route,
  tally,
  undoUntilMs,
} from "../governance/index.js";
import type { Decided, Snapshot } from "../ledger/index.js";
import type { Caller } from "../tenancy/index.js";
import { changeSetMismatch } from "./authority.js";
import {
  approvalContext,
  authorOf,
  castVotes,
  countersFor,
  type Desk,
  entry,
  guardsOf,
  type Loaded,
  loadForCommand,
  policyPrincipal,
  type RequestContext,
  view,
} from "./desk.js";
import { answerOf, assess, backToDraft, mayEdit } from "./draft.js";
import { dismissVotes, transition } from "./lifecycle.rules.js";
import { timely } from "./timely.js";
import { type Plan, planItems, readStates } from "./plan.js";
import { findDrift, reversibilityOf } from "./plan.rules.js";
import { readAuthorHistory, readBackups } from "./queries.js";
import {
  type ChangeSetRow,
  insert,
  inserted,
  type ItemRow,
  type NewRow,
  type RevisionRow,
  update,
  updated,
  type VoteRow,
  type Whole,
} from "./rows.js";

/** A signature is good this long after it was made: long enough for a slow connection, too short to be kept for later. */
const voteMinutesMax = 10;

type Answered = Decided<{ changeSet: ChangeSetAnswer["changeSet"] }>;

/** What policy and risk say about the present revision on the targets as they are now. */
export interface Judgement {
  readonly decision: PolicyDecision;
  readonly risk: RiskAssessment;
}

export async function judge(desk: Desk, snapshot: Snapshot, loaded: Loaded): Promise<Judgement | Refusal> {
  const { whole, people, configuration } = loaded;
  const principal = policyPrincipal(people, whole.changeSet.author_id, configuration);
  const blobs = desk.blobs(snapshot.tenant);
  const drift = await driftOf(desk, snapshot, whole);
  if (drift !== undefined) return drift;
  const items = [...whole.items].sort((a, b) => a.sequence - b.sequence);
  const plan = await planItems(
    items.map((item) => item.input),
    { targets: desk.targets, blobs, snapshot, configuration, principal },
  );
  if (isRefusal(plan)) return plan;
  const other = plannedOtherwise(whole, plan);
  if (other !== undefined) return other;
  const history = await readAuthorHistory(snapshot, whole.changeSet.author_id);
  const assessed = assess(plan, {
    history,
    category: whole.changeSet.category_requested ?? undefined,
    people,
    configuration,
    authorId: whole.changeSet.author_id,
  });
  if (isRefusal(assessed)) return assessed;
  const decision = decidePolicy(
    {
      principal,
      level: assessed.risk.level,
      category: assessed.category.category,
      items: items.map((item) => ({
        sequence: item.sequence,
        operation: item.operation,
        targets: plan.checked[item.sequence - 1]?.targets ?? [],
      })),
    },
    policySet(configuration),
  );
  return { decision, risk: assessed.risk };
}

/**
 * The same items on the same states come out as they were planned, unless what their targets are has changed: a workspace is
 * of another environment now. What people approved, and what freezes and routes are held against, is the plan that is stored.
 */
function plannedOtherwise(whole: Whole, plan: Plan): Refusal | undefined {
  // Of a file not the bytes: an item is stored as jsonb, which forgets the order of members, so new JSON in a file may come out
  // in another order now. What is written are the stored bytes, in the order they were sent and approved.
  const outcome = (after: ItemRow["effects"][number]["after"]): string | boolean | null =>
    after.document === undefined ? after.exists : after.hash;
  const said = (effects: ItemRow["effects"]): string =>
    JSON.stringify(
      effects.map(({ target, before, after }) => [target.key, target.environment, before.hash, outcome(after)]),
    );
  const other = plan.items.filter(({ sequence, planned }) => {
    const stored = whole.items.find((item) => item.sequence === sequence);
    return stored === undefined || said(stored.effects) !== said(planned.effects);
  });
  if (other.length === 0) return undefined;
  const names = other.map(({ planned }) => `\`${planned.effects[0]?.target.id ?? ""}\``).join(", ");
  return refused(
    "drift",
    `${names} would be changed otherwise than \`${whole.changeSet.number}\` was planned; revise it to plan on what is there now`,
    {
      problems: other.map(({ sequence }) => ({
        code: "drift",
        pointer: `/items/${sequence - 1}`,
        message: "its targets, their environment or its outcome are not those of the plan",
      })),
    },
  );
}

/** `drift` with every target that is not as the plan expects it. */
export async function driftOf(desk: Desk, snapshot: Snapshot, whole: Whole): Promise<Refusal | undefined> {
  const context = { tenant: snapshot.tenant, snapshot, blobs: desk.blobs(snapshot.tenant) };
  const states = await readStates(
    whole.items.flatMap((item) => item.effects),
    desk.targets,
    context,
  );
  const drift = findDrift(whole.items, states);
  if (drift.length === 0) return undefined;
  const names = drift.map((one) => `\`${one.target}\``).join(", ");
  return refused(
    "drift",
    `${names} changed since \`${whole.changeSet.number}\` was planned; revise it (\`countersign change-set revise ${whole.changeSet.number}\`) to plan on what is there now, or cancel it`,
    {
      details: { drift },
      problems: drift.map((one) => ({
        code: "drift",
        pointer: `/items/${one.sequence - 1}`,
        message: `\`${one.target}\` was \`${one.expected ?? "absent"}\` and is \`${one.actual ?? "absent"}\``,
      })),
    },
  );
}

export async function submit(
  desk: Desk,
  caller: Caller,
  id: string,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, id);
    if (isRefusal(loaded)) return loaded;
    const refusal = transition(loaded.whole.changeSet, "submit") ?? mayEdit(caller, loaded.whole);
    if (refusal !== undefined) return refusal;
    const mismatch = await changeSetMismatch(desk, snapshot, loaded);
    if (mismatch !== undefined) return mismatch;
    const counters = await countersFor(desk, snapshot, {
      command: "submit",
      by: caller.principal,
      items: loaded.whole.items.length,
      configuration: loaded.configuration,
    });
    if (isRefusal(counters)) return counters;
    const judgement = await judge(desk, snapshot, loaded);
    return isRefusal(judgement) ? judgement : { ...loaded, judgement, counters };
  };
  const outcome = await timely(desk, caller, request, load, (loaded, context): Answered | Refusal => {
    if (isRefusal(loaded)) return loaded;
    const { whole, configuration, judgement } = loaded;
    const { decision, risk } = judgement;
    const items = withPolicy(whole.items, decision);
    const itemWrites = items.map((item, index) =>
      update("items", whole.items[index] as ItemRow, { policy: item.policy }),
    );
    const policy = decision as unknown as JsonObject;
    const common = {
      risk_score: risk.score,
      risk_level: risk.level,
      submitted_at_ms: context.nowMs,
      updated_at_ms: context.nowMs,
    };

    if (decision.outcome === "deny") {
      const changes: Partial<ChangeSetRow> = { ...common, status: "REJECTED", status_reason: "policy_denied" };
      const revisionChanges: Partial<RevisionRow> = { policy, risk: risk as unknown as JsonObject };
      const after = replaced(whole, { changes, revisionChanges, items });
      return {
        kind: "change",
        change: {
          guards: guardsOf(loaded, caller),
          entries: [
            entry(caller.actor, whole.changeSet.id, "rejected", {
              data: {
                reason: "policy_denied",
                revision: whole.revision.digest,
                denied: decision.items.filter((item) => item.outcome === "deny").map((item) => item.sequence),
              },
              body: { items: decision.items as unknown as JsonObject[] },
              writes: [
                update("change_sets", whole.changeSet, changes),
                update("revisions", whole.revision, revisionChanges),
                ...itemWrites,
              ],
            }),
          ],
        },
        result: { changeSet: view(loaded, after) },
      };
    }

    const route = routeOf(loaded, judgement);
    const unsatisfiable = checkSatisfiable(route, approvalContext(loaded, whole));
    if (unsatisfiable !== undefined) return unsatisfiable;
    const digest = digestApproval(whole.revision.digest, route, judgement);
    const auto = route.auto && route.required === 0;
    const { priority } = whole.changeSet;
    const changes: Partial<ChangeSetRow> = {
      ...common,
      status: auto ? "APPROVED" : "PENDING_APPROVAL",
      status_reason: null,
      blocked: null,
      approval_digest: digest,
      required_approvals: route.required,
      deadline_at_ms: auto ? null : deadlineMs(priority, context.nowMs, configuration.approvals),
      approved_until_ms: auto ? approvedUntilMs(priority, context.nowMs, configuration.approvals) : null,
    };
    const revisionChanges: Partial<RevisionRow> = {
      policy,
      risk: risk as unknown as JsonObject,
      route: route as unknown as JsonObject,
      approval_digest: digest,
    };
    const after = replaced(whole, { changes, revisionChanges, items });
    return {
      kind: "change",
      change: {
        guards: [...guardsOf(loaded, caller), ...loaded.counters],
        entries: [
          entry(caller.actor, whole.changeSet.id, auto ? "approved" : "submitted", {
            data: {
              revision: whole.revision.digest,
              digest,
              risk: risk.level,
              score: risk.score,
              required: route.required,
              auto,
              policy: decision.outcome,
            },
            body: { route: route as unknown as JsonObject },
            writes: [
              update("change_sets", whole.changeSet, changes),
              update("revisions", whole.revision, revisionChanges),
              ...itemWrites,
            ],
          }),
        ],
      },
      result: { changeSet: view(loaded, after) },
    };
  });
  return answerOf(outcome);
}

/** The route that policy, risk and configuration ask for now. */
export function routeOf(loaded: Loaded, { decision, risk }: Judgement): Route {
  const { whole } = loaded;
  return makeRoute(
    {
      category: whole.revision.category,
      targets: whole.items.flatMap((item) => item.effects.map((effect) => effect.target)),
      assessment: risk,
      decision,
      irreversible: reversibilityOf(whole.items) === "irreversible",
    },
    approvalContext(loaded, whole),
  );
}

/** What people sign. */
export function digestApproval(revision: string, route: Route, { decision, risk }: Judgement): string {
  return approvalDigest({
    revision,
    route: route as unknown as JsonObject,
    riskLevel: risk.level,
    policy: policyOutcome(decision),
  });
}

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
    if (isRefusal(loaded)) return loaded;
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
    const voteWrite = mine === undefined ? insert<VoteRow>("votes", ballot) : update<VoteRow>("votes", mine, ballot);
    const changeSetWrite = update("change_sets", changeSet, next.changes);
    return {
      kind: "change",
      change: {
        guards: [
          ...guardsOf(loaded, caller),
          { kind: "row", table: "signing_keys", id: signed.keyId, version: signed.keyVersion },
        ],
        entries: [
          entry(caller.actor, changeSet.id, "vote_cast", {
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
): { changes: Partial<ChangeSetRow>; action?: string; reason?: string } {
  const touched = { updated_at_ms: nowMs };
  if (state === "rejected")
    return {
      changes: { ...touched, status: "REJECTED", status_reason: "vote", deadline_at_ms: null, approved_until_ms: null },
      action: "rejected",
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
      action: "approved",
    };
  if (state === "unsatisfiable")
    return {
      changes: { ...touched, status: "REJECTED", status_reason: "route_unsatisfiable", deadline_at_ms: null },
      action: "rejected",
      reason: "route_unsatisfiable",
    };
  return { changes: touched };
}

export async function requestChanges(
  desk: Desk,
  caller: Caller,
  input: CheckedInput<"requestChanges">,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const outcome = await timely(
    desk,
    caller,
    request,
    (snapshot: Snapshot) => loadForCommand(desk, snapshot, input.id),
    (loaded, context): Answered | Refusal => {
      if (isRefusal(loaded)) return loaded;
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
            entry(caller.actor, whole.changeSet.id, "changes_requested", {
              data: { revision: whole.revision.digest, votesDismissed: dismissed.writes.length },
              body: { reason: input.reason },
              writes: [update("change_sets", whole.changeSet, changes), ...dismissed.writes],
            }),
          ],
        },
        result: { changeSet: view(loaded, after) },
      };
    },
  );
  return answerOf(outcome);
}

export async function cancel(
  desk: Desk,
  caller: Caller,
  input: CheckedInput<"cancelChangeSet">,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const outcome = await timely(
    desk,
    caller,
    request,
    (snapshot: Snapshot) => loadForCommand(desk, snapshot, input.id),
    (loaded, context): Answered | Refusal => {
      if (isRefusal(loaded)) return loaded;
      const { whole } = loaded;
      const refusal = transition(whole.changeSet, "cancel") ?? mayEdit(caller, whole);
      if (refusal !== undefined) return refusal;
      return simple(loaded, caller, {
        action: "cancelled",
        changes: { status: "CANCELLED", deadline_at_ms: null, approved_until_ms: null, updated_at_ms: context.nowMs },
        reason: input.reason,
      });
    },
  );
  return answerOf(outcome);
}

/** Never before the undo window ends: archiving releases the backups. */
export async function archive(
  desk: Desk,
  caller: Caller,
  id: string,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, id);
    return isRefusal(loaded) ? loaded : { ...loaded, backups: await readBackups(snapshot, loaded.whole.changeSet.id) };
  };
  const outcome = await timely(desk, caller, request, load, (loaded, context): Answered | Refusal => {
    if (isRefusal(loaded)) return loaded;
    const { whole, backups } = loaded;
    const { changeSet } = whole;
    const illegal =
      transition(changeSet, "archive") ??
      (caller.permissions.has("change_sets.resolve") ? undefined : mayEdit(caller, whole));
    if (illegal !== undefined) return illegal;
    const undoUntil = changeSet.undo_until_ms ?? 0;
    if (changeSet.status === "APPLIED" && context.nowMs < undoUntil) {
      return refused(
        "illegal_transition",
        `\`${changeSet.number}\` can be undone until \`${new Date(undoUntil).toISOString()}\`; archiving would release its backups, so it waits until then`,
        {
          details: { status: changeSet.status, legal: ["roll_back"] },
          retryAfterSeconds: Math.ceil((undoUntil - context.nowMs) / 1000),
        },
      );
    }
    const changes: Partial<ChangeSetRow> = { status: "ARCHIVED", updated_at_ms: context.nowMs };
    const writes = [
      update("change_sets", changeSet, changes),
      ...backups.map((backup) => update("backups", backup, { released: true })),
    ];
    return {
      kind: "change",
      change: {
        guards: guardsOf(loaded, caller),
        entries: [
          entry(caller.actor, changeSet.id, "archived", {
            data: { from: changeSet.status, backupsReleased: backups.length },
            writes,
          }),
        ],
      },
      result: { changeSet: view(loaded, replaced(whole, { changes })) },
    };
  });
  return answerOf(outcome);
}

/** A person says, with evidence, what became of a partly applied change-set. */
export async function resolve(
  desk: Desk,
  caller: Caller,
  input: CheckedInput<"resolveChangeSet">,
  request: RequestContext,
): Promise<ChangeSetAnswer | Refusal> {
  const outcome = await timely(
    desk,
    caller,
    request,
    (snapshot: Snapshot) => loadForCommand(desk, snapshot, input.id),
    (loaded, context): Answered | Refusal => {
      if (isRefusal(loaded)) return loaded;
      const illegal = transition(loaded.whole.changeSet, "resolve");
      if (illegal !== undefined) return illegal;
      if (caller.principal.kind !== "human")
        return refused("agents_never_vote", `\`${caller.principal.name}\` is not a person; a person resolves`);
      const applied = input.as === "applied";
      const undoUntil = undoUntilMs(context.nowMs, loaded.configuration.approvals);
      const changes: Partial<ChangeSetRow> = applied
        ? {
            status: "APPLIED",
            status_reason: null,
            applied_at_ms: context.nowMs,
            undo_until_ms: undoUntil,
            updated_at_ms: context.nowMs,
          }
        : { status: "ROLLED_BACK", status_reason: null, updated_at_ms: context.nowMs };
      return simple(loaded, caller, { action: "resolved", changes, reason: input.evidence, data: { as: input.as } });
    },
  );
  return answerOf(outcome);
}

function simple(
  loaded: Loaded,
  caller: Caller,
  of: { action: string; changes: Partial<ChangeSetRow>; reason?: string | undefined; data?: JsonObject },
): Answered {
  const { whole } = loaded;
  return {
    kind: "change",
    change: {
      guards: guardsOf(loaded, caller),
      entries: [
        entry(caller.actor, whole.changeSet.id, of.action, {
          data: { from: whole.changeSet.status, revision: whole.revision.digest, ...of.data },
          ...(of.reason === undefined ? {} : { body: { reason: of.reason } }),
          writes: [update("change_sets", whole.changeSet, of.changes)],
        }),
      ],
    },
    result: { changeSet: view(loaded, replaced(whole, { changes: of.changes })) },
  };
}

function withPolicy(items: readonly ItemRow[], decision: PolicyDecision): ItemRow[] {
  return items.map((item) =>
    updated<ItemRow>(item, {
      policy: (decision.items.find((one) => one.sequence === item.sequence) ?? null) as unknown as JsonObject | null,
    }),
  );
}

function replaced(
  whole: Whole,
  by: { changes: Partial<ChangeSetRow>; revisionChanges?: Partial<RevisionRow>; items?: readonly ItemRow[] },
): Whole {
  return {
    ...whole,
    changeSet: updated<ChangeSetRow>(whole.changeSet, by.changes),
    revision:
      by.revisionChanges === undefined ? whole.revision : updated<RevisionRow>(whole.revision, by.revisionChanges),
    items: by.items ?? whole.items,
  };
}
