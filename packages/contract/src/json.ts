/** JSON as it is sent and kept. */
import { z } from "zod";

export type JsonValue = null | boolean | number | string | readonly JsonValue[] | JsonObject;
export interface JsonObject {
  readonly [key: string]: JsonValue;
}

export const jsonValue: z.ZodType<JsonValue> = z.json() as z.ZodType<JsonValue>;
export const jsonObject = z.record(z.string(), jsonValue).meta({ description: "A JSON object." });

/**
 * `T` as it is once it was written as JSON and read again: members that may be `undefined` are left out instead. It is assignable
 * to `JsonValue`, which an interface never is, and to `T`.
 */
export type JsonOf<T> = unknown extends T
  ? JsonValue
  : T extends JsonValue
    ? T
    : { [K in keyof T]: JsonOf<Exclude<T[K], undefined>> };

/** The same value: for what was read from JSON, where no member is `undefined`, though a schema's type allows it. */
export function jsonOf<T>(value: T): JsonOf<T> {
  return value as JsonOf<T>;
}
