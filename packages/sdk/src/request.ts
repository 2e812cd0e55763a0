/** From an operation's flat input to an HTTP request: path, query or body, headers. The server's edge does the inverse. */
import { operationRow, pathParameters, type Operation, type OperationId } from "@countersign/contract";

export interface Request {
  readonly method: Operation["method"];
  /** Path and query string, below the server's address. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

export function buildRequest(
  id: OperationId,
  input: Readonly<Record<string, unknown>>,
  idempotencyKey: string | undefined,
): Request {
  const row = operationRow(id);
  const rest = new Map(Object.entries(input).filter(([, value]) => value !== undefined));
  const path = fillPath(id, row.path, rest);
  const headers: Record<string, string> = {
    accept: row.stream === undefined ? "application/json" : `${row.stream}, application/json`,
  };
  if (row.ifMatch !== undefined && rest.has(row.ifMatch)) {
    // RFC 9110 §13.1.1: an entity-tag stands in quotes.
    headers["if-match"] = `"${String(rest.get(row.ifMatch))}"`;
    rest.delete(row.ifMatch);
  }
  if (row.idempotent === true && idempotencyKey !== undefined) headers["idempotency-key"] = idempotencyKey;
  if (row.method === "GET" || row.method === "DELETE")
    return { method: row.method, path: `${path}${queryString(rest)}`, headers };
  return {
    method: row.method,
    path,
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify(Object.fromEntries(rest)),
  };
}

function fillPath(id: OperationId, template: string, rest: Map<string, unknown>): string {
  let path = template;
  for (const name of pathParameters(template)) {
    const value = rest.get(name);
    // An empty segment would name another operation's path.
    if (typeof value !== "string" || value === "")
      throw new TypeError(`${id} needs \`${name}\`, a text that is not empty`);
    path = path.replace(`{${name}}`, encodeURIComponent(value));
    rest.delete(name);
  }
  return path;
}

function queryString(rest: ReadonlyMap<string, unknown>): string {
  const query = new URLSearchParams();
  for (const [name, value] of rest) query.set(name, Array.isArray(value) ? value.join(",") : String(value));
  const text = query.toString();
  return text === "" ? "" : `?${text}`;
}
