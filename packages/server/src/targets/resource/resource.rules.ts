/**
 * What an item does to a JSON resource. Pure: the states come in, the effects go out. `docs/targets.md` has the table.
 * INVARIANT: equal hashes are equal documents (RFC 8785); an effect brings exactly the whole document from one to the other.
 */
import {
  isProduction,
  targetKind,
  visible,
  type EffectFlag,
  type ItemInput,
  type JsonValue,
  type Problem,
  type ResourceTarget,
} from "@countersign/contract";
import { hasLoneSurrogate, resourceStateHash } from "@countersign/proof";
import { checkFields, hasField } from "../fields.rules.js";
import { checkBytes, checkDocument, diffDocuments, empties, isContainer } from "../json/json.rules.js";
import { applyEdits, isEdits, jsonEdits } from "../json/jsonOperations.rules.js";
import { absentState, type Effect, type StateImage, type TargetRef } from "../target.js";

/** `key`: `resource:<environment>:<type>:<id>`. */
export type ResourceRef = TargetRef & { readonly kind: "resource" };

export interface ResourceImage extends StateImage {
  /** Of a resource that exists. */
  readonly document?: JsonValue;
}
export type ResourceEffect = Effect<ResourceRef, ResourceImage>;

export const systemEnvironment = "system";
export const configType = "SYSTEM_CONFIG";
export const configPrefix = "system.config/";
const schemaPrefix = `${configPrefix}schema/`;

export function resourceRef(environment: string, type: string, id: string): ResourceRef {
  return { kind: "resource", type, id, environment, key: `resource:${environment}:${type}:${id}` };
}

/** Where the schema of a type is kept. */
export function schemaRef(type: string): ResourceRef {
  return resourceRef(systemEnvironment, configType, schemaPrefix + type);
}

/** The type whose schema this resource is; undefined if it is not a schema. */
export function schemaOf(ref: ResourceRef): string | undefined {
  const isSchema = ref.type === configType && ref.environment === systemEnvironment && ref.id.startsWith(schemaPrefix);
  return isSchema ? ref.id.slice(schemaPrefix.length) : undefined;
}

export const absent: ResourceImage = absentState.image;

export function documentImage(document: JsonValue): ResourceImage {
  return { exists: true, hash: resourceStateHash(document), document };
}

/** Form of an item: fields and names. All problems. */
export function checkResourceItem(item: ItemInput, pointer: string): Problem[] {
  const rule = targetKind("resource").fields[item.operation];
  if (rule === undefined) {
    return [
      {
        code: "operation_unsupported",
        message: `${item.operation} means nothing for a JSON document; use CHANGE_PROPERTY`,
        pointer: `${pointer}/operation`,
      },
    ];
  }
  const problems = checkFields(item, rule, pointer, "a resource");
  if (item.operation === "MOVE" && hasField(item, "pointer") && hasField(item, "to.id")) {
    problems.push({
      code: "item_invalid",
      message: "MOVE of a value takes no `to.id`; use RENAME for the resource",
      pointer: `${pointer}/to/id`,
    });
  }
  const { id } = item.target as ResourceTarget;
  problems.push(...checkId(id, `${pointer}/target/id`));
  if (item.to?.id !== undefined) problems.push(...checkId(item.to.id, `${pointer}/to/id`));
  return problems;
}

function checkId(id: string, pointer: string): Problem[] {
  if (!hasLoneSurrogate(id) && !id.includes("\u0000")) return [];
  return [{ code: "text_unstorable", message: "the id holds `U+0000` or a lone surrogate; remove it", pointer }];
}

/** The targets of a checked item: the resource, and where it goes. */
export function resourceTargets(item: ItemInput): [ResourceRef, ...ResourceRef[]] {
  const target = item.target as ResourceTarget;
  const source = resourceRef(target.environment, target.type, target.id);
  const moves = item.operation === "RENAME" || (item.operation === "MOVE" && item.to?.environment !== undefined);
  if (!moves) return [source];
  return [source, resourceRef(item.to?.environment ?? target.environment, target.type, item.to?.id ?? target.id)];
}

export interface ResourcePlan {
  readonly effects: readonly ResourceEffect[];
  readonly diff: JsonValue;
}

/** What the item does to these states (in the order of `resourceTargets`), without its schema's say. */
export function planResource(
  item: ItemInput,
  targets: readonly { readonly ref: ResourceRef; readonly image: ResourceImage }[],
  pointer: string,
): ResourcePlan | readonly Problem[] {
  const [source, destination] = targets;
  if (source === undefined) throw new Error("an item has a target");
  const { ref, image } = source;
  if (item.operation === "CREATE")
    return image.exists
      ? taken(ref, `${pointer}/target/id`)
      : created(ref, item.after as JsonValue, `${pointer}/after`);
  if (!image.exists) {
    return [
      {
        code: "target_not_found",
        message: `there is no ${ref.type} \`${visible(ref.id)}\` in ${ref.environment}; use CREATE`,
        pointer: `${pointer}/target/id`,
      },
    ];
  }
  if (item.operation === "DELETE")
    return { effects: [{ target: ref, before: image, after: absent }], diff: [{ op: "remove", path: "" }] };
  if (destination !== undefined) return moved(source, destination, pointer);
  return edited(item, source, pointer);
}

