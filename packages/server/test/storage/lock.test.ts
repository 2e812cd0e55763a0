/** Locks that the database holds for a session, on a real PostgreSQL, over a line that falls silent. */
import { RefusalError } from "@countersign/contract";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Timers } from "../../src/platform/index.js";
import { isHeld, storageOver } from "../../src/storage/index.js";
import { openLocks } from "../../src/storage/lock.js";
import { lineTo, type Line } from "../support/line.js";
import { createDatabase, type TestDatabase, withClient } from "../support/postgres.js";

let database: TestDatabase;
let line: Line;
beforeAll(async () => {
  database = await createDatabase();
});
afterEach(() => line?.close());
afterAll(() => database.close());

/** Something that happens once. */
function signal<T = void>(): { readonly comes: Promise<T>; give(value: T): void } {
  let give = (_value: T): void => undefined;
  const comes = new Promise<T>((resolve) => (give = resolve));
  return { comes, give: (value) => give(value) };
}

const aborted = (of: AbortSignal): Promise<void> =>
  new Promise((resolve) => (of.aborted ? resolve() : of.addEventListener("abort", () => resolve())));

/** Beats and limits when the test says so; `limits` by their milliseconds. */
class HeldTimers implements Timers {
  #beat: (() => Promise<void>) | undefined;
  readonly limits = new Map<() => void, number>();

  get beats(): boolean {
    return this.#beat !== undefined;
  }

  async beat(): Promise<void> {
    await this.#beat?.();
  }

  every(_: number, beat: () => Promise<void>): () => void {
    this.#beat = beat;
    return () => (this.#beat = undefined);
  }

  after(ms: number, act: () => void): () => void {
    this.limits.set(act, ms);
    return () => this.limits.delete(act);
  }

  /** The limits that run now have passed; how long they were. */
  pass(): number[] {
    const passed = [...this.limits];
    for (const [act] of passed) act();
    return passed.map(([, ms]) => ms);
  }
}

/** Whether PostgreSQL holds the lock for anybody. */
const held = (name: string): Promise<boolean> =>
  withClient(database.app, async (client) => {
    const { rows } = await client.query<{ held: boolean }>(`select ${isHeld("$1::text")} as held`, [name]);
    return rows[0]?.held === true;
  });

/** A lock that is held over the line, until it is let go. */
async function holding(name: string, timers: Timers) {
  line = await lineTo(database.app);
  const locks = openLocks(line.login, timers);
  const [begun, released] = [signal<AbortSignal>(), signal()];
  const done = locks.whileLocked(name, async (lost) => {
    begun.give(lost);
    await released.comes;
    return "done";
  });
  const lost = await Promise.race([begun.comes, done.then(() => Promise.reject(new Error("it was not taken")))]);
  return { locks, lost, done, letGo: () => released.give() };
}

/** From now on nothing passes; resolves when the first thing did not. */
function silence(): Promise<void> {
  const swallowed = signal();
  line.swallows = () => swallowed.give();
  return swallowed.comes;
}

describe("a lock", () => {
  test("is one holder's, seen in the database by its name, and free when the holder has ended, well or not", async () => {
    const { whileLocked } = database.storage;
    const inside = await whileLocked("a", async () => [
      await whileLocked("a", () => Promise.resolve("two at once")),
      await whileLocked("b", () => Promise.resolve("another")),
      await held("a"),
      await held("c"),
    ]);
    expect(inside).toEqual({
      kind: "held",
      result: [{ kind: "taken" }, { kind: "held", result: "another" }, true, false],
    });
    expect(await held("a")).toBe(false);
    await expect(whileLocked("a", () => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
    expect(await held("a")).toBe(false);
  });

  test("that is shared excludes nobody who shares it", async () => {
    const { whileLocked } = database.storage;
    const shared = { shared: true };
    const inside = await whileLocked(
      "shared",
      async () => [
        await whileLocked("shared", () => Promise.resolve("too"), shared),
        await whileLocked("shared", () => Promise.resolve("alone")),
        await held("shared"),
      ],
      shared,
    );
    expect(inside).toEqual({ kind: "held", result: [{ kind: "held", result: "too" }, { kind: "taken" }, true] });
  });

  test("does not outlive its storage: whoever holds it is told, and nothing is locked any more", async () => {
    const login = { owner: database.owner, application: database.app };
    const storage = storageOver({ kind: "external", how: "connected", at: "", ...login });
    const begun = signal<AbortSignal>();
    const holds = storage.whileLocked("closed", async (lost) => {
      begun.give(lost);
      await aborted(lost);
      return "was told";
    });
    await begun.comes;
    await storage.close();
    expect(await held("closed")).toBe(false);
    expect(await holds).toEqual({ kind: "held", result: "was told" });
    await expect(storage.whileLocked("closed", () => Promise.resolve())).rejects.toThrow("was closed");
  });

  test("that was given back leaves nothing that goes on", async () => {
    const timers = new HeldTimers();
    const { done, letGo } = await holding("quiet", timers);
    expect([timers.beats, timers.limits.size]).toEqual([true, 0]);
    letGo();
    await done;
    expect([timers.beats, timers.limits.size]).toEqual([false, 0]);
  });

  test("whose session PostgreSQL ended is told as lost", async () => {
    const { lost, done, letGo } = await holding("ended", new HeldTimers());
    await withClient(database.superuser, (client) =>
      client.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'countersign lock' and datname = current_database()",
      ),
    );
    await aborted(lost);
    letGo();
    await done;
  });
});

describe("over a line that falls silent", () => {
  test("a holder is told when an answer did not come in time", async () => {
    const timers = new HeldTimers();
    const { lost, done, letGo } = await holding("silent", timers);
    await timers.beat();
    expect(lost.aborted).toBe(false);
    const swallowed = silence();
    const beat = timers.beat();
    await swallowed;
    expect(lost.aborted).toBe(false);
    expect(timers.pass()).toEqual([5_000]);
    expect(lost.aborted).toBe(true);
    await beat;
    letGo();
    expect(await done).toEqual({ kind: "held", result: "done" });
  });

  test("a goodbye that is not answered is given up after five seconds, and not before", async () => {
    const timers = new HeldTimers();
    const { done, letGo } = await holding("goodbye", timers);
    const swallowed = silence();
    letGo();
    await swallowed;
    let ended = false;
    void done.then(() => (ended = true));
    await database.storage.app.query("select 1");
    expect(ended).toBe(false);
    expect(timers.pass()).toEqual([5_000]);
    expect(await done).toEqual({ kind: "held", result: "done" });
  });

  test("holders are told at once that their storage closes", async () => {
    const timers = new HeldTimers();
    const { locks, lost, done, letGo } = await holding("closing", timers);
    const swallowed = silence();
    const closing = locks.close();
    await swallowed;
    expect(lost.aborted).toBe(true);
    timers.pass();
    await closing;
    letGo();
    await done;
  });

  test("a lock that is asked for is `database_unavailable` when no answer comes", async () => {
    line = await lineTo(database.app);
    const timers = new HeldTimers();
    const asked = signal();
    const locks = openLocks(line.login, {
      every: () => () => undefined,
      // The limit of the question begins when the connection is there: from now on nothing passes.
      after: (ms, act) => {
        void silence().then(() => asked.give());
        return timers.after(ms, act);
      },
    });
    const taking = locks.whileLocked("unanswered", () => Promise.resolve());
    const refused = expect(taking).rejects.toThrow(RefusalError);
    await asked.comes;
    timers.pass();
    await refused;
  });
});
