/**
 * All SQL of publishing: checkpoints, tiles, receipts, the publisher's lease; and the few questions it asks of the
 * entries. Every statement runs with `app.tenants` set.
 */
import type { Action } from "@countersign/contract";
import type { Query } from "../ledger/index.js";

/** As the driver takes it. */
export function statement({ name, text, values }: Query): { name: string; text: string; values: unknown[] } {
  return { name, text, values: [...values] };
}

/** More than one tenant for one transaction: the publisher's lease is the deployment's, the checkpoint a tenant's. */
export function setTenants(tenants: readonly string[]): Query {
  return {
    name: "countersign_publishing_tenants",
    text: "select set_config('app.tenants', $1, true)",
    values: [`{${tenants.join(",")}}`],
  };
}

/** Sizes of the ledgers of the tenants set. By entries_pkey, one probe a tenant. */
export function ledgerSizes(tenants: readonly string[]): Query {
  return {
    name: "countersign_publishing_sizes",
    text: `select t.id as tenant, head.seq + 1 as size from unnest($1::uuid[]) as t (id)
 cross join lateral (select seq from countersign.entries where tenant_id = t.id order by seq desc limit 1) as head`,
    values: [tenants],
  };
}

/** By entries_pkey. */
export function ledgerSize(tenant: string): Query {
  return {
    name: "countersign_publishing_size",
    text: "select seq + 1 as size from countersign.entries where tenant_id = $1 order by seq desc limit 1",
    values: [tenant],
  };
}

export interface LinkRow {
  readonly seq: string;
  readonly time_ms: string;
  readonly prev: Buffer;
  readonly content_hash: Buffer;
  readonly hash: Buffer;
}

/** Links of entries from…to-1. By entries_pkey. */
export function links(tenant: string, from: number, to: number): Query {
  return {
    name: "countersign_publishing_links",
    text: "select seq, time_ms, prev, content_hash, hash from countersign.entries where tenant_id = $1 and seq >= $2 and seq < $3 order by seq",
    values: [tenant, from, to],
  };
}

/** Hashes of entries from…to-1. By entries_pkey. */
export function leafHashes(tenant: string, from: number, to: number): Query {
  return {
    name: "countersign_publishing_leaves",
    text: "select seq, hash from countersign.entries where tenant_id = $1 and seq >= $2 and seq < $3 order by seq",
    values: [tenant, from, to],
  };
}

export interface CheckpointRow {
  readonly incarnation: number;
  readonly size: string;
  readonly root: Buffer;
  readonly note: string;
  readonly signed_ms: string;
}

/** By checkpoints_pkey, backwards. */
export function latestCheckpoint(tenant: string): Query {
  return {
    name: "countersign_latest_checkpoint",
    text: "select incarnation, size, root, note, signed_ms from countersign.checkpoints where tenant_id = $1 order by incarnation desc, size desc limit 1",
    values: [tenant],
  };
}

/** When some checkpoints were signed: each `incarnations[i]` with `sizes[i]`. By checkpoints_pkey. */
export function signedTimes(
  tenant: string,
  { incarnations, sizes }: { readonly incarnations: readonly number[]; readonly sizes: readonly number[] },
): Query {
  return {
    name: "countersign_signed_times",
    text: `select c.incarnation, c.size, c.signed_ms from unnest($2::integer[], $3::bigint[]) as of_checkpoint (incarnation, size)
 join countersign.checkpoints c
   on c.tenant_id = $1 and c.incarnation = of_checkpoint.incarnation and c.size = of_checkpoint.size`,
    values: [tenant, incarnations, sizes],
  };
}

/** Ascending by (incarnation, size), thinned evenly when there are more than `limit`; first and last always. */
export function checkpointSeries(tenant: string, limit: number): Query {
  return {
    name: "countersign_checkpoint_series",
    text: `with numbered as (
  select incarnation, size, root, note, signed_ms, row_number() over (order by incarnation, size) - 1 as n, count(*) over () as total
    from countersign.checkpoints where tenant_id = $1
)
select incarnation, size, root, note, signed_ms from numbered
 where total <= $2 or n = 0 or (n * ($2::bigint - 1)) / (total - 1) > ((n - 1) * ($2::bigint - 1)) / (total - 1)
 order by incarnation, size`,
    values: [tenant, limit],
  };
}

export interface Fenced {
  readonly deployment: string;
  readonly holder: string;
  readonly fence: number;
}

/**
 * Stores a checkpoint, if the lease is still in these hands. The lease's row stays locked until the commit, so the next
 * holder of the lease sees the checkpoint. No row comes back if this process is fenced out, or the checkpoint is there
 * already.
 */
