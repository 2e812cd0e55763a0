/**
 * The ledger as people ask about it: entries with names beside ids, live and in pages; exports, receipts and reports; what is
 * published of it; what the server's own checks of it found.
 */
import type { Handlers } from "../tenancy/index.js";
import { actorOf, type AuditDesk, changeSetHistory, listAudit, named, reportAudit, tailAudit } from "./entries.js";
import { auditPolicy, type EvidenceDesk, exportAudit, proveEntry } from "./evidence.js";
import { checkpoint, logKeys, type PublishingDesk, standing } from "./published.js";
import { getVerification, type VerificationDesk, verifyChain, listVerifications } from "./verifications.js";

export { tailSource } from "./entries.js";
export type { OwnChecks } from "./verifications.js";

export type AuditParts = Omit<AuditDesk, "publishing"> &
  PublishingDesk &
  VerificationDesk &
  Pick<EvidenceDesk, "anchors" | "verification">;

export function auditHandlers(parts: AuditParts) {
  const { ledger, changeSets } = parts;
  const evidence: EvidenceDesk = {
    ...parts,
    idOfChangeSet: changeSets.idOf,
    idOfActor: (tenant, actor) => actorOf(ledger, tenant, actor),
    named: (tenant, entries) => named(parts, tenant, entries),
  };
  return {
    getChangeSetHistory: ({ caller, input }) => changeSetHistory(parts, caller, input),
    listAudit: ({ caller, input }) => listAudit(parts, caller, input),
    tailAudit: ({ caller, input, recheck }) => tailAudit(parts, caller, input, recheck),
    reportAudit: ({ caller, input }) => reportAudit(parts, caller, input),
    exportAudit: ({ caller, input }) => exportAudit(evidence, caller, input),
    proveEntry: ({ caller, input }) => proveEntry(evidence, caller, input),
    getAuditPolicy: ({ caller, input }) => auditPolicy(evidence, caller, input),
    getCheckpoint: ({ caller }) => checkpoint(parts, caller),
    getPublishing: ({ caller }) => standing(parts, caller),
    listLogKeys: () => logKeys(parts),
    verifyChain: ({ caller, input }) => verifyChain(parts, caller, input),
    getVerification: ({ caller, input }) => getVerification(parts, caller, input),
    listVerifications: ({ caller, input }) => listVerifications(parts, caller, input),
  } satisfies Partial<Handlers>;
}
