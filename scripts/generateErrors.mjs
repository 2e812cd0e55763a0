/** `npm run docs:errors`: writes docs/errors.md from the catalogue in packages/contract/src/errors.ts; with `--check` only compares. */
import { readFileSync, writeFileSync } from "node:fs";
import { errorCatalogue } from "../packages/contract/dist/errors.js";

const source = readFileSync(new URL("../packages/contract/src/errors.ts", import.meta.url), "utf8");
const file = new URL("../docs/errors.md", import.meta.url);

/** Codes in their order, under the comment they stand below in the catalogue. */
function groups() {
  const catalogue = source.slice(source.indexOf("export const errorCatalogue"), source.indexOf("} as const satisfies"));
  const found = [];
  for (const line of catalogue.split("\n")) {
    const title = /^ {2}\/\/ (.+)$/.exec(line)?.[1];
    const code = /^ {2}([a-z_]+): \{/.exec(line)?.[1];
    if (title !== undefined) found.push({ title: title.replace(/\.$/, ""), codes: [] });
    if (code !== undefined) found.at(-1).codes.push(code);
  }
  return found;
}

function page() {
  const listed = groups();
  const codes = listed.flatMap((group) => group.codes);
  if (codes.join() !== Object.keys(errorCatalogue).join())
    throw new Error("the catalogue's source and its values differ: is the contract compiled?");
  const lines = [
    "# Errors",
    "",
    "<!-- Generated from packages/contract/src/errors.ts by `npm run docs:errors`. -->",
    "",
    "Every refusal is a problem document (RFC 9457, `application/problem+json`) with a `code` from this list; the command line prints the",
    "same code. Codes are part of the protocol: they are added, never renamed or used for something else. The `detail` names the culprit",
    "in backticks and says the way out; `problems` lists everything that is wrong at once, with JSON pointers into the request. When",
    "several codes apply, the one that stands first here is the document's own. *Recorded*: the refusal leaves an entry in the ledger.",
    "",
    "```json",
    "{",
    '  "type": "https://countersign.dev/problems/illegal_transition",',
    `  "title": "${errorCatalogue.illegal_transition.title}",`,
    `  "status": ${errorCatalogue.illegal_transition.status},`,
    '  "code": "illegal_transition",',
    '  "detail": "change-set `CS-2026-1120-001` is APPLIED; legal: roll_back, archive"',
    "}",
    "```",
  ];
  for (const { title, codes: inGroup } of listed) {
    lines.push("", `## ${title}`, "", "| code | status | meaning | recorded |", "|---|---|---|---|");
    for (const code of inGroup) {
      const entry = errorCatalogue[code];
      lines.push(`| \`${code}\` | ${entry.status} | ${entry.title} | ${entry.recorded === true ? "yes" : ""} |`);
    }
  }
  return `${lines.join("\n")}\n`;
}

const text = page();
if (!process.argv.includes("--check")) writeFileSync(file, text);
else if (readFileSync(file, "utf8") !== text) {
  console.error("docs/errors.md does not show the catalogue; run `npm run docs:errors` and commit it");
  process.exitCode = 1;
}
