/** File targets in a process that is killed at every call that changes the filesystem; the next try must end it. */
import * as fs from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll } from "vitest";
import type { Ledger } from "../src/ledger/index.js";
import type { ActOutcome, Effect } from "../src/targets/index.js";
import type { ActOrder } from "./support/actProgram.js";
import { exerciseTarget, type ExerciseCase } from "./support/exercise-target.js";
import { createDatabase, type TestDatabase } from "./support/postgres.js";
import { startProgram } from "./support/processes.js";
import { fileWorld, testLedger, type FileWorld } from "./support/targets.js";

let database: TestDatabase;
let ledger: Ledger;
beforeAll(async () => {
  database = await createDatabase();
  ledger = await testLedger(database);
});
afterAll(() => ledger.close());

const program = new URL("./support/actProgram.ts", import.meta.url);

async function dieAt(world: FileWorld, step: { readonly effects: readonly Effect[]; readonly token: string }, point: number): Promise<"died" | "finished"> {
  const order: ActOrder = { ...world.order, ...step, point };
  const child = startProgram<{ outcome: ActOutcome }>(program, [JSON.stringify(order)]);
  const said = await child.next().catch(() => undefined);
  const { signal, output } = await child.ended;
  if (said === undefined && signal !== "SIGKILL") throw new Error(`the program failed: ${output}`);
  if (said !== undefined && said.outcome.kind !== "done") throw new Error(JSON.stringify(said.outcome));
  return said === undefined ? "died" : "finished";
}

const item = (name: string, path: string, start: string | undefined, fields: Record<string, unknown>): ExerciseCase<FileWorld> =>
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
    item("CREATE in a new folder", "new/notes.md", undefined, { operation: "CREATE", content: { text: "written in two halves" } }),
    item("UPDATE", "notes.md", "old", { operation: "UPDATE", content: { text: "written in two halves" } }),
    item("MOVE to a new folder", "notes.md", "moved", { operation: "MOVE", to: { path: "archive/notes.md" } }),
  ],
  refused: [],
  partial: true,
  dieAt,
});
