/**
 * The OpenAPI 3.1 document of the REST API, made from the table of operations. Its JSON Schemas are draft 2020-12, the
 * dialect of OpenAPI 3.1. Equal tables give equal documents.
 */
import { z } from "zod";
import { errorCatalogue, errorCodes, type ErrorCode } from "./errors.js";
import { type Operation, pathParameters } from "./operations/operation.js";
import { operationIds, operationRow, type OperationId } from "./operations/index.js";
import { permissions } from "./permissions.js";

type Json = Record<string, unknown>;

/** Codes any operation may answer. */
const everywhere: readonly ErrorCode[] = [
  "database_unavailable",
  "overloaded",
  "shutting_down",
  "invalid_request",
  "limit_exceeded",
  "text_unstorable",
  "internal",
];
const authenticated: readonly ErrorCode[] = [
  "unauthenticated",
  "key_malformed",
  "key_unknown",
  "key_expired",
  "key_revoked",
  "principal_suspended",
];
const permitted: readonly ErrorCode[] = ["forbidden", "scope_missing"];
const withBody: readonly ErrorCode[] = [
  "body_too_large",
  "unsupported_media_type",
  "malformed_json",
  "json_duplicate_key",
  "json_too_deep",
  "json_too_large",
  "json_number_unsafe",
];
const withKey: readonly ErrorCode[] = ["idempotency_key_reused"];
const committing: readonly ErrorCode[] = ["conflict", "clock_behind"];

/** Operations that take no credential at all; `whoAmI` needs one, and no permission. */
const open: ReadonlySet<OperationId> = new Set(["enrol"]);

