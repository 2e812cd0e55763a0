import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { browserTwins } from "./packages/verify/browser/twins.mjs";

const source = (name: string): string => fileURLToPath(new URL(`packages/${name}/src/index.ts`, import.meta.url));

export default defineConfig({
  resolve: {
    alias: {
      "@countersign/contract": source("contract"),
      "@countersign/proof/load": source("proof").replace(/index\.ts$/, "load.ts"),
      "@countersign/proof": source("proof"),
      "@countersign/sdk": source("sdk"),
    },
  },
  test: {
    // Each file starts its own PostgreSQL or processes: two at a time keep a small machine responsive.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
    projects: [
      { extends: true, test: { name: "node", include: ["packages/*/test/**/*.test.ts"] } },
      {
        // The verifier's core once more as it runs in verify.html: on the browser's hashes, signatures and bytes.
        extends: true,
        plugins: [browserTwins()],
        test: {
          name: "browser",
          include: ["packages/proof/test/**/*.test.ts"],
          // Python's verifier against ours, and what reads files: neither is in the page.
          exclude: ["packages/proof/test/{verifyByHand,load}*.test.ts"],
        },
      },
    ],
  },
});
