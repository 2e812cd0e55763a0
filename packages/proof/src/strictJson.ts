/**
 * Reads JSON from others. An accepted text means the same to JavaScript, to PostgreSQL's jsonb and to RFC 8785: UTF-8
 * without errors, no member twice, no U+0000, no lone surrogate, no number that a double cannot keep as the kind of
 * number it is, bounded size, depth and count. All errors are named at once, each with a code and a JSON pointer.
 *
 * A good text costs one native parse, one scan and one count of the members; the slow, exact parser runs only to find
 * the errors. INVARIANT: a text is accepted exactly if the slow parser finds no problem in it (tested on every vector).
 */
import { hasLoneSurrogate } from "./canonicalJson.js";
import { pointerStep, type JsonValue } from "./json.js";

/** The closed list of errors. */
export const strictJsonCodes = [
  "body_too_large",
  "malformed_json",
  "json_duplicate_key",
  "json_too_deep",
  "json_too_large",
  "json_number_unsafe",
  "text_unstorable",
] as const;
export type StrictJsonCode = (typeof strictJsonCodes)[number];

export interface StrictJsonProblem {
  readonly code: StrictJsonCode;
  /** RFC 6901; the place in the value, "" for the whole text. */
  readonly pointer: string;
  /** Lower case, with the way out. Holds nothing of the text but at most 40 escaped characters. */
  readonly message: string;
}

export type StrictJsonResult =
  | { readonly ok: true; readonly value: JsonValue }
  | { readonly ok: false; readonly problems: readonly StrictJsonProblem[] };

export interface StrictJsonLimits {
  /** UTF-8 bytes of the text. */
  readonly bytesMax: number;
  /** Nesting: `[[1]]` has depth 2. At most 500. */
  readonly depthMax: number;
  /** Values, the members of objects and items of arrays included, and the outermost. */
  readonly valuesMax: number;
}

export const strictJsonLimits: StrictJsonLimits = { bytesMax: 8 * 1024 * 1024, depthMax: 64, valuesMax: 200_000 };

/** More problems than this are not listed: nobody reads them. */
const problemsMax = 100;
/** Pointers are cut here: names in a text may be megabytes long. */
const pointerLengthMax = 1024;

/** The longest double written out has 1,077 digits; a longer literal is never kept, and is cheap to refuse. */
const numberLengthMax = 1100;

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The value of a JSON text, or all its errors. Never throws because of the text. */
export function parseStrictJson(input: string | Uint8Array, limits: Partial<StrictJsonLimits> = {}): StrictJsonResult {
  const bounds = { ...strictJsonLimits, ...limits };
  const bytes = typeof input === "string" ? Buffer.byteLength(input, "utf8") : input.byteLength;
  if (bytes > bounds.bytesMax) {
    return failed(
      "body_too_large",
      "",
      `the JSON has ${bytes} bytes; the limit is ${bounds.bytesMax}: send less at once`,
    );
  }
  const text = typeof input === "string" ? input : decode(input);
  if (text === undefined)
    return failed("malformed_json", "", "the bytes are not valid UTF-8: encode the text as UTF-8");
  const value = parseFast(text, bounds);
  if (value !== undefined) return { ok: true, value };
  const parser = new ExactParser(text, bounds);
  const exact = parser.parse();
  if (parser.problems.length > 0) return { ok: false, problems: parser.problems };
  return { ok: true, value: exact }; // the fast way gives up on some good texts too, e.g. odd escapes
}

function decode(bytes: Uint8Array): string | undefined {
  try {
    return utf8.decode(bytes);
  } catch {
    // A fatal decoder says no more than that the bytes are not UTF-8.
    return undefined;
  }
}

function failed(code: StrictJsonCode, pointer: string, message: string): StrictJsonResult {
  return { ok: false, problems: [{ code, pointer, message }] };
}

// ---- the fast way -------------------------------------------------------------------------------------------------------

