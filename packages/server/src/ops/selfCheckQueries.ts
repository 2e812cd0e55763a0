/**
 * All SQL of self_checks. Rows are operational: a lost or forged row delays a check, and every day everything is
 * checked anew.
 */
import type { TenantId } from "@countersign/contract";
import type { Query } from "../ledger/index.js";

export interface CheckRow {
  readonly id: string;
  readonly kind: "incremental" | "full" | "requested";
  readonly started_ms: string;
  readonly finished_ms: string | null;
  readonly verdict: unknown;
}

const columns = "id, kind, started_ms, finished_ms, verdict";

/** One at a time over all processes; given back with the connection. The number is ours: "cs check". */
export const takeTurn = "select pg_try_advisory_lock(7161118117231) as taken";

export function insertCheck(
  tenant: TenantId,
  { id, kind, atMs, verdict }: { id: string; kind: string; atMs: number; verdict: object },
): Query {
  return {
    name: "countersign_insert_check",
    text: "insert into countersign.self_checks (tenant_id, id, kind, started_ms, from_seq, verdict) values ($1, $2, $3, $4, 0, $5)",
    values: [tenant, id, kind, atMs, JSON.stringify(verdict)],
  };
}

export function updateCheck(
  tenant: TenantId,
  id: string,
  { verdict, finishedMs, from, to }: { verdict: object; finishedMs?: number; from?: number; to?: number | null },
): Query {
  return {
    name: "countersign_update_check",
    text: `update countersign.self_checks set verdict = $3, finished_ms = coalesce($4, finished_ms), from_seq = coalesce($5, from_seq), to_seq = $6
 where tenant_id = $1 and id = $2`,
    values: [tenant, id, JSON.stringify(verdict), finishedMs ?? null, from ?? null, to ?? null],
  };
}

/** By self_checks_pkey. */
export function oneCheck(tenant: TenantId, id: string): Query {
  return {
    name: "countersign_one_check",
    text: `select ${columns} from countersign.self_checks where tenant_id = $1 and id = $2`,
    values: [tenant, id],
  };
}

/** Newest first: ids are ordered by time. By self_checks_pkey, backwards. */
export function newestChecks(tenant: TenantId, limit: number): Query {
  return {
    name: "countersign_newest_checks",
    text: `select ${columns} from countersign.self_checks where tenant_id = $1 order by id desc limit $2`,
    values: [tenant, limit],
  };
}

/**
 * The newest finished one of each kind; none that begins later than now, because it would put off every other check. By
 * self_checks_by_start.
 */
export function newestFinished(tenant: TenantId, nowMs: number): Query {
  return {
    name: "countersign_newest_finished",
    text: `select c.* from unnest(array['incremental', 'full', 'requested']) as k (kind)
 cross join lateral (
   select ${columns} from countersign.self_checks
    where tenant_id = $1 and kind = k.kind and finished_ms is not null and started_ms <= $2 and verdict ->> 'state' = 'done' order by started_ms desc limit 1
 ) as c`,
    values: [tenant, nowMs],
  };
}

/** Waiting checks, and checks left behind by a process that ended. */
export function openChecks(tenant: TenantId): Query {
  return {
    name: "countersign_open_checks",
    text: `select ${columns} from countersign.self_checks where tenant_id = $1 and finished_ms is null order by id`,
    values: [tenant],
  };
}

/** Which of the tenants have such. By self_checks_by_start. */
export function openChecksOf(tenants: readonly TenantId[]): Query {
  return {
    name: "countersign_tenants_with_open_checks",
    text: `select t.id as tenant from unnest($1::uuid[]) as t (id)
 where exists (select from countersign.self_checks as c where c.tenant_id = t.id and c.finished_ms is null)`,
    values: [tenants],
  };
}

/** Keeps the newest. */
export function forgetChecks(tenant: TenantId, kept: number): Query {
  return {
    name: "countersign_forget_checks",
    text: `delete from countersign.self_checks where tenant_id = $1 and finished_ms is not null
   and id < (select id from countersign.self_checks where tenant_id = $1 order by id desc offset $2 limit 1)`,
    values: [tenant, kept],
  };
}

/** The findings of earlier alerts. By entries_by_action. */
export function earlierAlerts(tenant: TenantId, limit: number): Query {
  return {
    name: "countersign_earlier_alerts",
    text: `select content::jsonb #> '{data,fingerprints}' as fingerprints from countersign.entries
 where tenant_id = $1 and action = 'ledger.alert_raised' and content is not null order by seq desc limit $2`,
    values: [tenant, limit],
  };
}