export function storeCheckpoint(
  tenant: string,
  row: {
    readonly incarnation: number;
    readonly size: number;
    readonly root: Uint8Array;
    readonly note: string;
    readonly signedMs: number;
  },
  by: Fenced,
): Query {
  return {
    name: "countersign_store_checkpoint",
    text: `with held as (
  select fence from countersign.publisher_leases where tenant_id = $7 and name = 'publisher' and holder = $8 and fence = $9 for share
)
insert into countersign.checkpoints (tenant_id, incarnation, size, root, note, signed_ms)
select $1, $2, $3, $4, $5, $6 from held
on conflict (tenant_id, incarnation, size) do nothing
returning size`,
    values: [
      tenant,
      row.incarnation,
      row.size,
      Buffer.from(row.root),
      row.note,
      row.signedMs,
      by.deployment,
      by.holder,
      by.fence,
    ],
  };
}

/** Takes or renews the lease; no row: it is in other hands. */
export function takeLease(deployment: string, holder: string, leaseMs: number): Query {
  return {
    name: "countersign_take_lease",
    text: `insert into countersign.publisher_leases as l (tenant_id, name, holder, fence, expires_at)
values ($1, 'publisher', $2, 1, clock_timestamp() + make_interval(secs => $3::double precision / 1000))
on conflict (tenant_id, name) do update
   set holder = excluded.holder, expires_at = excluded.expires_at,
       fence = case when l.holder = excluded.holder then l.fence else l.fence + 1 end
 where l.holder = excluded.holder or l.expires_at < clock_timestamp()
returning fence`,
    values: [deployment, holder, leaseMs],
  };
}

/** The next process that asks gets the lease at once. */
export function giveLeaseBack(by: Fenced): Query {
  return {
    name: "countersign_give_lease_back",
    text: "update countersign.publisher_leases set expires_at = '-infinity' where tenant_id = $1 and name = 'publisher' and holder = $2 and fence = $3",
    values: [by.deployment, by.holder, by.fence],
  };
}

export interface TileRow {
  readonly index: string;
  readonly hashes: Buffer;
}

/** By tiles_pkey. */
export function tilesOf(tenant: string, level: number, from: number, to: number): Query {
  return {
    name: "countersign_tiles",
    text: "select index, hashes from countersign.tiles where tenant_id = $1 and level = $2 and index >= $3 and index < $4 order by index",
    values: [tenant, level, from, to],
  };
}

/** An existing one stays unchanged: the verifier says whether it is right. */
export function storeTiles(
  tenant: string,
  tiles: readonly { readonly level: number; readonly index: number; readonly hashes: Uint8Array }[],
): Query {
  return {
    name: "countersign_store_tiles",
    text: `insert into countersign.tiles (tenant_id, level, index, hashes)
select $1, t.level, t.index, t.hashes from unnest($2::smallint[], $3::bigint[], $4::bytea[]) as t (level, index, hashes)
on conflict (tenant_id, level, index) do nothing`,
    values: [
      tenant,
      tiles.map((tile) => tile.level),
      tiles.map((tile) => tile.index),
      tiles.map((tile) => Buffer.from(tile.hashes)),
    ],
  };
}

/** By anchor_receipts_by_size. */
export function receiptsOf(tenant: string, incarnation: number, size: number): Query {
  return {
    name: "countersign_receipts_of",
    text: "select anchor, receipt from countersign.anchor_receipts where tenant_id = $1 and incarnation = $2 and size = $3 order by anchor",
    values: [tenant, incarnation, size],
  };
}

/** Of many checkpoints: each `incarnations[i]` with `sizes[i]`. By anchor_receipts_by_size. */
export function receiptsOfMany(
  tenant: string,
  { incarnations, sizes }: { readonly incarnations: readonly number[]; readonly sizes: readonly number[] },
): Query {
  return {
    name: "countersign_receipts_of_many",
    text: `select r.incarnation, r.size, r.receipt
 from unnest($2::integer[], $3::bigint[]) as of_checkpoint (incarnation, size)
 join countersign.anchor_receipts r
   on r.tenant_id = $1 and r.incarnation = of_checkpoint.incarnation and r.size = of_checkpoint.size
 order by r.incarnation, r.size, r.anchor`,
    values: [tenant, incarnations, sizes],
  };
}

/** Contents of the deployment's entries of some actions, oldest first. By entries_by_action. */
export function contentsByAction(tenant: string, actions: readonly Action[], limit: number): Query {
  return {
    name: "countersign_contents_by_action",
    text: `select seq, content from countersign.entries
 where tenant_id = $1 and action = any ($2::text[]) and content is not null order by seq limit $3`,
    values: [tenant, actions, limit],
  };
}

/** As `contentsByAction`, newest first. */
export function newestByAction(tenant: string, actions: readonly Action[], limit: number): Query {
  return {
    name: "countersign_newest_by_action",
    text: `select seq, content from countersign.entries
 where tenant_id = $1 and action = any ($2::text[]) and content is not null order by seq desc limit $3`,
    values: [tenant, actions, limit],
  };
}
