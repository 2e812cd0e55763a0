/**
 * A plugin, for rolldown and vitest alike, that puts the browser's twins in the place of what `packages/proof` takes from Node:
 * hashes, signatures, `Buffer`. Anything else of Node that the core imports is an error here, not in somebody's browser.
 */
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const folder = (path) => fileURLToPath(new URL(path, import.meta.url));
const core = folder("../../proof/src/");
const twins = new Map(
  ["hash", "signature", "bytes"].map((name) => [`${core}${name}.ts`, folder(`primitives/${name}.ts`)]),
);
const buffer = folder("primitives/buffer.ts");
const nodeImport = /from "(node:[a-z_/]+)"/g;

export function browserTwins() {
  return {
    name: "browser-twins",
    enforce: "pre",
    resolveId(source, importer) {
      if (importer === undefined || !source.startsWith(".")) return null;
      const file = resolve(dirname(importer.replace(/\?.*/, "")), source.replace(/\.js$/, ".ts"));
      return twins.get(file) ?? null;
    },
    transform(code, id) {
      if (!id.startsWith(core)) return null;
      let text = code.replaceAll('from "node:buffer"', `from ${JSON.stringify(buffer)}`);
      const others = [...text.matchAll(nodeImport)].map((match) => match[1]);
      if (others.length > 0) throw new Error(`${id} imports ${others.join(", ")}, which no browser has`);
      if (/\bBuffer\b/.test(text)) text = `import { Buffer } from ${JSON.stringify(buffer)};${text}`;
      return text === code ? null : { code: text, map: null };
    },
  };
}
