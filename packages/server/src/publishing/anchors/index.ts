/**
 * Anchoring: takes the publisher's checkpoints to every configured anchor, independently of the others, until the
 * anchor has them.
 * Promises: a failing anchor is visible and never skipped; after an outage the newest checkpoint and every leaf tile since the
 * last confirmed one arrive; a contradiction is an alarm, not retried quietly; one slow anchor delays no other and no commit.
 */
import type { TenantId } from "@countersign/contract";
import type { Snapshot } from "../../ledger/index.js";
import type { Anchor } from "./anchor.js";
import { Keeper } from "./keeper.js";
import type { AnchorsOptions, StoredCheckpoint } from "./options.js";
import { readStates, stateOf } from "./queries.js";
import { freshState } from "./standing.rules.js";
import type { AnchorState, AnchorStatus } from "./states.js";

export * from "./anchor.js";
export type { AnchorsOptions, AnchorSource, StoredCheckpoint } from "./options.js";
export { anchorsFrom, anchorSpecs, type AnchorSpec } from "./specs.js";
export { reachOf, type Reach } from "./standing.rules.js";
export type { AnchorStanding, AnchorState, AnchorStatus } from "./states.js";

export interface Anchors {
  /**
   * Tells that a checkpoint was stored, or that this process begins to publish for the tenant and this is the newest
   * checkpoint. Returns at once; each anchor gets the newest checkpoint when it is its turn.
   */
  offer(tenant: TenantId, stored: StoredCheckpoint): void;
  /** Another process publishes for this tenant from now on: nothing more is submitted for it from here. */
  release(tenant: TenantId): void;
  /** Of the tenants this process publishes for. */
  status(): readonly AnchorStatus[];
  /** True when, for some tenant, fewer anchors than required stand at `ok`, or any contradicts. */
  degraded(): boolean;
  /** Resolves when nothing is under way and nothing is due. */
  settled(): Promise<void>;
  /** Ends. Submissions under way are cut off, and fail like in an outage. */
  close(): Promise<void>;
}

/** The remembered states of a tenant's anchors: of the configured ones, and of earlier ones. */
export async function readAnchorStates(snapshot: Snapshot, names: readonly string[]): Promise<AnchorState[]> {
  const states = (await snapshot.query(readStates(snapshot.tenant))).map(stateOf);
  const fresh = names.filter((wanted) => !states.some(({ anchor }) => anchor === wanted)).map(freshState);
  return [...states, ...fresh].sort((a, b) => (a.anchor < b.anchor ? -1 : 1));
}

/** Submissions of one anchor at once, over all tenants. */
const submissionsAtOnce = 4;

export function openAnchors(options: AnchorsOptions): Anchors {
  return new AllAnchors(options);
}

class AllAnchors implements Anchors {
  readonly #options: AnchorsOptions;
  readonly #tenants = new Map<TenantId, Keeper[]>();
  readonly #loading = new Map<TenantId, { latest: StoredCheckpoint; done: Promise<void> }>();
  readonly #gates: ReadonlyMap<string, Gate>;
  #quiet: (() => void)[] = [];
  #closed = false;

  constructor(options: AnchorsOptions) {
    this.#options = options;
    this.#gates = new Map(options.anchors.map((anchor) => [anchor.name, gate(submissionsAtOnce)]));
  }

