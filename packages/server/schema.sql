-- Made by `npm run schema` from a migrated database. Do not edit: write a migration.

create table countersign.anchor_receipts (
  tenant_id uuid not null,
  anchor text not null,
  incarnation integer not null,
  size bigint not null,
  at_ms bigint not null,
  receipt text not null,
  constraint anchor_receipts_pkey PRIMARY KEY (tenant_id, anchor, incarnation, size),
  constraint anchor_receipts_receipt_is_bounded CHECK (octet_length(receipt) <= 65536)
);

comment on table countersign.anchor_receipts is 'log';

alter table countersign.anchor_receipts enable row level security;

alter table countersign.anchor_receipts force row level security;

create policy tenant_rows on countersign.anchor_receipts for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX anchor_receipts_by_size ON countersign.anchor_receipts USING btree (tenant_id, incarnation, size);

CREATE TRIGGER anchor_receipts_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON countersign.anchor_receipts FOR EACH STATEMENT EXECUTE FUNCTION countersign.refuse_ledger_change();

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
  constraint anchor_states_pkey PRIMARY KEY (tenant_id, anchor),
  constraint anchor_states_standing_known CHECK (standing = ANY (ARRAY['new'::text, 'ok'::text, 'failing'::text, 'contradicts'::text]))
);

comment on table countersign.anchor_states is 'operational';

alter table countersign.anchor_states enable row level security;

alter table countersign.anchor_states force row level security;

create policy tenant_rows on countersign.anchor_states for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

create table countersign.api_key_uses (
  tenant_id uuid not null,
  api_key_id uuid not null,
  last_used_at_ms bigint not null,
  constraint api_key_uses_pkey PRIMARY KEY (tenant_id, api_key_id)
);

comment on table countersign.api_key_uses is 'operational';

alter table countersign.api_key_uses enable row level security;

alter table countersign.api_key_uses force row level security;

create policy tenant_rows on countersign.api_key_uses for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

create table countersign.api_keys (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  principal_id uuid not null,
  name text not null,
  secret_hash text not null,
  scopes text[] not null,
  created_by uuid,
  created_at_ms bigint not null,
  expires_at_ms bigint not null,
  revoked_at_ms bigint,
  constraint api_keys_pkey PRIMARY KEY (tenant_id, id),
  constraint api_keys_tenant_id_principal_id_fkey FOREIGN KEY (tenant_id, principal_id) REFERENCES countersign.principals(tenant_id, id)
);

comment on table countersign.api_keys is 'governed';

alter table countersign.api_keys enable row level security;

alter table countersign.api_keys force row level security;

create policy tenant_rows on countersign.api_keys for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX api_keys_by_principal ON countersign.api_keys USING btree (tenant_id, principal_id);

create table countersign.application_items (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  change_set_id uuid not null,
  application_id uuid not null,
  sequence integer not null,
  token text not null,
  status text not null,
  problem jsonb,
  started_at_ms bigint not null,
  ended_at_ms bigint,
  constraint application_items_pkey PRIMARY KEY (tenant_id, id),
  constraint application_items_tenant_id_application_id_fkey FOREIGN KEY (tenant_id, application_id) REFERENCES countersign.applications(tenant_id, id),
  constraint application_item_status_known CHECK (status = ANY (ARRAY['STARTED'::text, 'VERIFIED'::text, 'NOT_APPLIED'::text, 'DIVERGED'::text, 'UNKNOWN'::text, 'COMPENSATING'::text, 'COMPENSATED'::text]))
);

comment on table countersign.application_items is 'governed';

alter table countersign.application_items enable row level security;

alter table countersign.application_items force row level security;

create policy tenant_rows on countersign.application_items for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE UNIQUE INDEX application_items_by_sequence ON countersign.application_items USING btree (tenant_id, application_id, sequence);

create table countersign.application_leases (
  tenant_id uuid not null,
  application_id uuid not null,
  holder text not null,
  expires_at_ms bigint not null,
  constraint application_leases_pkey PRIMARY KEY (tenant_id, application_id)
);

comment on table countersign.application_leases is 'operational';

alter table countersign.application_leases enable row level security;

alter table countersign.application_leases force row level security;

create policy tenant_rows on countersign.application_leases for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

create table countersign.applications (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  change_set_id uuid not null,
  revision_id uuid not null,
  kind text not null,
  mode text not null,
  attempt integer not null,
  status text not null,
  started_by uuid not null,
  plan jsonb not null,
  reason text,
  applied_items integer not null,
  failed_items integer not null,
  errors jsonb not null,
  started_at_ms bigint not null,
  ended_at_ms bigint,
  constraint applications_pkey PRIMARY KEY (tenant_id, id),
  constraint applications_tenant_id_change_set_id_fkey FOREIGN KEY (tenant_id, change_set_id) REFERENCES countersign.change_sets(tenant_id, id),
  constraint application_kind_known CHECK (kind = ANY (ARRAY['APPLY'::text, 'ROLLBACK'::text])),
  constraint application_status_known CHECK (status = ANY (ARRAY['RUNNING'::text, 'SUCCEEDED'::text, 'COMPENSATED'::text, 'REFUSED'::text, 'PARTIAL'::text]))
);

comment on table countersign.applications is 'governed';

alter table countersign.applications enable row level security;

alter table countersign.applications force row level security;

create policy tenant_rows on countersign.applications for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX applications_by_change_set ON countersign.applications USING btree (tenant_id, change_set_id, started_at_ms);

CREATE INDEX applications_running ON countersign.applications USING btree (tenant_id, id) WHERE (status = 'RUNNING'::text);

