/**
 * Makes packages/verify/dist/verify.html: one file, no network. The same sources give the same bytes. Run by `npm run setup`,
 * `npm run build`, and by itself: `npm run build:verifier`.
 */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";
import { browserTwins } from "../packages/verify/browser/twins.mjs";

const path = (relative) => fileURLToPath(new URL(`../${relative}`, import.meta.url));
const read = (relative) => readFileSync(path(relative), "utf8");
const browser = "packages/verify/browser";

/** The page's script. Not minified: whoever wants to know what it does opens it in an editor. */
async function compileScript() {
  const made = await rolldown({
    input: path(`${browser}/main.ts`),
    cwd: path("."),
    platform: "browser",
    resolve: { alias: { "@countersign/proof": path("packages/proof/src/index.ts") } },
    plugins: [browserTwins()],
    external: [],
    onLog(level, log) {
      if (level === "warn") throw new Error(log.message);
    },
  });
  const { output } = await made.generate({ format: "iife", comments: false });
  await made.close();
  return fitForHtml(output[0].code);
}

/** What an HTML parser would change or end the script at; every other character stays as it is. */
function fitForHtml(code) {
  const ascii = code.replace(/[^\n\t\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
  const fit = ascii.replace(/<(?=\/script|script|!--)/gi, "\\x3c");
  for (const needless of [
    /\brequire\(/,
    /\bfetch\(/,
    /XMLHttpRequest/,
    /WebSocket/,
    /\bimport\(/,
    /\beval\(/,
    /new Function\(/,
    /innerHTML/,
  ])
    if (needless.test(fit)) throw new Error(`the page's script contains ${needless}`);
  return `\n${fit.trim()}\n`;
}

function notices() {
  const packages = ["@noble/curves", "@noble/hashes"];
  const texts = packages.map(
    (name) =>
      `${name} ${JSON.parse(read(`node_modules/${name}/package.json`)).version}\n${read(`node_modules/${name}/LICENSE`).trim()}`,
  );
  return `<!--\nCountersign: Apache-2.0. This page contains material of others:\n\n${texts.join("\n\n").replaceAll("--", "‐‐")}\n-->\n`;
}

const sourceOf = (text) => `'sha256-${createHash("sha256").update(text, "utf8").digest("base64")}'`;

/** Nothing may be loaded, sent or framed; the one script and the one style are named by their hashes. */
function contentPolicy(script, style) {
  return [
    "default-src 'none'",
    `script-src ${sourceOf(script)}`,
    "worker-src blob:",
    `style-src ${sourceOf(style)}`,
    "base-uri 'none'",
    "form-action 'none'",
  ].join("; ");
}

export async function buildVerifier() {
  const script = await compileScript();
  const style = `\n${read(`${browser}/page.css`).trim()}\n`;
  const { version } = JSON.parse(read("packages/verify/package.json"));
  const parts = {
    "<!-- style -->": `<style>${style}</style>`,
    "<!-- script -->": `<script>${script}</script>`,
    "{{policy}}": contentPolicy(script, style),
    "{{version}}": version,
  };
  const page = Object.entries(parts).reduce(
    (text, [place, part]) => text.replace(place, () => part),
    read(`${browser}/page.html`),
  );
  const html = page.replace("<!doctype html>\n", () => `<!doctype html>\n${notices()}`);
  mkdirSync(path("packages/verify/dist"), { recursive: true });
  // Whole or not at all: two test files may build it at once.
  const made = path(`packages/verify/dist/verify.${process.pid}.partial`);
  writeFileSync(made, html);
  renameSync(made, path("packages/verify/dist/verify.html"));
  return { bytes: Buffer.byteLength(html), sha256: createHash("sha256").update(html).digest("hex") };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { bytes, sha256 } = await buildVerifier();
  console.log(`packages/verify/dist/verify.html: ${bytes} bytes, SHA-256 ${sha256}`);
}
