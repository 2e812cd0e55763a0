/** Several anchors on their own ways: what is remembered, retried, raised and shown. A real database; the time is the test's. */
import { asTenantId } from "@countersign/contract";
import { beforeAll, describe, expect, it } from "vitest";
import {
  AnchorContradiction,
  openAnchors,
  readAnchorStates,
  type Anchor,
  type Anchors,
  type AnchorStatus,
  type Submission,
} from "../../src/publishing/anchors/index.js";
import { parseAnchors } from "../../src/publishing/anchors/specs.js";
import { failed, freshState, longestPauseMs, reachOf } from "../../src/publishing/anchors/standing.rules.js";
import type { AnchorState } from "../../src/publishing/anchors/states.js";
import { formatVerifierKey, verifierKey } from "@countersign/proof";
import { logKey, MemoryLog } from "../support/anchors.js";
import { openTestLedger } from "../support/ledger.js";
import { createDatabase, type TestDatabase } from "../support/postgres.js";

let database: TestDatabase;
beforeAll(async () => {
  database = await createDatabase();
});

/** An anchor that does what the test says. */
class Puppet implements Anchor {
  readonly name: string;
  readonly kind = "file";
  readonly location = "/puppet";
  readonly everyMs: number;
  readonly taken: number[] = [];
  /** What it was told is anchored, each time. */
  readonly told: number[] = [];
  trouble: Error | undefined;
  hold: Promise<void> | undefined;

  constructor(name: string, everyMs = 0) {
    this.name = name;
    this.everyMs = everyMs;
  }

  async submit({ checkpoint, anchored }: Submission): Promise<{ size: number; atMs: number; receipt: string }> {
    this.told.push(anchored);
    await this.hold;
    if (this.trouble !== undefined) throw this.trouble;
    this.taken.push(checkpoint.size);
    return { size: checkpoint.size, atMs: 1, receipt: `${this.name} ${checkpoint.size}\n` };
  }
}

/** Time that passes when the test says so. */
class Time {
  ms = 1_700_000_000_000;
  readonly #due: { at: number; run: () => void }[] = [];

  readonly after = (ms: number, run: () => void): (() => void) => {
    const entry = { at: this.ms + ms, run };
    this.#due.push(entry);
    return () => void this.#due.splice(this.#due.indexOf(entry), this.#due.includes(entry) ? 1 : 0);
  };

  pass(ms: number): void {
    this.ms += ms;
    for (const entry of this.#due.filter(({ at }) => at <= this.ms)) {
      this.#due.splice(this.#due.indexOf(entry), 1);
      entry.run();
    }
  }

