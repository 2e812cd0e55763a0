-- What is published of a ledger: signed checkpoints, the tiles of its tree, receipts of those who keep checkpoints out of the
-- database's reach; and what the publisher and the self-check note for themselves.
--
-- What can never change: the meaning of checkpoints.note and of a tile's bytes. They are what strangers hold copies of
-- (docs/ledger-format.md).

-- One signed checkpoint a row. A size is signed once an incarnation: a second, differing root cannot be stored beside the first.
-- What it says is in `note`; the columns beside it are for finding it.
create table countersign.checkpoints (
  tenant_id uuid not null,
  incarnation integer not null,
  size bigint not null,
  root bytea not null,
  note text not null,
  signed_ms bigint not null,
  constraint checkpoints_pkey primary key (tenant_id, incarnation, size),
  constraint checkpoints_incarnation_not_negative check (incarnation >= 0),
  constraint checkpoints_size_is_safe_integer check (size >= 1 and size <= 9007199254740991),
  constraint checkpoints_root_is_sha256 check (octet_length(root) = 32),
  constraint checkpoints_note_is_bounded check (octet_length(note) between 1 and 65536),
  constraint checkpoints_time_is_safe_integer check (signed_ms >= 0 and signed_ms <= 9007199254740991)
);

-- Full tiles of the hash tree (tlog-tiles): 256 hashes of 32 bytes. Those at the right edge are made from the entries when asked for.
-- Every value can be computed again from entries.hash: losing a row costs time, a wrong one is found.
create table countersign.tiles (
  tenant_id uuid not null,
  level smallint not null,
  index bigint not null,
  hashes bytea not null,
  constraint tiles_pkey primary key (tenant_id, level, index),
  constraint tiles_level_is_within_tree check (level between 0 and 7),
  constraint tiles_index_is_safe_integer check (index >= 0 and index <= 9007199254740991),
  constraint tiles_are_full check (octet_length(hashes) = 8192)
);
-- Hashes do not compress: trying costs time at every insert.
alter table countersign.tiles alter column hashes set storage external;

-- What an anchor gave back for a checkpoint, e.g. a witness its cosignature. Not entries: the ledger cannot vouch for what vouches for it.
create table countersign.anchor_receipts (
  tenant_id uuid not null,
  anchor text not null,
  incarnation integer not null,
  size bigint not null,
  at_ms bigint not null,
  receipt text not null,
  constraint anchor_receipts_pkey primary key (tenant_id, anchor, incarnation, size),
  constraint anchor_receipts_receipt_is_bounded check (octet_length(receipt) <= 65536)
);
-- The cosignatures of one checkpoint.
create index anchor_receipts_by_size on countersign.anchor_receipts (tenant_id, incarnation, size);

-- Like entries: a speed bump for the owner of the database, a wall for everybody else.
create trigger checkpoints_append_only before update or delete or truncate on countersign.checkpoints
  for each statement execute function countersign.refuse_ledger_change();
create trigger tiles_append_only before update or delete or truncate on countersign.tiles
  for each statement execute function countersign.refuse_ledger_change();
create trigger anchor_receipts_append_only before update or delete or truncate on countersign.anchor_receipts
  for each statement execute function countersign.refuse_ledger_change();

-- How far each anchor is and when it is tried again. Losing a row: the anchor says itself what it holds.
create table countersign.anchor_states (
  tenant_id uuid not null,
  anchor text not null,
  incarnation integer not null,
  standing text not null,
  size bigint not null,
  confirmed_ms bigint,
  wanted bigint not null,
  attempts bigint not null,
  failures bigint not null,
  since_ms bigint,
  last_error text,
  next_ms bigint,
  constraint anchor_states_pkey primary key (tenant_id, anchor),
  constraint anchor_states_standing_known check (standing in ('new', 'ok', 'failing', 'contradicts'))
);

-- Who signs. `fence` grows with every change of hands; a checkpoint is inserted only by whoever holds the row under its number.
-- Times are the database's own, so that the clocks of two machines need not agree.
create table countersign.publisher_leases (
  tenant_id uuid not null,
  name text not null,
  holder uuid not null,
  fence bigint not null,
  expires_at timestamptz not null,
  constraint publisher_leases_pkey primary key (tenant_id, name)
);

-- Verifications the server made of itself, newest kept: what was read, when, with what verdict.
create table countersign.self_checks (
  tenant_id uuid not null,
  id uuid not null,
  kind text not null,
  started_ms bigint not null,
  finished_ms bigint,
  from_seq bigint not null,
  to_seq bigint,
  verdict jsonb,
  constraint self_checks_pkey primary key (tenant_id, id)
);
-- The newest of a kind.
create index self_checks_by_start on countersign.self_checks (tenant_id, kind, started_ms);
