/**
 * All SQL of job_states, and what we ask of graphile-worker's schema beyond what the library does itself: its functions and its
 * view `jobs`, which are its documented interface. Every statement on job_states runs with `app.tenants` set.
 */
import type { TenantId } from "@countersign/contract";
import type { Query } from "../ledger/index.js";
import { isHeld } from "../storage/index.js";

/** The schema of the queue; migration 8 makes it. */
export const queueSchema = "countersign_jobs";

export interface HandOver {
  readonly job: string;
  readonly purpose: string;
  /** The most urgent first. */
  readonly tenants: readonly TenantId[];
  readonly nowMs: number;
  /** A row that holds back beyond this was forged. */
  readonly latestMs: number;
  /** At once in the queue; null: any number. */
  readonly atOnce: number | null;
  /** Nothing holds back. */
  readonly regardless: boolean;
}

export interface HandedRow {
  readonly tenant: TenantId;
  /** The queue's, of the job. */
  readonly id: string;
  /** It was not in the queue. */
  readonly fresh: boolean;
}

/** Nothing of ours is put there for later: a row from the future, or for it, was forged; one of an hour ago was, or who took it hangs. */
const isBelieved = `coalesce(j.locked_at, j.created_at) between now() - interval '1 hour' and now() + interval '1 minute'
        and j.run_at <= now() + interval '1 minute'`;

/**
 * Puts what is due into the queue, once each: a key that waits or runs already stays as it is, unless its row is not to be believed. A kind of work is its flag, too. By job_states_pkey and jobs_key_key1.
 */
export function handOver(given: HandOver): Query {
  const { job, purpose, tenants, nowMs, latestMs, atOnce, regardless } = given;
  return {
    name: "countersign_jobs_hand_over",
    text: `with due as (
  select t.id, t.place from unnest($2::uuid[]) with ordinality as t (id, place)
   where $6 or not exists (
     select from countersign.job_states as s
      where s.tenant_id = t.id and s.job = $1 and s.next_ms > $3 and s.next_ms <= $4)
), chosen as (
  select due.id from due order by due.place
   limit case when $5::int is null then null
              else greatest(0, $5 - (select count(*) from countersign_jobs.jobs as j
                                      where j.task_identifier = $1 and j.key is not null and ${isBelieved})) end
)
select c.id as tenant, handed.id::text as id, handed.revision = 0 as fresh
  from chosen as c
 cross join lateral countersign_jobs.add_job(
   identifier => $1,
   payload => json_build_object('tenant', c.id, 'purpose', $7::text),
   max_attempts => 32767,
   job_key => $1 || ':' || c.id,
   flags => array[$1],
   job_key_mode => case when exists (
     select from countersign_jobs.jobs as j where j.key = $1 || ':' || c.id and not (${isBelieved}))
     then 'replace' else 'unsafe_dedupe' end) as handed`,
    values: [job, tenants, nowMs, latestMs, atOnce, regardless, purpose],
  };
}

/** The name of the lock that a pool holds for as long as it may have jobs. */
export function lifeOf(pool: string): string {
  return `job queue ${pool}`;
}

/**
 * Takes back what dead pools hold, and says so to hands that rest: a pool that lives holds the lock of its name. What was replaced while
 * somebody had it, and has nobody any more, goes too.
 */
export const releaseTheDead = `with dead as (
  select array_agg(distinct j.locked_by) as pools from countersign_jobs.jobs as j
   where j.locked_by is not null and not ${isHeld(`('${lifeOf("")}' || j.locked_by)`)}
), unlocked as (
  select countersign_jobs.force_unlock_workers(pools), pg_notify('jobs:insert', '{"count":8}') from dead where pools is not null
)
select (select count(*) from unlocked) as unlocked,
       (select count(*) from countersign_jobs.complete_jobs(array(
          select j.id from countersign_jobs.jobs as j where j.key is null and j.locked_by is null and j.attempts >= j.max_attempts))) as left`;

export interface StateRow {
  readonly tenant: TenantId;
  readonly job: string;
  readonly failures: number;
  readonly since_ms: string;
}

/** By job_states_pkey. */
export function readState(tenant: TenantId, job: string): Query {
  return {
    name: "countersign_job_state",
    text: `select tenant_id as tenant, job, failures, since_ms from countersign.job_states where tenant_id = $1 and job = $2`,
    values: [tenant, job],
  };
}

export function holdBack(
  tenant: TenantId,
  job: string,
  state: {
    readonly nextMs: number;
    readonly failures: number;
    readonly sinceMs: number | null;
    readonly error: string | null;
  },
): Query {
  return {
    name: "countersign_job_hold_back",
    text: `insert into countersign.job_states as s (tenant_id, job, next_ms, failures, since_ms, error) values ($1, $2, $3, $4, $5, $6)
 on conflict (tenant_id, job) do update
    set next_ms = excluded.next_ms, failures = excluded.failures, since_ms = excluded.since_ms, error = excluded.error`,
    values: [tenant, job, state.nextMs, state.failures, state.sinceMs, state.error],
  };
}

export function forgetState(tenant: TenantId, job: string): Query {
  return {
    name: "countersign_job_forget",
    text: "delete from countersign.job_states where tenant_id = $1 and job = $2",
    values: [tenant, job],
  };
}

/** Of all tenants set and the jobs there are (one that was removed leaves its rows): few, those that pause or fail. */
export function failingStates(jobs: readonly string[]): Query {
  return {
    name: "countersign_jobs_failing",
    text: `select tenant_id as tenant, job, failures, since_ms from countersign.job_states
 where failures > 0 and job = any($1::text[]) order by since_ms limit 1000`,
    values: [jobs],
  };
}

export function waitingJobs(jobs: readonly string[]): Query {
  return {
    name: "countersign_jobs_waiting",
    text: `select task_identifier as job, count(*)::int as waiting from countersign_jobs.jobs
 where key is not null and task_identifier = any($1::text[]) group by 1`,
    values: [jobs],
  };
}
