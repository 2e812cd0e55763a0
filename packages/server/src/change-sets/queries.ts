/** All SQL of change_sets, revisions, items, item_targets, votes, applications, application_items, target_holds, backups and their lease. */
import type { ListSort } from "./lists.rules.js";
import type { TenantId } from "@countersign/contract";
import type { Query, Snapshot } from "../ledger/index.js";
import type { Storage } from "../storage/index.js";
import type {
  ApplicationItemRow,
  ApplicationRow,
  BackupRow,
  ChangeSetRow,
  HoldRow,
  ItemRow,
  ItemTargetRow,
  RevisionRow,
  VoteRow,
  Whole,
} from "./rows.js";
import { openStatuses } from "@countersign/contract";

const wholeColumns = `
  to_jsonb(c) - 'row_salt' - 'tenant_id' as "changeSet",
  (select to_jsonb(r) - 'row_salt' - 'tenant_id' from countersign.revisions r
    where r.tenant_id = c.tenant_id and r.id = c.revision_id) as revision,
  (select coalesce(jsonb_agg(to_jsonb(i) - 'row_salt' - 'tenant_id' order by i.sequence), '[]') from countersign.items i
    where i.tenant_id = c.tenant_id and i.revision_id = c.revision_id) as items,
  (select coalesce(jsonb_agg(to_jsonb(v) - 'row_salt' - 'tenant_id' order by v.at_ms, v.id), '[]') from countersign.votes v
    where v.tenant_id = c.tenant_id and v.change_set_id = c.id) as votes,
  (select to_jsonb(a) - 'row_salt' - 'tenant_id' from countersign.applications a
    where a.tenant_id = c.tenant_id and a.id = c.application_id) as application,
  (select coalesce(jsonb_agg(to_jsonb(s) - 'row_salt' - 'tenant_id' order by s.sequence), '[]') from countersign.application_items s
    where s.tenant_id = c.tenant_id and s.application_id = c.application_id) as "applicationItems"`;

/** By id (primary key) or number (change_sets_by_number). */
export async function readWhole(snapshot: Snapshot, ref: string): Promise<Whole | undefined> {
  const byNumber = ref.startsWith("CS-");
  const rows = await snapshot.query<Whole>({
    name: byNumber ? "change_set_by_number" : "change_set_by_id",
    text: `select ${wholeColumns} from countersign.change_sets c where c.tenant_id = $1 and ${byNumber ? "c.number = $2" : "c.id = $2"}`,
    values: [snapshot.tenant, ref],
  });
  return rows[0];
}

/** Rows of change-sets by ids or numbers, in no order. */
export async function readByRefs(snapshot: Snapshot, refs: readonly string[]): Promise<ChangeSetRow[]> {
  if (refs.length === 0) return [];
  const numbers = refs.filter((ref) => ref.startsWith("CS-"));
  const ids = refs.filter((ref) => !ref.startsWith("CS-"));
  const rows = await snapshot.query<{ row: ChangeSetRow }>({
    name: "change_sets_by_refs",
    text: `select to_jsonb(c) - 'row_salt' - 'tenant_id' as row from countersign.change_sets c
           where c.tenant_id = $1 and (c.id = any($2::uuid[]) or c.number = any($3::text[]))`,
    values: [snapshot.tenant, ids, numbers],
  });
  return rows.map((r) => r.row);
}

/** Whether a number is taken. Served by change_sets_by_number. */
export async function numberTaken(snapshot: Snapshot, number: string): Promise<boolean> {
  const rows = await snapshot.query<{ id: string }>({
    name: "change_set_number_taken",
    text: `select c.id from countersign.change_sets c where c.tenant_id = $1 and c.number = $2`,
    values: [snapshot.tenant, number],
  });
  return rows.length > 0;
}

/** The highest running number of a day, 0 when there is none. Reads the tenant's change-sets: asked only when a series was lost. */
export async function highestNumber(snapshot: Snapshot, day: string): Promise<number> {
  const rows = await snapshot.query<{ highest: number | null }>({
    name: "change_set_highest_number",
    text: `select max(substring(c.number from 14)::integer) as highest from countersign.change_sets c
           where c.tenant_id = $1 and left(c.number, 13) = $2`,
    values: [snapshot.tenant, day],
  });
  return rows[0]?.highest ?? 0;
}

