/** Time that passes, as an argument: tests give their own. Both functions return what ends them. */
export interface Timers {
  /** Calls `beat` again and again, never while the one before still runs. */
  every(ms: number, beat: () => Promise<void>): () => void;
  /** Calls `act` once. */
  after(ms: number, act: () => void): () => void;
}

/** Holds no process alive. */
export const realTimers: Timers = {
  every: (ms, beat) => {
    let timer: NodeJS.Timeout | undefined;
    let ended = false;
    const again = (): void => {
      if (!ended) timer = setTimeout(() => void beat().finally(again), ms).unref();
    };
    again();
    return () => {
      ended = true;
      clearTimeout(timer);
    };
  },
  after: (ms, act) => {
    const timer = setTimeout(act, ms).unref();
    return () => clearTimeout(timer);
  },
};
