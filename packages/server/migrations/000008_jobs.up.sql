-- What recurs for every tenant, as durable jobs: the queue of graphile-worker (a schema of its own), what our scheduler remembers of a
-- job, and how far a follower has read. All of it is operational: a row that is lost, repeated or forged may delay work, and decides nothing.

-- The schema that graphile-worker 0.17 makes by its migrations 1 to 19, as it is after them. It stands here, and is not made by the library at a
-- start, so that every object of the database comes from a numbered migration and the server needs no right to make any. A test compares the
-- two but for comments: a newer library whose schema differs turns it red, and gets a migration of ours (docs/decisions/0018-jobs.md).
-- From graphile-worker, MIT licence, copyright Benjie Gillam.
create schema countersign_jobs;

create table countersign_jobs.migrations (
  id integer not null,
  ts timestamptz default now() not null,
  breaking boolean default false not null,
  constraint migrations_pkey primary key (id)
);
-- The library looks here at its start, finds all there is and makes nothing.
insert into countersign_jobs.migrations (id, breaking)
select id, id in (1, 3, 11, 13, 14, 16, 19) from generate_series(1, 19) as made (id);

create table countersign_jobs._private_job_queues (
  id integer generated always as identity (sequence name countersign_jobs.job_queues_id_seq) not null,
  queue_name text not null,
  locked_at timestamptz,
  locked_by text,
  is_available boolean generated always as ((locked_at is null)) stored not null,
  constraint job_queues_pkey1 primary key (id),
  constraint job_queues_queue_name_key unique (queue_name),
  constraint job_queues_queue_name_check check (length(queue_name) <= 128)
);

create table countersign_jobs._private_tasks (
  id integer generated always as identity (sequence name countersign_jobs.tasks_id_seq) not null,
  identifier text not null,
  constraint tasks_pkey primary key (id),
  constraint tasks_identifier_key unique (identifier),
  constraint tasks_identifier_check check (length(identifier) <= 128)
);

create table countersign_jobs._private_jobs (
  id bigint generated always as identity (sequence name countersign_jobs.jobs_id_seq1) not null,
  job_queue_id integer,
  task_id integer not null,
  payload json default '{}'::json not null,
  priority smallint default 0 not null,
  run_at timestamptz default now() not null,
  attempts smallint default 0 not null,
  max_attempts smallint default 25 not null,
  last_error text,
  created_at timestamptz default now() not null,
  updated_at timestamptz default now() not null,
  key text,
  locked_at timestamptz,
  locked_by text,
  revision integer default 0 not null,
  flags jsonb,
  is_available boolean generated always as (((locked_at is null) and (attempts < max_attempts))) stored not null,
  constraint jobs_pkey1 primary key (id),
  constraint jobs_key_key1 unique (key),
  constraint jobs_key_check check (length(key) > 0 and length(key) <= 512),
  constraint jobs_max_attempts_check check (max_attempts >= 1)
);
create index jobs_main_index on countersign_jobs._private_jobs using btree (priority, run_at) include (id, task_id, job_queue_id) where (is_available = true);
create index jobs_no_queue_index on countersign_jobs._private_jobs using btree (priority, run_at) include (id, task_id) where (is_available = true and job_queue_id is null);

create table countersign_jobs._private_known_crontabs (
  identifier text not null,
  known_since timestamptz not null,
  last_execution timestamptz,
  constraint known_crontabs_pkey primary key (identifier)
);

create view countersign_jobs.jobs as
 select jobs.id,
    job_queues.queue_name,
    tasks.identifier as task_identifier,
    jobs.priority,
    jobs.run_at,
    jobs.attempts,
    jobs.max_attempts,
    jobs.last_error,
    jobs.created_at,
    jobs.updated_at,
    jobs.key,
    jobs.locked_at,
    jobs.locked_by,
    jobs.revision,
    jobs.flags
   from countersign_jobs._private_jobs jobs
     join countersign_jobs._private_tasks tasks on tasks.id = jobs.task_id
     left join countersign_jobs._private_job_queues job_queues on job_queues.id = jobs.job_queue_id;

