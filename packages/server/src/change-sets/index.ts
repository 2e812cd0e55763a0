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
  type OperationOutput,
  type Refusal,
  type TenantId,
  type VoteDecision,
} from "@countersign/contract";
import type { EraseSubject, FinishErasures, Snapshot } from "../ledger/index.js";
import type { Job, Timers } from "../platform/index.js";
import type { Caller, Handlers } from "../tenancy/index.js";
import { archive, cancel, resolve } from "./deciding/closing.js";
import { requestChanges, vote } from "./deciding/review.js";
import type { Desk, RequestContext } from "./desk.js";
import { eraseSubject } from "./erase.js";
import { create, revise } from "./proposing/draft.js";
import { NumberBlocks } from "./proposing/numbers.js";
import { submit } from "./proposing/submit.js";
import {
  deleteErasedBlobs,
  readByRefs,
  readChangeSetsOn,
  readRunning,
  readTargetKeys,
  targetKeyPlaces,
  readUnfinished,
  readWhole,
} from "./queries.js";
import { applicationNamed, applicationsOf, list, pending, read, readStatus } from "./reading.js";
import { apply } from "./running/apply.js";
import { thenAuto } from "./running/auto.js";
import { Leases } from "./running/leases.js";
import { resume } from "./running/resume.js";
import { rollBack } from "./running/rollBack.js";
import { Runner } from "./running/run.js";
import { expiryJob } from "./expiry.js";
import { recoveryJob } from "./running/recovery.js";

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
  /** Brings the tenant's applications without an end to their end, but for those that run here. Ids of those it did something for. */
  recover(tenant: TenantId): Promise<string[]>;
  /** What recurs: runs without an end, deadlines that passed. */
  readonly jobs: readonly Job[];
  /** Resolves when no run is under way in this process. */
  idle(): Promise<void>;
}

/** `timers`: of the leases of runs; tests hold them. */
export function openChangeSets(desk: Desk, timers?: Timers): ChangeSets {
  const numbers = new NumberBlocks(desk.ledger);
  const runner = new Runner(desk, new Leases(desk.storage, timers));

  const recover = async (tenant: TenantId): Promise<string[]> => {
    // Those that run here are in good hands: whoever waited for them would keep other tenants waiting.
    const found = (await desk.ledger.snapshot(tenant, readRunning)).filter((id) => !runner.has(id));
    const runs = await Promise.allSettled(found.map((id) => runner.run(tenant, id)));
    for (const run of runs)
      if (run.status === "rejected") desk.log.warn({ tenant, err: run.reason as unknown }, "a run was not recovered");
    const failed = runs.find((run) => run.status === "rejected");
    if (failed !== undefined) throw failed.reason;
    return found.filter((_, index) => (runs[index] as PromiseFulfilledResult<unknown[]>).value.length > 0);
  };

  const auto = async (
    caller: Caller,
    request: RequestContext,
    answer: Answer<ChangeSetAnswer>,
  ): Answer<ChangeSetAnswer> => thenAuto(desk, runner, caller, request, await answer);

  return {
    create: (caller, input, request) => create(desk, numbers, caller, input, request),
    revise: (caller, input, request) => revise(desk, caller, input, request),
    submit: (caller, input, request) => auto(caller, request, submit(desk, caller, input.id, request)),
    vote: (caller, input, fallback, request) => auto(caller, request, vote(desk, caller, input, fallback, request)),
    requestChanges: (caller, input, request) => requestChanges(desk, caller, input, request),
    cancel: (caller, input, request) => cancel(desk, caller, input, request),
    archive: (caller, input, request) => archive(desk, caller, input.id, request),
    resolve: (caller, input, request) => resolve(desk, caller, input, request),
    apply: (caller, input, request) => apply(desk, runner, caller, input.id, request),
    rollBack: (caller, input, request) => rollBack(desk, runner, caller, input, request),
    resume: (caller, input, request) => resume(desk, runner, caller, input.id, request),
    get: (caller, input) => read(desk, caller, input.id),
    list: (caller, input) => list(desk, caller, input),
    status: (caller, input) => readStatus(desk, caller, input.id),
    items: async (caller, input) => {
      const changeSet = await read(desk, caller, input.id);
      return isRefusal(changeSet) ? changeSet : { rows: changeSet.items };
    },
    applications: (caller, input) => applicationsOf(desk, caller, input.id),
    application: (caller, input) => applicationNamed(desk, caller, input.applicationId),
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

const keysAtOnce = 5_000;

async function* targetKeys(snapshot: Snapshot): AsyncGenerator<readonly string[], void, undefined> {
  for (const place of targetKeyPlaces) {
    let keys: string[];
    let after: string | null = null;
    do {
      keys = await readTargetKeys(snapshot, place, after, keysAtOnce);
      after = keys.at(-1) ?? null;
      yield keys;
    } while (keys.length === keysAtOnce);
  }
}

/** Change-sets and their applications as they are asked for over the interfaces. */
export function changeSetHandlers(changeSets: ChangeSets) {
  return {
    createChangeSet: ({ caller, input, request }) => changeSets.create(caller, input, request),
    listChangeSets: ({ caller, input }) => changeSets.list(caller, input),
    getChangeSet: ({ caller, input }) => changeSets.get(caller, input),
    reviseChangeSet: ({ caller, input, request }) => changeSets.revise(caller, input, request),
    getChangeSetStatus: ({ caller, input }) => changeSets.status(caller, input),
    listChangeSetItems: ({ caller, input }) => changeSets.items(caller, input),
    submitChangeSet: ({ caller, input, request }) => changeSets.submit(caller, input, request),
    approveChangeSet: ({ caller, input, request }) => changeSets.vote(caller, input, "APPROVED", request),
    rejectChangeSet: ({ caller, input, request }) => changeSets.vote(caller, input, "REJECTED", request),
    requestChanges: ({ caller, input, request }) => changeSets.requestChanges(caller, input, request),
    cancelChangeSet: ({ caller, input, request }) => changeSets.cancel(caller, input, request),
    applyChangeSet: ({ caller, input, request }) => changeSets.apply(caller, input, request),
    rollbackChangeSet: ({ caller, input, request }) => changeSets.rollBack(caller, input, request),
    resumeChangeSet: ({ caller, input, request }) => changeSets.resume(caller, input, request),
    resolveChangeSet: ({ caller, input, request }) => changeSets.resolve(caller, input, request),
    archiveChangeSet: ({ caller, input, request }) => changeSets.archive(caller, input, request),
    listApplications: ({ caller, input }) => changeSets.applications(caller, input),
    getApplication: ({ caller, input }) => changeSets.application(caller, input),
    listPendingApprovals: ({ caller, input }) => changeSets.pending(caller, input),
  } satisfies Partial<Handlers>;
}
