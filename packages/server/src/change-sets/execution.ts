/**
 * Asking for a run: apply, roll back, resume. `assertExecutable` decides, failing closed, whether the authority for it is
 * in the ledger; the intent entry is committed; `runPlan` does the rest.
 */
import {
  type ApplicationAnswer,
  type CheckedInput,
  configurationEnvironment,
  isRefusal,
  type JsonObject,
  limits,
  type Refusal,
  refused,
} from "@countersign/contract";
import {
  checkFreeze,
  checkKill,
  checkSatisfiable,
  deadlineMs,
  decidePolicy,
  type KillLoaded,
  loadKill,
  mayRollBack,
  policyRefusal,
  policySet,
  riskHigher,
  tally,
} from "../governance/index.js";
import type { Decided, Guard, Snapshot, Write } from "../ledger/index.js";
import type { Caller } from "../tenancy/index.js";
import { authorityMismatch } from "./authority.js";
import {
  approvalContext,
  authorOf,
  castVotes,
  countersFor,
  type Desk,
  entry,
  guardsOf,
  liveVotes,
  type Loaded,
  loadForCommand,
  namesOf,
  policyPrincipal,
  type RequestContext,
  standing,
  view,
} from "./desk.js";
import { dismissVotes, transition } from "./lifecycle.rules.js";
import { readStates } from "./plan.js";
import { findDrift, reversibilityOf } from "./plan.rules.js";
import { readApplication, readByRefs, readHolds, readOverlaps, readWhole } from "./queries.js";
import { digestApproval, driftOf, judge, type Judgement, routeOf } from "./judgement.js";
import { reverseEffects } from "../targets/index.js";
import {
  type ApplicationRow,
  type ChangeSetRow,
  type HoldRow,
  insert,
  type ItemRow,
  keysOf,
  type NewRow,
  type RevisionRow,
  update,
  type Whole,
} from "./rows.js";
import type { Runner } from "./run.js";
import { timely } from "./timely.js";
import { applicationOf, receiptsOf } from "./view.rules.js";

interface Intent {
  readonly applicationId: string;
}

/** The items of what was decided last, as they were held against the ledger. */
interface Held {
  items?: readonly ItemRow[];
}

export async function apply(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  id: string,
  request: RequestContext,
  mode: "AUTO" | "MANUAL" = "MANUAL",
): Promise<ApplicationAnswer | Refusal> {
  const held: Held = {};
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, id);
    if (isRefusal(loaded)) return loaded;
    const executable = await assertExecutable(desk, snapshot, loaded, caller);
    if (isRefusal(executable)) return executable;
    held.items = loaded.whole.items;
    // What the engine applies by itself counts for its author: AUTO is no way around a limit.
    const author = loaded.people.principals.get(loaded.whole.changeSet.author_id);
    const by = caller.actor.type === "system" && author !== undefined ? author : caller.principal;
    const counters = await countersFor(desk, snapshot, {
      command: "apply",
      by,
      items: loaded.whole.items.length,
      configuration: loaded.configuration,
    });
    return isRefusal(counters) ? counters : { ...loaded, ...executable, counters };
  };
  const outcome = await timely(desk, caller, request, load, (loaded, context): Decided<Intent> | Refusal => {
    if (isRefusal(loaded)) return loaded;
    const changes: Partial<ChangeSetRow> = { attempts: loaded.whole.changeSet.attempts + 1, blocked: null };
    return begin(
      loaded,
      caller,
      {
        kind: "APPLY",
        mode,
        status: "APPLYING",
        action: "apply_started",
        changes,
        resumed: false,
        reason: null,
        kill: loaded.kill,
        holds: loaded.holds,
        counters: [...loaded.counters, ...loaded.dependencies],
      },
      context,
    );
  });
  if (outcome.kind !== "refused") return finishRequest(desk, runner, caller, outcome, held);
  if (outcome.code === "drift") return markBlocked(desk, caller, id, outcome);
  return outcome.code === "approvals_missing" ? reroute(desk, caller, id, outcome) : outcome;
}

interface Executable {
  readonly kill: KillLoaded;
  readonly holds: readonly HoldRow[];
  /** That what it depends on is applied still. */
  readonly dependencies: readonly Guard[];
}

