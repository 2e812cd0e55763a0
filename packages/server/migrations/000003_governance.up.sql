-- Tenants, principals, change-sets and what they change. Every table is governed (written only through the door) unless
-- its class in storage/tables.ts says otherwise. Keys and foreign keys begin with tenant_id, so that no reference can
-- leave a tenant. Times are milliseconds since the epoch: a row's JSON must be the same in every client.

-- A tenant is governed by its own ledger, so its row lives in itself.
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
  primary key (tenant_id, id),
  constraint tenant_lives_in_itself check (id = tenant_id),
  constraint tenant_kind_known check (kind in ('deployment', 'customer')),
  constraint tenant_mode_known check (mode in ('solo', 'team', 'organisation')),
  constraint tenant_status_known check (status in ('ACTIVE', 'CLOSED'))
);

-- Humans, agents and services. Whoever is not human names the human who accepted to be answerable.
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
  -- The human before a transfer: excluded from voting on what was proposed under them.
  answerable_before uuid,
  created_by uuid,
  created_at_ms bigint not null,
  primary key (tenant_id, id),
  foreign key (tenant_id, answerable) references countersign.principals (tenant_id, id),
  constraint principal_kind_known check (kind in ('human', 'agent', 'service')),
  constraint principal_status_known check (status in ('ACTIVE', 'SUSPENDED')),
  constraint principal_has_human_root check ((kind = 'human') = (answerable is null)),
  constraint principal_agent_type_known check (agent_type is null or agent_type in ('UI_VELOCITY', 'DESIGN_SYSTEM', 'BACKEND_SERVICES', 'INTEGRATION', 'GENERAL'))
);
create unique index principals_by_name on countersign.principals (tenant_id, name);

-- Public halves of the keys people sign votes with; enrolled by their owner with a one-time code.
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
  -- Who issued the code it was enrolled with: they do not count as a second person beside its owner.
  minted_by uuid,
  enrolled_at_ms bigint not null,
  revoked_at_ms bigint,
  primary key (tenant_id, id),
  foreign key (tenant_id, principal_id) references countersign.principals (tenant_id, id),
  constraint signing_key_algorithm_known check (algorithm in ('Ed25519')),
  constraint signing_key_status_known check (status in ('ACTIVE', 'REVOKED')),
  constraint signing_key_revocation_dated check ((status = 'REVOKED') = (revoked_at_ms is not null))
);
create unique index signing_keys_by_public_key on countersign.signing_keys (tenant_id, public_key);
create index signing_keys_by_principal on countersign.signing_keys (tenant_id, principal_id);

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
  primary key (tenant_id, id),
  foreign key (tenant_id, principal_id) references countersign.principals (tenant_id, id)
);
create unique index enrolment_codes_by_hash on countersign.enrolment_codes (tenant_id, code_hash);

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
  primary key (tenant_id, id),
  foreign key (tenant_id, principal_id) references countersign.principals (tenant_id, id)
);
create index api_keys_by_principal on countersign.api_keys (tenant_id, principal_id);

-- Roles carry permissions, groups approve; both are bindings of a principal to a name.
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
  primary key (tenant_id, id),
  foreign key (tenant_id, principal_id) references countersign.principals (tenant_id, id),
  constraint role_binding_kind_known check (kind in ('role', 'group')),
  constraint role_binding_status_known check (status in ('ACTIVE', 'REMOVED'))
);
create unique index role_bindings_by_name on countersign.role_bindings (tenant_id, principal_id, kind, name);

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
  -- An agent's hold on the whole tenant ends by itself unless a person confirms it.
  hold_until_ms bigint,
  confirmed_by uuid,
  release_votes jsonb not null,
  released_at_ms bigint,
  primary key (tenant_id, id),
  foreign key (tenant_id, engaged_by) references countersign.principals (tenant_id, id),
  constraint kill_switch_status_known check (status in ('ENGAGED', 'HELD', 'RELEASED'))
);

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
  primary key (tenant_id, id),
  constraint workspace_status_known check (status in ('ACTIVE', 'REMOVED'))
);
create unique index workspaces_by_name on countersign.workspaces (tenant_id, name);

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
  primary key (tenant_id, id),
  constraint resource_deleted_has_no_state check (deleted = (hash is null))
);
create unique index resources_by_name on countersign.resources (tenant_id, environment, type, resource_id);

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
  primary key (tenant_id, id),
  foreign key (tenant_id, resource) references countersign.resources (tenant_id, id)
);
create unique index resource_versions_by_revision on countersign.resource_versions (tenant_id, resource, revision);

create table countersign.change_sets (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  number text not null,
  title text not null,
  description text not null,
  author_id uuid not null,
  -- Human roots of the author when the present revision was made: they do not vote on it.
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
  primary key (tenant_id, id),
  foreign key (tenant_id, author_id) references countersign.principals (tenant_id, id),
  constraint change_set_status_known check (status in ('DRAFT', 'PENDING_APPROVAL', 'APPROVED', 'APPLYING', 'APPLIED', 'PARTIALLY_APPLIED', 'ROLLING_BACK', 'ROLLED_BACK', 'REJECTED', 'CANCELLED', 'ARCHIVED')),
  constraint change_set_priority_known check (priority in ('LOW', 'NORMAL', 'HIGH', 'CRITICAL')),
  constraint change_set_apply_mode_known check (apply_mode in ('AUTO', 'MANUAL')),
  constraint change_set_number_shape check (number ~ '^CS-[0-9]{4}-[0-9]{4}-[0-9]{3,}$')
);
create unique index change_sets_by_number on countersign.change_sets (tenant_id, number);
-- Lists: newest first, by status.
create index change_sets_by_status on countersign.change_sets (tenant_id, status, created_at_ms desc, id desc);
create index change_sets_by_creation on countersign.change_sets (tenant_id, created_at_ms desc, id desc);
create index change_sets_by_author on countersign.change_sets (tenant_id, author_id, created_at_ms desc, id desc);
-- An author's record: its last finished ones, however many drafts lie before them, and whether any was ever applied.
create index change_sets_finished on countersign.change_sets (tenant_id, author_id, created_at_ms desc, id desc)
  where status in ('APPLIED', 'ARCHIVED', 'ROLLED_BACK', 'REJECTED', 'PARTIALLY_APPLIED');
