/**
 * `npm run deps`: holds every import against the rules in `.dependency-cruiser.js`. A tool that cannot parse the sources reads
 * nothing and finds nothing wrong, so this also counts what was read: every source file there is, and plausibly many imports.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cruise } from "dependency-cruiser";
import extractTSConfig from "dependency-cruiser/config-utl/extract-ts-config";
import config from "../.dependency-cruiser.js";

const root = fileURLToPath(new URL("../", import.meta.url));
process.chdir(root);

const sources = readdirSync("packages").flatMap((name) =>
  readdirSync(join("packages", name, "src"), { recursive: true })
    .map((file) => join("packages", name, "src", String(file)))
    .filter((file) => file.endsWith(".ts")),
);
const tsConfig = extractTSConfig(config.options.tsConfig.fileName);
const { output } = await cruise(
  sources,
  { ...config.options, ruleSet: { forbidden: config.forbidden }, validate: true },
  {},
  { tsConfig },
);

const read = new Map(output.modules.map((module) => [module.source, module]));
const problems = output.summary.violations.map((found) => `${found.rule.name}: ${found.from} → ${found.to}`);
const unread = sources.filter((file) => !read.has(file));
if (unread.length > 0)
  problems.push(`${unread.length} of ${sources.length} files were not read: ${unread.slice(0, 5).join(", ")}`);
// Each file but the leaves imports another one of ours.
const imports = output.modules.reduce(
  (sum, module) => sum + module.dependencies.filter((to) => to.resolved.startsWith("packages/")).length,
  0,
);
if (imports < sources.length)
  problems.push(`only ${imports} imports were found in ${sources.length} files: the tool did not understand them`);

for (const problem of problems) console.error(problem);
console.log(`${sources.length} files, ${imports} imports between them, ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
