/**
 * Parses the list of anchors: lines of COUNTERSIGN_ANCHORS (separated by commas) or of `<data directory>/anchors`:
 *
 *   NAME file:/absolute/path                [every=SECONDS]
 *   NAME git:/absolute/path                 [every=SECONDS]
 *   NAME witness:https://host/prefix VKEY   [every=SECONDS]
 */
import { isAbsolute, join } from "node:path";
import { refused, RefusalError, type Problem } from "@countersign/contract";
import { parseVerifierKey, type VerifierKey } from "@countersign/proof";
import { readIfPresent, type Clock } from "../../platform/index.js";
import type { Anchor } from "./anchor.js";
import { fileAnchor } from "./file.js";
import { gitAnchor } from "./git.js";
import { witnessAnchor } from "./witness.js";

export type AnchorSpec = { readonly name: string; readonly everyMs: number } & (
  | { readonly kind: "file" | "git"; readonly directory: string }
  | { readonly kind: "witness"; readonly url: string; readonly key: VerifierKey }
);

const anchorsMax = 16;
const everySecondsMax = 86_400;
const namePattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Throws RefusalError `configuration_invalid` with every problem. `source` names where the lines come from. */
export function parseAnchors(lines: readonly string[], source: string): AnchorSpec[] {
  const problems: string[] = [];
  const specs: AnchorSpec[] = [];
  for (const line of lines) {
    const read = parseLine(line.trim());
    if (typeof read === "string") problems.push(`\`${source}\`: \`${line.trim().slice(0, 120)}\` ${read}`);
    else specs.push(read);
  }
  const twice = specs.filter(({ name }, index) => specs.findIndex((other) => other.name === name) < index);
  problems.push(...twice.map(({ name }) => `\`${source}\`: two anchors are called \`${name}\``));
  if (specs.length > anchorsMax) problems.push(`\`${source}\`: there are more than ${anchorsMax} anchors`);
  if (problems.length === 0) return specs;
  const found: Problem[] = problems.map((message) => ({ code: "configuration_invalid", message }));
  throw new RefusalError(refused("configuration_invalid", problems.join("; "), { problems: found }));
}

/** A spec, or the error in its line. */
function parseLine(line: string): AnchorSpec | string {
  const [name = "", place = "", ...rest] = line.split(/\s+/);
  if (!namePattern.test(name)) return "begins with no name; write letters, digits, dots and dashes";
  const every = rest.at(-1)?.startsWith("every=") === true ? rest.pop() : undefined;
  const everyMs = every === undefined ? 0 : everyOf(every);
  if (everyMs === undefined) return `says \`${every}\`; write a number of seconds up to ${everySecondsMax}`;
  const [, kind, location = ""] = /^([a-z]+):(.*)$/.exec(place) ?? [];
  if (kind === "file" || kind === "git") {
    if (!isAbsolute(location)) return `names no absolute path; write \`${kind}:/path\``;
    return rest.length === 0 ? { name, everyMs, kind, directory: location } : `has too much after the path`;
  }
  if (kind === "witness") return witnessSpec({ name, everyMs }, location, rest);
  return "names no kind; write `file:/path`, `git:/path` or `witness:https://host/prefix VKEY`";
}

function everyOf(text: string): number | undefined {
  const found = /^every=([0-9]{1,5})$/.exec(text);
  const seconds = Number(found?.[1]);
  return seconds <= everySecondsMax ? seconds * 1_000 : undefined;
}

function witnessSpec(
  common: { readonly name: string; readonly everyMs: number },
  location: string,
  rest: readonly string[],
): AnchorSpec | string {
  const url = URL.canParse(location) ? new URL(location) : undefined;
  if (url === undefined || (url.protocol !== "https:" && url.protocol !== "http:"))
    return "names no address; write `witness:https://host/prefix`";
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "")
    return "has a user, a query or a fragment in the address; a witness needs none";
  const key = parseVerifierKey(rest[0] ?? "");
  if (rest.length !== 1 || key?.type !== 4)
    return "does not end with the witness's verifier key; its operator gets it from `countersign witness list`";
  return { ...common, kind: "witness", url: url.href, key };
}

/** The lines of a file of anchors: without comments and empty lines. */
export function anchorLines(text: string): string[] {
  return text
    .split("\n")
    .map((line) => line.replace(/(^|\s)#.*$/, "").trim())
    .filter((line) => line !== "");
}

/** The configured anchors: of the lines given, else of `<data directory>/anchors`; none when that is not there. */
export async function anchorSpecs(where: {
  readonly dataDirectory: string;
  readonly lines?: readonly string[];
}): Promise<AnchorSpec[]> {
  if (where.lines !== undefined) return parseAnchors(where.lines, "COUNTERSIGN_ANCHORS");
  const file = join(where.dataDirectory, "anchors");
  const text = await readIfPresent(file).then(
    (bytes) => bytes?.toString("utf8") ?? "",
    (cause: NodeJS.ErrnoException) => {
      throw new RefusalError(
        refused("configuration_invalid", `\`${file}\` cannot be read (${cause.code ?? "?"}); it is a file of anchors`),
        { cause },
      );
    },
  );
  return parseAnchors(anchorLines(text), file);
}

export function anchorsFrom(specs: readonly AnchorSpec[], clock: Clock): Anchor[] {
  return specs.map((spec) => ({ ...anchorFrom(spec, clock), everyMs: spec.everyMs }));
}

function anchorFrom(spec: AnchorSpec, clock: Clock): Anchor {
  const { name } = spec;
  switch (spec.kind) {
    case "file":
      return fileAnchor({ name, directory: spec.directory, clock });
    case "git":
      return gitAnchor({ name, directory: spec.directory, clock });
    case "witness":
      return witnessAnchor({ name, url: spec.url, key: spec.key });
  }
}
