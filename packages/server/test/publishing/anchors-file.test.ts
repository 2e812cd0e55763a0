/** The file anchor: what every anchor promises, and what is its own. */
import { execFileSync } from "node:child_process";
import { appendFileSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tilePath } from "@countersign/proof";
import { describe, expect, it } from "vitest";
import { fileAnchor } from "../../src/publishing/anchors/file.js";
import { readRecords } from "../../src/publishing/anchors/layout.js";
import { AnchorContradiction, type Anchor } from "../../src/publishing/anchors/index.js";
import { MemoryLog, sizeOfNote } from "../support/anchors.js";
import { exerciseAnchor, type AnchorPlace } from "../support/exercise-anchor.js";
import { temporaryDirectory } from "../support/postgres.js";
import { startProgram } from "../support/processes.js";

const clock = { nowMs: () => Date.now() };

function makePlace(): AnchorPlace {
  const directory = join(temporaryDirectory(), "anchor");
  const away = `${directory}.away`;
  return {
    open: () => fileAnchor({ name: "disk", directory, clock }),
    breakIt: async () => renameSync(directory, away),
    repair: async () => renameSync(away, directory),
    wipe: async () => {
      for (const name of readdirSync(directory)) rmSync(join(directory, name), { recursive: true });
    },
    holds: async (origin) =>
      sizeOfNote(readFileSync(join(directory, encodeURIComponent(origin), "checkpoint"), "utf8")),
  };
}

exerciseAnchor("file", () => Promise.resolve(makePlace()));

interface Disk {
  readonly directory: string;
  readonly log: MemoryLog;
  /** Of the log's folder. */
  readonly at: (path: string) => string;
  readonly open: (segmentBytesMax?: number) => Anchor;
}

function disk(): Disk {
  const directory = join(temporaryDirectory(), "anchor");
  const log = new MemoryLog();
  return {
    directory,
    log,
    at: (path) => join(directory, encodeURIComponent(log.origin), path),
    open: (segmentBytesMax) =>
      fileAnchor({ name: "disk", directory, clock, ...(segmentBytesMax === undefined ? {} : { segmentBytesMax }) }),
  };
}

async function refusal(work: Promise<unknown>): Promise<string> {
  const error = await work.catch((failure: unknown) => failure);
  return error instanceof AnchorContradiction ? error.how : String(error);
}

describe("the layout", () => {
  it("is what docs/anchors.md says", async () => {
    const { log, at, open } = disk();
    for (const [index, size] of [17, 300].entries())
      await open().submit(await log.submission(size, index === 0 ? 0 : 17));
    const text = readFileSync(at("checkpoints"));
    const notes = readRecords(text).records;
    const [first = ""] = text.toString("utf8").split("\n");
    expect(first).toMatch(/^[0-9]+ [0-9]{13}$/);
    expect(notes.map((note) => sizeOfNote(note.text))).toEqual([17, 300]);
    expect(Buffer.byteLength(notes[0]?.text ?? "")).toBe(Number(first.split(" ")[0]));
    expect(notes[1]?.text).toBe(readFileSync(at("checkpoint"), "utf8"));
    expect(readFileSync(at("tile/0/000"))).toEqual(Buffer.concat(log.leaves.slice(0, 256)));
    expect(readFileSync(at("tile/0/001.p/44"))).toEqual(Buffer.concat(log.leaves.slice(256, 300)));
    // The narrower partial tiles are gone, and nothing half-written is left.
    expect(readdirSync(at("tile/0"), { recursive: true }).sort()).toEqual(["000", "000.p", "001.p", "001.p/44"]);
  });

  it("begins another file of notes when one is full", async () => {
    const { log, at, open } = disk();
    for (let size = 1; size <= 5; size += 1) await open(300).submit(await log.submission(size, size - 1));
    const sizes = ["checkpoints", "checkpoints.1", "checkpoints.2"].map((name) =>
      readRecords(readFileSync(at(name))).records.map((note) => sizeOfNote(note.text)),
    );
    expect(sizes).toEqual([[1, 2], [3, 4], [5]]);
  });
});

describe("an interrupted writer", () => {
  const cuts = [
    "",
    "4",
    "412",
    "412 17000000",
    "412 1700000000000\n",
    "412 1700000000000\nacme/",
    `412 1700000000000\n${"\0".repeat(412)}`,
    "\0\0\0",
  ];
  it.each(cuts.map((cut) => ({ cut })))("leaves $cut, and the next one goes on", async ({ cut }) => {
    const { log, at, open } = disk();
    await open().submit(await log.submission(5));
    appendFileSync(at("checkpoints"), cut);
    for (const [anchored, size] of [
      [5, 9],
      [9, 300],
    ] as const)
      expect((await open().submit(await log.submission(size, anchored))).size).toBe(size);
    expect(readRecords(readFileSync(at("checkpoints"))).records).toHaveLength(cut === "" ? 3 : 1);
  });

  it("may be killed before any change it makes", { timeout: 120_000 }, async () => {
    let killed = 0;
    // Several at once: starting a process takes longer than what it does.
    for (let n = 1, ended = false; !ended; n += 4) {
      const signals = await Promise.all([n, n + 1, n + 2, n + 3].map(killedBefore));
      killed += signals.filter((signal) => signal === "SIGKILL").length;
      ended = signals.includes(null);
    }
    // Two submissions with three tiles: each written, synced, linked, its partial name removed, and what is around them.
    expect(killed).toBeGreaterThan(25);
  });
});