create type countersign_jobs.job_spec as (
  identifier text,
  payload json,
  queue_name text,
  run_at timestamptz,
  max_attempts smallint,
  job_key text,
  priority smallint,
  flags text[]
);

create function countersign_jobs.add_jobs(specs countersign_jobs.job_spec[], job_key_preserve_run_at boolean DEFAULT false)
 RETURNS SETOF countersign_jobs._private_jobs
 LANGUAGE plpgsql
AS $function$
begin
  -- Ensure all the tasks exist
  insert into "countersign_jobs"._private_tasks as tasks (identifier)
  select distinct spec.identifier
  from unnest(specs) spec
  on conflict do nothing;
  -- Ensure all the queues exist
  insert into "countersign_jobs"._private_job_queues as job_queues (queue_name)
  select distinct spec.queue_name
  from unnest(specs) spec
  where spec.queue_name is not null
  on conflict do nothing;
  -- Ensure any locked jobs have their key cleared - in the case of locked
  -- existing job create a new job instead as it must have already started
  -- executing (i.e. it's world state is out of date, and the fact add_job
  -- has been called again implies there's new information that needs to be
  -- acted upon).
  update "countersign_jobs"._private_jobs as jobs
  set
    key = null,
    attempts = jobs.max_attempts,
    updated_at = now()
  from unnest(specs) spec
  where spec.job_key is not null
  and jobs.key = spec.job_key
  and is_available is not true;

  -- WARNING: this count is not 100% accurate; 'on conflict' clause will cause it to be an overestimate
  perform pg_notify('jobs:insert', '{"r":' || random()::text || ',"count":' || array_length(specs, 1)::text || '}');

  return query insert into "countersign_jobs"._private_jobs as jobs (
    job_queue_id,
    task_id,
    payload,
    run_at,
    max_attempts,
    key,
    priority,
    flags
  )
    select
      job_queues.id,
      tasks.id,
      coalesce(spec.payload, '{}'::json),
      coalesce(spec.run_at, now()),
      coalesce(spec.max_attempts, 25),
      spec.job_key,
      coalesce(spec.priority, 0),
      (
        select jsonb_object_agg(flag, true)
        from unnest(spec.flags) as item(flag)
      )
    from unnest(specs) spec
    inner join "countersign_jobs"._private_tasks as tasks
    on tasks.identifier = spec.identifier
    left join "countersign_jobs"._private_job_queues as job_queues
    on job_queues.queue_name = spec.queue_name
  on conflict (key) do update set
    job_queue_id = excluded.job_queue_id,
    task_id = excluded.task_id,
    payload =
      case
      when json_typeof(jobs.payload) = 'array' and json_typeof(excluded.payload) = 'array' then
        (jobs.payload::jsonb || excluded.payload::jsonb)::json
      else
        excluded.payload
      end,
    max_attempts = excluded.max_attempts,
    run_at = (case
      when job_key_preserve_run_at is true and jobs.attempts = 0 then jobs.run_at
      else excluded.run_at
    end),
    priority = excluded.priority,
    revision = jobs.revision + 1,
    flags = excluded.flags,
    -- always reset error/retry state
    attempts = 0,
    last_error = null,
    updated_at = now()
  where jobs.locked_at is null
  returning *;
end;
$function$;

create function countersign_jobs.add_job(identifier text, payload json DEFAULT NULL::json, queue_name text DEFAULT NULL::text, run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, max_attempts integer DEFAULT NULL::integer, job_key text DEFAULT NULL::text, priority integer DEFAULT NULL::integer, flags text[] DEFAULT NULL::text[], job_key_mode text DEFAULT 'replace'::text)
 RETURNS countersign_jobs._private_jobs
 LANGUAGE plpgsql
AS $function$
declare
  v_job "countersign_jobs"._private_jobs;
