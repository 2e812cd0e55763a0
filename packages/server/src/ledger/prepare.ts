/**
 * Turns a decided change into the data sent to the database: canonical content of its entries, digests of its rows, the
 * guards a decision did not name but depends on, and the keys by which two changes of one group must not meet.
 *
 * Promises: pure apart from the randomness and sealing it is given; a change that breaks a rule of the door (a row of
 * another shape than its table, two writes to one row, no entry) throws, for only our own code can cause it.
 */
import { isUuid, type TenantId } from "@countersign/contract";
import {
  bodyCommitmentOfText,
  canonicalize,
  entryContentText,
  rowDigestOfText,
  type Count,
  type JsonObject,
  type JsonValue,
  type StateDigest,
} from "@countersign/proof";
import { keyName, type Catalogue, type ColumnType, type Table } from "./catalogue.js";
import { bodyBinding, type NewSubjectKey, type SubjectKey, type SubjectKeys } from "./subjectKeys.js";
import type { AttachedRow, Change, DraftShape, Guard, Reference, Row, Write } from "./types.js";

export interface Preparation {
  readonly catalogue: Catalogue;
  readonly nowMs: number;
  uuid(): string;
  randomBytes(count: number): Uint8Array;
  /** The texts of an erasure's own entry outlive the keys of its subject: they are sealed with the server's key. */
  seal(plain: Uint8Array, binding: string): Uint8Array;
  readonly subjectKeys: Pick<SubjectKeys, "known" | "make">;
}

/** One row of a document: `kind` says which statement reads it, `json` is its object without the opening brace. */
export interface Part {
  readonly kind: string;
  readonly order: number;
  readonly json: string;
}

/** The content's text, and the parts of it that are columns of their own. */
export interface PreparedEntry {
  readonly id: string;
  readonly content: string;
  readonly action: string;
  readonly actorId: string;
  readonly subjectId: string;
}

export interface PreparedChange {
  readonly tenant: TenantId;
  readonly entries: readonly PreparedEntry[];
  readonly bodies: readonly { readonly entry: number; readonly salt: Uint8Array; readonly sealed: Uint8Array }[];
  /** To be remembered once they are committed. */
  readonly newKeys: readonly NewSubjectKey[];
  readonly parts: readonly Part[];
  readonly reads: readonly string[];
  readonly writes: readonly string[];
  readonly bytes: number;
}

/** Guards, then counters, then inserts, referenced tables first, then updates. */
export const guardOrder = 0;
export const counterOrder = 1;
const insertsFrom = 2;
const updatesFrom = 10_000;

export function prepareChange(change: Change<DraftShape>, preparation: Preparation): PreparedChange {
  if (change.entries.length === 0) throw new Error("a change has at least one entry");
  const collected = new Collected(change.tenant, preparation.catalogue);
  const sealerOf = (draft: DraftShape) =>
    draft.erasesKeys === true ? preparation : collected.keyOf(draft.subject, preparation);
  const counts = countsOf(change.guards);
  for (const guard of change.guards) collected.guard(guard);
  for (const row of change.attached ?? []) collected.attached(row);
  const entries: PreparedEntry[] = [];
  const bodies: { entry: number; salt: Uint8Array; sealed: Uint8Array }[] = [];
  change.entries.forEach((draft, index) => {
    const id = draft.id ?? preparation.uuid();
    const state = (draft.writes ?? []).map((write) => collected.write(write, preparation.randomBytes(32)));
    const body =
      draft.body === undefined
        ? undefined
        : sealBody(draft.body, { binding: bodyBinding(change.tenant, id), sealer: sealerOf(draft) }, preparation);
    if (draft.erasesKeys === true) collected.erasesKeys(id, draft.subject);
    const last = index === change.entries.length - 1;
    entries.push({
      id,
      content: contentOf(draft, { id, state, commitment: body?.commitment, counts: last ? counts : [] }, preparation),
      action: draft.action,
      actorId: draft.actor.id,
      subjectId: draft.subject.id,
    });
    if (body !== undefined) bodies.push({ entry: index, salt: body.salt, sealed: body.sealed });
  });
  const bytes =
    entries.reduce((sum, entry) => sum + entry.content.length, 0) +
    bodies.reduce((sum, body) => sum + body.sealed.byteLength, 0) +
    collected.parts.reduce((sum, part) => sum + part.json.length, 0);
  return {
    tenant: change.tenant,
    entries,
    bodies,
    newKeys: collected.newKeys,
    parts: collected.parts,
    reads: collected.reads,
    writes: [...collected.writes],
    bytes,
  };
}

