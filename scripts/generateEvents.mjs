/**
 * `npm run docs:events`: writes docs/events.md and packages/contract/schemas/events.v1.json from the catalogue of events in
 * packages/contract/src/events; with `--check` only compares.
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import {
  categories,
  commonMembers,
  concerned,
  errorCodes,
  eventAreas,
  eventRow,
  eventSchemas,
  sentenceOf,
  statuses,
} from "../packages/contract/dist/index.js";

/** What stands for a member in an example of a sentence. */
function exampleOf(schema) {
  const { def } = schema;
  switch (def.type) {
    case "optional":
      return undefined;
    case "nullable":
      return null;
    case "enum":
      return schema.options[0];
    case "literal":
      return def.values[0];
    case "boolean":
      return false;
    case "number":
    case "int":
      return 2;
    case "array":
      return [exampleOf(def.element)];
    case "tuple":
      return def.items.map(exampleOf);
    case "object":
      return exampleData(schema);
    case "union":
      return exampleOf(def.options[0]);
    case "string":
      return texts.find((text) => schema.safeParse(text).success);
    default:
      throw new Error(`no example of ${def.type}`);
  }
}
const forms = ["id", "digest", "number", "signature", "public key", "key id", "fingerprint"];
/** Lists that have a name, and a place of their own in the documents. */
const named = new Map([
  [statuses.join(), "a status"],
  [categories.join(), "a category"],
  [errorCodes.join(), "a code of [errors.md](errors.md)"],
]);
const texts = [
  "0199c000-0000-7000-8000-0000000000d1",
  "a".repeat(64),
  "CS-2026-1120-001",
  "A".repeat(86),
  "A".repeat(43),
  "0123abcd",
  "0123abcd".repeat(4),
  "example",
  "EXAMPLE",
  "*",
];

function exampleData({ shape }) {
  return Object.fromEntries(
    Object.entries(shape)
      .map(([name, schema]) => [name, exampleOf(schema)])
      .filter(([, value]) => value !== undefined),
  );
}

/** The form of a member, in as few words as say it. */
function formOf(schema) {
  const { def } = schema;
  switch (def.type) {
    case "optional":
      return formOf(def.innerType);
    case "nullable":
      return `${formOf(def.innerType)} or null`;
    case "enum":
      return named.get(schema.options.join()) ?? schema.options.map((option) => `\`${option}\``).join("/");
    case "literal":
      return def.values.map((value) => `\`${value}\``).join(" ");
    case "number":
    case "int":
      return "integer";
    case "array":
      return `list of ${formOf(def.element)}`;
    case "tuple":
      return `[${def.items.map(formOf).join(", ")}]`;
    case "union":
      return def.options.map(formOf).join(" or ");
    case "string":
      return schema.safeParse("example").success ? "word" : (forms[texts.indexOf(exampleOf(schema))] ?? "word");
    default:
      return def.type;
  }
}

function memberOf(name, schema) {
  const optional = schema.safeParse(undefined).success ? "?" : "";
  return `\`${name}${optional}\` ${formOf(schema)}`;
}

function lineOf(action) {
  const { subjects, data, concerns } = eventRow(action);
  const members = Object.entries(data.shape).filter(([name]) => !commonMembers.includes(name));
  const about = subjects.length > 3 ? "any of these" : subjects.map((type) => `\`${type}\``).join(", ");
  const sentence = sentenceOf({ action, actor: "Ada", subject: "…", data: exampleData(data) });
  if (sentence.startsWith(`Ada: ${action}`)) throw new Error(`${action}: its example is not what its schema says`);
  const said = members.map(([name, schema]) => memberOf(name, schema)).join(" · ");
  return `| \`${action}\` | ${about} | ${said} | ${sentence} | ${concerns.map((who) => `\`${who}\``).join(" ")} |`;
}

function page() {
  return `# Events

<!-- Generated from packages/contract/src/events by \`npm run docs:events\`. -->

Every entry of the ledger has one of these actions. The entry's form, and what verifiers check of it, is in
[ledger-format.md](ledger-format.md); how entries are read is in [audit.md](audit.md).

- \`data\` holds ids, enums, integers, booleans, digests and signatures. Names, titles and reasons are in the entry's body, which can be
  erased; the entry keeps only its hash.
- Actions and members are added, never removed, renamed or narrowed: an entry is for ever. Ignore members you do not know. A \`?\` marks a
  member that may be left out.
- The first entry of a command that a person gave with their key unlocked has \`proof\` in its data as well:
  \`key\`, \`atMs\`, \`signature\`, \`operation\`, \`input\` ([authentication.md](authentication.md)).
- The sentence is what people read, here with made-up values; names stand in the place of ids where somebody knows them.
- The same as JSON Schema 2020-12: \`/api/events.json\` of a server, and \`schemas/events.v1.json\` of the package \`@countersign/contract\`.
  Its id is versioned: \`${eventSchemas().$id}\`.
${Object.entries(eventAreas)
  .map(
    ([area, rows]) => `
## ${area}

| action | subject | data | sentence | concerns |
|---|---|---|---|---|
${Object.keys(rows).map(lineOf).join("\n")}
`,
  )
  .join("")}
## Whom an event concerns

| | |
|---|---|
${Object.entries(concerned)
  .map(([who, words]) => `| \`${who}\` | ${words} |`)
  .join("\n")}
`;
}

const made = [
  [new URL("../docs/events.md", import.meta.url), page()],
  [
    new URL("../packages/contract/schemas/events.v1.json", import.meta.url),
    `${JSON.stringify(eventSchemas(), null, 2)}\n`,
  ],
];
for (const [file, text] of made) {
  if (!process.argv.includes("--check")) {
    mkdirSync(new URL(".", file), { recursive: true });
    writeFileSync(file, text);
  } else if (readFileSync(file, "utf8") !== text) {
    console.error(`${file.pathname} does not show the catalogue of events; run \`npm run docs:events\` and commit it`);
    process.exitCode = 1;
  }
}
