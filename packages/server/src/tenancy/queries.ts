/**
 * All SQL of tenancy's tables. Rows are read as `to_jsonb` gives them: these are the values that their digests were
 * made of. Every statement sees one tenant: row-level security hides the others.
 */
import type { TenantId } from "@countersign/contract";
import type { Query, Snapshot } from "../ledger/index.js";
import type {
  ApiKeyRow,
  BindingRow,
  DirectoryRow,
  EnrolmentCodeRow,
  ModeRequestRow,
  PrincipalRow,
  SigningKeyRow,
  TenantRow,
} from "./rows.js";

async function rows<T>(snapshot: Snapshot, query: Query): Promise<T[]> {
  return (await snapshot.query<{ row: T }>(query)).map(({ row }) => row);
}

/** By tenants_pkey. */
export async function readTenant(snapshot: Snapshot): Promise<TenantRow | undefined> {
  const found = await rows<TenantRow>(snapshot, {
    name: "tenancy_tenant",
    text: `select to_jsonb(t) - 'tenant_id' - 'row_salt' as row
             from countersign.tenants as t
            where t.tenant_id = $1
              and t.id = $1`,
    values: [snapshot.tenant],
  });
  return found[0];
}

export function readPrincipals(snapshot: Snapshot): Promise<PrincipalRow[]> {
  return rows(snapshot, {
    name: "tenancy_principals",
    text: `select to_jsonb(p) - 'tenant_id' - 'row_salt' as row
             from countersign.principals as p
            where p.tenant_id = $1
            order by p.id`,
    values: [snapshot.tenant],
  });
}

export function readBindings(snapshot: Snapshot): Promise<BindingRow[]> {
  return rows(snapshot, {
    name: "tenancy_bindings",
    text: `select to_jsonb(b) - 'tenant_id' - 'row_salt' as row
             from countersign.role_bindings as b
            where b.tenant_id = $1
            order by b.name, b.id`,
    values: [snapshot.tenant],
  });
}

export function readSigningKeys(snapshot: Snapshot): Promise<SigningKeyRow[]> {
  return rows(snapshot, {
    name: "tenancy_signing_keys",
    text: `select to_jsonb(k) - 'tenant_id' - 'row_salt' as row
             from countersign.signing_keys as k
            where k.tenant_id = $1
            order by k.id`,
    values: [snapshot.tenant],
  });
}

/** By api_keys_pkey. */
export async function readApiKey(snapshot: Snapshot, id: string): Promise<ApiKeyRow | undefined> {
  const found = await rows<ApiKeyRow>(snapshot, {
    name: "tenancy_api_key",
    text: `select to_jsonb(k) - 'tenant_id' - 'row_salt' as row
             from countersign.api_keys as k
            where k.tenant_id = $1
              and k.id = $2`,
    values: [snapshot.tenant, id],
  });
  return found[0];
}

/** Keys of humans that still open something: whether anybody can sign in. */
export async function countWorkingHumanKeys(snapshot: Snapshot, nowMs: number): Promise<number> {
  const found = await snapshot.query<{ count: number | string }>({
    name: "tenancy_working_human_keys",
    text: `select count(*) as count
             from countersign.api_keys as k
             join countersign.principals as p on p.tenant_id = k.tenant_id and p.id = k.principal_id
            where k.tenant_id = $1
              and k.revoked_at_ms is null
              and k.expires_at_ms > $2
              and p.kind = 'human'
              and p.status = 'ACTIVE'`,
    values: [snapshot.tenant, nowMs],
  });
  return Number(found[0]?.count ?? 0);
}

export interface ApiKeyWithUse extends ApiKeyRow {
  readonly last_used_at_ms: number | null;
}

/** By api_keys_by_principal. */
export function readApiKeysOf(snapshot: Snapshot, principalId: string): Promise<ApiKeyRow[]> {
  return rows(snapshot, {
    name: "tenancy_api_keys_of",
    text: `select to_jsonb(k) - 'tenant_id' - 'row_salt' as row
             from countersign.api_keys as k
            where k.tenant_id = $1
              and k.principal_id = $2
            order by k.id`,
    values: [snapshot.tenant, principalId],
  });
}

/** A page of API keys, newest first (ids grow with time). */
export function readApiKeys(
  snapshot: Snapshot,
  page: { principal?: string | undefined; before?: string | undefined; limit: number },
): Promise<ApiKeyWithUse[]> {
  return rows(snapshot, {
    name: "tenancy_api_keys",
    text: `select to_jsonb(k) - 'tenant_id' - 'row_salt' || jsonb_build_object('last_used_at_ms', u.last_used_at_ms) as row
             from countersign.api_keys as k
             left join countersign.api_key_uses as u on u.tenant_id = k.tenant_id and u.api_key_id = k.id
            where k.tenant_id = $1
              and ($2::uuid is null or k.principal_id = $2)
              and ($3::uuid is null or k.id < $3)
            order by k.id desc
            limit $4`,
    values: [snapshot.tenant, page.principal ?? null, page.before ?? null, page.limit],
  });
}

/** By enrolment_codes_pkey. */
export async function readEnrolmentCode(snapshot: Snapshot, id: string): Promise<EnrolmentCodeRow | undefined> {
  const found = await rows<EnrolmentCodeRow>(snapshot, {
    name: "tenancy_enrolment_code",
    text: `select to_jsonb(c) - 'tenant_id' - 'row_salt' as row
             from countersign.enrolment_codes as c
            where c.tenant_id = $1
              and c.id = $2`,
    values: [snapshot.tenant, id],
  });
  return found[0];
}

/** Codes of a person that could still be used. */
export function readOpenCodes(snapshot: Snapshot, principalId: string, nowMs: number): Promise<EnrolmentCodeRow[]> {
  return rows(snapshot, {
    name: "tenancy_open_codes",
    text: `select to_jsonb(c) - 'tenant_id' - 'row_salt' as row
             from countersign.enrolment_codes as c
            where c.tenant_id = $1
              and c.principal_id = $2
              and c.used_at_ms is null
              and c.expires_at_ms > $3
            order by c.id`,
    values: [snapshot.tenant, principalId, nowMs],
  });
}

/** By mode_requests_pending. */
export async function readModeRequest(snapshot: Snapshot): Promise<ModeRequestRow | undefined> {
  const found = await rows<ModeRequestRow>(snapshot, {
    name: "tenancy_mode_request",
    text: `select to_jsonb(m) - 'tenant_id' - 'row_salt' as row
             from countersign.mode_requests as m
            where m.tenant_id = $1
              and m.status = 'PENDING'`,
    values: [snapshot.tenant],
  });
  return found[0];
}

/** Of the deployment's tenant: every tenant there is. */
export function readDirectory(snapshot: Snapshot): Promise<DirectoryRow[]> {
  return rows(snapshot, {
    name: "tenancy_directory",
    text: `select to_jsonb(d) - 'tenant_id' - 'row_salt' as row
             from countersign.tenant_directory as d
            where d.tenant_id = $1
            order by d.id`,
    values: [snapshot.tenant],
  });
}

/** Operational: when a key was last used. An older time never replaces a newer one. */
export function noteKeyUse(tenant: TenantId, apiKeyId: string, atMs: number): Query {
  return {
    name: "tenancy_note_key_use",
    text: `insert into countersign.api_key_uses as u (tenant_id, api_key_id, last_used_at_ms)
           values ($1, $2, $3)
           on conflict (tenant_id, api_key_id) do update set last_used_at_ms = greatest(u.last_used_at_ms, excluded.last_used_at_ms)`,
    values: [tenant, apiKeyId, atMs],
  };
}
