/**
 * Change-sets: proposed, scored, held against policy, decided by people, applied, rolled back. Every command is one
 * decision through the door; every answer is made of what that commit wrote.
 */
import {
  type ApplicationAnswer,
  type ApplicationView,
  type ChangeSetAnswer,
  type ChangeSetView,
  type CheckedInput,
  isRefusal,
  legalCommands,
  type OperationOutput,
  type Refusal,
  refused,
  refusedForProblems,
  type TenantId,
  type VoteDecision,
} from "@countersign/contract";
import { checkVote, loadConfiguration, type Route } from "../governance/index.js";
import type { EraseSubject, FinishErasures, Snapshot } from "../ledger/index.js";
import type { Job } from "../platform/index.js";
import type { Caller } from "../tenancy/index.js";
import { apply } from "./running/apply.js";
import { archive, cancel, resolve } from "./deciding/closing.js";
import {
  approvalContext,
  type Desk,
  liveVotes,
  type Loaded,
  loadForCommand,
  namesOf,
  notFound,
  type RequestContext,
  standing,
  view,
} from "./desk.js";
import { create, revise } from "./proposing/draft.js";
import { eraseSubject } from "./erase.js";
import { Leases } from "./running/leases.js";
import { type ListSort, readCursor, writeCursor } from "./lists.rules.js";
import { NumberBlocks } from "./proposing/numbers.js";
import {
  deleteErasedBlobs,
  type ListFilter,
  listChangeSets,
  readApplication,
  readApplications,
  readUnfinished,
  readChangeSetsOn,
  readByRefs,
  readRunning,
  readTargetKeys,
  readWhole,
  readWholes,
} from "./queries.js";
import { resume } from "./running/resume.js";
import { requestChanges, vote } from "./deciding/review.js";
import { rollBack } from "./running/rollBack.js";
import { Runner } from "./running/run.js";
import { submit } from "./proposing/submit.js";
import { expire } from "./timely.js";
import { expiryJob } from "./expiry.js";
import { recoveryJob } from "./running/recovery.js";
import { asSeenBy } from "./sight.js";
import { applicationOf, summaryOf } from "./view.rules.js";

export type { Desk, RequestContext } from "./desk.js";
export { checkReferences } from "./references.js";

type Answer<T> = Promise<T | Refusal>;

