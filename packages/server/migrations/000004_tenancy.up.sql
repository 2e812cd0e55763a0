-- What tenancy needs beside the people themselves: the directory of tenants, a pending change of mode, spent key proofs.

-- Which tenants there are. It lives in the deployment's tenant, so that its ledger shows when one appears or vanishes.
create table countersign.tenant_directory (
  tenant_id uuid not null,
  id uuid not null,
  version integer not null,
  row_salt bytea not null,
  name text not null,
  created_at_ms bigint not null,
  primary key (tenant_id, id)
);
create unique index tenant_directory_by_name on countersign.tenant_directory (tenant_id, name);

-- The first person's half of a change of mode downward; one a tenant is pending at most, and it ends by itself.
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
  primary key (tenant_id, id),
  foreign key (tenant_id, requested_by) references countersign.principals (tenant_id, id),
  constraint mode_request_mode_known check (mode in ('solo', 'team', 'organisation')),
  constraint mode_request_status_known check (status in ('PENDING', 'DONE'))
);
create unique index mode_requests_pending on countersign.mode_requests (tenant_id, status) where status = 'PENDING';

-- A key proof is good once: its digest stands here until it would be stale anyway.
create table countersign.used_proofs (
  tenant_id uuid not null,
  digest text not null,
  expires_ms bigint not null,
  primary key (tenant_id, digest),
  constraint used_proof_digest_shape check (digest ~ '^[0-9a-f]{64}$')
);
create index used_proofs_by_expiry on countersign.used_proofs (tenant_id, expires_ms);
