/** File targets in a process that is killed at every call that changes the filesystem; the next try must end it. */
import * as fs from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Ledger } from "../../src/ledger/index.js";
import type { ActOutcome, Effect } from "../../src/targets/index.js";
import type { ActOrder } from "../support/actProgram.js";
import { exerciseTarget, planCase, type ExerciseCase } from "../support/exercise-target.js";
import { createDatabase, type TestDatabase } from "../support/postgres.js";
import { startProgram } from "../support/processes.js";
import { fileWorld, testLedger, type FileWorld } from "../support/targets.js";

let database: TestDatabase;
let ledger: Ledger;
beforeAll(async () => {
  database = await createDatabase();
  ledger = await testLedger(database);
});
afterAll(() => ledger.close());

const program = new URL("../support/actProgram.ts", import.meta.url);

interface Step {
  readonly effects: readonly Effect[];
  readonly token: string;
}

async function actElsewhere(world: FileWorld, step: Step, more: Partial<ActOrder>): Promise<ActOutcome | "died"> {
  const order: ActOrder = { ...world.order, ...step, point: 0, ...more };
  const child = startProgram<{ outcome: ActOutcome }>(program, [JSON.stringify(order)]);
  const said = await child.next().catch(() => undefined);
  const { signal, output } = await child.ended;
  if (said === undefined && signal !== "SIGKILL") throw new Error(`the program failed: ${output}`);
  return said === undefined ? "died" : said.outcome;
}

async function dieAt(world: FileWorld, step: Step, point: number): Promise<"died" | "finished"> {
  const outcome = await actElsewhere(world, step, { point });
  if (outcome === "died") return outcome;
  expect(outcome).toEqual({ kind: "done" });
  return "finished";
}

const item = (
  name: string,
  path: string,
  start: string | undefined,
  fields: Record<string, unknown>,
): ExerciseCase<FileWorld> =>
  ({
    name,
    prepare: (world: FileWorld) => {
      if (start !== undefined) {
        fs.mkdirSync(join(world.root, path, ".."), { recursive: true });
        fs.writeFileSync(join(world.root, path), start, { mode: 0o640 });
      }
      return Promise.resolve();
    },
    item: { target: { kind: "file", workspace: "shop", path }, ...fields },
    drift: (world: FileWorld) => {
      fs.mkdirSync(join(world.root, path, ".."), { recursive: true });
      return Promise.resolve(fs.writeFileSync(join(world.root, path), "somebody else's"));
    },
  }) as unknown as ExerciseCase<FileWorld>;

exerciseTarget<FileWorld>("file, killed", {
  open: () => fileWorld(database, ledger),
  cases: [
    item("CREATE in a new folder", "new/notes.md", undefined, {
      operation: "CREATE",
      content: { text: "written in two halves" },
    }),
    item("UPDATE", "notes.md", "old", { operation: "UPDATE", content: { text: "written in two halves" } }),
    item("MOVE to a new folder", "notes.md", "moved", { operation: "MOVE", to: { path: "archive/notes.md" } }),
  ],
  refused: [],
  partial: true,
  dieAt,
});

const path = "notes.md";
const target = { kind: "file", workspace: "shop", path };

describe("file, in a process that has reached its limit", () => {
  it("is refused without effect when no more files can be opened, wherever that happens", async () => {
    const world = await fileWorld(database, ledger);
    fs.writeFileSync(join(world.root, path), "text");
    const { effects } = await planCase(world, { operation: "UPDATE", target, content: { text: "new" } });
    const before = await world.observe();
    const seen = new Set<string>();
    for (let more = 0; ; more += 3) {
      const outcome = await actElsewhere(world, { effects, token: "t" }, { openFilesMore: more });
      if (outcome === "died") throw new Error("it was not to die");
      seen.add(outcome.kind);
      if (outcome.kind === "done") break;
      expect(outcome).toMatchObject({ problem: { code: "target_unavailable" } });
      if (outcome.kind === "refused") expect(await world.observe()).toBe(before);
    }
    expect(fs.readFileSync(join(world.root, path), "utf8")).toBe("new");
    expect(fs.readdirSync(world.root)).toEqual([path]);
    expect([...seen]).toContain("refused");
    await world.close();
  });
});

it("what a step that died left is removed without doing the step", async () => {
  const world = await fileWorld(database, ledger);
  fs.writeFileSync(join(world.root, path), "text");
  const { effects } = await planCase(world, { operation: "UPDATE", target, content: { text: "new" } });
  const before = await world.observe();
  // The second call writes the temporary file.
  expect(await dieAt(world, { effects, token: "dies" }, 2)).toBe("died");
  expect(fs.readdirSync(world.root)).toHaveLength(2);
  if (world.kind.atomic) throw new Error("files are compensating");
  const { kind } = world;
  await kind.tidy({ effects, token: "another" }, world.acting);
  expect(fs.readdirSync(world.root)).toHaveLength(2);
  await kind.tidy({ effects, token: "dies" }, world.acting);
  expect(await world.observe()).toBe(before);
  await world.close();
});
