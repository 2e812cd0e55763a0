/** All SQL of exports and receipts: checkpoints by size with their receipts, and entries chosen one by one. */
import type { Action, TenantId } from "@countersign/contract";
import type { Query } from "../ledger/index.js";

const columns = "incarnation, size, root, note, signed_ms";

/** The smallest checkpoint not below a size. By checkpoints_pkey. */
export function checkpointFrom(tenant: TenantId, incarnation: number, size: number): Query {
  return {
    name: "countersign_checkpoint_from",
    text: `select ${columns} from countersign.checkpoints where tenant_id = $1 and incarnation = $2 and size >= $3 order by size limit 1`,
    values: [tenant, incarnation, size],
  };
}

/** The largest checkpoint not above each of some sizes. By checkpoints_pkey, one probe each. */
export function checkpointsUpTo(tenant: TenantId, incarnation: number, sizes: readonly number[]): Query {
  return {
    name: "countersign_checkpoints_up_to",
    text: `select distinct c.incarnation, c.size, c.root, c.note, c.signed_ms from unnest($3::bigint[]) as s (size)
 cross join lateral (select ${columns} from countersign.checkpoints
   where tenant_id = $1 and incarnation = $2 and size <= s.size order by size desc limit 1) as c
 order by c.size`,
    values: [tenant, incarnation, sizes],
  };
}

/**
 * Sizes that anchors confirmed: of each its newest, and its first that covers `size`. By anchor_receipts_pkey, from anchor to
 * anchor, so it costs what there are anchors, not what there are receipts.
 */
export function anchoredSizes(tenant: TenantId, incarnation: number, size: number): Query {
  return {
    name: "countersign_anchored_sizes",
    text: `with recursive anchors (anchor) as (
  (select anchor from countersign.anchor_receipts where tenant_id = $1 order by anchor limit 1)
  union all
  select (select r.anchor from countersign.anchor_receipts r where r.tenant_id = $1 and r.anchor > a.anchor order by r.anchor limit 1)
    from anchors a where a.anchor is not null
)
select a.anchor,
       (select r.size from countersign.anchor_receipts r
         where r.tenant_id = $1 and r.anchor = a.anchor and r.incarnation = $2 order by r.size desc limit 1) as newest,
       (select r.size from countersign.anchor_receipts r
         where r.tenant_id = $1 and r.anchor = a.anchor and r.incarnation = $2 and r.size >= $3 order by r.size limit 1) as first
  from anchors a where a.anchor is not null limit 256`,
    values: [tenant, incarnation, size],
  };
}

export interface AnchoredRow {
  readonly anchor: string;
  readonly newest: string | null;
  readonly first: string | null;
}

/**
 * The anchors and witnesses that confirmed checkpoints of some sizes, with the lines they signed. By
 * anchor_receipts_pkey.
 */
export function receiptsAt(
  tenant: TenantId,
  incarnation: number,
  anchors: readonly string[],
  sizes: readonly number[],
): Query {
  return {
    name: "countersign_receipts_at",
    text: `select r.anchor, r.size, r.at_ms, r.receipt from countersign.anchor_receipts r
 where r.tenant_id = $1 and r.incarnation = $2 and r.anchor = any ($3::text[]) and r.size = any ($4::bigint[]) order by r.size, r.anchor`,
    values: [tenant, incarnation, anchors, sizes],
  };
}

export interface ReceiptRow {
  readonly anchor: string;
  readonly size: string;
  /** When it came back, by this deployment's clock. */
  readonly at_ms: string;
  readonly receipt: string;
}

export interface Chosen {
  readonly actorId?: string | undefined;
  readonly subjectId?: string | undefined;
  readonly actions?: readonly Action[] | undefined;
  readonly from: number;
  readonly to: number;
}

/** Sequence numbers of entries by actor or subject, after one. By entries_by_actor, entries_by_subject. */
export function chosenSeqs(tenant: TenantId, chosen: Chosen, limit: number): Query {
  const { actorId, subjectId, actions } = chosen;
  const conditions = [
    ...(actorId === undefined ? [] : ["e.actor_id = $5"]),
    ...(subjectId === undefined ? [] : [`e.subject_id = $${actorId === undefined ? 5 : 6}`]),
  ];
  const named = [actorId, subjectId].filter((value) => value !== undefined);
  if (actions !== undefined) conditions.push(`e.action = any ($${5 + named.length}::text[])`);
  return {
    name: `countersign_chosen${actorId === undefined ? "" : "_actor"}${subjectId === undefined ? "" : "_subject"}${actions === undefined ? "" : "_actions"}`,
    text: `select e.seq from countersign.entries as e
 where e.tenant_id = $1 and e.seq >= $2 and e.seq <= $3 and ${conditions.join(" and ")} order by e.seq limit $4`,
    values: [tenant, chosen.from, chosen.to, limit, ...named, ...(actions === undefined ? [] : [actions])],
  };
}

/** Whole entries by their numbers, with their bodies. By entries_pkey. */
export function entriesAt(tenant: TenantId, seqs: readonly number[]): Query {
  return {
    name: "countersign_entries_at",
    text: `select e.seq, e.time_ms, e.entry_id, encode(e.prev, 'hex') as prev, e.content, encode(e.content_hash, 'hex') as content_hash,
       encode(e.hash, 'hex') as hash, encode(b.salt, 'hex') as salt, b.sealed, k.sealed as key
  from countersign.entries as e
  left join countersign.bodies as b on b.tenant_id = e.tenant_id and b.entry_id = e.entry_id
  left join countersign.subject_keys as k on k.tenant_id = b.tenant_id and k.key_id = substring(b.sealed from 5 for 8)
 where e.tenant_id = $1 and e.seq = any ($2::bigint[]) order by e.seq`,
    values: [tenant, seqs],
  };
}

export interface EntryRow {
  readonly seq: string;
  readonly time_ms: string;
  readonly entry_id: string;
  readonly prev: string;
  readonly content: string | null;
  readonly content_hash: string;
  readonly hash: string;
  readonly salt: string | null;
  readonly sealed: Buffer | null;
  readonly key: Buffer | null;
}

/** By entries_pkey, or by entries_entry_id_key. */
export function placeOf(tenant: TenantId, entry: { readonly seq: number } | { readonly entryId: string }): Query {
  const byId = "entryId" in entry;
  return {
    name: byId ? "countersign_place_by_id" : "countersign_place_by_seq",
    text: `select seq, time_ms, entry_id, content, encode(hash, 'hex') as hash from countersign.entries
 where tenant_id = $1 and ${byId ? "entry_id = $2" : "seq = $2"}`,
    values: [tenant, byId ? entry.entryId : entry.seq],
  };
}

/** By entries_pkey. */
export const headOf = `select seq, encode(hash, 'hex') as hash, time_ms from countersign.entries
 where tenant_id = $1 and seq <= $2::bigint order by seq desc limit 1`;