create table countersign.backups (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  change_set_id uuid not null,
  application_id uuid not null,
  item_sequence integer not null,
  target_key text not null,
  digest text not null,
  bytes integer not null,
  mode integer not null,
  released boolean not null,
  at_ms bigint not null,
  constraint backups_pkey PRIMARY KEY (tenant_id, id),
  constraint backups_tenant_id_application_id_fkey FOREIGN KEY (tenant_id, application_id) REFERENCES countersign.applications(tenant_id, id)
);

comment on table countersign.backups is 'governed';

alter table countersign.backups enable row level security;

alter table countersign.backups force row level security;

create policy tenant_rows on countersign.backups for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX backups_by_application ON countersign.backups USING btree (tenant_id, application_id);

create table countersign.blobs (
  tenant_id uuid not null,
  digest text not null,
  bytes integer not null,
  sealed bytea not null,
  constraint blobs_pkey PRIMARY KEY (tenant_id, digest),
  constraint blob_digest_shape CHECK (digest ~ '^[0-9a-f]{64}$'::text)
);

comment on table countersign.blobs is 'content';

alter table countersign.blobs enable row level security;

alter table countersign.blobs force row level security;

create policy tenant_rows on countersign.blobs for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

create table countersign.bodies (
  tenant_id uuid not null,
  entry_id uuid not null,
  salt bytea not null,
  sealed bytea not null,
  constraint bodies_pkey PRIMARY KEY (tenant_id, entry_id),
  constraint bodies_entry_fkey FOREIGN KEY (tenant_id, entry_id) REFERENCES countersign.entries(tenant_id, entry_id),
  constraint bodies_salt_is_32_bytes CHECK (octet_length(salt) = 32)
);

comment on table countersign.bodies is 'ledger';

alter table countersign.bodies enable row level security;

alter table countersign.bodies force row level security;

alter table countersign.bodies owner to countersign_ledger;

create policy tenant_rows on countersign.bodies for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE TRIGGER bodies_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON countersign.bodies FOR EACH STATEMENT EXECUTE FUNCTION countersign.refuse_ledger_change();

create table countersign.change_sets (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  number text not null,
  title text not null,
  description text not null,
  author_id uuid not null,
  author_humans text[] not null,
  agent_type text,
  category text not null,
  category_requested text,
  priority text not null,
  apply_mode text not null,
  tags text[] not null,
  metadata jsonb not null,
  depends_on text[] not null,
  status text not null,
  status_reason text,
  blocked text,
  revision integer not null,
  revision_id uuid not null,
  approval_digest text,
  risk_score integer,
  risk_level text,
  required_approvals integer,
  attempts integer not null,
  application_id uuid,
  created_at_ms bigint not null,
  updated_at_ms bigint not null,
  submitted_at_ms bigint,
  deadline_at_ms bigint,
  approved_until_ms bigint,
  applied_at_ms bigint,
  undo_until_ms bigint,
  erased_at_ms bigint,
  constraint change_sets_pkey PRIMARY KEY (tenant_id, id),
  constraint change_sets_tenant_id_author_id_fkey FOREIGN KEY (tenant_id, author_id) REFERENCES countersign.principals(tenant_id, id),
  constraint change_set_apply_mode_known CHECK (apply_mode = ANY (ARRAY['AUTO'::text, 'MANUAL'::text])),
  constraint change_set_number_shape CHECK (number ~ '^CS-[0-9]{4}-[0-9]{4}-[0-9]{3,}$'::text),
  constraint change_set_priority_known CHECK (priority = ANY (ARRAY['LOW'::text, 'NORMAL'::text, 'HIGH'::text, 'CRITICAL'::text])),
  constraint change_set_status_known CHECK (status = ANY (ARRAY['DRAFT'::text, 'PENDING_APPROVAL'::text, 'APPROVED'::text, 'APPLYING'::text, 'APPLIED'::text, 'PARTIALLY_APPLIED'::text, 'ROLLING_BACK'::text, 'ROLLED_BACK'::text, 'REJECTED'::text, 'CANCELLED'::text, 'ARCHIVED'::text]))
);

comment on table countersign.change_sets is 'governed';

alter table countersign.change_sets enable row level security;

alter table countersign.change_sets force row level security;

create policy tenant_rows on countersign.change_sets for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX change_sets_by_author ON countersign.change_sets USING btree (tenant_id, author_id, created_at_ms DESC, id DESC);

CREATE INDEX change_sets_by_creation ON countersign.change_sets USING btree (tenant_id, created_at_ms DESC, id DESC);

CREATE UNIQUE INDEX change_sets_by_number ON countersign.change_sets USING btree (tenant_id, number);

CREATE INDEX change_sets_by_status ON countersign.change_sets USING btree (tenant_id, status, created_at_ms DESC, id DESC);

CREATE INDEX change_sets_ever_applied ON countersign.change_sets USING btree (tenant_id, author_id) WHERE (applied_at_ms IS NOT NULL);

CREATE INDEX change_sets_finished ON countersign.change_sets USING btree (tenant_id, author_id, created_at_ms DESC, id DESC) WHERE (status = ANY (ARRAY['APPLIED'::text, 'ARCHIVED'::text, 'ROLLED_BACK'::text, 'REJECTED'::text, 'PARTIALLY_APPLIED'::text]));

create table countersign.checkpoints (
  tenant_id uuid not null,
  incarnation integer not null,
  size bigint not null,
  root bytea not null,
  note text not null,
  signed_ms bigint not null,
  constraint checkpoints_pkey PRIMARY KEY (tenant_id, incarnation, size),
  constraint checkpoints_incarnation_not_negative CHECK (incarnation >= 0),
  constraint checkpoints_note_is_bounded CHECK (octet_length(note) >= 1 AND octet_length(note) <= 65536),
  constraint checkpoints_root_is_sha256 CHECK (octet_length(root) = 32),
  constraint checkpoints_size_is_safe_integer CHECK (size >= 1 AND size <= '9007199254740991'::bigint),
  constraint checkpoints_time_is_safe_integer CHECK (signed_ms >= 0 AND signed_ms <= '9007199254740991'::bigint)
);

