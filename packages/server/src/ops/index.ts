/** Operations of the server itself. */
export { type Check, checkReadiness, type Readiness } from "./health.js";
export { anchorStatus, type AnchorReport } from "./anchors.js";
export * from "./offline.js";
export {
  checkPeriod,
  quarterOf,
  report,
  type Line as ReportLine,
  reportChangeSetsMax,
  type ReportParts,
} from "./report.js";
