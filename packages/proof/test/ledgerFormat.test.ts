/** The format document, its vector files and the code say the same, byte for byte. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import {
  bundleFormat,
  bundleFormatFirst,
  exitCodeOf,
  FORMAT_VERSION,
  findingClasses,
  formatVerifierKey,
  generateSigningKeyPair,
  noTrust,
  parsePolicy,
  verifierKey,
  verifyBundle,
  verifyReceipt,
} from "../src/index.js";
import { ledgerFormatVectors } from "./ledgerFormatVectors.js";

const folder = fileURLToPath(new URL("vectors/ledger-format/", import.meta.url));
const documentPath = fileURLToPath(new URL("../../../docs/ledger-format.md", import.meta.url));
const languages: Readonly<Record<string, string>> = { json: "json", jsonl: "jsonl" };
const quoted = (name: string, text: string): string =>
  `\`${name}\`:\n\n\`\`\`${languages[name.split(".").at(-1) ?? ""] ?? "text"}\n${text}\`\`\``;

if (process.env["COUNTERSIGN_WRITE_VECTORS"] === "1") {
  mkdirSync(folder, { recursive: true });
  let document = readFileSync(documentPath, "utf8");
  for (const [name, text] of Object.entries(ledgerFormatVectors)) {
    writeFileSync(folder + name, text);
    const place = new RegExp(`@@${name}@@|\`${name}\`:\\n\\n\`\`\`[\\s\\S]*?\`\`\``);
    document = document.replace(place, () => quoted(name, text));
  }
  writeFileSync(documentPath, document);
}

describe("the ledger format", () => {
  const document = readFileSync(documentPath, "utf8");

  it("has no vector file without a computed value, and none is missing", () => {
    expect(readdirSync(folder).sort()).toEqual(Object.keys(ledgerFormatVectors).sort());
  });

  it.each(Object.entries(ledgerFormatVectors))("%s: file, document and code agree", (name, text) => {
    expect(readFileSync(folder + name, "utf8")).toBe(text);
    expect(document).toContain(quoted(name, text));
  });

  it("is specified in the version that is written", () => {
    // Bundles have a version of their own: what they carry beside the entries may grow.
    const tags = [...document.matchAll(/countersign\.([a-z-]+)\.v(\d+)/g)].filter(([, name]) => name !== "bundle");
    expect([...new Set(tags.map((match) => Number(match[2])))]).toEqual([FORMAT_VERSION]);
    for (const format of [bundleFormat, bundleFormatFirst]) expect(document).toContain(`\`${format}\``);
  });

  it("names every finding", () => {
    for (const name of findingClasses) expect(document).toContain(`| \`${name}\` |`);
  });

  it("has example receipts that verify with the first key pinned, and not with a stranger's", () => {
    const lines = (ledgerFormatVectors["policy.txt"] as string).split("\n").filter((line) => line.startsWith("log "));
    const { publicKey } = generateSigningKeyPair(Buffer.alloc(32, 7));
    const stranger = `log ${formatVerifierKey(verifierKey({ name: "example", type: 1, publicKey }))}`;
    const codeOf = (name: string, log: string): number => {
      const parsed = parsePolicy(`${log}\nquorum none\n`);
      if (!parsed.ok) throw new Error(JSON.stringify(parsed.problems));
      const trust = { ...noTrust, policy: parsed.policy };
      return exitCodeOf(verifyReceipt(ledgerFormatVectors[name] as string, { trust }));
    };
    for (const name of ["receipt.tlog-proof", "receipt-after-rotation.tlog-proof"])
      expect([codeOf(name, lines[0] as string), codeOf(name, stranger)], name).toEqual([0, 1]);
  });

  it("has an example bundle that verifies", async () => {
    const result = await verifyBundle([Buffer.from(ledgerFormatVectors["bundle.jsonl"] as string)]);
    expect(result).toMatchObject({
      integrity: "ok",
      entries: 2,
      votes: { checked: 1, unchecked: 0 },
      bodies: { checked: 1, absent: 0 },
    });
    expect(exitCodeOf(result)).toBe(0);
  });
});
