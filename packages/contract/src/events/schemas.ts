/**
 * The catalogue of events as one document of JSON Schema 2020-12, for whoever reads entries in another language. It is shipped as
 * `schemas/events.v1.json` and served at `/api/events.json`. Equal catalogues give equal documents.
 */
import { z } from "zod";
import { subjectTypes } from "./event.js";
import { type Action, actions, eventRow } from "./index.js";

type Json = Record<string, unknown>;

/** Versioned: another shape of entries would get another id; an action or a member that is added does not. */
export const eventSchemasId = "https://countersign.dev/schemas/v1/events.json";

/** Members that are not known are to be ignored: a later version may add some. So no object is closed. */
export function eventSchemas(): Json {
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    $id: eventSchemasId,
    title: "Events of a Countersign ledger",
    description:
      "`action`, `subject` and `data` of an entry, by its action. Actions and members are added, never removed or changed: ignore those you do not know.",
    oneOf: actions.map((action) => ({ $ref: `#/$defs/${action}` })),
    $defs: {
      subject: subjectSchema(subjectTypes),
      proof: dataSchema("tenant.created").proof,
      ...Object.fromEntries(actions.map((action) => [action, eventSchema(action)])),
    },
  };
}

function eventSchema(action: Action): Json {
  const { proof: _, ...properties } = dataSchema(action);
  const { data, subjects } = eventRow(action);
  const required = Object.keys(properties).filter(
    (name) => !(data.shape[name] as z.ZodType).safeParse(undefined).success,
  );
  return {
    type: "object",
    required: ["action", "subject", "data"],
    properties: {
      action: { const: action },
      subject: subjectSchema(subjects),
      data: {
        type: "object",
        properties: { ...properties, proof: { $ref: "#/$defs/proof" } },
        ...(required.length === 0 ? {} : { required }),
      },
    },
  };
}

function subjectSchema(types: readonly string[]): Json {
  return {
    type: "object",
    required: ["type", "id"],
    properties: {
      type: types.length === 1 ? { const: types[0] } : { enum: types },
      id: { type: "string", minLength: 1, maxLength: 1024 },
    },
  };
}

/** The members of an action's data, by name. */
function dataSchema(action: Action): Record<string, Json> {
  const made = z.toJSONSchema(eventRow(action).data, { io: "input", target: "draft-2020-12", reused: "inline" });
  return made.properties as Record<string, Json>;
}
