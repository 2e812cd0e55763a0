/**
 * Live tails: many readers follow a tenant's ledger as it grows.
 *
 * Promises: a reader gets every entry after the one it names, once, in order · with any number of readers, one question
 * a turn goes to the database for each tenant; a reader that is behind the entries in memory asks the database itself,
 * a few readers at a time · nothing is kept for a slow reader: entries are read when the reader asks for them.
 */
import { refused, RefusalError, type TenantId } from "@countersign/contract";

/** The form of an entry for every reader: made once. */
export interface Followed {
  readonly seq: number;
  readonly actorId: string;
  readonly action: string;
  readonly subjectId: string;
  /** The entry for readers, as JSON. */
  readonly text: string;
}

export interface TailOptions {
  /** At most `limit` entries after `after` (-1: from the first), oldest first. */
  read(tenant: TenantId, after: number, limit: number): Promise<readonly Followed[]>;
  /** Sequence number of the last entry, -1 for none. */
  head(tenant: TenantId): Promise<number>;
  /** Calls back soon after this process committed; other processes' commits are found by looking. */
  onCommitted(listener: (tenant: TenantId) => void): () => void;
  readonly report?: (event: string, details: Readonly<Record<string, unknown>>) => void;
  /** Milliseconds between two looks when nothing was committed here. */
  readonly lookMs?: number;
  /** Milliseconds after which a reader hears that there is nothing new. */
  readonly idleMs?: number;
  readonly readersMax?: number;
}

/** A reader's next turn: entries (none when it was idle) up to and including `upTo`; or the end. */
export type TailTurn =
  | { readonly kind: "entries"; readonly entries: readonly Followed[]; readonly upTo: number }
  | { readonly kind: "stopped" };

export interface Tails {
  /**
   * Entries after `after`; after the last there is when left out. The first turn tells where it begins, without entries.
   * Throws RefusalError `not_found` for an entry beyond the end, `overloaded`, `database_unavailable`.
   */
  follow(tenant: TenantId, after?: number): AsyncIterableIterator<TailTurn, undefined>;
  /** Readers there are. */
  readonly readers: number;
  /** Ends every tail. */
  close(): void;
}

/** Entries of one look, and of one turn. */
const turnMax = 200;
/** The newest entries of a tenant, kept for readers that are nearly up to date. */
const keptEntriesMax = 1_000;
const keptCharactersMax = 4_000_000;
/** Readers that are behind and ask for themselves, at once. */
const behindMax = 4;
const lookMsDefault = 1_000;
const idleMsDefault = 15_000;
const readersMaxDefault = 500;

export function openTails(options: TailOptions): Tails {
  return new AllTails(options);
}

class AllTails implements Tails {
  readonly options: TailOptions;
  readonly #feeds = new Map<TenantId, Feed>();
  readonly #unlisten: () => void;
  readonly behind = new Turnstile(behindMax);
  #readers = 0;
  closed = false;

  constructor(options: TailOptions) {
    this.options = options;
    this.#unlisten = options.onCommitted((tenant) => this.#feeds.get(tenant)?.look());
  }

  get readers(): number {
    return this.#readers;
  }

  follow(tenant: TenantId, after?: number): AsyncIterableIterator<TailTurn, undefined> {
    const reader = new Reader();
    const turns = this.#turns(tenant, after, reader);
    return {
      next: () => turns.next(),
      return: () => {
        reader.leave(); // or it would be noticed at the next entry only
        return turns.return(undefined);
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  async *#turns(
    tenant: TenantId,
    after: number | undefined,
    reader: Reader,
  ): AsyncGenerator<TailTurn, undefined, undefined> {
    const { options } = this;
    if (this.#readers >= (options.readersMax ?? readersMaxDefault)) {
      throw new RefusalError(
        refused("overloaded", `\`${this.#readers}\` readers follow ledgers already; try again later`, {
          retryAfterSeconds: 30,
        }),
      );
    }
    this.#readers += 1;
    const feed = this.#join(tenant);
    try {
      let at = await startOf(after, () => options.head(tenant));
      yield { kind: "entries", entries: [], upTo: at };
      while (!reader.left && !this.closed) {
        const entries = await this.#next(feed, at, reader);
        if (this.closed) break;
        at = entries.at(-1)?.seq ?? at;
        if (!reader.left) yield { kind: "entries", entries, upTo: at };
      }
      if (!reader.left) yield { kind: "stopped" };
    } finally {
      this.#readers -= 1;
      this.#leave(feed);
    }
    return undefined;
  }

  /** The entries after `at`; none when the reader was idle for a while. */
  async #next(feed: Feed, at: number, reader: Reader): Promise<readonly Followed[]> {
    const { idleMs = idleMsDefault } = this.options;
    if (feed.head === undefined || feed.head <= at) {
      await reader.wait(feed, () => feed.head !== undefined && feed.head > at, idleMs);
      if (feed.head === undefined || feed.head <= at) return [];
    }
    const kept = feed.after(at);
    if (kept !== undefined) return kept;
    try {
      return await this.behind.pass(() => this.options.read(feed.tenant, at, turnMax));
    } catch (error) {
      this.options.report?.("tail.read_failed", { tenant: feed.tenant, message: messageOf(error) });
      await reader.wait(feed, () => false, this.options.lookMs ?? lookMsDefault);
      return [];
    }
  }

  #join(tenant: TenantId): Feed {
    const feed = this.#feeds.get(tenant) ?? new Feed(tenant, this.options);
    this.#feeds.set(tenant, feed);
    feed.readers += 1;
    return feed;
  }

