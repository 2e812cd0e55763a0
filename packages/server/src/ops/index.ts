/** Operations of the server itself. */
export { type Check, checkReadiness, type Readiness } from "./health.js";
export * from "./offline.js";
