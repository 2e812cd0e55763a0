/**
 * All SQL of the ledger's tables: entries, bodies, tenant_locks, epochs, counters, number_series.
 * Every statement runs with `app.tenants` set; without it row-level security shows nothing.
 */
import type { TenantId } from "@countersign/contract";
import type { Query } from "./types.js";

/** What a server process tells PostgreSQL when it opens the connection the door commits on. */
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
].join("; ");

/** One group, one call, one transaction. */
export const commitGroup = {
  name: "countersign_commit_group",
  text: `select countersign.commit_group($1::uuid[], $2::bigint, $3::integer, $4::text[], $5::jsonb[], $6::integer[], $7::integer[],
    $8::uuid[], $9::text[], $10::integer[], $11::bytea[], $12::bytea[]) as result`,
} as const;

/** Makes sure that a connection given up cannot commit any more; waits for its end. */
export const endConnection = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where pid = $1 and application_name = $2";

export const setTenants = "select set_config('app.tenants', $1, true)";

/** Waits for whoever is committing for these tenants. */
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
export function counterValue(tenant: TenantId, key: string): Query {
  return { name: "countersign_counter", text: "select value from countersign.counters where tenant_id = $1 and key = $2", values: [tenant, key] };
}

/** The next `$3` numbers of a series, the first not below `$4`: losing the row then costs nothing but a look at what exists. */
export const reserveNumbers = {
  name: "countersign_reserve_numbers",
  text: `insert into countersign.number_series as s (tenant_id, series, next) values ($1, $2, greatest($4::bigint, 1) + $3::bigint)
    on conflict (tenant_id, series) do update set next = greatest(s.next, $4::bigint) + $3::bigint
    returning next - $3::bigint as first`,
} as const;
