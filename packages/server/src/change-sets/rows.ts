/**
 * Rows of the tables this module owns, as PostgreSQL's `to_jsonb` gives them. A row's JSON is what its digest covers, so
 * a row is written whole: read, copied with what changes, written.
 */
import type {
  ApplyMode,
  Category,
  EffectFlag,
  ItemInput,
  ItemOperation,
  JsonObject,
  JsonValue,
  Priority,
  Reversibility,
  RiskLevel,
  Status,
  TargetKindName,
  VoteDecision,
} from "@countersign/contract";
import type { GovernedTable, Row, Write } from "../ledger/index.js";
import type { Effect } from "../targets/index.js";

/** An action of the ledger about a change-set, written out wherever it is recorded. */
export type ChangeSetAction = `change_set.${string}`;

export interface Stored {
  readonly id: string;
  readonly version: number;
}

export interface ChangeSetRow extends Stored {
  readonly number: string;
  readonly title: string;
  readonly description: string;
  readonly author_id: string;
  readonly author_humans: readonly string[];
  readonly agent_type: string | null;
  readonly category: Category;
  readonly category_requested: Category | null;
  readonly priority: Priority;
  readonly apply_mode: ApplyMode;
  readonly tags: readonly string[];
  readonly metadata: JsonObject;
  /** Ids of change-sets. */
  readonly depends_on: readonly string[];
  readonly status: Status;
  readonly status_reason: string | null;
  readonly blocked: string | null;
  readonly revision: number;
  readonly revision_id: string;
  readonly approval_digest: string | null;
  readonly risk_score: number | null;
  readonly risk_level: RiskLevel | null;
  readonly required_approvals: number | null;
  /** Attempts to apply the present approval. */
  readonly attempts: number;
  /** The newest application. */
  readonly application_id: string | null;
  readonly created_at_ms: number;
  readonly updated_at_ms: number;
  readonly submitted_at_ms: number | null;
  readonly deadline_at_ms: number | null;
  readonly approved_until_ms: number | null;
  readonly applied_at_ms: number | null;
  readonly undo_until_ms: number | null;
  /** When its texts were erased. */
  readonly erased_at_ms?: number | null;
}

export interface RevisionRow extends Stored {
  readonly change_set_id: string;
  readonly number: number;
  /** 32 random bytes, hex. */
  readonly nonce: string;
  readonly digest: string;
  readonly made_by: string;
  readonly item_count: number;
  readonly category: Category;
  readonly risk: JsonObject;
  readonly policy: JsonObject | null;
  readonly route: JsonObject | null;
  readonly approval_digest: string | null;
  readonly created_at_ms: number;
}

export interface ItemRow extends Stored {
  readonly change_set_id: string;
  readonly revision_id: string;
  /** As the proposer numbered it, from 1. */
  readonly sequence: number;
  /** Order of execution, from 1: dependencies first. */
  readonly position: number;
  readonly operation: ItemOperation;
  readonly target_kind: TargetKindName;
  readonly target_type: string;
  readonly target_id: string;
  readonly target_environment: string;
  /** The targets it touches: two when something moves. */
  readonly target_key: string;
  readonly other_target_key: string | null;
  readonly input: ItemInput;
  readonly effects: readonly Effect[];
  readonly diff: JsonValue;
  readonly reversibility: Reversibility;
  readonly flags: readonly EffectFlag[];
  readonly policy: JsonObject | null;
}

export interface VoteRow extends Stored {
  readonly change_set_id: string;
  readonly revision_id: string;
  readonly voter_id: string;
  readonly key_id: string;
  readonly decision: VoteDecision;
  readonly digest: string;
  readonly signature: string;
  readonly reason: string | null;
  readonly self_approved: boolean;
  /** A new revision or a request for changes made it void. */
  readonly dismissed: boolean;
  readonly at_ms: number;
}

export type ApplicationStatus = "RUNNING" | "SUCCEEDED" | "COMPENSATED" | "REFUSED" | "PARTIAL";

