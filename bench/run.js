/** `npm run bench`: bundles bench/main.ts and its worker with the sources as they are, and runs it. */
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundle } from "../scripts/bundle.js";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
process.env.COUNTERSIGN_BENCH_WORKER = await bundle(here("appendWorker.ts"), "append-worker");
await import(pathToFileURL(await bundle(here("main.ts"), "bench")).href);
