/**
 * Who runs an application now. A lease keeps two processes from doing the same work. It is renewed for as long as it is held, also while
 * a step acts on a slow target, and a holder that lost it is told.
 *
 * Promises: expiry is told by the database's clock, so the clocks of two processes need not agree · a holder that cannot renew counts its
 * lease as lost before anybody else can take it · a process that died on this machine is followed at once, another after `leaseMs`.
 * Correctness does not rest on it: every record of a run is fenced by the versions of its rows, and what must not run twice holds a lock.
 */
import { readlinkSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import type { TenantId } from "@countersign/contract";
import { newId, realTimers, type Timers } from "../../platform/index.js";
import type { Storage } from "../../storage/index.js";

/** How long others wait for a process that is gone. */
const leaseMs = 15_000;
/** Two renewals may fail before the lease ends. */
const renewMs = leaseMs / 3;

export interface Lease {
  /** Aborted when this process does not hold the lease any more. */
  readonly lost: AbortSignal;
  /** Ends the renewals and gives the lease back. */
  release(): Promise<void>;
}

export class Leases {
  readonly #storage: Pick<Storage, "inTenant">;
  readonly #timers: Timers;

  constructor(storage: Pick<Storage, "inTenant">, timers: Timers = realTimers) {
    this.#storage = storage;
    this.#timers = timers;
  }

  /** Takes the lease; undefined when another process holds it. One of a dead process of this machine is taken over. */
  async take(tenant: TenantId, applicationId: string): Promise<Lease | undefined> {
    const ask: Ask = (text, more = []) =>
      this.#storage.inTenant(tenant, async (client) => {
        const { rows } = await client.query<{ holder: string }>(text, [tenant, applicationId, ...more]);
        return rows;
      });
    const holder = (await ask(holderNow))[0]?.holder;
    if (holder !== undefined && holder !== thisProcess && !isDeadHere(holder)) return undefined;
    const lease = new HeldLease(ask, this.#timers);
    return (await lease.take(holder ?? thisProcess)) ? lease : undefined;
  }
}

/** One statement about the lease of one application. */
type Ask = (text: string, more?: readonly unknown[]) => Promise<{ readonly holder: string }[]>;

class HeldLease implements Lease {
  readonly #ask: Ask;
  readonly #timers: Timers;
  readonly #lost = new AbortController();
  #endLimit: () => void = () => undefined;
  #endBeats: () => void = () => undefined;
  #renewing: Promise<void> = Promise.resolve();

  constructor(ask: Ask, timers: Timers) {
    this.#ask = ask;
    this.#timers = timers;
  }

  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** From nobody, from this process, or from a dead one. False: somebody was faster. */
  async take(from: string): Promise<boolean> {
    const taken = await this.#within(() => this.#ask(takeLease, [thisProcess, from]));
    if (taken) this.#endBeats = this.#timers.every(renewMs, () => (this.#renewing = this.#renew()));
    return taken;
  }

  async release(): Promise<void> {
    this.#endBeats();
    await this.#renewing;
    this.#endLimit();
    await this.#ask(giveLeaseBack, [thisProcess]);
  }

  async #renew(): Promise<void> {
    try {
      if (!(await this.#within(() => this.#ask(renewLease, [thisProcess])))) this.#lost.abort();
    } catch {
      // The database is away: the next beat tries again, and the limit of the last renewal goes on.
    }
  }

  /** The limit begins before the database is asked: it ends before the lease does, however long the answer took. */
  async #within(ask: () => Promise<readonly unknown[]>): Promise<boolean> {
    const endLimit = this.#timers.after(leaseMs, () => this.#lost.abort());
    let isMine = false;
    try {
      isMine = (await ask()).length === 1;
    } finally {
      if (!isMine) endLimit();
    }
    if (!isMine) return false;
    this.#endLimit();
    this.#endLimit = endLimit;
    return true;
  }
}

/** By the database's clock, in milliseconds. */
const nowMs = "(extract(epoch from clock_timestamp()) * 1000)::bigint";

const holderNow = `
select holder from countersign.application_leases
 where tenant_id = $1 and application_id = $2 and expires_at_ms > ${nowMs}`;

/** $3: who takes it; $4: whose it may be now. */
const takeLease = `
insert into countersign.application_leases as l (tenant_id, application_id, holder, expires_at_ms)
values ($1, $2, $3, ${nowMs} + ${leaseMs})
on conflict (tenant_id, application_id) do update set holder = excluded.holder, expires_at_ms = excluded.expires_at_ms
 where l.holder in ($3, $4) or l.expires_at_ms <= ${nowMs}
returning holder`;

/** A row that is gone was emptied with the other operational rows: nobody holds the lease, so it is taken again. */
const renewLease = `
insert into countersign.application_leases as l (tenant_id, application_id, holder, expires_at_ms)
values ($1, $2, $3, ${nowMs} + ${leaseMs})
on conflict (tenant_id, application_id) do update set expires_at_ms = excluded.expires_at_ms where l.holder = $3
returning holder`;

const giveLeaseBack = `
delete from countersign.application_leases where tenant_id = $1 and application_id = $2 and holder = $3`;

// ── Processes ────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Where a process number means a process: this boot of this machine, and this namespace of process numbers. Two containers may well have
 * the same host name and both run us as number 1.
 */
const here = [
  hostname(),
  readOr(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()),
  readOr(() => readlinkSync("/proc/self/ns/pid")),
].join("/");

const thisProcess = `${here} ${process.pid} ${newId()}`;

function readOr(read: () => string): string {
  try {
    return read();
  } catch {
    return ""; // not Linux: the host name says enough
  }
}

function isDeadHere(holder: string): boolean {
  const [where, pid] = holder.split(" ");
  if (where !== here || pid === String(process.pid) || !/^[1-9]\d*$/.test(pid ?? "")) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ESRCH";
  }
}
