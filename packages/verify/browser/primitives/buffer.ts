/**
 * The part of Node's `Buffer` that the verifier's core uses, over what every browser has. Put in the place of the global
 * `Buffer` and of `node:buffer` when the page is built; for every input it gives what Node gives (test/primitives.test.ts).
 */

type Encoding = "utf8" | "utf-8" | "hex" | "base64" | "base64url" | "latin1";

const encoder = new TextEncoder();
// A mark of byte order is a character like any other here: hashes are over it.
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
const strictDecoder = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

const hexPairs = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));
const base64Alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const base64UrlAlphabet = `${base64Alphabet.slice(0, 62)}-_`;
/** Value of a character in either alphabet, by its code; 255 for every other. */
const base64Values = new Uint8Array(128).fill(255);
for (const alphabet of [base64Alphabet, base64UrlAlphabet])
  for (let i = 0; i < 64; i++) base64Values[alphabet.charCodeAt(i)] = i;

class Bytes extends Uint8Array {
  override toString(encoding: Encoding = "utf8", start = 0, end = this.length): string {
    const part = start === 0 && end === this.length ? this : this.subarray(start, end);
    switch (encoding) {
      case "utf8":
      case "utf-8":
        return decoder.decode(part);
      case "hex":
        return toHex(part);
      case "base64":
        return toBase64(part, base64Alphabet, true);
      case "base64url":
        return toBase64(part, base64UrlAlphabet, false);
      case "latin1":
        return toLatin1(part);
    }
  }

  equals(other: Uint8Array): boolean {
    return this.length === other.length && this.every((byte, i) => byte === other[i]);
  }

  compare(other: Uint8Array): number {
    const length = Math.min(this.length, other.length);
    for (let i = 0; i < length; i++) {
      const difference = (this[i] as number) - (other[i] as number);
      if (difference !== 0) return difference < 0 ? -1 : 1;
    }
    return Math.sign(this.length - other.length);
  }

  /** Also finds bytes and texts, as Node's does. */
  override includes(value: number | string | Uint8Array, from = 0, encoding: Encoding = "utf8"): boolean {
    return this.indexOf(value, from, encoding) >= 0;
  }

  override indexOf(value: number | string | Uint8Array, from = 0, encoding: Encoding = "utf8"): number {
    if (typeof value === "number") return super.indexOf(value, from);
    const wanted = typeof value === "string" ? bytesFromText(value, encoding) : value;
    const first = wanted[0];
    if (first === undefined) return Math.min(from, this.length);
    for (let at = super.indexOf(first, from); at >= 0; at = super.indexOf(first, at + 1)) {
      if (wanted.every((byte, i) => byte === this[at + i])) return at;
    }
    return -1;
  }

