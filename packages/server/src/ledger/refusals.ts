/**
 * Refusals of governed decisions, as entries: the first of a kind at once, its repeats together once a minute, so that
 * neither a refusal is missing nor an agent that tries a thousand times fills the ledger.
 *
 * Promises: the `count`s of the entries add up to the refusals, unless the process is killed within the minute.
 */
import { errorCatalogue, type ErrorCode, type ErrorEntry, type TenantId } from "@countersign/contract";
import type { Actor, DraftOf, Reference } from "./types.js";
import { minuteMs, type Rounds, startRounds } from "../platform/index.js";

export interface GovernedRefusal {
  readonly actor: Actor;
  readonly subject: DraftOf<"refusal.recorded">["subject"];
  readonly code: ErrorCode;
  readonly refs?: readonly Reference[];
}

interface Tally {
  readonly tenant: TenantId;
  readonly refusal: GovernedRefusal;
  readonly minute: number;
  repeats: number;
}

export interface RefusalLogOptions {
  nowMs(): number;
  /** Appends one entry; must not throw. */
  append(tenant: TenantId, entry: DraftOf<"refusal.recorded">): Promise<void>;
}

/** Different refusals remembered at once; beyond that each is an entry of its own. */
const talliesMax = 10_000;

export function isRecorded(code: ErrorCode): boolean {
  const entry: ErrorEntry = errorCatalogue[code];
  return entry.recorded === true;
}

export class RefusalLog {
  readonly #options: RefusalLogOptions;
  readonly #tallies = new Map<string, Tally>();
  readonly #pending = new Set<Promise<void>>();
  readonly #rounds: Rounds;

  constructor(options: RefusalLogOptions) {
    this.#options = options;
    this.#rounds = startRounds({
      pauseMs: minuteMs / 4,
      firstMs: minuteMs / 4,
      round: () => Promise.resolve(this.#turn(this.#minute())),
      // A turn only hands out what was counted, and `append` does not throw.
      failed: () => undefined,
    });
  }

  record(tenant: TenantId, refusal: GovernedRefusal): void {
    const minute = this.#minute();
    const key = JSON.stringify([tenant, refusal.actor.id, refusal.code, refusal.subject.type, refusal.subject.id]);
    const known = this.#tallies.get(key);
    if (known?.minute === minute) {
      known.repeats += 1;
      return;
    }
    this.#turn(minute);
    if (this.#tallies.size < talliesMax) this.#tallies.set(key, { tenant, refusal, minute, repeats: 0 });
    this.#append(tenant, refusal, 1);
  }

  /** Writes the counted refusals. Resolves when all refusals recorded so far are in the ledger, or were given up. */
  async flush(): Promise<void> {
    this.#turn(Infinity);
    await Promise.all(this.#pending);
  }

  async close(): Promise<void> {
    await this.#rounds.stop();
    await this.flush();
  }

  /** Minutes before this one are over. */
  #turn(minute: number): void {
    for (const [key, tally] of this.#tallies) {
      if (tally.minute >= minute) continue;
      this.#tallies.delete(key);
      if (tally.repeats > 0) this.#append(tally.tenant, tally.refusal, tally.repeats);
    }
  }

  #append(tenant: TenantId, { actor, subject, code, refs }: GovernedRefusal, count: number): void {
    const entry: DraftOf<"refusal.recorded"> = {
      actor,
      action: "refusal.recorded",
      subject,
      data: { code, count },
      ...(refs === undefined ? {} : { refs }),
    };
    const pending = this.#options.append(tenant, entry).finally(() => this.#pending.delete(pending));
    this.#pending.add(pending);
  }

  #minute(): number {
    return Math.floor(this.#options.nowMs() / minuteMs);
  }
}