/**
 * INVARIANT: nothing is applied whose approval is not in the ledger: signed by people who may, over exactly this revision,
 * route, risk level and policy outcome. A status column counts for nothing.
 */
export async function assertExecutable(
  desk: Desk,
  snapshot: Snapshot,
  loaded: Loaded,
  caller: Caller,
): Promise<Executable | Refusal> {
  const { whole } = loaded;
  const { changeSet } = whole;
  const kill = await loadKill(snapshot);
  const early = checkKill(kill.rows, desk.now()) ?? transition(changeSet, "apply") ?? mayApply(caller, whole);
  if (early !== undefined) return early;
  if (changeSet.attempts >= limits.applyAttemptsMax) {
    return refused(
      "attempts_exhausted",
      `\`${changeSet.number}\` was tried \`${changeSet.attempts}\` times; revise it`,
    );
  }
  const mismatch =
    (await authorityMismatch(desk, snapshot, loaded, kill.rows)) ??
    (caller.actor.type === "system" ? authorRefusal(loaded) : undefined) ??
    dutiesRefusal(loaded);
  if (mismatch !== undefined) return mismatch;

  const judgement = await judge(desk, snapshot, loaded);
  if (isRefusal(judgement)) return judgement;
  if (judgement.decision.outcome === "deny") return policyRefusal(judgement.decision);
  if (changeSet.risk_level !== null && riskHigher(judgement.risk.level, changeSet.risk_level)) {
    return refused(
      "risk_increased",
      `\`${changeSet.number}\` was approved at risk ${changeSet.risk_level} and is ${judgement.risk.level} now; revise it so that people see the new assessment`,
      { details: { approved: changeSet.risk_level, now: judgement.risk.level } },
    );
  }
  const route = routeOf(loaded, judgement);
  const votes = castVotes(loaded, whole);
  if (!(route.auto && route.required === 0)) {
    const now = tally(route, votes, approvalContext(loaded, whole));
    if (now.state !== "satisfied") {
      const impossible = checkSatisfiable(route, approvalContext(loaded, whole));
      return (
        impossible ??
        refused(
          "approvals_missing",
          `\`${changeSet.number}\` has ${now.approved} of ${now.required} approvals: ${now.missing}; ask for them, or revise it to start again`,
          { details: { approved: now.approved, required: now.required } },
        )
      );
    }
  }
  const dependencies = await readByRefs(snapshot, changeSet.depends_on);
  const unmet = dependencies.filter((one) => one.status !== "APPLIED" && one.status !== "ARCHIVED");
  if (unmet.length > 0) {
    return refused(
      "dependency_unmet",
      `\`${changeSet.number}\` depends on ${unmet.map((one) => `\`${one.number}\` (${one.status})`).join(", ")}; apply those first`,
      { details: { waitingFor: unmet.map((one) => one.number) } },
    );
  }
  const frozen = freezeNow(desk, loaded);
  if (frozen !== undefined) return frozen;
  const holds = await holdsFor(desk, snapshot, whole);
  return isRefusal(holds)
    ? holds
    : {
        kill,
        holds,
        dependencies: dependencies.map((one) => ({
          kind: "row",
          table: "change_sets",
          id: one.id,
          version: one.version,
        })),
      };
}

/** A voter who became the author's human root since, or lost the role, does not count any more. */
function dutiesRefusal(loaded: Loaded): Refusal | undefined {
  const state = standing(loaded);
  if (state === null)
    return refused(
      "approvals_missing",
      `\`${loaded.whole.changeSet.number}\` has no route; revise it and submit it again`,
    );
  const auto = state.required === 0;
  if (auto || state.state === "satisfied") return undefined;
  return refused(
    "approvals_missing",
    `the approvals of \`${loaded.whole.changeSet.number}\` do not hold any more: ${state.missing}`,
    { details: { approved: state.approved, required: state.required } },
  );
}

/** By itself the engine does nothing for somebody who was stopped; a person may still apply what was approved. */
function authorRefusal({ whole, people }: Loaded): Refusal | undefined {
  const { author_id: author, number } = whole.changeSet;
  const stopped = [author, ...people.humansOf(author).slice(0, 1)]
    .map((id) => people.principals.get(id))
    .find((person) => person?.status !== "ACTIVE");
  return stopped === undefined
    ? undefined
    : refused(
        "forbidden",
        `\`${stopped.name}\` is suspended: \`${number}\` is not applied by itself; an operator can apply it`,
      );
}

