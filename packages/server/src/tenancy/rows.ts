/** The stored rows of tenancy's tables, and the writes that make and change them. */
import type { AgentType, TenantMode } from "@countersign/contract";
import type { GovernedTable, Row, Write } from "../ledger/index.js";

type Stored = {
  readonly id: string;
  readonly version: number;
};

export type TenantRow = Stored & {
  readonly kind: "deployment" | "customer";
  readonly name: string;
  readonly mode: TenantMode;
  readonly status: "ACTIVE" | "CLOSED";
  readonly created_at_ms: number;
};

export type PrincipalRow = Stored & {
  readonly kind: "human" | "agent" | "service";
  readonly name: string;
  readonly agent_type: AgentType | null;
  readonly status: "ACTIVE" | "SUSPENDED";
  readonly answerable: string | null;
  readonly answerable_before: string | null;
  readonly created_by: string | null;
  readonly created_at_ms: number;
  /** When their name was erased. */
  readonly erased_at_ms?: number | null;
};

export type SigningKeyRow = Stored & {
  readonly principal_id: string;
  readonly algorithm: "Ed25519";
  readonly public_key: string;
  readonly label: string;
  readonly status: "ACTIVE" | "REVOKED";
  readonly minted_by: string | null;
  readonly enrolled_at_ms: number;
  readonly revoked_at_ms: number | null;
};

export type EnrolmentCodeRow = Stored & {
  readonly principal_id: string;
  readonly code_hash: string;
  readonly issued_by: string | null;
  readonly issued_at_ms: number;
  readonly expires_at_ms: number;
  readonly used_at_ms: number | null;
};

export type ApiKeyRow = Stored & {
  readonly principal_id: string;
  readonly name: string;
  readonly secret_hash: string;
  readonly scopes: readonly string[];
  readonly created_by: string | null;
  readonly created_at_ms: number;
  readonly expires_at_ms: number;
  readonly revoked_at_ms: number | null;
};

export type BindingRow = Stored & {
  readonly principal_id: string;
  readonly kind: "role" | "group";
  readonly name: string;
  readonly status: "ACTIVE" | "REMOVED";
  readonly granted_by: string | null;
  readonly granted_at_ms: number;
};

export type ModeRequestRow = Stored & {
  readonly mode: TenantMode;
  readonly requested_by: string;
  readonly status: "PENDING" | "DONE";
  readonly requested_at_ms: number;
  readonly expires_at_ms: number;
};

export type DirectoryRow = Stored & {
  readonly name: string;
  readonly created_at_ms: number;
};

export interface TableRows {
  readonly tenants: TenantRow;
  readonly principals: PrincipalRow;
  readonly signing_keys: SigningKeyRow;
  readonly enrolment_codes: EnrolmentCodeRow;
  readonly api_keys: ApiKeyRow;
  readonly role_bindings: BindingRow;
  readonly mode_requests: ModeRequestRow;
  readonly tenant_directory: DirectoryRow;
}
type OwnTable = keyof TableRows & GovernedTable;

/** A row that is about to be inserted: the door gives its version. */
export type New<R extends Stored> = Omit<R, "version">;

export function insert<T extends OwnTable>(table: T, row: New<TableRows[T]> & Row): Write {
  return { verb: "insert", table, row };
}

export function update<T extends OwnTable>(
  table: T,
  row: TableRows[T] & Row,
  changes: Partial<Omit<TableRows[T], "id" | "version">> & Row,
): Write {
  const { version, ...rest }: Stored & Row = row;
  const changed: Row = changes;
  return { verb: "update", table, row: { ...rest, ...changed }, from: version };
}
