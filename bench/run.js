/** `npm run bench`: bundles bench/main.ts with the sources as they are, and runs it. */
import { fileURLToPath, pathToFileURL } from "node:url";
import { bundle } from "../scripts/bundle.js";

const file = await bundle(fileURLToPath(new URL("main.ts", import.meta.url)), "bench");
await import(pathToFileURL(file).href);