  /** Until the next pause is over; how long that was. */
  toNext(): number {
    const next = Math.min(...this.#due.map(({ at }) => at));
    const ms = next - this.ms;
    this.pass(ms);
    return ms;
  }

  get pauses(): number {
    return this.#due.length;
  }
}

interface World {
  readonly anchors: Anchors;
  readonly log: MemoryLog;
  readonly time: Time;
  readonly events: { event: string; anchor: unknown; message: unknown }[];
  grow(size: number): Promise<void>;
  status(name: string): AnchorStatus;
}

function world(
  puppets: readonly Anchor[],
  options: { required?: number; tenant?: string; log?: MemoryLog } = {},
): World {
  const time = new Time();
  const log = options.log ?? new MemoryLog();
  const tenant = asTenantId(options.tenant ?? freshTenant());
  const events: World["events"] = [];
  let size = log.leaves.length;
  const stored = async () => ({ incarnation: 0, checkpoint: await log.checkpoint(size) });
  const anchors = openAnchors({
    storage: database.storage,
    clock: { nowMs: () => time.ms },
    anchors: puppets,
    source: {
      latest: () => stored(),
      consistency: (_tenant, from, to) => log.consistency(from, to),
      leafTiles: (_tenant, from, to) => log.leafTiles(from, to),
    },
    ...(options.required === undefined ? {} : { required: options.required }),
    report: (event, details) => events.push({ event, anchor: details["anchor"], message: details["message"] }),
    after: time.after,
    chance: () => 0,
  });
  return {
    ...{ anchors, log, time, events },
    grow: async (to) => {
      size = to;
      anchors.offer(tenant, await stored());
      await anchors.settled();
    },
    status: (name) => {
      const found = anchors.status().find(({ anchor }) => anchor === name);
      if (found === undefined) throw new Error(`no \`${name}\``);
      return found;
    },
  };
}

let tenants = 0;
function freshTenant(): string {
  tenants += 1;
  return `0198c0de-0000-7000-8000-${String(tenants).padStart(12, "0")}`;
}

describe("several anchors", () => {
  it("each take every checkpoint; what fails delays no other", async () => {
    const [one, two, three] = [new Puppet("one"), new Puppet("two"), new Puppet("three")];
    const { grow, status, anchors, time, events } = world([one, two, three], { required: 3 });
    await grow(5);
    expect([one.taken, two.taken, three.taken, anchors.degraded()]).toEqual([[5], [5], [5], false]);
    two.trouble = new Error("the disk is full");
    await grow(9);
    await grow(12);
    expect([one.taken, two.taken, three.taken, anchors.degraded()]).toEqual([[5, 9, 12], [5], [5, 9, 12], true]);
    expect(status("two")).toMatchObject({
      standing: "failing",
      size: 5,
      wanted: 12,
      failures: 1,
      lastError: "the disk is full",
    });
    expect(events).toEqual([{ event: "anchor.failing", anchor: "two", message: "the disk is full" }]);
    two.trouble = undefined;
    time.toNext();
    await anchors.settled();
    // The newest, and it was told from where: the leaf tiles between come along.
    expect([two.taken, two.told.at(-1), status("two").standing, anchors.degraded()]).toEqual([[5, 12], 5, "ok", false]);
    expect(events.at(-1)?.event).toBe("anchor.confirms_again");
    await anchors.close();
  });

  it("what is offered while one is under way is taken afterwards, the newest alone", async () => {
    const slow = new Puppet("slow");
    const { anchors, log, grow } = world([slow]);
    let release = (): void => undefined;
    slow.hold = new Promise((resolve) => (release = resolve));
    const growing = [grow(5), grow(6), grow(7)];
    await log.checkpoint(7);
    release();
    await Promise.all(growing);
    expect(slow.taken.at(-1)).toBe(7);
    expect(slow.taken.length).toBeLessThanOrEqual(2);
    await anchors.close();
  });

  it("one that wants a checkpoint a minute gets the newest each minute", async () => {
    const calm = new Puppet("calm", 60_000);
    const { anchors, grow, time, status } = world([calm]);
    for (const size of [1, 2, 3]) await grow(size);
    expect([calm.taken, status("calm").standing]).toEqual([[1], "ok"]);
    expect(time.toNext()).toBe(60_000);
    await anchors.settled();
    expect([calm.taken, time.pauses]).toEqual([[1, 3], 0]);
    await anchors.close();
  });
});

describe("pauses", () => {
  it("double from 100 ms to 5 minutes, and begin anew after a success", async () => {
    const away = new Puppet("away");
    away.trouble = new Error("no route");
    const { anchors, grow, time, status } = world([away]);
    await grow(5);
    const pauses: number[] = [];
    for (let tries = 0; tries < 14; tries += 1) {
      pauses.push(time.toNext());
      await anchors.settled();
    }
    expect(pauses.slice(0, 4)).toEqual([100, 200, 400, 800]);
    expect(pauses.slice(-2)).toEqual([longestPauseMs, longestPauseMs]);
    expect(status("away")).toMatchObject({ attempts: 15, failures: 15 });
    away.trouble = undefined;
    time.toNext();
    await anchors.settled();
    away.trouble = new Error("again");
    await grow(6);
    expect(time.toNext()).toBe(100);
    await anchors.settled();
    await anchors.close();
  });

  it.each([0, 0.5, 0.999_999])("are shortened by up to half by chance %d", (chance) => {
    const { nextMs } = failed(freshState("x"), { nowMs: 0, chance, message: "", contradicts: false });
    expect(nextMs).toBe(Math.ceil(100 * (1 - chance / 2)));
  });
});

describe("how far it is", () => {
  const ok = { standing: "ok", size: 5 } as const;
  it.each<[what: string, state: Partial<AnchorState>, incarnation: number | undefined, reach: unknown]>([
    ["all is confirmed: not before there is more", { ...ok, size: 8, nextMs: 900 }, 0, [8, 0, null]],
    ["more than it has, and its time has not come", { ...ok, nextMs: 900 }, 0, [5, 3, 900]],
    ["more than it has, and nothing to wait for", ok, 0, [5, 3, 100]],
    ["what is noted as wanted is old", { ...ok, wanted: 5, nextMs: 50 }, 0, [5, 3, 50]],
    ["it holds another incarnation", ok, 1, [0, 8, 100]],
    ["nothing was ever signed", {}, undefined, [0, 8, 100]],
    ["it has more than there is", { ...ok, size: 9 }, 0, [9, 0, null]],
    [
      "it contradicts: asked again all the same",
      { ...ok, standing: "contradicts", size: 8, nextMs: 70 },
      0,
      [8, 0, 70],
    ],
    ["it fails", { ...ok, standing: "failing", nextMs: 200 }, 0, [5, 3, 200]],
  ])("%s", (_, state, incarnation, reach) => {
    const found = reachOf({ ...freshState("x"), ...state }, { incarnation, entries: 8, nowMs: 100 });
    expect([found.confirmed, found.behind, found.dueMs]).toEqual(reach);
  });
});

describe("a contradiction", () => {
  it("is an alarm that stays until the anchor confirms again", async () => {
    const witness = new Puppet("witness");
    const { anchors, grow, time, events, status } = world([witness]);
    await grow(5);
    witness.trouble = new AnchorContradiction("inconsistent", 5, "it holds another history");
    await grow(9);
    expect([status("witness").standing, anchors.degraded()]).toEqual(["contradicts", true]);
    expect(events).toEqual([{ event: "anchor.contradicts", anchor: "witness", message: "it holds another history" }]);
    // New checkpoints do not make it try again; time does, rarely, and each time aloud.
    await grow(12);
    expect(witness.told).toHaveLength(2);
    expect(time.toNext()).toBe(longestPauseMs);
    await anchors.settled();
    expect(events).toHaveLength(2);
    witness.trouble = undefined;
    time.toNext();
    await anchors.settled();
    expect([witness.taken, status("witness").standing, events.at(-1)?.event]).toEqual([
      [5, 12],
      "ok",
      "anchor.confirms_again",
    ]);
    await anchors.close();
  });

  it("is none when another process was faster and the database has what the anchor holds", async () => {
    const shared = new Puppet("shared");
    const log = new MemoryLog();
    const { anchors, grow, status } = world([shared], { log });
    await grow(5);
    shared.trouble = new AnchorContradiction("smaller", 7, "it holds size 7");
    // Asked again for the newest, the database says 9 by then.
    const original = shared.submit.bind(shared);
    shared.submit = (submission) => {
      const answer = original(submission);
      shared.trouble = undefined;
      return answer;
    };
    await grow(9);
    expect([shared.taken, status("shared").standing]).toEqual([[5, 9], "ok"]);
    await anchors.close();
  });
});

describe("what is remembered", () => {
  it("outlives the process, and what failed is tried at once by the next", async () => {
    const tenant = freshTenant();
    const log = new MemoryLog();
    const [good, bad] = [new Puppet("good"), new Puppet("bad")];
    bad.trouble = new Error("away");
    const first = world([good, bad], { tenant, log });
    await first.grow(5);
    await first.anchors.close();
    const ledger = await openTestLedger(database.storage);
    const remembered = await ledger.snapshot(asTenantId(tenant), (snapshot) =>
      readAnchorStates(snapshot, ["good", "bad", "later"]),
    );
    await ledger.close();
    expect(remembered.map(({ anchor, standing, size, lastError }) => ({ anchor, standing, size, lastError }))).toEqual([
      { anchor: "bad", standing: "failing", size: 0, lastError: "away" },
      { anchor: "good", standing: "ok", size: 5, lastError: null },
      { anchor: "later", standing: "new", size: 0, lastError: null },
    ]);
    bad.trouble = undefined;
    const second = world([good, bad], { tenant, log });
    await second.grow(5);
    expect([good.taken, bad.taken, second.status("bad").standing]).toEqual([[5], [5], "ok"]);
    await second.grow(8);
    expect(good.told).toEqual([0, 5]);
    const receipts = await database.storage.inTenant(tenant, (client) =>
      client.query(
        "select anchor, size, receipt from countersign.anchor_receipts where tenant_id = $1 order by anchor, size",
        [tenant],
      ),
    );
    expect(receipts.rows).toEqual([
      { anchor: "bad", size: "5", receipt: "bad 5\n" },
      { anchor: "bad", size: "8", receipt: "bad 8\n" },
      { anchor: "good", size: "5", receipt: "good 5\n" },
      { anchor: "good", size: "8", receipt: "good 8\n" },
    ]);
    await second.anchors.close();
  });

  it("is not needed: with the database away states are shown, and written when it is back", async () => {
    const anchor = new Puppet("anchor");
    const log = new MemoryLog();
    const time = new Time();
    let away = true;
    const tenant = asTenantId(freshTenant());
    const anchors = openAnchors({
      storage: {
        inTenant: (of, work) =>
          away ? Promise.reject(new Error("the database does not answer")) : database.storage.inTenant(of, work),
      },
      clock: { nowMs: () => time.ms },
      anchors: [anchor],
      source: {
        latest: async () => ({ incarnation: 0, checkpoint: await log.checkpoint(5) }),
        consistency: (_tenant, from, to) => log.consistency(from, to),
        leafTiles: (_tenant, from, to) => log.leafTiles(from, to),
      },
      after: time.after,
      chance: () => 0,
    });
    anchors.offer(tenant, { incarnation: 0, checkpoint: await log.checkpoint(5) });
    await anchors.settled();
    expect(anchors.status()).toMatchObject([{ standing: "failing", lastError: "the database does not answer" }]);
    away = false;
    time.toNext();
    await anchors.settled();
    expect(anchors.status()).toMatchObject([{ standing: "ok", size: 5 }]);
    await anchors.close();
  });

  it("of a tenant that another process publishes for is let go", async () => {
    const anchor = new Puppet("anchor");
    anchor.trouble = new Error("away");
    const tenant = freshTenant();
    const { anchors, grow, time } = world([anchor], { tenant });
    await grow(5);
    anchors.release(asTenantId(tenant));
    expect([time.pauses, anchors.status()]).toEqual([0, []]);
    await anchors.close();
  });

  it("of an older incarnation does not count for the new one", async () => {
    const anchor = new Puppet("anchor");
    anchor.trouble = new AnchorContradiction("smaller", 9, "it holds size 9");
    const tenant = freshTenant();
    const { anchors, grow, status, log } = world([anchor], { tenant });
    await grow(5);
    expect(status("anchor").standing).toBe("contradicts");
    anchors.offer(asTenantId(tenant), { incarnation: 1, checkpoint: await log.checkpoint(5) });
    await anchors.settled();
    expect(anchor.told).toEqual([0, 0]);
    await anchors.close();
  });
});

describe("configuration", () => {
  const key = (type: 1 | 4): string =>
    formatVerifierKey(verifierKey({ name: "w.example/1", type, publicKey: logKey().publicKey }));
  it("names anchors", () => {
    const lines = ["disk file:/srv/anchor", "repo git:/srv/repo every=60", `w1 witness:https://w.example/x ${key(4)}`];
    expect(parseAnchors(lines, "test").map(({ name, kind, everyMs }) => [name, kind, everyMs])).toEqual([
      ["disk", "file", 0],
      ["repo", "git", 60_000],
      ["w1", "witness", 0],
    ]);
  });

  const wrong: readonly (readonly [string, string])[] = [
    ["disk", "names no kind"],
    ["disk s3:bucket", "names no kind"],
    ["disk file:relative", "no absolute path"],
    ["disk file:/a b", "too much"],
    ["disk file:/a every=soon", "number of seconds"],
    ["-x file:/a", "no name"],
    ["w1 witness:https://w.example", "verifier key"],
    [`w1 witness:https://w.example ${key(1)}`, "verifier key"],
    [`w1 witness:https://u:p@w.example ${key(4)}`, "a user"],
    [`w1 witness:ftp://w.example ${key(4)}`, "no address"],
  ];
  it.each(wrong)("says what is wrong with `%s`", (line, message) => {
    expect(() => parseAnchors([line], "test")).toThrow(message);
  });

  it("says everything that is wrong at once, and two of one name", () => {
    const lines = ["a file:/a", "a file:/b", "b s3:x", "c file:c"];
    expect(() => parseAnchors(lines, "test")).toThrow(/`b s3:x`.*`c file:c`.*two anchors are called `a`/);
  });
});
