/**
 * The door's knowledge of the tables it writes, read from the database once at start: columns and their types, unique
 * keys, and an order in which referenced rows are inserted before those that refer to them.
 */
import type { JsonValue } from "@countersign/proof";
import type { TenantId } from "@countersign/contract";

export type ColumnType = "uuid" | "text" | "integer" | "bigint" | "boolean" | "jsonb" | "text[]" | "bytea";

export interface UniqueKey {
  readonly index: string;
  /** Without tenant_id, sorted. */
  readonly columns: readonly string[];
}

export interface Table {
  readonly name: string;
  readonly class: string;
  readonly columns: ReadonlyMap<string, ColumnType>;
  readonly uniqueKeys: readonly UniqueKey[];
  /** Tables with a lower rank are inserted first. */
  readonly rank: number;
}

export type Catalogue = ReadonlyMap<string, Table>;

export interface TableRecord {
  readonly name: string;
  readonly class: string | null;
  readonly columns: readonly (readonly [string, string])[];
  readonly keys: readonly { readonly index: string; readonly columns: readonly string[] }[] | null;
  readonly parents: readonly string[] | null;
}

/** Throws if two tables refer to each other: their rows could not be inserted set-wise in any order. */
export function makeCatalogue(records: readonly TableRecord[]): Catalogue {
  const parents = new Map(
    records.map((record) => [record.name, (record.parents ?? []).filter((name) => name !== record.name)]),
  );
  const ranks = new Map<string, number>();
  const rank = (name: string, path: readonly string[]): number => {
    if (path.includes(name)) throw new Error(`foreign keys form a cycle: ${[...path, name].join(" → ")}`);
    const known = ranks.get(name);
    if (known !== undefined) return known;
    const found = 1 + Math.max(-1, ...(parents.get(name) ?? []).map((parent) => rank(parent, [...path, name])));
    ranks.set(name, found);
    return found;
  };
  return new Map(
    records.map((record) => [
      record.name,
      {
        name: record.name,
        class: record.class ?? "",
        columns: new Map(record.columns as readonly (readonly [string, ColumnType])[]),
        uniqueKeys: (record.keys ?? []).map((key) => ({
          index: key.index,
          columns: key.columns.filter((column) => column !== "tenant_id").sort(),
        })),
        rank: rank(record.name, []),
      },
    ]),
  );
}

/** The name of a row's key, among the keys that a group may touch only once. */
export function keyName(tenant: TenantId, index: string, values: readonly (JsonValue | undefined)[]): string {
  return `${tenant} ${index} ${JSON.stringify(values)}`;
}
