/**
 * Decides which process signs when several serve one database: one of them, by a lease. Losing it is noticed where it
 * matters, when a checkpoint is stored: the statement asks for the fence number that was current when the lease was
 * taken.
 */
import { randomUUID } from "node:crypto";
import type { TenantId } from "@countersign/contract";
import type { Storage } from "../storage/index.js";
import { giveLeaseBack, statement, takeLease, type Fenced } from "./queries.js";

/** How long others wait for a leader that was killed. */
export const leaseMsDefault = 10_000;

export class Lease {
  readonly #storage: Pick<Storage, "inTenant">;
  readonly #deployment: TenantId;
  readonly #holder = randomUUID();
  readonly #leaseMs: number;
  #fence: number | undefined;
  #renewedAt = -Infinity;

  constructor(storage: Pick<Storage, "inTenant">, deployment: TenantId, leaseMs: number) {
    this.#storage = storage;
    this.#deployment = deployment;
    this.#leaseMs = leaseMs;
  }

  /**
   * The parameters for a statement that only the leader may run. Undefined: as far as is known here, another process
   * leads.
   */
  get held(): Fenced | undefined {
    return this.#fence === undefined
      ? undefined
      : { deployment: this.#deployment, holder: this.#holder, fence: this.#fence };
  }

  /** Takes or renews it, when it is time to. `elapsedMs`: a clock that never goes back. */
  async hold(elapsedMs: number): Promise<Fenced | undefined> {
    if (elapsedMs - this.#renewedAt < this.#leaseMs / 3) return this.held;
    const { rows } = await this.#storage.inTenant(this.#deployment, (client) =>
      client.query<{ fence: string }>(statement(takeLease(this.#deployment, this.#holder, this.#leaseMs))),
    );
    this.#renewedAt = elapsedMs;
    this.#fence = rows[0] === undefined ? undefined : Number(rows[0].fence);
    return this.held;
  }

  /** Another process has it: this one asks again later. */
  lost(): void {
    this.#fence = undefined;
  }

  async giveBack(): Promise<void> {
    const { held } = this;
    this.#fence = undefined;
    this.#renewedAt = -Infinity;
    if (held === undefined) return;
    await this.#storage.inTenant(this.#deployment, (client) => client.query(statement(giveLeaseBack(held))));
  }
}
