-- Takes the ledger out of an empty database. There is no way down that destroys entries: whoever wants that drops the database.

-- Row-level security would hide entries from a migrating role that is no superuser, and an invisible ledger must not look empty.
alter table countersign.entries no force row level security;
do $refuse$
begin
  set local role countersign_ledger;
  if exists (select from countersign.entries) then
    raise exception 'the ledger has entries: migrating down below the ledger would destroy them';
  end if;
  reset role;
end
$refuse$;

drop function if exists countersign.commit_group(uuid[], bigint, integer, integer, integer, text[], jsonb[], integer[], integer[], uuid[], text[], text[], text[], text[], integer[], bytea[], bytea[]);
drop function countersign.rebuild_door();
drop function countersign.door_source();
drop function countersign.apply_grants(jsonb);
drop function countersign.append_entries(bigint, uuid[], integer[], uuid[], text[], text[], text[], text[], integer[], bytea[], bytea[]);
drop table countersign.tenant_locks;
drop table countersign.bodies;
drop table countersign.entries;
drop function countersign.refuse_ledger_change();
-- The schema stays if the migration records live in it; roles stay, for they may own things in other databases of the cluster.
revoke all on schema countersign from countersign_ledger, countersign_app;
