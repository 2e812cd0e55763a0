/**
 * Target patterns: they say which targets a grant, a rule or a window covers. `docs/policy.md` has the grammar and a
 * table of examples, which `test/governance/patterns.test.ts` reads and runs.
 *
 * INVARIANT: matching takes at most (|pattern| + 1) · (|name| + 1) steps; there is no backtracking beyond the last star.
 * INVARIANT: a permitting pattern reaches the environment `system` only by naming it.
 * INVARIANT: restricting patterns match whatever the case where a kind says so (files), because some systems do.
 */
import {
  configurationEnvironment,
  findTargetKind,
  type PatternGrammar,
  type PatternPart,
  type TargetFacts,
  targetKind,
  type TargetKindName,
  targetKinds,
} from "@countersign/contract";

/** A permit is read narrowly, a restriction widely. */
export type PatternUse = "permit" | "restrict";

/** One segment: pieces of text between stars. `["a", "b"]` is `a*b`, `["a"]` is `a`. */
type Segment = { readonly kind: "text"; readonly pieces: readonly string[] } | { readonly kind: "globstar" };

/** One part of a pattern: one segment, or a path of them. */
type Part = readonly Segment[];

export type Pattern =
  | { readonly kind: "any"; readonly text: string }
  | {
      readonly kind: "target";
      readonly text: string;
      readonly targetKind: TargetKindName;
      readonly parts: readonly Part[];
      /** The same for restrictions: without case, where some system that holds such targets does not tell case apart. */
      readonly folded: readonly Part[];
    };

export interface PatternError {
  readonly kind: "error";
  readonly message: string;
}

/** More stars in one pattern are never meant, and only cost time. */
export const patternStarsMax = 32;

/** A star that was not escaped. Cannot occur in a pattern: U+0000 is refused at the edge, and here. */
const star = "\u0000";

/** Splits at an unescaped `:`, at most `parts` parts, and keeps escapes for the next step. */
function splitParts(text: string, parts: number): string[] {
  const found: string[] = [];
  let begin = 0;
  for (let at = 0; at < text.length && found.length < parts - 1; at++) {
    if (text[at] === "\\") at++;
    else if (text[at] === ":") {
      found.push(text.slice(begin, at));
      begin = at + 1;
    }
  }
  found.push(text.slice(begin));
  return found;
}

/** Resolves escapes; unescaped stars become `star`. */
function unescape(text: string): string | PatternError {
  let out = "";
  for (let at = 0; at < text.length; at++) {
    const char = text[at] as string;
    if (char === "*") out += star;
    else if (char !== "\\") out += char;
    else {
      const next = text[++at];
      if (next === undefined || !"*\\:".includes(next))
        return { kind: "error", message: `\`\\${next ?? ""}\` is no escape; \`\\*\`, \`\\\\\` and \`\\:\` are` };
      out += next;
    }
  }
  return out;
}

function parseSegment(raw: string, allowGlobstar: boolean): Segment | PatternError {
  const text = unescape(raw);
  if (typeof text !== "string") return text;
  if (text === star + star && allowGlobstar) return { kind: "globstar" };
  if (text.includes(star + star))
    return {
      kind: "error",
      message: allowGlobstar
        ? `\`**\` stands alone between slashes, not in \`${raw}\``
        : `\`**\` is for ids and paths, not for \`${raw}\``,
    };
  return { kind: "text", pieces: text.split(star) };
}

function parseSingle(raw: string, what: string): Part | PatternError {
  if (raw === "") return { kind: "error", message: `the ${what} is empty; \`*\` stands for any` };
  const segment = parseSegment(raw, false);
  return segment.kind === "error" ? segment : [segment];
}

