/**
 * Lets a plain Node process run the TypeScript sources, for tests that need processes of their own: `node --import` this file.
 * Types are stripped by the TypeScript compiler; `./x.js` is found as `./x.ts`, our own packages in their sources.
 */
import { existsSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { register } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { isMainThread } from "node:worker_threads";

if (isMainThread) register(import.meta.url);

// Stripped sources are kept: the compiler takes longer to load than the programs to run.
const cache = join(tmpdir(), `cs-typescript-${process.getuid?.() ?? 0}`);
if (!isMainThread) mkdirSync(cache, { recursive: true, mode: 0o700 });
const packages = new URL("../../../", import.meta.url);

export async function resolve(specifier, context, next) {
  const own = /^@countersign\/(\w+)$/.exec(specifier)?.[1];
  if (own !== undefined) return { url: new URL(`${own}/src/index.ts`, packages).href, shortCircuit: true };
  if (specifier.startsWith(".") && specifier.endsWith(".js") && context.parentURL?.endsWith(".ts")) {
    const source = new URL(specifier.replace(/\.js$/, ".ts"), context.parentURL);
    if (existsSync(source)) return { url: source.href, shortCircuit: true };
  }
  return next(specifier, context);
}

export async function load(url, context, next) {
  if (!url.endsWith(".ts")) return next(url, context);
  const path = fileURLToPath(url);
  const { mtimeMs, size } = statSync(path);
  const cached = join(cache, `${encodeURIComponent(path).replaceAll("%2F", "_")}-${mtimeMs}-${size}`);
  if (!existsSync(cached)) {
    writeFileSync(`${cached}.${process.pid}`, await strip(path));
    renameSync(`${cached}.${process.pid}`, cached);
  }
  return { format: "module", source: readFileSync(cached, "utf8"), shortCircuit: true };
}

async function strip(path) {
  const { ModuleKind, ScriptTarget, transpileModule } = (await import("typescript")).default;
  return transpileModule(readFileSync(path, "utf8"), {
    compilerOptions: {
      module: ModuleKind.ESNext,
      target: ScriptTarget.ES2023,
      verbatimModuleSyntax: true,
      inlineSourceMap: true,
    },
    fileName: path,
  }).outputText;
}
