/** Time as an argument: code that needs the time is given a clock, and tests hold theirs. */
export interface Clock {
  /** Whole milliseconds since the epoch. May be set back by the machine; nobody may rely on it never decreasing. */
  nowMs(): number;
}

export const systemClock: Clock = { nowMs: () => Date.now() };
