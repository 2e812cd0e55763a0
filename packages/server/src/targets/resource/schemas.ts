/**
 * JSON Schemas (2020-12) of resource types: checked when they are written, used whenever a document of their type is.
 *
 * Promises: a schema reaches nothing outside itself (internal `$ref` only), takes no more than linear time in a pattern
 * (RE2) and no more than its bounded weight in nested references; what it cannot do is refused by name, not ignored.
 */
import { limits, visible, type JsonObject, type JsonValue, type Problem } from "@countersign/contract";
import { canonicalize } from "@countersign/proof";
import { Ajv2020, type ErrorObject, type ValidateFunction } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { RE2JS } from "re2js";
import { isArray, isContainer, parsePointer, toPointer, valueAt } from "../json/json.rules.js";

export interface CompiledSchema {
  /** What is wrong with the document, with pointers below `pointer`; at most 20 problems. */
  check(document: JsonValue, pointer: string): Problem[];
}

export type SchemaOutcome = CompiledSchema | readonly Problem[];

export function isCompiled(outcome: SchemaOutcome): outcome is CompiledSchema {
  return "check" in outcome;
}

const problemsMax = 20;
/** Subschemas a document may be held against at one place, references followed: a person's schema has some hundreds. */
const weightMax = 20_000;
const cacheMax = 200;
const compiled = new Map<string, SchemaOutcome>();

/** Compiles a schema, or says why it cannot be used, with pointers below `pointer`. `hash` identifies the document (derived cache). */
export function compileSchema(document: JsonValue, hash: string, pointer: string): SchemaOutcome {
  const key = `${hash} ${pointer}`;
  const known = compiled.get(key);
  if (known !== undefined) return known;
  const outcome = compile(document, pointer);
  if (compiled.size >= cacheMax) compiled.delete(compiled.keys().next().value as string);
  compiled.set(key, outcome);
  return outcome;
}

const unsupported = (message: string, pointer: string): Problem[] => [{ code: "schema_unsupported", message, pointer }];

function compile(document: JsonValue, pointer: string): SchemaOutcome {
  if (!isContainer(document) || isArray(document)) return unsupported("a schema is an object", pointer);
  const bytes = Buffer.byteLength(canonicalize(document));
  if (bytes > limits.schemaBytesMax)
    return unsupported(`the schema has \`${bytes}\` bytes, more than ${limits.schemaBytesMax}`, pointer);
  const subschemas = listSubschemas(document);
  const problems = [...subschemas]
    .flatMap(([at, schema]) => checkSubschema(document, schema, pointer + at))
    .slice(0, problemsMax);
  if (problems.length > 0) return problems;
  try {
    const weight = weigh(document, {
      root: document,
      anchors: anchorsOf(subschemas),
      known: new Map(),
      open: new Set(),
    });
    if (weight > weightMax)
      return unsupported(`the references multiply to more than \`${weightMax}\` subschemas; write it flatter`, pointer);
    const extensions = extensionKeywords(subschemas);
    return validator(makeAjv(extensions, true).compile(document), makeAjv(extensions, false).compile(document));
  } catch (error) {
    // Also what is nested or chained so that the stack ends.
    return unsupported(`the schema does not compile: ${(error as Error).message}`, pointer);
  }
}

function makeAjv(extensions: readonly string[], allErrors: boolean): Ajv2020 {
  const ajv = new Ajv2020({
    allErrors,
    // A misspelt keyword would permit everything unseen.
    strictSchema: true,
    strictTypes: false,
    strictTuples: false,
    strictRequired: false,
    logger: false,
    code: { regExp: Object.assign((pattern: string) => linearPattern(pattern), { code: "undefined" }) },
  });
  // `format` of its own accord would run native expressions; the fast ones are the simple ones.
  (addFormats as unknown as (ajv: Ajv2020, options: { mode: "fast" }) => void)(ajv, { mode: "fast" });
  ajv.removeKeyword("uniqueItems");
  ajv.addKeyword({
    keyword: "uniqueItems",
    type: "array",
    schemaType: "boolean",
    validate: uniqueItems,
    error: { message: "must not have equal items" },
  });
  ajv.addVocabulary(["$anchor", ...extensions]);
  return ajv;
}

