/**
 * Types of the door: a change, which is data, and its result. Promises nothing by itself: `prepare.ts` checks a change,
 * `groups.ts` commits it.
 */
import type { Action, EventData, EventSubject, Refusal, TenantId } from "@countersign/contract";
import type { GovernedTable, TableName, tables } from "../storage/index.js";
import type { JsonObject, JsonValue } from "@countersign/proof";

export type { GovernedTable, TableName };
export type AttachedTable = { [N in TableName]: (typeof tables)[N]["class"] extends "attached" ? N : never }[TableName];

/** Who did it. `humans`: the human roots, those answerable for it. */
export type Actor = {
  readonly type: "human" | "agent" | "service" | "system";
  readonly id: string;
  readonly humans: readonly string[];
};

export interface Reference {
  readonly type: string;
  readonly id: string;
}

/** Column name → value. Null and left out are the same. Neither tenant_id nor version nor row_salt: the door gives those. */
export type Row = Readonly<Record<string, JsonValue | undefined>>;

export type Write =
  | { readonly verb: "insert"; readonly table: GovernedTable; readonly row: Row }
  /** The whole new row; version goes from `from` to `from + 1`. */
  | { readonly verb: "update"; readonly table: GovernedTable; readonly row: Row; readonly from: number };

/** A fact that a decision depended on. If a guard does not hold any more, the door loads and decides again. */
export type Guard =
  | { readonly kind: "row"; readonly table: GovernedTable; readonly id: string; readonly version: number }
  /** No row under a unique key of the table; `key` names its columns besides tenant_id. */
  | { readonly kind: "absent"; readonly table: TableName; readonly key: Readonly<Record<string, string | number>> }
  /** 0 = never moved. */
  | { readonly kind: "epoch"; readonly name: string; readonly value: number }
  /** No entry about the subject behind this one. */
  | { readonly kind: "subject"; readonly subjectId: string; readonly seq: number }
  /** Adds to a counter, unless the sum would be above `max`. Evaluated in the database, so exact limits do not livelock. */
  | { readonly kind: "counter"; readonly key: string; readonly add: number; readonly max: number };

/**
 * One entry to be appended, with the governed rows it is the record of, as the door itself needs it: what actions there are is
 * not its business. Modules write `EntryDraft`s; a test opens a door for words of its own.
 */
export interface DraftShape {
  /** UUIDv7 from the decision's context, for who must know it before the commit; else the door gives one. */
  readonly id?: string;
  readonly actor: Actor;
  /** `change_set.approved`: noun.verb_past, lower snake. */
  readonly action: string;
  /** The aggregate root whose rows are written: the newest digest of a row is searched among the entries of its subject. */
  readonly subject: Reference;
  readonly refs?: readonly Reference[];
  /** Ids, enums, integers, booleans, digests, signatures only. */
  readonly data?: JsonObject;
  /** Texts and states that people read: sealed, behind a salted commitment. */
  readonly body?: JsonObject;
  readonly writes?: readonly Write[];
  /** With its commit the keys of its subject are gone, and nobody opens the bodies they sealed: `subject.erased` alone. */
  readonly erasesKeys?: true;
}

/** A draft of this action: about a subject of its type, with the data the catalogue says, and no other. */
export type DraftOf<A extends Action> = Omit<DraftShape, "action" | "subject" | "data"> & {
  readonly action: A;
  readonly subject: { readonly type: EventSubject<A>; readonly id: string };
} & (Record<never, never> extends EventData<A> ? { readonly data?: EventData<A> } : { readonly data: EventData<A> });

/** A draft of any action of the catalogue (`contract/src/events`): a wrong action, member or type of subject does not compile. */
export type EntryDraft = { [A in Action]: DraftOf<A> }[Action];

/** A row written beside the entries, in the same commit, e.g. the response an idempotency key remembers. */
export interface AttachedRow {
  readonly verb: "insert" | "update";
  readonly table: AttachedTable;
  /** All columns but tenant_id. An update goes by the primary key. */
  readonly row: Row;
}

export interface Change<D extends DraftShape = EntryDraft> {
  readonly tenant: TenantId;
  readonly guards: readonly Guard[];
  /** At least one, appended in this order. */
  readonly entries: readonly D[];
  readonly attached?: readonly AttachedRow[];
}

export type Decided<R, D extends DraftShape = EntryDraft> =
  | { readonly kind: "change"; readonly change: Omit<Change<D>, "tenant">; readonly result: R }
  /** Nothing is to be written: a read-only answer, e.g. an idempotent replay. */
  | { readonly kind: "nothing"; readonly result: R };

/** An entry is in the ledger: where, and the hash that proves it. */
export interface Receipt {
  readonly tenant: TenantId;
  readonly seq: number;
  readonly entryId: string;
  readonly hash: string;
  readonly timeMs: number;
}

export type Outcome<R> =
  | { readonly kind: "committed"; readonly result: R; readonly receipts: readonly Receipt[] }
  | { readonly kind: "nothing"; readonly result: R }
  | Refusal;

/** Time and randomness for a decision, so that the decision itself stays pure. */
export interface DecideContext {
  readonly nowMs: number;
  /** UUIDv7. */
  uuid(): string;
  randomBytes(count: number): Uint8Array;
}

export interface Query {
  /** Prepared once a connection under this name. */
  readonly name: string;
  readonly text: string;
  readonly values: readonly unknown[];
}

/** One repeatable-read, read-only transaction that sees one tenant. */
export interface Snapshot {
  readonly tenant: TenantId;
  query<T>(query: Query): Promise<T[]>;
  /** 0 = never moved. */
  epoch(name: string): Promise<number>;
  epochs(names: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** 0 = never used. */
  counter(key: string): Promise<number>;
}

/** The write that moves an epoch from the value it was read with. */
export function moveEpoch(name: string, fromValue: number): Write {
  return fromValue === 0
    ? { verb: "insert", table: "epochs", row: { id: name } }
    : { verb: "update", table: "epochs", row: { id: name }, from: fromValue };
}

// ── Erasure: what modules that hold texts of a subject offer to whoever erases it ────────────────────────────────────

export interface ErasureSubject extends Reference {
  readonly type: "change_set" | "principal";
}

/** What one module takes away of a subject. Nothing is written yet. */
export interface ModuleErasure {
  /** New versions of the subject's own rows, their texts removed. */
  readonly writes: readonly Write[];
  /** Entries for rows of other subjects that hold texts of this one. */
  readonly entries?: readonly EntryDraft[];
  readonly guards?: readonly Guard[];
  /** In plain words, in the plural. */
  readonly erased: readonly { readonly what: string; readonly count: number }[];
  /** Where texts of the subject stay, in plain words. */
  readonly notReached?: readonly string[];
}

export interface ErasureBy {
  readonly actor: Actor;
  readonly nowMs: number;
}

/** Offered by every module that holds data of a subject. Refuses what it must not lose: `illegal_transition`, `ledger_mismatch`. */
export type EraseSubject = (
  snapshot: Snapshot,
  subject: ErasureSubject,
  by: ErasureBy,
) => Promise<ModuleErasure | Refusal>;

/** The part of step 2 that is a module's own; how many things went. Undefined: not now, something runs that may need them. */
export type FinishErasures = (tenant: TenantId) => Promise<number | undefined>;