begin
  if (job_key is null or job_key_mode is null or job_key_mode in ('replace', 'preserve_run_at')) then
    select * into v_job
    from "countersign_jobs".add_jobs(
      ARRAY[(
        identifier,
        payload,
        queue_name,
        run_at,
        max_attempts::smallint,
        job_key,
        priority::smallint,
        flags
      )::"countersign_jobs".job_spec],
      (job_key_mode = 'preserve_run_at')
    )
    limit 1;
    return v_job;
  elsif job_key_mode = 'unsafe_dedupe' then
    -- Ensure all the tasks exist
    insert into "countersign_jobs"._private_tasks as tasks (identifier)
    values (add_job.identifier)
    on conflict do nothing;
    -- Ensure all the queues exist
    if add_job.queue_name is not null then
      insert into "countersign_jobs"._private_job_queues as job_queues (queue_name)
      values (add_job.queue_name)
      on conflict do nothing;
    end if;
    -- Insert job, but if one already exists then do nothing, even if the
    -- existing job has already started (and thus represents an out-of-date
    -- world state). This is dangerous because it means that whatever state
    -- change triggered this add_job may not be acted upon (since it happened
    -- after the existing job started executing, but no further job is being
    -- scheduled), but it is useful in very rare circumstances for
    -- de-duplication. If in doubt, DO NOT USE THIS.
    insert into "countersign_jobs"._private_jobs as jobs (
      job_queue_id,
      task_id,
      payload,
      run_at,
      max_attempts,
      key,
      priority,
      flags
    )
      select
        job_queues.id,
        tasks.id,
        coalesce(add_job.payload, '{}'::json),
        coalesce(add_job.run_at, now()),
        coalesce(add_job.max_attempts::smallint, 25::smallint),
        add_job.job_key,
        coalesce(add_job.priority::smallint, 0::smallint),
        (
          select jsonb_object_agg(flag, true)
          from unnest(add_job.flags) as item(flag)
        )
      from "countersign_jobs"._private_tasks as tasks
      left join "countersign_jobs"._private_job_queues as job_queues
      on job_queues.queue_name = add_job.queue_name
      where tasks.identifier = add_job.identifier
    on conflict (key)
      -- Bump the updated_at so that there's something to return
      do update set
        revision = jobs.revision + 1,
        updated_at = now()
      returning *
      into v_job;
    if v_job.revision = 0 then
      perform pg_notify('jobs:insert', '{"r":' || random()::text || ',"count":1}');
    end if;
    return v_job;
  else
    raise exception 'Invalid job_key_mode value, expected ''replace'', ''preserve_run_at'' or ''unsafe_dedupe''.' using errcode = 'GWBKM';
  end if;
end;
$function$;

create function countersign_jobs.complete_jobs(job_ids bigint[])
 RETURNS SETOF countersign_jobs._private_jobs
 LANGUAGE sql
AS $function$
  delete from "countersign_jobs"._private_jobs as jobs
    where id = any(job_ids)
    and (
      locked_at is null
    or
      locked_at < now() - interval '4 hours'
    )
    returning *;
$function$;

create function countersign_jobs.force_unlock_workers(worker_ids text[])
 RETURNS void
 LANGUAGE sql
AS $function$
update "countersign_jobs"._private_jobs as jobs
set locked_at = null, locked_by = null
where locked_by = any(worker_ids);
update "countersign_jobs"._private_job_queues as job_queues
set locked_at = null, locked_by = null
where locked_by = any(worker_ids);
$function$;

create function countersign_jobs.permanently_fail_jobs(job_ids bigint[], error_message text DEFAULT NULL::text)
 RETURNS SETOF countersign_jobs._private_jobs
 LANGUAGE sql
AS $function$
  update "countersign_jobs"._private_jobs as jobs
    set
      last_error = coalesce(error_message, 'Manually marked as failed'),
      attempts = max_attempts,
      updated_at = now()
    where id = any(job_ids)
    and (
      locked_at is null
    or
      locked_at < NOW() - interval '4 hours'
    )
    returning *;
$function$;

create function countersign_jobs.remove_job(job_key text)
 RETURNS countersign_jobs._private_jobs
 LANGUAGE plpgsql
 STRICT
AS $function$
declare
  v_job "countersign_jobs"._private_jobs;
