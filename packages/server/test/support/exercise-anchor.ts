/**
 * What every kind of anchor promises (src/publishing/anchors/anchor.ts), as one suite that each kind passes. `make` opens a place of its
 * own; the place outlives the anchor that was opened on it, and can be taken away and given back.
 */
import { describe, expect, it } from "vitest";
import { AnchorContradiction, type Anchor, type AnchorKind } from "../../src/publishing/anchors/index.js";
import { MemoryLog, tenantA, tenantB } from "./anchors.js";

export interface AnchorPlace {
  /** Opens the anchor; again and again, as processes would. */
  open(): Anchor | Promise<Anchor>;
  /** The place cannot be reached; `repair` undoes it. */
  breakIt(): Promise<void>;
  repair(): Promise<void>;
  /** Forgets everything, as an exchanged disk does. */
  wipe(): Promise<void>;
  /** Size that a stranger finds there for a log; undefined: nothing. */
  holds(origin: string): Promise<number | undefined>;
}

async function contradiction(work: Promise<unknown>): Promise<AnchorContradiction> {
  const error = await work.then(
    () => new Error("it was confirmed"),
    (failure: unknown) => failure,
  );
  if (error instanceof AnchorContradiction) return error;
  throw new Error(`expected a contradiction, got: ${String(error)}`, { cause: error });
}

export function exerciseAnchor(kind: AnchorKind, make: () => Promise<AnchorPlace>): void {
  describe(`the ${kind} anchor`, () => {
    it("says what it is", async () => {
      const anchor = await (await make()).open();
      expect([anchor.kind, anchor.name !== "", anchor.location !== ""]).toEqual([kind, true, true]);
    });

    // From nothing, within a tile, to its edge, over it, over several, and by one.
    const growths = [[1], [1, 2, 3], [255, 256, 257], [256, 512], [17, 300, 1100, 1101]];
    it.each(growths.map((sizes) => ({ sizes })))(
      "takes $sizes one after the other, also reopened each time",
      async ({ sizes }) => {
        const place = await make();
        const log = new MemoryLog();
        const staying = await place.open();
        const other = new MemoryLog({ origin: `acme/${tenantB}` });
        for (const [index, size] of sizes.entries()) {
          const anchored = sizes[index - 1] ?? 0;
          const receipt = await staying.submit(await log.submission(size, anchored));
          expect(receipt.size).toBe(size);
          expect(receipt.atMs).toBeGreaterThan(1_600_000_000_000);
          await (await place.open()).submit(await other.submission(size, anchored));
          expect([await place.holds(log.origin), await place.holds(other.origin)]).toEqual([size, size]);
        }
      },
    );

    it("gives a receipt again for what it holds", async () => {
      const place = await make();
      const log = new MemoryLog();
      const submission = await log.submission(300);
      const anchor = await place.open();
      const first = await anchor.submit(submission);
      for (const again of [anchor, await place.open()]) {
        expect((await again.submit(submission)).size).toBe(first.size);
        // The reply was lost: the submitter remembers an older size.
        expect((await again.submit({ ...submission, anchored: 300 })).size).toBe(300);
      }
      expect(await place.holds(log.origin)).toBe(300);
    });

    it("goes on from what it holds, not from what the submitter remembers", async () => {
      const place = await make();
      const log = new MemoryLog();
      await (await place.open()).submit(await log.submission(300));
      log.asked.tiles.length = 0;
      expect((await (await place.open()).submit(await log.submission(900, 0))).size).toBe(900);
      expect(log.asked.tiles.every(([from]) => from === 300)).toBe(true);
    });

    it("takes the submissions of several processes at once", async () => {
      const place = await make();
      const log = new MemoryLog();
      const sizes = [5, 5, 300, 301, 301, 600];
      const submissions = await Promise.all(sizes.map((size) => log.submission(size)));
      const outcomes = await Promise.allSettled(
        submissions.map(async (submission) => (await place.open()).submit(submission)),
      );
      // Whoever comes too late with a smaller one is told so, and nothing else goes wrong.
      const failures = outcomes.flatMap((outcome) =>
        outcome.status === "rejected" ? [outcome.reason as unknown] : [],
      );
      expect(
        failures.filter((failure) => !(failure instanceof AnchorContradiction && failure.how === "smaller")),
      ).toEqual([]);
      expect((await (await place.open()).submit(await log.submission(601, 600))).size).toBe(601);
      expect(await place.holds(log.origin)).toBe(601);
    });

    const contradictions = [
      ["a smaller size", { first: 300, then: 299 }, "smaller"],
      ["another root for the same size", { first: 300, then: 300, divergesAt: 299 }, "other_root"],
      ["a history rewritten within the last tile", { first: 300, then: 301, divergesAt: 299 }, "inconsistent"],
      ["a history rewritten long ago", { first: 900, then: 1000, divergesAt: 3 }, "inconsistent"],
      ["a history rewritten at a full tile's end", { first: 512, then: 700, divergesAt: 511 }, "inconsistent"],
    ] as const;
    it.each(contradictions)(
      "refuses %s, now and after a restart, and goes on with the true one",
      async (_what, story, how) => {
        const place = await make();
        const log = new MemoryLog();
        const { first, then } = story;
        const forged = "divergesAt" in story ? new MemoryLog({ story: "forged", divergesAt: story.divergesAt }) : log;
        const staying = await place.open();
        await staying.submit(await log.submission(first));
        for (const anchor of [staying, await place.open()]) {
          const refused = await contradiction(anchor.submit(await forged.submission(then, 0)));
          expect([refused.how, refused.message !== ""]).toEqual([how, true]);
          expect(await place.holds(log.origin)).toBe(first);
        }
        expect((await staying.submit(await log.submission(first + 5, first))).size).toBe(first + 5);
      },
    );

    it("says when it was exchanged for one that has forgotten", async () => {
      const place = await make();
      const log = new MemoryLog();
      await (await place.open()).submit(await log.submission(300));
      await place.wipe();
      const refused = await contradiction((await place.open()).submit(await log.submission(301, 300)));
      expect(refused.how).toBe("rewritten");
    });

    it("fails while it cannot be reached, and takes everything when it is back", async () => {
      const place = await make();
      const log = new MemoryLog();
      const anchor = await place.open();
      await anchor.submit(await log.submission(10));
      await place.breakIt();
      const failure = await anchor.submit(await log.submission(400, 10)).catch((error: unknown) => error);
      expect(failure).toBeInstanceOf(Error);
      expect(failure).not.toBeInstanceOf(AnchorContradiction);
      await place.repair();
      expect((await anchor.submit(await log.submission(900, 10))).size).toBe(900);
      expect(await place.holds(log.origin)).toBe(900);
    });

    it("keeps logs apart, also those whose names are alike", async () => {
      const place = await make();
      const origins = [`acme/${tenantA}`, `acme/${tenantA}/1`, `acme/${tenantB}`];
      const anchor = await place.open();
      for (const [index, origin] of origins.entries())
        await anchor.submit(await new MemoryLog({ origin, story: origin }).submission(index + 5));
      for (const [index, origin] of origins.entries()) expect(await place.holds(origin)).toBe(index + 5);
    });
  });
}