const taken = (ref: ResourceRef, pointer: string): Problem[] => [
  { code: "target_exists", message: `${ref.type} \`${visible(ref.id)}\` is in ${ref.environment} already`, pointer },
];

function created(ref: ResourceRef, document: JsonValue, pointer: string): ResourcePlan | Problem[] {
  const problems = checkResource(document, pointer);
  if (problems.length > 0) return problems;
  return {
    effects: [{ target: ref, before: absent, after: documentImage(document) }],
    diff: [{ op: "add", path: "", value: document }],
  };
}

function moved(
  source: { readonly ref: ResourceRef; readonly image: ResourceImage },
  destination: { readonly ref: ResourceRef; readonly image: ResourceImage },
  pointer: string,
): ResourcePlan | Problem[] {
  if (source.ref.key === destination.ref.key)
    return [{ code: "no_effect", message: `\`${visible(source.ref.id)}\` is there already`, pointer: `${pointer}/to` }];
  if (destination.image.exists) return taken(destination.ref, `${pointer}/to`);
  const name = ({ environment, type, id }: ResourceRef): JsonValue => ({ environment, type, id });
  return {
    effects: [
      { target: destination.ref, before: absent, after: source.image },
      { target: source.ref, before: source.image, after: absent },
    ],
    diff: { format: "moved", from: name(source.ref), to: name(destination.ref) },
  };
}

function edited(
  item: ItemInput,
  { ref, image }: { readonly ref: ResourceRef; readonly image: ResourceImage },
  pointer: string,
): ResourcePlan | readonly Problem[] {
  const before = image.document as JsonValue;
  const after = documentAfter(item, before, pointer);
  if ("length" in after) return after;
  const problems = checkResource(after.document, item.after === undefined ? pointer : `${pointer}/after`);
  if (problems.length > 0) return problems;
  const next = documentImage(after.document);
  if (next.hash === image.hash)
    return [{ code: "no_effect", message: `\`${visible(ref.id)}\` is like that already; leave the item out`, pointer }];
  return { effects: [{ target: ref, before: image, after: next }], diff: diffDocuments(before, after.document) };
}

function documentAfter(
  item: ItemInput,
  before: JsonValue,
  pointer: string,
): { readonly document: JsonValue } | readonly Problem[] {
  if (item.operation === "UPDATE" && item.after !== undefined) return { document: item.after };
  const edits = jsonEdits(before, item, pointer);
  return isEdits(edits) ? applyEdits(before, edits, item, pointer) : edits;
}

/** INVARIANT: a kept document is an object or an array, within the limits. */
function checkResource(document: JsonValue, pointer: string): Problem[] {
  if (!isContainer(document))
    return [
      { code: "item_invalid", message: "a resource is a JSON object or array; use DELETE to remove it", pointer },
    ];
  const problems = checkDocument(document, pointer);
  return problems.length > 0 ? problems : checkBytes(document, pointer);
}

const protectedPrefixes = ["system.", "security.", "admin."];

/** What the effects do beyond their diff. */
export function resourceFlags(effects: readonly ResourceEffect[], referenced: boolean): EffectFlag[] {
  const flags = new Set<EffectFlag>();
  const moves = effects.length === 2;
  for (const { target, before, after } of effects) {
    const gone = before.exists && !after.exists && !moves;
    const emptied = before.exists && after.exists && empties(before.document as JsonValue, after.document as JsonValue);
    if (gone || emptied) flags.add("destructive");
    if (protectedPrefixes.some((prefix) => target.id.startsWith(prefix) || target.environment === systemEnvironment))
      flags.add("protected_path");
    if (isProduction(target.environment)) flags.add("production");
  }
  if (moves && referenced) flags.add("moves_referenced");
  return [...flags];
}

/** Epochs that a change of this resource moves, so that decisions from caches are safe. */
export function epochsOf(ref: ResourceRef): string[] {
  if (ref.type !== configType || !ref.id.startsWith(configPrefix)) return [];
  const name = ref.id.slice(configPrefix.length).split("/")[0] ?? "";
  const more: Readonly<Record<string, readonly string[]>> = {
    policy: ["policy"],
    grants: ["policy"],
    risk: ["policy"],
    categories: ["policy"],
    limits: ["policy"],
    freeze: ["policy"],
    routes: ["routes"],
    approvals: ["routes"],
    roles: ["members", "routes"],
  };
  return ["config", ...(more[name] ?? [])];
}
