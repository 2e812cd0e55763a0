/**
 * Brings one tenant's checkpoints to one anchor: one submission at a time, each with the newest checkpoint, until the
 * anchor has it.
 */
import type { TenantId } from "@countersign/contract";
import { maskText } from "../../platform/index.js";
import { AnchorContradiction, type Anchor, type AnchorReceipt, type Submission } from "./anchor.js";
import type { AnchorsOptions, StoredCheckpoint } from "./options.js";
import { addReceipt, writeState } from "./queries.js";
import { confirmed, failed, isBehind, wanting } from "./standing.rules.js";
import type { AnchorState } from "./states.js";

export interface KeeperParts {
  readonly options: AnchorsOptions;
  readonly tenant: TenantId;
  readonly anchor: Anchor;
  /** Lets a few submissions of one anchor through at once. */
  readonly gate: <T>(use: () => Promise<T>) => Promise<T>;
  readonly after: (ms: number, run: () => void) => () => void;
  readonly chance: () => number;
  /** A submission ended: callers that wait for quiet check again. */
  readonly changed: () => void;
}

export class Keeper {
  readonly #parts: KeeperParts;
  #state: AnchorState;
  #running: Promise<void> | undefined;
  #cancel: (() => void) | undefined;
  #ended = false;

  constructor(parts: KeeperParts, state: AnchorState) {
    this.#parts = parts;
    this.#state = state;
  }

  get anchor(): Anchor {
    return this.#parts.anchor;
  }

  get state(): AnchorState {
    return this.#state;
  }

  get running(): Promise<void> | undefined {
    return this.#running;
  }

  offer(stored: { readonly incarnation: number; readonly size: number }): void {
    const other = this.#state.incarnation !== stored.incarnation;
    this.#state = wanting(this.#state, stored);
    if (other) this.#unschedule();
    this.#look();
  }

  end(): void {
    this.#ended = true;
    this.#unschedule();
  }

  /** Runs when there is something to do and its time has come; otherwise sees to it that it will. */
  #look(): void {
    if (this.#ended || this.#running !== undefined || !isBehind(this.#state)) return;
    const { clock } = this.#parts.options;
    const waitMs = (this.#state.nextMs ?? 0) - clock.nowMs();
    if (waitMs > 0) {
      this.#cancel ??= this.#parts.after(waitMs, () => {
        this.#cancel = undefined;
        // The clock may have been set back meanwhile: the pause is over all the same.
        this.#state = { ...this.#state, nextMs: null };
        this.#look();
      });
      return;
    }
    this.#unschedule();
    this.#running = this.#attempt().finally(() => {
      this.#running = undefined;
      this.#look();
      this.#parts.changed();
    });
  }

  #unschedule(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  async #attempt(): Promise<void> {
    const { options, tenant, anchor, gate } = this.#parts;
    const before = this.#state;
    try {
      const taken = await gate(async () => this.#submitNewest());
      if (taken === undefined) return;
      const { stored, receipt } = taken;
      const answer = { size: receipt.size, nowMs: options.clock.nowMs(), everyMs: anchor.everyMs ?? 0 };
      // A checkpoint that was offered meanwhile is still to be submitted.
      const now = this.#state;
      const next = confirmed(
        wanting(before, { incarnation: stored.incarnation, size: stored.checkpoint.size }),
        answer,
      );
      const kept = now.incarnation === next.incarnation ? { ...next, wanted: Math.max(now.wanted, next.wanted) } : next;
      await this.#write(kept, { incarnation: stored.incarnation, receipt });
      this.#state = now.incarnation > kept.incarnation ? now : kept;
      if (before.standing === "failing" || before.standing === "contradicts")
        options.report?.("anchor.confirms_again", {
          tenant,
          anchor: anchor.name,
          size: receipt.size,
          was: before.standing,
        });
    } catch (error) {
      await this.#fail(error);
    }
  }

  async #submitNewest(): Promise<{ stored: StoredCheckpoint; receipt: AnchorReceipt } | undefined> {
    const { options, tenant, anchor } = this.#parts;
    for (let held = 0; ;) {
      const stored = await options.source.latest(tenant);
      if (this.#ended) return undefined;
      if (stored === undefined) throw new Error("the database has no checkpoint for the anchor");
      try {
        return { stored, receipt: await anchor.submit(this.#submission(stored)) };
      } catch (error) {
        const holds = error instanceof AnchorContradiction && error.how === "smaller" ? (error.holds ?? 0) : 0;
        // Another process was faster between our reading and submitting; if the database has the anchor's checkpoint,
        // all is well.
        const again = holds > held ? await options.source.latest(tenant) : undefined;
        if (again === undefined || again.checkpoint.size < holds) throw error;
        held = holds;
      }
    }
  }

  #submission({ incarnation, checkpoint }: StoredCheckpoint): Submission {
    const { tenant } = this.#parts;
    const { source } = this.#parts.options;
    return {
      origin: checkpoint.origin,
      checkpoint,
      anchored: this.#state.incarnation === incarnation ? this.#state.size : 0,
      consistency: (from) => source.consistency(tenant, from, checkpoint.size),
      leafTiles: (fromSize, toSize) => source.leafTiles(tenant, fromSize, toSize),
    };
  }

  async #fail(error: unknown): Promise<void> {
    if (this.#ended) return;
    const { options, tenant, anchor, chance } = this.#parts;
    const contradicts = error instanceof AnchorContradiction;
    const message = maskText(error instanceof Error ? error.message : String(error));
    this.#state = failed(this.#state, { nowMs: options.clock.nowMs(), chance: chance(), message, contradicts });
    const { failures, nextMs } = this.#state;
    const about = { tenant, anchor: anchor.name, kind: anchor.kind, location: anchor.location };
    if (contradicts) options.report?.("anchor.contradicts", { ...about, how: error.how, holds: error.holds, message });
    else options.report?.("anchor.failing", { ...about, failures, nextMs, message });
    try {
      await this.#write(this.#state);
    } catch {
      // The database is away as well: the state is in memory, shown, and written with the next attempt.
      return;
    }
  }

  async #write(state: AnchorState, given?: { incarnation: number; receipt: AnchorReceipt }): Promise<void> {
    const { options, tenant, anchor } = this.#parts;
    await options.storage.inTenant(tenant, async (client) => {
      const queries = [
        ...(given === undefined ? [] : [addReceipt(tenant, { anchor: anchor.name, ...given })]),
        writeState(tenant, state),
      ];
      for (const { name, text, values } of queries) await client.query({ name, text, values: [...values] });
    });
  }
}
