/** The handler of each operation: one line that calls the module that decides it. The table is complete by its type. */
import type { CheckedInput, OperationId, OperationOutput, Refusal } from "@countersign/contract";
import type { ChangeSets, RequestContext } from "../change-sets/index.js";
import type { Ledger, Publishing, Snapshot } from "../ledger/index.js";
import type { Tails } from "../followers/index.js";
import type { Caller, Tenancy } from "../tenancy/index.js";
import type { SelfChecks } from "../ops/index.js";
import * as audit from "./audit.js";
import * as evidence from "./evidence.js";
import * as kill from "./killSwitch.js";
import * as publications from "./publishing.js";
import * as records from "./records.js";
import * as verification from "./verification.js";
import * as retention from "./retention.js";

export interface Modules {
  readonly ledger: Ledger;
  readonly tenancy: Tenancy;
  readonly changeSets: ChangeSets;
  readonly tails: Tails;
  readonly selfChecks: SelfChecks;
  /** As configured. */
  readonly anchors: evidence.EvidenceDesk["anchors"];
  readonly publishing: Publishing;
  readonly retention: retention.RetentionDesk;
  readonly dataDirectory: string;
  readonly workspaceRoots: readonly string[] | undefined;
  readonly now: () => number;
}

/** An answer in pieces of text. */
export interface TextStream extends AsyncIterable<string> {
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Call<K extends OperationId> {
  /** For `enrol`, the one operation without a credential, nobody. */
  readonly caller: Caller;
  readonly input: CheckedInput<K>;
  readonly request: RequestContext;
  /** For answers that take long: whether the caller may still have them. */
  readonly recheck: () => Promise<Refusal | undefined>;
}

/** Streamed operations, as the contract marks them. */
type Streamed = "exportAudit" | "tailAudit" | "reportAudit";
type Answered<K extends OperationId> = K extends Streamed ? TextStream : Promise<OperationOutput<K> | Refusal>;
export type Handlers = { readonly [K in OperationId]: (call: Call<K>) => Answered<K> };

export function handlersOver({
  selfChecks,
  ledger,
  tenancy,
  changeSets,
  tails,
  anchors,
  publishing,
  retention: retentionDesk,
  dataDirectory,
  workspaceRoots,
  now,
}: Modules): Handlers {
  const auditDesk = { ledger, changeSets, tails, publishing, now };
  const evidenceDesk: evidence.EvidenceDesk = {
    ledger,
    publishing,
    anchors,
    idOfChangeSet: changeSets.idOf,
    idOfActor: (tenant, actor) => audit.actorOf(ledger, tenant, actor),
    named: (tenant, entries) => audit.named(auditDesk, tenant, entries),
  };
  const verificationDesk = { ledger, selfChecks };
  const killDesk = { ledger, changeSets, now };
  const recordsDesk = {
    ledger,
    dataDirectory,
    workspaceRoots,
    changeSetNumbers: (snapshot: Snapshot, ids: readonly string[]) => changeSets.numbersOf(snapshot, ids),
  };
  return {
    createChangeSet: ({ caller, input, request }) => changeSets.create(caller, input, request),
    listChangeSets: ({ caller, input }) => changeSets.list(caller, input),
    getChangeSet: ({ caller, input }) => changeSets.get(caller, input),
    reviseChangeSet: ({ caller, input, request }) => changeSets.revise(caller, input, request),
    getChangeSetStatus: ({ caller, input }) => changeSets.status(caller, input),
    listChangeSetItems: ({ caller, input }) => changeSets.items(caller, input),
    getChangeSetHistory: ({ caller, input }) => audit.changeSetHistory(auditDesk, caller, input),
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

    whoAmI: ({ caller, input }) => tenancy.whoAmI(caller, input),
    listPrincipals: ({ caller, input }) => tenancy.listPrincipals(caller, input),
    createAgent: ({ caller, input, request }) => tenancy.createAgent(caller, input, request),
    acceptAgent: ({ caller, input, request }) => tenancy.acceptAgent(caller, input, request),
    setPrincipalStatus: ({ caller, input, request }) => tenancy.setPrincipalStatus(caller, input, request),
    createHuman: ({ caller, input, request }) => tenancy.createHuman(caller, input, request),
    issueEnrolmentCode: ({ caller, input, request }) => tenancy.issueEnrolmentCode(caller, input, request),
    enrol: ({ input }) => tenancy.enrol(input),
    setBindings: ({ caller, input, request }) => tenancy.setBindings(caller, input, request),
    listKeys: ({ caller, input }) => tenancy.listKeys(caller, input),
    mintKey: ({ caller, input, request }) => tenancy.mintKey(caller, input, request),
    revokeKey: ({ caller, input, request }) => tenancy.revokeKey(caller, input, request),
    listSigningKeys: ({ caller, input }) => tenancy.listSigningKeys(caller, input),
    revokeSigningKey: ({ caller, input, request }) => tenancy.revokeSigningKey(caller, input, request),
    getTenant: ({ caller, input }) => tenancy.getTenant(caller, input),
    setTenantMode: ({ caller, input, request }) => tenancy.setTenantMode(caller, input, request),
    createTenant: ({ caller, input, request }) => tenancy.createTenant(caller, input, request),

    previewErasure: ({ caller, input }) => retention.preview(retentionDesk, caller, input),
    eraseSubject: ({ caller, input, request }) =>
      retention.eraseSubject(retentionDesk, caller, input, request.transact),
    listLegalHolds: ({ caller, input }) => retention.listLegalHolds(retentionDesk, caller, input),
    placeLegalHold: ({ caller, input, request }) =>
      retention.placeLegalHold(retentionDesk, caller, input, request.transact),
    releaseLegalHold: ({ caller, input, request }) =>
      retention.releaseLegalHold(retentionDesk, caller, input, request.transact),
    previewPruning: ({ caller, input }) => retention.previewPrune(retentionDesk, caller, input),
    pruneLedger: ({ caller, input, request }) => retention.pruneLedger(retentionDesk, caller, input, request.transact),
    listArchives: ({ caller }) => retention.listArchives(retentionDesk, caller),

    listWorkspaces: ({ caller }) => records.workspaces(recordsDesk, caller),
    registerWorkspace: ({ caller, input, request }) =>
      records.addWorkspace(recordsDesk, caller, input, request.transact),
    removeWorkspace: ({ caller, input, request }) => records.dropWorkspace(caller, input, request.transact),
    listKillSwitches: ({ caller }) => kill.list(killDesk, caller),
    engageKillSwitch: ({ caller, input, request }) => kill.engage(killDesk, caller, input, request.transact),
    releaseKillSwitch: ({ caller, request }) => kill.release(killDesk, caller, request.transact),

    listResources: ({ caller, input }) => records.list(recordsDesk, caller, input),
    getResource: ({ caller, input }) => records.get(recordsDesk, caller, input),
    getResourceHistory: ({ caller, input }) => records.history(recordsDesk, caller, input),
    getConfiguration: ({ caller }) => records.configuration(recordsDesk, caller),
    listAudit: ({ caller, input }) => audit.listAudit(auditDesk, caller, input),
    tailAudit: ({ caller, input, recheck }) => audit.tailAudit(auditDesk, caller, input, recheck),
    reportAudit: ({ caller, input }) => audit.reportAudit(auditDesk, caller, input),
    exportAudit: ({ caller, input }) => evidence.exportAudit(evidenceDesk, caller, input),
    proveEntry: ({ caller, input }) => evidence.proveEntry(evidenceDesk, caller, input),
    getAuditPolicy: ({ caller, input }) => evidence.auditPolicy(evidenceDesk, caller, input),
    getCheckpoint: ({ caller }) => publications.checkpoint({ ledger, publishing }, caller),
    getPublishing: ({ caller }) => publications.standing({ ledger, publishing, anchors, now }, caller),
    listLogKeys: () => publications.logKeys({ ledger, publishing }),
    verifyChain: ({ caller, input }) => verification.verifyChain(verificationDesk, caller, input),
    getVerification: ({ caller, input }) => verification.getVerification(verificationDesk, caller, input),
    listVerifications: ({ caller, input }) => verification.listVerifications(verificationDesk, caller, input),
  };
}