comment on table countersign.checkpoints is 'log';

alter table countersign.checkpoints enable row level security;

alter table countersign.checkpoints force row level security;

create policy tenant_rows on countersign.checkpoints for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE TRIGGER checkpoints_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON countersign.checkpoints FOR EACH STATEMENT EXECUTE FUNCTION countersign.refuse_ledger_change();

create table countersign.counters (
  tenant_id uuid not null,
  key text not null,
  value bigint not null,
  constraint counters_pkey PRIMARY KEY (tenant_id, key),
  constraint counters_value_is_safe_integer CHECK (value >= '-9007199254740991'::bigint AND value <= '9007199254740991'::bigint)
);

comment on table countersign.counters is 'attached';

alter table countersign.counters enable row level security;

alter table countersign.counters force row level security;

create policy tenant_rows on countersign.counters for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

create table countersign.enrolment_codes (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  principal_id uuid not null,
  code_hash text not null,
  issued_by uuid,
  issued_at_ms bigint not null,
  expires_at_ms bigint not null,
  used_at_ms bigint,
  constraint enrolment_codes_pkey PRIMARY KEY (tenant_id, id),
  constraint enrolment_codes_tenant_id_principal_id_fkey FOREIGN KEY (tenant_id, principal_id) REFERENCES countersign.principals(tenant_id, id)
);

comment on table countersign.enrolment_codes is 'governed';

alter table countersign.enrolment_codes enable row level security;

alter table countersign.enrolment_codes force row level security;

create policy tenant_rows on countersign.enrolment_codes for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE UNIQUE INDEX enrolment_codes_by_hash ON countersign.enrolment_codes USING btree (tenant_id, code_hash);

