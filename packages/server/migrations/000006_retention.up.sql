-- What may be taken out of a ledger, and how: keys by which one subject's texts are sealed, legal holds, and the functions that
-- remove what a committed entry names. Hashes and rows stay; the meaning of `subject.erased` and `ledger.pruned` can never change
-- (docs/ledger-format.md), for verifiers excuse by them what is missing.

-- One key or more for each subject whose entries have bodies: random, sealed with the server's own key. Without its row what it
-- sealed is noise, in old copies of the bodies table too. A body names its key by the eight bytes behind its first four.
create table countersign.subject_keys (
  tenant_id uuid not null,
  key_id bytea not null,
  subject_type text not null,
  subject_id text not null,
  sealed bytea not null,
  made_ms bigint not null,
  constraint subject_keys_pkey primary key (tenant_id, key_id),
  constraint subject_keys_id_is_8_bytes check (octet_length(key_id) = 8)
);
-- All keys of the subject that is erased.
create index subject_keys_by_subject on countersign.subject_keys (tenant_id, subject_id);
create trigger subject_keys_append_only before update or delete or truncate on countersign.subject_keys
  for each statement execute function countersign.refuse_ledger_change();

-- What must not be erased or pruned, however old: a subject, or the whole tenant where none is named.
create table countersign.legal_holds (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  subject_type text,
  subject_id text,
  reason text not null,
  status text not null,
  placed_by uuid not null,
  placed_at_ms bigint not null,
  released_by uuid,
  released_at_ms bigint,
  release_reason text,
  primary key (tenant_id, id),
  constraint legal_hold_status_known check (status in ('HELD', 'RELEASED')),
  constraint legal_hold_subject_is_whole check ((subject_type is null) = (subject_id is null)),
  constraint legal_hold_release_dated check ((status = 'RELEASED') = (released_at_ms is not null))
);
-- Those in force: few, read before anything is erased or pruned.
create index legal_holds_in_force on countersign.legal_holds (tenant_id, id) where status = 'HELD';

-- When the texts of a row were erased: what is left of it is not what people once saw, and no command carries it out again.
alter table countersign.change_sets add column erased_at_ms bigint;
alter table countersign.principals add column erased_at_ms bigint;

-- Deletes the keys of the subject that an entry `subject.erased` names; called by the door in the commit of that entry. Refuses when a
-- body of the subject is named by no such entry: it would become unreadable, and nothing would say so.
create function countersign.erase_subject_keys(p_tenant uuid, p_entry uuid) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
declare
  erased_type text;
  erased_id text;
  forgotten bigint;
