/**
 * Makes one runnable file of a TypeScript entry and our packages' sources, for processes of their own (tests, benchmarks)
 * without a build before. What is installed stays outside.
 */
import { fileURLToPath } from "node:url";
import { rolldown } from "rolldown";

const root = new URL("../", import.meta.url);
const source = (name) => fileURLToPath(new URL(`packages/${name}/src/index.ts`, root));

/** Bundles `entry` (a path) under `name`; returns the path of the file. It lies where `../../migrations/` is what it is from `dist/storage`. */
export async function bundle(entry, name) {
  const file = fileURLToPath(new URL(`packages/server/node_modules/.countersign/${name}-${process.pid}.mjs`, root));
  const made = await rolldown({
    input: entry,
    platform: "node",
    resolve: {
      alias: {
        "@countersign/contract": source("contract"),
        "@countersign/proof/load": source("proof").replace(/index\.ts$/, "load.ts"),
        "@countersign/proof": source("proof"),
        "@countersign/sdk": source("sdk"),
      },
    },
    external: (id) => !id.startsWith(".") && !id.startsWith("/") && !id.startsWith("@countersign/"),
    logLevel: "warn",
  });
  await made.write({ file, format: "esm", sourcemap: "inline" });
  await made.close();
  return file;
}