create table countersign.entries (
  tenant_id uuid not null,
  seq bigint not null,
  time_ms bigint not null,
  entry_id uuid not null,
  prev bytea not null,
  content text,
  content_hash bytea not null,
  hash bytea not null,
  meta jsonb generated always as (((content)::jsonb - '{v,nonce,at,data,body}'::text[])) stored,
  action text,
  actor_id text,
  subject_id text,
  constraint entries_pkey PRIMARY KEY (tenant_id, seq),
  constraint entries_entry_id_key UNIQUE (tenant_id, entry_id),
  constraint entries_prev_key UNIQUE (tenant_id, prev),
  constraint entries_columns_are_in_content CHECK (meta IS NULL OR NOT action IS DISTINCT FROM (meta ->> 'action'::text) AND NOT actor_id IS DISTINCT FROM (meta #>> '{actor,id}'::text[]) AND NOT subject_id IS DISTINCT FROM (meta #>> '{subject,id}'::text[])),
  constraint entries_hashes_are_sha256 CHECK (octet_length(prev) = 32 AND octet_length(content_hash) = 32 AND octet_length(hash) = 32),
  constraint entries_id_is_in_content CHECK ((meta ->> 'id'::text) = entry_id::text),
  constraint entries_only_first_has_no_prev CHECK ((seq = 0) = (prev = '\x0000000000000000000000000000000000000000000000000000000000000000'::bytea)),
  constraint entries_seq_starts_at_zero CHECK (seq >= 0),
  constraint entries_time_is_safe_integer CHECK (time_ms >= 0 AND time_ms <= '9007199254740991'::bigint)
);

comment on table countersign.entries is 'ledger';

alter table countersign.entries enable row level security;

alter table countersign.entries force row level security;

alter table countersign.entries owner to countersign_ledger;

create policy tenant_rows on countersign.entries for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX entries_by_action ON countersign.entries USING btree (tenant_id, action, seq);

CREATE INDEX entries_by_actor ON countersign.entries USING btree (tenant_id, actor_id, seq);

CREATE INDEX entries_by_subject ON countersign.entries USING btree (tenant_id, subject_id, seq);

CREATE TRIGGER entries_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON countersign.entries FOR EACH STATEMENT EXECUTE FUNCTION countersign.refuse_ledger_change();

create table countersign.epochs (
  tenant_id uuid not null,
  id text not null,
  version integer not null,
  row_salt bytea not null,
  constraint epochs_pkey PRIMARY KEY (tenant_id, id),
  constraint epochs_name_is_known CHECK (id ~ '^(policy|routes|members|kill|config|holds|log_keys|target:.+)$'::text),
  constraint epochs_row_salt_is_32_bytes CHECK (octet_length(row_salt) = 32),
  constraint epochs_version_is_positive CHECK (version >= 1)
);

comment on table countersign.epochs is 'governed';

alter table countersign.epochs enable row level security;

alter table countersign.epochs force row level security;

create policy tenant_rows on countersign.epochs for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

create table countersign.follower_cursors (
  tenant_id uuid not null,
  follower text not null,
  after_seq bigint not null,
  moved_ms bigint not null,
  constraint follower_cursors_pkey PRIMARY KEY (tenant_id, follower),
  constraint follower_cursors_after_seq_is_safe_integer CHECK (after_seq >= '-1'::integer AND after_seq <= '9007199254740991'::bigint)
);

comment on table countersign.follower_cursors is 'operational';

alter table countersign.follower_cursors enable row level security;

alter table countersign.follower_cursors force row level security;

create policy tenant_rows on countersign.follower_cursors for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

create table countersign.idempotency_keys (
  tenant_id uuid not null,
  principal_id uuid not null,
  operation text not null,
  key text not null,
  fingerprint text not null,
  status_code integer not null,
  response jsonb,
  change_set_id uuid,
  application_id uuid,
  entry_id uuid,
  first_used_ms bigint not null,
  last_used_ms bigint not null,
  use_count integer not null,
  expires_ms bigint not null,
  constraint idempotency_keys_pkey PRIMARY KEY (tenant_id, principal_id, operation, key),
  constraint idempotency_keys_expire_after_use CHECK (expires_ms > first_used_ms),
  constraint idempotency_keys_used_at_least_once CHECK (use_count >= 1 AND last_used_ms >= first_used_ms)
);

comment on table countersign.idempotency_keys is 'attached';

alter table countersign.idempotency_keys enable row level security;

alter table countersign.idempotency_keys force row level security;

create policy tenant_rows on countersign.idempotency_keys for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX idempotency_keys_by_expiry ON countersign.idempotency_keys USING btree (tenant_id, expires_ms);

create table countersign.item_targets (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  change_set_id uuid not null,
  revision_id uuid not null,
  item_id uuid not null,
  target_key text not null,
  target_id text not null,
  constraint item_targets_pkey PRIMARY KEY (tenant_id, id),
  constraint item_targets_tenant_id_item_id_fkey FOREIGN KEY (tenant_id, item_id) REFERENCES countersign.items(tenant_id, id)
);

comment on table countersign.item_targets is 'governed';

alter table countersign.item_targets enable row level security;

alter table countersign.item_targets force row level security;

create policy tenant_rows on countersign.item_targets for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX item_targets_by_change_set ON countersign.item_targets USING btree (tenant_id, change_set_id);

CREATE INDEX item_targets_by_target ON countersign.item_targets USING btree (tenant_id, target_key);

create table countersign.items (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  change_set_id uuid not null,
  revision_id uuid not null,
  sequence integer not null,
  "position" integer not null,
  operation text not null,
  target_kind text not null,
  target_type text not null,
  target_id text not null,
  target_environment text not null,
  target_key text not null,
  other_target_key text,
  input jsonb not null,
  effects jsonb not null,
  diff jsonb not null,
  reversibility text not null,
  flags text[] not null,
  policy jsonb,
  constraint items_pkey PRIMARY KEY (tenant_id, id),
  constraint items_tenant_id_revision_id_fkey FOREIGN KEY (tenant_id, revision_id) REFERENCES countersign.revisions(tenant_id, id)
);

comment on table countersign.items is 'governed';

alter table countersign.items enable row level security;

alter table countersign.items force row level security;

create policy tenant_rows on countersign.items for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX items_by_other_target ON countersign.items USING btree (tenant_id, other_target_key) WHERE (other_target_key IS NOT NULL);

CREATE UNIQUE INDEX items_by_sequence ON countersign.items USING btree (tenant_id, revision_id, sequence);

CREATE INDEX items_by_target ON countersign.items USING btree (tenant_id, target_key);

create table countersign.job_states (
  tenant_id uuid not null,
  job text not null,
  next_ms bigint not null,
  failures integer not null,
  since_ms bigint,
  error text,
  constraint job_states_pkey PRIMARY KEY (tenant_id, job),
  constraint job_states_error_is_bounded CHECK (octet_length(error) <= 2000),
  constraint job_states_failing_since_then CHECK ((failures > 0) = (since_ms IS NOT NULL)),
  constraint job_states_failures_not_negative CHECK (failures >= 0)
);

comment on table countersign.job_states is 'operational';

alter table countersign.job_states enable row level security;

alter table countersign.job_states force row level security;

create policy tenant_rows on countersign.job_states for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

create table countersign.kill_switches (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  scope text not null,
  status text not null,
  reason text,
  engaged_by uuid not null,
  engaged_at_ms bigint not null,
  hold_until_ms bigint,
  confirmed_by uuid,
  release_votes jsonb not null,
  released_at_ms bigint,
  constraint kill_switches_pkey PRIMARY KEY (tenant_id, id),
  constraint kill_switches_tenant_id_engaged_by_fkey FOREIGN KEY (tenant_id, engaged_by) REFERENCES countersign.principals(tenant_id, id),
  constraint kill_switch_status_known CHECK (status = ANY (ARRAY['ENGAGED'::text, 'HELD'::text, 'RELEASED'::text]))
);

comment on table countersign.kill_switches is 'governed';

alter table countersign.kill_switches enable row level security;

alter table countersign.kill_switches force row level security;

create policy tenant_rows on countersign.kill_switches for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

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
  constraint legal_holds_pkey PRIMARY KEY (tenant_id, id),
  constraint legal_hold_release_dated CHECK ((status = 'RELEASED'::text) = (released_at_ms IS NOT NULL)),
  constraint legal_hold_status_known CHECK (status = ANY (ARRAY['HELD'::text, 'RELEASED'::text])),
  constraint legal_hold_subject_is_whole CHECK ((subject_type IS NULL) = (subject_id IS NULL))
);

comment on table countersign.legal_holds is 'governed';

alter table countersign.legal_holds enable row level security;

alter table countersign.legal_holds force row level security;

create policy tenant_rows on countersign.legal_holds for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX legal_holds_in_force ON countersign.legal_holds USING btree (tenant_id, id) WHERE (status = 'HELD'::text);

create table countersign.migrations (
  number integer not null,
  name text not null,
  checksum text not null,
  applied_at_ms bigint not null,
  app_version text not null,
  constraint migrations_pkey PRIMARY KEY (number),
  constraint migrations_checksum_is_sha256 CHECK (checksum ~ '^[0-9a-f]{64}$'::text),
  constraint migrations_number_positive CHECK (number > 0)
);

create table countersign.mode_requests (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  mode text not null,
  requested_by uuid not null,
  status text not null,
  requested_at_ms bigint not null,
  expires_at_ms bigint not null,
  constraint mode_requests_pkey PRIMARY KEY (tenant_id, id),
  constraint mode_requests_tenant_id_requested_by_fkey FOREIGN KEY (tenant_id, requested_by) REFERENCES countersign.principals(tenant_id, id),
  constraint mode_request_mode_known CHECK (mode = ANY (ARRAY['solo'::text, 'team'::text, 'organisation'::text])),
  constraint mode_request_status_known CHECK (status = ANY (ARRAY['PENDING'::text, 'DONE'::text]))
);

comment on table countersign.mode_requests is 'governed';

alter table countersign.mode_requests enable row level security;

alter table countersign.mode_requests force row level security;

create policy tenant_rows on countersign.mode_requests for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE UNIQUE INDEX mode_requests_pending ON countersign.mode_requests USING btree (tenant_id, status) WHERE (status = 'PENDING'::text);

create table countersign.number_series (
  tenant_id uuid not null,
  series text not null,
  next bigint not null,
  constraint number_series_pkey PRIMARY KEY (tenant_id, series),
  constraint number_series_next_is_positive CHECK (next >= 1)
);

comment on table countersign.number_series is 'operational';

alter table countersign.number_series enable row level security;

alter table countersign.number_series force row level security;

create policy tenant_rows on countersign.number_series for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

create table countersign.principals (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  kind text not null,
  name text not null,
  agent_type text,
  status text not null,
  answerable uuid,
  answerable_before uuid,
  created_by uuid,
  created_at_ms bigint not null,
  erased_at_ms bigint,
  constraint principals_pkey PRIMARY KEY (tenant_id, id),
  constraint principals_tenant_id_answerable_fkey FOREIGN KEY (tenant_id, answerable) REFERENCES countersign.principals(tenant_id, id),
  constraint principal_agent_type_known CHECK (agent_type IS NULL OR (agent_type = ANY (ARRAY['UI_VELOCITY'::text, 'DESIGN_SYSTEM'::text, 'BACKEND_SERVICES'::text, 'INTEGRATION'::text, 'GENERAL'::text]))),
  constraint principal_has_human_root CHECK ((kind = 'human'::text) = (answerable IS NULL)),
  constraint principal_kind_known CHECK (kind = ANY (ARRAY['human'::text, 'agent'::text, 'service'::text])),
  constraint principal_status_known CHECK (status = ANY (ARRAY['ACTIVE'::text, 'SUSPENDED'::text]))
);

comment on table countersign.principals is 'governed';

alter table countersign.principals enable row level security;

alter table countersign.principals force row level security;

create policy tenant_rows on countersign.principals for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE UNIQUE INDEX principals_by_name ON countersign.principals USING btree (tenant_id, name);

create table countersign.publisher_leases (
  tenant_id uuid not null,
  name text not null,
  holder uuid not null,
  fence bigint not null,
  expires_at timestamp with time zone not null,
  constraint publisher_leases_pkey PRIMARY KEY (tenant_id, name)
);

comment on table countersign.publisher_leases is 'operational';

alter table countersign.publisher_leases enable row level security;

alter table countersign.publisher_leases force row level security;

create policy tenant_rows on countersign.publisher_leases for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

create table countersign.resource_versions (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  resource uuid not null,
  revision integer not null,
  document jsonb,
  deleted boolean not null,
  hash text,
  change_set_id uuid,
  at_ms bigint not null,
  constraint resource_versions_pkey PRIMARY KEY (tenant_id, id),
  constraint resource_versions_tenant_id_resource_fkey FOREIGN KEY (tenant_id, resource) REFERENCES countersign.resources(tenant_id, id)
);

comment on table countersign.resource_versions is 'governed';

alter table countersign.resource_versions enable row level security;

alter table countersign.resource_versions force row level security;

create policy tenant_rows on countersign.resource_versions for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE UNIQUE INDEX resource_versions_by_revision ON countersign.resource_versions USING btree (tenant_id, resource, revision);

create table countersign.resources (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  environment text not null,
  type text not null,
  resource_id text not null,
  document jsonb,
  deleted boolean not null,
  revision integer not null,
  hash text,
  change_set_id uuid,
  constraint resources_pkey PRIMARY KEY (tenant_id, id),
  constraint resource_deleted_has_no_state CHECK (deleted = (hash IS NULL))
);

comment on table countersign.resources is 'governed';

alter table countersign.resources enable row level security;

alter table countersign.resources force row level security;

create policy tenant_rows on countersign.resources for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE UNIQUE INDEX resources_by_name ON countersign.resources USING btree (tenant_id, environment, type, resource_id);

create table countersign.revisions (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  change_set_id uuid not null,
  number integer not null,
  nonce text not null,
  digest text not null,
  made_by uuid not null,
  item_count integer not null,
  category text not null,
  risk jsonb not null,
  policy jsonb,
  route jsonb,
  approval_digest text,
  created_at_ms bigint not null,
  constraint revisions_pkey PRIMARY KEY (tenant_id, id),
  constraint revisions_tenant_id_change_set_id_fkey FOREIGN KEY (tenant_id, change_set_id) REFERENCES countersign.change_sets(tenant_id, id)
);

comment on table countersign.revisions is 'governed';

alter table countersign.revisions enable row level security;

alter table countersign.revisions force row level security;

create policy tenant_rows on countersign.revisions for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE UNIQUE INDEX revisions_by_number ON countersign.revisions USING btree (tenant_id, change_set_id, number);

create table countersign.role_bindings (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  principal_id uuid not null,
  kind text not null,
  name text not null,
  status text not null,
  granted_by uuid,
  granted_at_ms bigint not null,
  constraint role_bindings_pkey PRIMARY KEY (tenant_id, id),
  constraint role_bindings_tenant_id_principal_id_fkey FOREIGN KEY (tenant_id, principal_id) REFERENCES countersign.principals(tenant_id, id),
  constraint role_binding_kind_known CHECK (kind = ANY (ARRAY['role'::text, 'group'::text])),
  constraint role_binding_status_known CHECK (status = ANY (ARRAY['ACTIVE'::text, 'REMOVED'::text]))
);

comment on table countersign.role_bindings is 'governed';

alter table countersign.role_bindings enable row level security;

alter table countersign.role_bindings force row level security;

create policy tenant_rows on countersign.role_bindings for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE UNIQUE INDEX role_bindings_by_name ON countersign.role_bindings USING btree (tenant_id, principal_id, kind, name);

create table countersign.self_checks (
  tenant_id uuid not null,
  id uuid not null,
  kind text not null,
  started_ms bigint not null,
  finished_ms bigint,
  from_seq bigint not null,
  to_seq bigint,
  verdict jsonb,
  constraint self_checks_pkey PRIMARY KEY (tenant_id, id)
);

comment on table countersign.self_checks is 'operational';

alter table countersign.self_checks enable row level security;

alter table countersign.self_checks force row level security;

create policy tenant_rows on countersign.self_checks for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX self_checks_done ON countersign.self_checks USING btree (tenant_id, kind, started_ms) WHERE ((verdict ->> 'state'::text) = 'done'::text);

CREATE INDEX self_checks_open ON countersign.self_checks USING btree (tenant_id) WHERE (finished_ms IS NULL);

create table countersign.signing_keys (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  principal_id uuid not null,
  algorithm text not null,
  public_key text not null,
  label text not null,
  status text not null,
  minted_by uuid,
  enrolled_at_ms bigint not null,
  revoked_at_ms bigint,
  constraint signing_keys_pkey PRIMARY KEY (tenant_id, id),
  constraint signing_keys_tenant_id_principal_id_fkey FOREIGN KEY (tenant_id, principal_id) REFERENCES countersign.principals(tenant_id, id),
  constraint signing_key_algorithm_known CHECK (algorithm = 'Ed25519'::text),
  constraint signing_key_revocation_dated CHECK ((status = 'REVOKED'::text) = (revoked_at_ms IS NOT NULL)),
  constraint signing_key_status_known CHECK (status = ANY (ARRAY['ACTIVE'::text, 'REVOKED'::text]))
);

comment on table countersign.signing_keys is 'governed';

alter table countersign.signing_keys enable row level security;

alter table countersign.signing_keys force row level security;

create policy tenant_rows on countersign.signing_keys for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX signing_keys_by_principal ON countersign.signing_keys USING btree (tenant_id, principal_id);

CREATE UNIQUE INDEX signing_keys_by_public_key ON countersign.signing_keys USING btree (tenant_id, public_key);

create table countersign.subject_keys (
  tenant_id uuid not null,
  key_id bytea not null,
  subject_type text not null,
  subject_id text not null,
  sealed bytea not null,
  made_ms bigint not null,
  constraint subject_keys_pkey PRIMARY KEY (tenant_id, key_id),
  constraint subject_keys_id_is_8_bytes CHECK (octet_length(key_id) = 8)
);

comment on table countersign.subject_keys is 'keys';

alter table countersign.subject_keys enable row level security;

alter table countersign.subject_keys force row level security;

alter table countersign.subject_keys owner to countersign_ledger;

create policy tenant_rows on countersign.subject_keys for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX subject_keys_by_subject ON countersign.subject_keys USING btree (tenant_id, subject_id);

CREATE TRIGGER subject_keys_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON countersign.subject_keys FOR EACH STATEMENT EXECUTE FUNCTION countersign.refuse_ledger_change();

create table countersign.target_holds (
  tenant_id uuid not null,
  id text not null,
  version integer not null,
  row_salt bytea not null,
  application_id uuid,
  change_set_id uuid,
  constraint target_holds_pkey PRIMARY KEY (tenant_id, id)
);

comment on table countersign.target_holds is 'governed';

alter table countersign.target_holds enable row level security;

alter table countersign.target_holds force row level security;

create policy tenant_rows on countersign.target_holds for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

create table countersign.tenant_directory (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  name text not null,
  created_at_ms bigint not null,
  constraint tenant_directory_pkey PRIMARY KEY (tenant_id, id)
);

comment on table countersign.tenant_directory is 'governed';

alter table countersign.tenant_directory enable row level security;

alter table countersign.tenant_directory force row level security;

create policy tenant_rows on countersign.tenant_directory for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE UNIQUE INDEX tenant_directory_by_name ON countersign.tenant_directory USING btree (tenant_id, name);

create table countersign.tenant_locks (
  tenant_id uuid not null,
  constraint tenant_locks_pkey PRIMARY KEY (tenant_id)
);

comment on table countersign.tenant_locks is 'operational';

alter table countersign.tenant_locks enable row level security;

alter table countersign.tenant_locks force row level security;

create policy tenant_rows on countersign.tenant_locks for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

create table countersign.tenants (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  kind text not null,
  name text not null,
  mode text not null,
  status text not null,
  created_at_ms bigint not null,
  constraint tenants_pkey PRIMARY KEY (tenant_id, id),
  constraint tenant_kind_known CHECK (kind = ANY (ARRAY['deployment'::text, 'customer'::text])),
  constraint tenant_lives_in_itself CHECK (id = tenant_id),
  constraint tenant_mode_known CHECK (mode = ANY (ARRAY['solo'::text, 'team'::text, 'organisation'::text])),
  constraint tenant_status_known CHECK (status = ANY (ARRAY['ACTIVE'::text, 'CLOSED'::text]))
);

comment on table countersign.tenants is 'governed';

alter table countersign.tenants enable row level security;

alter table countersign.tenants force row level security;

create policy tenant_rows on countersign.tenants for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

create table countersign.tiles (
  tenant_id uuid not null,
  level smallint not null,
  index bigint not null,
  hashes bytea not null,
  constraint tiles_pkey PRIMARY KEY (tenant_id, level, index),
  constraint tiles_are_full CHECK (octet_length(hashes) = 8192),
  constraint tiles_index_is_safe_integer CHECK (index >= 0 AND index <= '9007199254740991'::bigint),
  constraint tiles_level_is_within_tree CHECK (level >= 0 AND level <= 7)
);

comment on table countersign.tiles is 'log';

alter table countersign.tiles enable row level security;

alter table countersign.tiles force row level security;

create policy tenant_rows on countersign.tiles for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE TRIGGER tiles_append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON countersign.tiles FOR EACH STATEMENT EXECUTE FUNCTION countersign.refuse_ledger_change();

create table countersign.used_proofs (
  tenant_id uuid not null,
  digest text not null,
  expires_ms bigint not null,
  constraint used_proofs_pkey PRIMARY KEY (tenant_id, digest),
  constraint used_proof_digest_shape CHECK (digest ~ '^[0-9a-f]{64}$'::text)
);

comment on table countersign.used_proofs is 'attached';

alter table countersign.used_proofs enable row level security;

alter table countersign.used_proofs force row level security;

create policy tenant_rows on countersign.used_proofs for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX used_proofs_by_expiry ON countersign.used_proofs USING btree (tenant_id, expires_ms);

create table countersign.votes (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  change_set_id uuid not null,
  revision_id uuid not null,
  voter_id uuid not null,
  key_id uuid not null,
  decision text not null,
  digest text not null,
  signature text not null,
  reason text,
  self_approved boolean not null,
  dismissed boolean not null,
  at_ms bigint not null,
  constraint votes_pkey PRIMARY KEY (tenant_id, id),
  constraint votes_tenant_id_change_set_id_fkey FOREIGN KEY (tenant_id, change_set_id) REFERENCES countersign.change_sets(tenant_id, id),
  constraint votes_tenant_id_key_id_fkey FOREIGN KEY (tenant_id, key_id) REFERENCES countersign.signing_keys(tenant_id, id),
  constraint votes_tenant_id_voter_id_fkey FOREIGN KEY (tenant_id, voter_id) REFERENCES countersign.principals(tenant_id, id),
  constraint vote_decision_known CHECK (decision = ANY (ARRAY['APPROVED'::text, 'REJECTED'::text, 'ABSTAINED'::text]))
);

comment on table countersign.votes is 'governed';

alter table countersign.votes enable row level security;

alter table countersign.votes force row level security;

create policy tenant_rows on countersign.votes for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE INDEX votes_by_change_set ON countersign.votes USING btree (tenant_id, change_set_id);

CREATE UNIQUE INDEX votes_by_voter ON countersign.votes USING btree (tenant_id, revision_id, voter_id);

create table countersign.workspaces (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  name text not null,
  root text not null,
  environment text not null,
  status text not null,
  created_by uuid,
  created_at_ms bigint not null,
  constraint workspaces_pkey PRIMARY KEY (tenant_id, id),
  constraint workspace_status_known CHECK (status = ANY (ARRAY['ACTIVE'::text, 'REMOVED'::text]))
);

comment on table countersign.workspaces is 'governed';

alter table countersign.workspaces enable row level security;

alter table countersign.workspaces force row level security;

create policy tenant_rows on countersign.workspaces for all using ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[]))) with check ((tenant_id = ANY (( SELECT (NULLIF(current_setting('app.tenants'::text, true), ''::text))::uuid[] AS "nullif")::uuid[])));

