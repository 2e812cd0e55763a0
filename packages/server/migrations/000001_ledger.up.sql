-- The ledger and the one door to it.
--
-- What can never change: the meaning of entries.content, content_hash, prev and hash. Stored hashes depend on their bytes for ever
-- (docs/ledger-format.md); a change needs a new version tag beside the old one.

-- Everything of ours lives in one schema, so that a database can be shared and grants can be walked.
create schema if not exists countersign;

-- Three roles. The role that runs migrations owns tables and functions. `countersign_ledger` owns entries, bodies and the function that
-- appends, and nobody logs in as it. `countersign_app` is the server: it may execute the append function, but not write the ledger.
do $roles$
begin
  if not exists (select from pg_roles where rolname = 'countersign_ledger') then
    create role countersign_ledger nologin noinherit;
  end if;
  if not exists (select from pg_roles where rolname = 'countersign_app') then
    create role countersign_app login noinherit;
  end if;
  -- A migrating role that is no superuser can hand objects to the ledger role only as a member of it.
  if not (select rolsuper from pg_roles where rolname = current_user) and not pg_has_role(current_user, 'countersign_ledger', 'member') then
    execute format('grant countersign_ledger to %I', current_user);
  end if;
end
$roles$;
grant usage, create on schema countersign to countersign_ledger;
grant usage on schema countersign to countersign_app;

