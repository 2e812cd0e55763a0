/**
 * Rows of `copy (select …) to stdout (format binary)` as batches, in constant memory: the server is read no
 * faster than the batches are taken. Twice as fast as rows through the driver. Format: PostgreSQL docs, "COPY", binary.
 */
import type pg from "pg";

/**
 * Whole rows as they came, read field by field in the order of the columns. Nothing is cut out of the memory that is not asked
 * for: eight views a row cost more in garbage collection than all hashing.
 */
export class RowBatch {
  readonly #buffer: Buffer;
  readonly #end: number;
  #at: number;

  constructor(buffer: Buffer, start: number, end: number) {
    this.#buffer = buffer;
    this.#at = start;
    this.#end = end;
  }

  /** Goes to the next row. All fields of the one before must have been read. */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    this.#at += 2;
    return true;
  }

  /** Lower-case hex of the bytes; empty for SQL's null. */
  hex(): string {
    const length = this.#length();
    return length < 0 ? "" : this.#buffer.toString("hex", this.#at, (this.#at += length));
  }

  text(): string {
    const length = this.#length();
    return length < 0 ? "" : this.#buffer.toString("utf8", this.#at, (this.#at += length));
  }

  /** A view: good until the next batch is asked for. */
  bytes(): Buffer | null {
    const length = this.#length();
    return length < 0 ? null : this.#buffer.subarray(this.#at, (this.#at += length));
  }

  /** int8. Beyond 2^53 it is not exact, and the verifier says so. */
  integer(): number {
    const length = this.#length();
    if (length < 0) return NaN;
    const at = this.#at;
    this.#at += length;
    return this.#buffer.readInt32BE(at) * 2 ** 32 + this.#buffer.readUInt32BE(at + 4);
  }

  #length(): number {
    const length = this.#buffer.readInt32BE(this.#at);
    this.#at += 4;
    return length;
  }
}

const batchBytes = 512 * 1024;
/** Batches waiting to be taken before the server is made to wait. */
const batchesMax = 4;
const headerBytes = 19;

/**
 * Runs the copy on `client`, which must not be in pipeline mode and is busy until the end. `statement` is ours: it carries no
 * value that was not checked. A batch is good until the next one is asked for: its memory is used again. Stopping early ends the connection: there is no other way to stop a copy.
 */
export async function* copyOut(client: pg.Client, statement: string): AsyncGenerator<RowBatch, void, undefined> {
  const copy = new CopyOut(`copy (${statement}) to stdout (format binary)`, client);
  client.query(copy as unknown as pg.Submittable);
  let ended = false;
  try {
    for (;;) {
      const batch = await copy.next();
      if (batch === undefined) break;
      yield new RowBatch(batch.buffer, batch.start, batch.end);
      copy.giveBack(batch.buffer);
    }
    ended = true;
  } finally {
    if (!ended) client.connection.stream.destroy();
  }
}

interface Filled {
  readonly buffer: Buffer;
  readonly start: number;
  readonly end: number;
}

/** A query as `pg`'s client drives it. */
class CopyOut {
  readonly text: string;
  readonly #stream: { pause(): void; resume(): void };
  readonly #batches: Filled[] = [];
  readonly #free: Buffer[] = [];
  #buffer: Buffer = Buffer.allocUnsafe(batchBytes);
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
  async next(): Promise<Filled | undefined> {
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

  giveBack(buffer: Buffer): void {
    if (buffer.length === batchBytes && this.#free.length < batchesMax) this.#free.push(buffer);
  }

  /** Whole rows become a batch; the beginning of the next one stays. */
  #cut(): void {
    const buffer = this.#buffer;
    const start = this.#begun ? 0 : headerBytes;
    const { rowsEnd, end } = endOfRows(buffer, start, this.#filled);
    if (end === 0) return;
    this.#begun = true;
    const rest = buffer.subarray(end, this.#filled);
    this.#buffer =
      rest.length > batchBytes / 2
        ? Buffer.allocUnsafe(rest.length * 2)
        : (this.#free.pop() ?? Buffer.allocUnsafe(batchBytes));
    rest.copy(this.#buffer);
    this.#filled = rest.length;
    if (rowsEnd > start) this.#batches.push({ buffer, start, end: rowsEnd });
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

/** Where the whole rows end, and where what has been read ends (behind the trailer, if it is there). */
function endOfRows(buffer: Buffer, start: number, filled: number): { rowsEnd: number; end: number } {
  let whole = start > filled ? 0 : start;
  for (let at = whole; at + 2 <= filled;) {
    let fields = buffer.readInt16BE(at);
    at += 2;
    if (fields < 0) return { rowsEnd: whole, end: at }; // the trailer
    for (; fields > 0 && at + 4 <= filled; fields--) at += 4 + Math.max(0, buffer.readInt32BE(at));
    if (fields > 0 || at > filled) break;
    whole = at;
  }
  return { rowsEnd: whole, end: whole };
}
