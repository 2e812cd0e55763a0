/**
 * What a process does again and again.
 *
 * Promises: two rounds never overlap · a round that fails is reported and the next one comes · the pause holds no process
 * alive · `stop` waits for the round under way, and none begins after it.
 */

export interface Rounds {
  /** The next round begins at once, or as soon as the one under way has ended. */
  soon(): void;
  /** One whole round that begins after this call. */
  next(): Promise<void>;
  /** Resolves when the round under way has ended. */
  stop(): Promise<void>;
}

export interface RoundsOptions {
  /** Between the end of a round and the beginning of the next. */
  readonly pauseMs: number;
  /** Before the first; by default it begins at once. */
  readonly firstMs?: number;
  /** `signal`: the rounds are being stopped. */
  readonly round: (signal: AbortSignal) => Promise<void>;
  readonly failed: (error: unknown) => void;
}

export function startRounds({ pauseMs, firstMs = 0, round, failed }: RoundsOptions): Rounds {
  const stopping = new AbortController();
  const { signal } = stopping;
  let timer: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  let again = false;

  const attempt = async (): Promise<void> => {
    try {
      await round(signal);
    } catch (error) {
      failed(error);
    }
  };
  const begin = (): Promise<void> => {
    clearTimeout(timer);
    again = false;
    return (running = attempt().then(() => {
      running = undefined;
      schedule(again ? 0 : pauseMs);
    }));
  };
  const schedule = (ms: number): void => {
    if (!signal.aborted) timer = setTimeout(() => void begin(), ms).unref();
  };
  if (firstMs === 0) void begin();
  else schedule(firstMs);
  return {
    soon: () => {
      if (running !== undefined) again = true;
      else if (!signal.aborted) void begin();
    },
    next: async () => {
      while (running !== undefined) await running;
      if (!signal.aborted) await begin();
    },
    stop: async () => {
      stopping.abort();
      clearTimeout(timer);
      await running;
    },
  };
}
