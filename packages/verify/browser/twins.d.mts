import type { Plugin } from "vite";

/** Puts the browser's twins in the place of what the verifier's core takes from Node. */
export declare function browserTwins(): Plugin;
