/**
 * The HTTP edge: routes made from the contract's table, bodies through the strict parser, everything else is left to
 * dispatch.
 *
 * Promises: every answer that is no success is a problem document (RFC 9457), also for requests that the router or
 * Node's parser refuses · nothing is served to other origins unless a proxy says so · a body, a header, a slow sender
 * and a slow reader have limits · a stop lets requests in flight finish.
 */
import { Readable } from "node:stream";
import { type Server, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import {
  errorCatalogue,
  eventSchemas,
  isRefusal,
  limits,
  operationIds,
  operationRow,
  type Operation,
  type OperationId,
  refused,
  type Refusal,
} from "@countersign/contract";
import Fastify, {
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  type HTTPMethods,
} from "fastify";
import { type Dispatch, type DispatchAnswer, problemOf, type ServeLog } from "../dispatch/index.js";
import { bearerOf, mapRequest } from "./mapping.js";

export interface HttpOptions {
  readonly dispatch: Dispatch;
  /** The OpenAPI document as text. */
  readonly openApi: string;
  /** The tree of hashes of a ledger. */
  readonly tree: ServeLog;
  readonly readiness: () => Promise<{ readonly ready: boolean; readonly checks: readonly object[] }>;
  /** The metrics that a monitoring system reads, for permitted callers. */
  readonly metrics?: {
    read(credential: string | undefined): Promise<{ readonly type: string; readonly text: string } | Refusal>;
    answered(what: {
      method: string;
      route: string | null;
      status: number;
      code: string | undefined;
      ms: number;
    }): void;
  };
  readonly newId: () => string;
  readonly log: { info(fields: object, message: string): void; error(fields: object, message: string): void };
  readonly timeouts?: HttpTimeouts;
}

export interface HttpServer {
  listen(at: { readonly host: string; readonly port: number }): Promise<string>;
  /** Accepts no new requests; resolves when the requests in flight are answered. */
  close(): Promise<void>;
}

/** Milliseconds. A sender of one byte a second holds a connection no longer than these. */
const defaultTimeouts = { headers: 15_000, request: 60_000, keepAlive: 30_000, stalledReader: 60_000 };
export type HttpTimeouts = Partial<typeof defaultTimeouts>;
const headerBytesMax = 16 * 1024;
const pathBytesMax = 2_048;
/** Of an export, read ahead of its reader. */
const streamBytesAhead = 256 * 1024;

const securityHeaders = {
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
  "referrer-policy": "no-referrer",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "cache-control": "no-store",
} as const;

export function openHttp(options: HttpOptions): HttpServer {
  const timeouts = { ...defaultTimeouts, ...options.timeouts };
  const app = Fastify({
    bodyLimit: limits.requestBytesMax,
    requestTimeout: timeouts.request,
    keepAliveTimeout: timeouts.keepAlive,
    genReqId: () => options.newId(),
    requestIdHeader: false,
    logger: false,
    trustProxy: false,
    // Streams in flight are let finish; only connections that do nothing are ended at once.
    forceCloseConnections: "idle",
    return503OnClosing: false,
    http: { maxHeaderSize: headerBytesMax, headersTimeout: timeouts.headers, requireHostHeader: true },
    routerOptions: { ignoreTrailingSlash: false, maxParamLength: pathBytesMax, querystringParser: () => ({}) },
    frameworkErrors: (error, request, reply) => void sendRefusal(reply, frameworkRefusal(error), request.id),
    clientErrorHandler: (error, socket) => refuseConnection(error, socket, options.newId()),
  });
  const connections = new Connections(app.server);

  // The strict parser needs the bytes: neither the type nor the encoding is trusted before.
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  app.addHook("onRequest", (request, reply, done) => {
    void reply.headers({ ...securityHeaders, "x-request-id": request.id });
    connections.begun(request.raw.socket);
    if (connections.closing)
      void sendRefusal(
        reply,
        refused("shutting_down", "the server is stopping; try again in a moment", { retryAfterSeconds: 5 }),
        request.id,
      );
    else done();
  });
  app.addHook("onSend", (_request, reply, payload, done) => {
    // A reader that stopped reading would hold up the stop for ever, and an export a connection to the database.
    reply.raw.setTimeout(timeouts.stalledReader, () => reply.raw.destroy());
    if (connections.closing) void reply.header("connection", "close");
    done(null, payload);
  });
  app.addHook("onResponse", (request, reply, done) => {
    connections.answered(request.raw.socket);
    const { code } = outcomes.get(request) ?? {};
    const route = request.routeOptions.url ?? null;
    options.metrics?.answered({
      ...{ method: request.method, route, code },
      status: reply.statusCode,
      ms: reply.elapsedTime,
    });
    options.log.info(
      {
        requestId: request.id,
        method: request.method,
        route: request.routeOptions.url ?? null,
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime),
        ...outcomes.get(request),
      },
      "request",
    );
    done();
  });
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const refusal = frameworkRefusal(error);
    if (refusal.code === "internal")
      options.log.error({ err: error, requestId: request.id }, "a request failed inside");
    return sendRefusal(reply, refusal, request.id);
  });
  app.setNotFoundHandler((request, reply) =>
    sendRefusal(
      reply,
      refused("not_found", `there is nothing at \`${pathOf(request)}\`; \`/api/openapi.json\` lists the operations`),
      request.id,
    ),
  );

  for (const id of operationIds) addOperation(app, id, options);
  addOwnRoutes(app, options);
  addTree(app, options.tree);
  addMethodsNotAllowed(app);

  return {
    listen: ({ host, port }) => app.listen({ host, port, listenTextResolver: () => "" }),
    close: async () => {
      connections.close();
      await app.close();
    },
  };
}