export interface AuthorHistory {
  readonly appliedEver: number;
  readonly applied: number;
  readonly rolledBack: number;
  readonly rejected: number;
  readonly failed: number;
}

/** Outcomes of the author's last 50 finished change-sets. Served by change_sets_finished and change_sets_ever_applied. */
export async function readAuthorHistory(snapshot: Snapshot, authorId: string): Promise<AuthorHistory> {
  const rows = await snapshot.query<AuthorHistory>({
    name: "author_history",
    text: `with recent as (
             select status, status_reason from countersign.change_sets
             where tenant_id = $1 and author_id = $2
               and status in ('APPLIED', 'ARCHIVED', 'ROLLED_BACK', 'REJECTED', 'PARTIALLY_APPLIED')
             order by created_at_ms desc, id desc limit 50)
           select
             (select count(*)::int from (select 1 from countersign.change_sets
                where tenant_id = $1 and author_id = $2 and applied_at_ms is not null limit 1000) x) as "appliedEver",
             (select count(*)::int from recent where status in ('APPLIED', 'ARCHIVED')) as applied,
             (select count(*)::int from recent where status = 'ROLLED_BACK') as "rolledBack",
             (select count(*)::int from recent where status = 'REJECTED' and status_reason in ('vote', 'policy_denied')) as rejected,
             (select count(*)::int from recent where status = 'PARTIALLY_APPLIED'
                or (status = 'REJECTED' and status_reason = 'apply_failed')) as failed`,
    values: [snapshot.tenant, authorId],
  });
  return rows[0] ?? { appliedEver: 0, applied: 0, rolledBack: 0, rejected: 0, failed: 0 };
}

export interface Overlap {
  readonly id: string;
  readonly number: string;
  readonly title: string;
  readonly status: ChangeSetRow["status"];
  readonly applied_at_ms: number | null;
  readonly target: string;
}

/** Other change-sets, in the given statuses, whose present revision touches one of the targets. Served by the indexes of `targetKeyPlaces`. */
export async function readOverlaps(
  snapshot: Snapshot,
  of: { changeSetId: string; keys: readonly string[]; statuses: readonly string[] },
): Promise<Overlap[]> {
  if (of.keys.length === 0) return [];
  return snapshot.query<Overlap>({
    name: "change_sets_on_targets",
    // From the targets to the change-sets, whatever the planner knows of the tables: a fresh one has no statistics, and from
    // the change-sets to the targets all of the tenant's are read. The lists come as `(select …)`, so that their lengths are no
    // reason to plan every call anew: planning took 0.35 ms of the database, running takes a fifth of that.
    text: `with touching as materialized (
             ${targetKeyPlaces.map(touchingBy).join(" union all ")})
           select distinct on (c.id) c.id, c.number, c.title, c.status, c.applied_at_ms, touching.target_id as target
             from touching
            cross join lateral (select x.id, x.revision_id, x.number, x.title, x.status, x.applied_at_ms from countersign.change_sets x
              where x.tenant_id = $1 and x.id = touching.change_set_id offset 0) as c
            where c.revision_id = touching.revision_id and c.id <> $3 and c.status = any((select $4::text[])::text[])
            order by c.id limit 200`,
    values: [snapshot.tenant, of.keys, of.changeSetId, of.statuses],
  });
}

/** Where keys of targets stand: the one an item is about, each further one, and the second of items from before `item_targets`. */
export const targetKeyPlaces = [
  { table: "items", column: "target_key" },
  { table: "item_targets", column: "target_key" },
  { table: "items", column: "other_target_key" },
] as const;
export type TargetKeyPlace = (typeof targetKeyPlaces)[number];

function touchingBy({ table, column }: TargetKeyPlace): string {
  return `select i.change_set_id, i.revision_id, i.target_id
               from unnest((select $2::text[])) as k (key)
              cross join lateral (select x.change_set_id, x.revision_id, x.target_id from countersign.${table} x
                where x.tenant_id = $1 and x.${column} = k.key offset 0) as i`;
}

/**
 * Keys of the targets that items touch, each once, in the index's order, after `after`: from key to key by the index of the place, so
 * it costs what there are targets, not what there are items.
 */
