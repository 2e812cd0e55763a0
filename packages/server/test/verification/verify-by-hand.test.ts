/** A ledger of a running system, exported, and read by the second verifier and by ours: they agree on what is whole. */
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exitCodeOf, verifyBundle } from "@countersign/proof";
import { temporaryDirectory } from "../support/postgres.js";
import { createWorld, file, must, resource, type World } from "../support/world.js";

const script = fileURLToPath(new URL("../../../../docs/verify-by-hand/countersign_verify.py", import.meta.url));
const python = spawnSync("python3", ["-c", "import sys; print(sys.version_info >= (3, 8))"], { encoding: "utf8" });
const absent = python.stdout?.trim() === "True" ? undefined : "python3 (3.8 or later) is not on this machine";
if (absent !== undefined) console.warn(`exports are not read by the second verifier: ${absent}`);

let world: World;
let path: string;
beforeAll(async () => {
  world = await createWorld();
  writeFileSync(join(world.root, "a.txt"), "eins\n");
  const items = [
    {
      operation: "CREATE" as const,
      target: resource("shop/ünïcode"),
      after: { "naïve \u202e": [1, 2.5, null, true, "\u0007"] },
    },
    { operation: "UPDATE" as const, target: file("a.txt"), content: { text: "zwei\n" } },
  ];
  const { changeSet } = await world.approved(world.builder, { title: "Räume und Zeichen \u001b[31m", items });
  must(await world.changeSets.apply(await world.caller(world.builder), { id: changeSet.id }, world.request()));
  must(
    await world.changeSets.rollBack(
      await world.caller(world.people.alice.id),
      { id: changeSet.id, cascade: false },
      world.request(),
    ),
  );
  path = join(temporaryDirectory(), "bundle.jsonl");
  writeFileSync(path, await collect());
});
afterAll(() => world.close());

async function collect(): Promise<string> {
  let text = "";
  for await (const piece of world.ledger.exportBundle(world.tenant, { deployment: "test", bodies: true }))
    text += piece;
  return text;
}

const verify = (bundle: string): number | null => spawnSync("python3", [script, bundle], { encoding: "utf8" }).status;
const ours = async (text: string): Promise<number> => exitCodeOf(await verifyBundle([Buffer.from(text)], {}));

describe.skipIf(absent !== undefined)("an export of a running system", () => {
  it("verifies in both, with its votes and bodies", async () => {
    const text = readFileSync(path, "utf8");
    expect(text).toContain("change_set.vote_cast");
    expect(await ours(text)).toBe(0);
    expect(verify(path)).toBe(0);
  });

  const lines = (): string[] => readFileSync(path, "utf8").trimEnd().split("\n");
  const check = (name: string, change: (all: string[]) => string[]): void =>
    it(`${name}: both say that it is not`, async () => {
      const text = `${change(lines()).join("\n")}\n`;
      const bundle = join(temporaryDirectory(), "changed.jsonl");
      writeFileSync(bundle, text);
      const [theirs, mine] = [verify(bundle), await ours(text)];
      expect(theirs).not.toBe(0);
      expect(mine).toBe(theirs);
    });
  check("a decision turned round", (all) =>
    all.map((line) => (line.includes("vote_cast") ? line.replace("APPROVED", "REJECTED") : line)),
  );
  check("an entry left out", (all) => all.filter((_, n) => n !== 4));
  check("two entries swapped", (all) => [...all.slice(0, 4), all[5] ?? "", all[4] ?? "", ...all.slice(6)]);
  check("an entry twice", (all) => [...all.slice(0, 4), all[4] ?? "", ...all.slice(4)]);
});
