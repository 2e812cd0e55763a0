/**
 * One repeatable-read, read-only transaction that sees one tenant. Decisions are loaded in it.
 * Promises: it sees one state, so an epoch or a counter is read once for all callers; those requested at the same time
 * are one statement · after its end it answers nothing, because its connection is used by others.
 */
import type { TenantId } from "@countersign/contract";
import type { SnapshotClient, Storage } from "../storage/index.js";
import { countersOf, epochValues } from "./queries.js";
import type { Query, Snapshot } from "./types.js";

type Opener = Pick<Storage, "withSnapshot">;

/** A snapshot in which several functions read. Its holder must not wait for another connection of the pool. */
export interface HeldSnapshot {
  readonly snapshot: Snapshot;
  /** Gives the connection back; again does nothing. Throws `database_unavailable` if the snapshot could not be opened. */
  end(): Promise<void>;
}

/** Reads in a snapshot that the first question opens: a caller without questions costs the database nothing. */
export async function readInSnapshot<T>(
  storage: Opener,
  tenant: TenantId,
  read: (snapshot: Snapshot) => Promise<T>,
): Promise<T> {
  const held = holdSnapshot(storage, tenant);
  try {
    return await read(held.snapshot);
  } finally {
    await held.end();
  }
}

/** Opened by the first question as well. */
export function holdSnapshot(storage: Opener, tenant: TenantId): HeldSnapshot {
  let opened: Promise<SnapshotClient> | undefined;
  let closed: Promise<void> | undefined;
  let over = false;
  let end = (): void => undefined;
  const open = (): Promise<SnapshotClient> => {
    if (over) return Promise.reject(new Error("a snapshot is read after its end"));
    return (opened ??= new Promise((resolve, reject) => {
      const ended = new Promise<void>((done) => (end = done));
      closed = storage.withSnapshot(tenant, (client) => {
        resolve(client);
        return ended;
      });
      closed.catch(reject);
    }));
  };
  return {
    snapshot: snapshotOver(tenant, open),
    end: async () => {
      over = true;
      end();
      await closed;
    },
  };
}

function snapshotOver(tenant: TenantId, open: () => Promise<SnapshotClient>): Snapshot {
  const query = async <T>({ name, text, values }: Query): Promise<T[]> => {
    const client = await open();
    const found = await client.query<Record<string, unknown>>({ name, text, values: [...values] });
    return found.rows as T[];
  };
  const epoch = remembering(async (names) => {
    const rows = await query<{ id: string; version: number }>(epochValues(tenant, names));
    return new Map(rows.map((row) => [row.id, row.version]));
  });
  const counter = remembering(async (keys) => {
    const rows = await query<{ key: string; value: string }>(countersOf(tenant, keys));
    return new Map(rows.map((row) => [row.key, Number(row.value)]));
  });
  return {
    tenant,
    query,
    epoch,
    epochs: async (names) => new Map(await Promise.all(names.map(async (name) => [name, await epoch(name)] as const))),
    counter,
  };
}

/**
 * Numbers by name, 0 where there is none; each is read once, and all that are asked for in one go are one statement. (Proposing
 * asked for three epochs and two counters, each a round trip.)
 */
function remembering(
  read: (names: readonly string[]) => Promise<ReadonlyMap<string, number>>,
): (name: string) => Promise<number> {
  const known = new Map<string, Promise<number>>();
  let asked: { readonly names: string[]; readonly found: Promise<ReadonlyMap<string, number>> } | undefined;
  return (name) => {
    const before = known.get(name);
    if (before !== undefined) return before;
    if (asked === undefined) {
      const names: string[] = [];
      const found = Promise.resolve().then(() => {
        asked = undefined;
        return read(names);
      });
      asked = { names, found };
    }
    asked.names.push(name);
    const value = asked.found.then((values) => values.get(name) ?? 0);
    known.set(name, value);
    return value;
  };
}
