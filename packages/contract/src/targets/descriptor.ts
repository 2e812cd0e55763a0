/**
 * What everybody who speaks the protocol knows of a target kind: how its targets are sent, typed and shown, which fields an item on them
 * takes, how patterns name them. What the kind does is the server's (`packages/server/src/targets/<kind>`).
 *
 * A kind is described in a file of its own beside this one and listed in `kinds.ts`; nobody else asks which kind a target is of.
 */
import { z } from "zod";
import { limits } from "../limits.js";

export const itemOperations = [
  "CREATE",
  "UPDATE",
  "DELETE",
  "MOVE",
  "RESIZE",
  "RENAME",
  "REORDER",
  "CHANGE_PROPERTY",
  "ADD_CHILD",
  "REMOVE_CHILD",
] as const;
export type ItemOperation = (typeof itemOperations)[number];

/** Fields of an item beyond operation, target, dependsOn and metadata; `to.…` are the members of `to`. */
export const itemFields = [
  "after",
  "patch",
  "content",
  "mode",
  "pointer",
  "value",
  "key",
  "order",
  "to.id",
  "to.path",
  "to.environment",
  "to.pointer",
] as const;
export type ItemField = (typeof itemFields)[number];

/** Which fields an operation takes. */
export interface FieldRule {
  readonly required?: readonly ItemField[];
  readonly optional?: readonly ItemField[];
  /** Exactly one of these, or with several forms: exactly one form, all its fields present. */
  readonly forms?: readonly (readonly ItemField[])[];
}

export const targetId = z.string().min(1).max(limits.targetIdLengthMax);

/** A name made of segments such as `development` or `eu.staging`. */
export const environmentName = z
  .string()
  .regex(/^[a-z][a-z0-9._-]{0,62}$/)
  .meta({
    description: "Environment of a target, e.g. `development`, `staging`, `production`.",
    example: "development",
  });

/** `production`, and parts of it such as `production.eu` or `prod-2`. */
export function isProduction(environment: string): boolean {
  return /(^|[._-])prod(uction)?([._-]|$)/.test(environment);
}

/** A target's names, as the server knows it: never its state. Kinds may know more (`<Kind>Facts`). */
export interface TargetFacts {
  readonly kind: string;
  /** Within the kind: `CONFIG`, `COMPONENT`, …; `FILE`. */
  readonly type: string;
  /** Within kind, type and environment. */
  readonly id: string;
  readonly environment: string;
}

/** One part of a pattern, between colons. */
export interface PatternPart {
  /** In messages: `the environment is empty`. */
  readonly name: string;
  /** In the form that people are shown: `<environment>`. */
  readonly form: string;
  /** `path`: segments between slashes, of which `**` takes any number. */
  readonly segments: "one" | "path";
  /** It says which environment is meant: a pattern reaches the environment `system` only by naming it here. */
  readonly isEnvironment?: true;
  /** It does not begin with `/`; what people are told who write it so. */
  readonly isBelow?: string;
}

/** Patterns of a kind: its name, then these parts, between colons. */
export interface PatternGrammar {
  readonly parts: readonly PatternPart[];
  /** Some systems that hold such targets do not tell case apart: patterns that restrict match whatever the case. */
  readonly foldsCase: boolean;
}

/** How people type a target. */
export interface TypedForms {
  /** Forms for people, e.g. `file:WORKSPACE:PATH`. */
  readonly forms: readonly string[];
  readonly example: string;
  /** The kind may be left out: a text that begins with no kind's name is of this kind. One kind at most. */
  readonly isDefault?: true;
}

/** `Sent`: the target in an item. `Facts`: its names, where the server stores or decides. */
export interface TargetDescriptor<
  Sent extends { readonly kind: string } = { readonly kind: string },
  Facts extends TargetFacts = TargetFacts,
> {
  /** The target in an item; `kind` is a literal. */
  readonly schema: z.ZodObject;
  /** What a state of such a target shows besides `exists` and `hash`. */
  readonly imageMembers: Readonly<Record<string, z.ZodType>>;
  /** With its article, for messages: `a file`. */
  readonly noun: string;
  /** The fields each operation takes; an operation without a rule means nothing for the kind. */
  readonly fields: Readonly<Partial<Record<ItemOperation, FieldRule>>>;
  /** The field of an item that takes the whole target, and what it takes: a JSON document, or bytes. */
  readonly whole:
    { readonly field: "after"; readonly of: "json" } | { readonly field: "content"; readonly of: "bytes" };
  /** The member of `to` that RENAME takes. */
  readonly renamedBy: "id" | "path";
  readonly pattern: PatternGrammar;
  readonly typed: TypedForms;
  /** The target a person typed, without `<kind>:` before it; undefined: not of the form. `environment`: where none is typed. */
  parse(rest: string, environment: string): Sent | undefined;
  /** As a person types it. */
  text(target: Sent): string;
  /** As people are shown it, from its names. */
  shown(facts: Facts): string;
  /** The values that the parts of a pattern are compared with; undefined where the names do not say them. */
  parts(facts: Facts): readonly string[] | undefined;
  /** The part of the names that protection depends on: the id of a document, the path of a file. */
  localName(facts: Facts): string;
  /** How its targets are read, where not by `resource show`. */
  readonly readElsewhere?: { readonly how: string; readonly command: string };
}
