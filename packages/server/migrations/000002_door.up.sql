-- What the door itself needs beside the ledger: epochs, counters, numbers for people, remembered responses.

-- Epochs: named counters moved by whatever changes a thing that decisions are made from (policy, routes, members, kill, config, a target),
-- so that a decision from a cache is safe too: its commit is refused if the epoch moved. The value is the version; no row is 0.
create table countersign.epochs (
  tenant_id uuid not null,
  id text not null,
  version integer not null,
  row_salt bytea not null,
  constraint epochs_pkey primary key (tenant_id, id),
  constraint epochs_version_is_positive check (version >= 1),
  constraint epochs_row_salt_is_32_bytes check (octet_length(row_salt) = 32),
  constraint epochs_name_is_known check (id ~ '^(policy|routes|members|kill|config|holds|log_keys|target:.+)$')
);

-- Exact limits, evaluated by the door. Every use is in the content of an entry, so the value can be held against the ledger.
create table countersign.counters (
  tenant_id uuid not null,
  key text not null,
  value bigint not null,
  constraint counters_pkey primary key (tenant_id, key),
  constraint counters_value_is_safe_integer check (value between -9007199254740991 and 9007199254740991)
);

-- Next number of each series people read (CS-2026-1120-001). Gaps are allowed; uniqueness is kept by the rows that carry the number.
create table countersign.number_series (
  tenant_id uuid not null,
  series text not null,
  next bigint not null,
  constraint number_series_pkey primary key (tenant_id, series),
  constraint number_series_next_is_positive check (next >= 1)
);

-- Responses to requests that carried an idempotency key, written in the commit they answer, so that a response exists if and only if its
-- effect does. Without the receipt, which is joined at replay, and without secrets that are shown once.
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
  constraint idempotency_keys_pkey primary key (tenant_id, principal_id, operation, key),
  constraint idempotency_keys_used_at_least_once check (use_count >= 1 and last_used_ms >= first_used_ms),
  constraint idempotency_keys_expire_after_use check (expires_ms > first_used_ms)
);
-- Expired keys are swept oldest first.
create index idempotency_keys_by_expiry on countersign.idempotency_keys (tenant_id, expires_ms);
