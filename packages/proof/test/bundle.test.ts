/** Bundles as a stream: however the bytes are cut, within bounds, and saying why where something is wrong. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  BundleWriter,
  bundleLineBytesMax,
  exitCodeOf,
  readBundle,
  verifyBundle,
  writeBundle,
  type BundleHeader,
  type StoredEntry,
} from "../src/index.js";
import { chainOf, enrolled, plain, startMs, tenant, voted, voterOf } from "./chains.js";

const ada = voterOf(1);
const good = chainOf([enrolled(ada), voted(ada), plain(2), plain(3), plain(4)]);
const last = good.at(-1) as StoredEntry;
const header: BundleHeader = {
  deployment: "test",
  tenant,
  selection: "range",
  from: 0,
  to: last.seq,
  head: { seq: last.seq, hash: last.hash, timeMs: last.timeMs },
  bodies: "included",
  exportedAtMs: startMs,
};

async function bundleOf(entries: readonly StoredEntry[], of: BundleHeader = header): Promise<Buffer> {
  const pieces: string[] = [];
  for await (const piece of writeBundle(of, entries)) pieces.push(piece);
  return Buffer.from(pieces.join(""), "utf8");
}
const whole = await bundleOf(good);

describe("writing and reading", () => {
  it("gives back header and entries", async () => {
    const read: StoredEntry[] = [];
    let headerRead: BundleHeader | undefined;
    for await (const part of readBundle([whole])) {
      if (part.kind === "header") headerRead = part.header;
      if (part.kind === "entries") read.push(...part.entries);
      if (part.kind === "end") expect(part.intact).toBe(true);
    }
    expect(headerRead).toEqual(header);
    expect(read).toEqual(good.map((entry) => ({ ...entry, entryId: null, body: entry.body })));
  });

  it("writes contents given as bytes the same", async () => {
    const bytes = good.map((entry) => ({ ...entry, content: Buffer.from(entry.content as string) }));
    expect((await bundleOf(bytes)).equals(whole)).toBe(true);
  });

  it("verifies however the bytes are cut", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(whole.length), { maxLength: 20 }), async (cuts) => {
        const places = [0, ...cuts.sort((a, b) => a - b), whole.length];
        const chunks = places.slice(1).map((end, i) => whole.subarray(places[i], end));
        expect(await verifyBundle(chunks)).toMatchObject({ integrity: "ok", entries: good.length, header });
      }),
      { numRuns: 100 },
    );
    const single = Array.from(whole, (_, i) => whole.subarray(i, i + 1));
    expect((await verifyBundle(single)).integrity).toBe("ok");
  });

  it("copies what it keeps: whoever reads a file may use the buffer again", async () => {
    async function* reused(): AsyncGenerator<Uint8Array> {
      const buffer = Buffer.alloc(100);
      for (let at = 0; at < whole.length; at += 100) {
        const bytes = whole.copy(buffer, 0, at);
        yield buffer.subarray(0, bytes);
        await Promise.resolve();
        buffer.fill(0x20);
      }
    }
    expect((await verifyBundle(reused())).integrity).toBe("ok");
  });

  it("keeps memory constant: an endless line is refused before it is whole", async () => {
    let given = 0;
    function* endless(): Generator<Uint8Array> {
      const chunk = Buffer.alloc(1024 * 1024, 0x20);
      for (;;) {
        given += chunk.length;
        yield chunk;
      }
    }
    const result = await verifyBundle(endless());
    expect(exitCodeOf(result)).toBe(4);
    expect(given).toBeLessThan(bundleLineBytesMax + 3 * 1024 * 1024);
  });

  it("bodies withheld: their absence is counted, and one that is there is refused", async () => {
    const withheld: BundleHeader = { ...header, bodies: "withheld" };
    const without = good.map(({ body: _, ...entry }) => entry);
    expect(await verifyBundle([await bundleOf(without, withheld)])).toMatchObject({
      integrity: "ok",
      bodies: { checked: 0, absent: 1 },
    });
    expect(exitCodeOf(await verifyBundle([await bundleOf(good, withheld)]))).toBe(4);
  });

  it("an unreadable file is undecided", async () => {
    async function* broken(): AsyncGenerator<Uint8Array> {
      yield whole.subarray(0, 700);
      await Promise.resolve();
      throw new Error("EIO");
    }
    const result = await verifyBundle(broken());
    expect([result.integrity, exitCodeOf(result), result.undecided]).toEqual(["undecided", 3, "EIO"]);
  });
});

describe("what is wrong beside the entries", () => {
  const text = whole.toString("utf8");
  it.each<[string, string, number]>([
    ["another deployment", text.replace('"deployment":"test"', '"deployment":"tesT"'), 1],
    ["another time of export", text.replace(/"exportedAtMs":1/, '"exportedAtMs":2'), 1],
    ["another head's time", text.replace(/"timeMs":(\d)/, '"timeMs":9'), 1],
    [
      "a digest that is not that of the bytes",
      text.replace(/"sha256":"[0-9a-f]{64}"/, `"sha256":"${"0".repeat(64)}"`),
      1,
    ],
    ["another number of entries", text.replace('"entries":5', '"entries":6'), 1],
    ["white space", text.replace('"seq":3', '"seq": 3'), 1],
    ["from above to", text.replace('"from":0', '"from":9'), 4],
    ["a header of the future", text.replace("bundle.v2", "bundle.v3"), 4],
    ["a header of version 2 in version 1", text.replace("bundle.v2", "bundle.v1"), 4],
    ["not UTF-8", "\ufffd", 4],
  ])("%s", async (_, changed, exitCode) => {
    expect(exitCodeOf(await verifyBundle([Buffer.from(changed, "utf8")]))).toBe(exitCode);
  });
  it("bytes that are not UTF-8", async () => {
    const broken = Buffer.from(whole);
    broken[whole.indexOf("ümlaut")] = 0xff;
    expect(exitCodeOf(await verifyBundle([broken]))).toBe(4);
  });
  it("every flipped bit of a small bundle", async () => {
    const writer = new BundleWriter();
    const one = good.slice(0, 1);
    const head = { seq: 0, hash: one[0]?.hash ?? "", timeMs: one[0]?.timeMs ?? 0 };
    const small = Buffer.from(
      writer.header({ ...header, to: 0, head }) + one.map((entry) => writer.entry(entry)).join("") + writer.end(),
    );
    expect((await verifyBundle([small])).integrity).toBe("ok");
    for (let bit = 0; bit < small.length * 8; bit++) {
      small[bit >> 3] = (small[bit >> 3] as number) ^ (1 << (bit & 7));
      const code = exitCodeOf(await verifyBundle([small]));
      if (code === 0) expect.fail(`bit ${bit} flipped and not found`);
      small[bit >> 3] = (small[bit >> 3] as number) ^ (1 << (bit & 7));
    }
  });
});
