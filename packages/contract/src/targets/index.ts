/** Targets by kind: how they are sent, typed, shown and matched. `kinds.ts` lists the kinds, `descriptor.ts` says what a kind describes. */
import { z } from "zod";
import { digest } from "../ids.js";
import type { TargetDescriptor, TargetFacts } from "./descriptor.js";
import { kinds } from "./kinds.js";

export {
  environmentName,
  isProduction,
  itemFields,
  itemOperations,
  targetId,
  type FieldRule,
  type ItemField,
  type ItemOperation,
  type PatternGrammar,
  type PatternPart,
  type TargetDescriptor,
  type TargetFacts,
} from "./descriptor.js";
export { type FileFacts, type FileTarget } from "./file.js";
export { type ResourceTarget } from "./resource.js";

export type TargetKindName = keyof typeof kinds;
export const targetKinds = Object.keys(kinds) as [TargetKindName, ...TargetKindName[]];

/** The schema of any target: which kind it is of decides which members it has. */
type Schema = (typeof kinds)[TargetKindName]["schema"];
export const target = z.discriminatedUnion(
  "kind",
  Object.values(kinds).map(({ schema }) => schema) as [Schema, ...Schema[]],
);
export type Target = { [K in TargetKindName]: z.infer<(typeof kinds)[K]["schema"]> }[TargetKindName];

/** A state of a target as it is shown: whether it exists, the hash that tells states apart, and what its kind shows of it. */
export const stateImage = z
  .object({
    exists: z.boolean(),
    hash: digest.nullable(),
    ...(Object.assign({}, ...Object.values(kinds).map(({ imageMembers }) => imageMembers)) as ImageMembers),
  })
  .meta({ id: "StateImage" });
type ImageMembers = (typeof kinds)["resource"]["imageMembers"] & (typeof kinds)["file"]["imageMembers"];

/**
 * The descriptor of a kind by its name. Its methods take the targets and facts of that kind; whoever holds one of them has the kind's name
 * from it.
 */
export function targetKind(name: TargetKindName): TargetDescriptor {
  return kinds[name] as unknown as TargetDescriptor;
}

/** The same of a name that may be none: from the database, from a pattern. */
export function findTargetKind(name: string): TargetDescriptor | undefined {
  return Object.hasOwn(kinds, name) ? targetKind(name as TargetKindName) : undefined;
}

/** A target as people write it in patterns: `resource:development:CONFIG:shop/checkout`, `file:shop:config/app.json`. */
export function describeTarget(facts: TargetFacts): string {
  return [facts.kind, ...(findTargetKind(facts.kind)?.parts(facts) ?? [facts.id])].join(":");
}

/** A target as it is shown on the command line: `development:CONFIG:shop/checkout`, `file:shop:config/app.json`. */
export function shownTarget(facts: TargetFacts): string {
  const shown = findTargetKind(facts.kind)?.shown(facts);
  return shown === undefined ? describeTarget(facts) : withKind(facts.kind, shown);
}

/** The part of a target's names that its protection depends on. */
export function localName(facts: TargetFacts): string {
  return findTargetKind(facts.kind)?.localName(facts) ?? facts.id;
}

/** The target as a person types it; empty for what is none. */
export function targetText(sent: Target): string {
  const text = findTargetKind(sent.kind)?.text(sent);
  return text === undefined ? "" : withKind(sent.kind, text);
}

/**
 * A text without its kind whose first name is called like a kind (an environment `file`) would be read as of that kind: it is written with its
 * own.
 */
function withKind(kind: string, text: string): string {
  return findTargetKind(kind)?.typed.isDefault === true && findTargetKind(firstOf(text)) !== undefined
    ? `${kind}:${text}`
    : text;
}

const firstOf = (text: string): string => text.split(":", 1)[0] ?? "";

export type ParsedTarget = { readonly target: Target } | { readonly wrong: string };

/**
 * The target a person typed; `environment`: of targets that are typed without one. A text that begins with a kind's name is of that kind,
 * whatever else is called so.
 */
export function parseTargetText(text: string, environment: string): ParsedTarget {
  const first = firstOf(text);
  const named = findTargetKind(first);
  const [kind, rest] = named === undefined ? [defaultKind, text] : [named, text.slice(first.length + 1)];
  const parsed = kind?.parse(rest, environment);
  return parsed === undefined ? { wrong: wrongText(text, kind) } : { target: parsed as Target };
}

const defaultKind = targetKinds.map(targetKind).find(({ typed }) => typed.isDefault === true);

function wrongText(text: string, kind: TargetDescriptor | undefined): string {
  const quoted = (forms: readonly string[]): string[] => forms.map((form) => `\`${form}\``);
  if (kind === undefined || kind.typed.isDefault === true) {
    const forms = quoted(targetKinds.flatMap((name) => targetKind(name).typed.forms));
    return `\`${text}\` is no target; write ${forms.slice(0, -1).join(", ")} or ${forms.at(-1) ?? ""}`;
  }
  const { noun, typed } = kind;
  return `\`${text}\` is no ${noun.replace(/^an? /, "")} target; write ${quoted(typed.forms).join(" or ")}, e.g. \`${typed.example}\``;
}