export interface ChangeSets {
  create(caller: Caller, input: CheckedInput<"createChangeSet">, request: RequestContext): Answer<ChangeSetAnswer>;
  revise(caller: Caller, input: CheckedInput<"reviseChangeSet">, request: RequestContext): Answer<ChangeSetAnswer>;
  submit(caller: Caller, input: CheckedInput<"submitChangeSet">, request: RequestContext): Answer<ChangeSetAnswer>;
  /** `fallback`: the decision of the path, when the body names none. */
  vote(
    caller: Caller,
    input: CheckedInput<"approveChangeSet">,
    fallback: VoteDecision,
    request: RequestContext,
  ): Answer<ChangeSetAnswer>;
  requestChanges(
    caller: Caller,
    input: CheckedInput<"requestChanges">,
    request: RequestContext,
  ): Answer<ChangeSetAnswer>;
  cancel(caller: Caller, input: CheckedInput<"cancelChangeSet">, request: RequestContext): Answer<ChangeSetAnswer>;
  archive(caller: Caller, input: CheckedInput<"archiveChangeSet">, request: RequestContext): Answer<ChangeSetAnswer>;
  resolve(caller: Caller, input: CheckedInput<"resolveChangeSet">, request: RequestContext): Answer<ChangeSetAnswer>;
  apply(caller: Caller, input: CheckedInput<"applyChangeSet">, request: RequestContext): Answer<ApplicationAnswer>;
  rollBack(
    caller: Caller,
    input: CheckedInput<"rollbackChangeSet">,
    request: RequestContext,
  ): Answer<ApplicationAnswer>;
  resume(caller: Caller, input: CheckedInput<"resumeChangeSet">, request: RequestContext): Answer<ApplicationAnswer>;
  get(caller: Caller, input: CheckedInput<"getChangeSet">): Answer<ChangeSetView>;
  list(caller: Caller, input: CheckedInput<"listChangeSets">): Answer<OperationOutput<"listChangeSets">>;
  status(caller: Caller, input: CheckedInput<"getChangeSetStatus">): Answer<OperationOutput<"getChangeSetStatus">>;
  items(caller: Caller, input: CheckedInput<"listChangeSetItems">): Answer<OperationOutput<"listChangeSetItems">>;
  applications(caller: Caller, input: CheckedInput<"listApplications">): Answer<{ rows: ApplicationView[] }>;
  application(caller: Caller, input: CheckedInput<"getApplication">): Answer<ApplicationView>;
  pending(caller: Caller, input: CheckedInput<"listPendingApprovals">): Answer<OperationOutput<"listPendingApprovals">>;
  /** Id of a change-set by id or number; undefined when there is none. */
  idOf(tenant: TenantId, ref: string): Promise<string | undefined>;
  /** Ids of the applications that have no end, in a snapshot. */
  running(snapshot: Snapshot): Promise<string[]>;
  /** Keys of all targets that any revision of a change-set touches, in pieces. */
  targetKeys(snapshot: Snapshot): AsyncIterable<readonly string[]>;
  /** Change-sets of which any revision touches one of these targets, the oldest first. */
  touching(snapshot: Snapshot, keys: readonly string[]): Promise<string[]>;
  /** Numbers by id, for showing. */
  numbersOf(snapshot: Snapshot, ids: readonly string[]): Promise<ReadonlyMap<string, string>>;
  /** What erasing a subject takes away of change-sets. */
  readonly eraseSubject: EraseSubject;
  /** Deletes the bytes that only erased change-sets named. */
  readonly finishErasures: FinishErasures;
  /** Ids of change-sets that are not finished. */
  unfinished(snapshot: Snapshot): Promise<string[]>;
  /** After a start: brings every application of the tenant that has no end to its end. Ids of those it ran. */
  recover(tenant: TenantId): Promise<string[]>;
  /** What recurs: runs without an end, deadlines that passed. */
  readonly jobs: readonly Job[];
  /** Resolves when no run is under way in this process. */
  idle(): Promise<void>;
}