/**
 * The connections that have a request in flight. Node ends idle connections that had a request; a connection that never
 * had one would hold up the stop until its headers are overdue.
 */
class Connections {
  readonly #inFlight = new Map<Socket, number>();
  #closing = false;

  constructor(server: Server) {
    server.on("connection", (socket: Socket) => {
      this.#inFlight.set(socket, 0);
      socket.once("close", () => this.#inFlight.delete(socket));
    });
  }

  get closing(): boolean {
    return this.#closing;
  }

  begun(socket: Socket): void {
    this.#inFlight.set(socket, (this.#inFlight.get(socket) ?? 0) + 1);
  }

  answered(socket: Socket): void {
    const before = this.#inFlight.get(socket);
    if (before === undefined) return; // it has closed
    const left = before - 1;
    this.#inFlight.set(socket, left);
    if (this.#closing && left <= 0) socket.end();
  }

  close(): void {
    this.#closing = true;
    for (const [socket, count] of this.#inFlight) if (count === 0) socket.destroy();
  }
}

/** The log's facts about a request, besides its route. */
const outcomes = new WeakMap<FastifyRequest, Pick<DispatchAnswer, "tenant" | "principal" | "code">>();

function addOperation(app: FastifyInstance, id: OperationId, { dispatch }: HttpOptions): void {
  const row = operationRow(id);
  app.route({
    method: row.method,
    url: routeOf(row),
    handler: async (request, reply) => {
      const received = {
        path: request.params as Record<string, string>,
        url: request.raw.url ?? "",
        headers: request.headers,
        body: request.body as Buffer | undefined,
      };
      const mapped = mapRequest(row, received);
      if (mapped.kind === "refused" && mapped.code !== "precondition_required")
        return sendRefusal(reply, mapped, request.id);
      const key = request.headers["idempotency-key"];
      const answer = await dispatch({
        operation: id,
        requestId: request.id,
        credential: bearerOf(request.headers.authorization),
        input: mapped.kind === "refused" ? {} : mapped.input,
        idempotencyKey: Array.isArray(key) ? key[0] : key,
      });
      // An unknown caller is refused before problems of the request are reported.
      if (mapped.kind === "refused" && answer.status !== 401 && answer.status !== 403)
        return sendRefusal(reply, mapped, request.id);
      return send(reply, answer, { request, row });
    },
  });
}

function routeOf(row: Operation): string {
  return row.path.replaceAll(/\{([A-Za-z]+)\}/g, ":$1");
}

async function send(
  reply: FastifyReply,
  answer: DispatchAnswer,
  { request, row }: { request: FastifyRequest; row: Operation },
): Promise<FastifyReply> {
  const { tenant, principal, code } = answer;
  outcomes.set(request, {
    ...(tenant === undefined ? {} : { tenant }),
    ...(principal === undefined ? {} : { principal }),
    ...(code === undefined ? {} : { code }),
  });
  void reply.code(answer.status).headers(answer.headers);
  switch (answer.kind) {
    case "problem":
      return reply.send(problemBytes(reply, answer.body));
    case "answer":
      return reply.type("application/json; charset=utf-8").send(JSON.stringify(answer.body));
    case "stream":
      void reply.type(row.stream ?? "application/octet-stream");
      return sendLines(reply, answer.body as AsyncIterable<string>, request);
  }
}

/** Streams with backpressure: rows that the reader does not take are not read from the database. */
async function sendLines(
  reply: FastifyReply,
  lines: AsyncIterable<string>,
  request: FastifyRequest,
): Promise<FastifyReply> {
  if (request.method === "HEAD") {
    await lines[Symbol.asyncIterator]().return?.();
    return reply.send("");
  }
  const stream = Readable.from(lines, { objectMode: false, highWaterMark: streamBytesAhead });
  return reply.send(stream);
}

/** `/ledger/<tenant>/…`, as C2SP tlog-tiles has it. */
const treePath = "/ledger/:tenant/*";
const eventsPath = "/api/events.json";
const eventDocument = JSON.stringify(eventSchemas());

function addTree(app: FastifyInstance, tree: ServeLog): void {
  app.get<{ Params: { tenant: string; "*": string } }>(treePath, async (request, reply) => {
    const answer = await tree({
      requestId: request.id,
      credential: bearerOf(request.headers.authorization),
      tenant: request.params.tenant,
      path: request.params["*"],
    });
    return reply.code(answer.status).headers(answer.headers).send(Buffer.from(answer.body));
  });
}

function addOwnRoutes(app: FastifyInstance, { openApi, readiness, metrics }: HttpOptions): void {
  app.get("/healthz", (_request, reply) => reply.type("application/json; charset=utf-8").send('{"status":"ok"}'));
  app.get("/readyz", async (_request, reply) => {
    const found = await readiness();
    return reply
      .code(found.ready ? 200 : 503)
      .headers(found.ready ? {} : { "retry-after": "2" })
      .type("application/json; charset=utf-8")
      .send(JSON.stringify({ status: found.ready ? "ready" : "not_ready", checks: found.checks }));
  });
  if (metrics !== undefined)
    app.get("/metrics", async (request, reply) => {
      const found = await metrics.read(bearerOf(request.headers.authorization));
      return isRefusal(found) ? sendRefusal(reply, found, request.id) : reply.type(found.type).send(found.text);
    });
  app.get("/api/openapi.json", (_request, reply) => reply.type("application/json; charset=utf-8").send(openApi));
  app.get(eventsPath, (_request, reply) => reply.type("application/schema+json; charset=utf-8").send(eventDocument));
}

const everyMethod: readonly HTTPMethods[] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"];

/** A known path with an unknown method: 405 with the methods that it takes, instead of 404. */
function addMethodsNotAllowed(app: FastifyInstance): void {
  const taken = new Map<string, Set<string>>(
    ["/healthz", "/readyz", "/api/openapi.json", eventsPath, treePath].map((path) => [path, new Set(["GET", "HEAD"])]),
  );
  for (const id of operationIds) {
    const row = operationRow(id);
    const methods = taken.get(routeOf(row)) ?? new Set();
    taken.set(routeOf(row), new Set([...methods, row.method, ...(row.method === "GET" ? ["HEAD"] : [])]));
  }
  for (const [url, methods] of taken) {
    const allowed = [...methods].sort().join(", ");
    app.route({
      method: everyMethod.filter((method) => !methods.has(method)),
      url,
      handler: (request, reply) =>
        sendRefusal(
          reply.header("allow", allowed),
          refused("method_not_allowed", `\`${pathOf(request)}\` takes ${allowed}`),
          request.id,
        ),
    });
  }
}

// ── Refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────

function sendRefusal(reply: FastifyReply, refusal: Refusal, requestId: string): FastifyReply {
  const { status, headers, body } = problemOf(refusal, requestId);
  return reply.code(status).headers(headers).send(problemBytes(reply, body));
}

/** As bytes: to a text Fastify would add a charset, which the type does not have (RFC 9457 §6.1). */
function problemBytes(reply: FastifyReply, body: object): Buffer {
  void reply.header("content-type", "application/problem+json");
  return Buffer.from(JSON.stringify(body), "utf8");
}

function pathOf(request: FastifyRequest): string {
  return (request.raw.url ?? "").split("?", 1)[0]?.slice(0, 200) ?? "";
}

/** Requests that Fastify itself refuses. */
function frameworkRefusal(error: { readonly code?: string; readonly statusCode?: number }): Refusal {
  switch (error.code) {
    case "FST_ERR_CTP_BODY_TOO_LARGE":
      return refused("body_too_large", `the body is larger than ${limits.requestBytesMax} bytes; send less at once`);
    case "FST_ERR_BAD_URL":
    case "FST_ERR_MAX_PARAM_LENGTH":
    case "FST_ERR_ASYNC_CONSTRAINT":
      return refused(
        "not_found",
        "the path is not percent-encoded UTF-8 or too long; `/api/openapi.json` lists the operations",
      );
    case "FST_ERR_CTP_INVALID_CONTENT_LENGTH":
      return refused("malformed_json", "the body is shorter or longer than `Content-Length` says");
    case "FST_ERR_CTP_INVALID_MEDIA_TYPE":
    case "FST_ERR_CTP_EMPTY_TYPE":
      return refused("unsupported_media_type", "the body has no usable `Content-Type`; send `application/json`");
    default:
      return error.statusCode !== undefined && error.statusCode >= 400 && error.statusCode < 500
        ? refused("invalid_request", "the request is not valid HTTP")
        : refused("internal", "something went wrong in the server; its log has the cause");
  }
}

/** Bytes that never became a request: Node's parser refused them, or they came too slowly. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Socket, requestId: string): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, detail] = connectionProblem(error.code);
  const title = STATUS_CODES[status] ?? "";
  const body = JSON.stringify({
    type: "https://countersign.dev/problems/invalid_request",
    title: errorCatalogue.invalid_request.title,
    status,
    detail,
    code: "invalid_request",
    instance: `urn:uuid:${requestId}`,
  });
  socket.end(
    `HTTP/1.1 ${status} ${title}\r\nConnection: close\r\nContent-Type: application/problem+json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  );
}

function connectionProblem(code: string | undefined): [status: number, detail: string] {
  if (code === "HPE_HEADER_OVERFLOW") return [431, `the headers are larger than ${headerBytesMax} bytes`];
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") return [408, "the request came too slowly"];
  return [400, "the request is not valid HTTP"];
}
