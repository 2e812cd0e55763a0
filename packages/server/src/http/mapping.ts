/**
 * From an HTTP request to the flat input of an operation: members named in the path come from there; of the rest, GET and
 * DELETE take the query string, others the JSON body; one member may come from `If-Match`.
 */
import {
  limits,
  type Operation,
  pathParameters,
  type Problem,
  refused,
  type Refusal,
  refusedForProblems,
} from "@countersign/contract";
import { type JsonObject, parseStrictJson } from "@countersign/proof";
import { pointerOf } from "../dispatch/index.js";

export interface Received {
  /** Decoded by the router. */
  readonly path: Readonly<Record<string, string>>;
  /** The raw request target, query included. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Buffer | undefined;
}

export type Mapped = { readonly kind: "mapped"; readonly input: Readonly<Record<string, unknown>> } | Refusal;

export function mapRequest(operation: Operation, received: Received): Mapped {
  const parameters = pathParameters(operation.path);
  const members =
    operation.method === "GET" || operation.method === "DELETE" ? readQuery(received.url) : readBody(received);
  if (members.kind === "refused") return members;
  const elsewhere = [...parameters, ...(operation.ifMatch === undefined ? [] : [operation.ifMatch])];
  const doubled = elsewhere.filter((name) => Object.hasOwn(members.input, name));
  if (doubled.length > 0) {
    return refusedForProblems(
      doubled.map((name): Problem => ({
        code: "invalid_request",
        pointer: pointerOf([name]),
        message: `\`${name}\` comes from the ${parameters.includes(name) ? "path" : "header `If-Match`"}; leave it out here`,
      })),
    );
  }
  const match =
    operation.ifMatch === undefined ? undefined : readIfMatch(received.headers["if-match"], operation.ifMatch);
  if (match?.kind === "refused") return match;
  const path = Object.fromEntries(parameters.map((name) => [name, received.path[name]]));
  const resumed = operation.resume === undefined ? undefined : received.headers["last-event-id"];
  // An empty one is sent by browsers before the first event came.
  const resume = operation.resume === undefined || !resumed ? {} : { [operation.resume]: resumed };
  return { kind: "mapped", input: { ...members.input, ...match?.input, ...resume, ...path } };
}

/** Members of the query, in their order. A name that comes twice is a list. */
function readQuery(url: string): Mapped {
  const start = url.indexOf("?");
  const members = new Map<string, string | string[]>();
  const problems: Problem[] = [];
  for (const part of start < 0 ? [] : url.slice(start + 1).split("&")) {
    if (part === "") continue;
    const cut = part.indexOf("=");
    const name = decode(cut < 0 ? part : part.slice(0, cut));
    const value = decode(cut < 0 ? "" : part.slice(cut + 1));
    if (name === undefined || value === undefined) {
      problems.push({
        code: "invalid_request",
        pointer: pointerOf([name ?? ""]),
        message: "the query is not percent-encoded UTF-8; encode it again",
      });
      continue;
    }
    const known = members.get(name);
    members.set(name, known === undefined ? value : [...(Array.isArray(known) ? known : [known]), value]);
  }
  return problems.length > 0 ? refusedForProblems(problems) : { kind: "mapped", input: Object.fromEntries(members) };
}

function decode(text: string): string | undefined {
  try {
    return decodeURIComponent(text.replaceAll("+", " "));
  } catch {
    return undefined; // the caller is told which part
  }
}

const jsonType = /^application\/json\s*(;\s*charset\s*=\s*"?utf-8"?\s*)?$/i;

function readBody({ headers, body }: Received): Mapped {
  if (body === undefined || body.length === 0) return { kind: "mapped", input: {} };
  const type = headers["content-type"];
  if (typeof type !== "string" || !jsonType.test(type)) {
    const given = typeof type === "string" ? type.slice(0, 100) : "";
    return refused(
      "unsupported_media_type",
      `the body is \`${given}\`; send \`Content-Type: application/json\` in UTF-8`,
    );
  }
  const encoding = headers["content-encoding"];
  if (encoding !== undefined && encoding !== "identity")
    return refused(
      "unsupported_media_type",
      `\`Content-Encoding: ${String(encoding).slice(0, 60)}\` is not taken; send the body as it is`,
    );
  const parsed = parseStrictJson(body, {
    bytesMax: limits.requestBytesMax,
    depthMax: limits.jsonDepthMax,
    valuesMax: limits.jsonValuesMax,
  });
  if (!parsed.ok) return refusedForProblems(parsed.problems);
  if (typeof parsed.value !== "object" || parsed.value === null || Array.isArray(parsed.value)) {
    return refusedForProblems([{ code: "invalid_request", pointer: "", message: "the body is no JSON object" }]);
  }
  return { kind: "mapped", input: parsed.value as JsonObject };
}

/** `"3"` as an entity-tag, or `3`. */
function readIfMatch(header: string | string[] | undefined, member: string): Mapped {
  if (header === undefined) {
    return refused(
      "precondition_required",
      `the request must say which ${member} it was made from: send \`If-Match: "<${member}>"\``,
    );
  }
  const match = /^"?(\d{1,9})"?$/.exec(String(header).trim());
  if (match === null)
    return refusedForProblems([
      {
        code: "invalid_request",
        pointer: pointerOf([member]),
        message: `\`If-Match\` is no ${member}; send \`If-Match: "3"\``,
      },
    ]);
  return { kind: "mapped", input: { [member]: match[1] } };
}

/** The API key of `Authorization: Bearer …`; undefined when there is none. */
export function bearerOf(header: string | undefined): string | undefined {
  const match = /^Bearer +([^\s]+) *$/i.exec(header ?? "");
  // Another scheme is as good as none, and the refusal says which one is taken.
  return match?.[1];
}