function mayApply(caller: Caller, whole: Whole): Refusal | undefined {
  const { author_id: author, author_humans: humans, number } = whole.changeSet;
  const own = caller.principal.id === author || humans.includes(caller.principal.id);
  if (own || caller.actor.type === "system" || caller.permissions.has("change_sets.resolve")) return undefined;
  return refused(
    "forbidden",
    `\`${caller.principal.name}\` did not propose \`${number}\`; its author, their human or an operator applies it`,
  );
}

/** Rolls back the newest application; `cascade` takes back what builds on it first. */
export async function rollBack(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  input: CheckedInput<"rollbackChangeSet">,
  request: RequestContext,
  above: ReadonlySet<string> = new Set(),
): Promise<ApplicationAnswer | Refusal> {
  const held: Held = {};
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, input.id);
    if (isRefusal(loaded)) return loaded;
    const preflight = await rollbackPreflight(desk, snapshot, loaded, caller, request.proven === true);
    held.items = loaded.whole.items;
    return isRefusal(preflight) ? preflight : { ...loaded, ...preflight };
  };
  const outcome = await timely(desk, caller, request, load, (loaded, context): Decided<Intent> | Refusal => {
    if (isRefusal(loaded)) return loaded;
    const resumed = loaded.whole.changeSet.status === "PARTIALLY_APPLIED";
    return begin(
      loaded,
      caller,
      {
        kind: "ROLLBACK",
        mode: "MANUAL",
        status: "ROLLING_BACK",
        action: "rollback_started",
        changes: {},
        resumed,
        reason: input.reason ?? null,
        kill: undefined,
        holds: loaded.holds,
        as: loaded.as,
      },
      context,
    );
  });
  if (outcome.kind === "refused") {
    return input.cascade && outcome.code === "rollback_blocked"
      ? cascade(desk, runner, caller, input, request, outcome, above)
      : outcome;
  }
  return finishRequest(desk, runner, caller, outcome, held);
}

/** The later change-sets one by one, newest first, each with the caller's authority over it; then the one asked for. */
async function cascade(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  input: CheckedInput<"rollbackChangeSet">,
  request: RequestContext,
  blocked: Refusal,
  above: ReadonlySet<string>,
): Promise<ApplicationAnswer | Refusal> {
  const later = (blocked.details?.["later"] as { id: string; number: string }[] | undefined) ?? [];
  const seen = new Set([...above, blocked.details?.["of"] as string]);
  // Two that are partly applied may each stand in the other's way: a person says what became of one of them.
  if (later.some((one) => seen.has(one.id))) return blocked;
  const plain: RequestContext = { ...request, transact: desk.ledger.transact };
  for (const one of later) {
    const answer = await rollBack(
      desk,
      runner,
      caller,
      { id: one.id, cascade: true, reason: input.reason },
      plain,
      seen,
    );
    // One that an earlier step of the cascade already took back is no obstacle.
    if (isRefusal(answer) && !(answer.code === "illegal_transition" && answer.details?.["status"] === "ROLLED_BACK"))
      return answer;
  }
  return rollBack(desk, runner, caller, { ...input, cascade: false }, request);
}

