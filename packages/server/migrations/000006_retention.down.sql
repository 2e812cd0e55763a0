-- Takes retention out of a database where it was not used yet. Without their keys bodies cannot be read, and without the columns an
-- erased row does not say so: there is no way down that destroys either.
alter table countersign.subject_keys no force row level security;
alter table countersign.legal_holds no force row level security;
do $refuse$
begin
  if exists (select from countersign.legal_holds) then
    raise exception 'there are legal holds: migrating down below retention would destroy them';
  end if;
  set local role countersign_ledger;
  if exists (select from countersign.subject_keys) then
    raise exception 'texts are sealed by their subject: migrating down below retention would make them unreadable';
  end if;
  reset role;
end
$refuse$;

drop function countersign.prune_entries(uuid, uuid);
drop function countersign.prunable_entries(uuid, bigint, bigint, text[]);
drop function countersign.finish_erasures(uuid);
drop function countersign.erase_subject_keys(uuid, uuid);
alter table countersign.principals drop column erased_at_ms;
alter table countersign.change_sets drop column erased_at_ms;
drop table countersign.legal_holds;
drop table countersign.subject_keys;
