/**
 * The loop that publishes: at most once a second for each tenant, when there are new entries, in the process that holds
 * the lease.
 *
 * Promises: no request waits for it · a tenant whose log cannot be signed stops alone, says why, and goes on when the reason
 * is gone, without a restart · without usable keys nothing is signed and everything else works · the database being away is
 * waited for.
 */
import { performance } from "node:perf_hooks";
import { isRefusal, RefusalError, type TenantId } from "@countersign/contract";
import { parseEntryContent } from "@countersign/proof";
import type { Clock } from "../platform/index.js";
import type { Storage } from "../storage/index.js";
import type { Door } from "./ports.js";
import type { Actor } from "../ledger/index.js";
import type { Anchors } from "./anchors/index.js";
import { failure } from "./failure.js";
import { Heads, type Head } from "./heads.js";
import type { OpenKeys } from "./keyHistory.js";
import type { KeyRing } from "./keys.js";
import { Lease } from "./lease.js";
import { ledgerSizes, newestByAction, setTenants, statement, type Fenced } from "./queries.js";
import { revokedSigner, supersede } from "./superseding.js";
import { FencedOut, NotNow, Stopped, TenantLog, type Step, type StopKind, type StoredCheckpoint } from "./tenantLog.js";
import type { TileRoots } from "./tree.js";

export interface PublisherOptions {
  readonly storage: Pick<Storage, "withSnapshot" | "inTenant">;
  readonly ledger: Door;
  readonly keys: KeyRing;
  readonly roots: TileRoots;
  readonly clock: Clock;
  /** The tenant whose ledger is the deployment's own. */
  readonly deploymentTenant: TenantId;
  /** Of the deployment, its own among them. */
  readonly tenants: () => Promise<readonly TenantId[]>;
  readonly anchors: Pick<Anchors, "offer" | "release"> | undefined;
  readonly actor: Actor;
  readonly report: (event: string, details: Readonly<Record<string, unknown>>) => void;
  readonly intervalMs: number;
  readonly leaseMs: number;
  readonly headsEveryMs: number;
  readonly atStep?: ((step: Step, tenant: TenantId) => void) | undefined;
}

export interface TenantStatus {
  readonly tenant: TenantId;
  /** waiting: tried again by itself, e.g. because the clock is behind. */
  readonly state: "published" | "waiting" | "stopped";
  readonly incarnation: number | null;
  /** Of the newest checkpoint. */
  readonly size: number;
  readonly signedMs: number | null;
  readonly kind?: StopKind | "memory_unreadable";
  readonly reason?: string;
}

export interface PublisherStatus {
  /** following: another process signs. stopped: `reason` says why nobody here does. */
  readonly state: "starting" | "leading" | "following" | "stopped";
  readonly reason?: string;
  readonly tenants: readonly TenantStatus[];
}

/** A stopped tenant is looked at again after so many intervals. */
const stoppedIntervals = 10;
/** Entries that arrive together are published together. */
const gatherMs = 20;
const tenantsAtOnce = 4;
/** Rounds `publish` waits for a checkpoint: another process may be the one that signs. */
const roundsMax = 40;

interface Followed {
  readonly log: TenantLog;
  state: TenantStatus["state"];
  kind: TenantStatus["kind"] | undefined;
  reason: string | undefined;
  /** Not before; of `performance.now()`. */
  nextAt: number;
  offered: boolean;
  /** Compared with memory and table since this process leads. */
  looked: boolean;
  /** The keys under which the newest checkpoint was checked: the check is valid as long as these keys are. */
  keys: OpenKeys | undefined;
}

export class Publisher {
  readonly #on: PublisherOptions;
  readonly #lease: Lease;
  readonly #heads: Heads;
  readonly #followed = new Map<TenantId, Followed>();
  readonly #wanted = new Set<TenantId>();
  #state: PublisherStatus["state"] = "starting";
  #reason: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Infinity;
  #running: Promise<void> | undefined;
  #allAt = -Infinity;
  #headsAt = -Infinity;
  #stopListening: (() => void) | undefined;
  #ended = false;

  constructor(options: PublisherOptions) {
    this.#on = options;
    this.#lease = new Lease(options.storage, options.deploymentTenant, options.leaseMs);
    this.#heads = new Heads(options.deploymentTenant, options.actor);
  }