async function rollbackPreflight(
  desk: Desk,
  snapshot: Snapshot,
  loaded: Loaded,
  caller: Caller,
  proven: boolean,
): Promise<{ holds: readonly HoldRow[]; as: string } | Refusal> {
  const { whole, people, configuration } = loaded;
  const { changeSet } = whole;
  const illegal = transition(changeSet, "roll_back");
  if (illegal !== undefined) return illegal;
  const mismatch = await authorityMismatch(desk, snapshot, loaded, []);
  if (mismatch !== undefined) return mismatch;
  const reversibility = reversibilityOf(whole.items);
  if (reversibility === "irreversible") {
    const which = whole.items
      .filter((item) => item.reversibility === "irreversible")
      .map((item) => `\`${item.target_id}\``);
    return refused(
      "irreversible",
      `${which.join(", ")} cannot be brought back, as was said when \`${changeSet.number}\` was approved`,
    );
  }
  const later = await laterOnTop(snapshot, whole);
  const allowed = mayRollBack({
    actor: {
      id: caller.principal.id,
      name: caller.principal.name,
      type: caller.principal.kind,
      roles: caller.roles,
      permissions: caller.permissions,
    },
    author: authorOf(whole, people),
    approvers: liveVotes(whole)
      .filter((vote) => vote.decision === "APPROVED")
      .map((vote) => vote.voter_id),
    exact: reversibility === "exact",
    laterOnTop: later.map((one) => one.number),
    appliedAtMs: changeSet.applied_at_ms ?? changeSet.updated_at_ms,
    nowMs: desk.now(),
    approvals: configuration.approvals,
  });
  if (isRefusal(allowed)) return allowed;
  // What governs the tenant is changed with a key unlocked there and then, backwards too: a stored login is not enough.
  if (!proven && changesRules(whole)) {
    return refused(
      "precondition_required",
      `\`${changeSet.number}\` changed what governs the tenant: taking it back needs \`proof\`, the request signed with your own key (docs/authentication.md); the command line asks for the passphrase`,
      {
        details: { operation: "rollbackChangeSet", tenant: caller.tenant, principal: caller.principal.id },
      },
    );
  }
  if (later.length > 0) {
    return refused(
      "rollback_blocked",
      `${later.map((one) => `\`${one.number}\``).join(", ")} build on \`${changeSet.number}\`; roll them back first, or all at once with \`--cascade\``,
      { details: { of: changeSet.id, later } },
    );
  }
  if (allowed.kind === "route") {
    return refused(
      "rollback_not_permitted",
      `${allowed.why}: propose a change-set that brings \`${changeSet.number}\` back, so that it is decided like any other`,
    );
  }
  if (changeSet.status === "APPLIED") {
    const drift = await rollbackDrift(desk, snapshot, whole);
    if (drift !== undefined) return drift;
  }
  const holds = await holdsFor(desk, snapshot, whole);
  return isRefusal(holds) ? holds : { holds, as: allowed.as };
}

function changesRules(whole: Whole): boolean {
  return whole.items.some((item) =>
    item.effects.some((effect) => effect.target.environment === configurationEnvironment),
  );
}

/** Change-sets applied after this one on a target of it, newest first. */
async function laterOnTop(snapshot: Snapshot, whole: Whole): Promise<{ id: string; number: string }[]> {
  const keys = [...new Set(whole.items.flatMap(keysOf))];
  const others = await readOverlaps(snapshot, {
    changeSetId: whole.changeSet.id,
    keys,
    statuses: ["APPLYING", "APPLIED", "PARTIALLY_APPLIED", "ROLLING_BACK"],
  });
  const { id: own, applied_at_ms: appliedAtMs } = whole.changeSet;
  const since = appliedAtMs ?? whole.application?.started_at_ms ?? 0;
  // Of two that are under way or were never applied whole only one comes after the other: neither would ever go first else.
  const isLater = (one: (typeof others)[number]): boolean => {
    if (one.applied_at_ms === null) return (appliedAtMs ?? null) !== null || one.id > own;
    return one.applied_at_ms > since || (one.applied_at_ms === since && one.id > own);
  };
  return others
    .filter(isLater)
    .sort((a, b) => (b.applied_at_ms ?? Infinity) - (a.applied_at_ms ?? Infinity))
    .map(({ id, number }) => ({ id, number }));
}

/** Each target must be as the application left it: preflight of all before the first is touched. */
async function rollbackDrift(desk: Desk, snapshot: Snapshot, whole: Whole): Promise<Refusal | undefined> {
  const context = { tenant: snapshot.tenant, snapshot, blobs: desk.blobs(snapshot.tenant) };
  const states = await readStates(
    whole.items.flatMap((item) => item.effects),
    desk.targets,
    context,
  );
  const last = Math.max(0, ...whole.items.map((item) => item.position));
  const inverse = whole.items.map((item) => ({
    sequence: item.sequence,
    position: last - item.position,
    effects: reverseEffects(item.effects),
  }));
  const drift = findDrift(inverse, states);
  if (drift.length === 0) return undefined;
  return refused(
    "drift",
    `${drift.map((one) => `\`${one.target}\``).join(", ")} changed since \`${whole.changeSet.number}\` was applied; rolling back would lose that. Propose a change-set on what is there now`,
    { details: { drift } },
  );
}