export interface ApplicationRow extends Stored {
  readonly change_set_id: string;
  readonly revision_id: string;
  readonly kind: "APPLY" | "ROLLBACK";
  readonly mode: string;
  readonly attempt: number;
  readonly status: ApplicationStatus;
  readonly started_by: string;
  /** Durable phase of the run: `forward` until a step fails, then `compensate`. `resumed`: targets may already be in `after`. */
  readonly plan: { readonly phase: "forward" | "compensate"; readonly resumed: boolean; readonly actor: JsonObject };
  readonly reason: string | null;
  readonly applied_items: number;
  readonly failed_items: number;
  readonly errors: readonly { readonly sequence?: number; readonly code: string; readonly message: string }[];
  readonly started_at_ms: number;
  readonly ended_at_ms: number | null;
}

export type ApplicationItemStatus =
  "STARTED" | "VERIFIED" | "NOT_APPLIED" | "DIVERGED" | "UNKNOWN" | "COMPENSATING" | "COMPENSATED";

export interface ApplicationItemRow extends Stored {
  readonly change_set_id: string;
  readonly application_id: string;
  readonly sequence: number;
  readonly token: string;
  readonly status: ApplicationItemStatus;
  readonly problem: JsonObject | null;
  readonly started_at_ms: number;
  readonly ended_at_ms: number | null;
}

export interface BackupRow extends Stored {
  readonly change_set_id: string;
  readonly application_id: string;
  readonly item_sequence: number;
  readonly target_key: string;
  readonly digest: string;
  readonly bytes: number;
  readonly mode: number;
  readonly released: boolean;
  readonly at_ms: number;
}

export interface HoldRow extends Stored {
  readonly application_id: string | null;
  readonly change_set_id: string | null;
}

/** A change-set with its present revision: what every command and every view starts from. */
export interface Whole {
  readonly changeSet: ChangeSetRow;
  readonly revision: RevisionRow;
  /** In the proposer's order. */
  readonly items: readonly ItemRow[];
  /** On all revisions, oldest first; `dismissed` ones included. */
  readonly votes: readonly VoteRow[];
  /** The newest application and its items, if any. */
  readonly application: ApplicationRow | null;
  readonly applicationItems: readonly ApplicationItemRow[];
}

/** A new row: `id` and every other column; the door gives `version`. */
export type NewRow<T extends Stored> = Omit<T, "version">;

/** Every table this module owns, with its rows. */
interface TableRows {
  readonly change_sets: ChangeSetRow;
  readonly revisions: RevisionRow;
  readonly items: ItemRow;
  readonly votes: VoteRow;
  readonly applications: ApplicationRow;
  readonly application_items: ApplicationItemRow;
  readonly backups: BackupRow;
  readonly target_holds: HoldRow;
}
type OwnTable = keyof TableRows & GovernedTable;

export function insert<T extends OwnTable>(table: T, row: NewRow<TableRows[T]>): Write {
  return { verb: "insert", table, row: row as unknown as Row };
}

/** The whole row again with `changes`; refused by the door when somebody wrote it since it was read. */
export function update<T extends OwnTable>(
  table: T,
  row: TableRows[T],
  changes: Partial<Omit<TableRows[T], "id" | "version">>,
): Write {
  const { version, ...rest } = row;
  return { verb: "update", table, row: { ...rest, ...changes } as unknown as Row, from: version };
}

/** The row as it will be once the update is committed. */
export function updated<T extends Stored>(row: T, changes: Partial<Omit<T, "id" | "version">>): T {
  return { ...row, ...changes, version: row.version + 1 };
}

/** The change-set as it will be once these updates are committed. */
export function replaced(
  whole: Whole,
  by: { changes: Partial<ChangeSetRow>; revisionChanges?: Partial<RevisionRow>; items?: readonly ItemRow[] },
): Whole {
  return {
    ...whole,
    changeSet: updated<ChangeSetRow>(whole.changeSet, by.changes),
    revision:
      by.revisionChanges === undefined ? whole.revision : updated<RevisionRow>(whole.revision, by.revisionChanges),
    items: by.items ?? whole.items,
  };
}

/** A row that was just inserted, as it will be read. */
export function inserted<T extends Stored>(row: NewRow<T>): T {
  return { ...row, version: 1 } as T;
}

/** Keys of the targets an item touches. */
export function keysOf(item: Pick<ItemRow, "target_key" | "other_target_key">): string[] {
  return item.other_target_key === null || item.other_target_key === undefined
    ? [item.target_key]
    : [item.target_key, item.other_target_key];
}
