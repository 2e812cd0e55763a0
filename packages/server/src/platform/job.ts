/** What recurs, as a module declares it: one job, which runs for each tenant by itself. */
import type { TenantId } from "@countersign/contract";

export interface Job {
  /** `recovery`: in keys, rows, metrics. What is called otherwise is another job. */
  readonly name: string;
  /** For people: what a run brings about. */
  readonly purpose: string;
  /** Between two looks of a process at what is due. */
  readonly lookMs: number;
  /**
   * The tenants that have something to do, the most urgent first: one question for all of them, answered by what is recorded
   * and not by the queue. Left out: all tenants, whenever nothing holds them back.
   */
  readonly due?: (tenants: readonly TenantId[]) => Promise<readonly TenantId[]>;
  /** After a run that ended well the tenant is held back for so long; 0. */
  readonly pauseMs?: number;
  /** How many tenants at once, over all processes; as many as there are hands for. */
  readonly atOnce?: number;
  /**
   * Does what is to be done for one tenant. It may be run twice, at once too, or for nothing: so it decides by what is recorded,
   * at the front door of whom it concerns. What it throws is told, and it is tried again later and later.
   */
  readonly run: (tenant: TenantId, signal: AbortSignal) => Promise<void>;
}