/** Somebody answers for going on: not the agent, which may have been stopped by a rollback. */
function mayResume(caller: Caller, { whole, people }: Loaded): Refusal | undefined {
  const { author_id: author, author_humans: humans, number } = whole.changeSet;
  const person =
    caller.principal.kind === "human" && [author, ...humans, ...people.humansOf(author)].includes(caller.principal.id);
  if (person || caller.permissions.has("change_sets.resolve")) return undefined;
  return refused(
    "forbidden",
    `\`${caller.principal.name}\` may not go on with \`${number}\`; the author's human or an operator resumes it`,
  );
}

/** What policy says now of the targets as they were approved: a plan cannot be made anew half-way. */
function policyNow({ whole, people, configuration }: Loaded): Refusal | undefined {
  const { changeSet, items } = whole;
  const decision = decidePolicy(
    {
      principal: policyPrincipal(people, changeSet.author_id, configuration),
      category: whole.revision.category,
      ...(changeSet.risk_level === null ? {} : { level: changeSet.risk_level }),
      items: items.map((item) => ({
        sequence: item.sequence,
        operation: item.operation,
        targets: item.effects.map((effect) => effect.target),
      })),
    },
    policySet(configuration),
  );
  return decision.outcome === "deny" ? policyRefusal(decision) : undefined;
}

function freezeNow(desk: Desk, { whole, configuration }: Loaded): Refusal | undefined {
  return checkFreeze(
    {
      nowMs: desk.now(),
      category: whole.changeSet.category,
      targets: whole.items.flatMap((item) => item.effects.map((effect) => effect.target)),
    },
    configuration.freeze,
  );
}

export async function resume(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  id: string,
  request: RequestContext,
): Promise<ApplicationAnswer | Refusal> {
  const held: Held = {};
  const load = async (snapshot: Snapshot) => {
    const loaded = await loadForCommand(desk, snapshot, id);
    if (isRefusal(loaded)) return loaded;
    const kill = await loadKill(snapshot);
    const refusal =
      checkKill(kill.rows, desk.now()) ??
      transition(loaded.whole.changeSet, "resume") ??
      mayResume(caller, loaded) ??
      (await authorityMismatch(desk, snapshot, loaded, kill.rows)) ??
      dutiesRefusal(loaded) ??
      policyNow(loaded) ??
      freezeNow(desk, loaded);
    if (refusal !== undefined) return refusal;
    const holds = await holdsFor(desk, snapshot, loaded.whole);
    held.items = loaded.whole.items;
    return isRefusal(holds) ? holds : { ...loaded, kill, holds };
  };
  const outcome = await timely(desk, caller, request, load, (loaded, context): Decided<Intent> | Refusal => {
    if (isRefusal(loaded)) return loaded;
    return begin(
      loaded,
      caller,
      {
        kind: "APPLY",
        mode: "MANUAL",
        status: "APPLYING",
        action: "apply_resumed",
        changes: {},
        resumed: true,
        reason: null,
        kill: loaded.kill,
        holds: loaded.holds,
      },
      context,
    );
  });
  return outcome.kind === "refused" ? outcome : finishRequest(desk, runner, caller, outcome, held);
}

interface Beginning {
  readonly kind: ApplicationRow["kind"];
  readonly mode: string;
  readonly status: "APPLYING" | "ROLLING_BACK";
  readonly action: string;
  readonly changes: Partial<ChangeSetRow>;
  readonly resumed: boolean;
  readonly reason: string | null;
  readonly kill: KillLoaded | undefined;
  readonly holds: readonly HoldRow[];
  readonly as?: string;
  /** Of limits, and of what else it depends on. */
  readonly counters?: readonly Guard[];
}

