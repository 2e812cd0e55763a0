/** One repeatable-read, read-only transaction that sees one tenant: what decisions are loaded in. */
import type { TenantId } from "@countersign/contract";
import type { SnapshotClient } from "../storage/index.js";
import { counterValue, epochValues } from "./queries.js";
import type { Query, Snapshot } from "./types.js";

export function snapshotOver(tenant: TenantId, client: SnapshotClient): Snapshot {
  const query = async <T>({ name, text, values }: Query): Promise<T[]> => {
    const found = await client.query<Record<string, unknown>>({ name, text, values: [...values] });
    return found.rows as T[];
  };
  const epochs = async (names: readonly string[]): Promise<ReadonlyMap<string, number>> => {
    const rows = await query<{ id: string; version: number }>(epochValues(tenant, names));
    return new Map([...names.map((name) => [name, 0] as const), ...rows.map((row) => [row.id, row.version] as const)]);
  };
  return {
    tenant,
    query,
    epochs,
    epoch: async (name) => (await epochs([name])).get(name) ?? 0,
    counter: async (key) => Number((await query<{ value: string }>(counterValue(tenant, key)))[0]?.value ?? 0),
  };
}
