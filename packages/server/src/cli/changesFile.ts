/** Change-sets and configuration from JSON files: comments and trailing commas are allowed, nothing else beyond RFC 8259. */
import { readFileSync } from "node:fs";
import { parseStrictJson } from "@countersign/proof";
import { CliError } from "./exit.js";

export function readBytes(path: string, shown = path): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const why = (cause as NodeJS.ErrnoException).code === "ENOENT" ? "there is no such file" : (cause as Error).message;
    throw new CliError("file_unreadable", `cannot read \`${shown}\`: ${why}`, { cause });
  }
}

/**
 * Strict JSON after comments and trailing commas are blanked out: a member twice, a number that would be rounded or a text
 * that cannot be stored is named with its place instead of being changed in silence.
 */
export function parseDocument(bytes: Buffer, shown: string): unknown {
  const text = bytes.toString("utf8").replace(/^\uFEFF/, "");
  const parsed = parseStrictJson(blanked(text));
  if (parsed.ok) return parsed.value;
  const problems = parsed.problems.map(({ pointer, message }) => ({
    ...(pointer === undefined ? {} : { pointer }),
    message,
  }));
  throw new CliError("file_malformed", `\`${shown}\` is not valid JSON`, { problems });
}

// Texts are matched first, so that nothing inside one is taken for a comment or a comma.
const textOrComment = /"(?:[^"\\]|\\.)*"|\/\/[^\n\r]*|\/\*[\s\S]*?\*\//g;
const textOrTrailingComma = /"(?:[^"\\]|\\.)*"|(?<=[^\s[{,]\s*),(?=\s*[}\]])/g;

/** Same length, so that places in messages stay right. */
function blanked(text: string): string {
  const blank = (token: string): string => (token.startsWith('"') ? token : token.replace(/[^\n\r]/g, " "));
  return text.replace(textOrComment, blank).replace(textOrTrailingComma, blank);
}
