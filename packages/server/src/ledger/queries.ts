/**
 * All SQL of the ledger's tables: entries, bodies, tenant_locks, epochs, counters, number_series.
 * Every statement runs with `app.tenants` set; without it row-level security shows nothing.
 */
import type { TenantId } from "@countersign/contract";
import type { Query } from "./types.js";

/** The settings for the connection on which the door commits. */
export const doorSettings = [
  // A plan made for an empty table must not scan it when it has grown: every statement of the door goes by a key.
  "set enable_seqscan = off",
  "set enable_hashjoin = off",
  "set enable_mergejoin = off",
  "set jit = off",
  // Generic plans from the first call on: the door's statements have one good plan.
  "set plan_cache_mode = force_generic_plan",
  "set default_transaction_isolation = 'read committed'",
  // A group of 256 changes takes some 20 ms; one that takes this long is stuck.
  "set statement_timeout = '30s'",
  // How long a group waits for its tenants' locks; longer means somebody is stuck, and those tenants go apart.
  "set lock_timeout = '250ms'",
].join("; ");

/** One group, one call, one transaction. */
export const commitGroup = {
  name: "countersign_commit_group",
  text: `select countersign.commit_group($1::uuid[], $2::bigint, $3::integer, $4::integer, $5::integer, $6::text[], $7::jsonb[], $8::integer[], $9::integer[],
    $10::uuid[], $11::text[], $12::text[], $13::text[], $14::text[], $15::integer[], $16::bytea[], $17::bytea[]) as result`,
} as const;

/** Makes sure that a connection given up cannot commit any more; waits for its end. */
export const endConnection =
  "select pg_terminate_backend(pid, 5000) from pg_stat_activity where pid = $1 and application_name = $2";

export const setTenants = "select set_config('app.tenants', $1, true)";

/** Waits for commits in progress for these tenants. */
export const lockTenants =
  "select tenant_id from countersign.tenant_locks where tenant_id = any ($1::uuid[]) order by tenant_id for no key update";

/** By entries_entry_id_key. */
export const entriesById =
  "select tenant_id, seq, time_ms, entry_id, encode(hash, 'hex') as hash from countersign.entries where tenant_id = any ($1::uuid[]) and entry_id = any ($2::uuid[])";

/** Tables the door writes, with what `makeCatalogue` needs. */
export const readCatalogue = `
  select c.relname::text as name, obj_description(c.oid, 'pg_class') as class,
         (select json_agg(json_build_array(a.attname, format_type(a.atttypid, a.atttypmod)) order by a.attnum)
            from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
         (select json_agg(json_build_object('index', ic.relname, 'columns',
                   (select json_agg(a.attname) from pg_attribute a where a.attrelid = c.oid and a.attnum = any (i.indkey))) order by ic.relname)
            from pg_index i join pg_class ic on ic.oid = i.indexrelid
           where i.indrelid = c.oid and i.indisunique and i.indexprs is null) as keys,
         (select json_agg(distinct p.relname) from pg_constraint k join pg_class p on p.oid = k.confrelid
           where k.conrelid = c.oid and k.contype = 'f') as parents
    from pg_class c
   where c.relnamespace = 'countersign'::regnamespace and c.relkind = 'r' and obj_description(c.oid, 'pg_class') in ('governed', 'attached')
   order by c.relname`;

/** By epochs_pkey. */
export function epochValues(tenant: TenantId, names: readonly string[]): Query {
  return {
    name: "countersign_epochs",
    text: "select id, version from countersign.epochs where tenant_id = $1 and id = any ($2::text[])",
    values: [tenant, names],
  };
}

/** By counters_pkey. */
export function countersOf(tenant: TenantId, keys: readonly string[]): Query {
  return {
    name: "countersign_counters",
    text: "select key, value from countersign.counters where tenant_id = $1 and key = any ($2::text[])",
    values: [tenant, keys],
  };
}

/**
 * The next `$3` numbers of a series, the first not below `$4`: losing the row then costs only a search for existing
 * numbers.
 */