function parsePath(raw: string, what: string): Part | PatternError {
  if (raw === "") return { kind: "error", message: `the ${what} is empty; \`**\` stands for any` };
  const segments: Segment[] = [];
  for (const part of raw.split("/")) {
    const segment = parseSegment(part, true);
    if (segment.kind === "error") return segment;
    // `**/**` says no more than `**`.
    if (segment.kind === "globstar" && segments.at(-1)?.kind === "globstar") continue;
    segments.push(segment);
  }
  return segments;
}

/** The form of a text for comparison: composed (NFC), and without case for restrictions on files. */
function normal(text: string): string {
  return text.normalize("NFC");
}
function folded(text: string): string {
  // Upper first: `ſ` and `ß` meet `s` and `ss`. Wider than any file system folds, which is safe for a restriction.
  return text.normalize("NFC").toUpperCase().toLowerCase().normalize("NFC");
}

function mapSegment(segment: Segment, change: (text: string) => string): Segment {
  return segment.kind === "globstar" ? segment : { kind: "text", pieces: segment.pieces.map(change) };
}

function isError(value: object): value is PatternError {
  return "kind" in value && value.kind === "error";
}

/** Reads a pattern. Normalisation is to NFC, so a pattern matches a name however its accents are written. */
export function parsePattern(given: string): Pattern | PatternError {
  const text = normal(given);
  if (text.includes(star)) return { kind: "error", message: "the pattern holds U+0000" };
  if (text === "*") return { kind: "any", text };
  if ((text.match(/\*/g)?.length ?? 0) > patternStarsMax)
    return { kind: "error", message: `the pattern has more than ${patternStarsMax} stars` };
  const [name = "", rest = ""] = splitParts(text, 2);
  const kind = findTargetKind(name);
  if (kind !== undefined) return parseParts(text, rest, name as TargetKindName, kind.pattern);
  const prefixes = targetKinds.map((one) => `\`${one}:\``);
  return {
    kind: "error",
    message: `\`${text}\` begins with neither ${prefixes.join(" nor ")}; \`*\` alone stands for every target`,
  };
}

function parseParts(
  text: string,
  rest: string,
  targetKind: TargetKindName,
  grammar: PatternGrammar,
): Pattern | PatternError {
  const given = splitParts(rest, grammar.parts.length);
  if (given.length < grammar.parts.length) {
    const form = [targetKind, ...grammar.parts.map((part) => part.form)].join(":");
    return { kind: "error", message: `\`${text}\` is not of the form \`${form}\`` };
  }
  const parts: Part[] = [];
  for (const [index, part] of grammar.parts.entries()) {
    const parsed = parsePart(given[index] ?? "", part, text);
    if (isError(parsed)) return parsed;
    parts.push(parsed);
  }
  const fold = (segments: Part): Part => segments.map((segment) => mapSegment(segment, folded));
  return { kind: "target", text, targetKind, parts, folded: grammar.foldsCase ? parts.map(fold) : parts };
}

function parsePart(raw: string, { name, segments, isBelow }: PatternPart, text: string): Part | PatternError {
  if (isBelow !== undefined && raw.startsWith("/")) return { kind: "error", message: `\`${text}\`: ${isBelow}` };
  return segments === "path" ? parsePath(raw, name) : parseSingle(raw, name);
}

/** Counts steps, so that a test can hold the bound instead of the clock. */
export interface Meter {
  steps: number;
}

/** `text` begins with, ends with and holds in between, in order, the pieces. Greedy from the left is enough for stars. */
function matchesSegment(segment: Segment, text: string, meter: Meter): boolean {
  if (segment.kind === "globstar") return true;
  const { pieces } = segment;
  const first = pieces[0] ?? "";
  meter.steps += Math.min(first.length, text.length) + 1;
  if (pieces.length === 1) return text === first;
  if (!text.startsWith(first)) return false;
  const last = pieces.at(-1) ?? "";
  let at = first.length;
  for (const piece of pieces.slice(1, -1)) {
    const found = text.indexOf(piece, at);
    meter.steps += (found < 0 ? text.length : found) - at + piece.length;
    if (found < 0) return false;
    at = found + piece.length;
  }
  meter.steps += last.length;
  return text.length - last.length >= at && text.endsWith(last);
}