  readUInt16BE(at = 0): number {
    return viewOf(this).getUint16(at);
  }
  readUInt32BE(at = 0): number {
    return viewOf(this).getUint32(at);
  }
  readBigUInt64BE(at = 0): bigint {
    return viewOf(this).getBigUint64(at);
  }
  writeUInt16BE(value: number, at = 0): number {
    viewOf(this).setUint16(at, value);
    return at + 2;
  }
  writeUInt32BE(value: number, at = 0): number {
    viewOf(this).setUint32(at, value);
    return at + 4;
  }
  writeBigUInt64BE(value: bigint, at = 0): number {
    viewOf(this).setBigUint64(at, value);
    return at + 8;
  }
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function from(value: string, encoding?: Encoding): Bytes;
function from(value: ArrayBuffer, offset?: number, length?: number): Bytes;
function from(value: ArrayLike<number> | Iterable<number>): Bytes;
function from(
  value: string | ArrayBufferLike | ArrayLike<number> | Iterable<number>,
  second?: Encoding | number,
  length?: number,
): Bytes {
  if (typeof value === "string") return bytesFromText(value, (second as Encoding | undefined) ?? "utf8");
  if (value instanceof ArrayBuffer) return new Bytes(value, (second as number | undefined) ?? 0, length);
  const list = value as ArrayLike<number> | Iterable<number>;
  return wrap(Uint8Array.from("length" in list ? list : [...list]));
}

export const Buffer = {
  from,
  alloc: (length: number): Bytes => new Bytes(length),
  allocUnsafe: (length: number): Bytes => new Bytes(length),
  concat(parts: readonly Uint8Array[], total?: number): Bytes {
    const joined = new Bytes(total ?? parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) {
      joined.set(part.subarray(0, joined.length - at), at);
      at = Math.min(at + part.length, joined.length);
    }
    return joined;
  },
  byteLength: (value: string | ArrayBufferView | ArrayBuffer, encoding: Encoding = "utf8"): number =>
    typeof value === "string" ? bytesFromText(value, encoding).length : value.byteLength,
  compare: (a: Uint8Array, b: Uint8Array): number => wrap(a).compare(b),
  isBuffer: (value: unknown): value is Bytes => value instanceof Bytes,
};
export type Buffer = Bytes;

/** True if the bytes are UTF-8 (RFC 3629): no overlong form, no surrogate, nothing cut off. */
export function isUtf8(bytes: Uint8Array): boolean {
  try {
    strictDecoder.decode(bytes);
    return true;
  } catch {
    // The decoder's only way to say no.
    return false;
  }
}

export function isAscii(bytes: Uint8Array): boolean {
  for (let i = 0; i < bytes.length; i++) if ((bytes[i] as number) > 0x7f) return false;
  return true;
}

/** UTF-8 of a text; half of a surrogate pair becomes U+FFFD, as in Node. */
export function utf8(text: string): Uint8Array<ArrayBuffer> {
  return encoder.encode(text);
}

export function toHex(bytes: Uint8Array): string {
  let hex = "";
  for (let i = 0; i < bytes.length; i++) hex += hexPairs[bytes[i] as number] as string;
  return hex;
}

function wrap(bytes: Uint8Array): Bytes {
  return new Bytes(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.byteLength);
}

function bytesFromText(text: string, encoding: Encoding): Bytes {
  switch (encoding) {
    case "utf8":
    case "utf-8":
      return wrap(encoder.encode(text));
    case "hex":
      return fromHex(text);
    case "base64":
    case "base64url":
      return fromBase64(text);
    case "latin1":
      return wrap(Uint8Array.from({ length: text.length }, (_, i) => text.charCodeAt(i)));
  }
}

/** Up to the first pair that is not hexadecimal. */
function fromHex(text: string): Bytes {
  const bytes = new Bytes(text.length >> 1);
  for (let i = 0; i < bytes.length; i++) {
    const pair = text.slice(2 * i, 2 * i + 2);
    if (!/^[0-9a-fA-F]{2}$/.test(pair)) return bytes.subarray(0, i) as Bytes;
    bytes[i] = parseInt(pair, 16);
  }
  return bytes;
}

/** Either alphabet; other characters are passed over, `=` ends the text. */
function fromBase64(text: string): Bytes {
  const bytes = new Bytes(Math.floor((text.length * 3) / 4) + 3);
  let bits = 0;
  let held = 0;
  let length = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x3d) break;
    const value = code < 128 ? (base64Values[code] as number) : 255;
    if (value === 255) continue;
    bits = ((bits << 6) | value) & 0xffff;
    held += 6;
    if (held < 8) continue;
    held -= 8;
    bytes[length++] = (bits >> held) & 0xff;
  }
  return bytes.subarray(0, length) as Bytes;
}

function toBase64(bytes: Uint8Array, alphabet: string, padded: boolean): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 3) {
    const [a = 0, b, c] = bytes.subarray(i, i + 3);
    const group = (a << 16) | ((b ?? 0) << 8) | (c ?? 0);
    text += alphabet.charAt(group >> 18) + alphabet.charAt((group >> 12) & 63);
    if (b !== undefined) text += alphabet.charAt((group >> 6) & 63);
    if (c !== undefined) text += alphabet.charAt(group & 63);
  }
  return padded ? text.padEnd(Math.ceil(text.length / 4) * 4, "=") : text;
}

function toLatin1(bytes: Uint8Array): string {
  if (isAscii(bytes)) return decoder.decode(bytes); // native, and the usual case: 64 MiB in 20 ms
  let text = "";
  for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
  return text;
}
