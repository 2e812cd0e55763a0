/** What is known of runs. */
import type { TenantId } from "@countersign/contract";

/** A run that ended. */
export interface Ran {
  readonly job: string;
  readonly tenant: TenantId;
  /** Undefined: well. */
  readonly error?: unknown;
}

/** A job that did not end well the last time, anywhere. */
export interface Failing {
  readonly job: string;
  readonly tenant: TenantId;
  readonly failures: number;
  readonly sinceMs: number;
}