begin
  select e.content::jsonb #>> '{data,subjectType}', e.content::jsonb #>> '{data,subject}' into erased_type, erased_id
    from countersign.entries as e
   where e.tenant_id = p_tenant and e.entry_id = p_entry and e.action = 'subject.erased' and e.subject_id = e.content::jsonb #>> '{data,subject}';
  if erased_id is null then
    raise exception using errcode = 'CS006', message = format('entry `%s` erases nothing', p_entry);
  end if;
  select e.seq into forgotten
    from countersign.entries as e
    join countersign.bodies as b on b.tenant_id = e.tenant_id and b.entry_id = e.entry_id
    join countersign.subject_keys as k on k.tenant_id = b.tenant_id and k.key_id = substring(b.sealed from 5 for 8)
   where e.tenant_id = p_tenant and e.subject_id = erased_id and k.subject_type = erased_type and k.subject_id = erased_id
     and not exists (
       select from countersign.entries as x
        where x.tenant_id = p_tenant and x.subject_id = erased_id and x.action = 'subject.erased'
          and x.content::jsonb #> '{data,seqs}' @> to_jsonb(e.seq))
   limit 1;
  if forgotten is not null then
    raise exception using errcode = 'CS006', message = format('entry `%s` does not name `%s`, whose body would be lost', p_entry, forgotten);
  end if;
  delete from countersign.subject_keys as k
   where k.tenant_id = p_tenant and k.subject_id = erased_id and k.subject_type = erased_type;
  get diagnostics forgotten = row_count;
  return forgotten;
end
$function$;

-- Deletes the bodies that entries `subject.erased` of the tenant name, of their own subject and no other. Any number of times, by any
-- number of processes: what is gone is gone. Returns how many went.
create function countersign.finish_erasures(p_tenant uuid) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
declare
  gone bigint;
begin
  delete from countersign.bodies as b
   using countersign.entries as x
   cross join lateral jsonb_array_elements(x.content::jsonb #> '{data,seqs}') as named (seq)
    join countersign.entries as e on e.tenant_id = p_tenant and e.seq = (named.seq #>> '{}')::bigint
   where x.tenant_id = p_tenant and x.action = 'subject.erased' and jsonb_typeof(x.content::jsonb #> '{data,seqs}') = 'array'
     and e.subject_id = x.subject_id and e.seq < x.seq and e.action <> 'subject.erased'
     and b.tenant_id = p_tenant and b.entry_id = e.entry_id;
  get diagnostics gone = row_count;
  return gone;
end
$function$;

-- The entries before p_up_to whose content may go, as the ledger stood at p_head: none that the newest digest of a row stands in, none
-- about what is kept (or refering to it), none of the ledger's own, none about keys. Only entries up to p_head are asked, so that the
-- answer is the same whenever it is asked again.
create function countersign.prunable_entries(p_tenant uuid, p_up_to bigint, p_head bigint, p_kept text[]) returns table (seq bigint)
language sql stable set search_path = pg_catalog, pg_temp as $function$
  with newest as materialized (
    select distinct on (w ->> 0, w ->> 1) e.seq as at
      from countersign.entries as e cross join jsonb_array_elements(e.meta -> 'state') as w
     where e.tenant_id = p_tenant and e.seq <= p_head and e.meta -> 'state' <> '[]'
     order by w ->> 0, w ->> 1, (w ->> 2)::bigint desc, e.seq desc
  )
  select e.seq
    from countersign.entries as e
   where e.tenant_id = p_tenant and e.seq < p_up_to and e.content is not null
     and e.action !~ '^(subject\.erased|ledger\..*|log_key\..*|legal_hold\..*|principal\.key_.*)$'
     and not (e.subject_id = any (p_kept))
     and not exists (select from jsonb_array_elements(e.meta -> 'refs') as r where r ->> 'id' = any (p_kept))
     and e.seq not in (select at from newest)
$function$;

-- Empties what an entry `ledger.pruned` says is in its archive: content and what was made of it, and bodies. One statement each, so a
-- reader sees all of it or none. Called again it finds nothing left to do.
create function countersign.prune_entries(p_tenant uuid, p_entry uuid) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
declare
  said jsonb;
  said_at bigint;
  kept text[];
  emptied bigint;
  bodies bigint;
begin
  select e.content::jsonb -> 'data', e.seq into said, said_at
    from countersign.entries as e
   where e.tenant_id = p_tenant and e.entry_id = p_entry and e.action = 'ledger.pruned';
  if said_at is null or (said ->> 'upTo')::bigint > said_at or (said ->> 'head')::bigint >= said_at then
    raise exception using errcode = 'CS006', message = format('entry `%s` prunes nothing', p_entry);
  end if;
  kept := array(select jsonb_array_elements_text(said -> 'keptSubjects'));
  -- Bodies first: what they are of still says so. Those of entries that keep their content for a digest's sake go too.
  delete from countersign.bodies as b
   using countersign.entries as e
   where e.tenant_id = p_tenant and e.seq < (said ->> 'upTo')::bigint and b.tenant_id = p_tenant and b.entry_id = e.entry_id
     and e.action !~ '^(subject\.erased|ledger\..*|log_key\..*|legal_hold\..*)$'
     and not (e.subject_id = any (kept))
     and not exists (select from jsonb_array_elements(e.meta -> 'refs') as r where r ->> 'id' = any (kept));
  get diagnostics bodies = row_count;
  update countersign.entries as e set content = null, action = null, actor_id = null, subject_id = null
   where e.tenant_id = p_tenant and e.seq in (
     select p.seq from countersign.prunable_entries(p_tenant, (said ->> 'upTo')::bigint, (said ->> 'head')::bigint, kept) as p);
  get diagnostics emptied = row_count;
  return jsonb_build_object('entries', emptied, 'bodies', bodies);
end
$function$;

-- Given to the ledger role last, as the ledger's tables were.
grant create on schema countersign to countersign_ledger;
alter table countersign.subject_keys owner to countersign_ledger;
alter function countersign.erase_subject_keys(uuid, uuid) owner to countersign_ledger;
alter function countersign.finish_erasures(uuid) owner to countersign_ledger;
alter function countersign.prunable_entries(uuid, bigint, bigint, text[]) owner to countersign_ledger;
alter function countersign.prune_entries(uuid, uuid) owner to countersign_ledger;
revoke create on schema countersign from countersign_ledger;
