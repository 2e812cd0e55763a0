/** Operations of the server itself. */
export { type Check, checkReadiness, type Readiness } from "./health.js";
export { anchorStatus, type AnchorReport } from "./anchors.js";
export { openMetrics, type Metrics, type MetricsOptions } from "./metrics.js";
export * from "./offline.js";
export * from "./publishing.js";
export { openSelfChecks, type SelfCheckOptions, type SelfChecks } from "./selfCheck.js";
export { verifyView } from "../verification/index.js";