begin
  -- Delete job if not locked
  delete from "countersign_jobs"._private_jobs as jobs
    where key = job_key
    and (
      locked_at is null
    or
      locked_at < NOW() - interval '4 hours'
    )
  returning * into v_job;
  if not (v_job is null) then
    perform pg_notify('jobs:insert', '{"r":' || random()::text || ',"count":-1}');
    return v_job;
  end if;
  -- Otherwise prevent job from retrying, and clear the key
  update "countersign_jobs"._private_jobs as jobs
  set
    key = null,
    attempts = jobs.max_attempts,
    updated_at = now()
  where key = job_key
  returning * into v_job;
  return v_job;
end;
$function$;

create function countersign_jobs.reschedule_jobs(job_ids bigint[], run_at timestamp with time zone DEFAULT NULL::timestamp with time zone, priority integer DEFAULT NULL::integer, attempts integer DEFAULT NULL::integer, max_attempts integer DEFAULT NULL::integer)
 RETURNS SETOF countersign_jobs._private_jobs
 LANGUAGE sql
AS $function$
  update "countersign_jobs"._private_jobs as jobs
    set
      run_at = coalesce(reschedule_jobs.run_at, jobs.run_at),
      priority = coalesce(reschedule_jobs.priority::smallint, jobs.priority),
      attempts = coalesce(reschedule_jobs.attempts::smallint, jobs.attempts),
      max_attempts = coalesce(reschedule_jobs.max_attempts::smallint, jobs.max_attempts),
      updated_at = now()
    where id = any(job_ids)
    and (
      locked_at is null
    or
      locked_at < NOW() - interval '4 hours'
    )
    returning *;
$function$;

-- The library leaves row-level security on and without a policy: only the owner would get through. The server works as countersign_app, which makes
-- nothing here; a job names a tenant, a kind of work and why, and no text of anybody.
alter table countersign_jobs._private_job_queues enable row level security;
alter table countersign_jobs._private_tasks enable row level security;
alter table countersign_jobs._private_jobs enable row level security;
alter table countersign_jobs._private_known_crontabs enable row level security;
create policy server on countersign_jobs._private_job_queues to countersign_app using (true) with check (true);
create policy server on countersign_jobs._private_tasks to countersign_app using (true) with check (true);
create policy server on countersign_jobs._private_jobs to countersign_app using (true) with check (true);
create policy server on countersign_jobs._private_known_crontabs to countersign_app using (true) with check (true);
-- A view asks with its owner's rights unless it is told otherwise, and the owner passes by the policies.
revoke all on all functions in schema countersign_jobs from public;
grant usage on schema countersign_jobs to countersign_app;
grant select on countersign_jobs.migrations, countersign_jobs.jobs to countersign_app;
grant select, insert, update, delete on countersign_jobs._private_job_queues, countersign_jobs._private_tasks,
  countersign_jobs._private_jobs, countersign_jobs._private_known_crontabs to countersign_app;
grant execute on all functions in schema countersign_jobs to countersign_app;

-- What is known of a job of a tenant after its last run: not before when it is handed out again, and since when it fails. No row: nothing is known, and
-- nothing holds it back. Losing a row lets a job run earlier; one that is forged holds it back no longer than a job's longest pause.
create table countersign.job_states (
  tenant_id uuid not null,
  job text not null,
  next_ms bigint not null,
  failures integer not null,
  since_ms bigint,
  error text,
  constraint job_states_pkey primary key (tenant_id, job),
  constraint job_states_failures_not_negative check (failures >= 0),
  constraint job_states_failing_since_then check ((failures > 0) = (since_ms is not null)),
  constraint job_states_error_is_bounded check (octet_length(error) <= 2000)
);

-- Up to which entry a follower has done what it does; -1: none. Set back, it does the same again; set forward, it leaves entries out, which nothing
-- that is decided depends on.
create table countersign.follower_cursors (
  tenant_id uuid not null,
  follower text not null,
  after_seq bigint not null,
  moved_ms bigint not null,
  constraint follower_cursors_pkey primary key (tenant_id, follower),
  constraint follower_cursors_after_seq_is_safe_integer check (after_seq >= -1 and after_seq <= 9007199254740991)
);