/** The intent: from its commit on, whatever happens, `runPlan` brings it to an end. */
function begin(
  loaded: Loaded,
  caller: Caller,
  of: Beginning,
  context: { nowMs: number; uuid(): string },
): Decided<Intent> {
  const { whole } = loaded;
  const applicationId = context.uuid();
  const application: NewRow<ApplicationRow> = {
    id: applicationId,
    change_set_id: whole.changeSet.id,
    revision_id: whole.revision.id,
    kind: of.kind,
    mode: of.mode,
    attempt: whole.changeSet.attempts + (of.kind === "APPLY" && !of.resumed ? 1 : 0),
    status: "RUNNING",
    started_by: caller.principal.id,
    plan: { phase: "forward", resumed: of.resumed, actor: caller.actor as unknown as JsonObject },
    reason: of.reason,
    applied_items: 0,
    failed_items: 0,
    errors: [],
    started_at_ms: context.nowMs,
    ended_at_ms: null,
  };
  const changes: Partial<ChangeSetRow> = {
    ...of.changes,
    status: of.status,
    status_reason: null,
    application_id: applicationId,
    updated_at_ms: context.nowMs,
  };
  const approvals = liveVotes(whole).map((vote) => ({ type: "vote", id: vote.id }));
  return {
    kind: "change",
    change: {
      guards: [
        ...guardsOf(loaded, caller),
        ...(of.counters ?? []),
        ...(of.kill === undefined ? [] : [{ kind: "epoch" as const, name: "kill", value: of.kill.epoch }]),
      ],
      entries: [
        entry(caller.actor, whole.changeSet.id, of.action, {
          data: {
            application: applicationId,
            kind: of.kind,
            attempt: application.attempt,
            revision: whole.revision.digest,
            items: whole.items.length,
            ...(of.as === undefined ? {} : { as: of.as }),
          },
          ...(of.reason === null ? {} : { body: { reason: of.reason } }),
          refs: approvals,
          writes: [
            insert("applications", application),
            update("change_sets", whole.changeSet, changes),
            ...holdWrites(whole, of.holds, applicationId),
          ],
        }),
      ],
    },
    result: { applicationId },
  };
}

/** Holds on the targets outside the database, so that one application at a time changes each; free ones as they are now. */
async function holdsFor(desk: Desk, snapshot: Snapshot, whole: Whole): Promise<readonly HoldRow[] | Refusal> {
  const keys = outsideKeys(desk, whole);
  const holds = await readHolds(snapshot, keys);
  const taken = holds.find((hold) => hold.application_id !== null && hold.application_id !== undefined);
  if (taken === undefined)
    return [
      ...holds,
      ...keys
        .filter((key) => !holds.some((hold) => hold.id === key))
        .map((id): HoldRow => ({ id, version: 0, application_id: null, change_set_id: null })),
    ];
  return refused(
    "target_locked",
    `\`${taken.id}\` is being changed by application \`${taken.application_id}\`; try again when it has ended`,
    { retryAfterSeconds: 1 },
  );
}

function outsideKeys(desk: Desk, whole: Whole): string[] {
  const keys = whole.items
    .filter((item) => !desk.targets.kind(item.target_kind).atomic)
    .flatMap((item) => item.effects.map((effect) => effect.target.key));
  return [...new Set(keys)].sort();
}

function holdWrites(whole: Whole, holds: readonly HoldRow[], applicationId: string): Write[] {
  const held = { application_id: applicationId, change_set_id: whole.changeSet.id };
  return holds.map((hold) =>
    hold.version === 0
      ? insert<HoldRow>("target_holds", { id: hold.id, ...held })
      : update<HoldRow>("target_holds", hold, held),
  );
}

/** Drift leaves a change-set APPROVED and says so on it, for whoever looks. */
async function markBlocked(desk: Desk, caller: Caller, ref: string, refusal: Refusal): Promise<Refusal> {
  const system = desk.tenancy.systemCaller(caller.tenant);
  await desk.ledger.transact(
    caller.tenant,
    async (snapshot) => {
      const whole = await readWhole(snapshot, ref);
      const drifted =
        whole?.changeSet.status === "APPROVED" && whole.changeSet.blocked !== "drift"
          ? await driftOf(desk, snapshot, whole)
          : undefined;
      return drifted === undefined ? undefined : whole;
    },
    (whole, context) => {
      if (whole === undefined) return { kind: "nothing", result: undefined };
      const changes: Partial<ChangeSetRow> = { blocked: "drift", updated_at_ms: context.nowMs };
      return {
        kind: "change",
        change: {
          guards: [],
          entries: [
            entry(system.actor, whole.changeSet.id, "blocked", {
              data: { reason: "drift", revision: whole.revision.digest },
              writes: [update("change_sets", whole.changeSet, changes)],
            }),
          ],
        },
        result: undefined,
      };
    },
  );
  return refusal;
}

/**
 * The approvals given are not enough any more (a longer route, an approver who may not): it goes back to whoever may give
 * what is missing. Votes stand as long as what they signed does.
 */