export function openApiDocument(options: { readonly version: string }): Json {
  const schemas = new Schemas();
  const paths: Record<string, Json> = {};
  for (const id of operationIds) {
    const row = operationRow(id);
    paths[row.path] = { ...paths[row.path], [row.method.toLowerCase()]: operationObject(id, row, schemas) };
  }
  return schemas.finished({
    openapi: "3.1.1",
    jsonSchemaDialect: "https://json-schema.org/draft/2020-12/schema",
    info: {
      title: "Countersign",
      version: options.version,
      summary: "Every change an AI agent makes gets a countersignature.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    servers: [{ url: "/" }],
    security: [{ apiKey: [] }],
    tags: [...new Set(operationIds.map((id) => operationRow(id).tag))].map((name) => ({ name })),
    paths,
    components: {
      securitySchemes: {
        apiKey: {
          type: "http",
          scheme: "bearer",
          bearerFormat: "csk_…",
          description: "An API key, shown once when it was minted.",
        },
      },
      schemas: { Problem: problemSchema() },
    },
  });
}

function operationObject(id: OperationId, row: Operation, schemas: Schemas): Json {
  const input = schemas.of(row.input, "input");
  const properties = (input["properties"] ?? {}) as Record<string, Json>;
  const required = new Set((input["required"] ?? []) as readonly string[]);
  const inPath = pathParameters(row.path);
  const rest = Object.keys(properties).filter((name) => !inPath.includes(name) && name !== row.ifMatch);
  const takesBody = row.method !== "GET" && row.method !== "DELETE";
  const parameters: Json[] = [
    ...inPath.map((name) => ({ name, in: "path", required: true, schema: properties[name] ?? { type: "string" } })),
    ...(takesBody
      ? []
      : rest.map((name) => ({
          name,
          in: "query",
          required: required.has(name),
          ...queryShape(properties[name] ?? {}),
        }))),
    ...(row.ifMatch === undefined
      ? []
      : [
          {
            name: "If-Match",
            in: "header",
            required: true,
            description: `The \`${row.ifMatch}\` this was made from.`,
            schema: { type: "string" },
          },
        ]),
    ...(row.resume === undefined
      ? []
      : [
          {
            name: "Last-Event-ID",
            in: "header",
            required: false,
            description: `Stands for \`${row.resume}\`, and wins over it: browsers send it when they connect again.`,
            schema: { type: "string" },
          },
        ]),
    ...(row.idempotent === true
      ? [
          {
            name: "Idempotency-Key",
            in: "header",
            required: false,
            description: "Repeats with the same key have one effect and one answer, for 72 hours.",
            schema: { type: "string", minLength: 1, maxLength: 128 },
          },
        ]
      : []),
  ];
  const body = {
    type: "object",
    properties: Object.fromEntries(rest.map((name) => [name, properties[name]])),
    required: rest.filter((name) => required.has(name)),
    additionalProperties: false,
  };
  const needs =
    row.permission === null ? "" : `\n\nNeeds the permission \`${row.permission}\`: ${permissions[row.permission]}.`;
  const proven =
    row.proof === undefined
      ? ""
      : `\n\nA person shows their signing key unlocked${row.proof === "for_rules" ? " where it changes the tenant's governance (environment `system`)" : ""}: \`proof\` (docs/authentication.md).`;
  return {
    operationId: id,
    summary: row.summary,
    description: `${row.summary}${needs}${proven}`,
    tags: [row.tag],
    ...(open.has(id) ? { security: [] } : {}),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(takesBody && rest.length > 0
      ? { requestBody: { required: body.required.length > 0, content: { "application/json": { schema: body } } } }
      : {}),
    responses: responsesOf(id, row, schemas, takesBody),
    ...(row.cli === null ? {} : { "x-cli": `countersign ${row.cli}` }),
  };
}

/** Several values may be repeated or separated by commas. */
function queryShape(schema: Json): Json {
  const { description, ...rest } = schema;
  return { ...(description === undefined ? {} : { description }), schema: rest };
}

function responsesOf(id: OperationId, row: Operation, schemas: Schemas, takesBody: boolean): Json {
  const codes = new Set<ErrorCode>([
    ...everywhere,
    ...(open.has(id) ? [] : authenticated),
    ...(row.permission === null ? [] : permitted),
    ...(takesBody ? withBody : []),
    ...(row.idempotent === true ? withKey : []),
    ...(row.method === "GET" ? [] : committing),
    ...(pathParameters(row.path).length > 0 ? (["not_found"] as const) : []),
    ...row.errors,
  ]);
  const byStatus = new Map<number, ErrorCode[]>();
  // The catalogue's order is that of precedence; statuses are listed as numbers are.
  for (const code of errorCodes.filter((one) => codes.has(one))) {
    const { status } = errorCatalogue[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  const problems = [...byStatus]
    .sort(([a], [b]) => a - b)
    .map(([status, of]): [string, Json] => [String(status), problemResponse(of)]);
  const success = {
    description: row.summary,
    content: { [row.stream ?? "application/json"]: { schema: schemas.of(row.output, "output") } },
  };
  return { [String(row.status)]: success, ...Object.fromEntries(problems) };
}

function problemResponse(codes: readonly ErrorCode[]): Json {
  return {
    description: codes.map((code) => `\`${code}\`: ${errorCatalogue[code].title}`).join("; "),
    content: {
      "application/problem+json": {
        schema: {
          allOf: [{ $ref: "#/components/schemas/!Problem" }, { type: "object", properties: { code: { enum: codes } } }],
        },
      },
    },
  };
}

function problemSchema(): Json {
  return {
    type: "object",
    description: "A problem document (RFC 9457).",
    required: ["type", "title", "status", "detail", "code", "instance"],
    properties: {
      type: { type: "string", format: "uri" },
      title: { type: "string" },
      status: { type: "integer" },
      detail: { type: "string", description: "The error, with its culprit in backticks, and the way out." },
      code: { enum: errorCodes },
      instance: { type: "string", description: "Names the occurrence; the server's log has it." },
      problems: {
        type: "array",
        description: "Everything that is wrong, with JSON pointers into the request.",
        items: {
          type: "object",
          required: ["code", "message"],
          properties: { code: { enum: errorCodes }, message: { type: "string" }, pointer: { type: "string" } },
        },
      },
      retryAfterSeconds: { type: "integer", minimum: 0 },
    },
  };
}

type Io = "input" | "output";

/**
 * JSON Schemas made by zod. Named schemas are components, and other schemas refer to them. A schema with defaults
 * differs in a request and in an answer; then each form has a name of its own.
 */
class Schemas {
  readonly #made: Record<Io, Map<string, Json>> = { input: new Map(), output: new Map() };

  /**
   * A schema whose references still say whether they belong to a request or an answer. `finished` gives them their
   * names.
   */
  of(schema: z.ZodType, io: Io): Json {
    const {
      $schema: _,
      $defs,
      ...made
    } = z.toJSONSchema(schema, { io, target: "draft-2020-12", unrepresentable: "any", reused: "inline" }) as Json & {
      $defs?: Record<string, Json>;
    };
    for (const [name, definition] of Object.entries($defs ?? {})) {
      const plain = withoutIds(definition);
      const known = this.#made[io].get(name);
      // INVARIANT: one name has one schema. If two schemas had one name, the document would be wrong about one of them.
      if (known !== undefined && JSON.stringify(known) !== JSON.stringify(plain))
        throw new Error(`two schemas are named \`${name}\``);
      this.#made[io].set(name, plain);
    }
    return rewritten(withoutIds(made), (name) => `${io}/${name}`) as Json;
  }

  /** Renames the references in the whole document, and adds the components. */
  finished(document: Json): Json {
    const differing = this.#differing();
    const named = (io: Io, name: string): string => {
      const plain = name.replaceAll(/[^A-Za-z0-9._-]/g, "_");
      if (!differing.has(name)) return plain;
      const bare = plain.replace(/Input$/, "");
      return io === "input" ? `${bare}Input` : plain === bare ? plain : `${bare}Checked`;
    };
    const components = (["input", "output"] as const).flatMap((io) =>
      [...this.#made[io]].map(
        ([name, definition]) => [named(io, name), rewritten(definition, (of) => `!${named(io, of)}`)] as const,
      ),
    );
    const sorted = Object.fromEntries(components.sort(([a], [b]) => (a < b ? -1 : 1)));
    const whole = {
      ...document,
      components: {
        ...(document["components"] as Json),
        schemas: { ...((document["components"] as Json)["schemas"] as Json), ...sorted },
      },
    };
    return rewritten(whole, (reference) => {
      if (reference.startsWith("!")) return reference.slice(1);
      const [io, name] = reference.split("/") as [Io, string];
      return named(io, name);
    }) as Json;
  }

  /** Names whose schema, or a schema it refers to, differs between request and answer. */
  #differing(): ReadonlySet<string> {
    const { input, output } = this.#made;
    const found = new Set(
      [...input.keys()].filter(
        (name) => output.has(name) && JSON.stringify(input.get(name)) !== JSON.stringify(output.get(name)),
      ),
    );
    for (let size = -1; size !== found.size;) {
      size = found.size;
      for (const name of input.keys())
        if (output.has(name) && referencesOf(input.get(name)).some((of) => found.has(of))) found.add(name);
    }
    return found;
  }
}

/** `id` names a component. As a keyword it would belong to another dialect. */
function withoutIds(schema: Json): Json {
  const { id: _, $id: __, ...rest } = schema;
  return rest;
}

const referenceStart = /^#\/(?:\$defs|components\/schemas)\//;

function referencesOf(schema: unknown): string[] {
  return [...JSON.stringify(schema).matchAll(/"\$ref":"#\/\$defs\/([^"]+)"/g)].map((match) => match[1] as string);
}

/** Every reference to a definition, renamed; `!` before a name says that it is final. */
function rewritten(value: unknown, rename: (name: string) => string): unknown {
  if (Array.isArray(value)) return value.map((element) => rewritten(element, rename));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, member]) => {
      if (key !== "$ref" || typeof member !== "string" || !referenceStart.test(member))
        return [key, rewritten(member, rename)];
      return [key, `#/components/schemas/${rename(member.replace(referenceStart, ""))}`];
    }),
  );
}
