/** `npm run docs:lifecycle`: writes the table of transitions into docs/change-sets.md from packages/contract/src/lifecycle.ts; with `--check` only compares. */
import { readFileSync, writeFileSync } from "node:fs";
import { transitions } from "../packages/contract/dist/lifecycle.js";

const file = new URL("../docs/change-sets.md", import.meta.url);
const begin = "<!-- Generated from packages/contract/src/lifecycle.ts by `npm run docs:lifecycle`. -->";
const end = "<!-- End of the generated table. -->";

const rows = transitions.map(
  ({ from, command, to, by, who }) =>
    `| ${from} | ${by === "engine" ? `*${command}*` : `\`${command}\``} | ${to.join(", ")} | ${who} |`,
);
const table = [begin, "", "| from | command | to | who, or when |", "|---|---|---|---|", ...rows, "", end].join("\n");

const text = readFileSync(file, "utf8");
const [start, stop] = [text.indexOf(begin), text.indexOf(end)];
if (start < 0 || stop < start) throw new Error("docs/change-sets.md has lost the marks of its generated table");
const next = text.slice(0, start) + table + text.slice(stop + end.length);
if (!process.argv.includes("--check")) writeFileSync(file, next);
else if (next !== text) {
  console.error(
    "docs/change-sets.md does not show the table of transitions; run `npm run docs:lifecycle` and commit it",
  );
  process.exitCode = 1;
}
