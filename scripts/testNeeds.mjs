/**
 * Which tests need what, from what they import: nobody has to sort a test by hand, and none can be in the wrong drawer.
 *
 *   pure       nothing but Node: seconds for all of them
 *   database   a PostgreSQL of their own (support/postgres.ts)
 *   processes  programs that are started, and mostly killed
 *   browser    Chromium
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));
const specifier = /(?:from|import|import\()\s*"(\.{1,2}\/[^"]+)"/g;

/** Test support that a file reaches, over any number of imports. What it imports of the product does not count. */
function supportOf(file, seen = new Set()) {
  for (const [, path = ""] of readFileSync(join(root, file), "utf8").matchAll(specifier)) {
    const target = normalize(join(dirname(file), path)).replace(/\.js$/, ".ts");
    if (!/^packages\/[^/]+\/test\//.test(target) || seen.has(target) || !existsSync(join(root, target))) continue;
    seen.add(target);
    supportOf(target, seen);
  }
  return seen;
}

function needOf(file) {
  const support = [...supportOf(file)].map((path) => path.slice(path.lastIndexOf("/") + 1));
  if (support.includes("chromium.ts")) return "browser";
  if (support.includes("processes.ts") || readFileSync(join(root, file), "utf8").includes('"node:child_process"'))
    return "processes";
  return support.includes("postgres.ts") ? "database" : "pure";
}

function testFiles() {
  const below = readdirSync(join(root, "packages"), { recursive: true, encoding: "utf8" });
  const isTest = /^[^/]+\/test\/(?!.*\/node_modules\/).*\.test\.ts$/;
  return below
    .filter((path) => isTest.test(path))
    .map((path) => `packages/${path}`)
    .sort();
}

export const needs = ["pure", "database", "processes", "browser"];

/** Paths of the test files, from the root, by their need. */
export function testFilesByNeed() {
  const files = testFiles();
  return Object.fromEntries(needs.map((need) => [need, files.filter((file) => needOf(file) === need)]));
}