/** How it ended. Whatever it confirmed is there, and the true log goes on from what is there. */
async function killedBefore(n: number): Promise<NodeJS.Signals | null> {
  const { directory, log, at, open } = disk();
  const program = new URL("../support/anchorProgram.ts", import.meta.url);
  const child = startProgram<number | "done">(program, ["file", directory, "200,300", String(n)]);
  const { signal, output } = await child.ended;
  expect(output).toBe("");
  const confirmed = await confirmedBy(child);
  expect(Math.max(0, ...readSizes(at("checkpoints")))).toBeGreaterThanOrEqual(confirmed);
  expect((await open().submit(await log.submission(600, confirmed))).size).toBe(600);
  for (const [index, width] of [256, 256, 88].entries())
    expect(readFileSync(at(tilePath({ level: 0, index, width })))).toEqual(
      Buffer.concat(log.leaves.slice(index * 256, index * 256 + width)),
    );
  return signal;
}

async function confirmedBy(child: { next(): Promise<number | "done"> }): Promise<number> {
  let confirmed = 0;
  for (;;) {
    const message = await child.next().catch(() => "done" as const);
    if (message === "done") return confirmed;
    confirmed = message;
  }
}

function readSizes(file: string): number[] {
  try {
    return readRecords(readFileSync(file)).records.map((note) => sizeOfNote(note.text));
  } catch {
    return []; // killed before there was one
  }
}

describe("what was altered at the anchor", () => {
  const alterations: readonly (readonly [string, (at: Disk["at"]) => void])[] = [
    ["a leaf in a full tile", (at) => flip(at("tile/0/000"), 4_000)],
    ["a leaf in the partial tile", (at) => flip(at("tile/0/002.p/88"), 5)],
    ["a tile cut short", (at) => writeFileSync(at("tile/0/001"), readFileSync(at("tile/0/001")).subarray(0, 8_000))],
    ["a tile that is missing", (at) => rmSync(at("tile/0/001"))],
    ["the root in the newest note", (at) => editNewest(at("checkpoints"))],
    ["all notes", (at) => rmSync(at("checkpoints"))],
    ["the notes cut back to an older one", (at) => cutBack(at("checkpoints"))],
    ["a note of another log", (at) => foreign(at("checkpoints"))],
  ];
  it.each(alterations)("is told after a restart: %s", async (_what, alter) => {
    const { log, at, open } = disk();
    await open().submit(await log.submission(300));
    await open().submit(await log.submission(600, 300));
    alter(at);
    expect(await refusal(open().submit(await log.submission(700, 600)))).toBe("rewritten");
  });

  it("is told without a restart when notes vanish", async () => {
    const { log, at, open } = disk();
    const anchor = open();
    await anchor.submit(await log.submission(300));
    await anchor.submit(await log.submission(600, 300));
    cutBack(at("checkpoints"));
    expect(await refusal(anchor.submit(await log.submission(700, 600)))).toBe("rewritten");
  });
});

function flip(file: string, at: number): void {
  const bytes = readFileSync(file);
  bytes.writeUInt8(bytes.readUInt8(at) ^ 1, at);
  writeFileSync(file, bytes);
}

function editNewest(file: string): void {
  const text = readFileSync(file, "utf8");
  const at = text.lastIndexOf("\n600\n") + 6;
  writeFileSync(file, `${text.slice(0, at)}${text.charAt(at) === "A" ? "B" : "A"}${text.slice(at + 1)}`);
}

function cutBack(file: string): void {
  const bytes = readFileSync(file);
  const [first] = readRecords(bytes).records;
  const length = Number(bytes.toString("utf8").split(" ", 1)[0]) + bytes.indexOf("\n") + 1;
  expect(first).toBeDefined();
  writeFileSync(file, bytes.subarray(0, length));
}

function foreign(file: string): void {
  const text = readFileSync(file, "utf8");
  writeFileSync(file, text.replaceAll("acme/", "acne/"));
}

describe("a folder that only lets one append", () => {
  const canLock = process.platform === "linux" && tryChattr();
  it.skipIf(!canLock)("holds every checkpoint all the same", async () => {
    const { log, at, open, directory } = disk();
    await open().submit(await log.submission(10));
    execFileSync("chattr", ["-R", "+a", directory]);
    try {
      for (const [anchored, size] of [
        [10, 20],
        [20, 600],
      ] as const)
        expect((await open().submit(await log.submission(size, anchored))).size).toBe(size);
      expect(readSizes(at("checkpoints"))).toEqual([10, 20, 600]);
    } finally {
      execFileSync("chattr", ["-R", "-a", directory]);
    }
  });
});

function tryChattr(): boolean {
  const file = join(temporaryDirectory(), "probe");
  writeFileSync(file, "");
  try {
    execFileSync("chattr", ["+a", file], { stdio: "ignore" });
    execFileSync("chattr", ["-a", file], { stdio: "ignore" });
    return true;
  } catch {
    console.warn("append-only files are not tested: `chattr +a` is not to be had here, or not ours to set");
    return false;
  }
}