/** The value if the text is good beyond doubt; undefined sends it to the exact parser. */
function parseFast(text: string, limits: StrictJsonLimits): JsonValue | undefined {
  const members = scan(text, limits);
  if (members === undefined || hasLoneSurrogate(text)) return undefined;
  let value: JsonValue;
  try {
    value = JSON.parse(text) as JsonValue;
  } catch {
    // The exact parser finds the place and says it with a pointer.
    return undefined;
  }
  return countMembers(value) === members ? value : undefined; // fewer: a name stood twice
}

/** Members in the text (each has one colon outside strings); undefined if anything needs a closer look. */
function scan(text: string, limits: StrictJsonLimits): number | undefined {
  let depth = 0;
  let members = 0;
  let values = 1;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === quote) {
      const end = endOfString(text, i);
      if (end === undefined) return undefined;
      i = end;
    } else if (c === colon) {
      members++;
    } else if (c === comma) {
      if (++values > limits.valuesMax) return undefined;
    } else if (c === openBrace || c === openBracket) {
      values++; // an empty one is counted too much: the exact parser then decides
      if (++depth > limits.depthMax) return undefined;
    } else if (c === closeBrace || c === closeBracket) {
      depth--;
    } else if ((c >= digit0 && c <= digit9) || c === minus) {
      const end = endOfNumber(text, i);
      if (end - i > 15 || !isPlainInteger(text, i, end)) {
        if (!isNumberKept(text.slice(i, end))) return undefined;
      }
      i = end - 1;
    }
  }
  return values > limits.valuesMax ? undefined : members;
}

const quote = 0x22;
const backslash = 0x5c;
const colon = 0x3a;
const comma = 0x2c;
const openBrace = 0x7b;
const closeBrace = 0x7d;
const openBracket = 0x5b;
const closeBracket = 0x5d;
const digit0 = 0x30;
const digit9 = 0x39;
const minus = 0x2d;
const letterU = 0x75;

/** Index of the closing quote; undefined if there is none or the string has a \u escape, which the exact parser reads. */
function endOfString(text: string, start: number): number | undefined {
  for (let i = start + 1; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c === quote) return i;
    if (c === backslash) {
      i++;
      if (text.charCodeAt(i) === letterU && !isHarmlessEscape(text, i + 1)) return undefined;
    }
  }
  return undefined;
}

/** The four hex digits after \u name neither U+0000 nor half of a surrogate pair. */
function isHarmlessEscape(text: string, at: number): boolean {
  const code = Number.parseInt(text.slice(at, at + 4), 16);
  return code > 0 && (code < 0xd800 || code > 0xdfff);
}

function endOfNumber(text: string, start: number): number {
  let i = start + 1;
  for (; i < text.length; i++) {
    const c = text.charCodeAt(i);
    // 0-9 + - . E e
    if (!((c >= digit0 && c <= digit9) || c === 0x2b || c === minus || c === 0x2e || c === 0x45 || c === 0x65)) break;
  }
  return i;
}

function isPlainInteger(text: string, start: number, end: number): boolean {
  for (let i = start + 1; i < end; i++) {
    const c = text.charCodeAt(i);
    if (c < digit0 || c > digit9) return false;
  }
  return true;
}

/** Every member of every object, counted without recursion: depth was bounded, width was not. */
function countMembers(root: JsonValue): number {
  let members = 0;
  const open: object[] = typeof root === "object" && root !== null ? [root] : [];
  for (let node = open.pop(); node !== undefined; node = open.pop()) {
    if (Array.isArray(node)) {
      for (const item of node as unknown[]) if (typeof item === "object" && item !== null) open.push(item);
      continue;
    }
    for (const key in node) {
      members++; // JSON.parse makes own enumerable members of a plain object, `__proto__` among them
      const item = (node as Record<string, unknown>)[key];
      if (typeof item === "object" && item !== null) open.push(item);
    }
  }
  return members;
}

