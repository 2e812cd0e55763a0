/** `npm run docs:flow`: draws docs/flow-light.svg and docs/flow-dark.svg, the picture of README.md; with `--check` only compares. */
import { readFileSync, writeFileSync } from "node:fs";

const themes = {
  light: {
    text: "#1f2328",
    quiet: "#59636e",
    line: "#8c959f",
    box: "#f6f8fa",
    edge: "#d1d9e0",
    accent: "#0969da",
    good: "#1a7f37",
    ledger: "#ddf4ff",
    ledgerEdge: "#54aeff",
  },
  dark: {
    text: "#f0f6fc",
    quiet: "#9198a1",
    line: "#656c76",
    box: "#151b23",
    edge: "#3d444d",
    accent: "#4493f8",
    good: "#3fb950",
    ledger: "#0c2d6b",
    ledgerEdge: "#1f6feb",
  },
};

const width = 960;
const height = 352;
const font = "-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif";

/** Left to right; each row of text below the title. */
const steps = [
  { title: "propose", lines: ["an agent sends items:", "one operation on", "one target each"], who: "agent" },
  { title: "plan", lines: ["diffs, before-hashes,", "inverses, read from", "the targets"], who: "Countersign" },
  {
    title: "decide",
    lines: ["risk 0–100 with floors,", "policy by item,", "a route of approvers"],
    who: "Countersign",
  },
  {
    title: "approve",
    lines: ["people sign exactly", "this content; who is", "behind it does not"],
    who: "people",
  },
  { title: "apply", lines: ["checked again, locked,", "done, read back;", "or taken back whole"], who: "Countersign" },
];
const box = { y: 56, width: 164, height: 116, gap: 28 };
const left = (index) => 14 + index * (box.width + box.gap);

function text(x, y, content, { fill, size = 14, weight = 400, anchor = "middle" }) {
  return `  <text x="${x}" y="${y}" fill="${fill}" font-size="${size}" font-weight="${weight}" text-anchor="${anchor}">${content}</text>`;
}

function arrow(path, color, dash = "") {
  return `  <path d="${path}" fill="none" stroke="${color}" stroke-width="1.8"${dash} marker-end="url(#head-${color.slice(1)})"/>`;
}

function head(color) {
  return `    <marker id="head-${color.slice(1)}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 L8 4 L0 8 z" fill="${color}"/></marker>`;
}

function step(index, c) {
  const { title, lines, who } = steps[index];
  const x = left(index);
  const middle = x + box.width / 2;
  return [
    text(middle, box.y - 14, who, { fill: c.quiet, size: 12 }),
    `  <rect x="${x}" y="${box.y}" width="${box.width}" height="${box.height}" rx="8" fill="${c.box}" stroke="${c.edge}"/>`,
    text(middle, box.y + 30, title, { fill: c.accent, size: 17, weight: 600 }),
    ...lines.map((line, row) => text(middle, box.y + 56 + row * 19, line, { fill: c.text, size: 13 })),
  ];
}

function draw(c) {
  const middleY = box.y + box.height / 2;
  const bottom = box.y + box.height;
  const ledgerY = 268;
  const centre = (index) => left(index) + box.width / 2;
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="${font}" role="img" aria-label="An agent proposes; Countersign plans and decides; people approve by signature; Countersign applies and can roll back; every step is an entry in the ledger, which anyone can verify.">`,
    "  <defs>",
    head(c.line),
    head(c.good),
    "  </defs>",
    ...steps.flatMap((_, index) => step(index, c)),
    ...steps
      .slice(1)
      .map((_, index) => arrow(`M${left(index) + box.width + 3} ${middleY} H${left(index + 1) - 3}`, c.line)),
    // Roll back: out of apply, below the boxes, back to before the plan.
    arrow(`M${centre(4) + 34} ${bottom + 3} V${bottom + 38} H${centre(1)} V${bottom + 5}`, c.good),
    ...["roll back", "the newest first,", "to the exact bytes"].map((part, index) =>
      text(centre(index + 1) + (left(1) - left(0)) / 2 - 50, bottom + 31, part, {
        fill: c.good,
        size: 13,
        weight: 600,
      }),
    ),
    ...steps.map((_, index) =>
      arrow(`M${centre(index) - 50} ${bottom + 3} V${ledgerY - 3}`, c.line, ' stroke-dasharray="3 4"'),
    ),
    `  <rect x="${left(0)}" y="${ledgerY}" width="${left(4) + box.width - left(0)}" height="44" rx="8" fill="${c.ledger}" stroke="${c.ledgerEdge}"/>`,
    text(
      width / 2,
      ledgerY + 27,
      "ledger: every step an entry, chained by hash, written in the same commit as what it records",
      { fill: c.text, size: 14, weight: 600 },
    ),
    text(
      width / 2,
      ledgerY + 66,
      "countersign audit verify · an exported bundle and a second verifier need neither the server nor its database",
      { fill: c.quiet, size: 13 },
    ),
    "</svg>",
  ];
  return `${parts.join("\n")}\n`;
}

for (const [name, colors] of Object.entries(themes)) {
  const file = new URL(`../docs/flow-${name}.svg`, import.meta.url);
  const svg = draw(colors);
  if (!process.argv.includes("--check")) writeFileSync(file, svg);
  else if (readFileSync(file, "utf8") !== svg) {
    console.error(
      `docs/flow-${name}.svg is not what scripts/drawFlow.mjs draws; run \`npm run docs:flow\` and commit it`,
    );
    process.exitCode = 1;
  }
}