create index change_sets_ever_applied on countersign.change_sets (tenant_id, author_id) where applied_at_ms is not null;

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
  primary key (tenant_id, id),
  foreign key (tenant_id, change_set_id) references countersign.change_sets (tenant_id, id)
);
create unique index revisions_by_number on countersign.revisions (tenant_id, change_set_id, number);

create table countersign.items (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  change_set_id uuid not null,
  revision_id uuid not null,
  sequence integer not null,
  -- Place in the order of execution, from 1: dependencies first.
  position integer not null,
  operation text not null,
  target_kind text not null,
  target_type text not null,
  target_id text not null,
  target_environment text not null,
  -- The targets it touches: two when something moves. Two columns, because under row-level security no index serves what overlaps.
  target_key text not null,
  other_target_key text,
  input jsonb not null,
  effects jsonb not null,
  diff jsonb not null,
  reversibility text not null,
  flags text[] not null,
  policy jsonb,
  primary key (tenant_id, id),
  foreign key (tenant_id, revision_id) references countersign.revisions (tenant_id, id)
);
create unique index items_by_sequence on countersign.items (tenant_id, revision_id, sequence);
-- Conflicts: which change-sets touch a target.
create index items_by_target on countersign.items (tenant_id, target_key);
create index items_by_other_target on countersign.items (tenant_id, other_target_key) where other_target_key is not null;

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
  primary key (tenant_id, id),
  foreign key (tenant_id, change_set_id) references countersign.change_sets (tenant_id, id),
  foreign key (tenant_id, voter_id) references countersign.principals (tenant_id, id),
  foreign key (tenant_id, key_id) references countersign.signing_keys (tenant_id, id),
  constraint vote_decision_known check (decision in ('APPROVED', 'REJECTED', 'ABSTAINED'))
);
create unique index votes_by_voter on countersign.votes (tenant_id, revision_id, voter_id);
create index votes_by_change_set on countersign.votes (tenant_id, change_set_id);

-- One run of applying or rolling back.
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
  -- Items in the order they are carried out, by sequence.
  plan jsonb not null,
  reason text,
  applied_items integer not null,
  failed_items integer not null,
  errors jsonb not null,
  started_at_ms bigint not null,
  ended_at_ms bigint,
  primary key (tenant_id, id),
  foreign key (tenant_id, change_set_id) references countersign.change_sets (tenant_id, id),
  constraint application_kind_known check (kind in ('APPLY', 'ROLLBACK')),
  constraint application_status_known check (status in ('RUNNING', 'SUCCEEDED', 'COMPENSATED', 'REFUSED', 'PARTIAL'))
);
create index applications_by_change_set on countersign.applications (tenant_id, change_set_id, started_at_ms);
-- After a restart: the applications without an end.
create index applications_running on countersign.applications (tenant_id, id) where status = 'RUNNING';

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
  primary key (tenant_id, id),
  foreign key (tenant_id, application_id) references countersign.applications (tenant_id, id),
  constraint application_item_status_known check (status in ('STARTED', 'VERIFIED', 'NOT_APPLIED', 'DIVERGED', 'UNKNOWN', 'COMPENSATING', 'COMPENSATED'))
);
create unique index application_items_by_sequence on countersign.application_items (tenant_id, application_id, sequence);

-- A compensating target that an application is changing, and by which.
create table countersign.target_holds (
  tenant_id uuid not null,
  id text not null,
  version integer not null,
  row_salt bytea not null,
  application_id uuid,
  change_set_id uuid,
  primary key (tenant_id, id)
);

-- The bytes of this backup are in blobs; its digest is of the bytes before sealing.
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
  primary key (tenant_id, id),
  foreign key (tenant_id, application_id) references countersign.applications (tenant_id, id)
);
create index backups_by_application on countersign.backups (tenant_id, application_id);

-- Content-addressed bytes (class "content"): verified by digest whenever they are read.
create table countersign.blobs (
  tenant_id uuid not null,
  digest text not null,
  bytes integer not null,
  sealed bytea not null,
  primary key (tenant_id, digest),
  constraint blob_digest_shape check (digest ~ '^[0-9a-f]{64}$')
);

-- Who runs an application now (operational): it only excludes; losing it repeats a read, never an effect.
create table countersign.application_leases (
  tenant_id uuid not null,
  application_id uuid not null,
  holder text not null,
  expires_at_ms bigint not null,
  primary key (tenant_id, application_id)
);

-- When an API key was last used (operational).
create table countersign.api_key_uses (
  tenant_id uuid not null,
  api_key_id uuid not null,
  last_used_at_ms bigint not null,
  primary key (tenant_id, api_key_id)
);