function contentOf(
  draft: DraftShape,
  made: { id: string; state: readonly StateDigest[]; commitment: string | undefined; counts: readonly Count[] },
  { nowMs, randomBytes }: Preparation,
): string {
  const { actor, action, subject, refs, data } = draft;
  return entryContentText({
    id: made.id,
    nonce: Buffer.from(randomBytes(16)).toString("hex"),
    at: nowMs,
    actor,
    action,
    subject,
    state: made.state,
    counts: made.counts,
    ...(refs === undefined ? {} : { refs }),
    ...(data === undefined ? {} : { data }),
    ...(made.commitment === undefined ? {} : { body: { commitment: made.commitment } }),
  });
}

/**
 * Uses of counters, as the change's last entry records them, so that a counter's value can be compared with the ledger.
 */
function countsOf(guards: readonly Guard[]): Count[] {
  const counts = guards.flatMap((guard) => (guard.kind === "counter" ? [[guard.key, guard.add] as const] : []));
  if (new Set(counts.map(([key]) => key)).size !== counts.length) throw new Error("a change uses a counter twice");
  return counts;
}

function sealBody(
  body: JsonObject,
  by: { readonly binding: string; readonly sealer: Pick<SubjectKey, "seal"> },
  { randomBytes }: Preparation,
): { commitment: string; salt: Uint8Array; sealed: Uint8Array } {
  const text = canonicalize(body);
  const salt = randomBytes(32);
  return {
    commitment: bodyCommitmentOfText(salt, text),
    salt,
    sealed: by.sealer.seal(Buffer.from(text, "utf8"), by.binding),
  };
}

/** Gathers rows and keys; throws where a write does not fit its table. */
class Collected {
  readonly parts: Part[] = [];
  readonly reads: string[] = [];
  readonly writes = new Set<string>();
  readonly #tenant: TenantId;
  readonly #tenantMember: string;
  readonly #catalogue: Catalogue;
  readonly #written = new Set<string>();
  readonly newKeys: NewSubjectKey[] = [];
  /** By subject: one key serves all bodies of a change. */
  readonly #keys = new Map<string, SubjectKey>();

  constructor(tenant: TenantId, catalogue: Catalogue) {
    this.#tenant = tenant;
    this.#tenantMember = `"tenant_id":"${tenant}"`;
    this.#catalogue = catalogue;
  }