export const reserveNumbers = {
  name: "countersign_reserve_numbers",
  text: `insert into countersign.number_series as s (tenant_id, series, next) values ($1, $2, greatest($4::bigint, 1) + $3::bigint)
    on conflict (tenant_id, series) do update set next = greatest(s.next, $4::bigint) + $3::bigint
    returning next - $3::bigint as first`,
} as const;

export interface AuditFilter {
  readonly actorId?: string | undefined;
  readonly actions?: readonly string[] | undefined;
  readonly subjectId?: string | undefined;
  /** First and (exclusive) last sequence number. */
  readonly from?: number | undefined;
  readonly before?: number | undefined;
  readonly newest: boolean;
  readonly limit: number;
}

export interface AuditRow {
  readonly seq: string;
  readonly time_ms: string;
  readonly entry_id: string;
  readonly content: string | null;
  readonly hash: string;
  readonly sealed: Buffer | null;
  /** Of the subject, sealed itself. */
  readonly key: Buffer | null;
}

/**
 * By bodies_pkey and subject_keys_pkey, row by row. `offset 0` keeps the joins apart: together, and before the tables have
 * statistics, the planner compared all bodies with all keys for every entry (150 entries with bodies took minutes).
 */
const bodyWithKey = `
  left join lateral (select x.salt, x.sealed from countersign.bodies as x where x.tenant_id = e.tenant_id and x.entry_id = e.entry_id offset 0) as b on true
  left join lateral (select x.sealed from countersign.subject_keys as x where x.tenant_id = e.tenant_id and x.key_id = substring(b.sealed from 5 for 8) offset 0) as k on true`;

/** By entries_by_subject, entries_by_actor, entries_by_action or entries_pkey, each of which is in the order asked for. */
export function auditEntries(tenant: TenantId, filter: AuditFilter): Query {
  const values: unknown[] = [tenant, filter.limit];
  const conditions = ["e.tenant_id = $1"];
  let name = `countersign_audit${filter.newest ? "" : "_oldest"}`;
  const where = (what: string, value: unknown, condition: (parameter: string) => string): void => {
    if (value === undefined) return;
    values.push(value);
    conditions.push(condition(`$${values.length}`));
    name += `_${what}`;
  };
  where("subject", filter.subjectId, (p) => `e.subject_id = ${p}`);
  where("actor", filter.actorId, (p) => `e.actor_id = ${p}`);
  if (filter.actions?.length === 1) where("action", filter.actions[0], (p) => `e.action = ${p}`);
  else where("actions", filter.actions, (p) => `e.action = any (${p}::text[])`);
  where("from", filter.from, (p) => `e.seq >= ${p}`);
  where("before", filter.before, (p) => `e.seq < ${p}`);
  return {
    name,
    text: `select e.seq, e.time_ms, e.entry_id, e.content, encode(e.hash, 'hex') as hash, b.sealed, k.sealed as key
  from countersign.entries as e ${bodyWithKey}
 where ${conditions.join(" and ")}
 order by e.seq ${filter.newest ? "desc" : "asc"} limit $2`,
    values,
  };
}

/** The first entry not before a time, by bisection over entries_pkey: some twenty probes at a million entries. */
export function seqNotBefore(tenant: TenantId, timeMs: number): Query {
  return {
    name: "countersign_first_seq_at",
    text: `with recursive search (low, high) as (
  select 0::bigint, coalesce((select seq + 1 from countersign.entries where tenant_id = $1 order by seq desc limit 1), 0)
  union all
  select case when probe.time_ms < $2::bigint then probe.seq + 1 else low end,
         case when probe.time_ms < $2::bigint then high else (low + high) / 2 end
    from search
   cross join lateral (
     select seq, time_ms from countersign.entries where tenant_id = $1 and seq >= (low + high) / 2 order by seq limit 1
   ) as probe
   where low < high
)
select low as seq from search where low >= high limit 1`,
    values: [tenant, timeMs],
  };
}