-- One append-only sequence a tenant. `content` is the exact canonical text that was hashed; erasing it leaves its hash.
-- `meta` is made from the stored text by the database, so that what one queries by cannot disagree with what was hashed: one jsonb column,
-- because five stored `content::jsonb ->> …` columns cost 41 µs a row and one costs 10 (the text is parsed once).
create table countersign.entries (
  tenant_id uuid not null,
  seq bigint not null,
  time_ms bigint not null,
  entry_id uuid not null,
  prev bytea not null,
  content text,
  content_hash bytea not null,
  hash bytea not null,
  meta jsonb generated always as (content::jsonb - '{v,nonce,at,data,body}'::text[]) stored,
  -- What one asks by, as plain columns: under row-level security an index serves only operators that leak nothing of rows one may not
  -- see, and those of jsonb are not among them. They are given beside the content and held against it by a constraint.
  action text,
  actor_id text,
  subject_id text,
  constraint entries_pkey primary key (tenant_id, seq),
  -- A fork is impossible even if two writers got past the lock: one entry has one successor.
  constraint entries_prev_key unique (tenant_id, prev),
  -- A commit whose reply was lost is found again by the ids of its entries; the same ids cannot be committed twice.
  constraint entries_entry_id_key unique (tenant_id, entry_id),
  constraint entries_seq_starts_at_zero check (seq >= 0),
  constraint entries_time_is_safe_integer check (time_ms >= 0 and time_ms <= 9007199254740991),
  constraint entries_hashes_are_sha256 check (octet_length(prev) = 32 and octet_length(content_hash) = 32 and octet_length(hash) = 32),
  constraint entries_only_first_has_no_prev check ((seq = 0) = (prev = '\x0000000000000000000000000000000000000000000000000000000000000000'::bytea)),
  constraint entries_id_is_in_content check (meta ->> 'id' = entry_id::text),
  constraint entries_columns_are_in_content check (meta is null or (action is not distinct from meta ->> 'action'
    and actor_id is not distinct from meta #>> '{actor,id}' and subject_id is not distinct from meta #>> '{subject,id}'))
);

-- The entries of one aggregate: newest digest of a row, audit by subject and by change-set.
create index entries_by_subject on countersign.entries (tenant_id, subject_id, seq);
-- Audit by actor and by action.
create index entries_by_actor on countersign.entries (tenant_id, actor_id, seq);
create index entries_by_action on countersign.entries (tenant_id, action, seq);

-- Texts and states that people read, sealed; the entry holds a salted commitment. Erasing a row leaves every proof valid.
create table countersign.bodies (
  tenant_id uuid not null,
  entry_id uuid not null,
  salt bytea not null,
  sealed bytea not null,
  constraint bodies_pkey primary key (tenant_id, entry_id),
  constraint bodies_salt_is_32_bytes check (octet_length(salt) = 32),
  constraint bodies_entry_fkey foreign key (tenant_id, entry_id) references countersign.entries (tenant_id, entry_id)
);

-- One row a tenant, locked by every commit, never updated: in a table of its own, so that a long snapshot does not leave dead versions
-- of it behind and slow commits. Losing a row only makes the next commit insert it again: forks are excluded by the keys above.
create table countersign.tenant_locks (
  tenant_id uuid not null,
  constraint tenant_locks_pkey primary key (tenant_id)
);

-- Against the owner of the database this is a speed bump; against a bug or a stolen application password it is a wall. The functions of
-- retention pass it as the ledger's own role: they take away what a committed entry names, content and bodies, and nothing else.
create function countersign.refuse_ledger_change() returns trigger
language plpgsql set search_path = pg_catalog, pg_temp as $function$
begin
  if current_user = 'countersign_ledger' and tg_op || ' ' || tg_table_name in ('UPDATE entries', 'DELETE bodies', 'DELETE subject_keys') then
    return null;
  end if;
  raise exception using errcode = 'CS003',
    message = format('ledger table `%s` is append-only: %s refused', tg_table_name, lower(tg_op));
end
$function$;
create trigger entries_append_only before update or delete or truncate on countersign.entries
  for each statement execute function countersign.refuse_ledger_change();
create trigger bodies_append_only before update or delete or truncate on countersign.bodies
  for each statement execute function countersign.refuse_ledger_change();

-- Appends entries in the order given. Returns for every tenant [tenant, first seq, its prev, time_ms, last hash]: where its entries went.
-- The caller holds the tenants' lock rows. Content is hashed here, in the database, so that no client can store a hash that is not its text's.
--   p_entry_tenants: for every entry the position of its tenant in p_tenants.
--   p_body_entries: for every body the position of its entry in p_entry_ids.
-- Raises CS001 if the clock given is more than 5 seconds behind the last entry: somebody's clock is wrong, and a ledger that went on
-- would give all entries until then the same time.
-- Few statements: each costs some 20 µs a group, whatever it does.
create function countersign.append_entries(
  p_now_ms bigint, p_tenants uuid[], p_entry_tenants integer[], p_entry_ids uuid[], p_contents text[],
  p_actions text[], p_actors text[], p_subjects text[], p_body_entries integer[], p_body_salts bytea[], p_bodies bytea[]
) returns jsonb
language plpgsql security definer set search_path = pg_catalog, pg_temp as $function$
declare
  heads_seq bigint[];
  heads_hash bytea[];
  heads_time bigint[];
  behind_ms bigint;
  given record;
  firsts_seq bigint[];
  firsts_prev bytea[];
  seqs bigint[] := '{}';
  prevs bytea[] := '{}';
  content_hashes bytea[] := '{}';
  hashes bytea[] := '{}';
  places jsonb := '[]';
begin
  -- Heads set-wise: one statement for all tenants of the group (+15 % at 32 tenants against one a tenant).
  -- INVARIANT: time_ms never decreases within a tenant.
  select array_agg(coalesce(head.seq, -1) order by tenant.n),
         array_agg(coalesce(head.hash, '\x0000000000000000000000000000000000000000000000000000000000000000'::bytea) order by tenant.n),
         array_agg(greatest(head.time_ms, p_now_ms) order by tenant.n),
         max(head.time_ms) - p_now_ms
    into heads_seq, heads_hash, heads_time, behind_ms
    from unnest(p_tenants) with ordinality as tenant (id, n)
    left join lateral (
      select entries.seq, entries.hash, entries.time_ms from countersign.entries
       where entries.tenant_id = tenant.id order by entries.seq desc limit 1
    ) as head on true;
  if behind_ms > 5000 then
    raise exception using errcode = 'CS001',
      message = format('the clock is %s ms behind the last entry of the ledger', behind_ms);
  end if;
  firsts_seq := heads_seq;
  firsts_prev := heads_hash;

  -- link = "countersign.entry.v1\n" tenant "\n" seq "\n" time_ms "\n" hex(prev) "\n" hex(SHA-256(content)) "\n"; hash = SHA-256(0x00 || link).
  -- A loop costs 4.6 µs an entry; recursive and aggregate forms gained nothing.
  for given in
    select e.tenant as t, e.n, sha256(convert_to(e.content, 'UTF8')) as content_hash
      from unnest(p_entry_tenants, p_contents) with ordinality as e (tenant, content, n) order by e.n
  loop
    heads_seq[given.t] := heads_seq[given.t] + 1;
    seqs[given.n] := heads_seq[given.t];
    prevs[given.n] := heads_hash[given.t];
    content_hashes[given.n] := given.content_hash;
    heads_hash[given.t] := sha256('\x00'::bytea || convert_to('countersign.entry.v1' || E'\n' || p_tenants[given.t] || E'\n'
      || heads_seq[given.t] || E'\n' || heads_time[given.t] || E'\n' || encode(heads_hash[given.t], 'hex') || E'\n'
      || encode(given.content_hash, 'hex') || E'\n', 'UTF8'));
    hashes[given.n] := heads_hash[given.t];
  end loop;

  insert into countersign.entries (tenant_id, seq, time_ms, entry_id, prev, content, content_hash, hash, action, actor_id, subject_id)
  select p_tenants[made.t], made.seq, heads_time[made.t], made.entry_id, made.prev, made.content, made.content_hash, made.hash,
         made.action, made.actor, made.subject
    from unnest(p_entry_tenants, seqs, p_entry_ids, prevs, p_contents, content_hashes, hashes, p_actions, p_actors, p_subjects)
      as made (t, seq, entry_id, prev, content, content_hash, hash, action, actor, subject);

  if cardinality(p_body_entries) > 0 then
    insert into countersign.bodies (tenant_id, entry_id, salt, sealed)
    select p_tenants[p_entry_tenants[body.entry]], p_entry_ids[body.entry], body.salt, body.sealed
      from unnest(p_body_entries, p_body_salts, p_bodies) as body (entry, salt, sealed);
  end if;

  for i in 1 .. cardinality(p_tenants) loop
    if heads_seq[i] > firsts_seq[i] then
      places := places || jsonb_build_array(jsonb_build_array(
        p_tenants[i], firsts_seq[i] + 1, encode(firsts_prev[i], 'hex'), heads_time[i], encode(heads_hash[i], 'hex')));
    end if;
  end loop;
  return places;
end
$function$;

-- Given to the ledger role last: from here on only it (and a superuser) can change them.
alter table countersign.entries owner to countersign_ledger;
alter table countersign.bodies owner to countersign_ledger;
alter function countersign.refuse_ledger_change() owner to countersign_ledger;
alter function countersign.append_entries(bigint, uuid[], integer[], uuid[], text[], text[], text[], text[], integer[], bytea[], bytea[]) owner to countersign_ledger;
revoke create on schema countersign from countersign_ledger;

-- Row-level security, grants: from the class of every table, as storage/tables.ts declares it. Called after every migration, so that a new
-- table cannot be forgotten: an undeclared table, a declared table that is not there, or a table without tenant_id first in its key is refused.
create function countersign.apply_grants(p_classes jsonb) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $function$
declare
  found record;
  class text;
  allowed text;
begin
  for found in
    select classes.name from jsonb_object_keys(p_classes) as classes (name)
     where not exists (select from pg_class where relnamespace = 'countersign'::regnamespace and relkind in ('r', 'p') and relname = classes.name)
  loop
    raise exception 'table `%` has a class and does not exist: remove it from storage/tables.ts or add its migration', found.name;
  end loop;

  execute 'revoke all on all tables in schema countersign from public, countersign_app';
  execute 'revoke all on all functions in schema countersign from public, countersign_app';
  execute 'grant usage on schema countersign to countersign_app';

  for found in
    select c.oid, c.relname::text as name, c.relrowsecurity, c.relforcerowsecurity,
           exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'row_salt' and not a.attisdropped) as salted,
           exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'expires_ms' and not a.attisdropped) as expires,
           exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'tenant_rows') as policed,
           exists (select from pg_index i join pg_attribute a on a.attrelid = c.oid and a.attnum = i.indkey[0]
                    where i.indrelid = c.oid and i.indisprimary and a.attname = 'tenant_id') as keyed
      from pg_class c
     where c.relnamespace = 'countersign'::regnamespace and c.relkind in ('r', 'p')
       and c.relname <> 'migrations' -- the runner's own records: nobody's tenant, and nothing the server reads
     order by c.relname
  loop
    class := p_classes ->> found.name;
    if class is null then
      raise exception 'table `%` has no class: declare it in storage/tables.ts', found.name;
    end if;
    if not found.keyed then
      raise exception 'table `%` does not have tenant_id first in its primary key', found.name;
    end if;
    if found.salted <> (class = 'governed') then
      raise exception 'table `%` is % and %: governed tables, and only they, have row_salt', found.name, class,
        case when found.salted then 'has row_salt' else 'has no row_salt' end;
    end if;
    -- The server inserts and updates governed rows through the door and never deletes them. Attached rows with an end may be swept.
    allowed := case class
      when 'ledger' then 'select'
      when 'log' then 'select, insert'
      when 'governed' then 'select, insert, update'
      when 'attached' then case when found.expires then 'select, insert, update, delete' else 'select, insert, update' end
      when 'content' then 'select, insert, delete' -- named by their digest, which is checked at every reading
      when 'keys' then 'select, insert' -- deleted by the functions of erasure alone
      when 'derived' then 'select, insert, update, delete'
      when 'operational' then 'select, insert, update, delete'
    end;
    if allowed is null then
      raise exception 'table `%` has the unknown class `%`', found.name, class;
    end if;
    execute format('grant %s on countersign.%I to countersign_app', allowed, found.name);
    if class is distinct from obj_description(found.oid, 'pg_class') then
      execute format('comment on table countersign.%I is %L', found.name, class);
    end if;

    if not found.relrowsecurity then
      execute format('alter table countersign.%I enable row level security', found.name);
    end if;
    if not found.relforcerowsecurity then
      execute format('alter table countersign.%I force row level security', found.name);
    end if;
    if not found.policed then
      -- As an InitPlan (the sub-select) the setting is read once a statement: +9 %. The outer cast makes it one array and not a set of rows.
      -- An unset or empty setting is null, and null sees nothing.
      execute format('create policy tenant_rows on countersign.%I'
        ' using (tenant_id = any ((select nullif(current_setting(''app.tenants'', true), '''')::uuid[])::uuid[]))'
        ' with check (tenant_id = any ((select nullif(current_setting(''app.tenants'', true), '''')::uuid[])::uuid[]))', found.name);
    end if;
  end loop;

  execute 'grant execute on function countersign.append_entries(bigint, uuid[], integer[], uuid[], text[], text[], text[], text[], integer[], bytea[], bytea[]) to countersign_app';
  -- What may be taken out of the ledger: each function looks for the entry that says so.
  for found in
    select p.oid::regprocedure::text as name from pg_proc p where p.pronamespace = 'countersign'::regnamespace
       and p.proname in ('erase_subject_keys', 'finish_erasures', 'prune_entries', 'prunable_entries')
  loop
    execute format('grant execute on function %s to countersign_app', found.name);
  end loop;
  -- A verifier asks what the door should be.
  execute 'grant execute on function countersign.door_source() to countersign_app';
  if exists (select from pg_proc where pronamespace = 'countersign'::regnamespace and proname = 'commit_group') then
    execute 'grant execute on function countersign.commit_group(uuid[], bigint, integer, integer, integer, text[], jsonb[], integer[], integer[], uuid[], text[], text[], text[], text[], integer[], bytea[], bytea[]) to countersign_app';
  end if;
