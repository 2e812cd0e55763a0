-- An item may touch any number of targets. The first stands in the item itself (target_key), each further one in a row of its own: under
-- row-level security no index serves an array (docs/decisions/0012-indexes-under-row-level-security.md).

-- items.other_target_key stays for the rows that have it: their digests in the ledger cover it. No new row gets one.
create table countersign.item_targets (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  change_set_id uuid not null,
  revision_id uuid not null,
  item_id uuid not null,
  target_key text not null,
  -- For people: what the target is called.
  target_id text not null,
  primary key (tenant_id, id),
  foreign key (tenant_id, item_id) references countersign.items (tenant_id, id)
);
-- Conflicts: which change-sets touch a target.
create index item_targets_by_target on countersign.item_targets (tenant_id, target_key);
-- Erasing a change-set finds its rows.
create index item_targets_by_change_set on countersign.item_targets (tenant_id, change_set_id);
