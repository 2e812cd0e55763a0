/**
 * What a benchmark row is. A figure is a ratio to a reference measured in the same run, interleaved with ours: machines are
 * noisy and absolute numbers do not travel. fsync and synchronous_commit stay on.
 */

export interface Sample {
  /** Work done per second, or whatever `unit` says; more is better unless the row says otherwise. */
  readonly value: number;
  /** 99th percentile of what one caller waits, ms. */
  readonly p99Ms?: number;
}

export interface Row {
  readonly name: string;
  readonly work: string;
  readonly unit: string;
  /** Entries, callers, tenants, sizes: what the figure depends on. */
  readonly conditions: string;
  readonly referenceIs: string;
  /** Smallest ratio ours/reference, or for rows without a reference the smallest value, that meets the goal. */
  readonly goal: {
    readonly text: string;
    readonly ratioMin?: number;
    readonly valueMin?: number;
    readonly valueMax?: number;
    readonly p99AtMostReference?: boolean;
    readonly p99MsMax?: number;
  };
  /** Sets up, and returns what is measured: `ours` and `reference` are called in turn. */
  prepare(bench: Bench): Promise<Measured>;
  /** Rounds; at least five. */
  readonly rounds?: number;
}

export interface Measured {
  ours(round: number): Promise<Sample>;
  reference?(round: number): Promise<Sample>;
  close(): Promise<void>;
}

/** What rows share: one embedded PostgreSQL, a database for each who asks. */
export interface Bench {
  /** A migrated database; `empty`: without our schema. */
  database(options?: { empty?: boolean }): Promise<BenchDatabase>;
  progress(text: string): void;
}

export interface BenchDatabase {
  readonly owner: import("pg").ClientConfig;
  readonly app: import("pg").ClientConfig;
  readonly superuser: import("pg").ClientConfig;
  readonly storage: import("../packages/server/src/storage/index.js").Storage;
  close(): Promise<void>;
}

export interface Result {
  readonly name: string;
  readonly unit: string;
  readonly ours: number;
  readonly reference: number | null;
  readonly ratio: number | null;
  readonly goal: string;
  readonly met: boolean;
  /** Half the range of the ratios (or values) of the rounds over their median. */
  readonly spread: number;
  readonly conditions: string;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  const upper = sorted[middle] ?? NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? NaN) + upper) / 2;
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? NaN;
}

/** `callers` callers, each doing `act` again as soon as it is done, for `ms`: how many a second, and the 99th percentile of one. */
export async function throughput(
  callers: number,
  ms: number,
  act: (caller: number, turn: number) => Promise<unknown>,
): Promise<Sample> {
  const waits: number[] = [];
  const begin = performance.now();
  const until = begin + ms;
  await Promise.all(
    Array.from({ length: callers }, async (_, caller) => {
      for (let turn = 0; performance.now() < until; turn++) {
        const started = performance.now();
        await act(caller, turn);
        waits.push(performance.now() - started);
      }
    }),
  );
  return { value: (waits.length * 1000) / (performance.now() - begin), p99Ms: percentile(waits, 0.99) };
}
