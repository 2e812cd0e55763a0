/** Operations of the server itself. */
export { type Check, checkReadiness, type Readiness } from "./health.js";
export { anchorStatus, type AnchorReport } from "./anchors.js";
export { openMetrics, type Metrics, type MetricsOptions } from "./metrics.js";
export * from "./offline.js";
export * from "./publishing.js";
export { openSelfChecks, type SelfCheckOptions, type SelfChecks } from "./selfCheck.js";
export { verifyView } from "./verifyView.js";
export { checkPeriod, quarterOf, report, type Line as ReportLine, type ReportParts } from "./report.js";
export { erase, type Eraser, type ErasureDesk, finishAll, previewErasure, resolveSubject } from "./erasure.js";
export {
  archives,
  finishTenant,
  hold,
  holds,
  previewPruning,
  prune,
  release,
  type RetentionDesk,
  retentionJob,
  verifyArchive,
} from "./retention.js";
