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
  jsonOf,
  type ConfigurationName,
  type ConfigurationValue,
  type JsonObject,
  type JsonValue,
  type MarkedMember,
  markedMembers,
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
    ...problemsOfMarked(configurationSchemas[name], document, pointer),
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

/** What its marked members get wrong: patterns that are none, ids that are given twice. The document fits the schema. */
export function problemsOfMarked(schema: z.ZodType, document: unknown, pointer = ""): Problem[] {
  const members = markedMembers(schema, document);
  return [...patternProblems(members, pointer), ...duplicateIds(members, pointer)];
}

function patternProblems(members: readonly MarkedMember[], pointer: string): Problem[] {
  return members.flatMap(({ mark, value, path }) => {
    const pattern = mark === "pattern" ? parsePattern(String(value)) : undefined;
    return pattern?.kind === "error" ? [invalid(pointer + pointerOf(path), pattern.message)] : [];
  });
}

/** Ids name the deciding rule in every decision: within a document they are given once. */
function duplicateIds(members: readonly MarkedMember[], pointer: string): Problem[] {
  const seen = new Map<unknown, string>();
  return members.flatMap(({ mark, value, path }) => {
    if (mark !== "ruleId") return [];
    const rule = pointer + pointerOf(path.slice(0, -1));
    const before = seen.get(value);
    if (before === undefined) seen.set(value, rule);
    const message = `\`${String(value)}\` stands at \`${before ?? ""}\` already; give every rule its own id`;
    return before === undefined ? [] : [invalid(pointer + pointerOf(path), message)];
  });
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
      { source: "default", revision: null, document: jsonOf(configurationDefaults[name]) },
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

/** Groups and roles that documents ask for and nobody defined: a route over them could not be satisfied. */
function unknownGroups(values: Values): Problem[] {
  const { approvals, roles } = values;
  const known = (group: string): boolean =>
    group.startsWith("role:") ? Object.hasOwn(roles.roles, group.slice(5)) : Object.hasOwn(roles.groups, group);
  const problems: Problem[] = [];
  for (const name of configurationNames)
    for (const { mark, value, path } of markedMembers(configurationSchemas[name], values[name]))
      if (mark === "group" && !known(String(value)))
        problems.push(
          invalid(
            pointerOf(path),
            `\`${configurationId(name)}\` asks \`${String(value)}\`, which \`${configurationId("roles")}\` does not define`,
          ),
        );
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
