/**
 * `npm run docs:check`: links in the documents lead somewhere, commands they show exist, and nothing that is published names a
 * path of somebody's machine or the address of a package registry.
 */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { Run } from "../packages/server/dist/cli/define.js";
import { buildProgram } from "../packages/server/dist/cli/program.js";
import { processTerminal } from "../packages/server/dist/cli/terminal.js";

const root = fileURLToPath(new URL("../", import.meta.url));
process.chdir(root);
const problems = [];
const tracked = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], { encoding: "utf8" })
  .split("\n")
  .filter((file) => file !== "" && existsSync(file) && !file.includes("/vectors/"));
const documents = tracked.filter((file) => file.endsWith(".md"));

/** GitHub's anchors of a document's headings. */
function anchors(text) {
  const withoutFences = text.replace(/^```[\s\S]*?^```/gm, "");
  return new Set([...withoutFences.matchAll(/^#+\s+(.+)$/gm)].map((match) => slug(match[1])));
}

function slug(heading) {
  return heading
    .trim()
    .toLowerCase()
    .replace(/`/g, "")
    .replace(/[^\p{L}\p{N}\s_-]/gu, "")
    .replace(/\s/g, "-");
}

function checkLinks(file, text) {
  const prose = text.replace(/^```[\s\S]*?^```/gm, "").replace(/`[^`\n]*`/g, "");
  const links = [...prose.matchAll(/\]\(([^)\s]+)\)/g), ...prose.matchAll(/(?:src|srcset|href)="([^"]+)"/g)].map(
    (match) => match[1],
  );
  for (const link of links) {
    if (/^(https?:|mailto:)/.test(link)) continue;
    const [path = "", anchor] = link.split("#");
    const target = path === "" ? file : normalize(join(dirname(file), decodeURI(path)));
    if (!existsSync(target)) problems.push(`${file}: the link \`${link}\` leads nowhere`);
    else if (anchor !== undefined && target.endsWith(".md") && !anchors(readFileSync(target, "utf8")).has(anchor))
      problems.push(`${file}: there is no heading \`#${anchor}\` in ${target}`);
  }
}

const scripts = JSON.parse(readFileSync("package.json", "utf8")).scripts;
const program = buildProgram(new Run(processTerminal()));

/** Later words may be arguments, as in `countersign resource show shop/checkout`: groups want a command, commands take anything. */
function isCommand(words) {
  let at = program;
  for (const word of words) {
    if (at.commands.length === 0) return true;
    at = at.commands.find((command) => command.name() === word || command.aliases().includes(word));
    if (at === undefined) return false;
  }
  return at.commands.length === 0;
}

function checkCommands(file, text) {
  const fences = [...text.matchAll(/^```(?:sh|bash|console|shell)\n([\s\S]*?)^```/gm)].map((match) => match[1]);
  for (const line of fences.flatMap((fence) => fence.replaceAll("\\\n", " ").split("\n"))) {
    const command = line.replace(/^\$ /, "").replace(/#.*$/, "").trim();
    const run = /(?:^|&& )npm run ([\w:-]+)/.exec(command)?.[1];
    if (run !== undefined && scripts[run] === undefined)
      problems.push(`${file}: \`npm run ${run}\` is no script of package.json`);
    const ours = /(?:^|[;&|] |npx )countersign ((?:[a-z][a-z-]*\s*)+)/.exec(command)?.[1];
    if (ours !== undefined && !isCommand(ours.trim().split(/\s+/)))
      problems.push(`${file}: \`countersign ${ours.trim()}\` is no command`);
  }
}

/** Paths of one machine, and hosts packages come from: a checkout works anywhere. Ada is the person of our examples. */
const machine = [
  /\/home\/(?!ada\/)[a-z]+\//,
  /\/root\//,
  /\/Users\/(?!ada\/)[a-z]+\//,
  /(?<![\w.])\/work\//,
  /\/tmp\/cs\b/,
];
const registry = /https?:\/\/(registry\.[\w.-]+|[\w.-]*(?:artifactory|nexus|verdaccio|npm-proxy)[\w.-]*)/i;
const binary = /\.(gz|png|xz|wasm|pdf)$/;

function checkPublished(file) {
  if (binary.test(file) || file === "scripts/checkDocs.mjs") return;
  const text = readFileSync(file, "utf8");
  for (const [index, line] of text.split("\n").entries()) {
    for (const pattern of machine)
      if (pattern.test(line))
        problems.push(`${file}:${index + 1}: a path of one machine: ${line.trim().slice(0, 100)}`);
    if (registry.test(line))
      problems.push(`${file}:${index + 1}: the address of a registry: ${line.trim().slice(0, 100)}`);
  }
}

for (const file of documents) {
  const text = readFileSync(file, "utf8");
  checkLinks(file, text);
  checkCommands(file, text);
}
for (const file of tracked) checkPublished(file);
for (const problem of problems) console.error(problem);
console.log(`${documents.length} documents, ${tracked.length} files, ${problems.length} problems`);
process.exitCode = problems.length === 0 ? 0 : 1;
