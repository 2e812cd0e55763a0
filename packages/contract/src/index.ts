export * from "./errors.js";
export * from "./ids.js";
export * from "./items.js";
export * from "./lifecycle.js";
export * from "./limits.js";
