/**
 * Opens the file to verify, and tells bundles from receipts by their first bytes. Only one piece of the file is in
 * memory at a time.
 */
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";

export interface Input {
  readonly kind: "bundle" | "receipt";
  readonly bytes: AsyncIterable<Uint8Array>;
  /** The size of a file; undefined for standard input. */
  readonly size: number | undefined;
}

const receiptStart = Buffer.from("c2sp.org/tlog-proof@");

/** Throws where it cannot be opened or read. */
export async function openInput(path: string, stdin: AsyncIterable<Uint8Array>): Promise<Input> {
  const size = path === "-" ? undefined : await sizeOf(path);
  const chunks =
    path === "-" ? stdin : (createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Uint8Array>);
  const reader = chunks[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  for (let length = 0; length < receiptStart.length;) {
    const next = await reader.next();
    if (next.done === true) break;
    first.push(next.value);
    length += next.value.length;
  }
  const isReceipt = Buffer.concat(first).subarray(0, receiptStart.length).equals(receiptStart);
  return { kind: isReceipt ? "receipt" : "bundle", bytes: rest(first, reader), size };
}

async function sizeOf(path: string): Promise<number | undefined> {
  const file = await open(path);
  try {
    const info = await file.stat();
    if (info.isDirectory()) throw new Error(`\`${path}\` is a folder`);
    return info.isFile() ? info.size : undefined;
  } finally {
    await file.close();
  }
}

async function* rest(first: readonly Uint8Array[], reader: AsyncIterator<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* first;
  for (let next = await reader.next(); next.done !== true; next = await reader.next()) yield next.value;
}

/** All bytes of the file, unless it is larger than the limit. */
export async function readWhole(bytes: AsyncIterable<Uint8Array>, bytesMax: number): Promise<Uint8Array | undefined> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of bytes) {
    length += piece.length;
    if (length > bytesMax) return undefined;
    pieces.push(Uint8Array.from(piece));
  }
  return Buffer.concat(pieces);
}
