/** What a refused request is recorded about, for every operation there is: entries carry it for ever. */
import { operationIds, refused, type OperationId, type Refusal } from "@countersign/contract";
import { describe, expect, test } from "vitest";
import { subjectOfRefusal } from "../../src/dispatch/recorded.rules.js";

const id = "0190a1b2-0000-7000-8000-000000000001";
const other = "0190a1b2-0000-7000-8000-000000000002";

/** What `id` names, operation by operation; "operation": what is refused is recorded about the operation itself. */
const subjects: Readonly<Record<OperationId, string>> = {
  createChangeSet: "operation",
  listChangeSets: "operation",
  getChangeSet: "change_set",
  reviseChangeSet: "change_set",
  getChangeSetStatus: "change_set",
  listChangeSetItems: "change_set",
  getChangeSetHistory: "change_set",
  submitChangeSet: "change_set",
  approveChangeSet: "change_set",
  rejectChangeSet: "change_set",
  requestChanges: "change_set",
  cancelChangeSet: "change_set",
  applyChangeSet: "change_set",
  rollbackChangeSet: "change_set",
  resumeChangeSet: "change_set",
  resolveChangeSet: "change_set",
  archiveChangeSet: "change_set",
  listApplications: "change_set",
  getApplication: "operation",
  listPendingApprovals: "operation",
  whoAmI: "operation",
  listPrincipals: "operation",
  createAgent: "operation",
  acceptAgent: "principal",
  setPrincipalStatus: "principal",
  createHuman: "operation",
  issueEnrolmentCode: "principal",
  enrol: "operation",
  setBindings: "principal",
  listKeys: "operation",
  mintKey: "operation",
  // A key's id under the type of its owner: recorded so from the beginning, and entries are for ever.
  revokeKey: "principal",
  listSigningKeys: "operation",
  revokeSigningKey: "principal",
  getTenant: "operation",
  setTenantMode: "operation",
  createTenant: "operation",
  listWorkspaces: "operation",
  registerWorkspace: "operation",
  removeWorkspace: "resource",
  listKillSwitches: "operation",
  engageKillSwitch: "operation",
  releaseKillSwitch: "operation",
  listResources: "operation",
  getResource: "operation",
  getResourceHistory: "operation",
  getConfiguration: "operation",
  listAudit: "operation",
  exportAudit: "operation",
  proveEntry: "operation",
  getAuditPolicy: "operation",
  tailAudit: "operation",
  reportAudit: "operation",
  verifyChain: "operation",
  getVerification: "operation",
  listVerifications: "operation",
  getCheckpoint: "operation",
  getPublishing: "operation",
  listLogKeys: "operation",
  previewErasure: "operation",
  eraseSubject: "operation",
  listLegalHolds: "operation",
  placeLegalHold: "operation",
  releaseLegalHold: "operation",
  previewPruning: "operation",
  pruneLedger: "operation",
  listArchives: "operation",
};

/** Those whose proof is asked for before the thing that is named is looked for. */
const proven: readonly OperationId[] = [
  "resolveChangeSet",
  "createAgent",
  "acceptAgent",
  "setPrincipalStatus",
  "createHuman",
  "issueEnrolmentCode",
  "setBindings",
  "mintKey",
  "setTenantMode",
  "registerWorkspace",
  "releaseKillSwitch",
  "eraseSubject",
  "releaseLegalHold",
  "pruneLedger",
];

const about = (operation: OperationId, refusal: Refusal, input: Readonly<Record<string, unknown>> = { id }): string => {
  const subject = subjectOfRefusal({ operation, input }, refusal);
  return `${subject.type} ${subject.id}`;
};

describe.each(operationIds.map((operation) => [operation] as const))("%s", (operation) => {
  const itself = `operation ${operation}`;
  const named = subjects[operation] === "operation" ? itself : `${subjects[operation]} ${id}`;

  test("is recorded about what it names, and about itself where it names nothing", () => {
    expect(about(operation, refused("illegal_transition", ""))).toBe(named);
    expect(about(operation, refused("illegal_transition", ""), {})).toBe(itself);
    expect(about(operation, refused("illegal_transition", ""), { id: 7 })).toBe(itself);
  });

  test("is recorded about itself while nobody has looked for what it names", () => {
    const lacking = refused("forbidden", "", { details: { permission: "change_sets.apply" } });
    expect(about(operation, lacking)).toBe(itself);
    for (const code of ["forbidden", "signature_invalid", "signing_key_unknown", "signing_key_revoked"] as const)
      expect(about(operation, refused(code, ""))).toBe(proven.includes(operation) ? itself : named);
  });

  test("is recorded about the change-set that the refusal names", () => {
    expect(about(operation, refused("policy_denied", "", { details: { changeSetId: other } }))).toBe(
      `change_set ${other}`,
    );
  });
});
