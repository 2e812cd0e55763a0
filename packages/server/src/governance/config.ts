/**
 * Configuration of a tenant: reads the documents `system.config/<name>`, checks them, fills in the defaults.
 *
 * INVARIANT: a stored document that cannot be read is a problem of the whole configuration, and policy denies everything
 * while there is one. A document can become unreadable only if it was edited past the server or written for another
 * version.
 */
import {
  configurationDefaults,
  configurationId,
  configurationNames,
  configurationPrefix,
  configurationSchemas,
  type ConfigurationName,
  type ConfigurationValue,
  type JsonObject,
  type JsonValue,
  type Problem,
} from "@countersign/contract";
import type { z } from "zod";
import type { Snapshot } from "../ledger/index.js";
import { parsePattern } from "./patterns.rules.js";
import { readConfiguration } from "./queries.js";

export interface ConfigurationSource {
  readonly source: "default" | "resource";
  readonly revision: number | null;
  readonly document: JsonObject;
}

type Values = { readonly [N in ConfigurationName]: ConfigurationValue<N> };

/** Everything in force. */
export interface Configuration extends Values {
  /** `grants@3 policy@1`: name and revision of each written document; `built-in` without any. */
  readonly version: string;
  /** The reason why policy denies everything, if it does. */
  readonly problems: readonly Problem[];
  /** Likely mistakes: groups that nobody defined, documents that nobody reads. */
  readonly warnings: readonly Problem[];
  readonly sources: { readonly [N in ConfigurationName]: ConfigurationSource };
}

export interface ConfigurationDocumentRow {
  readonly name: string;
  readonly revision: number;
  readonly document: JsonValue;
}

export type ParsedConfiguration<N extends ConfigurationName> =
  | { readonly kind: "configuration"; readonly name: N; readonly value: ConfigurationValue<N> }
  | { readonly kind: "problems"; readonly problems: readonly Problem[] };

export function isConfigurationName(name: string): name is ConfigurationName {
  return (configurationNames as readonly string[]).includes(name);
}

/** Checks one document; all problems at once, with pointers below `pointer`. */
export function parseConfiguration<N extends ConfigurationName>(
  name: N,
  document: unknown,
  pointer = "",
): ParsedConfiguration<N> {
  const checked = configurationSchemas[name].safeParse(document);
  if (!checked.success) {
    return { kind: "problems", problems: schemaProblems(name, checked.error, pointer) };
  }
  const problems = [
    ...patternProblems(document, pointer),
    ...duplicateIds(document, pointer),
    ...lockOut(name, checked.data, pointer),
  ];
  if (problems.length > 0) return { kind: "problems", problems };
  // The schema was picked by the name, so its output is the value of that name.
  return { kind: "configuration", name, value: checked.data as ConfigurationValue<N> };
}

/** A member nobody reads is most often a misspelling: each is a problem of its own, at its place. */
function schemaProblems(name: ConfigurationName, error: z.ZodError, pointer: string): Problem[] {
  const at = (path: readonly PropertyKey[], message: string): Problem =>
    invalid(pointer + pointerOf(path), `\`${configurationId(name)}\`: ${message}`);
  return error.issues.flatMap((issue) =>
    issue.code === "unrecognized_keys"
      ? issue.keys.map((key) =>
          at(
            [...issue.path, key],
            `there is no member \`${key}\`; take it out or spell it as in docs/configuration.md`,
          ),
        )
      : [at(issue.path, lowerFirst(issue.message))],
  );
}

function invalid(pointer: string, message: string): Problem {
  return { code: "invalid_request", pointer, message };
}

function pointerOf(path: readonly PropertyKey[]): string {
  return path.map((part) => `/${String(part).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}

/** Calls `visit` for every object of a JSON value, with its pointer. */
function walk(
  value: unknown,
  pointer: string,
  visit: (object: Readonly<Record<string, unknown>>, pointer: string) => void,
): void {
  if (Array.isArray(value)) {
    for (const [index, element] of value.entries()) walk(element, `${pointer}/${index}`, visit);
  } else if (typeof value === "object" && value !== null) {
    visit(value as Readonly<Record<string, unknown>>, pointer);
    for (const [key, member] of Object.entries(value)) walk(member, pointer + pointerOf([key]), visit);
  }
}

/** A member `targets` holds target patterns, in every schema of these. */
function patternProblems(document: unknown, pointer: string): Problem[] {
  const problems: Problem[] = [];
  walk(document, pointer, (object, at) => {
    if (!Array.isArray(object["targets"])) return;
    for (const [index, text] of object["targets"].entries()) {
      const pattern = parsePattern(String(text));
      if (pattern.kind === "error") problems.push(invalid(`${at}/targets/${index}`, pattern.message));
    }
  });
  return problems;
}

/** Ids name the deciding rule in every decision: within a document they are given once. */
function duplicateIds(document: unknown, pointer: string): Problem[] {
  const seen = new Map<string, string>();
  const problems: Problem[] = [];
  walk(document, pointer, (object, at) => {
    const id = object["id"];
    if (typeof id !== "string") return;
    const before = seen.get(id);
    if (before === undefined) seen.set(id, at);
    else problems.push(invalid(`${at}/id`, `\`${id}\` stands at \`${before}\` already; give every rule its own id`));
  });
  return problems;
}