async function reroute(desk: Desk, caller: Caller, ref: string, refusal: Refusal): Promise<Refusal> {
  const system = desk.tenancy.systemCaller(caller.tenant);
  const outcome = await desk.ledger.transact(
    caller.tenant,
    async (snapshot) => {
      const loaded = await loadForCommand(desk, snapshot, ref);
      if (isRefusal(loaded) || loaded.whole.changeSet.status !== "APPROVED") return undefined;
      const judgement = await judge(desk, snapshot, loaded);
      return isRefusal(judgement) || judgement.decision.outcome === "deny" ? undefined : { ...loaded, judgement };
    },
    (loaded, context): Decided<boolean> => {
      const next = loaded === undefined ? undefined : rerouted(loaded, loaded.judgement, context.nowMs);
      if (loaded === undefined || next === undefined) return { kind: "nothing", result: false };
      const { changeSet, revision } = loaded.whole;
      const data = {
        from: changeSet.status,
        revision: revision.digest,
        digest: next.digest,
        required: next.route.required,
        votesDismissed: next.dismissed.length,
      };
      return {
        kind: "change",
        change: {
          guards: guardsOf(loaded, system),
          entries: [
            entry(system.actor, changeSet.id, "rerouted", {
              data,
              body: { route: next.route as unknown as JsonObject },
              writes: [
                update("change_sets", changeSet, next.changes),
                update("revisions", revision, next.revisionChanges),
                ...next.dismissed,
              ],
            }),
          ],
        },
        result: true,
      };
    },
  );
  if (isRefusal(outcome) || !outcome.result) return refusal;
  return { ...refusal, message: `${refusal.message}; it is PENDING_APPROVAL again` };
}

/** Undefined: the votes given are enough, or nobody could give what is missing. */
function rerouted(loaded: Loaded, judgement: Judgement, nowMs: number) {
  const { whole, configuration } = loaded;
  const { changeSet, revision } = whole;
  const route = routeOf(loaded, judgement);
  const digest = digestApproval(revision.digest, route, judgement);
  const same = digest === changeSet.approval_digest;
  const votes = same ? castVotes(loaded, whole) : [];
  const context = approvalContext(loaded, whole);
  if (
    route.required === 0 ||
    tally(route, votes, context).state === "satisfied" ||
    checkSatisfiable(route, context) !== undefined
  )
    return undefined;
  const changes: Partial<ChangeSetRow> = {
    status: "PENDING_APPROVAL",
    status_reason: "rerouted",
    approval_digest: digest,
    required_approvals: route.required,
    risk_score: judgement.risk.score,
    risk_level: judgement.risk.level,
    deadline_at_ms: deadlineMs(changeSet.priority, nowMs, configuration.approvals),
    approved_until_ms: null,
    updated_at_ms: nowMs,
  };
  const { decision, risk } = judgement;
  const revisionChanges: Partial<RevisionRow> = {
    route: route as unknown as JsonObject,
    policy: decision as unknown as JsonObject,
    risk: risk as unknown as JsonObject,
    approval_digest: digest,
  };
  return { route, digest, changes, revisionChanges, dismissed: same ? [] : dismissVotes(whole).writes };
}

/** Runs the plan and answers with where it ended; a replayed request gets where the first one stands. */
async function finishRequest(
  desk: Desk,
  runner: Runner,
  caller: Caller,
  outcome:
    | { kind: "committed"; result: Intent; receipts: readonly Parameters<typeof receiptsOf>[0][number][] }
    | { kind: "nothing"; result: Intent },
  held: Held,
): Promise<ApplicationAnswer | Refusal> {
  const { applicationId } = outcome.result;
  const receipts =
    outcome.kind === "committed"
      ? [...outcome.receipts, ...(await runner.run(caller.tenant, applicationId, held.items))]
      : [];
  return desk.ledger.snapshot(caller.tenant, async (snapshot) => {
    const application = await readApplication(snapshot, applicationId);
    if (application === undefined) throw new Error(`application ${applicationId} is gone`);
    const loaded = await loadForCommand(desk, snapshot, application.application.change_set_id);
    if (isRefusal(loaded)) return loaded;
    return {
      changeSet: view(loaded),
      application: applicationOf(application, namesOf(loaded.people)),
      receipts: receiptsOf(receipts),
    };
  });
}
