/**
 * Changes waiting for the door, and which of them go into the next group.
 *
 * Promises: fair over tenants (one change of each in turn); within a group no two changes touch the same key, unless both
 * only read it; of two changes that touch the same key, the first comes first; bounded.
 */
import { limits, type TenantId } from "@countersign/contract";
import type { PreparedChange } from "./prepare.js";

export interface Job {
  readonly change: PreparedChange;
  /** Must be alone in its group: its last group failed. */
  alone: boolean;
  /** Times it was sent and came back undecided (deadlock, lock timeout, connection lost). */
  returns: number;
  /** It may have been committed: its reply was lost once. */
  uncertain: boolean;
}

/** A tenant whose lock could not be had: others do not wait for it. */
interface Delay {
  until: number;
  ms: number;
  readonly since: number;
}

export interface Group<J extends Job> {
  readonly jobs: readonly J[];
  /** The tenant's lock was stuck: do not wait for it. */
  readonly impatient: boolean;
}

const delayMsMin = 25;
const delayMsMax = 400;

export class Queue<J extends Job> {
  readonly #tenants = new Map<TenantId, J[]>();
  readonly #delays = new Map<TenantId, Delay>();
  #alone: J[] = [];
  #length = 0;

  get length(): number {
    return this.#length;
  }

  add(job: J): void {
    const waiting = this.#tenants.get(job.change.tenant);
    if (waiting === undefined) this.#tenants.set(job.change.tenant, [job]);
    else waiting.push(job);
    this.#length += 1;
  }

  /** Back to the front, in the order they had. */
  putBack(jobs: readonly J[]): void {
    const shared = new Map<TenantId, J[]>();
    for (const job of jobs) {
      if (job.alone) this.#alone.push(job);
      else {
        const some = shared.get(job.change.tenant);
        if (some === undefined) shared.set(job.change.tenant, [job]);
        else some.push(job);
      }
    }
    for (const [tenant, some] of shared) this.#tenants.set(tenant, [...some, ...(this.#tenants.get(tenant) ?? [])]);
    this.#length += jobs.length;
  }

  /** Takes everything out, e.g. to answer it. */
  drain(keep: (job: J) => boolean = () => false): J[] {
    const all = [...this.#alone, ...[...this.#tenants.values()].flat()];
    const kept = all.filter(keep);
    this.#alone = [];
    this.#tenants.clear();
    this.#length = 0;
    this.putBack(kept);
    return all.filter((job) => !keep(job));
  }

  /**
   * Changes of this tenant are committed apart from the others for a while. Returns how long it has been stuck, in ms.
   */
  delay(tenant: TenantId, nowMs: number): number {
    const known = this.#delays.get(tenant);
    if (known === undefined) {
      this.#delays.set(tenant, { until: nowMs, ms: delayMsMin, since: nowMs });
      return 0;
    }
    known.until = nowMs + known.ms;
    known.ms = Math.min(known.ms * 2, delayMsMax);
    return nowMs - known.since;
  }

  release(tenant: TenantId): void {
    this.#delays.delete(tenant);
  }

  removeTenant(tenant: TenantId): J[] {
    const waiting = this.#tenants.get(tenant) ?? [];
    this.#tenants.delete(tenant);
    this.#length -= waiting.length;
    return waiting;
  }

  /** Ms until a delayed tenant may be tried again; undefined when none waits. */
  nextTryMs(nowMs: number): number | undefined {
    let next: number | undefined;
    for (const [tenant, delay] of this.#delays) {
      if (!this.#tenants.has(tenant)) this.#delays.delete(tenant);
      else next = Math.min(next ?? Infinity, Math.max(0, delay.until - nowMs));
    }
    return next;
  }

  /** The next group of at most `changesMax` changes, or undefined when nothing can go now. */
  take(changesMax: number, nowMs: number): Group<J> | undefined {
    const alone = this.#alone.shift();
    if (alone !== undefined) {
      this.#length -= 1;
      return { jobs: [alone], impatient: this.#delays.has(alone.change.tenant) };
    }
    // A delayed tenant is due seldom and does not wait for its lock, so it may go before the others without holding them up.
    const due = [...this.#delays].find(([tenant, delay]) => delay.until <= nowMs && this.#tenants.has(tenant));
    if (due !== undefined) return { jobs: this.#fill([due[0]], changesMax), impatient: true };
    const prompt = [...this.#tenants.keys()].filter((tenant) => !this.#delays.has(tenant));
    return prompt.length === 0 ? undefined : { jobs: this.#fill(prompt, changesMax), impatient: false };
  }

  #fill(tenants: readonly TenantId[], changesMax: number): J[] {
    const taken: J[] = [];
    const keys = new Keys();
    let bytes = 0;
    let lines = tenants.map((tenant) => ({ tenant, waiting: this.#tenants.get(tenant) ?? [], at: 0, kept: [] as J[] }));
    const all = lines;
    let full = false;
    while (!full && lines.length > 0) {
      for (const line of lines) {
        const found = nextFor(line, keys);
        if (found === undefined) continue;
        if (taken.length > 0 && (taken.length >= changesMax || bytes + found.change.bytes > limits.groupBytesMax)) {
          line.at -= 1;
          full = true;
          break;
        }
        taken.push(found);
        keys.take(found.change);
        bytes += found.change.bytes;
      }
      lines = lines.filter((line) => line.at < line.waiting.length);
    }
    for (const line of all) {
      if (line.at === 0) continue;
      const rest =
        line.kept.length === 0 ? line.waiting.slice(line.at) : [...line.kept, ...line.waiting.slice(line.at)];
      // Moves the tenant to the end of the round: the next group begins with tenants that were not served.
      this.#tenants.delete(line.tenant);
      if (rest.length > 0) this.#tenants.set(line.tenant, rest);
    }
    this.#length -= taken.length;
    return taken;
  }
}

/** The next change of a tenant that touches no key of the group, nor a key of a change that waits before it. */
function nextFor<J extends Job>(line: { readonly waiting: J[]; at: number; kept: J[] }, keys: Keys): J | undefined {
  while (line.at < line.waiting.length) {
    const job = line.waiting[line.at] as J;
    line.at += 1;
    if (!keys.meet(job.change)) return job;
    line.kept.push(job);
    keys.take(job.change);
  }
  return undefined;
}

class Keys {
  readonly #read = new Set<string>();
  readonly #written = new Set<string>();

  meet({ reads, writes }: PreparedChange): boolean {
    for (const key of writes) if (this.#written.has(key) || this.#read.has(key)) return true;
    for (const key of reads) if (this.#written.has(key)) return true;
    return false;
  }

  take({ reads, writes }: PreparedChange): void {
    for (const key of reads) this.#read.add(key);
    for (const key of writes) this.#written.add(key);
  }
}