/** RE2 has no backtracking: a pattern takes time linear in the text. What RE2 lacks (look-around, back-references) throws. */
function linearPattern(pattern: string): { test(text: string): boolean; toString(): string } {
  const expression = RE2JS.compile(RE2JS.translateRegExp(pattern));
  // Ajv keeps expressions by their text: without one of its own, every pattern would be the first one.
  return { test: (text) => expression.matcher(text).find(), toString: () => `/${pattern}/` };
}

/** Ajv compares objects pairwise: 10^10 comparisons for an array the limits allow. */
function uniqueItems(wanted: boolean, items: readonly JsonValue[]): boolean {
  return !wanted || new Set(items.map((item) => canonicalize(item))).size === items.length;
}

/** Characters of a document up to which all problems are looked for: each costs an object, and all values may be wrong. */
const allErrorsLengthMax = 256 * 1024;

function validator(all: ValidateFunction, first: ValidateFunction): CompiledSchema {
  return {
    check(document, pointer) {
      const validate = JSON.stringify(document).length > allErrorsLengthMax ? first : all;
      try {
        if (validate(document)) return [];
      } catch (error) {
        // A schema that refers to itself at the same place never ends: the stack does.
        if (!(error instanceof RangeError)) throw error;
        return unsupported("the schema refers to itself without end; correct it", pointer);
      }
      return (validate.errors ?? []).slice(0, problemsMax).map((error) => violation(error, pointer));
    },
  };
}

function violation(error: ErrorObject, pointer: string): Problem {
  const params = error.params as Record<string, unknown>;
  const culprit =
    params["additionalProperty"] ??
    params["unevaluatedProperty"] ??
    params["missingProperty"] ??
    params["allowedValue"];
  const named = culprit === undefined ? "" : ` (\`${shown(culprit)}\`)`;
  return {
    code: "schema_violation",
    message: `\`${visible(error.instancePath || "/")}\` ${error.message ?? "is not valid"}${named}`,
    pointer: pointer + error.instancePath,
  };
}

// Where JSON Schema 2020-12 keeps further schemas: one, a list, or by name.
const oneSchema = [
  "not",
  "if",
  "then",
  "else",
  "items",
  "contains",
  "additionalProperties",
  "propertyNames",
  "unevaluatedItems",
  "unevaluatedProperties",
  "contentSchema",
];
const schemaList = ["allOf", "anyOf", "oneOf", "prefixItems"];
const schemasByName = ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"];
/** Keywords whose schemas judge the same value, not one inside it. */
const inPlace = new Set(["not", "if", "then", "else", "allOf", "anyOf", "oneOf", "dependentSchemas"]);

function childSchemas(
  schema: JsonObject,
): { readonly keyword: string; readonly steps: string[]; readonly schema: JsonValue }[] {
  const children: { keyword: string; steps: string[]; schema: JsonValue }[] = [];
  for (const [keyword, value] of Object.entries(schema)) {
    if (oneSchema.includes(keyword)) children.push({ keyword, steps: [keyword], schema: value });
    if (schemaList.includes(keyword) && isArray(value))
      value.forEach((item, i) => children.push({ keyword, steps: [keyword, String(i)], schema: item }));
    if (!schemasByName.includes(keyword) || !isContainer(value) || isArray(value)) continue;
    for (const [name, item] of Object.entries(value)) children.push({ keyword, steps: [keyword, name], schema: item });
  }
  return children;
}

const shown = (value: unknown): string => visible(typeof value === "string" ? value : JSON.stringify(value));

const isSchemaObject = (value: JsonValue): value is JsonObject => isContainer(value) && !isArray(value);

/** Every schema inside, by its pointer. */
function listSubschemas(root: JsonObject): Map<string, JsonObject> {
  const found = new Map<string, JsonObject>();
  const visit = (schema: JsonValue, at: string): void => {
    if (!isSchemaObject(schema)) return;
    found.set(at, schema);
    for (const child of childSchemas(schema)) visit(child.schema, at + toPointer(child.steps));
  };
  visit(root, "");
  return found;
}

