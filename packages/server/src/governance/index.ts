/**
 * Governance decides category, risk, policy, approval routes, the kill-switch, and who may roll back. Its decisions are
 * over values; configuration and the kill-switch are the only things it reads. It writes nothing: it returns changes.
 */
export { type AgentHistory, assessRisk, noHistory, type RiskInput, type RiskItem, riskHigher } from "./risk.rules.js";
export {
  type ApprovalContext,
  approvedUntilMs,
  type AuthorFacts,
  type CastVote,
  checkPriority,
  checkSatisfiable,
  checkVote,
  deadlineMs,
  excludedVoters,
  makeRoute,
  type RouteInput,
  selfApprovedLabel,
  tally,
  undoUntilMs,
  type VoteAttempt,
  type Voter,
} from "./approvals.rules.js";
export { categoryOfTarget, deriveCategory, type DerivedCategory } from "./category.rules.js";
export {
  checkConfiguration,
  type Configuration,
  type ConfigurationDocumentRow,
  type ConfigurationSource,
  effectiveConfiguration,
  isConfigurationName,
  loadConfiguration,
  parseConfiguration,
  type ParsedConfiguration,
} from "./config.js";
export {
  checkKill,
  holdMinutes,
  type KillCommand,
  killEpoch,
  killInForce,
  type KillLoaded,
  type KillResult,
  type KillRow,
  releaseVotesRequired,
} from "./kill.rules.js";
export {
  checkLimits,
  holdGuard,
  type LimitedCommand,
  limitGuards,
  type LimitQuestion,
  limitRefusal,
} from "./limits.rules.js";
export {
  matchesParts,
  matchesTarget,
  parsePattern,
  type Pattern,
  type PatternError,
  type PatternUse,
} from "./patterns.rules.js";
export {
  decidePolicy,
  decideRead,
  policyOutcome,
  type PolicyItem,
  type PolicyPrincipal,
  policyRefusal,
  type PolicyRequest,
  policySet,
  type PolicySet,
} from "./policy.rules.js";
export { configurationRows, loadKill } from "./queries.js";
export { permissionsOf } from "./roles.rules.js";
export { mayRollBack, type RollbackAuthority, type RollbackQuestion } from "./rollback.rules.js";
export { escapeName, startingBindings, startingConfiguration, type StartingDocument } from "./starting.js";
export { checkFreeze, type FreezeQuestion } from "./windows.rules.js";
export type {
  ApprovalRoute,
  ApprovalRoute as Route,
  PolicyDecision,
  RiskAssessment,
  RouteStage,
  RouteTally,
} from "@countersign/contract";
export { engageKill, releaseKill } from "./kill.js";
export { governanceHandlers } from "./operations.js";
export { eraseSubject } from "./erase.js";