  start(): void {
    if (this.#stopListening !== undefined || this.#ended) return;
    this.#stopListening = this.#on.ledger.onCommitted((tenant) => this.#wake(tenant));
    this.#schedule(0);
  }

  /** Resolves when nothing is under way and the lease is given back. */
  async stop(): Promise<void> {
    this.#ended = true;
    this.#stopListening?.();
    clearTimeout(this.#timer);
    await this.#running;
    try {
      await this.#lease.giveBack();
    } catch (error) {
      // It ends by itself; the next process waits until then.
      this.#on.report("publishing.lease_not_given_back", { message: messageOf(error) });
    }
  }

  status(): PublisherStatus {
    const tenants = [...this.#followed.values()].map(({ log, state, kind, reason }): TenantStatus => {
      const { stored } = log;
      return {
        tenant: log.tenant,
        state,
        incarnation: log.incarnation ?? null,
        size: stored?.checkpoint.size ?? 0,
        signedMs: stored?.signedMs ?? null,
        ...(kind === undefined ? {} : { kind }),
        ...(reason === undefined ? {} : { reason }),
      };
    });
    return { state: this.#state, ...(this.#reason === undefined ? {} : { reason: this.#reason }), tenants };
  }

  /**
   * Waits until `covered` says that a stored checkpoint is enough; with `looked`, after this publisher has looked at the ledger
   * and found it good, if it is the one that signs. Throws `publishing_stopped` with the reason, `not_published` when nobody
   * signs.
   */
  async until<T>(tenant: TenantId, covered: () => Promise<T | undefined>, looked?: "looked"): Promise<T> {
    for (let round = 0; round < roundsMax; round++) {
      const found = looked === undefined || this.#foundGood(tenant) ? await covered() : undefined;
      if (found !== undefined) return found;
      const stopped = this.#followed.get(tenant);
      if (stopped?.state === "stopped") throw failure("publishing_stopped", stopped.reason ?? "publishing is stopped");
      if (this.#state === "stopped") throw failure("publishing_stopped", this.#reason ?? "publishing is stopped");
      if (this.#ended || this.#stopListening === undefined) break;
      await this.#nextRound(tenant);
    }
    throw failure("not_published", "no checkpoint covers it yet; a running server publishes one within seconds");
  }

  #foundGood(tenant: TenantId): boolean {
    if (this.#stopListening === undefined || this.#state === "following") return true;
    const followed = this.#followed.get(tenant);
    return this.#state === "leading" && followed !== undefined && followed.looked && followed.state !== "stopped";
  }

  // ── When ───────────────────────────────────────────────────────────────────────────────────────────────────────────

  #wake(tenant: TenantId): void {
    this.#wanted.add(tenant);
    if (this.#state !== "leading") return;
    const due = Math.max(this.#followed.get(tenant)?.nextAt ?? 0, performance.now() + gatherMs);
    this.#schedule(due - performance.now());
  }

  #schedule(ms: number): void {
    const at = performance.now() + ms;
    if (this.#ended || at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    this.#timer = setTimeout(() => this.#fire(), Math.max(0, ms)).unref();
  }

  #fire(): void {
    this.#timerAt = Infinity;
    if (this.#running !== undefined || this.#ended) return; // the round under way schedules the next
    this.#running = this.#round().finally(() => {
      this.#running = undefined;
      this.#schedule(this.#on.intervalMs);
      for (const tenant of this.#wanted) this.#wake(tenant);
    });
  }

  async #nextRound(tenant: TenantId): Promise<void> {
    this.#wake(tenant);
    const before = this.#running;
    if (before !== undefined) return before;
    await new Promise((resolve) => setTimeout(resolve, Math.min(this.#on.intervalMs, 50)));
    await this.#running;
  }

  // ── A round ────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #round(): Promise<void> {
    try {
      const keys = await this.#on.keys.current();
      const by = await this.#lease.hold(performance.now());
      if (by === undefined) return this.#follow();
      this.#lead();
      await this.#publishAll(await this.#due(keys), keys, by);
      await this.#recordHeads();
    } catch (error) {
      await this.#failed(error);
    }
  }

  #lead(): void {
    if (this.#state !== "leading") this.#on.report("publishing.leads", {});
    this.#state = "leading";
    this.#reason = undefined;
  }

  #follow(): void {
    if (this.#state === "leading") {
      for (const tenant of this.#followed.keys()) this.#on.anchors?.release(tenant);
      this.#on.report("publishing.follows", {});
    }
    this.#state = "following";
    this.#reason = undefined;
    this.#forget();
  }

  #forget(): void {
    this.#followed.clear();
    this.#heads.forget();
    this.#allAt = -Infinity;
  }

  async #failed(error: unknown): Promise<void> {
    if (error instanceof FencedOut) {
      this.#lease.lost();
      return this.#follow();
    }
    const reason = messageOf(error);
    const code = error instanceof RefusalError ? error.refusal.code : undefined;
    if (code === "database_unavailable") {
      this.#forget();
      return;
    }
    if (this.#state !== "stopped" || this.#reason !== reason)
      this.#on.report("publishing.stopped", { ...(code === undefined ? { err: error } : { code }), message: reason });
    this.#state = "stopped";
    this.#reason = reason;
    this.#forget();
    // A process with usable keys must not wait for this one.
    await this.#lease.giveBack().catch(() => undefined); // it ends by itself
  }

  /**
   * Tenants with entries that no checkpoint covers, or whose keys have changed: those that this process committed to,
   * and each interval all of them.
   */
  async #due(keys: OpenKeys): Promise<TenantId[]> {
    const now = performance.now();
    const wanted = [...this.#wanted];
    this.#wanted.clear();
    if (now - this.#allAt < this.#on.intervalMs) {
      const due = wanted.filter((tenant) => (this.#followed.get(tenant)?.nextAt ?? 0) <= now);
      for (const tenant of wanted) if (!due.includes(tenant)) this.#wanted.add(tenant);
      return due;
    }
    this.#allAt = now;
    const tenants = await this.#on.tenants();
    const sizes = await this.#sizes(tenants);
    return tenants.filter((tenant) => this.#isDue(tenant, { size: sizes.get(tenant) ?? 0, keys, now }));
  }

  #isDue(tenant: TenantId, { size, keys, now }: { size: number; keys: OpenKeys; now: number }): boolean {
    const followed = this.#followed.get(tenant);
    if (followed === undefined) return true;
    const isNew = size > (followed.log.stored?.checkpoint.size ?? 0) || followed.keys !== keys;
    return followed.nextAt <= now && (followed.state !== "published" || isNew);
  }

  async #sizes(tenants: readonly TenantId[]): Promise<Map<string, number>> {
    const { rows } = await this.#on.storage.inTenant(this.#on.deploymentTenant, async (client) => {
      await client.query(statement(setTenants(tenants)));
      return client.query<{ tenant: string; size: string }>(statement(ledgerSizes(tenants)));
    });
    return new Map(rows.map((row) => [row.tenant, Number(row.size)]));
  }

  #followedOf(tenant: TenantId): Followed {
    const known = this.#followed.get(tenant);
    if (known !== undefined) return known;
    const { storage, roots, clock, atStep } = this.#on;
    const log = new TenantLog(tenant, { storage, roots, clock, atStep });
    const fresh: Followed = {
      log,
      state: "published",
      kind: undefined,
      reason: undefined,
      nextAt: 0,
      offered: false,
      looked: false,
      keys: undefined,
    };
    this.#followed.set(tenant, fresh);
    return fresh;
  }

  async #publishAll(due: readonly TenantId[], keys: OpenKeys, by: Fenced): Promise<void> {
    const queue = [...due];
    const work = async (): Promise<void> => {
      for (let tenant = queue.shift(); tenant !== undefined && !this.#ended; tenant = queue.shift())
        await this.#publish(this.#followedOf(tenant), keys, by);
    };
    const ends = await Promise.allSettled(Array.from({ length: tenantsAtOnce }, work));
    const failed = ends.find((end) => end.status === "rejected");
    if (failed !== undefined) throw failed.reason;
  }

  async #publish(followed: Followed, keys: OpenKeys, by: Fenced): Promise<void> {
    const { tenant } = followed.log;
    try {
      const made = await followed.log.step(keys, by);
      const superseded = await this.#superseded(followed, keys);
      followed.looked = true;
      followed.nextAt = performance.now() + this.#on.intervalMs;
      [followed.state, followed.kind, followed.reason] = ["published", undefined, undefined];
      const newest = made ?? (followed.offered ? undefined : followed.log.stored);
      // A witness would refuse it; the next one comes at once.
      if (newest !== undefined && !superseded) this.#offer(followed, newest);
    } catch (error) {
      await this.#refusedFor(followed, tenant, error);
    }
  }

  /** True: its newest checkpoint does not count, and an entry makes way for another. */
  async #superseded(followed: Followed, keys: OpenKeys): Promise<boolean> {
    if (followed.keys === keys) return false;
    const { tenant, stored } = followed.log;
    const key = stored === undefined ? undefined : revokedSigner(stored, keys);
    if (stored !== undefined && key !== undefined) {
      const { size } = stored.checkpoint;
      if (await supersede(this.#on, tenant, { size, key }))
        this.#on.report("publishing.checkpoint_superseded", { tenant, size, key });
      this.#on.atStep?.("superseded", tenant);
    }
    followed.keys = keys;
    return key !== undefined;
  }

  #offer(followed: Followed, stored: StoredCheckpoint): void {
    followed.offered = true;
    const { incarnation, checkpoint } = stored;
    this.#on.anchors?.offer(followed.log.tenant, { incarnation, checkpoint });
  }

  async #refusedFor(followed: Followed, tenant: TenantId, error: unknown): Promise<void> {
    const code = error instanceof RefusalError ? error.refusal.code : undefined;
    if (error instanceof FencedOut || code === "database_unavailable") throw error;
    if (!(error instanceof Stopped) && code !== "log_key_unusable") return this.#waits(followed, tenant, error);
    const kind = error instanceof Stopped ? error.kind : "memory_unreadable";
    const news = followed.kind !== kind;
    [followed.state, followed.kind, followed.reason] = ["stopped", kind, messageOf(error)];
    followed.nextAt = performance.now() + stoppedIntervals * this.#on.intervalMs;
    if (!news) return;
    this.#on.report("publishing.tenant_stopped", { tenant, kind, message: messageOf(error) });
    await this.#alert(tenant, kind);
  }

