/** Operations of whoever runs a deployment: what works without a running server. */
export * from "./offline.js";