export async function readTargetKeys(
  snapshot: Snapshot,
  { table, column }: TargetKeyPlace,
  after: string | null,
  limit: number,
): Promise<string[]> {
  const rows = await snapshot.query<{ key: string }>({
    name: `${table}_${column}s${after === null ? "" : "_after"}`,
    text: `with recursive keys(key) as (
             (select i.${column} from countersign.${table} i
               where i.tenant_id = $1 and i.${column} is not null ${after === null ? "" : `and i.${column} > $3`}
               order by i.${column} limit 1)
             union all
             select (select i.${column} from countersign.${table} i
                      where i.tenant_id = $1 and i.${column} > keys.key order by i.${column} limit 1)
               from keys where keys.key is not null)
           select key from keys where key is not null limit $2`,
    values: [snapshot.tenant, limit, ...(after === null ? [] : [after])],
  });
  return rows.map(({ key }) => key);
}

/** Change-sets of which any revision touches one of the targets, the oldest first. By the indexes of `targetKeyPlaces`. */
export async function readChangeSetsOn(snapshot: Snapshot, keys: readonly string[]): Promise<string[]> {
  if (keys.length === 0) return [];
  const rows = await snapshot.query<{ id: string }>({
    name: "change_sets_on_keys",
    text: `${targetKeyPlaces
      .map(
        ({ table, column }) =>
          `select i.change_set_id as id from countersign.${table} i where i.tenant_id = $1 and i.${column} = any($2::text[])`,
      )
      .join(" union ")} order by 1`,
    values: [snapshot.tenant, keys],
  });
  return rows.map(({ id }) => id);
}

export interface ListFilter {
  readonly status?: readonly string[] | undefined;
  readonly category?: readonly string[] | undefined;
  readonly authorId?: string | undefined;
  readonly tag?: string | undefined;
  readonly target?: string | undefined;
  readonly search?: string | undefined;
}

const sortColumns: Record<ListSort, string> = {
  created: "c.created_at_ms",
  updated: "c.updated_at_ms",
  risk: "coalesce(c.risk_score, -1)::bigint",
  deadline: "coalesce(c.deadline_at_ms, 9007199254740991)",
};

/** One page after `after` (the sort value and id of the last row before it). Sorted by creation, change_sets_by_creation serves it. */
export async function listChangeSets(
  snapshot: Snapshot,
  filter: ListFilter,
  page: { sort: ListSort; order: "asc" | "desc"; limit: number; after?: { value: number; id: string } | undefined },
): Promise<{ row: ChangeSetRow; value: number }[]> {
  const values: unknown[] = [snapshot.tenant];
  const conditions = ["c.tenant_id = $1"];
  const parameter = (value: unknown): string => `$${values.push(value)}`;
  if (filter.status) conditions.push(`c.status = any(${parameter(filter.status)}::text[])`);
  if (filter.category) conditions.push(`c.category = any(${parameter(filter.category)}::text[])`);
  if (filter.authorId) conditions.push(`c.author_id = ${parameter(filter.authorId)}::uuid`);
  if (filter.tag) conditions.push(`c.tags @> array[${parameter(filter.tag)}::text]`);
  if (filter.target) {
    const part = parameter(filter.target);
    const touches = ["items", "item_targets"].map(
      (table) => `exists (select 1 from countersign.${table} i where i.tenant_id = c.tenant_id
      and i.change_set_id = c.id and i.revision_id = c.revision_id and position(lower(${part}) in lower(i.target_id)) > 0)`,
    );
    conditions.push(`(${touches.join(" or ")})`);
  }
  if (filter.search) {
    const text = parameter(filter.search);
    conditions.push(`position(lower(${text}) in lower(c.title || ' ' || c.description || ' ' || c.number)) > 0`);
  }
  const column = sortColumns[page.sort];
  const down = page.order === "desc";
  if (page.after)
    conditions.push(
      `(${column}, c.id) ${down ? "<" : ">"} (${parameter(page.after.value)}::bigint, ${parameter(page.after.id)}::uuid)`,
    );
  const order = down ? "desc" : "asc";
  const query: Query = {
    // The text differs with the filter, so it is not prepared under one name.
    name: "",
    text: `select to_jsonb(c) - 'row_salt' - 'tenant_id' as row, ${column} as value from countersign.change_sets c
           where ${conditions.join(" and ")} order by ${column} ${order}, c.id ${order} limit ${parameter(page.limit)}`,
    values,
  };
  const rows = await snapshot.query<{ row: ChangeSetRow; value: number | string }>(query);
  return rows.map((r) => ({ row: r.row, value: Number(r.value) }));
}