export function openChangeSets(desk: Desk): ChangeSets {
  const numbers = new NumberBlocks(desk.ledger);
  const runner = new Runner(desk, new Leases(desk.storage, desk.now));

  const recover = async (tenant: TenantId): Promise<string[]> => {
    const running = await desk.ledger.snapshot(tenant, readRunning);
    const runs = await Promise.allSettled(running.map((id) => runner.run(tenant, id)));
    const failed = runs.find((run) => run.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return running;
  };

  /** AUTO: once approved, the engine applies; what stops it stays visible on the change-set. */
  const thenAuto = async (
    answer: ChangeSetAnswer | Refusal,
    caller: Caller,
    request: RequestContext,
  ): Answer<ChangeSetAnswer> => {
    if (
      isRefusal(answer) ||
      answer.changeSet.status !== "APPROVED" ||
      answer.changeSet.applyMode !== "AUTO" ||
      answer.receipts.length === 0
    )
      return answer;
    const system = desk.tenancy.systemCaller(caller.tenant);
    const applied = await apply(
      desk,
      runner,
      system,
      answer.changeSet.id,
      { ...request, transact: desk.ledger.transact },
      "AUTO",
    );
    if (!isRefusal(applied))
      return { changeSet: applied.changeSet, receipts: [...answer.receipts, ...applied.receipts] };
    desk.log.info({ changeSet: answer.changeSet.number, code: applied.code }, "approved, and not applied by itself");
    const now = await read(desk, caller, answer.changeSet.id);
    return isRefusal(now) ? answer : { changeSet: now, receipts: answer.receipts };
  };

  return {
    create: (caller, input, request) => create(desk, numbers, caller, input, request),
    revise: (caller, input, request) => revise(desk, caller, input, request),
    submit: async (caller, input, request) => thenAuto(await submit(desk, caller, input.id, request), caller, request),
    vote: async (caller, input, fallback, request) =>
      thenAuto(await vote(desk, caller, input, fallback, request), caller, request),
    requestChanges: (caller, input, request) => requestChanges(desk, caller, input, request),
    cancel: (caller, input, request) => cancel(desk, caller, input, request),
    archive: (caller, input, request) => archive(desk, caller, input.id, request),
    resolve: (caller, input, request) => resolve(desk, caller, input, request),
    apply: (caller, input, request) => apply(desk, runner, caller, input.id, request),
    rollBack: (caller, input, request) => rollBack(desk, runner, caller, input, request),
    resume: (caller, input, request) => resume(desk, runner, caller, input.id, request),
    get: (caller, input) => read(desk, caller, input.id),
    list: (caller, input) => list(desk, caller.tenant, input),
    status: async (caller, input) => {
      const changeSet = await read(desk, caller, input.id);
      if (isRefusal(changeSet)) return changeSet;
      const { applicationId } = changeSet;
      return { ...changeSet, legalCommands: legalCommands(changeSet.status), applicationId };
    },
    items: async (caller, input) => {
      const changeSet = await read(desk, caller, input.id);
      return isRefusal(changeSet) ? changeSet : { rows: changeSet.items };
    },
    applications: (caller, input) =>
      desk.ledger.snapshot(caller.tenant, async (snapshot) => {
        const whole = await readWhole(snapshot, input.id);
        if (whole === undefined) return notFound(input.id);
        const rows = await readApplications(snapshot, whole.changeSet.id);
        const names = await desk.tenancy.principalNames(
          snapshot,
          rows.map((row) => row.application.started_by),
        );
        return { rows: rows.map((row) => applicationOf(row, names)) };
      }),
    application: (caller, input) =>
      desk.ledger.snapshot(caller.tenant, async (snapshot) => {
        const found = await readApplication(snapshot, input.applicationId);
        if (found === undefined) return refused("not_found", `there is no application \`${input.applicationId}\``);
        return applicationOf(found, await desk.tenancy.principalNames(snapshot, [found.application.started_by]));
      }),
    pending: (caller, input) => pending(desk, caller, input),
    idOf: (tenant, ref) =>
      desk.ledger.snapshot(tenant, async (snapshot) => (await readWhole(snapshot, ref))?.changeSet.id),
    running: readRunning,
    targetKeys,
    touching: readChangeSetsOn,
    numbersOf: async (snapshot, ids) =>
      new Map((await readByRefs(snapshot, [...ids])).map((row) => [row.id, row.number])),
    eraseSubject: (snapshot, subject, by) => eraseSubject(desk.ledger, snapshot, subject, by),
    finishErasures: async (tenant) => {
      const { rows } = await desk.storage.inTenant(tenant, (client) =>
        client.query<{ gone: number | null }>(deleteErasedBlobs, [tenant]),
      );
      return rows[0]?.gone ?? undefined;
    },
    unfinished: readUnfinished,
    recover,
    jobs: [recoveryJob({ storage: desk.storage, recover, log: desk.log }), expiryJob(desk)],
    idle: () => runner.idle(),
  };
}

/** One change-set as it is now; a deadline that passed is acted on first. */
async function read(desk: Desk, caller: Caller, ref: string): Answer<ChangeSetView> {
  for (let tries = 1; ; tries++) {
    const loaded = await desk.ledger.snapshot(caller.tenant, (snapshot) => loadForCommand(desk, snapshot, ref));
    if (!isRefusal(loaded)) return asSeenBy(caller, loaded, view(loaded));
    const overdue = loaded.details?.["overdueId"];
    // What cannot be rejected (the database and the ledger disagree, the door is full) is told as overdue.
    if (typeof overdue !== "string" || tries > 2) return loaded;
    await expire(desk, caller.tenant, overdue);
  }
}

async function list(
  desk: Desk,
  tenant: TenantId,
  input: CheckedInput<"listChangeSets">,
): Answer<OperationOutput<"listChangeSets">> {
  const page = pageOf(input.sort, input);
  if (isRefusal(page)) return page;
  return desk.ledger.snapshot(tenant, async (snapshot) => {
    const people = input.author === undefined ? undefined : await desk.tenancy.loadPeople(snapshot);
    const author =
      input.author === undefined
        ? undefined
        : [...(people?.principals.values() ?? [])].find((one) => one.id === input.author || one.name === input.author);
    if (input.author !== undefined && author === undefined) return { rows: [], nextCursor: null };
    const filter: ListFilter = {
      status: input.status,
      category: input.category,
      authorId: author?.id,
      tag: input.tag,
      target: input.target,
      search: input.search,
    };
    const rows = await listChangeSets(snapshot, filter, {
      sort: input.sort,
      order: input.order,
      limit: input.limit + 1,
      after: page.after,
    });
    const shown = rows.slice(0, input.limit);
    const names = await desk.tenancy.principalNames(
      snapshot,
      shown.map(({ row }) => row.author_id),
    );
    const last = rows.length > input.limit ? shown.at(-1) : undefined;
    return {
      rows: shown.map(({ row }) => summaryOf(row, names)),
      nextCursor: last === undefined ? null : writeCursor(input.sort, { value: last.value, id: last.row.id }),
    };
  });
}

function pageOf(
  sort: ListSort,
  input: { cursor?: string | undefined },
): { after: ReturnType<typeof readCursor> } | Refusal {
  if (input.cursor === undefined) return { after: undefined };
  const after = readCursor(sort, input.cursor);
  return after === undefined
    ? refusedForProblems([
        {
          code: "invalid_request",
          pointer: "/cursor",
          message: `\`cursor\` is not one of this list in this order; start without it`,
        },
      ])
    : { after };
}

async function pending(
  desk: Desk,
  caller: Caller,
  input: CheckedInput<"listPendingApprovals">,
): Answer<OperationOutput<"listPendingApprovals">> {
  const page = pageOf("deadline", input);
  if (isRefusal(page)) return page;
  return desk.ledger.snapshot(caller.tenant, async (snapshot) => {
    const people = await desk.tenancy.loadPeople(snapshot);
    const configuration = await loadConfiguration(snapshot);
    const configurationEpoch = await snapshot.epoch("config");
    const rows = await listChangeSets(
      snapshot,
      { status: ["PENDING_APPROVAL"] },
      { sort: "deadline", order: "asc", limit: input.limit + 1, after: page.after },
    );
    const shown = rows.slice(0, input.limit);
    const wholes = new Map(
      (
        await readWholes(
          snapshot,
          shown.map(({ row }) => row.id),
        )
      ).map((whole) => [whole.changeSet.id, whole]),
    );
    const answer: OperationOutput<"listPendingApprovals">["rows"] = [];
    for (const { row } of shown) {
      const whole = wholes.get(row.id);
      if (whole === undefined) continue;
      const loaded = { whole, people, configuration, configurationEpoch, overlaps: [] };
      if (input.mine && !waitsFor(loaded, caller)) continue;
      const state = standing(loaded);
      const waitingFor = (state?.stages ?? [])
        .filter((stage) => stage.state !== "satisfied")
        .map((stage) => stage.name);
      answer.push({ ...summaryOf(row, namesOf(people)), waitingFor, approvalDigest: row.approval_digest ?? "" });
    }
    const last = rows.length > input.limit ? shown.at(-1) : undefined;
    return {
      rows: answer,
      nextCursor: last === undefined ? null : writeCursor("deadline", { value: last.value, id: last.row.id }),
    };
  });
}

/** Whether a vote of the caller's is still wanted: on the route, not excluded, not yet cast. */
function waitsFor(loaded: Loaded, caller: Caller): boolean {
  const { whole } = loaded;
  const cast = liveVotes(whole);
  if (cast.some((one) => one.voter_id === caller.principal.id)) return false;
  const votes = cast.map((one) => ({ voter: one.voter_id, decision: one.decision, atMs: one.at_ms }));
  const attempt = { voter: { id: caller.principal.id, type: caller.principal.kind }, decision: "APPROVED" as const };
  return (
    checkVote(attempt, whole.revision.route as unknown as Route, votes, approvalContext(loaded, whole)) === undefined
  );
}

const keysAtOnce = 5_000;

async function* targetKeys(snapshot: Snapshot): AsyncGenerator<readonly string[], void, undefined> {
  for (const column of ["target_key", "other_target_key"] as const) {
    let keys: string[];
    let after: string | null = null;
    do {
      keys = await readTargetKeys(snapshot, column, after, keysAtOnce);
      after = keys.at(-1) ?? null;
      yield keys;
    } while (keys.length === keysAtOnce);
  }
}
