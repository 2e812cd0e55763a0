/** SQL of verification beside that of the chain. Every statement runs with `app.tenants` set, in one snapshot. */
import type { TenantId } from "@countersign/contract";
import { quotedUuid } from "./queries.js";

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
 * entry, whether it is the newest, the version before (0: none) and its entry (−1). `meta` was compared with the
 * content before. The window uses the sort that finding the newest needs anyway.
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
