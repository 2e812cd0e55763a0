import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";
import { browserTwins } from "./packages/verify/browser/twins.mjs";
import { needs, testFilesByNeed } from "./scripts/testNeeds.mjs";

const source = (name: string): string => fileURLToPath(new URL(`packages/${name}/src/index.ts`, import.meta.url));
const files = testFilesByNeed();

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
      // By what a test needs (scripts/testNeeds.mjs): `npm run test:pure` is done in seconds.
      ...needs.map((name) => ({ extends: true as const, test: { name, include: files[name] } })),
      {
        // The verifier's core once more as it runs in verify.html: on the browser's hashes, signatures and bytes.
        extends: true,
        plugins: [browserTwins()],
        test: {
          name: "page",
          include: ["packages/proof/test/**/*.test.ts"],
          // Python's verifier against ours, and what reads files: neither is in the page.
          exclude: ["packages/proof/test/{verifyByHand,load}*.test.ts"],
        },
      },
    ],
  },
});