/**
 * `**` takes any number of segments, or none; at the end at least one. On a mismatch only the last `**` takes one more
 * segment: the part before it need not be tried again.
 */
export function matchesPath(pattern: readonly Segment[], segments: readonly string[], meter: Meter): boolean {
  let p = 0;
  let s = 0;
  let retryPattern = -1;
  let retrySegment = -1;
  while (s < segments.length) {
    const segment = pattern[p];
    meter.steps++;
    if (segment?.kind === "globstar") {
      if (p === pattern.length - 1) return true; // at the end, and at least this segment is left
      retryPattern = ++p;
      retrySegment = s;
    } else if (segment !== undefined && matchesSegment(segment, segments[s] as string, meter)) {
      p++;
      s++;
    } else if (retryPattern >= 0) {
      p = retryPattern;
      s = ++retrySegment;
    } else return false;
  }
  return p === pattern.length;
}

/** Whether the pattern is about the target, read as a permit or as a restriction. */
export function matchesTarget(
  pattern: Pattern,
  target: TargetFacts,
  use: PatternUse,
  meter: Meter = { steps: 0 },
): boolean {
  if (use === "permit" && target.environment === configurationEnvironment && !namesConfiguration(pattern)) return false;
  if (pattern.kind === "any") return true;
  if (pattern.targetKind !== target.kind) return false;
  const values = findTargetKind(target.kind)?.parts(target);
  return values !== undefined && matchesParts(pattern, values, use, meter);
}

/** The same for a target of the pattern's kind of which only parts of the name are known; one that is undefined might be any. */
export function matchesParts(
  pattern: Pattern,
  values: readonly (string | undefined)[],
  use: PatternUse,
  meter: Meter = { steps: 0 },
): boolean {
  if (pattern.kind === "any") return true;
  const { pattern: grammar } = targetKind(pattern.targetKind);
  const isFolded = use === "restrict" && grammar.foldsCase;
  const compared = isFolded ? folded : normal;
  return (isFolded ? pattern.folded : pattern.parts).every((part, index) => {
    const value = values[index];
    if (value === undefined) return true;
    const text = compared(value);
    if (grammar.parts[index]?.segments === "path") return matchesPath(part, text.split("/"), meter);
    const [segment] = part;
    return segment !== undefined && matchesSegment(segment, text, meter);
  });
}

/** It says the environment of the configuration in so many words. */
function namesConfiguration(pattern: Pattern): boolean {
  if (pattern.kind === "any") return false;
  const at = targetKind(pattern.targetKind).pattern.parts.findIndex((part) => part.isEnvironment === true);
  const segment = pattern.parts[at]?.[0];
  return segment?.kind === "text" && segment.pieces.length === 1 && segment.pieces[0] === configurationEnvironment;
}

/** Parses patterns that were checked when their configuration was read. */
export function knownPattern(text: string): Pattern {
  const pattern = parsePattern(text);
  if (pattern.kind === "error") throw new Error(`a checked pattern does not parse: ${pattern.message}`);
  return pattern;
}

const parsed = new Map<string, Pattern>();
const parsedMax = 10_000;

/** The same, with a memory of parsed patterns: configurations repeat their patterns from decision to decision. */
export function cachedPattern(text: string): Pattern {
  const known = parsed.get(text);
  if (known !== undefined) return known;
  const pattern = knownPattern(text);
  if (parsed.size >= parsedMax) parsed.clear();
  parsed.set(text, pattern);
  return pattern;
}

/** Whether one of the checked patterns is about one of the targets. */
export function anyMatches(patterns: readonly string[], targets: readonly TargetFacts[], use: PatternUse): boolean {
  return patterns.some((text) => targets.some((target) => matchesTarget(cachedPattern(text), target, use)));
}
