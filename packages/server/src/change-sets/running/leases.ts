/**
 * Who runs an application now. A lease only keeps two processes from doing the same work: correctness comes from the
 * versions of the rows that record each step.
 */
import { hostname } from "node:os";
import type { TenantId } from "@countersign/contract";
import type { Storage } from "../../storage/index.js";

/** A run renews well within this; a process that died is followed after it at the latest. */
const leaseMs = 15_000;

const thisProcess = `${hostname()}:${process.pid}`;

export class Leases {
  readonly #storage: Storage;
  readonly #now: () => number;

  constructor(storage: Storage, now: () => number) {
    this.#storage = storage;
    this.#now = now;
  }

  /** Takes or renews the lease; false when another process holds it. One of a dead process of this machine is taken over. */
  async take(tenant: TenantId, applicationId: string): Promise<boolean> {
    return this.#inTenant(tenant, async (ask) => {
      const held = await ask<{ holder: string }>(
        `select holder from countersign.application_leases where tenant_id = $1 and application_id = $2 and expires_at_ms > $3`,
        [tenant, applicationId, this.#now()],
      );
      const holder = held[0]?.holder;
      if (holder !== undefined && holder !== thisProcess && !isDeadHere(holder)) return false;
      const taken = await ask<{ holder: string }>(
        `insert into countersign.application_leases (tenant_id, application_id, holder, expires_at_ms) values ($1, $2, $3, $4)
         on conflict (tenant_id, application_id) do update set holder = excluded.holder, expires_at_ms = excluded.expires_at_ms
         where countersign.application_leases.holder in ($3, $5) or countersign.application_leases.expires_at_ms <= $6
         returning holder`,
        [tenant, applicationId, thisProcess, this.#now() + leaseMs, holder ?? thisProcess, this.#now()],
      );
      return taken.length === 1;
    });
  }

  async release(tenant: TenantId, applicationId: string): Promise<void> {
    await this.#inTenant(tenant, (ask) =>
      ask(`delete from countersign.application_leases where tenant_id = $1 and application_id = $2 and holder = $3`, [
        tenant,
        applicationId,
        thisProcess,
      ]),
    );
  }

  #inTenant<T>(
    tenant: TenantId,
    work: (ask: <R>(sql: string, values: unknown[]) => Promise<R[]>) => Promise<T>,
  ): Promise<T> {
    return this.#storage.inTenant(tenant, (client) =>
      work(async <R>(sql: string, values: unknown[]) => (await client.query(sql, values)).rows as R[]),
    );
  }
}

function isDeadHere(holder: string): boolean {
  const [host, pid] = [holder.slice(0, holder.lastIndexOf(":")), Number(holder.slice(holder.lastIndexOf(":") + 1))];
  if (host !== hostname() || !Number.isSafeInteger(pid)) return false;
  try {
    process.kill(pid, 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}
