/**
 * Canonical JSON (RFC 8785): one text for one value. Every hash and signature of the ledger depends on these bytes, so
 * the output for a value can never change.
 *
 * Promises: members sorted by UTF-16 code units; numbers as ECMAScript writes them; values without an exact JSON form
 * (undefined, functions, symbols, holes, NaN, lone surrogates, instances of classes, nesting deeper than `depthMax`)
 * are refused, never dropped; `__proto__` is a member like any other. Time and stack are bounded by the size of the
 * value and `depthMax`.
 */
import { pointerStep } from "./json.js";

/** Deeper values are refused: documents sent to us end at 64, the bodies around them add a few levels. */
export const canonicalDepthMax = 128;

/** The value has no canonical form. `pointer` (RFC 6901) says where, `reason` why. */
export class CanonicalJsonError extends Error {
  override readonly name = "CanonicalJsonError";
  readonly pointer: string;
  readonly reason: string;
  constructor(pointer: string, reason: string) {
    super(`no canonical JSON at \`${pointer}\`: ${reason}`);
    this.pointer = pointer;
    this.reason = reason;
  }
}

/** The RFC 8785 text of `value`; its bytes are the text's UTF-8. Throws `CanonicalJsonError`. */
export function canonicalize(value: unknown, depthMax: number = canonicalDepthMax): string {
  const text = write(value, depthMax);
  if (text !== undefined) return text;
  const found = locate(value, depthMax, "");
  throw new CanonicalJsonError(found?.pointer ?? "", found?.reason ?? "not a JSON value");
}

/** True if `text` is exactly the canonical form of the value it denotes. */
export function isCanonical(text: string): boolean {
  try {
    return canonicalize(JSON.parse(text) as unknown) === text;
  } catch {
    // Not JSON, or JSON without a canonical form: either way the text is not canonical.
    return false;
  }
}

// Lone surrogates only: with the `u` flag a pair is one code point (ECMA-262, \p{Surrogate} = category Cs).
const loneSurrogate = /\p{Surrogate}/u;
// Characters that JSON writes as themselves; everything else takes the slower, exact way. Short strings dominate: ids, enums.
const plainAscii = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

export function hasLoneSurrogate(text: string): boolean {
  return loneSurrogate.test(text);
}

/** Undefined says "refused": the caller then looks for the place, so that the good case pays nothing for it. */
function write(value: unknown, depthLeft: number): string | undefined {
  switch (typeof value) {
    case "string":
      return writeString(value);
    case "number":
      return Number.isFinite(value) ? String(value) : undefined; // RFC 8785 §3.2.2.3; String(-0) is "0"
    case "boolean":
      return value ? "true" : "false";
    case "object":
      if (value === null) return "null";
      if (depthLeft <= 0) return undefined;
      return Array.isArray(value) ? writeArray(value, depthLeft - 1) : writeObject(value, depthLeft - 1);
    default:
      return undefined;
  }
}

function writeString(text: string): string | undefined {
  if (plainAscii.test(text)) return `"${text}"`;
  if (loneSurrogate.test(text)) return undefined;
  return JSON.stringify(text); // the escapes of RFC 8785 §3.2.2.2 are those of ECMAScript
}

function writeArray(array: readonly unknown[], depthLeft: number): string | undefined {
  let text = "[";
  for (let i = 0; i < array.length; i++) {
    const item = write(array[i], depthLeft); // a hole reads as undefined: refused
    if (item === undefined) return undefined;
    text += i === 0 ? item : `,${item}`;
  }
  return `${text}]`;
}

function writeObject(object: object, depthLeft: number): string | undefined {
  if (!isPlain(object)) return undefined;
  const keys = sortedKeys(object);
  let text = "{";
  for (let i = 0; i < keys.length; i++) {
    const key = keys[i] as string;
    const name = writeString(key);
    const member = write((object as Record<string, unknown>)[key], depthLeft);
    if (name === undefined || member === undefined) return undefined;
    text += i === 0 ? `${name}:${member}` : `,${name}:${member}`;
  }
  return `${text}}`;
}

function isPlain(object: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(object);
  return (prototype === Object.prototype || prototype === null) && Object.getOwnPropertySymbols(object).length === 0;
}

/** RFC 8785 §3.2.3: sorted by UTF-16 code units, which is how ECMAScript compares strings. */
function sortedKeys(object: object): string[] {
  const keys = Object.keys(object);
  for (let i = 1; i < keys.length; i++) {
    if ((keys[i - 1] as string) > (keys[i] as string)) return keys.sort();
  }
  return keys;
}

/** The first place without a canonical form, in writing order. */
function locate(value: unknown, depthLeft: number, pointer: string): { pointer: string; reason: string } | undefined {
  if (typeof value === "string") return loneSurrogate.test(value) ? { pointer, reason: "a lone surrogate" } : undefined;
  if (typeof value === "number") return Number.isFinite(value) ? undefined : { pointer, reason: String(value) };
  if (typeof value === "boolean" || value === null) return undefined;
  if (typeof value !== "object") return { pointer, reason: `${typeof value} is not JSON` };
  if (depthLeft <= 0) return { pointer, reason: "nested too deeply" };
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++) {
      const found = locate(value[i], depthLeft - 1, pointer + pointerStep(i));
      if (found !== undefined) return found;
    }
    return undefined;
  }
  if (!isPlain(value)) return { pointer, reason: "not a plain object" };
  for (const key of sortedKeys(value)) {
    const at = pointer + pointerStep(key);
    if (loneSurrogate.test(key)) return { pointer: at, reason: "a lone surrogate in a member name" };
    const found = locate((value as Record<string, unknown>)[key], depthLeft - 1, at);
    if (found !== undefined) return found;
  }
  return undefined;
}