CREATE UNIQUE INDEX workspaces_by_name ON countersign.workspaces USING btree (tenant_id, name);

CREATE OR REPLACE FUNCTION countersign.append_entries(p_now_ms bigint, p_tenants uuid[], p_entry_tenants integer[], p_entry_ids uuid[], p_contents text[], p_actions text[], p_actors text[], p_subjects text[], p_body_entries integer[], p_body_salts bytea[], p_bodies bytea[])
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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

alter function countersign.append_entries(bigint,uuid[],integer[],uuid[],text[],text[],text[],text[],integer[],bytea[],bytea[]) owner to countersign_ledger;

CREATE OR REPLACE FUNCTION countersign.apply_grants(p_classes jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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

-- function countersign.commit_group(uuid[],bigint,integer,integer,integer,text[],jsonb[],integer[],integer[],uuid[],text[],text[],text[],text[],integer[],bytea[],bytea[]): made by countersign.rebuild_door()

CREATE OR REPLACE FUNCTION countersign.door_source()
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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

CREATE OR REPLACE FUNCTION countersign.erase_subject_keys(p_tenant uuid, p_entry uuid)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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

alter function countersign.erase_subject_keys(uuid,uuid) owner to countersign_ledger;

CREATE OR REPLACE FUNCTION countersign.finish_erasures(p_tenant uuid)
 RETURNS bigint
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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

alter function countersign.finish_erasures(uuid) owner to countersign_ledger;

CREATE OR REPLACE FUNCTION countersign.prunable_entries(p_tenant uuid, p_up_to bigint, p_head bigint, p_kept text[])
 RETURNS TABLE(seq bigint)
 LANGUAGE sql
 STABLE
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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

alter function countersign.prunable_entries(uuid,bigint,bigint,text[]) owner to countersign_ledger;

CREATE OR REPLACE FUNCTION countersign.prune_entries(p_tenant uuid, p_entry uuid)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
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

alter function countersign.prune_entries(uuid,uuid) owner to countersign_ledger;

CREATE OR REPLACE FUNCTION countersign.rebuild_door()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  execute format('create or replace function countersign.commit_group('
    'p_tenants uuid[], p_now_ms bigint, p_lock_ms integer, p_guards integer, p_counts integer, p_kinds text[], p_docs jsonb[], p_entry_change integer[], p_entry_tenants integer[], '
    'p_entry_ids uuid[], p_contents text[], p_actions text[], p_actors text[], p_subjects text[], p_body_entries integer[], p_body_salts bytea[], p_bodies bytea[]) returns jsonb '
    'language plpgsql set search_path = pg_catalog, pg_temp as %L', countersign.door_source());
  execute 'revoke all on function countersign.commit_group(uuid[], bigint, integer, integer, integer, text[], jsonb[], integer[], integer[], uuid[], text[], text[], text[], text[], integer[], bytea[], bytea[]) from public';
  execute 'grant execute on function countersign.commit_group(uuid[], bigint, integer, integer, integer, text[], jsonb[], integer[], integer[], uuid[], text[], text[], text[], text[], integer[], bytea[], bytea[]) to countersign_app';
end
$function$;

CREATE OR REPLACE FUNCTION countersign.refuse_ledger_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
begin
  if current_user = 'countersign_ledger' and tg_op || ' ' || tg_table_name in ('UPDATE entries', 'DELETE bodies', 'DELETE subject_keys') then
    return null;
  end if;
  raise exception using errcode = 'CS003',
    message = format('ledger table `%s` is append-only: %s refused', tg_table_name, lower(tg_op));
end
$function$;

alter function countersign.refuse_ledger_change() owner to countersign_ledger;

grant execute on function countersign.append_entries(bigint,uuid[],integer[],uuid[],text[],text[],text[],text[],integer[],bytea[],bytea[]) to countersign_app;

grant execute on function countersign.commit_group(uuid[],bigint,integer,integer,integer,text[],jsonb[],integer[],integer[],uuid[],text[],text[],text[],text[],integer[],bytea[],bytea[]) to countersign_app;

grant execute on function countersign.door_source() to countersign_app;

grant execute on function countersign.erase_subject_keys(uuid,uuid) to countersign_app;

grant execute on function countersign.finish_erasures(uuid) to countersign_app;

grant execute on function countersign.prunable_entries(uuid,bigint,bigint,text[]) to countersign_app;

grant execute on function countersign.prune_entries(uuid,uuid) to countersign_app;

grant usage on schema countersign to countersign_app;

grant usage on schema countersign to countersign_ledger;

grant insert, select on table countersign.anchor_receipts to countersign_app;

grant delete, insert, select, update on table countersign.anchor_states to countersign_app;

grant delete, insert, select, update on table countersign.api_key_uses to countersign_app;

grant insert, select, update on table countersign.api_keys to countersign_app;

grant insert, select, update on table countersign.application_items to countersign_app;

grant delete, insert, select, update on table countersign.application_leases to countersign_app;

grant insert, select, update on table countersign.applications to countersign_app;

grant insert, select, update on table countersign.backups to countersign_app;

grant delete, insert, select on table countersign.blobs to countersign_app;

grant select on table countersign.bodies to countersign_app;

grant insert, select, update on table countersign.change_sets to countersign_app;

grant insert, select on table countersign.checkpoints to countersign_app;

grant insert, select, update on table countersign.counters to countersign_app;

grant insert, select, update on table countersign.enrolment_codes to countersign_app;

grant select on table countersign.entries to countersign_app;

grant insert, select, update on table countersign.epochs to countersign_app;

grant delete, insert, select, update on table countersign.follower_cursors to countersign_app;

grant delete, insert, select, update on table countersign.idempotency_keys to countersign_app;

grant insert, select, update on table countersign.item_targets to countersign_app;

grant insert, select, update on table countersign.items to countersign_app;

grant delete, insert, select, update on table countersign.job_states to countersign_app;

grant insert, select, update on table countersign.kill_switches to countersign_app;

grant insert, select, update on table countersign.legal_holds to countersign_app;

grant insert, select, update on table countersign.mode_requests to countersign_app;

grant delete, insert, select, update on table countersign.number_series to countersign_app;

grant insert, select, update on table countersign.principals to countersign_app;

grant delete, insert, select, update on table countersign.publisher_leases to countersign_app;

grant insert, select, update on table countersign.resource_versions to countersign_app;

grant insert, select, update on table countersign.resources to countersign_app;

grant insert, select, update on table countersign.revisions to countersign_app;

grant insert, select, update on table countersign.role_bindings to countersign_app;

grant delete, insert, select, update on table countersign.self_checks to countersign_app;

grant insert, select, update on table countersign.signing_keys to countersign_app;

grant insert, select on table countersign.subject_keys to countersign_app;

grant insert, select, update on table countersign.target_holds to countersign_app;

grant insert, select, update on table countersign.tenant_directory to countersign_app;

grant delete, insert, select, update on table countersign.tenant_locks to countersign_app;

grant insert, select, update on table countersign.tenants to countersign_app;

grant insert, select on table countersign.tiles to countersign_app;

grant delete, insert, select, update on table countersign.used_proofs to countersign_app;

grant insert, select, update on table countersign.votes to countersign_app;

grant insert, select, update on table countersign.workspaces to countersign_app;
