/** `packages/proof/src/bytes.ts` for browsers. */
import { Buffer, isUtf8, toHex, utf8 } from "./buffer.js";

export { isUtf8 };

const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

export function textOfUtf8(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

export function utf8Bytes(text: string): Uint8Array {
  return utf8(text);
}

export function writeLatin1(into: Uint8Array, at: number, text: string): void {
  for (let i = 0; i < text.length; i++) into[at + i] = text.charCodeAt(i);
}

export function utf8Length(text: string): number {
  let length = text.length;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 0x80) continue;
    length += code < 0x800 ? 1 : 2;
    // A pair is four bytes, of which two are counted; half of one becomes U+FFFD, which is three.
    if (code < 0xd800 || code > 0xdbff) continue;
    const next = text.charCodeAt(i + 1);
    if (next < 0xdc00 || next > 0xdfff) continue;
    i++;
  }
  return length;
}

export function concatBytes(parts: readonly Uint8Array[]): Uint8Array {
  return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts);
}

export function hexOf(bytes: Uint8Array): string {
  return toHex(bytes);
}

export function bytesOfHex(hex: string): Uint8Array {
  return Buffer.from(hex, "hex");
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
