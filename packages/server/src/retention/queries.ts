/** All SQL of retention: keys of subjects, legal holds, and the entries of erasures and prunings. */
import type { TenantId } from "@countersign/contract";
import type { Query } from "../ledger/index.js";

/** By entries_by_subject and bodies_pkey: entries about a subject whose bodies are there, and the last one about it. */
export function bodiesOfSubject(tenant: TenantId, subjectId: string): Query {
  return {
    name: "countersign_bodies_of_subject",
    text: `select (select max(e.seq) from countersign.entries as e where e.tenant_id = $1 and e.subject_id = $2) as last,
       (select max(e.seq) from countersign.entries as e where e.tenant_id = $1 and e.subject_id = $2 and e.action = 'subject.erased') as erased_by,
       (select count(*) from countersign.subject_keys as k where k.tenant_id = $1 and k.subject_id = $2) as keys,
       array(select e.seq
               from countersign.entries as e
               join countersign.bodies as b on b.tenant_id = e.tenant_id and b.entry_id = e.entry_id
              where e.tenant_id = $1 and e.subject_id = $2 and e.action is distinct from 'subject.erased'
                and not exists (
                  select from countersign.entries as x
                   where x.tenant_id = $1 and x.subject_id = $2 and x.action = 'subject.erased'
                     and x.content::jsonb #> '{data,seqs}' @> to_jsonb(e.seq))
              order by e.seq) as seqs`,
    values: [tenant, subjectId],
  };
}

/** Other entries that name the subject among their references: their own texts may quote it. By entries_pkey, all of them. */
export function entriesReferringTo(tenant: TenantId, subjectId: string): Query {
  return {
    name: "countersign_entries_referring_to",
    text: `select count(*) as count
  from countersign.entries as e
  join countersign.bodies as b on b.tenant_id = e.tenant_id and b.entry_id = e.entry_id
 where e.tenant_id = $1 and e.subject_id is distinct from $2
   and e.meta -> 'refs' <> '[]' and e.meta -> 'refs' @> jsonb_build_array(jsonb_build_object('id', $2::text))`,
    values: [tenant, subjectId],
  };
}

export const finishErasures = "select countersign.finish_erasures($1) as gone";

const holdColumns = `id, version, subject_type as "subjectType", subject_id as "subjectId", reason, status, placed_by as "placedBy", placed_at_ms as "placedAtMs",
       released_by as "releasedBy", released_at_ms as "releasedAtMs", release_reason as "releaseReason"`;

/** By legal_holds_in_force. */
export function holdsInForce(tenant: TenantId): Query {
  return {
    name: "countersign_holds_in_force",
    text: `select ${holdColumns} from countersign.legal_holds where tenant_id = $1 and status = 'HELD' order by id`,
    values: [tenant],
  };
}

/** By legal_holds_pkey, newest first. */
export function allHolds(tenant: TenantId, limit: number): Query {
  return {
    name: "countersign_holds",
    text: `select ${holdColumns} from countersign.legal_holds where tenant_id = $1 order by id desc limit $2`,
    values: [tenant, limit],
  };
}

export function holdById(tenant: TenantId, id: string): Query {
  return {
    name: "countersign_hold",
    text: `select ${holdColumns} from countersign.legal_holds where tenant_id = $1 and id = $2`,
    values: [tenant, id],
  };
}

/** By entries_by_action. Pruned entries are those before its end without content. */
export function prunings(tenant: TenantId): Query {
  return {
    name: "countersign_prunings",
    text: `select p.seq, p.entry_id, p.time_ms, p.content::jsonb -> 'data' as said,
       (select count(*) from countersign.entries as e
         where e.tenant_id = p.tenant_id and e.seq < (p.content::jsonb #>> '{data,upTo}')::bigint and e.content is not null) as there
  from countersign.entries as p
 where p.tenant_id = $1 and p.action = 'ledger.pruned'
 order by p.seq`,
    values: [tenant],
  };
}

export interface PrunedRow {
  readonly seq: string;
  readonly entry_id: string;
  readonly time_ms: string;
  readonly said: {
    readonly upTo: number;
    readonly from: number;
    readonly archive: string;
    readonly archiveEntries: number;
    readonly archiveBytes: number;
    readonly emptied: number;
    readonly kept: number;
    readonly part: number;
  };
  readonly there: string;
}

export interface PruningScope {
  readonly upTo: number;
  /** The last entry that was asked. */
  readonly head: number;
  /** Ids of subjects nothing of which goes. */
  readonly kept: readonly string[];
}

/** How many contents would go, and the counter uses in them. Reads every entry up to `head`. */
export function pruningSums(tenant: TenantId, { upTo, head, kept }: PruningScope): Query {
  return {
    name: "countersign_pruning_sums",
    text: `with gone as materialized (select seq from countersign.prunable_entries($1, $2, $3, $4::text[])), used as (
  select u from countersign.entries as e cross join lateral jsonb_array_elements(e.meta -> 'counts') as u
   where e.tenant_id = $1 and e.seq in (select seq from gone) and e.meta ? 'counts'
), sums as (select u ->> 0 as key, sum((u ->> 1)::bigint) as value from used group by 1)
select (select count(*) from gone) as emptied,
       (select count(*) from countersign.entries as e where e.tenant_id = $1 and e.seq < $2 and e.content is not null) as there,
       (select count(*) from countersign.entries as e join countersign.bodies as b on b.tenant_id = e.tenant_id and b.entry_id = e.entry_id
         where e.tenant_id = $1 and e.seq < $2 and not (coalesce(e.subject_id, '') = any ($4::text[]))) as bodies,
       (select coalesce(jsonb_agg(jsonb_build_array(key, value) order by key collate "C"), '[]') from sums) as counts`,
    values: [tenant, upTo, head, kept],
  };
}

export interface PruningSums {
  readonly emptied: string;
  readonly there: string;
  readonly bodies: string;
  readonly counts: readonly (readonly [string, number])[];
}

export const pruneEntries = "select countersign.prune_entries($1, $2) as gone";

/** The last sequence number. */
export function lastSeq(tenant: TenantId): Query {
  return {
    name: "countersign_last_seq",
    text: "select seq from countersign.entries where tenant_id = $1 order by seq desc limit 1",
    values: [tenant],
  };
}