/**
 * A number is kept if the double it becomes is finite, at most 2^53 − 1 in size, and an integer exactly if the text denotes an
 * integer: 9007199254740993, 9007199254740993.0, 1e400 and 1e-400 are not kept; 0.1 is, as everywhere in JSON.
 */
export function isNumberKept(literal: string): boolean {
  if (literal.length > numberLengthMax) return false;
  const value = Number(literal);
  if (!Number.isFinite(value) || Math.abs(value) > Number.MAX_SAFE_INTEGER) return false;
  return Number.isInteger(value) === denotesInteger(literal);
}

/** The literal's exact value is an integer, however it is written: `1.50e1` is. Exponents may be huge. */
function denotesInteger(literal: string): boolean {
  const match = /^-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(literal);
  if (match === null) return true; // not a number: the grammar check says so
  const fraction = (match[2] ?? "").replace(/0+$/, "");
  const digits = ((match[1] ?? "") + fraction).replace(/^0+/, "");
  if (digits === "") return true;
  const exponent = Number(match[3] ?? "0"); // ±Infinity compares as it should
  const trailingZeros = fraction === "" ? digits.length - digits.replace(/0+$/, "").length : 0;
  return exponent - fraction.length + trailingZeros >= 0;
}

// ---- the exact way ------------------------------------------------------------------------------------------------------

/** Thrown inside the parser to stop where nothing sensible can follow. */
class Stop extends Error {}

/** Recursive descent over the grammar of RFC 8259; depth is bounded by the limits, so the stack is. */
class ExactParser {
  readonly problems: StrictJsonProblem[] = [];
  readonly #text: string;
  readonly #limits: StrictJsonLimits;
  readonly #path: (string | number)[] = [];
  #at = 0;
  #values = 0;

  constructor(text: string, limits: StrictJsonLimits) {
    this.#text = text;
    this.#limits = { ...limits, depthMax: Math.min(limits.depthMax, 500) };
  }

  parse(): JsonValue {
    try {
      const value = this.#value();
      this.#space();
      if (this.#at < this.#text.length) this.#malformed("something follows the value");
      return value;
    } catch (error) {
      if (!(error instanceof Stop)) throw error;
      return null;
    }
  }

  #value(): JsonValue {
    if (++this.#values > this.#limits.valuesMax) {
      this.#stop("json_too_large", `more than ${this.#limits.valuesMax} values: send less at once`);
    }
    this.#space();
    const c = this.#text[this.#at];
    if (c === "{") return this.#nested(() => this.#object());
    if (c === "[") return this.#nested(() => this.#array());
    if (c === '"') return this.#checkedString();
    for (const [word, value] of words) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    return this.#number();
  }