export async function readWholes(snapshot: Snapshot, ids: readonly string[]): Promise<Whole[]> {
  if (ids.length === 0) return [];
  return snapshot.query<Whole>({
    name: "change_sets_whole_by_ids",
    text: `select ${wholeColumns} from countersign.change_sets c where c.tenant_id = $1 and c.id = any($2::uuid[])`,
    values: [snapshot.tenant, ids],
  });
}

export interface ApplicationWhole {
  readonly application: ApplicationRow;
  readonly items: readonly ApplicationItemRow[];
  readonly backups: number;
}

const applicationColumns = `
  to_jsonb(a) - 'row_salt' - 'tenant_id' as application,
  (select coalesce(jsonb_agg(to_jsonb(s) - 'row_salt' - 'tenant_id' order by s.sequence), '[]') from countersign.application_items s
    where s.tenant_id = a.tenant_id and s.application_id = a.id) as items,
  (select count(*)::int from countersign.backups b where b.tenant_id = a.tenant_id and b.application_id = a.id) as backups`;

export async function readApplications(snapshot: Snapshot, changeSetId: string): Promise<ApplicationWhole[]> {
  return snapshot.query<ApplicationWhole>({
    name: "applications_of_change_set",
    text: `select ${applicationColumns} from countersign.applications a
           where a.tenant_id = $1 and a.change_set_id = $2 order by a.started_at_ms, a.id`,
    values: [snapshot.tenant, changeSetId],
  });
}

export async function readApplication(snapshot: Snapshot, id: string): Promise<ApplicationWhole | undefined> {
  const rows = await snapshot.query<ApplicationWhole>({
    name: "application_by_id",
    text: `select ${applicationColumns} from countersign.applications a where a.tenant_id = $1 and a.id = $2`,
    values: [snapshot.tenant, id],
  });
  return rows[0];
}

/** Items of a revision in the order of execution. */
export async function readItems(snapshot: Snapshot, revisionId: string): Promise<ItemRow[]> {
  const rows = await snapshot.query<{ row: ItemRow }>({
    name: "items_of_revision",
    text: `select to_jsonb(i) - 'row_salt' - 'tenant_id' as row from countersign.items i
           where i.tenant_id = $1 and i.revision_id = $2 order by i.position`,
    values: [snapshot.tenant, revisionId],
  });
  return rows.map((r) => r.row);
}

export async function readHolds(snapshot: Snapshot, keys: readonly string[]): Promise<HoldRow[]> {
  if (keys.length === 0) return [];
  const rows = await snapshot.query<{ row: HoldRow }>({
    name: "target_holds_by_key",
    text: `select to_jsonb(h) - 'row_salt' - 'tenant_id' as row from countersign.target_holds h
           where h.tenant_id = $1 and h.id = any($2::text[])`,
    values: [snapshot.tenant, keys],
  });
  return rows.map((r) => r.row);
}

export async function readHoldsOf(snapshot: Snapshot, applicationId: string): Promise<HoldRow[]> {
  const rows = await snapshot.query<{ row: HoldRow }>({
    name: "target_holds_of_application",
    text: `select to_jsonb(h) - 'row_salt' - 'tenant_id' as row from countersign.target_holds h
           where h.tenant_id = $1 and h.application_id = $2`,
    values: [snapshot.tenant, applicationId],
  });
  return rows.map((r) => r.row);
}

export async function readBackups(snapshot: Snapshot, changeSetId: string): Promise<BackupRow[]> {
  const rows = await snapshot.query<{ row: BackupRow }>({
    name: "backups_of_change_set",
    text: `select to_jsonb(b) - 'row_salt' - 'tenant_id' as row from countersign.backups b
           where b.tenant_id = $1 and b.change_set_id = $2 and not b.released`,
    values: [snapshot.tenant, changeSetId],
  });
  return rows.map((r) => r.row);
}

