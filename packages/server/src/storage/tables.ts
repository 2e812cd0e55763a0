/**
 * The class of every table. Grants follow from it, and so do the writes that the door accepts.
 * Promises: a table of the schema that is not here, or is here and not in the schema, is refused by the migration runner.
 * The runner's own `migrations` is the one table that is not declared: it is no tenant's, and the server may not read it.
 */

export type TableClass =
  /** May influence a decision or be cited as evidence: tenant_id, version, row_salt; written only through the door. */
  | "governed"
  /** Entries and bodies: the append function alone. */
  | "ledger"
  /** Checkpoints, tiles, anchor receipts: the publisher. */
  | "log"
  /** By which bodies are sealed: inserted with the first of them, deleted by an erasure's own function. */
  | "keys"
  /** Written inside a commit, beside its entry. */
  | "attached"
  /** Bytes named by their digest, which is checked at every reading. */
  | "content"
  /** Caches and projections: may be emptied at any time; never an input of a decision. */
  | "derived"
  /** Losing, repeating or forging a row may delay work, but never permits, denies or undoes anything. */
  | "operational";

export interface TableDeclaration {
  readonly class: TableClass;
}

export const tables = {
  anchor_receipts: { class: "log" },
  anchor_states: { class: "operational" },
  api_key_uses: { class: "operational" },
  api_keys: { class: "governed" },
  application_items: { class: "governed" },
  application_leases: { class: "operational" },
  applications: { class: "governed" },
  backups: { class: "governed" },
  blobs: { class: "content" },
  bodies: { class: "ledger" },
  change_sets: { class: "governed" },
  checkpoints: { class: "log" },
  counters: { class: "attached" },
  enrolment_codes: { class: "governed" },
  entries: { class: "ledger" },
  epochs: { class: "governed" },
  follower_cursors: { class: "operational" },
  idempotency_keys: { class: "attached" },
  item_targets: { class: "governed" },
  items: { class: "governed" },
  job_states: { class: "operational" },
  kill_switches: { class: "governed" },
  legal_holds: { class: "governed" },
  mode_requests: { class: "governed" },
  number_series: { class: "operational" },
  principals: { class: "governed" },
  publisher_leases: { class: "operational" },
  resource_versions: { class: "governed" },
  resources: { class: "governed" },
  revisions: { class: "governed" },
  role_bindings: { class: "governed" },
  self_checks: { class: "operational" },
  signing_keys: { class: "governed" },
  subject_keys: { class: "keys" },
  target_holds: { class: "governed" },
  tenant_directory: { class: "governed" },
  tenant_locks: { class: "operational" },
  tenants: { class: "governed" },
  tiles: { class: "log" },
  used_proofs: { class: "attached" },
  votes: { class: "governed" },
  workspaces: { class: "governed" },
} as const satisfies Readonly<Record<string, TableDeclaration>>;

export type TableName = keyof typeof tables;
/** Tables whose rows the door versions and digests. */
export type GovernedTable = { [N in TableName]: (typeof tables)[N]["class"] extends "governed" ? N : never }[TableName];

/** `{ entries: "ledger", … }`, as the migration runner hands it to the database. */
export function tableClasses(): Record<string, TableClass> {
  return Object.fromEntries(Object.entries(tables).map(([name, declaration]) => [name, declaration.class]));
}
