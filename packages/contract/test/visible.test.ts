import { describe, expect, it } from "vitest";
import { visible, visibleLines } from "../src/visible.js";

const rows: readonly [what: string, text: string, shown: string][] = [
  ["plain text stays", "config/app.json", "config/app.json"],
  ["letters of every script stay", "Grüße, 世界, שלום, مرحبا, 🚀", "Grüße, 世界, שלום, مرحبا, 🚀"],
  ["a terminal escape", "\u001b[31mred\u001b[0m", "\\x1b[31mred\\x1b[0m"],
  ["a C1 control", "a\u009b2Jb", "a\\x9b2Jb"],
  ["bell, backspace, NUL, DEL", "\u0007\b\u0000\u007f", "\\x07\\x08\\x00\\x7f"],
  ["line breaks", "a\r\nb\tc", "a\\r\\nb\\tc"],
  ["a right-to-left override", "abc\u202egnp.exe", "abc\\u{202e}gnp.exe"],
  ["isolates", "\u2066x\u2069", "\\u{2066}x\\u{2069}"],
  ["marks", "\u200e\u200f\u061c", "\\u{200e}\\u{200f}\\u{61c}"],
  ["zero width", "pay\u200bpal\u200c\u200d\ufeff", "pay\\u{200b}pal\\u{200c}\\u{200d}\\u{feff}"],
  ["separators", "a\u2028b\u2029c", "a\\u{2028}b\\u{2029}c"],
  ["tag characters", "a\u{e0041}", "a\\u{e0041}"],
  ["a lone surrogate", "a\ud800b", "a\\u{d800}b"],
];

describe("visible", () => {
  it.each(rows)("%s", (_what, text, shown) => {
    expect(visible(text)).toBe(shown);
  });

  it("lets nothing hidden through, whatever the character", () => {
    for (let code = 0; code <= 0xffff; code++) {
      const shown = visible(String.fromCharCode(code));
      expect(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u.test(shown), `U+${code.toString(16)}`).toBe(false);
    }
  });

  it("keeps the lines of a text of several lines", () => {
    expect(visibleLines("a\n\tb\u001b[2J\r\n")).toBe("a\n\tb\\x1b[2J\\r\n");
  });
});