/** After a restart: applications without an end. Served by applications_running. */
export async function readRunning(snapshot: Snapshot): Promise<string[]> {
  const rows = await snapshot.query<{ id: string }>({
    name: "applications_without_end",
    text: `select a.id from countersign.applications a where a.tenant_id = $1 and a.status = 'RUNNING' order by a.id`,
    values: [snapshot.tenant],
  });
  return rows.map((r) => r.id);
}

/** Which of the tenants have an application without an end. By applications_running, one probe a tenant. */
export function tenantsRunning(storage: Pick<Storage, "inTenants">, tenants: readonly TenantId[]): Promise<TenantId[]> {
  return tenantsWith(storage, tenants, {
    name: "tenants_with_applications_without_end",
    text: `select t.id from unnest($1::uuid[]) as t (id)
            where exists (select from countersign.applications a where a.tenant_id = t.id and a.status = 'RUNNING')`,
    values: [tenants],
  });
}

/** Which of the tenants have a change-set whose deadline passed. By change_sets_by_status: 200 tenants with 10,000 change-sets, 5 ms. */
export function tenantsOverdue(
  storage: Pick<Storage, "inTenants">,
  tenants: readonly TenantId[],
  nowMs: number,
): Promise<TenantId[]> {
  return tenantsWith(storage, tenants, {
    name: "tenants_with_change_sets_overdue",
    text: `select t.id from unnest($1::uuid[]) as t (id)
            where exists (select from countersign.change_sets c where c.tenant_id = t.id and ${overdueNow("$2")})`,
    values: [tenants, nowMs],
  });
}

const overdueNow = (now: string): string =>
  `((c.status = 'PENDING_APPROVAL' and c.deadline_at_ms < ${now}) or (c.status = 'APPROVED' and c.approved_until_ms < ${now}))`;

const overdueMax = 1_000;

/** Change-sets whose deadline passed, as `due` in expiry.rules.ts says it. By change_sets_by_status. */
export async function readOverdue(snapshot: Snapshot, nowMs: number): Promise<string[]> {
  const rows = await snapshot.query<{ id: string }>({
    name: "change_sets_overdue",
    text: `select c.id from countersign.change_sets c where c.tenant_id = $1 and ${overdueNow("$2")} order by c.id limit $3`,
    values: [snapshot.tenant, nowMs, overdueMax],
  });
  return rows.map((row) => row.id);
}

async function tenantsWith(
  storage: Pick<Storage, "inTenants">,
  tenants: readonly TenantId[],
  { name, text, values }: Query,
): Promise<TenantId[]> {
  const { rows } = await storage.inTenants(tenants, (client) =>
    client.query<{ id: TenantId }>({ name, text, values: [...values] }),
  );
  return rows.map((row) => row.id);
}

/** Every row of a change-set, of all revisions and runs. */
export interface Everything {
  readonly changeSet: ChangeSetRow;
  readonly revisions: readonly RevisionRow[];
  readonly items: readonly ItemRow[];
  readonly itemTargets: readonly ItemTargetRow[];
  readonly votes: readonly VoteRow[];
  readonly applications: readonly ApplicationRow[];
  readonly applicationItems: readonly ApplicationItemRow[];
  readonly backups: readonly BackupRow[];
}

/** For erasing it: seldom, so tables without an index by change-set are read through. */
export async function readEverything(snapshot: Snapshot, id: string): Promise<Everything | undefined> {
  const of = (table: string): string =>
    `(select coalesce(jsonb_agg(to_jsonb(t) - 'row_salt' - 'tenant_id' order by t.id), '[]') from countersign.${table} as t
        where t.tenant_id = c.tenant_id and t.change_set_id = c.id)`;
  const rows = await snapshot.query<Everything>({
    name: "change_set_everything",
    text: `select to_jsonb(c) - 'row_salt' - 'tenant_id' as "changeSet", ${of("revisions")} as revisions, ${of("items")} as items, ${of("item_targets")} as "itemTargets",
       ${of("votes")} as votes, ${of("applications")} as applications, ${of("application_items")} as "applicationItems", ${of("backups")} as backups
  from countersign.change_sets as c where c.tenant_id = $1 and c.id = $2`,
    values: [snapshot.tenant, id],
  });
  return rows[0];
}

