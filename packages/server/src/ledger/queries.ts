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
export function firstSeqAt(tenant: TenantId, timeMs: number): Query {
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

/** By entries_pkey. */
export const headOf = `select seq, encode(hash, 'hex') as hash, time_ms from countersign.entries
 where tenant_id = $1 and seq <= $2::bigint order by seq desc limit 1`;

/**
 * How the ledger is defined: its tables and the functions that write, read or guard it. Left out is what differs between
 * versions of PostgreSQL or installations without meaning: names of owners, not-null constraints (PostgreSQL 18 keeps them
 * among the others; they are in the columns), storage of generated expressions.
 */
export const ledgerDefinitions = `
with ours as (
  select c.oid, c.relname::text as name from pg_class c
   where c.relnamespace = 'countersign'::regnamespace and c.relname in ('entries', 'bodies', 'tenant_locks', 'counters', 'epochs', 'checkpoints', 'tiles', 'anchor_receipts', 'subject_keys')
)
select 'table ' || c.relname as name,
       format('kind %s, row security %s, forced %s, owner is ledger %s', c.relkind, c.relrowsecurity, c.relforcerowsecurity,
              pg_get_userbyid(c.relowner) = 'countersign_ledger') as definition
  from pg_class c join ours on ours.oid = c.oid
union all
select 'column ' || ours.name || '.' || a.attname,
       format('%s %s, not null %s, generated %s %s, default %s', a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull, a.attgenerated,
              pg_get_expr(d.adbin, d.adrelid), d.adbin is not null)
  from ours join pg_attribute a on a.attrelid = ours.oid and a.attnum > 0 and not a.attisdropped
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
union all
select 'constraint ' || ours.name || '.' || k.conname, format('%s, validated %s, deferrable %s', pg_get_constraintdef(k.oid), k.convalidated, k.condeferrable)
  from ours join pg_constraint k on k.conrelid = ours.oid where k.contype <> 'n'
union all
select 'index ' || ours.name || '.' || ic.relname,
       format('%s, valid %s, unique %s', regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE (UNIQUE )?INDEX .* USING ', ''), i.indisvalid and i.indisready, i.indisunique)
  from ours join pg_index i on i.indrelid = ours.oid join pg_class ic on ic.oid = i.indexrelid
union all
select 'trigger ' || ours.name || '.' || t.tgname, format('%s, enabled %s', pg_get_triggerdef(t.oid), t.tgenabled)
  from ours join pg_trigger t on t.tgrelid = ours.oid where not t.tgisinternal
union all
select 'policy ' || ours.name || '.' || p.polname,
       format('permissive %s, for %s, to %s, using %s, check %s', p.polpermissive, p.polcmd, p.polroles::text, pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
  from ours join pg_policy p on p.polrelid = ours.oid
union all
select 'rule ' || ours.name || '.' || r.rulename, pg_get_ruledef(r.oid)
  from ours join pg_rewrite r on r.ev_class = ours.oid
union all
select 'grant ' || ours.name || ' ' || coalesce(nullif(g.grantee, 0)::regrole::text, 'public') || ' ' || g.privilege_type, 'given'
  from ours join pg_class c on c.oid = ours.oid cross join lateral aclexplode(c.relacl) as g
 where g.grantee <> c.relowner
union all
select 'function ' || f.proname || '(' || pg_get_function_identity_arguments(f.oid) || ')',
       format('%s, returns %s, %s, security definer %s, %s, owner is ledger %s', l.lanname, pg_get_function_result(f.oid), f.provolatile, f.prosecdef,
              array_to_string(f.proconfig, ', '), pg_get_userbyid(f.proowner) = 'countersign_ledger') || E'\\n' || f.prosrc
  from pg_proc f join pg_language l on l.oid = f.prolang
 where f.pronamespace = 'countersign'::regnamespace and f.proname <> 'commit_group'
order by 1`;

/** The present commit_group, and the one that the catalogue demands. */
export const doorDefinition = `select (select f.prosrc from pg_proc f where f.pronamespace = 'countersign'::regnamespace and f.proname = 'commit_group') as there,
  countersign.door_source() as due`;

export const governedDefinitions = `select c.relname::text as name,
       format('%s, row security %s, policies %s, %s triggers, %s rules',
              case c.relkind when 'r' then 'table' else c.relkind::text end,
              case when c.relrowsecurity and c.relforcerowsecurity then 'forced' else 'not forced' end,
              coalesce((select string_agg(p.polname, ' ' order by p.polname) from pg_policy p where p.polrelid = c.oid), 'none'),
              coalesce(nullif((select count(*) from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal), 0)::text, 'no'),
              coalesce(nullif((select count(*) from pg_rewrite r where r.ev_class = c.oid), 0)::text, 'no')) as definition
  from pg_class c where c.relnamespace = 'countersign'::regnamespace and c.relname = any ($1::text[])`;

export const governedTables = `select c.relname::text as name from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'row_salt' and not a.attisdropped
 where c.relnamespace = 'countersign'::regnamespace and c.relkind in ('r', 'p')`;

/** Entries whose columns differ from their content. The database compares: it parses ten times as fast as we do. */
export const metaMismatches = `select seq,
       jsonb_build_array(c.doc - '{v,nonce,at,data,body}'::text[], c.doc ->> 'action', c.doc #>> '{actor,id}', c.doc #>> '{subject,id}')::text as expected,
       jsonb_build_array(meta, action, actor_id, subject_id)::text as actual
  from countersign.entries cross join lateral (select content::jsonb as doc offset 0) as c
 where tenant_id = $1 and (meta is distinct from (c.doc - '{v,nonce,at,data,body}'::text[]) or action is distinct from c.doc ->> 'action'
    or actor_id is distinct from c.doc #>> '{actor,id}' or subject_id is distinct from c.doc #>> '{subject,id}')
 order by seq limit $2`;

/**
 * The counter uses recorded by entries, and for pruned entries the sums in the pruning's entry. Between that entry and
 * the pruning itself, which may have been stopped, both are there. Contents that are still there are not counted twice.
 */
export const counterSums = `
with pruned as (
  select e.content::jsonb -> 'data' as said from countersign.entries as e where e.tenant_id = $1 and e.action = 'ledger.pruned'
), done as (
  select said -> 'counts' as counts from pruned
   where (select count(*) from countersign.entries as e
           where e.tenant_id = $1 and e.seq < (said ->> 'upTo')::bigint and e.content is not null) <= (said ->> 'kept')::bigint
), used as (
  select u from countersign.entries cross join lateral jsonb_array_elements(meta -> 'counts') as u where tenant_id = $1 and meta ? 'counts'
  union all
  select u from done cross join lateral jsonb_array_elements(counts) as u
)
select u ->> 0 as key, sum((u ->> 1)::bigint)::text as value from used group by 1`;

export const counterValues = "select key, value::text from countersign.counters where tenant_id = $1";

export function rowStates(tenant: TenantId, table: string): string {
  return `select t.id::text, t.version::bigint, t.row_salt, (to_jsonb(t) - 'row_salt')::text
  from countersign.${identifier(table)} as t where t.tenant_id = '${uuid(tenant)}' order by t.id::text collate "C"`;
}
