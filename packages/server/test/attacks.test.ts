/**
 * The attack corpus on a real PostgreSQL: each of the 25 attacks gets its verdict, what is done properly raises no alarm, and the database
 * that nobody touched verifies before and after. `npm run attacks` runs this file and prints the table.
 */
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { afterAll, describe, expect, it } from "vitest";
import { attacks, type Attack, type Expected } from "./attacks/cases.js";
import { goodCases, type GoodCase } from "./attacks/goodCases.js";
import { setStage, type Scene, type Stage, type Verdict } from "./attacks/stage.js";
import { Tamper } from "./attacks/tamper.js";

/** One line of the table. */
interface Line {
  readonly case: string;
  readonly expected: string;
  readonly verdict: string;
  readonly as: boolean;
}
const lines: Line[] = [];
let reached = "";

// Made while the tests are collected: the table of attacks names entries of it. No limit of the runner holds there, so it has its own.
const stage: Stage = await inTime(setStage((step) => (reached = step)));
afterAll(async () => {
  await stage.close();
  const file = process.env["COUNTERSIGN_ATTACKS_TABLE"];
  if (file !== undefined) writeFileSync(file, JSON.stringify(lines));
});

async function inTime(setting: Promise<Stage>): Promise<Stage> {
  const seconds = 180;
  const late = AbortSignal.timeout(seconds * 1_000);
  return Promise.race([
    setting,
    once(late, "abort").then(() => Promise.reject(new Error(`no stage within ${seconds} s; it hangs at: ${reached}`))),
  ]);
}

async function onCopy(fromBackup: boolean | undefined, work: (scene: Scene) => Promise<Verdict>): Promise<Verdict> {
  const scene = await (fromBackup === true ? stage.copyOfBackup() : stage.copy());
  try {
    return await work(scene);
  } finally {
    await scene.drop();
  }
}

function inWords(verdict: Verdict): string {
  const names = new Set([...verdict.findings, ...verdict.notes].map((one) => one.class));
  return `${[...names].slice(0, 4).join(", ") || verdict.integrity} (exit ${verdict.exit})`;
}

const place = ({ class: name, ...members }: Expected): string =>
  [name, ...Object.entries(members).map(([key, value]) => `${key}=${JSON.stringify(value)}`)].join(" ");

/** The members asked for, in the one finding or note that shows it best. */
function found(verdict: Verdict, expected: Expected): object | undefined {
  const all: object[] = [...verdict.findings, ...verdict.notes];
  return all.find((one) =>
    Object.entries(expected).every(([key, value]) => JSON.stringify(Reflect.get(one, key)) === JSON.stringify(value)),
  );
}

async function attacked(one: Attack): Promise<void> {
  const verdict = await onCopy(one.fromBackup, async (scene) => {
    await one.attack(scene, new Tamper(stage));
    return scene.verify(one.verify?.(scene, stage));
  });
  const shown = found(verdict, one.expected);
  const as = shown !== undefined && verdict.exit === one.exit;
  lines.push({
    case: `${one.number} ${one.done}`,
    expected: `${place(one.expected)} (exit ${one.exit})`,
    verdict: as ? `${place(one.expected)} (exit ${verdict.exit})` : inWords(verdict),
    as,
  });
  expect([...verdict.findings, ...verdict.notes]).toContainEqual(expect.objectContaining({ ...one.expected }));
  expect(verdict.exit, JSON.stringify(verdict.findings.slice(0, 3))).toBe(one.exit);
}

async function harmless(one: GoodCase): Promise<void> {
  const verdict = await onCopy(one.fromBackup, async (scene) => (await one.act(scene, stage)) ?? scene.verify());
  const noted = one.note === undefined || verdict.notes.some((note) => note.class === one.note);
  const as = verdict.exit === 0 && noted;
  const expected = `ok${one.note === undefined ? "" : `, note ${one.note}`} (exit 0)`;
  lines.push({ case: `– ${one.done}`, expected, verdict: as ? expected : inWords(verdict), as });
  expect(verdict.findings).toEqual([]);
  expect([verdict.exit, verdict.completeness.status === "not_shown"]).toEqual([0, false]);
  if (one.note !== undefined) expect(verdict.notes).toContainEqual(expect.objectContaining({ class: one.note }));
}

const table = attacks(stage);
describe("attacks", () => {
  it("the untouched database verifies before", () => harmless(goodCases[0] as GoodCase));
  it.each(table)("$number $done", attacked);
  it("every number from 1 to 25 was tried", () => {
    expect(new Set(table.map(({ number }) => number))).toEqual(new Set(Array.from({ length: 25 }, (_, n) => n + 1)));
  });
});

describe("what is done properly", () => {
  it.each(goodCases)("$done", harmless);
});
