/**
 * Looks after the embedded PostgreSQL while this process runs: a killed one is started again at the same address, so
 * the pools find it. Meanwhile requests are refused with `database_unavailable`.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Log } from "../platform/index.js";

export interface Supervised {
  revive(): Promise<"alive" | "revived">;
}

const LOOK_EVERY_MS = 500; // two system calls each
const PAUSE_MAX_MS = 30_000;

/** Begins to watch. The returned function ends it, and resolves when no start is under way any more. */
export function supervise(embedded: Supervised, log?: Log): () => Promise<void> {
  const ending = new AbortController();
  const watching = watch(embedded, ending.signal, log);
  return async () => {
    ending.abort();
    await watching;
  };
}

async function watch(embedded: Supervised, ending: AbortSignal, log?: Log): Promise<void> {
  let pauseMs = LOOK_EVERY_MS;
  while (await pause(pauseMs, ending)) {
    try {
      if ((await embedded.revive()) === "revived") log?.warn("the embedded PostgreSQL had ended and was started again");
      pauseMs = LOOK_EVERY_MS;
    } catch (error) {
      pauseMs = Math.min(2 * pauseMs, PAUSE_MAX_MS);
      log?.error({ err: error, retryMs: pauseMs }, "the embedded PostgreSQL has ended and does not start again");
    }
  }
}

/** False when the end came first. Does not keep the process alive. */
async function pause(ms: number, ending: AbortSignal): Promise<boolean> {
  try {
    await delay(ms, undefined, { signal: ending, ref: false });
    return true;
  } catch {
    return false; // aborted
  }
}
