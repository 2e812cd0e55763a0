/**
 * Makes text safe to show. Characters that would steer a terminal, or hide or reorder text before a reader's eyes, are
 * written out as escapes. Names and texts are stored as they came; every place that prints them prints `visible(text)`.
 *
 * Promises: the result holds no C0 or C1 control, no bidirectional control, no zero-width or other invisible character and
 * no lone surrogate; text without such characters is returned as it is. The result is for reading only: it cannot be
 * turned back into the text.
 */

// Cc (ESC and its kin) steers terminals; Cf holds bidirectional controls (UAX #9, "Trojan Source"), zero-width characters,
// tags; Zl and Zp break lines; Cs cannot be encoded. The rest is invisible without being of these categories: U+034F, Hangul
// fillers, Khmer inherent vowels, Mongolian and other variation selectors, unassigned ignorables of plane 14.
const hidden =
  /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\u{e0000}-\u{e0fff}]/gu;

const shortEscapes: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** `text` with every hidden or steering character written as `\n`, `\x1b` or `\u{202e}`. */
export function visible(text: string): string {
  return text.replace(hidden, escapeOne);
}

/** The same for text of several lines: line feeds and tabs stay, everything else is written out. */
export function visibleLines(text: string): string {
  return text.replace(hidden, (character) =>
    character === "\n" || character === "\t" ? character : escapeOne(character),
  );
}

function escapeOne(character: string): string {
  const short = shortEscapes[character];
  if (short !== undefined) return short;
  const code = character.codePointAt(0) ?? 0;
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
}