  offer(tenant: TenantId, stored: StoredCheckpoint): void {
    if (this.#closed || this.#options.anchors.length === 0) return;
    const keepers = this.#tenants.get(tenant);
    if (keepers !== undefined) return offerTo(keepers, stored);
    const loading = this.#loading.get(tenant);
    if (loading === undefined) this.#load(tenant, stored);
    else loading.latest = stored;
  }

  /** Remembers, then offers. */
  #load(tenant: TenantId, latest: StoredCheckpoint): void {
    const loading = { latest, done: Promise.resolve() };
    this.#loading.set(tenant, loading);
    loading.done = this.#readStates(tenant).then((states) => {
      if (this.#loading.get(tenant) !== loading) return; // released meanwhile
      this.#loading.delete(tenant);
      const keepers = this.#options.anchors.map((anchor) => this.#keeper(tenant, anchor, states));
      this.#tenants.set(tenant, keepers);
      offerTo(keepers, loading.latest);
      this.#changed();
    });
  }

  /** Without the database nothing is remembered. The anchors themselves know their copies. */
  async #readStates(tenant: TenantId): Promise<Map<string, AnchorState>> {
    const { name, text, values } = readStates(tenant);
    try {
      const found = await this.#options.storage.inTenant(tenant, (client) =>
        client.query({ name, text, values: [...values] }),
      );
      return new Map(found.rows.map(stateOf).map((state) => [state.anchor, state]));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      this.#options.report?.("anchor.states_unread", { tenant, message });
      return new Map();
    }
  }

  #keeper(tenant: TenantId, anchor: Anchor, states: ReadonlyMap<string, AnchorState>): Keeper {
    const state = states.get(anchor.name) ?? freshState(anchor.name);
    const parts = {
      options: this.#options,
      tenant,
      anchor,
      gate: this.#gates.get(anchor.name) ?? gate(submissionsAtOnce),
      after: this.#options.after ?? later,
      chance: this.#options.chance ?? Math.random,
      changed: () => this.#changed(),
    };
    // An earlier process's waiting time is over: the anchor is tried at once.
    return new Keeper(parts, { ...state, nextMs: null });
  }

  release(tenant: TenantId): void {
    for (const keeper of this.#tenants.get(tenant) ?? []) keeper.end();
    this.#tenants.delete(tenant);
    this.#loading.delete(tenant);
    this.#changed();
  }

  status(): readonly AnchorStatus[] {
    return [...this.#tenants].flatMap(([tenant, keepers]) =>
      keepers.map(({ anchor, state }) => ({ ...state, tenant, kind: anchor.kind, location: anchor.location })),
    );
  }

  degraded(): boolean {
    const required = this.#options.required ?? 0;
    return [...this.#tenants.values()].some((keepers) => {
      const standings = keepers.map(({ state }) => state.standing);
      return standings.includes("contradicts") || standings.filter((standing) => standing === "ok").length < required;
    });
  }

  async settled(): Promise<void> {
    while (this.#loading.size > 0 || this.#underWay().length > 0)
      await new Promise<void>((resolve) => this.#quiet.push(resolve));
  }

  async close(): Promise<void> {
    this.#closed = true;
    const underWay = this.#underWay();
    for (const tenant of [...this.#tenants.keys()]) this.release(tenant);
    for (const anchor of this.#options.anchors) anchor.close?.();
    await Promise.all(underWay);
  }

  #underWay(): Promise<void>[] {
    return [...this.#tenants.values()].flat().flatMap(({ running }) => running ?? []);
  }

  #changed(): void {
    const waiting = this.#quiet;
    this.#quiet = [];
    for (const resolve of waiting) resolve();
  }
}

function offerTo(keepers: readonly Keeper[], { incarnation, checkpoint }: StoredCheckpoint): void {
  for (const keeper of keepers) keeper.offer({ incarnation, size: checkpoint.size });
}

function later(ms: number, run: () => void): () => void {
  const timer = setTimeout(run, ms);
  // A pause keeps no process alive.
  timer.unref();
  return () => clearTimeout(timer);
}

type Gate = <T>(use: () => Promise<T>) => Promise<T>;

/** Lets at most `count` through at once; the others wait in order. */
function gate(count: number): Gate {
  let free = count;
  const waiting: (() => void)[] = [];
  return async (use) => {
    if (free === 0) await new Promise<void>((resolve) => waiting.push(resolve));
    else free -= 1;
    try {
      return await use();
    } finally {
      const next = waiting.shift();
      if (next === undefined) free += 1;
      else next();
    }
  };
}
