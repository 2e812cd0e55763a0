/** Jobs: what recurs for every tenant, durable, over any number of processes. */
export type { Failing, Ran } from "./job.js";
export { type Jobs, openJobs, type SchedulerOptions } from "./scheduler.js";