/** Change-sets of an author (change_sets_by_author), and votes with a reason. */
export async function countAuthored(
  snapshot: Snapshot,
  principalId: string,
): Promise<{ readonly changeSets: number; readonly votes: number }> {
  const rows = await snapshot.query<{ changeSets: number; votes: number }>({
    name: "change_sets_authored",
    text: `select (select count(*)::int from countersign.change_sets c where c.tenant_id = $1 and c.author_id = $2 and c.erased_at_ms is null) as "changeSets",
       (select count(*)::int from countersign.votes v where v.tenant_id = $1 and v.voter_id = $2 and v.reason is not null) as votes`,
    values: [snapshot.tenant, principalId],
  });
  return rows[0] ?? { changeSets: 0, votes: 0 };
}

/** Change-sets somebody still has to do with: nothing of them is pruned. Served by change_sets_by_status. */
export async function readUnfinished(snapshot: Snapshot): Promise<string[]> {
  const rows = await snapshot.query<{ id: string }>({
    name: "change_sets_unfinished",
    text: `select c.id from countersign.change_sets c where c.tenant_id = $1
              and c.status = any($2::text[]) order by c.id`,
    values: [snapshot.tenant, openStatuses],
  });
  return rows.map((row) => row.id);
}

/**
 * Deletes the bytes that erased change-sets name and nobody else does. Not while anything is applied: a run puts a file's bytes
 * aside before the row that names them is there, and it began with a row that says it runs. Null: something runs.
 */
export const deleteErasedBlobs = `
with running as (select exists (select from countersign.applications where tenant_id = $1 and status = 'RUNNING') as yes),
erased as (select id from countersign.change_sets where tenant_id = $1 and erased_at_ms is not null),
named as (
  select b.digest from countersign.backups as b where b.tenant_id = $1 and b.change_set_id in (select id from erased)
  union
  select side ->> 'blob' from countersign.items as i cross join lateral jsonb_array_elements(i.effects) as effect
   cross join lateral (values (effect -> 'before'), (effect -> 'after')) as sides (side)
   where i.tenant_id = $1 and i.change_set_id in (select id from erased) and side ? 'blob'
), candidates as materialized (
  select n.digest from named as n join countersign.blobs as x on x.tenant_id = $1 and x.digest = n.digest
), unused as (
  select c.digest from candidates as c
   where not exists (select from countersign.backups as b where b.tenant_id = $1 and b.digest = c.digest and not b.released
                        and b.change_set_id not in (select id from erased))
     and not exists (select from countersign.items as i where i.tenant_id = $1 and i.change_set_id not in (select id from erased)
                        and position(c.digest in i.effects::text) > 0)
), gone as (
  delete from countersign.blobs as x using unused as u, running as r
   where x.tenant_id = $1 and x.digest = u.digest and not r.yes returning 1
)
select case when (select yes from running) and exists (select from unused) then null else (select count(*)::int from gone) end as gone`;

/** Every revision of change-sets that were not erased, in no order; by primary keys, items_by_revision and entries_by_subject. */
export const citedRevisions = {
  text: `select to_jsonb(c) - 'row_salt' - 'tenant_id' as "changeSet", to_jsonb(r) - 'row_salt' - 'tenant_id' as revision,
       (select coalesce(jsonb_agg(to_jsonb(i) - 'row_salt' - 'tenant_id' order by i.sequence), '[]') from countersign.items as i
         where i.tenant_id = r.tenant_id and i.revision_id = r.id) as items,
       (select coalesce(jsonb_agg(to_jsonb(v) - 'row_salt' - 'tenant_id' order by v.at_ms, v.id), '[]') from countersign.votes as v
         where v.tenant_id = r.tenant_id and v.change_set_id = c.id) as votes,
       (select coalesce(jsonb_agg(e.content::jsonb -> 'data' order by e.seq), '[]') from countersign.entries as e
         where e.tenant_id = r.tenant_id and e.subject_id = c.id::text and (e.action = 'change_set.vote_cast' or e.content is null)) as signed
  from countersign.revisions as r
  join countersign.change_sets as c on c.tenant_id = r.tenant_id and c.id = r.change_set_id
 where to_jsonb(c) ->> 'erased_at_ms' is null`,
  values: [],
} as const;
