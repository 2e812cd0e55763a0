import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const source = (name: string): string => fileURLToPath(new URL(`packages/${name}/src/index.ts`, import.meta.url));

export default defineConfig({
  resolve: {
    alias: {
      "@countersign/contract": source("contract"),
      "@countersign/proof": source("proof"),
      "@countersign/sdk": source("sdk"),
    },
  },
  test: {
    include: ["packages/*/test/**/*.test.ts"],
    // Each file starts its own PostgreSQL or processes: two at a time keep a small machine responsive.
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
});
