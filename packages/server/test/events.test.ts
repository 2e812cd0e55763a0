/** The catalogue of events against what is written and read elsewhere: the sources, the verifier's own list, entries of every age. */
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { actions, actionsMarked, eventSchemas, isAction, permissionNames } from "@countersign/contract";
import { parseEntryContent, verifiedActions } from "@countersign/proof";
import { describe, expect, it, test } from "vitest";
import { problemsOf } from "./support/eventCatalogue.js";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const read = (path: string): string => readFileSync(root + path, "utf8");
const sources = (folder: string): string[] =>
  readdirSync(root + folder, { recursive: true, encoding: "utf8" })
    .filter((name) => /\.(ts|sql)$/.test(name) && !name.endsWith(".generated.ts"))
    .map((name) => `${folder}/${name}`);

/** Words that look like actions: a noun of the catalogue, a point, a word; as a literal or in SQL. */
const nouns = [...new Set(actions.map((action) => action.split(".")[0]))].join("|");
const literal = new RegExp(`["'](?:${nouns})\\.[a-z_]*[a-z]["']`, "g");
/** What an operator is told in the log, and permissions: neither is an entry. */
const others: ReadonlySet<string> = new Set([...permissionNames, "ledger.hash_differs", "refusal.not_recorded"]);

describe("literals in the sources", () => {
  const found = ["server/src", "server/migrations", "proof/src", "sdk/src", "contract/src/operations"].flatMap(
    (folder) =>
      sources(`packages/${folder}`).flatMap((file) =>
        (read(file).match(literal) ?? []).map((quoted) => ({ file, action: quoted.slice(1, -1) })),
      ),
  );
  const written = found.filter(({ file }) => file.startsWith("packages/server/src"));

  it("name actions of the catalogue", () =>
    expect(found.filter(({ action }) => !isAction(action) && !others.has(action))).toEqual([]));
  it("name every action: whoever looks for one in the server's sources finds its writer", () =>
    expect(actions.filter((action) => !written.some((one) => one.action === action))).toEqual([]));
  it("are never glued or cut apart", () => {
    const glued = new RegExp(`(["'\`](?:${nouns})\\.(?:["'\`]|\\$\\{))|action\\.(?:startsWith|replace|split|slice)\\(`);
    // The verifier divides its own constants, to look at first bytes.
    const own = new Set(["packages/proof/src/summary.ts", "packages/proof/src/votes.ts"]);
    const all = [
      ...sources("packages/server/src"),
      ...sources("packages/proof/src"),
      ...sources("packages/contract/src"),
    ];
    expect(all.filter((file) => !own.has(file) && glued.test(read(file)))).toEqual([]);
  });
});

test("what verifiers read is what the catalogue marks, and docs/ledger-format.md tells", () => {
  expect([...verifiedActions].sort()).toEqual([...actionsMarked("verified")].sort());
  const format = read("docs/ledger-format.md");
  const named = [...format.matchAll(/^\| `([a-z_]+\.[a-z_]+)` \|/gm)].map(([, action]) => action);
  expect(named.length).toBeGreaterThan(3);
  expect(named.filter((action) => !verifiedActions.has(action ?? ""))).toEqual([]);
});

test("entries in the repository, of every age, are as the catalogue says", () => {
  const folder = "packages/proof/test/vectors";
  const lines = ["bundle-v1/bundle.jsonl", "ledger-format/bundle.jsonl"].flatMap((name) =>
    read(`${folder}/${name}`)
      .split("\n")
      .filter((line) => line !== ""),
  );
  const contents = lines
    .map((line) => (JSON.parse(line) as { content?: string }).content)
    .filter((content) => typeof content === "string");
  expect(contents.length).toBeGreaterThanOrEqual(4);
  const problems = contents.flatMap((content) => {
    const parsed = parseEntryContent(content);
    return parsed.ok ? problemsOf(parsed.content) : [parsed.problem];
  });
  expect(problems).toEqual([]);
});

test("the published schemas have every action, and are what is shipped", () => {
  const document = eventSchemas() as { $id: string; oneOf: { $ref: string }[]; $defs: Record<string, unknown> };
  expect(document.oneOf.map(({ $ref }) => $ref.replace("#/$defs/", ""))).toEqual(actions);
  expect(Object.keys(document.$defs)).toEqual(expect.arrayContaining([...actions]));
  expect(document.$id).toMatch(/\/v1\//);
  expect(document).toEqual(JSON.parse(read("packages/contract/schemas/events.v1.json")));
});
