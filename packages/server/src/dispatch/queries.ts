/** All SQL of idempotency_keys and used_proofs, apart from what the door writes. */
import type { TenantId } from "@countersign/contract";
import type { Query, Snapshot } from "../ledger/index.js";

export interface StoredResponse {
  readonly fingerprint: string;
  /** The body without receipts, and the ids of the entries that the receipts are of. */
  readonly response: { readonly body: Readonly<Record<string, unknown>> | null; readonly entries: readonly string[] };
  readonly applicationId: string | null;
}

export interface IdempotencyScope {
  readonly principalId: string;
  readonly operation: string;
  readonly key: string;
}

interface StoredRow {
  readonly fingerprint: string;
  readonly response: StoredResponse["response"];
  readonly application_id: string | null;
}

const storedOf = ([row]: readonly StoredRow[]): StoredResponse | undefined =>
  row && { fingerprint: row.fingerprint, response: row.response, applicationId: row.application_id };

/** By idempotency_keys_pkey. Expired rows count as absent, as they do for the door. */
export async function readStoredResponse(
  snapshot: Snapshot,
  scope: IdempotencyScope,
  nowMs: number,
): Promise<StoredResponse | undefined> {
  const rows = await snapshot.query<StoredRow>({
    name: "dispatch_stored_response",
    text: `select fingerprint, response, application_id
             from countersign.idempotency_keys
            where tenant_id = $1
              and principal_id = $2
              and operation = $3
              and key = $4
              and expires_ms > $5`,
    values: [snapshot.tenant, scope.principalId, scope.operation, scope.key, nowMs],
  });
  return storedOf(rows);
}

/** The same for the holder of an API key, before the holder is known. By api_keys_pkey and idempotency_keys_pkey. */
export async function readResponseStoredFor(
  snapshot: Snapshot,
  scope: Omit<IdempotencyScope, "principalId"> & { readonly apiKeyId: string },
  nowMs: number,
): Promise<StoredResponse | undefined> {
  const rows = await snapshot.query<StoredRow>({
    name: "dispatch_response_stored_for",
    text: `select fingerprint, response, application_id
             from countersign.idempotency_keys
            where tenant_id = $1
              and principal_id = (select k.principal_id from countersign.api_keys as k where k.tenant_id = $1 and k.id = $2)
              and operation = $3
              and key = $4
              and expires_ms > $5`,
    values: [snapshot.tenant, scope.apiKeyId, scope.operation, scope.key, nowMs],
  });
  return storedOf(rows);
}

/** A replay: last use and count. */
export function noteReplay(tenant: TenantId, scope: IdempotencyScope, nowMs: number): Query {
  return {
    name: "dispatch_note_replay",
    text: `update countersign.idempotency_keys
              set last_used_ms = greatest(last_used_ms, $5), use_count = use_count + 1
            where tenant_id = $1
              and principal_id = $2
              and operation = $3
              and key = $4`,
    values: [tenant, scope.principalId, scope.operation, scope.key, nowMs],
  };
}

/** By idempotency_keys_by_expiry, oldest first, a few at a time: nobody waits for it. */
export function sweepResponses(tenant: TenantId, nowMs: number): Query {
  return {
    name: "dispatch_sweep_responses",
    text: `delete from countersign.idempotency_keys
            where (tenant_id, principal_id, operation, key) in (
              select tenant_id, principal_id, operation, key
                from countersign.idempotency_keys
               where tenant_id = $1
                 and expires_ms <= $2
               order by expires_ms
               limit 1000)`,
    values: [tenant, nowMs],
  };
}

/** Which of the tenants have what may be swept. By idempotency_keys_by_expiry and used_proofs_by_expiry. */
export function tenantsToSweep(tenants: readonly TenantId[], nowMs: number): Query {
  return {
    name: "dispatch_tenants_to_sweep",
    text: `select t.id
             from unnest($1::uuid[]) as t (id)
            where exists (select from countersign.idempotency_keys as k where k.tenant_id = t.id and k.expires_ms <= $2)
               or exists (select from countersign.used_proofs as p where p.tenant_id = t.id and p.expires_ms <= $2)`,
    values: [tenants, nowMs],
  };
}

/** By used_proofs_pkey. */
export async function isProofUsed(snapshot: Snapshot, digest: string): Promise<boolean> {
  const rows = await snapshot.query<{ digest: string }>({
    name: "dispatch_used_proof",
    text: `select digest
             from countersign.used_proofs
            where tenant_id = $1
              and digest = $2`,
    values: [snapshot.tenant, digest],
  });
  return rows.length > 0;
}

/** By used_proofs_by_expiry. */
export function sweepProofs(tenant: TenantId, nowMs: number): Query {
  return {
    name: "dispatch_sweep_proofs",
    text: `delete from countersign.used_proofs
            where (tenant_id, digest) in (
              select tenant_id, digest
                from countersign.used_proofs
               where tenant_id = $1
                 and expires_ms <= $2
               order by expires_ms
               limit 1000)`,
    values: [tenant, nowMs],
  };
}

/**
 * Responses of commits before the subject of one of their entries was erased. Reads all stored responses: those of
 * three days.
 */
export const forgetErasedResponses = `with erased as materialized (
  select e.subject_id, max(e.seq) as seq from countersign.entries as e where e.tenant_id = $1 and e.action = 'subject.erased' group by 1
), forgotten as (
  update countersign.idempotency_keys as k
     set response = jsonb_build_object('body', jsonb_build_object('erased', true), 'entries', k.response -> 'entries')
   where k.tenant_id = $1
     and exists (select from erased)
     and k.response #> '{body,erased}' is distinct from 'true'::jsonb
     and exists (
       select from jsonb_array_elements_text(k.response -> 'entries') as of_response (id)
         join countersign.entries as e on e.tenant_id = $1 and e.entry_id = of_response.id::uuid
         join erased on erased.subject_id = e.subject_id and e.seq < erased.seq
        where e.action is distinct from 'subject.erased')
  returning 1
)
select count(*)::int as count from forgotten`;
