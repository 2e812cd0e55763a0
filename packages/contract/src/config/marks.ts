/**
 * What a member means beyond its form, marked on its schema. Marks are metadata of our own and no part of the published
 * schema.
 */
import { z } from "zod";

/** `pattern`: a target pattern · `ruleId`: names a rule, once in a document · `group`: a group or `role:NAME` that is asked. */
export type Mark = "pattern" | "ruleId" | "group";

const marks = z.registry<{ readonly mark?: Mark }>();

/** The schema itself, marked; so is what is made of it with another description. */
export function mark<S extends z.ZodType>(as: Mark, schema: S): S {
  marks.add(schema, { mark: as });
  return schema;
}

export interface MarkedMember {
  readonly mark: Mark;
  readonly value: unknown;
  readonly path: readonly (string | number)[];
}

/** The marked members that a document has, in its order. The document fits the schema. */
export function markedMembers(schema: z.ZodType, document: unknown): MarkedMember[] {
  return [...visit(schema, document, [])];
}

function* visit(schema: z.core.$ZodType, value: unknown, path: MarkedMember["path"]): Generator<MarkedMember> {
  const marked = marks.get(schema)?.mark;
  if (marked !== undefined) yield { mark: marked, value, path };
  if (schema instanceof z.ZodOptional || schema instanceof z.ZodDefault || schema instanceof z.ZodNullable)
    yield* value == null ? [] : visit(schema.unwrap(), value, path);
  else if (schema instanceof z.ZodArray)
    for (const [index, element] of (value as readonly unknown[]).entries())
      yield* visit(schema.element, element, [...path, index]);
  else if (schema instanceof z.ZodUnion)
    // The first that fits gave the document its form.
    yield* visitFirst(schema.options, value, path);
  else
    for (const [name, member] of memberSchemas(schema, value))
      yield* visit(member, (value as Readonly<Record<string, unknown>>)[name], [...path, name]);
}

function* visitFirst(
  options: readonly z.core.$ZodType[],
  value: unknown,
  path: MarkedMember["path"],
): Generator<MarkedMember> {
  const fitting = options.find((option) => z.safeParse(option, value).success);
  if (fitting !== undefined) yield* visit(fitting, value, path);
}

/** Members of an object or a record, in the order they are written. */
function memberSchemas(schema: z.core.$ZodType, value: unknown): [name: string, schema: z.core.$ZodType][] {
  if (schema instanceof z.ZodRecord)
    return Object.keys(value as object).map((name) => [name, schema.valueType as z.core.$ZodType]);
  if (!(schema instanceof z.ZodObject)) return [];
  const shape = schema.shape as Readonly<Record<string, z.core.$ZodType>>;
  return Object.keys(value as object).flatMap((name): [string, z.core.$ZodType][] => {
    const member = shape[name];
    return member === undefined ? [] : [[name, member]];
  });
}
