/** One repeatable-read, read-only transaction that sees one tenant: what decisions are loaded in. */
import type { TenantId } from "@countersign/contract";
import type { SnapshotClient, Storage } from "../storage/index.js";
import { counterValue, epochValues } from "./queries.js";
import type { Query, Snapshot } from "./types.js";

type Opener = Pick<Storage, "withSnapshot">;

/** Reads in a snapshot that is opened by the first question: whoever asks none costs the database nothing. */
export async function readInSnapshot<T>(
  storage: Opener,
  tenant: TenantId,
  read: (snapshot: Snapshot) => Promise<T>,
): Promise<T> {
  let opened: Promise<SnapshotClient> | undefined;
  let ended: Promise<void> | undefined;
  let end = (): void => undefined;
  const open = (): Promise<SnapshotClient> =>
    (opened ??= new Promise((resolve, reject) => {
      const over = new Promise<void>((done) => (end = done));
      ended = storage.withSnapshot(tenant, (client) => {
        resolve(client);
        return over;
      });
      ended.catch(reject);
    }));
  try {
    return await read(snapshotOver(tenant, open));
  } finally {
    end();
    await ended;
  }
}

function snapshotOver(tenant: TenantId, open: () => Promise<SnapshotClient>): Snapshot {
  const query = async <T>({ name, text, values }: Query): Promise<T[]> => {
    const client = await open();
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