  #leave(feed: Feed): void {
    feed.readers -= 1;
    if (feed.readers > 0) return;
    feed.stop();
    this.#feeds.delete(feed.tenant);
  }

  close(): void {
    this.closed = true;
    this.#unlisten();
    for (const feed of this.#feeds.values()) feed.stop();
  }
}

async function startOf(after: number | undefined, head: () => Promise<number>): Promise<number> {
  const last = await head();
  if (after === undefined) return last;
  if (after <= last) return after;
  throw new RefusalError(
    refused(
      "not_found",
      `the ledger has no entry \`${after}\`: it ends with \`${last}\`; if it was restored from a backup, begin again without \`after\``,
    ),
  );
}

/** One tenant's new entries, looked for once for all its readers. */
class Feed {
  readonly tenant: TenantId;
  readers = 0;
  /** The newest entry known. Undefined until the first look. */
  head: number | undefined;
  readonly #options: TailOptions;
  readonly #waiting = new Set<() => void>();
  #kept: Followed[] = [];
  #characters = 0;
  #looking = false;
  #again = false;
  #stopped = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(tenant: TenantId, options: TailOptions) {
    this.tenant = tenant;
    this.#options = options;
    this.look();
  }

  /**
   * Reads now. If a reading is under way, reads once more after it, because new entries may have come too late for the
   * first.
   */
  look(): void {
    if (this.#stopped) return;
    if (this.#looking) {
      this.#again = true;
      return;
    }
    clearTimeout(this.#timer);
    this.#looking = true;
    void this.#lookUntilUpToDate().finally(() => {
      this.#looking = false;
      if (this.#stopped) return;
      if (this.#again) return this.look(); // asked for between the last look and here
      this.#timer = setTimeout(() => this.look(), this.#options.lookMs ?? lookMsDefault);
    });
  }

  async #lookUntilUpToDate(): Promise<void> {
    try {
      do {
        this.#again = false;
        if (this.head === undefined) this.head = await this.#options.head(this.tenant);
        else this.#keep(await this.#options.read(this.tenant, this.head, turnMax));
        this.#wake();
      } while (this.#again && !this.#stopped);
    } catch (error) {
      // Readers stay: they get new entries when the database is back.
      this.#again = false;
      this.#options.report?.("tail.look_failed", { tenant: this.tenant, message: messageOf(error) });
    }
  }

  #keep(entries: readonly Followed[]): void {
    if (entries.length === turnMax) this.#again = true;
    for (const entry of entries) {
      this.#kept.push(entry);
      this.#characters += entry.text.length;
      this.head = entry.seq;
    }
    let drop = 0;
    while (this.#kept.length - drop > keptEntriesMax || this.#characters > keptCharactersMax)
      this.#characters -= this.#kept[drop++]?.text.length ?? 0;
    if (drop > 0) this.#kept = this.#kept.slice(drop);
  }

  /** The entries after `at`, if all of them are kept. */
  after(at: number): readonly Followed[] | undefined {
    const first = this.#kept[0];
    if (first === undefined || first.seq > at + 1) return undefined;
    const begin = at + 1 - first.seq;
    return this.#kept.slice(begin, begin + turnMax);
  }

  onChange(wake: () => void): () => void {
    this.#waiting.add(wake);
    return () => void this.#waiting.delete(wake);
  }

  #wake(): void {
    for (const wake of [...this.#waiting]) wake();
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#wake();
  }

  get stopped(): boolean {
    return this.#stopped;
  }
}

/** A reader that follows, and may leave at any time. */
class Reader {
  left = false;
  #wake: (() => void) | undefined;

  leave(): void {
    this.left = true;
    this.#wake?.();
  }

  /** Until it is so, the feed has stopped, the reader has left, or the time is over. */
  async wait(feed: Feed, isSo: () => boolean, ms: number): Promise<void> {
    if (this.left || feed.stopped || isSo()) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        forget();
        this.#wake = undefined;
        resolve();
      };
      const timer = setTimeout(end, ms);
      const forget = feed.onChange(() => {
        if (this.left || feed.stopped || isSo()) end();
      });
      this.#wake = end;
    });
  }
}

/** Lets a few through at a time. */
class Turnstile {
  #free: number;
  readonly #queue: (() => void)[] = [];
  constructor(free: number) {
    this.#free = free;
  }

  async pass<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free -= 1;
    else await new Promise<void>((resolve) => this.#queue.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#queue.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
