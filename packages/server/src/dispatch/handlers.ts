/** Which module does an operation. Every module offers its own; that together they are all there are, the type says. */
import { type AuditParts, auditHandlers } from "../audit/index.js";
import type { ChangeSets } from "../change-sets/index.js";
import { governanceHandlers } from "../governance/index.js";
import { type RetentionDesk, retentionHandlers } from "../retention/index.js";
import { targetHandlers } from "../targets/index.js";
import { type Handlers, peopleHandlers, type Tenancy } from "../tenancy/index.js";

export interface Modules extends Omit<AuditParts, "changeSets"> {
  readonly tenancy: Tenancy;
  readonly changeSets: ChangeSets;
  readonly retention: RetentionDesk;
  readonly dataDirectory: string;
  readonly workspaceRoots: readonly string[] | undefined;
}

export function handlersOver(modules: Modules): Handlers {
  const { changeSets, ledger, dataDirectory, workspaceRoots, now } = modules;
  return {
    ...changeSetHandlers(changeSets),
    ...peopleHandlers(modules.tenancy),
    ...governanceHandlers({ ledger, running: changeSets.running, now }),
    ...targetHandlers({ ledger, dataDirectory, workspaceRoots, changeSetNumbers: changeSets.numbersOf }),
    ...auditHandlers(modules),
    ...retentionHandlers(modules.retention),
  };
}

function changeSetHandlers(changeSets: ChangeSets) {
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
