/**
 * Rows of `copy (select …) to stdout (format binary)` as batches of raw fields, in constant memory: the server is read no
 * faster than the batches are taken. Twice as fast as rows through the driver. Format: PostgreSQL docs, "COPY", binary.
 */
import type pg from "pg";

/** The fields of one row; null is SQL's. A field lies in the batch's memory and is good for as long as one keeps it. */
export type RawRow = readonly (Buffer | null)[];

const batchBytes = 512 * 1024;
/** Batches waiting to be taken before the server is made to wait. */
const batchesMax = 4;
const headerBytes = 19;

/**
 * Runs the copy on `client`, which must not be in pipeline mode and is busy until the end. `statement` is ours: it carries no
 * value that was not checked. Stopping early ends the connection: there is no other way to stop a copy.
 */
export async function* copyOut(client: pg.Client, statement: string): AsyncGenerator<RawRow[], void, undefined> {
  const copy = new CopyOut(`copy (${statement}) to stdout (format binary)`, client);
  client.query(copy as unknown as pg.Submittable);
  let ended = false;
  try {
    for (;;) {
      const batch = await copy.next();
      if (batch === undefined) break;
      yield batch;
    }
    ended = true;
  } finally {
    if (!ended) client.connection.stream.destroy();
  }
}

/** A query as `pg`'s client drives it. */
class CopyOut {
  readonly text: string;
  readonly #stream: { pause(): void; resume(): void };
  readonly #batches: RawRow[][] = [];
  #buffer = Buffer.allocUnsafe(batchBytes);
  #filled = 0;
  #begun = false;
  #paused = false;
  #ended = false;
  #error: Error | undefined;
  #wake: (() => void) | undefined;

  constructor(text: string, client: pg.Client) {
    this.text = text;
    this.#stream = client.connection.stream;
  }

  submit(connection: { query(text: string): void }): void {
    connection.query(this.text);
  }

  /** The next batch; undefined at the end. */
  async next(): Promise<RawRow[] | undefined> {
    for (;;) {
      const batch = this.#batches.shift();
      if (this.#paused && this.#batches.length < batchesMax) {
        this.#paused = false;
        this.#stream.resume();
      }
      if (batch !== undefined) return batch;
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }

  /** The message's memory is the driver's and will be used again, so it is copied. */
  handleCopyData({ chunk }: { chunk: Buffer }): void {
    if (this.#filled + chunk.length > this.#buffer.length) this.#grow(chunk.length);
    chunk.copy(this.#buffer, this.#filled);
    this.#filled += chunk.length;
    if (this.#filled >= batchBytes - 8192) this.#cut();
  }

  handleCommandComplete(): void {
    this.#cut();
  }

  handleReadyForQuery(): void {
    this.#ended = true;
    this.#tell();
  }

  handleError(error: Error): void {
    this.#error = error;
    this.#ended = true;
    this.#tell();
  }

  handleRowDescription(): void {
    // A copy describes no rows.
  }
  handleDataRow(): void {
    // Nor sends them this way.
  }
  handleEmptyQuery(): void {
    // The statement is never empty.
  }

  #grow(bytes: number): void {
    this.#cut();
    if (this.#filled + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafe(this.#filled + bytes + batchBytes);
    this.#buffer.copy(larger, 0, 0, this.#filled);
    this.#buffer = larger;
  }

  /** Whole rows become a batch; the beginning of the next one stays. */
  #cut(): void {
    const { rows, end } = readRows(this.#buffer.subarray(0, this.#filled), this.#begun ? 0 : headerBytes);
    if (rows.length === 0 && end === 0) return;
    this.#begun = true;
    const rest = this.#buffer.subarray(end, this.#filled);
    this.#buffer = Buffer.allocUnsafe(Math.max(batchBytes, rest.length * 2));
    rest.copy(this.#buffer);
    this.#filled = rest.length;
    if (rows.length > 0) this.#batches.push(rows);
    if (this.#batches.length >= batchesMax && !this.#paused) {
      this.#paused = true;
      this.#stream.pause();
    }
    this.#tell();
  }

  #tell(): void {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
  }
}

function readRows(buffer: Buffer, start: number): { rows: RawRow[]; end: number } {
  const rows: RawRow[] = [];
  let end = start > buffer.length ? 0 : start;
  for (let at = end; at + 2 <= buffer.length; ) {
    const count = buffer.readInt16BE(at);
    at += 2;
    if (count < 0) return { rows, end: at }; // the trailer
    const row: (Buffer | null)[] = [];
    while (row.length < count) {
      if (at + 4 > buffer.length) return { rows, end };
      const length = buffer.readInt32BE(at);
      at += 4;
      if (length < 0) row.push(null);
      else if (at + length > buffer.length) return { rows, end };
      else {
        row.push(buffer.subarray(at, at + length));
        at += length;
      }
    }
    rows.push(row);
    end = at;
  }
  return { rows, end };
}
