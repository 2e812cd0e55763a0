/**
 * A progress line that is overwritten while a large file is read. It is not shown if nobody watches a terminal, or if
 * reading is over at once.
 */
import type { World } from "./world.js";

export interface Progress {
  count(bytes: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array>;
  end(): void;
}

const everyMs = 250;

export function progress(world: Pick<World, "err" | "watched" | "nowMs">, size: number | undefined): Progress {
  const startMs = world.nowMs();
  let [read, toldMs, told] = [0, startMs, false];
  const tell = (): void => {
    const nowMs = world.nowMs();
    if (!world.watched || nowMs - toldMs < everyMs) return;
    [toldMs, told] = [nowMs, true];
    const share =
      size === undefined || size === 0 ? "" : ` of ${(size / 1e6).toFixed(0)} (${Math.floor((read * 100) / size)} %)`;
    const perSecond = (read / 1e3 / Math.max(1, nowMs - startMs)).toFixed(0);
    world.err(`\r${(read / 1e6).toFixed(0)}${share} MB, ${perSecond} MB/s   `);
  };
  return {
    async *count(bytes) {
      for await (const piece of bytes) {
        read += piece.length;
        tell();
        yield piece;
      }
    },
    end: () => {
      if (told) world.err(`\r${" ".repeat(60)}\r`);
    },
  };
}