  #nested<T>(read: () => T): T {
    if (this.#path.length >= this.#limits.depthMax) {
      this.#stop("json_too_deep", `nested more than ${this.#limits.depthMax} deep: flatten it`);
    }
    this.#at++;
    return read();
  }

  #object(): JsonValue {
    const members: Record<string, JsonValue> = {};
    const seen = new Set<string>();
    this.#space();
    if (this.#take("}")) return members;
    for (;;) {
      this.#space();
      if (this.#text[this.#at] !== '"') this.#malformed("a member name in double quotes is expected");
      const name = this.#string();
      this.#path.push(name);
      if (seen.has(name)) this.#problem("json_duplicate_key", `the member ${excerpt(name)} stands twice: keep one`);
      if (!isStorableText(name)) this.#problem("text_unstorable", unstorable("the member name"));
      seen.add(name);
      this.#space();
      if (!this.#take(":")) this.#malformed("a colon is expected");
      const value = this.#value();
      Object.defineProperty(members, name, { value, enumerable: true, configurable: true, writable: true });
      this.#path.pop();
      this.#space();
      if (this.#take("}")) return members;
      if (!this.#take(",")) this.#malformed("a comma or `}` is expected");
    }
  }

  #array(): JsonValue {
    const items: JsonValue[] = [];
    this.#space();
    if (this.#take("]")) return items;
    for (;;) {
      this.#path.push(items.length);
      items.push(this.#value());
      this.#path.pop();
      this.#space();
      if (this.#take("]")) return items;
      if (!this.#take(",")) this.#malformed("a comma or `]` is expected");
    }
  }

  #checkedString(): string {
    const text = this.#string();
    if (!isStorableText(text)) this.#problem("text_unstorable", unstorable("the text"));
    return text;
  }

  /** RFC 8259 §7. A string may be megabytes long, so no regular expression here: its stack would grow with the string. */
  #string(): string {
    let end = this.#at + 1;
    for (; end < this.#text.length; end++) {
      const c = this.#text.charCodeAt(end);
      if (c === quote) break;
      if (c === backslash) end++;
    }
    let text: string;
    try {
      text = JSON.parse(this.#text.slice(this.#at, end + 1)) as string;
    } catch {
      // JSON.parse refuses exactly the strings that RFC 8259 §7 does not allow.
      return this.#malformed("a string is not closed, or holds a control character or a bad escape");
    }
    this.#at = end + 1;
    return text;
  }

  #number(): number {
    const end = endOfNumber(this.#text, this.#at);
    const literal = this.#text.slice(this.#at, Math.min(end, this.#at + numberLengthMax + 1));
    if (!numberPattern.test(literal)) return this.#malformed("a value is expected");
    this.#at = end;
    if (!isNumberKept(literal)) {
      this.#problem("json_number_unsafe", `the number ${excerpt(literal)} cannot be kept exactly: send it as a string`);
    }
    return Number(literal);
  }

  #space(): void {
    while (this.#at < this.#text.length && isSpace(this.#text.charCodeAt(this.#at))) this.#at++;
  }

  #take(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at++;
    return true;
  }

  #malformed(expected: string): never {
    const found = this.#at < this.#text.length ? excerpt(this.#text.slice(this.#at, this.#at + 12)) : "the end";
    this.#stop("malformed_json", `${expected} at character ${this.#at}, found ${found}`);
  }

  #stop(code: StrictJsonCode, message: string): never {
    this.#problem(code, message);
    throw new Stop();
  }

  #problem(code: StrictJsonCode, message: string): void {
    if (this.problems.length >= problemsMax) throw new Stop();
    let pointer = "";
    for (const step of this.#path) {
      // A step's first characters are enough: it may be megabytes long.
      pointer += pointerStep(typeof step === "string" ? step.slice(0, pointerLengthMax) : step);
      if (pointer.length > pointerLengthMax) break;
    }
    this.problems.push({ code, pointer: pointer.slice(0, pointerLengthMax), message });
  }
}

const words: readonly (readonly [string, JsonValue])[] = [
  ["true", true],
  ["false", false],
  ["null", null],
];
// RFC 8259 §6, on at most numberLengthMax + 1 characters.
const numberPattern = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** RFC 8259 §2. */
function isSpace(c: number): boolean {
  return c === 0x20 || c === 0x09 || c === 0x0a || c === 0x0d;
}

function isStorableText(text: string): boolean {
  return !text.includes("\u0000") && !hasLoneSurrogate(text);
}

function unstorable(what: string): string {
  return `${what} holds U+0000 or a lone surrogate, which cannot be stored: leave it out`;
}

/** A short, printable piece of foreign text. */
function excerpt(text: string): string {
  const short = text.length > 40 ? `${text.slice(0, 40)}…` : text;
  // Everything outside printable ASCII is escaped: messages end up in terminals.
  return `\`${short.replace(/[^\x20-\x7e…]/gu, (c) => `\\u{${(c.codePointAt(0) as number).toString(16)}}`)}\``;
}