end
$function$;

-- The text of commit_group, made from the catalogue: static SQL for every governed and attached table, so that plans are kept and no value
-- ever becomes SQL text. Apart from rebuild_door so that a verifier can compare the function that is there with the one that should be.
create function countersign.door_source() returns text
language plpgsql stable set search_path = pg_catalog, pg_temp as $function$
declare
  tab record;
  idx record;
  guards text := '';
  writes text := '';
begin
  for tab in
    select c.oid, c.relname::text as name, salted.yes as governed, expires.yes as expires, obj_description(c.oid, 'pg_class') = 'keys' as keys,
           format('countersign.%I', c.relname) as target,
           (select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
              from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as typed,
           (select string_agg(format('%I', a.attname), ', ' order by a.attnum)
              from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as columns,
           (select string_agg(format('n.%I', a.attname), ', ' order by a.attnum)
              from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped) as given,
           (select string_agg(format('%I = n.%I', a.attname, a.attname), ', ' order by a.attnum)
              from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and not a.attnum = any (pk.indkey)) as assigned,
           (select string_agg(format('%I = excluded.%I', a.attname, a.attname), ', ' order by a.attnum)
              from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and not a.attnum = any (pk.indkey)) as replaced,
           (select string_agg(format('x.%I = n.%I', a.attname, a.attname), ' and ' order by a.attnum)
              from pg_attribute a where a.attrelid = c.oid and a.attnum = any (pk.indkey)) as keyed,
           (select string_agg(format('%I', a.attname), ', ' order by a.attnum)
              from pg_attribute a where a.attrelid = c.oid and a.attnum = any (pk.indkey)) as key_columns,
           (select format_type(a.atttypid, a.atttypmod) from pg_attribute a where a.attrelid = c.oid and a.attname = 'id') as id_type
      from pg_class c
      join pg_index pk on pk.indrelid = c.oid and pk.indisprimary
      cross join lateral (select obj_description(c.oid, 'pg_class') = 'governed' as yes) as salted
      cross join lateral (select exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'expires_ms' and not a.attisdropped) as yes) as expires
     where c.relnamespace = 'countersign'::regnamespace and c.relkind = 'r'
       -- The class of a table is its comment, put there by apply_grants. Counters have a way of their own.
       and obj_description(c.oid, 'pg_class') in ('governed', 'attached', 'keys') and c.relname <> 'counters'
     order by c.relname
  loop
    if tab.governed then
      guards := guards || format($part$
      when 'row %1$s' then
        select coalesce(jsonb_agg(jsonb_build_array(g._c, 'row', '%1$s', g.id)), '[]') into moved
          from jsonb_to_recordset(p_docs[i]) as g (_c integer, tenant_id uuid, id %2$s, version integer)
          left join %3$s as x on x.tenant_id = g.tenant_id and x.id = g.id
         where coalesce(x.version, 0) <> g.version;$part$, tab.name, tab.id_type, tab.target);
      writes := writes || format($part$
      when 'insert %1$s' then
        insert into %2$s (%3$s)
        select %4$s from jsonb_to_recordset(p_docs[i]) as n (_c integer, %5$s)
         where not (n._c = any (failed));
        get diagnostics done = row_count;
      when 'update %1$s' then
        update %2$s as x set %6$s
          from jsonb_to_recordset(p_docs[i]) as n (_c integer, %5$s)
         where %7$s and x.version = n.version - 1 and not (n._c = any (failed));
        get diagnostics done = row_count;$part$, tab.name, tab.target, tab.columns, tab.given, tab.typed, tab.assigned, tab.keyed);
    elsif tab.keys then
      -- A key that another process erased is not sealed with any more: whoever still remembers it makes another.
      guards := guards || format($part$
      when 'key %1$s' then
        select coalesce(jsonb_agg(jsonb_build_array(g._c, 'key', '%1$s', encode(g.key_id, 'hex'))), '[]') into moved
          from jsonb_to_recordset(p_docs[i]) as g (_c integer, tenant_id uuid, key_id bytea)
         where not exists (select from %2$s as x where x.tenant_id = g.tenant_id and x.key_id = g.key_id);$part$, tab.name, tab.target);
      writes := writes || format($part$
      when 'insert %1$s' then
        insert into %2$s (%3$s)
        select %4$s from jsonb_to_recordset(p_docs[i]) as n (_c integer, %5$s)
         where not (n._c = any (failed));
        get diagnostics done = row_count;
      when 'erase %1$s' then
        select count(*) into done from jsonb_to_recordset(p_docs[i]) as n (_c integer) where not (n._c = any (failed));$part$,
        tab.name, tab.target, tab.columns, tab.given, tab.typed);
    else
      writes := writes || format($part$
      when 'insert %1$s' then
        insert into %2$s as x (%3$s)
        select %4$s from jsonb_to_recordset(p_docs[i]) as n (_c integer, %5$s)
         where not (n._c = any (failed))%6$s;
        get diagnostics done = row_count;
      when 'update %1$s' then
        update %2$s as x set %7$s
          from jsonb_to_recordset(p_docs[i]) as n (_c integer, %5$s)
         where %8$s and not (n._c = any (failed));
        get diagnostics done = row_count;$part$, tab.name, tab.target, tab.columns, tab.given, tab.typed,
        case when tab.expires then format(E'\n            on conflict (%s) do update set %s where x.expires_ms <= p_now_ms', tab.key_columns, tab.replaced) else '' end,
        tab.assigned, tab.keyed);
    end if;

    -- One way to ask "is there none?" for every unique key of the table.
    for idx in
      select ic.relname::text as name, pg_get_expr(i.indpred, i.indrelid) as predicate,
             (select string_agg(format('x.%I = g.%I', a.attname, a.attname), ' and ' order by k.n)
                from unnest(i.indkey) with ordinality as k (attnum, n) join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum) as keyed,
             (select string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by k.n)
                from unnest(i.indkey) with ordinality as k (attnum, n) join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum) as typed
        from pg_index i join pg_class ic on ic.oid = i.indexrelid
       where i.indrelid = tab.oid and i.indisunique and i.indexprs is null
       order by ic.relname
    loop
      guards := guards || format($part$
      when 'absent %1$s' then
        select coalesce(jsonb_agg(jsonb_build_array(g._c, 'absent', '%2$s', '%1$s')), '[]') into moved
          from jsonb_to_recordset(p_docs[i]) as g (_c integer, %3$s)
         where exists (select from %4$s as x where %5$s%6$s%7$s);$part$,
        idx.name, tab.name, idx.typed, tab.target, idx.keyed,
        case when idx.predicate is null then '' else format(' and (%s)', idx.predicate) end,
        case when tab.expires then ' and x.expires_ms > p_now_ms' else '' end);
    end loop;
  end loop;

  return replace(replace($source$
#variable_conflict use_column
-- Generated by countersign.rebuild_door() from the catalogue: change that, not this.
declare
  failed integer[] := '{}';
  reasons jsonb := '[]';
  moved jsonb;
  counting record;
  total bigint;
  counted boolean;
  done bigint;
  due bigint;
  kept integer[];
  heads jsonb := '[]';
begin
  -- Row-level security for this transaction: the tenants of the group and no others.
  perform set_config('app.tenants', p_tenants::text, true);
  -- A lock that is stuck must not hold up the group for long: the connection's own lock_timeout, or a shorter one.
  if p_lock_ms > 0 then
    perform set_config('lock_timeout', p_lock_ms || 'ms', true);
  end if;

  -- Lock first, in tenant order: with heads locked last, or in any order, two processes deadlocked. Rows that are missing are made; should
  -- that ever meet another who makes them, the database ends one of the two and its group is tried again.
  loop
    select count(*) into done from (
      select from countersign.tenant_locks where tenant_id = any (p_tenants) order by tenant_id for no key update
    ) as locked;
    exit when done = cardinality(p_tenants);
    insert into countersign.tenant_locks (tenant_id)
    select tenant.id from unnest(p_tenants) as tenant (id) order by tenant.id on conflict do nothing;
  end loop;

  -- All guards before anything is written: a moved guard rejects its own change and nobody else's.
  for i in 1 .. p_guards loop
    moved := null;
    case p_kinds[i]/*GUARDS*/
      when 'subject' then
        select coalesce(jsonb_agg(jsonb_build_array(g._c, 'subject', 'entries', g.subject_id)), '[]') into moved
          from jsonb_to_recordset(p_docs[i]) as g (_c integer, tenant_id uuid, subject_id text, seq bigint)
         where exists (select from countersign.entries as e where e.tenant_id = g.tenant_id and e.subject_id = g.subject_id and e.seq > g.seq);
      else null;
    end case;
    if moved is null then
      raise exception using errcode = 'CS004', message = format('the door has no `%s`: run countersign.rebuild_door()', p_kinds[i]);
    elsif moved <> '[]' then
      reasons := reasons || moved;
    end if;
  end loop;
  if reasons <> '[]' then
    failed := array(select distinct (reason ->> 0)::integer from jsonb_array_elements(reasons) as reason);
  end if;

  -- Counters last of the guards and in the order of the changes, for those still standing: exact limits, without a retry.
  for i in p_guards + 1 .. p_guards + p_counts loop
    for counting in
      select n._c as change, jsonb_agg(jsonb_build_array(n.tenant_id, n.key, n.add, n.max) order by n.key) as uses
        from jsonb_to_recordset(p_docs[i]) as n (_c integer, tenant_id uuid, key text, add bigint, max bigint)
       where not (n._c = any (failed)) group by n._c order by n._c
    loop
      counted := true;
      for k in 0 .. jsonb_array_length(counting.uses) - 1 loop
        select coalesce((select c.value from countersign.counters as c
                          where c.tenant_id = (counting.uses -> k ->> 0)::uuid and c.key = counting.uses -> k ->> 1), 0) into total;
        if total + (counting.uses -> k ->> 2)::bigint > (counting.uses -> k ->> 3)::bigint then
          counted := false;
          reasons := reasons || jsonb_build_array(jsonb_build_array(counting.change, 'counter', 'counters', counting.uses -> k ->> 1));
        end if;
      end loop;
      if counted then
        insert into countersign.counters as c (tenant_id, key, value)
        select (u ->> 0)::uuid, u ->> 1, (u ->> 2)::bigint from jsonb_array_elements(counting.uses) as u
        on conflict (tenant_id, key) do update set value = c.value + excluded.value;
      else
        failed := failed || counting.change;
      end if;
    end loop;
  end loop;

  -- One statement a table and verb. Guards were checked under the lock, so every row must be written: anything else is a bug, and nothing stays.
  for i in p_guards + p_counts + 1 .. cardinality(p_kinds) loop
    done := null;
    case p_kinds[i]/*WRITES*/
      else null;
    end case;
    if failed = '{}' then
      due := jsonb_array_length(p_docs[i]);
    else
      select count(*) into due from jsonb_array_elements(p_docs[i]) as n where not ((n ->> '_c')::integer = any (failed));
    end if;
    if done is null then
      raise exception using errcode = 'CS004', message = format('the door has no `%s`: run countersign.rebuild_door()', p_kinds[i]);
    elsif done <> due then
      raise exception using errcode = 'CS002', message = format('`%s` wrote %s of %s rows', p_kinds[i], done, due);
    end if;
  end loop;

  -- Append last, for the changes that stand.
  if failed = '{}' then
    heads := countersign.append_entries(p_now_ms, p_tenants, p_entry_tenants, p_entry_ids, p_contents,
      p_actions, p_actors, p_subjects, p_body_entries, p_body_salts, p_bodies);
  else
    kept := array(select e.n from unnest(p_entry_change) with ordinality as e (change, n) where not (e.change = any (failed)) order by e.n);
    if cardinality(kept) > 0 then
      heads := countersign.append_entries(p_now_ms, p_tenants,
          array(select p_entry_tenants[k.at] from unnest(kept) with ordinality as k (at, n) order by k.n),
          array(select p_entry_ids[k.at] from unnest(kept) with ordinality as k (at, n) order by k.n),
          array(select p_contents[k.at] from unnest(kept) with ordinality as k (at, n) order by k.n),
          array(select p_actions[k.at] from unnest(kept) with ordinality as k (at, n) order by k.n),
          array(select p_actors[k.at] from unnest(kept) with ordinality as k (at, n) order by k.n),
          array(select p_subjects[k.at] from unnest(kept) with ordinality as k (at, n) order by k.n),
          array(select array_position(kept, b.entry) from unnest(p_body_entries) with ordinality as b (entry, n) where b.entry = any (kept) order by b.n),
          array(select p_body_salts[b.n] from unnest(p_body_entries) with ordinality as b (entry, n) where b.entry = any (kept) order by b.n),
          array(select p_bodies[b.n] from unnest(p_body_entries) with ordinality as b (entry, n) where b.entry = any (kept) order by b.n));
    end if;
  end if;
  -- Keys go in the commit whose entry says so: from then on nobody opens what they sealed, whatever becomes of us.
  if 'erase subject_keys' = any (p_kinds) then
    perform countersign.erase_subject_keys(n.tenant_id, n.entry_id)
       from jsonb_to_recordset(p_docs[array_position(p_kinds, 'erase subject_keys')]) as n (_c integer, tenant_id uuid, entry_id uuid)
      where not (n._c = any (failed));
  end if;
  return jsonb_build_object('failed', reasons, 'heads', heads);
end
$source$, '/*GUARDS*/', coalesce(nullif(guards, ''), ' when '''' then null;')), '/*WRITES*/', coalesce(nullif(writes, ''), ' when '''' then null;'));
end
$function$;

-- Makes commit_group, the one call a group of changes is committed by; called after every migration.
-- Invoker's rights: row-level security and the application's grants hold for every row it writes.
--   p_tenants: sorted, each once · p_kinds, p_docs: first p_guards documents to check ("row T", "absent INDEX"), then p_counts of counters
--   ("count"), then what to write ("insert T", "update T"); each an array of rows that carry the number of their change as `_c` ·
--   p_entry_change: the change of every entry · p_lock_ms: how long to wait for locks, 0 as the connection says.
-- Returns {"failed": [[change, guard kind, table, key], …], "heads": [[tenant, first seq, prev, time_ms, last hash], …]}.
create function countersign.rebuild_door() returns void
language plpgsql set search_path = pg_catalog, pg_temp as $function$
begin
  execute format('create or replace function countersign.commit_group('
    'p_tenants uuid[], p_now_ms bigint, p_lock_ms integer, p_guards integer, p_counts integer, p_kinds text[], p_docs jsonb[], p_entry_change integer[], p_entry_tenants integer[], '
    'p_entry_ids uuid[], p_contents text[], p_actions text[], p_actors text[], p_subjects text[], p_body_entries integer[], p_body_salts bytea[], p_bodies bytea[]) returns jsonb '
    'language plpgsql set search_path = pg_catalog, pg_temp as %L', countersign.door_source());
  execute 'revoke all on function countersign.commit_group(uuid[], bigint, integer, integer, integer, text[], jsonb[], integer[], integer[], uuid[], text[], text[], text[], text[], integer[], bytea[], bytea[]) from public';
  execute 'grant execute on function countersign.commit_group(uuid[], bigint, integer, integer, integer, text[], jsonb[], integer[], integer[], uuid[], text[], text[], text[], text[], integer[], bytea[], bytea[]) to countersign_app';
end
$function$;