/**
 * Subjects with an entry in a range. Among given ones by entries_by_subject, one probe each; else those of change-sets, over
 * the range by entries_pkey.
 */
export function subjectsBetween(
  tenant: TenantId,
  { among, from, to }: { readonly among?: readonly string[]; readonly from: number; readonly to: number },
): Query {
  if (among === undefined)
    return {
      name: "countersign_change_sets_between",
      text: `select distinct e.subject_id as id from countersign.entries as e
 where e.tenant_id = $1 and e.seq between $2 and $3 and e.subject_id is not null and e.meta #>> '{subject,type}' = 'change_set'
 order by 1`,
      values: [tenant, from, to],
    };
  return {
    name: "countersign_subjects_between",
    text: `select s.id from unnest($4::text[]) as s(id)
 where exists (select from countersign.entries as e where e.tenant_id = $1 and e.subject_id = s.id and e.seq between $2 and $3)
 order by 1`,
    values: [tenant, from, to, among],
  };
}

export interface SubjectRow {
  readonly seq: string;
  readonly time_ms: string;
  readonly prev: string;
  readonly content: string | null;
  readonly content_hash: string;
  readonly hash: string;
  readonly hash_before: string | null;
  readonly prev_after: string | null;
}

/** By entries_by_subject; the neighbours in the chain by entries_pkey. */
export function entriesOfSubject(tenant: TenantId, subjectId: string): Query {
  return {
    name: "countersign_entries_of_subject",
    text: `select e.seq, e.time_ms, encode(e.prev, 'hex') as prev, e.content, encode(e.content_hash, 'hex') as content_hash, encode(e.hash, 'hex') as hash,
       (select encode(b.hash, 'hex') from countersign.entries as b where b.tenant_id = e.tenant_id and b.seq = e.seq - 1) as hash_before,
       (select encode(a.prev, 'hex') from countersign.entries as a where a.tenant_id = e.tenant_id and a.seq = e.seq + 1) as prev_after
  from countersign.entries as e
 where e.tenant_id = $1 and e.subject_id = $2
 order by e.seq`,
    values: [tenant, subjectId],
  };
}

/** By the table's primary key. `table` is a name of the catalogue, never a caller's text. */
export function rowsById(
  tenant: TenantId,
  table: { readonly name: string; readonly idType: "uuid" | "text" },
  ids: readonly string[],
): Query {
  return {
    name: `countersign_rows_of_${table.name}`,
    text: `select t.id::text as id, t.version, t.row_salt, to_jsonb(t) - 'row_salt' as row
  from countersign.${identifier(table.name)} as t where t.tenant_id = $1 and t.id = any ($2::${table.idType}[])`,
    values: [tenant, ids],
  };
}

/** For `copy`, which takes no parameters: tenant and numbers are checked here. */
export function streamEntries(
  tenant: TenantId,
  range: { readonly from: number; readonly to?: number | undefined },
  bodies: boolean,
): string {
  const to = range.to === undefined ? "" : ` and e.seq <= ${safe(range.to)}`;
  const columns = "e.seq, e.time_ms, e.entry_id, e.prev, e.content, e.content_hash, e.hash";
  const from = bodies
    ? `${columns}, b.salt, b.sealed, k.sealed from countersign.entries as e ${bodyWithKey}`
    : `${columns} from countersign.entries as e`;
  return `select ${from} where e.tenant_id = '${uuid(tenant)}' and e.seq >= ${safe(range.from)}${to} order by e.seq`;
}

export function identifier(name: string): string {
  if (!/^[a-z_][a-z0-9_]{0,62}$/.test(name)) throw new Error(`not a name of ours: ${name}`);
  return name;
}

function safe(value: number): string {
  if (!Number.isSafeInteger(value)) throw new Error(`not a sequence number: ${value}`);
  return String(value);
}

/** For statements that take no parameters. */
export function quotedUuid(text: string): string {
  return `'${uuid(text)}'`;
}

function uuid(text: string): string {
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(text)) throw new Error(`not a tenant id: ${text}`);
  return text;
}
