/** The shown form of people, keys and tenants. */
import {
  type ApiKeyView,
  type OperationOutput,
  type PrincipalView,
  proofPath,
  type SigningKeyView,
} from "@countersign/contract";
import type { Receipt } from "../ledger/index.js";
import type { Members, People, Person } from "./people.js";
import type { ApiKeyWithUse } from "./queries.js";
import type { ApiKeyRow, BindingRow, New, PrincipalRow, SigningKeyRow, TenantRow } from "./rows.js";

export type TenantView = OperationOutput<"getTenant">;
export type PrincipalSummary = PrincipalView["answerable"] & object;
export type ReceiptView = OperationOutput<"revokeKey">["receipts"][number];

const iso = (ms: number): string => new Date(ms).toISOString();

export function tenantView(row: TenantRow): TenantView {
  return { id: row.id, name: row.name, mode: row.mode, createdAt: iso(row.created_at_ms) };
}

export function summaryOf(people: Pick<People, "principals">, id: string): PrincipalSummary {
  const person = people.principals.get(id);
  return person === undefined
    ? { id, kind: "system", name: "Countersign" }
    : { id, kind: person.kind, name: person.name };
}

export function principalView(members: Members, id: string): PrincipalView {
  const person = members.principals.get(id);
  if (person === undefined) throw new Error(`principal ${id} is missing`);
  const active = members.rows.signingKeys.filter((key) => key.principal_id === id && key.status === "ACTIVE").length;
  return viewOf(person, { people: members, signingKeys: active });
}

/** A principal that this change makes. */
export function newPrincipalView(
  row: New<PrincipalRow>,
  bindings: readonly New<BindingRow>[],
  people: Pick<People, "principals">,
): PrincipalView {
  const names = (kind: BindingRow["kind"]): string[] =>
    bindings.filter((binding) => binding.kind === kind).map((binding) => binding.name);
  const person = {
    id: row.id,
    kind: row.kind,
    name: row.name,
    status: row.status,
    agentType: row.agent_type,
    answerable: row.answerable,
    boundRoles: names("role"),
    groups: names("group"),
    createdAtMs: row.created_at_ms,
  };
  return viewOf(person, { people, signingKeys: 0 });
}

type Shown = Pick<
  Person,
  "id" | "kind" | "name" | "status" | "agentType" | "answerable" | "boundRoles" | "groups" | "createdAtMs"
>;

function viewOf(
  person: Shown,
  { people, signingKeys }: { people: Pick<People, "principals">; signingKeys: number },
): PrincipalView {
  return {
    id: person.id,
    kind: person.kind,
    name: person.name,
    status: person.status,
    agentType: person.agentType,
    answerable: person.answerable === null ? null : summaryOf(people, person.answerable),
    roles: [...person.boundRoles].sort(),
    groups: [...person.groups].sort(),
    signingKeys,
    createdAt: iso(person.createdAtMs),
  };
}

export function apiKeyView(
  row: New<ApiKeyRow> & Partial<Pick<ApiKeyWithUse, "last_used_at_ms">>,
  principal: PrincipalSummary,
): ApiKeyView {
  const used = row.last_used_at_ms ?? null;
  return {
    id: row.id,
    principal,
    name: row.name,
    scopes: [...row.scopes],
    createdAt: iso(row.created_at_ms),
    expiresAt: iso(row.expires_at_ms),
    revokedAt: row.revoked_at_ms === null ? null : iso(row.revoked_at_ms),
    lastUsedAt: used === null ? null : iso(used),
  };
}

export function signingKeyView(row: New<SigningKeyRow>, principal: PrincipalSummary): SigningKeyView {
  return {
    id: row.id,
    principal,
    algorithm: row.algorithm,
    publicKey: row.public_key,
    label: row.label,
    status: row.status,
    enrolledAt: iso(row.enrolled_at_ms),
    revokedAt: row.revoked_at_ms === null ? null : iso(row.revoked_at_ms),
  };
}

export function receiptViews(receipts: readonly Receipt[]): ReceiptView[] {
  return receipts.map((receipt) => ({
    seq: receipt.seq,
    entryId: receipt.entryId,
    hash: receipt.hash,
    at: iso(receipt.timeMs),
    proof: proofPath(receipt.seq),
  }));
}
