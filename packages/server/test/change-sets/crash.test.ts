import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openChangeSets } from "../../src/change-sets/index.js";
import { createDatabase, type TestDatabase } from "../support/postgres.js";
import type { ChangeSetMessage } from "../support/changeSetProgram.js";
import { startProgram } from "../support/processes.js";
import { createWorld, file, must, resource, type World } from "../support/world.js";

let database: TestDatabase;
let world: World;
beforeAll(async () => {
  database = await createDatabase();
  world = await createWorld({ storage: database.storage });
});
afterAll(() => world.close());

/** Runs the verb in a process that dies at the point. Undefined: it died; else what it said at its end. */
async function runAndDie(
  verb: "apply" | "rollback",
  by: string,
  id: string,
  point: number,
  removed = "",
): Promise<ChangeSetMessage | undefined> {
  const program = startProgram<ChangeSetMessage>(new URL("../support/changeSetProgram.ts", import.meta.url), [
    database.ownerUrl,
    database.appUrl,
    world.dataDirectory,
    world.tenant,
    by,
    id,
    verb,
    String(point),
    removed,
  ]);
  const said = program.next().catch(() => undefined);
  const { signal, output } = await program.ended;
  const message = await said;
  if (message === undefined && signal !== "SIGKILL") throw new Error(`the program ended without dying: ${output}`);
  return message;
}

const path = (name: string): string => join(world.root, name);
const read = (name: string): string => readFileSync(path(name), "utf8");

interface Case {
  readonly id: string;
  readonly folder: string;
}

async function prepare(n: number | string): Promise<Case> {
  const folder = `crash-${n}`;
  mkdirSync(path(folder));
  writeFileSync(path(`${folder}/a.txt`), "before\n", { mode: 0o600 });
  const { changeSet } = await world.approved(world.builder, {
    title: folder,
    items: [
      { operation: "CREATE", target: resource(`crash/${n}`), after: { v: 1 } },
      { operation: "UPDATE", target: file(`${folder}/a.txt`), content: { text: "after\n" } },
      { operation: "RENAME", target: file(`${folder}/a.txt`), to: { path: `${folder}/b.txt` } },
    ],
  });
  return { id: changeSet.id, folder };
}

/** What a newly started process does, and where the change-set is then. */
async function recover(id: string): Promise<string> {
  const fresh = openChangeSets(world.desk);
  await fresh.recover(world.tenant);
  return must(await fresh.get(await world.caller(world.builder), { id })).status;
}

const after = ({ folder }: Case): void => {
  expect(read(`${folder}/b.txt`)).toBe("after\n");
  expect(() => read(`${folder}/a.txt`)).toThrow();
};
const before = ({ folder }: Case): void => {
  expect(read(`${folder}/a.txt`)).toBe("before\n");
  expect(() => read(`${folder}/b.txt`)).toThrow();
};

describe("killed at every point of an apply", () => {
  it("each ends applied once, or not begun; never half", { timeout: 180_000 }, async () => {
    const seen: string[] = [];
    for (let point = 0; ; point += 1) {
      const one = await prepare(point);
      const said = await runAndDie("apply", world.builder, one.id, point);
      const status = await recover(one.id);
      seen.push(status);
      if (status === "APPLIED") after(one);
      else {
        expect(status).toBe("APPROVED");
        before(one);
        must(await world.changeSets.apply(await world.caller(world.builder), { id: one.id }, world.request()));
        after(one);
      }
      if (said !== undefined) break;
    }
    expect(seen.length).toBeGreaterThan(10);
    expect(new Set(seen)).toEqual(new Set(["APPROVED", "APPLIED"]));
    expect((await world.ledger.checkTenant(world.tenant)).findings).toEqual([]);
  });
});

describe("killed at every point of a rollback", () => {
  it("each ends rolled back once to the exact bytes, or not begun", { timeout: 180_000 }, async () => {
    const seen: string[] = [];
    for (let point = 0; ; point += 1) {
      const one = await prepare(`undo-${point}`);
      must(await world.changeSets.apply(await world.caller(world.builder), { id: one.id }, world.request()));
      const said = await runAndDie("rollback", world.people.alice.id, one.id, point);
      const status = await recover(one.id);
      seen.push(status);
      if (status === "ROLLED_BACK") before(one);
      else {
        expect(status).toBe("APPLIED");
        after(one);
        must(
          await world.changeSets.rollBack(
            await world.caller(world.people.alice.id),
            { id: one.id, cascade: false },
            world.request(),
          ),
        );
        before(one);
      }
      if (said !== undefined) break;
    }
    expect(seen.length).toBeGreaterThan(10);
    expect(new Set(seen)).toEqual(new Set(["APPLIED", "ROLLED_BACK"]));
    expect((await world.ledger.checkTenant(world.tenant)).findings).toEqual([]);
  });
});

describe("killed at every point of an apply whose second file was taken away underway", () => {
  it(
    "the first file is what it was, or everything is applied; what is neither is named",
    { timeout: 180_000 },
    async () => {
      const seen: string[] = [];
      for (let point = 0; ; point += 1) {
        const folder = `failing-${point}`;
        mkdirSync(path(folder));
        writeFileSync(path(`${folder}/a.txt`), "before\n");
        writeFileSync(path(`${folder}/b.txt`), "before\n");
        const items = ["a", "b"].map((name) => ({
          operation: "UPDATE" as const,
          target: file(`${folder}/${name}.txt`),
          content: { text: "after\n" },
        }));
        const { changeSet } = await world.approved(world.builder, { title: folder, items });
        const said = await runAndDie("apply", world.builder, changeSet.id, point, path(`${folder}/b.txt`));
        const status = await recover(changeSet.id);
        seen.push(status);
        expect(read(`${folder}/a.txt`)).toBe(status === "APPLIED" ? "after\n" : "before\n");
        if (status === "PARTIALLY_APPLIED") {
          const shown = must(await world.changeSets.get(await world.caller(world.builder), { id: changeSet.id }));
          expect(shown.statusReason).toBe("diverged");
          expect(shown.items.map((item) => item.result?.status)).toEqual(["COMPENSATED", "DIVERGED"]);
        }
        if (said !== undefined) break;
      }
      expect(new Set(seen)).toEqual(new Set(["APPROVED", "APPLIED", "PARTIALLY_APPLIED"]));
      expect((await world.ledger.checkTenant(world.tenant)).findings).toEqual([]);
    },
  );
});