function checkSubschema(root: JsonObject, schema: JsonObject, pointer: string): Problem[] {
  const problems: Problem[] = [];
  for (const keyword of ["$ref", "$dynamicRef"]) {
    const reference = schema[keyword];
    if (reference === undefined || (typeof reference === "string" && reference.startsWith("#"))) continue;
    problems.push({
      code: "schema_unsupported",
      message: `\`${shown(reference)}\` is outside the schema; copy it to \`$defs\``,
      pointer: `${pointer}/${keyword}`,
    });
  }
  // A second base address would make `#…` point elsewhere than it seems.
  if (schema["$id"] !== undefined && schema !== root) {
    problems.push({
      code: "schema_unsupported",
      message: "`$id` inside a schema is not supported; remove it",
      pointer: `${pointer}/$id`,
    });
  }
  const dialect = schema["$schema"];
  if (dialect !== undefined && dialect !== "https://json-schema.org/draft/2020-12/schema") {
    problems.push({
      code: "schema_unsupported",
      message: `\`${shown(dialect)}\` is not JSON Schema 2020-12`,
      pointer: `${pointer}/$schema`,
    });
  }
  problems.push(...checkPatterns(schema, pointer));
  return problems;
}

function checkPatterns(schema: JsonObject, pointer: string): Problem[] {
  const patterns: [text: unknown, at: string][] =
    schema["pattern"] === undefined ? [] : [[schema["pattern"], `${pointer}/pattern`]];
  const byPattern = schema["patternProperties"];
  if (byPattern !== undefined && isContainer(byPattern)) {
    for (const text of Object.keys(byPattern))
      patterns.push([text, `${pointer}/patternProperties${toPointer([text])}`]);
  }
  return patterns.flatMap(([text, at]) => {
    try {
      if (typeof text === "string") linearPattern(text);
      return [];
    } catch (error) {
      return unsupported(
        `the pattern \`${shown(text)}\` is not RE2 (${(error as Error).message}); write it without look-around and back-references`,
        at,
      );
    }
  });
}

interface Weighing {
  readonly root: JsonObject;
  readonly anchors: ReadonlyMap<string, JsonObject>;
  readonly known: Map<JsonObject, number>;
  readonly open: Set<JsonObject>;
}

/** How many subschemas one value may be held against, references followed; a cycle is counted once. */
function weigh(schema: JsonValue | undefined, weighing: Weighing): number {
  if (schema === undefined || !isSchemaObject(schema)) return 1;
  const before = weighing.known.get(schema);
  if (before !== undefined) return before;
  if (weighing.open.has(schema)) return 1;
  weighing.open.add(schema);
  let weight = 1;
  for (const child of childSchemas(schema)) {
    const childWeight = weigh(child.schema, weighing);
    weight = inPlace.has(child.keyword) ? weight + childWeight : Math.max(weight, childWeight);
  }
  for (const keyword of ["$ref", "$dynamicRef"]) {
    const reference = schema[keyword];
    if (typeof reference === "string") weight += weigh(referredTo(reference, weighing), weighing);
  }
  weighing.open.delete(schema);
  weighing.known.set(schema, weight);
  return weight;
}

/** The schema that an internal reference names: the whole, by pointer, or by anchor. */
function referredTo(reference: string, { root, anchors }: Weighing): JsonValue | undefined {
  const name = decodeURIComponent(reference.slice(1));
  const steps = parsePointer(name);
  return steps === undefined ? anchors.get(name) : valueAt(root, steps);
}

function anchorsOf(subschemas: ReadonlyMap<string, JsonObject>): Map<string, JsonObject> {
  const anchors = new Map<string, JsonObject>();
  for (const schema of subschemas.values()) {
    for (const keyword of ["$anchor", "$dynamicAnchor"]) {
      const name = schema[keyword];
      if (typeof name === "string") anchors.set(name, schema);
    }
  }
  return anchors;
}

/** `x-…` members are for people and other tools: they constrain nothing. */
function extensionKeywords(subschemas: ReadonlyMap<string, JsonObject>): string[] {
  return [
    ...new Set(
      [...subschemas.values()].flatMap((schema) => Object.keys(schema).filter((keyword) => keyword.startsWith("x-"))),
    ),
  ];
}
