/** SQL of verification beside that of the chain. Every statement runs with `app.tenants` set, in one snapshot. */
import type { TenantId } from "@countersign/contract";
import { identifier, quotedUuid } from "../ledger/index.js";

export const tableExists = "select from pg_class where relnamespace = 'countersign'::regnamespace and relname = $1";

/** By entries_by_action. */
export const entriesOfActions = `select seq, content from countersign.entries
 where tenant_id = $1 and action = any ($2::text[]) and content is not null order by seq`;

/** Entries committed to a body that is not there. In canonical text `body` stands behind `at` or `counts` of the content itself. */
export function bodiesGone(tenant: TenantId): string {
  return `select e.seq from countersign.entries as e
  left join lateral (select x.entry_id from countersign.bodies as x where x.tenant_id = e.tenant_id and x.entry_id = e.entry_id offset 0) as b on true
 where e.tenant_id = ${quotedUuid(tenant)} and b.entry_id is null and e.content like '%,"body":{"commitment":"%'
   and e.content::jsonb #>> '{body,commitment}' is not null
 order by e.seq`;
}

/**
 * For every row the ledger knows its newest version, and every version that does not follow the one before: version, digest,
 * entry, whether it is the newest, the version before (0: none) and its entry (−1). `meta` was held against the content before.
 * The window uses the sort that finding the newest needs anyway.
 */
export function rowHistories(tenant: TenantId): string {
  return `select h.name, h.id, h.version, h.digest, h.seq, (case when h.next is null then 1 else 0 end)::bigint, h.before, h.before_seq
  from (
    select s.*, lead(s.version) over history as next,
           coalesce(lag(s.version) over history, 0) as before, coalesce(lag(s.seq) over history, -1) as before_seq
      from (
        select (w ->> 0) collate "C" as name, (w ->> 1) collate "C" as id, (w ->> 2)::bigint as version, w ->> 3 as digest, seq
          from countersign.entries cross join lateral jsonb_array_elements(meta -> 'state') as w
         where tenant_id = ${quotedUuid(tenant)} and meta -> 'state' <> '[]'
      ) as s
    window history as (partition by s.name, s.id order by s.version, s.seq)
  ) as h
 where h.next is null or h.version <> h.before + 1 or h.seq <= h.before_seq
 order by h.name, h.id, h.version, h.seq`;
}

/** By entries_by_action. `action` is one of ours. */
export function contentsOfAction(tenant: TenantId, action: string): string {
  if (!/^[a-z_]+\.[a-z_]+$/.test(action)) throw new Error(`not an action: ${action}`);
  return `select seq, content from countersign.entries
 where tenant_id = ${quotedUuid(tenant)} and action = '${action}' and content is not null order by seq`;
}

export function checkpointRows(tenant: TenantId): string {
  return `select incarnation::bigint, size, root, note from countersign.checkpoints
 where tenant_id = ${quotedUuid(tenant)} order by incarnation, size`;
}

/** Tiles of which a million entries have sixteen. */
export const upperTiles =
  "select level, index, hashes from countersign.tiles where tenant_id = $1 and level > 0 order by level, index";

/** How many leaf tiles may be stored: beyond them there is nothing to compare. By tiles_pkey. */
export const storedLeafTiles =
  "select coalesce(max(index) + 1, 0) as count from countersign.tiles where tenant_id = $1 and level = 0";

/** The first `count` leaf tiles: number, hashes of their entries, and whether the stored one, if there is one, has these (1, 0). */
export function tilesOfEntries(tenant: TenantId, count: number): string {
  if (!Number.isSafeInteger(count)) throw new Error(`not a number of tiles: ${count}`);
  return `select i.index, made.hashes, (case when t.hashes is null or t.hashes = made.hashes then 1 else 0 end)::bigint
  from generate_series(0, ${count - 1}::bigint) as i (index)
 cross join lateral (
    select string_agg(e.hash, ''::bytea order by e.seq) as hashes from countersign.entries as e
     where e.tenant_id = ${quotedUuid(tenant)} and e.seq >= i.index * 256 and e.seq < (i.index + 1) * 256
  ) as made
  left join countersign.tiles as t on t.tenant_id = ${quotedUuid(tenant)} and t.level = 0 and t.index = i.index
 order by i.index`;
}

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

/** commit_group as it is, and as the catalogue says that it should be. */
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

/** Entries whose columns are not what their content makes. The database compares: it parses ten times as fast as we do. */
export const metaMismatches = `select seq,
       jsonb_build_array(c.doc - '{v,nonce,at,data,body}'::text[], c.doc ->> 'action', c.doc #>> '{actor,id}', c.doc #>> '{subject,id}')::text as expected,
       jsonb_build_array(meta, action, actor_id, subject_id)::text as actual
  from countersign.entries cross join lateral (select content::jsonb as doc offset 0) as c
 where tenant_id = $1 and (meta is distinct from (c.doc - '{v,nonce,at,data,body}'::text[]) or action is distinct from c.doc ->> 'action'
    or actor_id is distinct from c.doc #>> '{actor,id}' or subject_id is distinct from c.doc #>> '{subject,id}')
 order by seq limit $2`;

/**
 * What the entries say was used, and for those that were pruned what the entry of the pruning says. Between that entry and the
 * pruning itself, which may have been stopped, both are there: what is not gone is not counted twice.
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
  from countersign.${identifier(table)} as t where t.tenant_id = ${quotedUuid(tenant)} order by t.id::text collate "C"`;
}