/** Without a role that manages principals and one that votes, nobody could ever change the document back. */
function lockOut(name: ConfigurationName, value: unknown, pointer: string): Problem[] {
  if (name !== "roles") return [];
  const { roles } = value as ConfigurationValue<"roles">;
  const needed = ["principals.manage", "change_sets.propose", "change_sets.vote"] as const;
  return needed
    .filter((permission) => !Object.values(roles).some((role) => role.permissions.includes(permission)))
    .map((permission) => ({
      code: "last_administrator",
      pointer: `${pointer}/roles`,
      message: `no role would carry \`${permission}\`; keep it in one`,
    }));
}

// ── What is in force ─────────────────────────────────────────────────────────────────────────────────────────────────

const defaults = Object.fromEntries(
  configurationNames.map((name) => {
    const parsed = parseConfiguration(name, configurationDefaults[name]);
    if (parsed.kind === "problems")
      throw new Error(`the built-in ${name} is not valid: ${parsed.problems[0]?.message ?? ""}`);
    return [name, parsed.value];
  }),
) as unknown as Values;

/** Puts written documents over the defaults. */
export function effectiveConfiguration(documents: readonly ConfigurationDocumentRow[]): Configuration {
  const values: Record<string, unknown> = { ...defaults };
  const sources = Object.fromEntries(
    configurationNames.map((name) => [
      name,
      { source: "default", revision: null, document: configurationDefaults[name] as unknown as JsonObject },
    ]),
  ) as unknown as Record<ConfigurationName, ConfigurationSource>;
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  const versions: string[] = [];
  for (const { name, revision, document } of [...documents].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    if (!isConfigurationName(name)) {
      if (!name.startsWith("schema/")) warnings.push({ code: "unknown_configuration", message: unknownName(name) });
      continue;
    }
    versions.push(`${name}@${revision}`);
    sources[name] = { source: "resource", revision, document: document as JsonObject };
    const parsed = parseConfiguration(name, document);
    if (parsed.kind === "problems") problems.push(...parsed.problems);
    else values[name] = parsed.value;
  }
  const complete = values as unknown as Values;
  warnings.push(...unknownGroups(complete));
  return { ...complete, version: versions.length === 0 ? "built-in" : versions.join(" "), problems, warnings, sources };
}

/** Groups and roles that routes and rules ask for and nobody defined: a route over them could not be satisfied. */
function unknownGroups({ routes, policy, approvals, roles }: Values): Problem[] {
  const known = (group: string): boolean =>
    group.startsWith("role:") ? Object.hasOwn(roles.roles, group.slice(5)) : Object.hasOwn(roles.groups, group);
  const problems: Problem[] = [];
  const check = (document: ConfigurationName, value: unknown): void =>
    walk(value, "", (object, at) => {
      for (const member of ["groups", "escalation"]) {
        const groups = object[member];
        if (!Array.isArray(groups)) continue;
        for (const [index, group] of groups.entries())
          if (!known(String(group)))
            problems.push(
              invalid(
                `${at}/${member}/${index}`,
                `\`${configurationId(document)}\` asks \`${String(group)}\`, which \`${configurationId("roles")}\` does not define`,
              ),
            );
      }
    });
  check("routes", routes);
  check("policy", policy);
  if (!known(`role:${approvals.onCallRole}`))
    problems.push(
      invalid(
        "/onCallRole",
        `\`${configurationId("approvals")}\` names role \`${approvals.onCallRole}\`, which \`${configurationId("roles")}\` does not define`,
      ),
    );
  return problems;
}

function unknownName(name: string): string {
  return `\`${configurationPrefix}${name}\` is no configuration; there are ${configurationNames.map((known) => `\`${known}\``).join(", ")}`;
}

// The text of the documents is the key, so a remembered configuration cannot be stale.
const remembered = new Map<string, Configuration>();
const rememberedMax = 256;

/**
 * A snapshot sees one state. So the configuration is read once for a snapshot, although both authentication and the
 * command ask for it.
 */
const loaded = new WeakMap<Snapshot, Promise<Configuration>>();

/**
 * The configuration in force in the snapshot. A decision that used it guards the epoch `config`, which every change of
 * the configuration moves.
 */
export function loadConfiguration(snapshot: Snapshot): Promise<Configuration> {
  const known = loaded.get(snapshot);
  if (known !== undefined) return known;
  const configuration = readEffective(snapshot);
  loaded.set(snapshot, configuration);
  return configuration;
}

async function readEffective(snapshot: Snapshot): Promise<Configuration> {
  // A decision by the configuration guards its epoch. Reading the epoch now shares a round trip with authentication's
  // questions.
  const [rows] = await Promise.all([readConfiguration(snapshot), snapshot.epoch("config")]);
  const key = JSON.stringify(rows);
  const known = remembered.get(key);
  if (known !== undefined) return known;
  const configuration = effectiveConfiguration(
    rows.map((row) => ({ name: row.name, revision: row.revision, document: JSON.parse(row.text) as JsonValue })),
  );
  if (remembered.size >= rememberedMax) remembered.clear();
  remembered.set(key, configuration);
  return configuration;
}

/**
 * For the resource kind: the problems of a document that is about to be stored as configuration. Null: the document is
 * deleted.
 */
export function checkConfiguration(
  resourceId: string,
  document: JsonValue | null,
  pointer: string,
): readonly Problem[] {
  const name = resourceId.startsWith(configurationPrefix) ? resourceId.slice(configurationPrefix.length) : undefined;
  if (name === undefined || !isConfigurationName(name))
    return [{ code: "unknown_configuration", pointer, message: unknownName(name ?? resourceId) }];
  if (document === null) return [];
  const parsed = parseConfiguration(name, document, pointer);
  return parsed.kind === "problems" ? parsed.problems : [];
}