  /** Expected for a moment, or our own mistake: either way the others go on, and it is tried again. */
  #waits(followed: Followed, tenant: TenantId, error: unknown): void {
    const expected = error instanceof NotNow;
    if (followed.state !== "waiting")
      this.#on.report("publishing.waits", { tenant, ...(expected ? { message: error.message } : { err: error }) });
    [followed.state, followed.kind, followed.reason] = ["waiting", undefined, messageOf(error)];
    followed.nextAt = performance.now() + (expected ? 1 : stoppedIntervals) * this.#on.intervalMs;
  }

  /** An entry, once for each reason: readers of the tenant's audit log see it. */
  async #alert(tenant: TenantId, kind: NonNullable<TenantStatus["kind"]>): Promise<void> {
    const { ledger, storage, actor, report } = this.#on;
    try {
      const [last] = await storage.withSnapshot(tenant, async (client) => {
        const query = newestByAction(tenant, ["ledger.alert_raised", "ledger.restored"], 1);
        return (await client.query<{ content: string }>(statement(query))).rows;
      });
      const parsed = last === undefined ? undefined : parseEntryContent(last.content);
      if (parsed?.ok === true && parsed.content.data["class"] === alertClasses[kind]) return;
      const outcome = await ledger.transact(
        tenant,
        () => Promise.resolve(undefined),
        () => ({
          kind: "change",
          change: {
            guards: [],
            entries: [
              {
                actor,
                action: "ledger.alert_raised",
                subject: { type: "tenant", id: tenant },
                data: { class: alertClasses[kind], findings: 1, by: "publisher" },
              },
            ],
          },
          result: undefined,
        }),
      );
      if (isRefusal(outcome)) report("publishing.alert_not_recorded", { tenant, message: outcome.message });
    } catch (error) {
      report("publishing.alert_not_recorded", { tenant, message: messageOf(error) });
    }
  }

  async #recordHeads(): Promise<void> {
    const now = performance.now();
    if (now - this.#headsAt < this.#on.headsEveryMs) return;
    this.#headsAt = now;
    const heads = new Map<TenantId, Head>();
    for (const [tenant, { log, state }] of this.#followed) {
      const { stored } = log;
      if (state === "published" && stored !== undefined)
        heads.set(tenant, {
          size: stored.checkpoint.size,
          root: Buffer.from(stored.checkpoint.root).toString("hex"),
        });
    }
    await this.#heads.record(this.#on, heads);
  }
}

const alertClasses: Readonly<Record<NonNullable<TenantStatus["kind"]>, string>> = {
  rolled_back: "ROLLED_BACK",
  rewritten: "HISTORY_REWRITTEN",
  chain_broken: "LINK_BROKEN",
  checkpoint_forged: "KEY_UNTRUSTED",
  memory_lost: "SIGNER_MEMORY_LOST",
  memory_behind: "SIGNER_MEMORY_BEHIND",
  memory_unreadable: "SIGNER_MEMORY_LOST",
};

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