  guard(guard: Guard): void {
    switch (guard.kind) {
      case "row":
        return this.#rowGuard(guard.table, guard.id, guard.version);
      case "epoch":
        return this.#rowGuard("epochs", guard.name, guard.value);
      case "subject":
        return this.#part(
          "subject",
          guardOrder,
          `${this.#tenantMember},"subject_id":${canonicalize(guard.subjectId)},"seq":${integer(guard.seq, Number.MAX_SAFE_INTEGER)}}`,
        );
      case "absent":
        return this.#absentGuard(guard.table, guard.key);
      case "counter": {
        const numbers = `"add":${integer(guard.add, Number.MAX_SAFE_INTEGER)},"max":${integer(guard.max, Number.MAX_SAFE_INTEGER)}`;
        this.#part("count", counterOrder, `${this.#tenantMember},"key":${canonicalize(guard.key)},${numbers}}`);
      }
    }
  }

  /**
   * The key for bodies about a subject: a stored key, under a guard that it still exists; or else a new key, stored
   * with the bodies.
   */
  keyOf(subject: Reference, { subjectKeys, nowMs }: Pick<Preparation, "subjectKeys" | "nowMs">): SubjectKey {
    const place = subjectKeyName(this.#tenant, subject);
    const there = this.#keys.get(place);
    if (there !== undefined) return there;
    // In one group with an erasure of the subject a body could lose its key: whichever comes first goes first.
    this.reads.push(place);
    const known = subjectKeys.known(this.#tenant, subject);
    const key = known ?? this.#newKey(subject, subjectKeys, nowMs);
    if (known !== undefined)
      this.#part("key subject_keys", guardOrder, `${this.#tenantMember},"key_id":"\\\\x${key.id}"}`);
    this.#keys.set(place, key);
    return key;
  }

  #newKey(subject: Reference, subjectKeys: Pick<SubjectKeys, "make">, nowMs: number): SubjectKey {
    const made = subjectKeys.make(this.#tenant, subject);
    this.newKeys.push(made);
    const row = canonicalize({ subject_type: subject.type, subject_id: subject.id, made_ms: nowMs });
    const bytes = `"key_id":"\\\\x${made.id}","sealed":"\\\\x${Buffer.from(made.sealed).toString("hex")}"`;
    this.#part("insert subject_keys", insertsFrom, `${this.#tenantMember},${bytes},${row.slice(1)}`);
    return made;
  }

  /** The entry says that the subject is erased: its keys go with the commit. */
  erasesKeys(entryId: string, subject: Reference): void {
    this.writes.add(subjectKeyName(this.#tenant, subject));
    this.#part("erase subject_keys", updatesFrom, `${this.#tenantMember},"entry_id":"${entryId}"}`);
  }

  /** Returns the entry's record of the row. */
  write(write: Write, salt: Uint8Array): StateDigest {
    const table = this.#table(write.table, "governed");
    const id = write.row["id"];
    if (typeof id !== "string") throw new Error(`a row of \`${write.table}\` has no id`);
    const version = write.verb === "insert" ? 1 : write.from + 1;
    const key = `${write.table} ${id}`;
    if (this.#written.has(key)) throw new Error(`a change writes the row \`${key}\` twice`);
    this.#written.add(key);
    // The base of every update is checked before anything is written, so a conflict rejects one change and needs no retry.
    // Ids that are names may be taken; random ones cannot be.
    if (write.verb === "update") this.#rowGuard(write.table, id, write.from);
    else if (table.columns.get("id") === "text") this.#rowGuard(write.table, id, 0);
    const row = { ...checkedRow(table, write.row), version };
    const json = canonicalize({ tenant_id: this.#tenant, ...row });
    assertStorable(json, `a row of \`${write.table}\``);
    this.#noteKeys(table, row);
    const order = (write.verb === "insert" ? insertsFrom : updatesFrom) + table.rank;
    this.#part(
      `${write.verb} ${write.table}`,
      order,
      `"row_salt":"\\\\x${Buffer.from(salt).toString("hex")}",${json.slice(1)}`,
    );
    return [write.table, id, version, rowDigestOfText(salt, json)];
  }

  attached({ verb, table: name, row }: AttachedRow): void {
    const table = this.#table(name, "attached");
    if (name === "counters") throw new Error("counters are moved by counter guards");
    const checked = checkedRow(table, row);
    const json = canonicalize({ tenant_id: this.#tenant, ...checked });
    assertStorable(json, `a row of \`${name}\``);
    this.#noteKeys(table, checked);
    this.#part(`${verb} ${name}`, (verb === "insert" ? insertsFrom : updatesFrom) + table.rank, json.slice(1));
  }

  #rowGuard(tableName: string, id: string, version: number): void {
    const table = this.#table(tableName, "governed");
    checkValue(table, "id", id);
    const at = integer(version, 2 ** 31 - 1);
    const part = `${this.#tenantMember},"id":${canonicalize(id)},"version":${at}}`;
    if (this.parts.some((known) => known.json === part && known.kind === `row ${tableName}`)) return;
    this.#part(`row ${tableName}`, guardOrder, part);
    this.reads.push(keyName(this.#tenant, `${tableName} id`, [id]));
  }

  #absentGuard(tableName: string, key: Readonly<Record<string, string | number>>): void {
    const table = this.#catalogue.get(tableName);
    if (table === undefined) throw new Error(`the door knows no table \`${tableName}\``);
    const columns = Object.keys(key).sort();
    const unique = table.uniqueKeys.filter((candidate) => candidate.columns.join() === columns.join());
    if (unique.length === 0) throw new Error(`\`${tableName}\` has no unique key (tenant_id, ${columns.join(", ")})`);
    for (const column of columns) checkValue(table, column, key[column]);
    for (const { index } of unique) {
      this.#part(`absent ${index}`, guardOrder, `${this.#tenantMember},${canonicalize(key).slice(1)}`);
      this.reads.push(
        keyName(
          this.#tenant,
          index,
          columns.map((column) => key[column]),
        ),
      );
    }
  }

  /** Every unique key the new row occupies. Predicates of partial keys are not evaluated here: too many keys only delay. */
  #noteKeys(table: Table, row: Row): void {
    if (table.class === "governed") this.writes.add(keyName(this.#tenant, `${table.name} id`, [row["id"]]));
    for (const { index, columns } of table.uniqueKeys) {
      const values = columns.map((column) => row[column]);
      if (values.every((value) => value !== undefined)) this.writes.add(keyName(this.#tenant, index, values));
    }
  }

  #table(name: string, expected: "governed" | "attached"): Table {
    const table = this.#catalogue.get(name);
    if (table?.class !== expected)
      throw new Error(`the door writes \`${name}\` only if it is ${expected}; migrate, or declare its class`);
    return table;
  }

  #part(kind: string, order: number, json: string): void {
    this.parts.push({ kind, order, json });
  }
}

const subjectKeyName = (tenant: TenantId, { type, id }: Reference): string =>
  keyName(tenant, "subject_keys", [type, id]);

const givenByTheDoor = new Set(["tenant_id", "version", "row_salt"]);

/** The row without nulls, every value of its column's type. */
function checkedRow(table: Table, row: Row): Record<string, JsonValue> {
  const checked: Record<string, JsonValue> = {};
  for (const [column, value] of Object.entries(row)) {
    if (value === null || value === undefined) continue;
    if (table.class === "governed" && givenByTheDoor.has(column))
      throw new Error(`\`${table.name}.${column}\` is given by the door`);
    checkValue(table, column, value);
    checked[column] = value;
  }
  return checked;
}

function checkValue(table: Table, column: string, value: JsonValue | undefined): void {
  const type = table.columns.get(column);
  if (type === undefined) throw new Error(`\`${table.name}\` has no column \`${column}\``);
  if (!fits(type, value))
    throw new Error(`\`${table.name}.${column}\` is ${type} and cannot be ${JSON.stringify(value)?.slice(0, 80)}`);
}

function fits(type: ColumnType, value: JsonValue | undefined): boolean {
  switch (type) {
    case "uuid":
      return typeof value === "string" && isUuid(value);
    case "text":
      return typeof value === "string";
    case "integer":
      return Number.isInteger(value) && Math.abs(value as number) < 2 ** 31;
    case "bigint":
      return Number.isSafeInteger(value);
    case "boolean":
      return typeof value === "boolean";
    case "jsonb":
      return value !== undefined && value !== null;
    case "text[]":
      return Array.isArray(value) && value.every((item) => typeof item === "string");
    default:
      // INVARIANT: a governed row reads the same in JavaScript and in to_jsonb, so no other type is let in.
      return false;
  }
}

function integer(value: number, max: number): number {
  if (!Number.isInteger(value) || Math.abs(value) > max) throw new Error(`not an integer the door can keep: ${value}`);
  return value;
}

/** PostgreSQL cannot store U+0000; the edge refuses it, so only our own text can hold one here. */
function assertStorable(json: string, what: string): void {
  if (json.includes("\\u0000") && /(?<!\\)(?:\\\\)*\\u0000/.test(json)) throw new Error(`${what} holds U+0000`);
}
